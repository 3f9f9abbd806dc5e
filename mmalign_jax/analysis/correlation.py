"""Does alignment predict performance? Correlations over encoder depths, and what chance leaves.

A *series* is what one correlation is taken over: the encoders of all depths at one value of
`unique`, one transform and one seed. Medians over series carry bootstrap intervals.
"""

import dataclasses

import numpy as np
import xarray as xr

from mmalign_jax import similarity
from mmalign_jax.analysis.optimum import interval
from mmalign_jax.training import agreement

PAIRS = ('alignment_performance', 'performance_depth', 'alignment_depth')
_MIN_SERIES = 3  # with fewer, no interval


@dataclasses.dataclass(frozen=True)
class Median:
  """Median over series, its 95 % interval (None below 3 series), and the values [n] themselves."""
  value: float
  interval: tuple[float, float] | None
  values: np.ndarray


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


def by_series(dataset: xr.Dataset, measure: str, *, kind: str = 'spearman',
              calibrated: bool = False) -> dict[str, np.ndarray]:
  """{pair of quantities: [U, n] correlations over depth}, n = transform depths x seeds.

  Performance is the exact accuracy of the transformed encoder; within a series its share of the
  Bayes ceiling is the same up to a factor. Distances count negatively: higher is more similar.
  """
  correlate = KINDS[kind]
  alignment = _rows(dataset, closeness(dataset, measure, calibrated))
  performance = _rows(dataset, dataset['accuracy_2'])
  depth = np.asarray(dataset['depth'].values, float)
  return {'alignment_performance': correlate(alignment, performance),
          'performance_depth': correlate(performance, np.broadcast_to(depth, performance.shape)),
          'alignment_depth': correlate(alignment, np.broadcast_to(depth, alignment.shape))}


def closeness(dataset: xr.Dataset, measure: str, calibrated: bool = False) -> xr.DataArray:
  """A measure's values, negated where lower is more similar and nothing has turned them yet."""
  entry = similarity.MEASURES[measure]
  value = dataset[measure + '_calibrated' * calibrated]
  turned = entry.higher or (calibrated and entry.best is not None)
  return _first(value if turned else -value)


def _first(values: xr.DataArray) -> xr.DataArray:
  """At the first depth of the untransformed encoder, where there are several."""
  return values.isel(untransformed_depth=0) if 'untransformed_depth' in values.dims else values


def _rows(dataset: xr.Dataset, values: xr.DataArray) -> np.ndarray:
  """[U, transform depths x seeds, depths]."""
  own = values.transpose('unique', 'transform_depth', 'seed', 'depth').values
  return own.reshape(own.shape[0], -1, own.shape[-1])


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


# -- the most alignment there is ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Largest:
  """The best alignment over layers and depths, arrays [U, T, S] by unique, transform depth, seed.

  value: the measure. calibrated, p_value, null_mean, null_q95: against permutations within which
  the best over layers and depths is taken too (0 at chance, 1 at best).
  """
  value: np.ndarray
  calibrated: np.ndarray
  p_value: np.ndarray
  null_mean: np.ndarray
  null_q95: np.ndarray


def largest(dataset: xr.Dataset, measure: str, neighbors: int) -> Largest:
  """`Largest` of a measure, of `neighbors` neighbours where it counts them."""
  entry = similarity.MEASURES[measure]
  best = (lambda v: v.max(axis=3)) if entry.higher else (lambda v: v.min(axis=3))
  order = ('unique', 'transform_depth', 'seed', 'depth')
  scores = best(_first(dataset[measure]).transpose(*order).values)
  null = best(_first(dataset[f'{measure}_null']).transpose(*order, 'permutation').values)
  found = agreement.calibrated(measure, neighbors, scores, null)
  return Largest(scores, found.calibrated, found.p_value, found.null_mean,
                 found.null_quantiles[..., 2 if entry.higher else 0])
