"""The emergence study's files: what is kept of a unit, and the data set made of all of them."""

from collections.abc import Callable, Sequence
import functools
import hashlib
import itertools
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.data.sources import SOURCES
from mmalign_jax.runs import folder
from mmalign_jax.runs.damage import note
from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.runs.versions import versions
from mmalign_jax.studies.emergence import agreement
from mmalign_jax.studies.emergence.plan import DIMENSIONS, Emergence
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training import compiling
from mmalign_jax.training.alone import Trained, own_fields, unit_axes
from mmalign_jax.types import Spec

if TYPE_CHECKING:
  import xarray as xr

UnitOf = Callable[..., Unit]           # ([side,] transform_depth, depth, seed) -> Unit
CellArrays = Callable[[int, int, int], folder.Arrays]
Variables = dict[str, tuple[Any, Any, dict[str, str]]]  # name: (dimensions, values, attributes)

_SCORES = {  # name: (long name, units)
    'accuracy': ('test accuracy', '1'), 'cross_entropy': ('test cross-entropy', 'nats'),
    'information': ('mutual information of prediction and label', 'nats'),
    'best_epoch': ('epoch of best validation accuracy', 'epochs'),
    'diverged': ('a parameter became infinite or NaN', '1'),
    'ceiling': ('Bayes accuracy', '1'), 'mi': ('I(X;Y)', 'nats')}
_NEEDED = ('accuracy', 'best_epoch', 'diverged', 'validation', 'learning_rate', 'weight_decay')
_SIMILARITY = {
    '': 'best over pairs of layers', '_calibrated': '0 at chance, 1 at best',
    '_p_value': 'permutation p-value of the best over layers',
    '_null_mean': 'mean under permutation, best over layers inside',
    '_layer_1': 'layer of encoder 1 where it is best, from 1',
    '_layer_2': 'layer of encoder 2 where it is best, from 1',
    '_null': 'best over pairs of layers, by permutation of the test pairs'}
_AXES = {
    'unique': ('task bits of 8 not shared', 'bits'),
    'transform_depth': ('depth of the random transform', 'layers'),
    'depth': ('depth of the encoder', 'layers'), 'seed': ('random seed', '1')}


def to_arrays(trained: Trained, unit: Unit) -> folder.Arrays:
  """A trained unit as flat arrays [R, ...]."""
  score = trained.score
  params = traverse_util.flatten_dict(trained.params, sep='/')
  found = {
      **{f'params/{name}': value for name, value in params.items()},
      'accuracy': score.accuracy, 'cross_entropy': score.task_loss,
      'information': score.information, 'best_epoch': trained.best_epoch,
      'validation': trained.validation, 'diverged': trained.diverged,
      'learning_rate': np.float32(unit.learning_rate),
      'weight_decay': np.float32(unit.weight_decay), **trained.further}
  return {name: np.asarray(value) for name, value in found.items()}


def measure_folder(plan: Emergence, workdir: str | os.PathLike, name: str) -> pathlib.Path:
  """Where a measure's values lie; another setting of it has another folder."""
  settings = json.dumps({k: v for k, v in plan.measured.items() if k != 'measures'})
  return (pathlib.Path(workdir) / 'similarity'
          / f'{name}_{hashlib.sha256(settings.encode()).hexdigest()[:8]}')


def to_dataset(plan: Emergence, workdir: pathlib.Path, unit_of: UnitOf) -> 'xr.Dataset':
  """Every cell, with DIMENSIONS first; what belongs to an encoder of side 1 is that of the given
  depth, repeated over the transform depths that it does not know of.

  Args:
    unit_of: (side, transform_depth, depth, seed) -> Unit.

  Raises:
    OSError: a file cannot be read back.
  """
  import xarray as xr
  data = {}
  for side in (1, 2):
    data |= _encoders(plan, workdir, functools.partial(unit_of, side), side)
  for name in plan.measured['measures']:
    data |= _similarities(plan, workdir, functools.partial(unit_of, 2), name)
  coords = {name: (name, np.asarray(plan.axes[name]), dict(zip(('long_name', 'units'), text)))
            for name, text in _AXES.items()}
  if len(plan.settings['untransformed_depth']) > 1:
    coords['untransformed_depth'] = (
        'untransformed_depth', np.asarray(plan.settings['untransformed_depth']),
        {'long_name': 'depth of encoder 1', 'units': 'layers'})
  settings = plan.record | plan.measured
  return with_encoders(xr.Dataset(data, coords, {
      'name': plan.name, 'configuration': json.dumps(settings), 'versions': json.dumps(versions()),
      'measures': json.dumps(plan.measured['measures']),
      'tuning': (workdir / 'tuning.json').read_text()}))


def _over_cells(plan: Emergence, get: CellArrays) -> dict[str, np.ndarray]:
  """{name: [unique, transform_depth, depth, seed, ...]} of get(transform_depth, depth, seed)."""
  axes = [plan.axes[name] for name in DIMENSIONS[1:]]
  found = [get(*cell) for cell in itertools.product(*axes)]
  stacked = {name: np.stack([arrays[name] for arrays in found], axis=1) for name in found[0]}
  return {name: value.reshape(len(value), *map(len, axes), *value.shape[2:])
          for name, value in stacked.items()}


