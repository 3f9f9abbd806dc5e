"""All numbers that a zoo answers with: pairs, trends, levels, sizes, nearest models, maps."""

from collections.abc import Iterator, Sequence
import dataclasses
import math
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports.statistics import spearman
from mmalign_jax.similarity.null import has_room
from mmalign_jax.studies.zoo import atlas, trends
from mmalign_jax.studies.zoo.dataset import mapping, qualities

KINDS = ('value', 'calibrated')


def summarise(dataset: xr.Dataset, draws: int) -> dict[str, Any]:
  """All numbers of the answer, for JSON.

  Raises:
    ValueError: a measure has no value for any pair of models.
  """
  names = [str(name) for name in dataset['measure'].values]
  return {
      'name': dataset.attrs['name'], 'n': int(dataset.attrs['n']),
      'left': _models(dataset, 'left'), 'right': _models(dataset, 'right'),
      'refused': mapping(dataset, 'refused'),
      'pairs': [_of_pairs(dataset, name, level) for name in names
                for level in range(dataset.sizes['level'])],
      'trends': list(_trends(dataset, names, draws)),
      'levels': list(_levels(dataset, names, draws)),
      'sizes': list(_sizes(dataset, names)), 'nearest': list(_nearest(dataset, names)),
      'maps': list(_maps(dataset, names))}


def _models(dataset: xr.Dataset, side: str) -> list[dict[str, Any]]:
  quality = qualities(dataset, side, 0)
  return [{'model': str(name), 'width': int(dataset[f'width_{side}'][i]),
           'layers': int(dataset[f'layers_{side}'][i]),
           'quality': None if quality is None else float(quality[i])}
          for i, name in enumerate(dataset[side].values)]


def _kinds(dataset: xr.Dataset) -> list[str]:
  return [kind for kind in KINDS if kind in dataset]


def _of_pairs(dataset: xr.Dataset, name: str, level: int) -> dict[str, Any]:
  """The whole of a measure: how many pairs are above chance, and the ends of what they are."""
  one = dataset.sel(measure=name).isel(level=level)
  value = once(dataset, one['value'].values)
  if not np.isfinite(value).any():
    raise ValueError(f'measures={name!r} has no value for any pair of models; leave it out')
  found = {'level': float(one['level']), 'measure': name, 'pairs': int(np.isfinite(value).sum()),
           'lowest': float(np.nanmin(value)), 'highest': float(np.nanmax(value))}
  if 'p_value' in dataset:
    p, chance = (once(dataset, one[key].values) for key in ('p_value', 'null_mean'))
    found |= {'chance': float(np.nanmean(chance)), 'highest_p': float(np.nanmax(p)),
              'above_chance': int((p < 0.05 + 1e-6).sum())}
  return found


def apart(dataset: xr.Dataset, values: np.ndarray) -> np.ndarray:
  """Values [..., left, right] without a model and itself."""
  if not dataset.attrs['within']:
    return values
  return np.where(np.eye(values.shape[-1], dtype=bool), np.nan, values)


def once(dataset: xr.Dataset, values: np.ndarray) -> np.ndarray:
  """Values [left, right] of every pair once: of one side with itself, those above the diagonal."""
  return np.where(np.tri(len(values), dtype=bool), np.nan, values) if (
      dataset.attrs['within']) else values


def deviation(dataset: xr.Dataset, name: str, kind: str, level: int) -> np.ndarray | None:
  """[H, left, right] of halves of the samples, in units of a kind of value."""
  if 'deviation' not in dataset:
    return None
  one = dataset.sel(measure=name).isel(level=level)
  away, best = one['deviation'].values, mapping(dataset, 'best')[name]
  if kind == 'value' or best is None:
    return away
  mean = one['null_mean'].values
  return away / np.where(has_room(best, mean), best - mean, np.nan)


def turned(dataset: xr.Dataset, name: str, kind: str) -> int:
  """1 where higher is more similar, else -1."""
  scaled = kind == 'calibrated' and mapping(dataset, 'best')[name] is not None
  return 1 if scaled or mapping(dataset, 'higher')[name] else -1


