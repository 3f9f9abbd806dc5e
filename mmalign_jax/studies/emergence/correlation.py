"""Does alignment predict performance? Correlations over encoder depths, and what chance leaves.

A *series* is what one correlation is taken over: the encoders of all depths at one value of
`unique`, one transform and one seed. Medians over series carry bootstrap intervals.
"""

import dataclasses

import numpy as np
import xarray as xr

from mmalign_jax import similarity
from mmalign_jax.reports.statistics import KINDS
from mmalign_jax.studies.emergence import agreement

PAIRS = ('alignment_performance', 'performance_depth', 'alignment_depth')


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
  return first(value if turned else -value)


def first(values: xr.DataArray) -> xr.DataArray:
  """At the first depth of the untransformed encoder, where there are several."""
  return values.isel(untransformed_depth=0) if 'untransformed_depth' in values.dims else values


def _rows(dataset: xr.Dataset, values: xr.DataArray) -> np.ndarray:
  """[U, transform depths x seeds, depths]."""
  own = values.transpose('unique', 'transform_depth', 'seed', 'depth').values
  return own.reshape(own.shape[0], -1, own.shape[-1])


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
  scores = best(first(dataset[measure]).transpose(*order).values)
  null = best(first(dataset[f'{measure}_null']).transpose(*order, 'permutation').values)
  found = agreement.calibrated(measure, neighbors, scores, null)
  return Largest(scores, *map(np.asarray, (
      found.calibrated, found.p_value, found.null_mean,
      found.null_quantiles[..., 2 if entry.higher else 0])))
