"""Does being alike go with performing well? Correlations over the encoders of one side."""

import dataclasses

import numpy as np
import xarray as xr

from mmalign_jax import similarity
from mmalign_jax.reports.statistics import KINDS, interval, within_one

FALLING = ('absolute_error',)  # scores of which less is better
_LEAST = 4  # encoders, or depths, below which there is no interval


@dataclasses.dataclass(frozen=True)
class Correlation:
  """value in -1..1, NaN where nothing can be said, and its 95 % bootstrap interval over encoders
  or groups of them, None below 4."""
  value: float
  interval: tuple[float, float] | None


def correlation(x: np.ndarray, y: np.ndarray, kind: str, *, together: int = 1, n_boot: int = 2000,
                seed: int = 0) -> Correlation:
  """Correlation of x [n] and y [n] over encoders, with an interval of encoders drawn again.

  Args:
    kind: 'spearman' or 'pearson'.
    together: encoders that follow each other and are drawn as a whole: those of a depth, where what
      is left `within_depths` sums to 0 in each, so that S of them are S - 1.
    n_boot, seed: of the expanded percentile interval (Hesterberg 2015).

  Examples:
    >>> found = correlation(np.arange(8.0), np.arange(8.0) ** 3, 'spearman')
    >>> round(found.value, 3), round(found.interval[0], 3)
    (1.0, 1.0)
  """
  x, y = np.asarray(x, float), np.asarray(y, float)
  value = float(KINDS[kind](x, y))
  n = len(x) // together
  if n < _LEAST or not np.isfinite([x, y]).all():
    return Correlation(value, None)
  drawn = np.random.default_rng(seed).integers(n, size=(n_boot, n))
  drawn = drawn[np.ptp(drawn, axis=1) > 0]  # one alone has no trend
  rows = (drawn[:, :, None] * together + np.arange(together)).reshape(len(drawn), -1)
  return Correlation(value, within_one(interval(KINDS[kind](x[rows], y[rows]), n)))


def alikeness(dataset: xr.Dataset, measure: str, side: int, clip: float,
              calibrated: bool = False) -> np.ndarray:
  """[depths x seeds] of a side's encoders; distances negated, higher is more similar."""
  entry = similarity.MEASURES[measure]
  value = dataset[measure + '_calibrated' * calibrated].sel(encoder=side, clip_quantile=clip)
  turned = entry.higher or (calibrated and entry.best is not None)
  return value.transpose('depth', 'seed').values.ravel() * (1 if turned else -1)


def performance(dataset: xr.Dataset, score: str, side: int) -> np.ndarray:
  """[depths x seeds] of a side's encoders; errors negated, higher is better."""
  value = dataset[f'{score}_{side}'].transpose('depth', 'seed').values.ravel()
  return -value if score in FALLING else value


def depths(dataset: xr.Dataset) -> np.ndarray:
  """[depths x seeds]: how deep each encoder is."""
  return np.repeat(dataset['depth'].values.astype(float), dataset.sizes['seed'])


def within_depths(dataset: xr.Dataset, values: np.ndarray) -> np.ndarray:
  """values [depths x seeds] less the mean over seeds of their depth; NaN of a lone seed.

  What is left says whether of two encoders that are equally deep the more similar one is better:
  depth can make encoders both alike and good.
  """
  rows = values.reshape(dataset.sizes['depth'], dataset.sizes['seed'])
  left = (rows - rows.mean(axis=1, keepdims=True)).ravel()
  return left if rows.shape[1] > 1 else np.full_like(left, np.nan)