def _trends(dataset: xr.Dataset, names: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
  for level in range(dataset.sizes['level']):
    for name in names:
      for kind in _kinds(dataset):
        for side in ('left', 'right')[:1 if dataset.attrs['within'] else 2]:
          quality = qualities(dataset, side, level)
          if quality is None:
            continue
          values = dataset[kind].sel(measure=name).isel(level=level).values
          away, sign = deviation(dataset, name, kind, level), turned(dataset, name, kind)
          if side == 'right':
            values, away = values.T, None if away is None else away.transpose(0, 2, 1)
          found = trends.trend(
              quality, dataset[f'width_{side}'].values, sign * values,
              None if away is None else sign * away, count=draws, own=bool(dataset.attrs['within']))
          yield {'level': float(dataset['level'][level]), 'measure': name, 'kind': kind,
                 'side': side, **dataclasses.asdict(found)}


def _levels(dataset: xr.Dataset, names: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
  if dataset.sizes['level'] < 2:
    return
  levels = dataset['level'].values
  for name in names:
    for kind in _kinds(dataset):
      values, sign = dataset[kind].sel(measure=name).values, turned(dataset, name, kind)
      away = [deviation(dataset, name, kind, i) for i in range(len(levels))]
      fall = trends.with_level(levels, sign * values, None if away[0] is None else sign * np.stack(
          [a for a in away if a is not None]), count=draws)
      pick = np.nanmax if sign > 0 else np.nanmin
      yield {'measure': name, 'kind': kind, **dataclasses.asdict(fall), 'rows': [
          {'level': float(level), 'highest': float(pick(values[i])),
           'mean': float(np.nanmean(values[i]))} for i, level in enumerate(levels)]}


def _sizes(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  for name in names if 'size' in dataset else ():
    for size in dataset['size'].values:
      one = dataset.sel(measure=name, size=size)
      row: dict[str, Any] = {'measure': name, 'samples': int(size),
                             'used': float(one['size_used'].mean()) if 'size_used' in one else
                             float(size)}  # an older one
      for kind in KINDS:
        values = apart(dataset, one[f'size_{kind}'].values)
        mean = np.nanmean(values, axis=(1, 2))
        row[kind] = float(mean.mean())
        row[f'{kind}_deviation'] = float(mean.std(ddof=1)) if len(mean) > 1 else math.nan
        for side, axis in (('left', 2), ('right', 1)):
          quality = qualities(dataset, side, 0)
          if quality is not None:
            some = np.isfinite(quality) & np.isfinite(values).any(axis=(0, axis))
            kept = values[:, some] if side == 'left' else values[:, :, some]
            own = turned(dataset, name, kind) * np.nanmean(kept, axis=axis)
            row[f'{kind}_spearman_{side}'] = (
                float(spearman(quality[some], own).mean()) if some.sum() > 2 else math.nan)
      yield row


def _nearest(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  kind = _kinds(dataset)[-1]
  for name in names:
    sign = turned(dataset, name, kind)
    values = sign * apart(
        dataset, dataset[kind].sel(measure=name).isel(level=0).values)
    for side, other, grid in (('left', 'right', values), ('right', 'left', values.T)):
      for i, row in enumerate(grid if side == 'left' or not dataset.attrs['within'] else ()):
        if np.isfinite(row).any():
          j = int(np.nanargmax(row))
          yield {'measure': name, 'side': side, 'model': str(dataset[side].values[i]),
                 'nearest': str(dataset[other].values[j]), kind: float(sign * row[j])}


def _maps(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  if 'together' not in dataset or dataset.sizes['model'] < 3:
    return
  for name in names:
    unlike = atlas.distances(dataset['together'].sel(measure=name).values.copy(),
                             mapping(dataset, 'best')[name], mapping(dataset, 'higher')[name])
    if not np.isfinite(unlike).all():
      continue
    places, share = atlas.plane(unlike)
    yield {'measure': name, 'share': share, 'models': [str(m) for m in dataset['model'].values],
           'places': places.tolist(), 'tree': atlas.tree(unlike).tolist()}
