"""Does alignment rise with quality, fall with uniqueness? Trends over models, with intervals.

The alignment of a model is its mean over the models of the other side. Intervals draw models of
both sides anew (with replacement) and, where there are halves, move every value by what a random
half of the samples is away from their mean: both chances at once. Moving ranks by noise that they
hold already pulls a rank correlation towards 0, so its interval errs to the safe side.
"""

import dataclasses
import itertools
import math

import numpy as np

from mmalign_jax.reports.statistics import interval, pearson, ranks, spearman, within_one

LEAST = 4      # models, below which there is no interval
_EVERY = 5040  # arrangements of scores, up to which each is taken
_DRAWN = 9999  # of more


@dataclasses.dataclass(frozen=True)
class Trend:
  """Over m models. spearman in -1..1 and p: of as strong a correlation, of either sign, if scores
  went to models by chance; slope: of alignment in units of the score; of_width: the same two with
  log2 of the width partialled out, NaN where width says nothing or all; intervals of 95 %, None
  below LEAST models."""
  m: int
  spearman: float
  spearman_interval: tuple[float, float] | None
  p: float
  slope: float
  slope_interval: tuple[float, float] | None
  partial: float
  partial_interval: tuple[float, float] | None
  slope_of_width: float


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Least-squares slope of y [..., n] on x [..., n]; NaN where x is constant.

  Examples:
    >>> round(float(slope(np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.5, 2.0]))), 3)
    0.5
  """
  x, y = np.asarray(x, float), np.asarray(y, float)
  away, y = (v - v.mean(axis=-1, keepdims=True) for v in (x, y))
  square = (away * away).sum(axis=-1)
  some = square > 1e-24 * (x * x).sum(axis=-1)  # what rounding leaves of a constant is none
  return np.where(some, (away * y).sum(axis=-1) / np.where(some, square, 1), np.nan)


def without(x: np.ndarray, z: np.ndarray) -> np.ndarray:
  """x [..., n] less its least-squares line on z [..., n]."""
  return x - x.mean(axis=-1, keepdims=True) - slope(z, x)[..., None] * (
      z - z.mean(axis=-1, keepdims=True))


def partial_spearman(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
  """Rank correlation of x and y [..., n] with the ranks of z taken out; NaN where z is constant, or
  says all of either.

  Examples:
    >>> x, z = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 3, 5, 4])
    >>> round(float(partial_spearman(x, x ** 3, z)), 3)
    1.0
  """
  x, y, z = (ranks(np.asarray(v, float)) for v in (x, y, z))
  left = without(x, z), without(y, z)
  some = np.logical_and(*((v * v).sum(axis=-1) > 1e-9 for v in left))
  return np.where(some, pearson(*np.nan_to_num(left)), np.nan)


def partial_slope(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> float:
  """Slope of y [n] on x [n] with z taken out of both; NaN where z is constant, or says all of x.

  Examples:
    >>> x, z = np.array([1.0, 2, 4, 3]), np.array([1.0, 2, 3, 4])
    >>> round(partial_slope(x, 2 * x + z, z), 3), partial_slope(0.3 * z, x, z)
    (2.0, nan)
  """
  rest, whole = without(x, z), x - x.mean()
  some = (rest * rest).sum() > 1e-9 * (whole * whole).sum()
  return float(slope(rest, without(y, z))) if some else math.nan


def chance(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
  """p of |Spearman| if x [n] went to y [n] in random order: of all orders, where they are few."""
  if math.factorial(len(x)) <= _EVERY:
    orders = np.array(list(itertools.permutations(range(len(x)))))
    return float((np.abs(spearman(x[orders], y)) >= abs(spearman(x, y)) - 1e-9).mean())
  orders = np.random.default_rng(seed).permuted(np.tile(np.arange(len(x)), (_DRAWN, 1)), axis=1)
  alike = np.abs(spearman(x[orders], y)) >= abs(spearman(x, y)) - 1e-9
  return float((1 + alike.sum()) / (1 + _DRAWN))


def least(m: int) -> float:
  """The least p that drawn orders of m scores can tell; 0 where each order is taken."""
  return 0.0 if math.factorial(m) <= _EVERY else 1 / (1 + _DRAWN)


def draws(shape: tuple[int, int], halves: int, count: int, seed: int
          ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Models of both sides [B, m], [B, m'] drawn anew, and a half [B], -1 for none."""
  generator = np.random.default_rng(seed)
  return (generator.integers(shape[0], size=(count, shape[0])),
          generator.integers(shape[1], size=(count, shape[1])),
          generator.integers(halves, size=count) if halves else np.full(count, -1))


