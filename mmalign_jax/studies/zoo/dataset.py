"""The data set of a zoo: every measure of all pairs of models, names as coordinates."""

from collections.abc import Mapping, Sequence
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from mmalign_jax.runs import folder
from mmalign_jax.runs.versions import versions
from mmalign_jax.similarity import Measure, calibration, interval
from mmalign_jax.similarity.interval import deviations
from mmalign_jax.similarity.null import has_room
from mmalign_jax.studies.zoo.models import Model
from mmalign_jax.studies.zoo.plan import Plan

PAIRS = ('measure', 'level', 'left', 'right')
_WORDS = {
    'value': ('measure, best over pairs of layers', '1'),
    'layer_left': ('layer of the left model where it is best, from 1', 'layer'),
    'layer_right': ('layer of the right model where it is best, from 1', 'layer'),
    'null_mean': ('mean under permutation, best over layers inside', '1'),
    'null_q95': ('95 % quantile under permutation, best over layers inside', '1'),
    'calibrated': ('0 at chance, 1 for equal sides', '1'),
    'p_value': ('permutation p-value of the best over layers', '1'),
    'tested': ('measure of the samples that can change places', '1'),
    'low': ('lower end of the 95 % interval over samples', '1'),
    'high': ('upper end of the 95 % interval over samples', '1')}

Found = dict[str, np.ndarray]


def to_dataset(plan: Plan, workdir: pathlib.Path) -> xr.Dataset:
  """All cells as one.

  Raises:
    OSError: a file cannot be read back.
  """
  names, levels = list(plan.measures), range(max(len(plan.levels), 1))
  pairs = [[_pairs(plan, workdir, name, level) for level in levels] for name in names]
  data: dict[str, Any] = {
      key: (PAIRS, np.array([[one[key] for one in row] for row in pairs]), _attrs(*_WORDS[key]))
      for key in pairs[0][0]}
  if plan.settings['resamples']:
    data |= _halves(plan, workdir, names, levels, data['value'][1])
  data |= _sizes(plan, workdir, names) if plan.settings['sizes'] else {}
  data |= _qualities(plan, workdir, levels)
  for side, every in (('left', plan.left), ('right', plan.right)):
    data[f'width_{side}'] = (side, np.array([m.width for m in every]),
                             _attrs('features of the widest layer', 'features'))
    data[f'layers_{side}'] = (side, np.array([len(m.layers) for m in every]),
                              _attrs('layers', 'layers'))
  coords = {
      'measure': ('measure', names, _attrs('measure of similarity', '1')),
      'level': ('level', np.array(plan.levels or (0.0,)), _attrs(
          plan.settings['levels'] or 'level', '1')),
      **{side: (side, [m.name for m in every], _attrs(f'model of the {side} side', '1'))
         for side, every in (('left', plan.left), ('right', plan.right))},
      **({'size': ('size', list(plan.settings['sizes']), _attrs('samples', 'samples'))}
         if plan.settings['sizes'] else {})}
  made = xr.Dataset(data, coords, _attributes(plan))
  return _with_map(plan, workdir, made)


def _attributes(plan: Plan) -> dict[str, Any]:
  units = plan.groups if plan.groups is not None else plan.items
  refused = {side: {m.name: m.refused for m in every if m.refused}
             for side, every in (('left', plan.left), ('right', plan.right))[:2 - plan.within]}
  return {'name': plan.name, 'n': plan.n, 'within': int(plan.within),
          'leveled': plan.settings['levels'], 'refused': json.dumps(refused),
          'units': 0 if units is None else int(units.max()) + 1,
          'higher': json.dumps({name: m.higher for name, m in plan.measures.items()}),
          'best': json.dumps({name: m.best_value(**plan.of_measure(m))
                              for name, m in plan.measures.items()}),
          'configuration': json.dumps(dict(plan.record) | dict(plan.run)),
          'versions': json.dumps(versions())}


def _attrs(name: str, units: str) -> dict[str, str]:
  return {'long_name': name, 'units': units}


def _read(workdir: pathlib.Path, name: str) -> folder.Arrays:
  arrays = folder.read(workdir / 'cells' / f'{name}.npz')
  if arrays is None:
    raise OSError(f'{workdir}/cells/{name}.npz is gone; the same command makes it again')
  return arrays


def at(models: Sequence[Model]) -> np.ndarray:
  """Places of the models that can be compared."""
  return np.array([i for i, m in enumerate(models) if not m.refused])


def spread(plan: Plan, values: np.ndarray) -> np.ndarray:
  """Values [..., able, able] at their places among all models, NaN elsewhere."""
  made = np.full((*values.shape[:-2], len(plan.left), len(plan.right)), np.nan)
  made[..., at(plan.left)[:, None], at(plan.right)[None]] = values
  return made


def _pairs(plan: Plan, workdir: pathlib.Path, name: str, level: int) -> Found:
  """All of one measure at a level, [left, right] each."""
  columns = [_read(workdir, f'pairs_{level}_{j}') for j in at(plan.right)]
  take = lambda key: np.stack([column[f'{name}/{key}'] for column in columns], axis=-1)
  value, tested, null = take('value'), take('tested'), take('null')
  layers = np.stack([column[f'{name}/layers'] for column in columns], axis=1)
  found = {'value': value, 'layer_left': layers[..., 0] + 1.0, 'layer_right': layers[..., 1] + 1.0}
  if len(null):
    found |= calibrated(plan, name, value, tested, null) | {'tested': tested}
  return {key: spread(plan, one) for key, one in found.items()}


