"""The emergence study on real pairs: encoders of each side trained alone on its labelled rows.

A cell is a depth and a seed, of an encoder of either side. Data, split and test pairs are the same
for all; the seed is that of initialisation and order.
"""

from collections.abc import Collection, Mapping
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import checks, losses, named, similarity
from mmalign_jax.data import prepared
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.data.published import count_sides
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.objective import outputs
from mmalign_jax.settings import Rule, check_cells, checked, count, refuse_unread, shown
from mmalign_jax.studies import files, reads
from mmalign_jax.studies.emergence import plan as generated
from mmalign_jax.studies.emergence.plan import (
  MEASURED,
  OF_PAIRS,
  PAIRS,
  RUN,
  TRAINED,
  Emergence,
  most_epochs,
)
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training import alone
from mmalign_jax.training.fitting import fitting
from mmalign_jax.types import Hyper, Spec, shape_of

DIMENSIONS = ('depth', 'seed')
_DECIDING = {name: value for name, value in {**files.DEFAULTS, **OF_PAIRS, **TRAINED}.items()
             if name not in (*RUN, 'clip_quantile')}
_MEASURED = (*MEASURED, 'clip_quantile')
_OF_GENERATORS = ('unique', 'transform_depth', 'untransformed_depth', 'transform', 'transform_seed',
                  'level', 'flipped', 'mismatched')
_ONE = {'unique': (0,), 'transform_depth': (0,)}  # dimensions that pairs do not have


@dataclasses.dataclass(frozen=True)
class Real(Emergence):
  """As `Emergence`, of pairs. names: of both sides; learnt: their labelled rows to train on; group
  [N]: codes of the test pairs that similarity is measured on, None where each is its own; shares
  [C]: of the classes among the test rows of either side, None for a regression."""
  names: tuple[str, ...] = ()
  learnt: tuple[int, ...] = ()
  group: np.ndarray | None = None
  shares: tuple[np.ndarray, ...] | None = None

  @property
  def regression(self) -> bool:
    return losses.task_of(self.spec.task).regression

  @property
  def merit(self) -> str:
    return 'negative_validation_error' if self.regression else 'validation_accuracy'

  @property
  def repeats(self) -> int:
    candidates = [len(self.settings[name]) for name in ('learning_rate', 'weight_decay')]
    return len(self.axes['seed']) + math.prod(candidates)

  def protocol(self, unit: Unit) -> alone.Protocol:
    n_rows = self.learnt[unit.side - 1]
    spec = dataclasses.replace(self.spec, depth=unit.depth, max_train=n_rows,
                               batch_size=min(self.spec.batch_size, n_rows))
    return alone.Protocol(spec, unit.side, most_epochs(self.settings, unit.side), 0)

  def hyper(self, unit: Unit) -> Hyper:
    """Settings of a unit of one encoder: `alone.OWN` [1], the others scalars."""
    own = {**dict.fromkeys(alone.OWN, 0.0), 'learning_rate': unit.learning_rate,
           'weight_decay': unit.weight_decay}
    return named.hyper(**{name: np.full(1, value, np.float32) for name, value in own.items()},
                       seed=np.uint32(unit.seed))

  def transforms(self, side: int) -> tuple[int, ...]:
    return (0,)


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Real:
  """Builds the study, reading its data.

  Args:
    given: by name. preset: as of `plan.from_settings`.

  Raises:
    ValueError: as `plan.from_settings`, or data that do not fit. FileNotFoundError: a missing file.
  """
  known = generated.defaults() | {'n_validation': files.DEFAULTS['n_validation']}
  # as many validation samples as a generator has by default are no choice of labels a class
  given = {name: value for name, value in given.items()
           if (name, value) != ('n_validation', TRAINED['n_validation'])}
  settings = checked(given, known, rules())
  check_cells({name: settings[name] for name in DIMENSIONS})
  idle = unread(settings)
  if 'bands' not in idle:
    generated.check_bands(settings)
  read = refuse_unread(settings, given, known, idle, preset)
  if count_sides(settings['data'], settings['x3']) > 2:
    raise ValueError(f'x3={settings["x3"]!r}: this study compares two sides; name them x1 and x2')
  if 'bands' in idle:
    settings['bands'] = generated.bands_of(settings)
  loaded = files.load(settings)
  assert isinstance(loaded, Prepared)  # as the loader of pairs gives
  kept = _aligned(settings, loaded)
  settings |= {'task': loaded.task if settings['task'] == 'auto' else settings['task'],
               'n_align': len(kept.unseen_y)}
  read |= {name: settings[name] for name in ('task', 'n_align')}
  made = _made(settings, read, kept)
  _check_layers(made)
  return made


def rules() -> dict[str, Rule]:
  """What every setting may be."""
  return generated.rules(SOURCES[PAIRS]) | {'n_validation': files.rules()['n_validation'],
                                            'batch_size': count(1, 2**20)}


def unread(settings: Mapping[str, Any]) -> dict[str, str]:
  """{setting: why it has no effect}."""
  of_sides = reads.unread_of_sides({**settings, 'projection': 'none'})
  found = {name: why for name, why in of_sides.items() if name in TRAINED and name != 'depth'}
  found |= {name: why for name, why in files.unread(PAIRS).items() if name != 'n_validation'}
  found |= dict.fromkeys(_OF_GENERATORS, "is a setting of generators, and has no effect on data: "
                         "generator 'pairs' takes them as they are")
  found['n_train'] = 'has no effect: every labelled row that is not set aside is trained on'
  return found | generated.unread_of_all(settings)


