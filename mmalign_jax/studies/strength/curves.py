"""Accuracy against strength, cut out of a data set: one curve per data setting and encoder."""

import dataclasses
import itertools
import json
from typing import Any, Iterator

import numpy as np
import xarray as xr

from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.reports.statistics import judged_folds


@dataclasses.dataclass(frozen=True)
class Curve:
  """setting: {dimension: value} of the data; axis: name of the strength that varies; lam [L];
  accuracy [L, S, F] by fold of the test rows with its side (F = 1 where exact); cka [L, S], the
  mean of its pairs; ceiling: Bayes accuracy, NaN if unknown."""
  setting: dict[str, Any]
  encoder: int
  axis: str
  lam: np.ndarray
  accuracy: np.ndarray
  cka: np.ndarray
  ceiling: float
  n_diverged: int

  @property
  def mean(self) -> np.ndarray:
    """[L] accuracy over the seeds that did not diverge (NaN where all did)."""
    flat = self.accuracy.mean(axis=2)
    finite = np.isfinite(flat)
    total = np.where(finite, flat, 0).sum(axis=1)
    return np.where(finite.any(axis=1), total / np.maximum(finite.sum(axis=1), 1), np.nan)


def is_strength(dimension: str) -> bool:
  """Whether a dimension is a strength: lam, lam_1, lam_1_2."""
  return dimension == 'lam' or dimension.startswith('lam_')


def encoders(dataset: xr.Dataset) -> tuple[int, ...]:
  """Numbers of the encoders, by the names of their accuracies."""
  count = next(i for i in itertools.count() if f'accuracy_{i + 1}' not in dataset)
  return tuple(range(1, count + 1))


def strength_axis(dataset: xr.Dataset, encoder: int) -> str:
  """The dimension that an encoder feels: its own strength if there is one, else `lam`, else that of
  its first pair."""
  names = (f'lam_{encoder}', 'lam', *(name for name in map(str, dataset.sizes) if is_strength(name)
                                      and str(encoder) in name.split('_')))
  return next(name for name in names if name in dataset.sizes)


def setting_dims(dataset: xr.Dataset, encoder: int) -> tuple[str, ...]:
  """Dimensions that are neither this encoder's strength nor the seed."""
  skip = (strength_axis(dataset, encoder), 'seed', 'fold')
  return tuple(str(d) for d in dataset['accuracy_1'].dims if d not in skip)


def curves(dataset: xr.Dataset) -> Iterator[Curve]:
  """Every curve of a data set, settings in order, encoder 1 first."""
  for encoder in encoders(dataset):
    own, accuracy = setting_dims(dataset, encoder), folded(dataset, encoder)
    for point in itertools.product(*(dataset[d].values.tolist() for d in own)):
      at = dict(zip(own, point))
      yield _curve(dataset.sel(at), accuracy.sel(at), at, encoder)


def folded(dataset: xr.Dataset, encoder: int) -> xr.DataArray:
  """Accuracy of an encoder [..., fold], without the folds that have no row of its side; of one fold
  where it is exact, or the test set is a single one."""
  name = f'accuracy_by_fold_{encoder}'
  return with_rows(dataset[name]) if name in dataset else (
      dataset[f'accuracy_{encoder}'].expand_dims('fold'))


def with_rows(accuracy: xr.DataArray, dim: str = 'fold') -> xr.DataArray:
  """Accuracies of the folds (or encoders, ...) that are `judged`."""
  return accuracy.isel({dim: judged(accuracy, dim)})


def judged(accuracy: xr.DataArray, dim: str = 'fold') -> np.ndarray:
  """Numbers of the folds (or encoders, ...) that have rows: one without is NaN in every cell. All,
  where every cell diverged."""
  return np.flatnonzero(judged_folds(accuracy.transpose(..., dim).values))


def source_of(dataset: xr.Dataset) -> Source | None:
  """The row that made the data; None where it is not registered here."""
  configuration = json.loads(dataset.attrs.get('configuration', '{}'))
  return SOURCES.get(configuration.get('generator', 'bits'))


def is_exact(dataset: xr.Dataset) -> bool:
  """Whether accuracies are those of a generator; those of files are of the test rows at hand."""
  source = source_of(dataset)
  return source is None or source.tables is not None


def _curve(cell: xr.Dataset, accuracy: xr.DataArray, setting: dict[str, Any],
           encoder: int) -> Curve:
  axis = strength_axis(cell, encoder)
  return Curve(
      setting, encoder, axis, cell[axis].values,
      accuracy.transpose(axis, 'seed', 'fold').values,
      similarity(cell, encoder).transpose(axis, 'seed').values,
      float(cell[f'ceiling_{encoder}'].values.flat[0]), int(cell['diverged'].sum()))


def similarity(cell: xr.Dataset, encoder: int) -> xr.DataArray:
  """CKA of an encoder with the other; with several, the mean over them."""
  if 'cka' in cell:
    return cell['cka']
  names = [name for name in map(str, cell.data_vars)
           if name.startswith('cka_') and str(encoder) in name.split('_')[1:]]
  if not names:  # a lone encoder is like none
    return cell[f'accuracy_{encoder}'] * np.nan
  return xr.concat([cell[name] for name in names], 'pair').mean('pair', skipna=False)