def calibrated(plan: Plan, name: str, value: np.ndarray, tested: np.ndarray,
               null: np.ndarray) -> Found:
  """`similarity.calibration` of all pairs: null_mean, null_q95, calibrated, p_value [m, m']."""
  measure = plan.measures[name]
  joined = _calibration(measure, tuple(plan.of_measure(measure).items()))
  with jax.enable_x64(value.dtype == np.float64):
    flat = (value.ravel(), tested.ravel(), null.reshape(len(null), -1).T)
    made = joined(*map(jnp.asarray, flat))
  return {key: np.asarray(z).reshape(value.shape)
          for key, z in zip(('null_mean', 'null_q95', 'calibrated', 'p_value'), made)}


@functools.lru_cache(maxsize=64)
def _calibration(measure: Measure, settings: tuple[tuple[str, Any], ...]):
  """Compiled once for all levels."""
  def one(value, tested, null):
    made = calibration(measure, value[None, None], null, tested=tested, **dict(settings))
    return made.null_mean, made.null_quantiles[2], made.calibrated, made.p_value
  return jax.jit(jax.vmap(one))


def _halves(plan: Plan, workdir: pathlib.Path, names: Sequence[str], levels: Sequence[int],
            score: np.ndarray) -> dict[str, Any]:
  """Deviations over samples, and the intervals that they make."""
  codes = plan.groups if plan.groups is not None else plan.items
  from mmalign_jax.studies.zoo.run import PART
  parts = range(-(-plan.settings['resamples'] // PART))
  values = np.array([[spread(plan, np.concatenate([
      _read(workdir, f'halves_{level}_{part}')[f'{name}/value'] for part in parts]))
                      for level in levels] for name in names])
  away = np.stack([[np.asarray(deviations(jnp.asarray(one), plan.n, codes)) for one in row]
                   for row in values])
  low, high = (np.array(end) for end in zip(*[
      [np.array(end) for end in zip(*[interval.ends(jnp.asarray(one), codes, 0.95)
                                      for one in row])] for row in away]))
  return {
      'low': (PAIRS, score + low, _attrs(*_WORDS['low'])),
      'high': (PAIRS, score + high, _attrs(*_WORDS['high'])),
      'deviation': (('measure', 'level', 'half', 'left', 'right'), away, _attrs(
          'value of random halves of the samples about their mean, as much as all samples vary',
          '1'))}


def _sizes(plan: Plan, workdir: pathlib.Path, names: Sequence[str]) -> dict[str, Any]:
  dims = ('measure', 'size', 'repeat', 'left', 'right')
  of = lambda key: np.array([[spread(plan, _read(workdir, f'nested_{size}')[f'{name}/{key}'])
                              for size in plan.settings['sizes']] for name in names])
  value, chance = of('value'), of('chance')
  best = [plan.measures[name].best_value(**plan.of_measure(plan.measures[name])) for name in names]
  room = np.stack([np.ones_like(chance[i]) if b is None else np.where(
      has_room(b, chance[i]), b - chance[i], np.nan) for i, b in enumerate(best)])
  used = np.array([_read(workdir, f'nested_{size}')['used'] for size in plan.settings['sizes']])
  return {'size_used': (dims[1:3], used, _attrs('samples in whole groups', 'samples')),
          'size_value': (dims, value, _attrs('measure, nested subsamples, first level', '1')),
          'size_calibrated': (dims, (value - chance) / room, _attrs(
              'calibrated measure, nested subsamples, first level', '1'))}


def _qualities(plan: Plan, workdir: pathlib.Path, levels: Sequence[int]) -> dict[str, Any]:
  """quality_left [left] and quality_right [level, right], NaN where there is none."""
  found = {}
  for side, every, number in (('left', plan.left, 0), ('right', plan.right, 1)):
    own = plan.scores['left' if plan.within else side]
    if own:
      row = np.array([own.get(m.name, np.nan) for m in every])
      made, said = np.stack([row] * (len(levels) if number else 1)), 'score that was given'
    elif plan.y is None:
      continue
    else:
      of = 0 if plan.within else number
      made = np.full((len(levels) if number else 1, len(every)), np.nan)
      for level in range(len(made)):
        for i in at(every):
          made[level, i] = _read(workdir, f'probe_{of}_{level}_{i}')['score']
      said = ('accuracy of a linear probe of the label, best layer, 5 folds' if plan.y.classes
              else 'R2 of a linear probe of the label, best layer, 5 folds')
    dims = ('level', side) if number else (side,)
    found[f'quality_{side}'] = (dims, made if number else made[0], _attrs(said, '1'))
  return found


def _with_map(plan: Plan, workdir: pathlib.Path, made: xr.Dataset) -> xr.Dataset:
  """`together` [measure, model, model]: all models of both sides against each other."""
  names = [*(f'left: {m.name}' for m in plan.left if not m.refused),
           *(f'right: {m.name}' for m in plan.right if not m.refused)]
  if plan.within:
    names = [m.name for m in plan.left if not m.refused]
    values = made['value'].isel(level=0).values[:, at(plan.left)][:, :, at(plan.left)]
  elif not plan.settings['map']:
    return made
  else:
    arrays = _read(workdir, 'map')
    values = np.stack([arrays[f'{name}/value'] for name in plan.measures])
  together = ('measure', 'model', 'other'), values, _attrs(
      'measure of all models, first level', '1')
  return made.assign(together=together).assign_coords(
      model=('model', names), other=('other', names))


def qualities(dataset: xr.Dataset, side: str, level: int) -> np.ndarray | None:
  """[models] of a side, None where nothing is known of it."""
  name = f'quality_{side}'
  if name not in dataset:
    return None
  values = dataset[name]
  return (values.isel(level=level) if 'level' in values.dims else values).values


def mapping(dataset: xr.Dataset, name: str) -> Mapping[str, Any]:
  """An attribute that is JSON."""
  return json.loads(dataset.attrs[name])