def _encoders(plan: Emergence, workdir: pathlib.Path, unit_of: UnitOf, side: int) -> Variables:
  own = plan.transforms(side)
  first = unit_of(own[0], plan.axes['depth'][0], plan.axes['seed'][0])
  known = bounds(plan, first)  # of the task alone: the same for every unit

  @functools.lru_cache(maxsize=None)
  def one(transform, depth, seed):
    unit = unit_of(transform, depth, seed)
    arrays = read(workdir / 'encoders' / f'{unit.name}.npz', unit)
    found = {name: arrays[name] for name in ('validation', *_SCORES) if name in arrays}
    absent = [name for name in _SCORES if name not in found and name not in known]
    if absent:
      note(f'{unit.words}: its file is of another version, without {", ".join(absent)}: NaN')
    return dict.fromkeys(absent, np.full(len(plan.axes['unique']), np.nan)) | found | known

  values = _over_cells(plan, lambda t, d, s: one(t if t in own else own[0], d, s))
  rates = {name: [getattr(unit_of(own[0], d, plan.axes['seed'][0]), name)
                  for d in plan.axes['depth']] for name in ('learning_rate', 'weight_decay')}
  history = values.pop('validation')
  return {
      **{f'{name}_{side}': (DIMENSIONS, value, {
          'long_name': f'{_SCORES[name][0]} of encoder {side}', 'units': _SCORES[name][1]})
         for name, value in values.items()},
      f'validation_{side}': ((*DIMENSIONS, f'epoch_{side}'), history, {
          'long_name': f'validation accuracy of encoder {side} by epoch', 'units': '1'}),
      **{f'{name}_{side}': ('depth', value, {
          'long_name': f'{name.replace("_", " ")} of encoder {side}, chosen on validation',
          'units': '1'}) for name, value in rates.items()}}


def bounds(plan: Emergence, unit: Unit) -> dict[str, np.ndarray]:
  """Bayes accuracy and I(X;Y) of the unit's side, [R] by `unique`."""
  known = _bounds(plan.spec)(
      plan.tables, jax.tree.map(jnp.asarray, plan.hyper(unit)))[unit.side - 1]
  return {'ceiling': np.asarray(known.accuracy), 'mi': np.asarray(known.mi)}


@compiling.kept(4)
def _bounds(spec: Spec):
  return jax.jit(jax.vmap(
      SOURCES[spec.generator].bounds, in_axes=(None, unit_axes(own_fields(spec.generator)))))


def _similarities(plan: Emergence, workdir: pathlib.Path, unit_of: UnitOf,
                  name: str) -> Variables:
  neighbors, depths = plan.measured['neighbors'], plan.settings['untransformed_depth']
  lone = len(depths) == 1

  def one(transform, depth, seed):
    unit = unit_of(transform, depth, seed)
    arrays = read(measure_folder(plan, workdir, name) / f'{unit.name}.npz', unit,
                  [f'{kind}_{d}' for kind in ('scores', 'null') for d in depths])
    best, layer = zip(*(agreement.best_layers(name, arrays[f'scores_{d}']) for d in depths))
    found = {'best': best, 'layer': layer, 'null': [arrays[f'null_{d}'] for d in depths]}
    return {k: v[0] if lone else np.stack(v, axis=1) for k, v in found.items()}

  values = _over_cells(plan, one)
  found = agreement.calibrated(name, neighbors, values['best'], values['null'])
  dims = DIMENSIONS if lone else (*DIMENSIONS, 'untransformed_depth')
  ends = {
      '': values['best'], '_calibrated': found.calibrated, '_p_value': found.p_value,
      '_null_mean': found.null_mean, '_layer_1': values['layer'][..., 0] + 1,
      '_layer_2': values['layer'][..., 1] + 1, '_null': values['null']}
  return {name + end: (
      (*dims, 'permutation') if end == '_null' else dims, value,
      {'long_name': f'{name.replace("_", " ")}: {_SIMILARITY[end]}',
       'units': 'layer' if 'layer' in end else '1'}) for end, value in ends.items()}


def load(path: pathlib.Path, unit: Unit) -> folder.Arrays | None:
  """Arrays of a unit's encoders, as `folder.load`.

  Raises:
    ValueError: they were trained otherwise, or are of another version; the file is kept.
  """
  arrays = folder.load(path)
  if arrays is None:
    return None
  _need(path, arrays, _NEEDED)
  for name in ('learning_rate', 'weight_decay'):
    asked = np.float32(getattr(unit, name))
    if arrays[name] != asked:
      raise ValueError(f'{path} was trained with {name}={arrays[name]:g}, and tuning.json says '
                       f'{asked:g}: put back the tuning.json of then, or move the encoders away')
  return arrays


def read(path: pathlib.Path, unit: Unit, names: Sequence[str] = ()) -> folder.Arrays:
  """Arrays of a file of a unit: of its encoders, or `names` of what was measured on them.

  Raises:
    OSError: missing or damaged; names the unit. ValueError: as `load`.
  """
  arrays = folder.load(path) if names else load(path, unit)
  if arrays is None:
    raise OSError(f'{path}: {unit.words} could not be read back; run it again')
  _need(path, arrays, names)
  return arrays


def _need(path: pathlib.Path, arrays: folder.Arrays, names: Sequence[str]) -> None:
  for name in names:
    if name not in arrays:
      raise ValueError(f'{path} holds no {name!r}, being of another version, and is kept; go on '
                       'with that version, or choose another workdir')
