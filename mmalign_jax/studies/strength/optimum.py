"""Which strength is best, what it gains, and what shape the curve has, each with its uncertainty.

Choosing the best of many strengths on the seeds that then judge it inflates the gain. Here every
seed is judged at the strength that the *other* seeds choose (and, with a finite test set, every
fold of test samples at the one that the other folds choose), so on data where strength does nothing
the expected gain is 0 or less.
"""

import dataclasses

import numpy as np

from mmalign_jax.reports.statistics import (
  cross_fitted as cross_fitted,  # studies take it from here
  half_width,
  interval,
  judged,
)

SHAPES = ('rising', 'falling', 'inverted_u', 'flat')
MIN_SEEDS = 5  # with fewer, a flat curve is called flat too seldom: no interval and no shape
MIN_FOLDS = 4  # with fewer, resamples of folds do not know how uncertain they are: Student's t


@dataclasses.dataclass(frozen=True)
class Optimum:
  """Best strength of one curve, with 95 % intervals (None below MIN_SEEDS usable seeds, and of a
  finite test set of one fold).

  gain: accuracy at the chosen strength minus accuracy at the lowest one (0 in a normal grid); drop:
  minus accuracy at the highest one. Both cross-fitted, in units of accuracy. shape: see `shape_of`.
  n_folds: parts of the test set that are independent of each other, 1 also where accuracy is exact.
  """
  best_lam: float | None
  best_lam_interval: tuple[float, float] | None
  gain: float | None
  gain_interval: tuple[float, float] | None
  drop: float | None
  drop_interval: tuple[float, float] | None
  shape: str | None
  n_seeds: int
  n_folds: int = 1


def optimum(lam: np.ndarray, accuracy: np.ndarray, *, n_boot: int = 2000, seed: int = 0,
            exact: bool = True) -> Optimum:
  """Best strength, gain and shape of a curve.

  Resamples draw seeds, paired across strengths, and folds of the test set where there are several;
  each chooses anew, and measures its gain on seeds and folds that did not choose. Intervals are
  percentile intervals widened for few seeds (Hesterberg 2015, "expanded percentile"). Of fewer than
  MIN_FOLDS folds (a test set of a few groups) none is drawn: the interval over seeds is joined, in
  squares, with Student's t interval over folds, which is wide for two or three.

  Args:
    lam: [L] strengths, increasing.
    accuracy: [L, S, F] by strength, seed and test fold; F = 1 where accuracy is exact. NaN marks a
      diverged cell: a strength with any is never chosen; a seed without the lowest is left out.
    n_boot: resamples. seed: of the resampling.
    exact: of one fold: that it is an exact accuracy. If it is one of a finite test set it does not
      tell how uncertain it is, and there is no interval, gain or shape.
  """
  lam, accuracy = np.asarray(lam, float), np.asarray(accuracy, float)
  if accuracy.ndim != 3 or len(accuracy) != len(lam):
    raise ValueError(f'accuracy {accuracy.shape} must be [L, S, F] with L={len(lam)}')
  accuracy = accuracy[:, np.isfinite(accuracy[0]).all(axis=1)]
  usable = np.isfinite(accuracy).all(axis=(1, 2))
  lam, accuracy = lam[usable], accuracy[usable]
  n_seeds, n_folds = accuracy.shape[1:]
  if not n_seeds or not len(lam):
    return Optimum(None, None, None, None, None, None, None, 0, n_folds)
  best = float(lam[accuracy.mean(axis=(1, 2)).argmax()])
  if n_seeds < MIN_SEEDS or n_folds == 1 and not exact:
    return Optimum(best, None, None, None, None, None, None, n_seeds, n_folds)
  whole = np.ones((1, n_seeds))
  gain, drop, _ = (v[0] for v in cross_fit(accuracy, whole, np.ones((1, n_folds))))
  rng = np.random.default_rng(seed)
  seeds = _resample(rng, n_boot, n_seeds)
  few = n_folds < MIN_FOLDS
  folds = np.ones((n_boot, n_folds)) if few else _resample(rng, n_boot, n_folds)
  gains, drops, chosen = cross_fit(accuracy, seeds, folds)
  intervals = [interval(v, n_seeds) for v in (gains, drops)]
  if few and n_folds > 1:
    by_fold = (cells[0].mean(axis=0) for cells in judged(accuracy, whole, folds[:1])[:2])
    intervals = [_joined(value, ends, own)
                 for value, ends, own in zip((gain, drop), intervals, by_fold)]
  return Optimum(
      best, interval(lam[chosen], n_seeds, method='nearest'), float(gain), intervals[0],
      float(drop), intervals[1], shape_of(*intervals), n_seeds, n_folds)


def cross_fit(accuracy: np.ndarray, seeds: np.ndarray, folds: np.ndarray):
  """Gain, drop [B] and the index of the strength that all of a resample chooses [B].

  Args:
    accuracy: [L, S, F]; seeds: [B, S] and folds: [B, F], how often a resample drew each.
  """
  made = []
  parts = -(-len(seeds) // 100)
  for w, v in zip(np.array_split(seeds, parts), np.array_split(folds, parts)):
    gain, drop, chosen = judged(accuracy, w, v)
    weight = w[:, :, None] * v[:, None, :]
    mean = lambda x: (x * weight).sum(axis=(1, 2)) / weight.sum(axis=(1, 2))
    made.append((mean(gain), mean(drop), chosen))
  return tuple(np.concatenate(values) for values in zip(*made))


def choices(lam: np.ndarray, accuracy: np.ndarray, *, n_boot: int = 2000,
            seed: int = 0) -> np.ndarray:
  """Best strength of the whole sample, then of each resample of the seeds: [1 + n_boot], or [1].

  The same seeds are drawn for every curve with as many of them, so curves stay paired.
  """
  n_seeds = accuracy.shape[1]
  counts = np.ones((1, n_seeds))
  if n_seeds > 1:
    counts = np.concatenate([counts, _resample(np.random.default_rng(seed), n_boot, n_seeds)])
  return np.asarray(lam)[np.einsum('bs,ls->bl', counts, accuracy.mean(axis=2)).argmax(axis=1)]


def shape_of(gain_interval: tuple[float, float], drop_interval: tuple[float, float]) -> str:
  """The stated test: it rises if the interval of the gain lies above 0, and falls if that of the
  drop does; both is 'inverted_u', neither is 'flat'. Each is one-sided at 2.5 %, so a curve that
  is flat is called so in at least 95 % of trials."""
  rises, falls = gain_interval[0] > 0, drop_interval[0] > 0
  return {(True, True): 'inverted_u', (True, False): 'rising', (False, True): 'falling',
          (False, False): 'flat'}[rises, falls]


def _joined(value: float, ends: tuple[float, float], by_fold: np.ndarray) -> tuple[float, float]:
  """The interval `ends` of a value over seeds, joined with that over folds: values [F] of each."""
  n = len(by_fold)
  half = half_width(by_fold.std(ddof=1), n)
  low, high = (float(np.hypot(end - value, half)) for end in ends)
  return value - low, value + high


def _resample(rng: np.random.Generator, n_boot: int, n: int) -> np.ndarray:
  """[n_boot, n] counts of bootstrap draws of n >= 2 units, one unit only drawn anew."""
  counts = rng.multinomial(n, np.full(n, 1 / n), size=n_boot)
  while (single := (counts > 0).sum(axis=1) < 2).any():
    counts[single] = rng.multinomial(n, np.full(n, 1 / n), size=single.sum())
  return counts