def trend(quality: np.ndarray, width: np.ndarray, values: np.ndarray,
          deviation: np.ndarray | None = None, *, count: int = 2000, seed: int = 0,
          own: bool = False) -> Trend:
  """The trend of alignment with quality over the models of the first axis.

  Args:
    quality: [m] of these models; NaN leaves one out.
    width: [m] features.
    values: [m, m'] alignment with the models of the other side; NaN for none.
    deviation: [H, m, m'] of halves of the samples, in units of the values.
    count: draws of models. seed: of these.
    own: both axes are the same models: their diagonal does not count, and they are drawn alike,
      unless some of them, without a quality, are partners only.
  """
  values = np.where(np.eye(len(values), dtype=bool), np.nan, values) if own else values
  rows = np.flatnonzero(np.isfinite(quality) & np.isfinite(values).any(axis=1))
  columns = np.flatnonzero(np.isfinite(values[rows]).any(axis=0))
  q, size = quality[rows], np.log2(width[rows])
  grid = values[np.ix_(rows, columns)]
  away = None if deviation is None else deviation[:, rows][:, :, columns]
  m = len(rows)
  if m < 3:
    return Trend(m, math.nan, None, math.nan, math.nan, None, math.nan, None, math.nan)
  mean = np.nanmean(grid, axis=1)
  found = lambda q, s, a: (spearman(q, a), slope(q, a), partial_spearman(q, a, s))
  whole = [float(v) for v in found(q, size, mean)]
  ends: list[tuple[float, float] | None] = [None] * 3
  if m >= LEAST:
    first, second, half = draws((m, len(columns)), 0 if away is None else len(away), count, seed)
    second = first if own and np.array_equal(rows, columns) else second
    drawn = []
    for i, j, h in zip(first, second, half):
      part = grid if away is None or h < 0 else grid + np.nan_to_num(away[h])
      with np.errstate(all='ignore'):
        drawn.append(_mean(part[np.ix_(i, j)]))
    some = np.ptp(q[first], axis=1) > 0
    every = found(q[first], size[first], np.array(drawn))
    ends = [_ends(v[some & np.isfinite(v)], m) for v in every]
  return Trend(m, whole[0], within_one(ends[0]), chance(q, mean), whole[1], ends[1], whole[2],
               within_one(ends[2]), partial_slope(q, mean, size))


def _mean(part: np.ndarray) -> np.ndarray:
  """Means of rows over what is finite; of a row without any, that of all."""
  some = np.isfinite(part)
  count = some.sum(axis=1)
  mean = np.where(some, part, 0).sum(axis=1) / np.maximum(count, 1)
  return np.where(count > 0, mean, np.where(some, part, 0).sum() / max(some.sum(), 1))


def _ends(values: np.ndarray, m: int) -> tuple[float, float] | None:
  return interval(values, m) if len(values) >= 100 else None


@dataclasses.dataclass(frozen=True)
class Fall:
  """Rank correlation of the values of a pair with the level, its mean over pairs, and the interval
  over models and samples; share: of pairs that fall from the lowest to the highest level."""
  spearman: float
  interval: tuple[float, float] | None
  share: float


def with_level(levels: np.ndarray, values: np.ndarray, deviation: np.ndarray | None = None, *,
               count: int = 2000, seed: int = 0) -> Fall:
  """Over levels [V], of values [V, m, m'] and their deviations [V, H, m, m']."""
  known = np.asarray(np.isfinite(values).all(axis=0))
  rows, columns = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
  grid = values[:, rows][:, :, columns]
  of = lambda z: spearman(levels, np.moveaxis(z, 0, -1))
  pairs = of(grid)
  low, high = np.argmin(levels), np.argmax(levels)
  share = float((grid[high] < grid[low]).mean())
  if min(len(rows), len(columns)) < 2:
    return Fall(float(pairs.mean()), None, share)
  away = None if deviation is None else deviation[:, :, rows][:, :, :, columns]
  moved = pairs[None] if away is None else np.stack(
      [of(grid + away[:, h]) for h in range(away.shape[1])])
  first, second, half = draws(grid.shape[1:], len(moved), count, seed)
  drawn = [moved[h][np.ix_(i, j)].mean() for i, j, h in zip(first, second, half)]
  ends = interval(np.array(drawn), min(grid.shape[1:]))
  return Fall(float(pairs.mean()), within_one(ends), share)
