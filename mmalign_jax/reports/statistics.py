"""Intervals and correlations that every report uses, each written once."""

import dataclasses
import math
from typing import Literal

import numpy as np

LEVEL = 0.95
_MIN_SERIES = 3  # values, below which a median has no interval


def finite(value: float) -> float | None:
  """The number, or None where there is none: NaN is not JSON."""
  return float(value) if np.isfinite(value) else None


def judged_folds(values: np.ndarray) -> np.ndarray:
  """[F] bool: folds (or encoders, ...) of values [..., F] that have rows; one without is NaN in
  every cell. All, where every cell diverged."""
  has = np.asarray(np.isfinite(values).any(axis=tuple(range(values.ndim - 1))))
  return has if has.any() else ~has


def half_width(spread: np.ndarray, n: np.ndarray | int) -> np.ndarray:
  """Half the 95 % interval of Student's t for a mean of n >= 2 values with standard deviation
  `spread` (n - 1 below), of any shape; n = 1 counts as 2."""
  n = np.asarray(n)
  from scipy import special  # slow to import
  return special.stdtrit(np.maximum(n - 1, 1), (1 + LEVEL) / 2) * spread / np.sqrt(np.maximum(n, 1))


def mean_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [L] over seeds [L, S] and the half width of its 95 % t interval."""
  n = np.isfinite(values).sum(axis=1)
  mean = np.nansum(values, axis=1) / np.maximum(n, 1)
  spread = np.sqrt(np.nansum((values - mean[:, None]) ** 2, axis=1) / np.maximum(n - 1, 1))
  half = half_width(spread, n)
  return np.where(n, mean, np.nan), np.where(n > 1, half, 0)


def mean_interval(values: np.ndarray) -> tuple[float, float] | None:
  """95 % t interval of the mean of `values` [n]; None below 3, or where one is not finite."""
  n = len(values)
  if n < 3 or not np.isfinite(values).all():
    return None
  half = half_width(values.std(ddof=1), n)
  return float(values.mean() - half), float(values.mean() + half)


def over_seeds_and_folds(values: np.ndarray) -> float:
  """Half the 95 % interval of the mean of values [S, F] over S seeds and F folds of a test set:
  Student's t over the means of seeds and over those of folds, joined in squares; one value of
  either adds nothing.

  Examples:
    >>> round(over_seeds_and_folds(np.array([[0.0], [1.0]])), 2)  # 12.71 * 0.5
    6.35
  """
  means = [values.mean(axis=axis) for axis in (1, 0)]
  return math.hypot(*(float(half_width(one.std(ddof=1), len(one))) if len(one) > 1 else 0.0
                      for one in means))


def cross_fitted(accuracy: np.ndarray) -> np.ndarray:
  """Gain [S, F] of every seed and fold at the strength that the others choose, of accuracy
  [L, S, F], lowest strength first. Of one seed the other folds choose; of one seed and one fold
  nothing does, and the gain is 0.

  Examples:
    >>> cross_fitted(np.array([[[0.5, 0.5]], [[0.75, 0.25]]]))  # each fold, where the other is best
    array([[ 0.  , -0.25]])
  """
  n_seeds, n_folds = accuracy.shape[1:]
  if n_seeds == 1 < n_folds:
    return cross_fitted(accuracy.swapaxes(1, 2)).T
  return judged(accuracy, np.ones((1, n_seeds)), np.ones((1, n_folds)))[0][0]


def judged(accuracy: np.ndarray, w: np.ndarray, v: np.ndarray):
  """Gain and drop [b, S, F] of every seed and fold of accuracy [L, S, F] at the strength that the
  others choose, under counts w [b, S] and v [b, F], and the index of the strength that all choose
  [b]."""
  cell = accuracy[None] * w[:, None, :, None] * v[:, None, None, :]  # [b, L, S, F]
  by_seed = cell.sum(axis=3, keepdims=True)
  total = by_seed.sum(axis=2, keepdims=True)
  others = total - by_seed
  if accuracy.shape[2] > 1:  # leave out the fold as well as the seed
    others = others - cell.sum(axis=2, keepdims=True) + cell
  pick = others.argmax(axis=1)[:, None]  # [b, 1, S, F]
  everywhere = np.broadcast_to(accuracy, (len(w), *accuracy.shape))
  at_pick = np.take_along_axis(everywhere, pick, axis=1)[:, 0]
  return at_pick - accuracy[0], at_pick - accuracy[-1], total[:, :, 0, 0].argmax(axis=1)


def interval(values: np.ndarray, n: int, *, level: float = LEVEL,
             method: Literal['linear', 'nearest'] = 'linear') -> tuple[float, float]:
  """Expanded percentile interval of bootstrap `values` [B] over n units (Hesterberg 2015)."""
  from scipy import special
  tail = special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - level) / 2))
  low, high = np.quantile(values, [tail, 1 - tail], method=method)
  return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Median:
  """Median over series, its 95 % interval (None below 3 series), and the values [n] themselves."""
  value: float
  interval: tuple[float, float] | None
  values: np.ndarray


def median(values: np.ndarray, *, n_boot: int = 2000, seed: int = 0) -> Median:
  """Median of `values` [n] over series, resampled n_boot times (expanded percentile interval).

  Series of one seed share the untransformed encoder, so they are not quite independent.
  """
  values = np.asarray(values, float)
  values = values[np.isfinite(values)]
  if not len(values):
    return Median(float('nan'), None, values)
  if len(values) < _MIN_SERIES:
    return Median(float(np.median(values)), None, values)
  drawn = np.random.default_rng(seed).integers(len(values), size=(n_boot, len(values)))
  return Median(float(np.median(values)),
                interval(np.median(values[drawn], axis=1), len(values)), values)


def within_one(interval: tuple[float, float] | None) -> tuple[float, float] | None:
  """An interval of a correlation, cut to -1..1."""
  return interval and (max(interval[0], -1.0), min(interval[1], 1.0))


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Rank correlation of x [..., n] and y [..., n] over the last axis, ties by mean rank: [...].

  0 where either is constant: no trend to speak of. NaN where an entry is not finite.
  """
  x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
  finite = (np.isfinite(x) & np.isfinite(y)).all(axis=-1)
  return np.where(finite, pearson(ranks(x), ranks(y)), np.nan)


def ranks(x: np.ndarray) -> np.ndarray:
  """Ranks from 1 of x [..., n] along the last axis, equal entries by their mean rank: [..., n].

  For the few points of a trend: n * n comparisons. (scipy.stats takes a second to import.)
  """
  below = (x[..., None, :] < x[..., :, None]).sum(axis=-1)
  alike = (x[..., None, :] == x[..., :, None]).sum(axis=-1)
  return below + (alike + 1) / 2


def pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Linear correlation of x [..., n] and y [..., n] over the last axis: [...]; 0 where constant."""
  x, y = (np.asarray(v, float) for v in (x, y))
  x, y = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
  size = np.sqrt((x * x).sum(axis=-1) * (y * y).sum(axis=-1))
  # what rounding leaves of a constant is no trend
  some = size > 1e-12 * np.maximum(1, np.abs(x).max(axis=-1) * np.abs(y).max(axis=-1))
  return np.where(some | ~np.isfinite(size), (x * y).sum(axis=-1) / np.where(some, size, 1), 0.0)


KINDS = {'spearman': spearman, 'pearson': pearson}
