"""Accuracy against strength, cut out of a data set: one curve per data setting and encoder."""

import dataclasses
import itertools
from typing import Iterator

import numpy as np
import xarray as xr

STRENGTHS = ('lam', 'lam_1', 'lam_2')


@dataclasses.dataclass(frozen=True)
class Curve:
  """setting: {dimension: value} of the data; axis: name of the strength that varies; lam [L];
  accuracy [L, S, F] (F = 1 where exact); cka [L, S]; ceiling: Bayes accuracy, NaN if unknown."""
  setting: dict[str, object]
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


def strength_axis(dataset: xr.Dataset, encoder: int) -> str:
  """The dimension that an encoder feels: its own strength if there is one, else `lam`."""
  own = f'lam_{encoder}'
  return own if own in dataset.sizes else 'lam'


def setting_dims(dataset: xr.Dataset, encoder: int) -> tuple[str, ...]:
  """Dimensions that are neither this encoder's strength nor the seed."""
  skip = (strength_axis(dataset, encoder), 'seed', 'fold')
  return tuple(str(d) for d in dataset['accuracy_1'].dims if d not in skip)


def curves(dataset: xr.Dataset) -> Iterator[Curve]:
  """Every curve of a data set, settings in order, encoder 1 before 2."""
  dims = setting_dims(dataset, 1), setting_dims(dataset, 2)
  names = [tuple(itertools.product(*(dataset[d].values.tolist() for d in own))) for own in dims]
  for encoder, own, points in zip((1, 2), dims, names):
    for point in points:
      yield _curve(dataset.sel(dict(zip(own, point))), dict(zip(own, point)), encoder)


def _curve(cell: xr.Dataset, setting: dict[str, object], encoder: int) -> Curve:
  axis = strength_axis(cell, encoder)
  by_fold = f'accuracy_by_fold_{encoder}'
  accuracy = cell[by_fold] if by_fold in cell else cell[f'accuracy_{encoder}'].expand_dims('fold')
  return Curve(
      setting, encoder, axis, cell[axis].values,
      accuracy.transpose(axis, 'seed', 'fold').values, cell['cka'].transpose(axis, 'seed').values,
      float(cell[f'ceiling_{encoder}'].values.flat[0]), int(cell['diverged'].sum()))
