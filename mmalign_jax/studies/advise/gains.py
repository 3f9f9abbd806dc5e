"""What alignment gains on rows that chose nothing, and between which limits.

The gain of a test unit (a row, or the rows of a group) is the difference of its accuracies with and
without alignment, each the mean over seeds. The interval is for the gain of encoders that are
chosen and trained once more on all rows, on new ones, as the mean over seeds. Two things make it
uncertain: which rows were tested, known from the units within each fold; and what was chosen and
learnt, known from how much more folds differ than their rows explain, and never taken for less than
a tenth (CHOSEN) of how they differ. The second is there once more in what is chosen on all rows,
however many folds tell of it. Both are widened by K / (K - 1) for K folds, which are trained on so
much less, and Student's t is that of their degrees of freedom (Satterthwaite 1946).
benchmarks/advise_intervals.py and benchmarks/advise_decisions.py measure what it covers.
"""

from collections.abc import Mapping
import dataclasses
import math
from typing import Any

import numpy as np
from scipy import special, stats

LEVEL = 0.95
MOST = 0.9        # certainty of what the gain is below
CHOSEN = 0.1      # least share of what folds differ by that is taken for choice, not for rows
LEAST_UNITS = 20  # below, no interval is given


@dataclasses.dataclass(frozen=True)
class Gain:
  """Accuracy without and with alignment, their difference, its 95 % interval (None below
  LEAST_UNITS units, and of a single fold), the probability that it is above 0 (None, too, where
  hardly a unit differs), its standard error; units judged (groups, rows, or several rows of a large
  fold), and rows; freedom: degrees of it, of the error; chosen: part of the error's square that is
  of what was chosen and learnt, and that more test rows would leave."""
  without: float
  aligned: float
  gain: float
  interval: tuple[float, float] | None
  certainty: float | None
  error: float | None
  units: int
  folds: int
  rows: int
  freedom: float | None = None
  chosen: float = 0.0


def gain(without: list[np.ndarray], aligned: list[np.ndarray], weight: list[np.ndarray], *,
         at_hand: bool = False) -> Gain:
  """The gain over outer folds.

  Args:
    without, aligned: accuracy [B] of every block of test rows, for each fold.
    weight: rows [B] of each block.
    at_hand: of encoders that are there, which no fold has chosen: one fold is enough.
  """
  w = np.concatenate(weight).astype(float)
  a, b = np.concatenate(without), np.concatenate(aligned)
  difference = b - a
  mean = float(np.average(difference, weights=w))
  units, n_folds = len(w), len(weight)
  result: dict[str, Any] = dict(interval=None, certainty=None, error=None)
  if units >= LEAST_UNITS and (n_folds > 1 or at_hand):  # one does not tell how choices differ
    error, freedom, chosen = _error([y - x for x, y in zip(without, aligned)], weight)
    half = float(special.stdtrit(freedom, (1 + LEVEL) / 2)) * error
    certainty = float(stats.t.cdf(mean / error, freedom)) if half >= unseen(units) else None
    half = max(half, unseen(units))
    result = dict(interval=(mean - half, mean + half), certainty=certainty, error=error,
                  freedom=freedom, chosen=chosen)
  return Gain(float(np.average(a, weights=w)), float(np.average(b, weights=w)), mean,
              **result, units=units, folds=n_folds, rows=int(w.sum()))


def at_most(found: Gain) -> float | None:
  """What the gain is below with 90 % certainty (MOST), to that side alone; None where there
  is no interval.

  Examples:
    >>> round(at_most(Gain(0.5, 0.5, 0.0, (-0.011, 0.011), 0.5, 0.0055, 2000, 3, 2000)), 4)
    0.0071
  """
  if found.error is None:
    return None
  half = float(special.stdtrit(found.freedom or found.units - 1, MOST)) * found.error
  return found.gain + max(half, unseen(found.units, 1 - MOST))


def unseen(units: int, tail: float = (1 - LEVEL) / 2) -> float:
  """The share of units that can be otherwise though none of so many was seen to be: what is left
  open at least, where hardly a prediction differs (Hanley and Lippman-Hand, JAMA 1983).

  Examples:
    >>> round(unseen(20), 3), round(unseen(400), 4)
    (0.168, 0.0092)
  """
  return 1 - tail ** (1 / units)


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


def _error(difference: list[np.ndarray], weight: list[np.ndarray]) -> tuple[float, float, float]:
  """Standard error of the mean, its degrees of freedom, and the part of its square that is of what
  was chosen; rows of a fold of a single unit tell nothing of their variance, and all is choice."""
  k, units = len(difference), np.array([len(d) for d in difference])
  if k < 2:
    d, w = difference[0], weight[0]
    return math.sqrt(of_mean(d, w, float(np.average(d, weights=w)))), len(d) - 1.0, 0.0
  share = np.array([w.sum() for w in weight]) / sum(w.sum() for w in weight)
  means = np.array([np.average(d, weights=w) for d, w in zip(difference, weight)])
  of_rows = np.array([of_mean(d, w, m) for d, w, m in zip(difference, weight, means)])
  if units.min() < 2:
    of_rows = np.zeros(k)
  differ, once_more = float(means.var(ddof=1)), 1 + float(np.sum(np.square(share)))
  chosen = max(CHOSEN * differ, differ - float(of_rows.mean())) * once_more
  tested = np.square(share) * of_rows
  variance = float(tested.sum()) + chosen
  spread = float(np.sum(np.square(tested) / np.maximum(units - 1, 1))) + chosen**2 / (k - 1)
  freedom = variance**2 / spread if spread > 0 else float(units.sum() - k)
  wider = k / (k - 1)
  return math.sqrt(variance * wider), freedom, chosen * wider


def of_mean(difference: np.ndarray, weight: np.ndarray, mean: float) -> float:
  """Variance of the mean of units; 0 of a single one."""
  n, share = len(difference), weight / weight.sum()
  return float(np.sum(np.square(share * (difference - mean)))) * n / max(n - 1, 1)
