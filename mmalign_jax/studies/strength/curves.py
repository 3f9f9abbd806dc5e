"""Accuracy against strength, cut out of a data set: one curve per data setting and encoder."""

import dataclasses
import itertools
from typing import Any, Iterator

import numpy as np
import xarray as xr


@dataclasses.dataclass(frozen=True)
class Curve:
  """setting: {dimension: value} of the data; axis: name of the strength that varies; lam [L];
  accuracy [L, S, F] (F = 1 where exact); cka [L, S], the mean of its pairs; ceiling: Bayes
  accuracy, NaN if unknown."""
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
    own = setting_dims(dataset, encoder)
    for point in itertools.product(*(dataset[d].values.tolist() for d in own)):
      yield _curve(dataset.sel(dict(zip(own, point))), dict(zip(own, point)), encoder)


def _curve(cell: xr.Dataset, setting: dict[str, Any], encoder: int) -> Curve:
  axis = strength_axis(cell, encoder)
  by_fold = f'accuracy_by_fold_{encoder}'
  accuracy = cell[by_fold] if by_fold in cell else cell[f'accuracy_{encoder}'].expand_dims('fold')
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
