"""The data set of the emergence study on real pairs: every encoder, and its similarity."""

from collections.abc import Callable, Mapping
import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.runs.versions import versions
from mmalign_jax.studies.emergence import agreement, dataset as shared
from mmalign_jax.studies.emergence.real import similar
from mmalign_jax.studies.emergence.real.plan import DIMENSIONS, Real
from mmalign_jax.studies.emergence.unit import Unit

if TYPE_CHECKING:
  import xarray as xr

OF_MEASURE = ('encoder', 'clip_quantile', *DIMENSIONS)
CLASSES = {  # name: (long name, units)
    'accuracy': ('test accuracy', '1'),
    'balanced_accuracy': ('mean share of every class that is found, test rows', '1')}
NUMBERS = {
    'accuracy': ("share of test rows on the label's own side of the training median", '1'),
    'absolute_error': ('mean absolute error, test rows, in standard deviations of the labels in '
                       'training', '1'),
    'correlation': ('Pearson correlation of prediction and label, test rows', '1')}
_TRAINED = {
    'best_epoch': ('epoch of best validation', 'epochs'),
    'diverged': ('a parameter became infinite or NaN', '1')}
_SIMILARITY = {
    '': 'best over pairs of layers', '_calibrated': '0 at chance, 1 at best',
    '_p_value': 'permutation p-value of the best over layers',
    '_null_mean': 'mean under permutation, best over layers inside',
    '_layer_own': 'layer of the encoder itself where it is best, from 1',
    '_layer_best': 'layer of the best encoder of the other side where it is best, from 1'}

Variables = dict[str, tuple[Any, Any, dict[str, str]]]
UnitOf = Callable[[int, int, int, int], Unit]  # side, transform_depth, depth, seed


def scores_of(plan: Real) -> dict[str, tuple[str, str]]:
  """Names of what performance is, with long names and units."""
  return NUMBERS if plan.regression else CLASSES


def to_dataset(plan: Real, workdir: pathlib.Path, unit_of: UnitOf,
               best: Mapping[int, Unit]) -> 'xr.Dataset':
  """Of every encoder its performance, and its similarity to the best encoder of the other side.

  Raises:
    OSError: a file cannot be read back.
  """
  import xarray as xr
  every = {side: [[unit_of(side, 0, d, s) for s in plan.axes['seed']] for d in plan.axes['depth']]
           for side in (1, 2)}
  data: Variables = {}
  for side in (1, 2):
    data |= _encoders(plan, workdir, every[side], side)
  for name in plan.measured['measures']:
    data |= _similarities(plan, workdir, every, name)
  coords = {'depth': ('depth', np.asarray(plan.axes['depth']),
                      {'long_name': 'depth of the encoder', 'units': 'layers'}),
            'seed': ('seed', np.asarray(plan.axes['seed']),
                     {'long_name': 'random seed', 'units': '1'}),
            'clip_quantile': ('clip_quantile', np.asarray(plan.measured['clip_quantile']), {
                'long_name': 'quantile that activations are held within; 1: they are not',
                'units': '1'})}
  shares = plan.shares and [share.tolist() for share in plan.shares]
  return with_encoders(xr.Dataset(data, coords, {
      'name': plan.name, 'sides': json.dumps(plan.names),
      'configuration': json.dumps(plan.record | plan.measured), 'versions': json.dumps(versions()),
      'measures': json.dumps(plan.measured['measures']),
      'scores': json.dumps(list(scores_of(plan))), 'class_shares': json.dumps(shares),
      'learnt': json.dumps(plan.learnt), 'groups': int(
          0 if plan.group is None else plan.group.max() + 1),
      'best': json.dumps({side: dataclasses.asdict(unit) for side, unit in best.items()}),
      'tuning': (workdir / 'tuning.json').read_text()}))


def _encoders(plan: Real, workdir: pathlib.Path, units: list[list[Unit]], side: int) -> Variables:
  """Variables NAME_side [depth, seed] of what was kept of every encoder."""
  words = {**scores_of(plan), **_TRAINED}
  files = [[shared.read(similar.encoder_path(workdir, unit), unit) for unit in row]
           for row in units]
  of = lambda name: np.array([[arrays[name][0] for arrays in row] for row in files])
  found: Variables = {f'{name}_{side}': (DIMENSIONS, of(name), {
      'long_name': f'{long} of encoder {side}', 'units': unit})
                      for name, (long, unit) in words.items()}
  found[f'validation_{side}'] = ((*DIMENSIONS, f'epoch_{side}'), of('validation'), {
      'long_name': f'{plan.merit.replace("_", " ")} of encoder {side} by epoch', 'units': '1'})
  for name in ('learning_rate', 'weight_decay'):
    found[f'{name}_{side}'] = ('depth', np.array([getattr(row[0], name) for row in units]), {
        'long_name': f'{name.replace("_", " ")} of encoder {side}, chosen on validation',
        'units': '1'})
  return found


def _similarities(plan: Real, workdir: pathlib.Path, every: dict[int, list[list[Unit]]],
                  name: str) -> Variables:
  """A measure [encoder, clip_quantile, depth, seed]."""
  clips = range(len(plan.measured['clip_quantile']))
  values: dict[str, list] = {}
  for side in (1, 2):
    for i in clips:
      for unit in (unit for row in every[side] for unit in row):
        needed = [f'{kind}_{i}' for kind in ('scores', 'tested', 'null')]
        arrays = shared.read(similar.measured_path(plan, workdir, name, unit), unit, needed)
        score, layer = agreement.best_layers(name, arrays[needed[0]][None])
        tested, _ = agreement.best_layers(name, arrays[needed[1]][None])
        for kind, value in (('score', score[0]), ('layer', layer[0]), ('tested', tested[0]),
                            ('null', arrays[needed[2]])):
          values.setdefault(kind, []).append(value)
  shape = 2, len(clips), *(len(plan.axes[d]) for d in DIMENSIONS)
  of = {kind: np.stack(found).reshape(*shape, *np.shape(found[0]))
        for kind, found in values.items()}
  found = agreement.calibrated(name, plan.measured['neighbors'], of['tested'], of['null'])
  ends = {'': of['score'], '_calibrated': found.calibrated, '_p_value': found.p_value,
          '_null_mean': found.null_mean, '_layer_own': of['layer'][..., 0] + 1,
          '_layer_best': of['layer'][..., 1] + 1}
  return {name + end: (OF_MEASURE, value, {
      'long_name': f'{name.replace("_", " ")}: {_SIMILARITY[end]}',
      'units': 'layer' if 'layer' in end else '1'}) for end, value in ends.items()}
