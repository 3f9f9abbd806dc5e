"""What alignment gains on rows that chose nothing, and between which limits.

The gain of a test unit (a row, or the rows of a group) is the difference of its accuracies with and
without alignment, each the mean over seeds. The interval is for the gain of encoders that are
trained on all rows, on new ones: Student's t over the units of all outer folds, of the variance
among units or among folds, whichever is larger, widened by sqrt(K / (K - 1)) for K folds, which are
trained on so much less. benchmarks/advise_intervals.py measures that it covers what it should; the
correction of Nadeau and Bengio (2003) for a mean over other data, too, is wider than is needed.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import numpy as np
from scipy import special, stats

LEVEL = 0.95
LEAST_UNITS = 20  # below, no interval is given


@dataclasses.dataclass(frozen=True)
class Gain:
  """Accuracy without and with alignment, their difference, its 95 % interval (None below
  LEAST_UNITS units), the probability that it is above 0 (None, too, where hardly a unit differs),
  its standard error; units judged (groups, rows, or several rows of a large fold), and rows."""
  without: float
  aligned: float
  gain: float
  interval: tuple[float, float] | None
  certainty: float | None
  error: float | None
  units: int
  folds: int
  rows: int


def gain(without: list[np.ndarray], aligned: list[np.ndarray],
         weight: list[np.ndarray]) -> Gain:
  """The gain over outer folds.

  Args:
    without, aligned: accuracy [B] of every block of test rows, for each fold.
    weight: rows [B] of each block.
  """
  w = np.concatenate(weight).astype(float)
  a, b = np.concatenate(without), np.concatenate(aligned)
  difference = b - a
  mean = float(np.average(difference, weights=w))
  units, n_folds = len(w), len(weight)
  result: dict[str, Any] = dict(interval=None, certainty=None, error=None)
  if units >= LEAST_UNITS:
    error = _error([y - x for x, y in zip(without, aligned)], weight, mean)
    half = float(special.stdtrit(units - 1, (1 + LEVEL) / 2)) * error
    certainty = float(stats.t.cdf(mean / error, units - 1)) if half >= unseen(units) else None
    half = max(half, unseen(units))
    result = dict(interval=(mean - half, mean + half), certainty=certainty, error=error)
  return Gain(float(np.average(a, weights=w)), float(np.average(b, weights=w)), mean,
              **result, units=units, folds=n_folds, rows=int(w.sum()))


def unseen(units: int) -> float:
  """The share of units that can be otherwise though none of so many was seen to be: what is left
  open at least, where hardly a prediction differs (Hanley and Lippman-Hand, JAMA 1983).

  Examples:
    >>> round(unseen(20), 3), round(unseen(400), 4)
    (0.168, 0.0092)
  """
  return 1 - ((1 - LEVEL) / 2) ** (1 / units)


def twice(by_share: Mapping[float, tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]]
          ) -> Gain | None:
  """The gain with twice as many labels, if it goes on as by shares of those that are there.

  Every test unit has a gain at each share; their least-squares line in the logarithm of the share
  is read at 2, and the interval is that of `gain` of these values. It holds what test rows and
  draws of labels leave open, not whether the line goes on.

  Args:
    by_share: without, aligned, weight, as of `gain`, of the same blocks; 1 among the shares.

  Returns:
    None where there is one share only, or a block was not judged at all of them.
  """
  shares = sorted(by_share)
  if len(shares) < 2 or len({tuple(map(len, by_share[s][2])) for s in shares}) > 1:
    return None
  x = np.log2(shares)
  share_of = (x - x.mean()) / np.square(x - x.mean()).sum() * (1 - x.mean()) + 1 / len(x)
  read = lambda side: [np.tensordot(share_of, np.stack(of), 1) for of in zip(
      *(by_share[s][side] for s in shares))]
  return gain(read(0), read(1), by_share[shares[-1]][2])


def _error(difference: list[np.ndarray], weight: list[np.ndarray], mean: float) -> float:
  """Standard error of the mean."""
  w = np.concatenate(weight).astype(float)
  share = w / w.sum()
  d = np.concatenate(difference)
  of_units = float(np.sum(np.square(share * (d - mean)))) * len(d) / (len(d) - 1)
  k = len(difference)
  if k < 2:
    return math.sqrt(of_units)
  of_fold = np.array([np.average(one, weights=v) for one, v in zip(difference, weight)])
  of_folds = float(of_fold.var(ddof=1)) / k
  return math.sqrt(max(of_units, of_folds) * k / (k - 1))