def _aligned(settings: Mapping[str, Any], loaded: Prepared) -> Prepared:
  """The data with n_align of the test rows that have both sides, drawn once for all encoders.

  Raises:
    ValueError: too few of them, or a side without rows to train on or to choose by.
  """
  for i, name in enumerate(loaded.names):
    for rows, what in ((loaded.labelled & loaded.present[i], 'labelled row to train on'),
                       (loaded.validation[i].y, 'row to choose settings by'),
                       (loaded.test[i].y, 'test row')):
      if not (np.any(rows) if rows.dtype == bool else len(rows)):
        raise ValueError(f'{settings["data"]}: no {what} has {name!r}')
  total = len(loaded.unseen_y)
  n, least = min(settings['n_align'], total), max(
      similarity.MEASURES[name].least for name in settings['measures'])
  if any('k' in similarity.MEASURES[name].settings for name in settings['measures']):
    least = max(least, settings['neighbors'] + 1)
  if n < least:
    of = f'{total} test rows with both sides' if total < least else f'n_align={n}'
    raise ValueError(f'neighbors={settings["neighbors"]}, measures={shown(settings["measures"])} '
                     f'need {least} pairs to measure on; {settings["data"]} has {of}')
  at = np.sort(np.random.default_rng(settings['split_seed']).permutation(total)[:n])
  return dataclasses.replace(
      loaded, unseen=tuple(prepared.take(x, at) for x in loaded.unseen),
      unseen_y=loaded.unseen_y[at], unseen_fold=loaded.unseen_fold[at],
      unseen_unit=loaded.unseen_unit[at])


def _made(settings: dict[str, Any], read: Mapping[str, Any], loaded: Prepared) -> Real:
  learnt = tuple(int((loaded.labelled & has).sum()) for has in loaded.present)
  spec = Spec(
      generator=PAIRS, encoder=settings['encoder'], width=settings['width'],
      depth=max(settings['depth']), projection='none', task=settings['task'],
      batch_size=settings['batch_size'], clip_norm=settings['clip_norm'], max_train=max(learnt),
      n_align=settings['n_align'], neighbors=settings['neighbors'])
  pick = lambda names, of: {name: of[name] for name in names if name in of}
  codes = np.unique(loaded.unseen_unit, return_inverse=True)[1]
  shares = tuple(np.bincount(of.y, minlength=len(loaded.classes)) / len(of.y)
                 for of in loaded.test) if loaded.classes else None
  tables = jax.tree.map(jnp.asarray, prepared.tables(loaded))
  return Real(
      settings['name'], _ONE | {name: settings[name] for name in DIMENSIONS}, spec, tables,
      pick(_DECIDING, settings), pick(_MEASURED, settings), pick(RUN, settings),
      pick(_DECIDING, read) | {'data_fingerprint': loaded.fingerprint}, loaded.notes, loaded.names,
      learnt, None if codes.max() + 1 == len(codes) else codes, shares)


def _check_layers(plan: Real) -> None:
  """Whether encoders and task take the rows of every side, and the measures what they make of the
  test pairs; shapes only, nothing is run."""
  x, y = (_layer(plan, side) for side in (1, 2))
  for name in plan.measured['measures']:
    row = similarity.MEASURES[name]
    own = {'k': plan.measured['neighbors']} if 'k' in row.settings else {}
    fitting(lambda: jax.eval_shape(lambda x, y: row(x, y, **own), x, y),
            f'measures={name!r}, layers of {x.shape[1]} and {y.shape[1]} units')
  checks.check_pairs(plan.measured['n_align'], plan.measured['neighbors'],
                     plan.measured['measures'])


def _layer(plan: Real, side: int) -> jax.ShapeDtypeStruct:
  """The last layer [N, width] of a side's deepest encoder on the test pairs.

  Raises:
    ValueError: the encoder or the task does not take the rows, or layers differ in width.
  """
  sample, n = plan.tables.unseen[side - 1], plan.measured['n_align']
  module, found = sides.Side(plan.spec.of_side(side), plan.tables.n_outputs), []

  def trace():
    params = jax.eval_shape(lambda key: sides.init(
        key, (module,), shape_of(sample))['side_1'], jax.random.key(0))
    found.append(jax.eval_shape(lambda p, x: outputs(module, p, x), params, sample))
    labels = jax.ShapeDtypeStruct((n,), plan.tables.y.dtype)
    jax.eval_shape(losses.task_of(plan.spec.task), found[0].prediction, labels)

  fitting(trace, f'encoder={plan.spec.encoder!r}, task={plan.spec.task!r}, side '
          f'{plan.names[side - 1]!r}')
  widths = [layer.shape[1] for layer in found[0].layers]
  if len(set(widths)) > 1:
    raise ValueError(f'encoder={plan.spec.encoder!r} has layers of {", ".join(map(str, widths))} '
                     'units; this study compares encoders whose layers are alike in width')
  return found[0].layers[-1]
