"""Many models of one modality against many of another: what is asked, checked, and looked at.

Settings say where models are, what is measured, by what chance and intervals are made, and what the
models are worth (scores, or a label that a linear probe reads from them).
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import pathlib
from typing import Any
import zlib

import numpy as np

from mmalign_jax import grouped, similarity
from mmalign_jax.data.files import features, gaps, labels, rows
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import CHOICES, Reading
from mmalign_jax.settings import Rule, checked, choice, count, number, shown, text, truth
from mmalign_jax.similarity import Measure, own, scores
from mmalign_jax.similarity.neighbors import METRICS
from mmalign_jax.studies.zoo import models, quality
from mmalign_jax.studies.zoo.models import Model, Source

KIND = 'zoo'
DECIDING = {
    'study': KIND, 'left': '', 'right': '', 'levels': '', 'y': '', 'group': '', 'item': '',
    'measures': ('mutual_knn', 'debiased_linear_cka'), 'k': 10, 'metric': 'cosine', 'sigma': 0.0,
    'clip': 1.0, 'standardize': False, 'normalize': False, 'permutations': 200, 'resamples': 100,
    'sizes': (), 'repeats': 10, 'size_permutations': 50, 'map': True, 'seed': 0,
    'missing': 'refuse', 'pool': '', 'sep': '', 'decimal': '', 'header': 'auto', 'index': 'auto'}
RUN = {'name': 'zoo', 'data_dir': '', 'score_left': '', 'score_right': '', 'draws': 2000,
       'memory': 2.0}
SIDES = ('left', 'right')
_PATHS = ('left', 'right', 'y', 'group', 'item', 'score_left', 'score_right')


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """settings: all that decides results; record: with a print of the data; run: how to run, and
  what needs no comparing anew. left, right: models, the same where one side is compared with
  itself; levels: values of the right side's levels, () for none. kept [M]: rows that are used;
  groups, items [M]: their codes, or None; y [M] with its classes, () for a number, or None. scores:
  by side and model, those that were given."""
  name: str
  settings: Mapping[str, Any]
  record: dict[str, Any]
  run: Mapping[str, Any]
  notes: tuple[str, ...]
  measures: Mapping[str, Measure]
  left: tuple[Model, ...]
  right: tuple[Model, ...]
  levels: tuple[float, ...]
  kept: np.ndarray
  groups: np.ndarray | None
  items: np.ndarray | None
  y: labels.Label | None
  scores: Mapping[str, Mapping[str, float]]
  reading: Reading

  @property
  def within(self) -> bool:
    """Whether one side is compared with itself."""
    return not self.settings['right']

  @property
  def n(self) -> int:
    return len(self.kept)

  @property
  def wide(self) -> bool:
    """Whether a model needs float64: then all are compared in it."""
    return any(model.wide for model in (*self.left, *self.right))

  def of_measure(self, measure: Measure) -> dict[str, Any]:
    """The settings that are a measure's own."""
    given = {'k': self.settings['k'], 'metric': self.settings['metric'],
             'sigma': self.settings['sigma'] or None}
    return {name: value for name, value in given.items() if name in measure.settings}


def defaults() -> dict[str, Any]:
  """Every setting with its default."""
  return {**DECIDING, **RUN}


def rules() -> dict[str, Rule]:
  """What every setting may be."""
  texts = ('study', 'left', 'right', 'levels', 'y', 'group', 'item', 'sep', 'decimal', 'index',
           'data_dir', 'score_left', 'score_right')
  return {
      **{name: text() for name in texts}, 'name': text(blank=False),
      'measures': dataclasses.replace(text(blank=False), axis=True),
      'k': count(1, 10_000), 'metric': choice(lambda: METRICS), 'sigma': number(0),
      'clip': number(0, 1, above=True), 'standardize': truth(), 'normalize': truth(),
      'permutations': count(0, 100_000), 'resamples': count(0, 100_000),
      'sizes': Rule('whole', 4, 2**31, axis=True, least=0), 'repeats': count(1, 1000),
      'size_permutations': count(1, 10_000), 'map': truth(), 'seed': Rule('whole', 0, 2**32 - 1),
      'draws': count(100, 100_000), 'memory': number(0.05, 4096),
      **{name: choice(lambda known=CHOICES[name]: known, blank=name == 'pool')
         for name in ('missing', 'header', 'pool')}}


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Plan:
  """The plan, after one look at every model.

  Raises:
    ValueError: one line that names the setting, its value and what is wrong with it.
    OSError: a file that is not there.
  """
  settings = checked(given, defaults(), rules())
  if not settings['left']:
    raise ValueError("left='' names no models: a file or a folder of features is needed")
  if settings['resamples'] == 1:
    raise ValueError('resamples=1 must be 0 or at least 2')
  for name, why in _idle(settings).items():
    if name in given and name not in preset and settings[name] != defaults()[name]:
      raise ValueError(f'{name}={shown(settings[name])} {why}')
  measures = {name: _measure(name) for name in settings['measures']}
  reading = Reading(**{name: settings[name] for name in (
      'sep', 'decimal', 'header', 'index', 'missing', 'pool')})
  at = {name: _placed(settings[name], settings['data_dir']) for name in _PATHS}
  levels = _levels(at['right'], settings['levels'], reading)
  sides, notes = _looked(at, reading, settings['levels'], len(levels))
  n = models.same_samples(sides)
  gone = np.logical_or.reduce([m.gaps for side in sides.values() for m in side if not m.refused])
  kept = np.flatnonzero(~gone) if settings['missing'] == 'drop' else np.arange(n)
  if len(kept) < n:
    notes.append(f'missing=drop: {n - len(kept)} of {n} rows left out of every model')
  columns = {name: _column(name, at, n, reading) for name in ('group', 'item', 'y')}
  groups, items = (None if (z := columns[name]) is None else
                   rows.codes(rows.as_ids(z[kept], f'{name}={settings[name]!r}'))
                   for name in ('group', 'item'))
  if (without := gaps.no_label(columns['y'], n)[kept]).any():
    raise ValueError(f'y={settings["y"]!r}: {without.sum()} of {len(kept)} samples have no label, '
                     'and a probe needs one of each; leave them out of every file, or give scores')
  label = None if columns['y'] is None else labels.read_label(
      columns['y'][kept], 'auto', f'y={settings["y"]!r}')
  scores_of = {side: quality.given(f'score_{side}', at[f'score_{side}'],
                                   [m.name for m in sides[side]]) for side in sides}
  print_of = zlib.crc32(repr([(m.name, m.n, m.print) for side in sides.values() for m in side]
                             + [levels, *(None if z is None else z.tolist()
                                          for z in columns.values())]).encode())
  plan = Plan(
      settings['name'], {name: settings[name] for name in DECIDING},
      {name: settings[name] for name in DECIDING} | {'data_fingerprint': f'{print_of:08x}'},
      {name: settings[name] for name in RUN}, (), measures, tuple(sides['left']),
      tuple(sides.get('right', sides['left'])), levels, kept, groups, items, label,
      scores_of, reading)
  _check(plan)
  return dataclasses.replace(plan, notes=tuple(dict.fromkeys(
      [*notes, *_remarks(plan, sides), *(label.notes if label else ())])))


def _idle(settings: Mapping[str, Any]) -> dict[str, str]:
  """{setting: why it has no effect}."""
  found = {}
  if not settings['right']:
    found |= dict.fromkeys(('levels', 'score_right'), 'has no effect without right')
  if not settings['sizes']:
    found |= dict.fromkeys(('repeats', 'size_permutations'), 'has no effect without sizes')
  return found


def _measure(name: str) -> Measure:
  """A measure by its name, or by module:function."""
  if ':' in name:
    return own.resolved(name)
  if name not in similarity.MEASURES:
    raise ValueError(f'measure {name!r} is unknown; known: {", ".join(similarity.MEASURES)}, or '
                     'module:function')
  return similarity.MEASURES[name]


def _placed(where: str, data_dir: str) -> str:
  """A path as written, or below the folder of the data where it is there and not here."""
  if (not (where and data_dir) or '=' in where or where.startswith(models.DIGITS)
      or guard.place(where).is_absolute()):
    return where
  return str(guard.place(data_dir) / where)


def _looked(at: Mapping[str, str], reading: Reading, levels: str,
            n_levels: int) -> tuple[dict[str, list[Model]], list[str]]:
  """The models of every side after a look at each, and notes."""
  sides, notes = {}, []
  for side in SIDES if at['right'] else SIDES[:1]:
    leveled = n_levels if side == 'right' else 0
    sides[side] = []
    for name, spec in models.sources(at[side], side, reading, (levels,) if leveled else ()):
      model = models.look(Source(name, spec, leveled), side, reading)
      if model is None:
        notes.append(f'{side}: {name!r} is no [samples, features], and is no model')
      else:
        sides[side].append(model)
        if model.refused:
          notes.append(f'{side}: model {name!r} is left out, its row is marked: {model.refused}')
    if not any(not model.refused for model in sides[side]):
      raise ValueError(f'{side}={at[side]!r}: no model that can be compared' + (
          f'; {sides[side][0].name!r}: {sides[side][0].refused}' if sides[side] else ''))
  usable = [model.name for model in sides['left'] if not model.refused]
  if not at['right'] and len(usable) < 2:
    raise ValueError(f'left={at["left"]!r}: {usable[0]!r} is the only model that can be compared, '
                     'and there is no right side to compare it with')
  return sides, notes


def _levels(where: str, key: str, reading: Reading) -> tuple[float, ...]:
  """Values of the levels of the right side, from the key of its file."""
  if not key:
    return ()
  values, _ = features.single(f'{where}:{key}', 'levels', 'numbers', Opened(reading))
  values = np.asarray(values)
  if values.ndim != 1 or values.dtype.kind not in 'iuf' or len(np.unique(values)) < len(values):
    raise ValueError(f'levels={key!r}: shape {values.shape} of {values.dtype}; different numbers '
                     '[levels] are needed')
  return tuple(float(value) for value in values)


def _column(name: str, at: Mapping[str, str], n: int, reading: Reading) -> np.ndarray | None:
  """A value a sample, from a file or a key of the sides' files; None where not asked for."""
  if not at[name]:
    return None
  opened, values = Opened(reading), None
  where = f'{name}={at[name]!r}'
  try:
    values = (next(iter(models.find(at[name], name, opened).arrays.values()))
              if at[name].startswith(models.DIGITS) else
              features.single(at[name], name, 'label', opened)[0])
  except OSError:
    for side in filter(None, (at['left'], at['right'])):
      path = guard.place(side)
      values = opened.column(path, pathlib.PurePath(at[name]).name) if (
          path.is_file() and values is None) else values
    if values is None:
      raise
  values = np.ravel(values) if 1 in np.shape(values) else np.asarray(values)
  if values.shape != (n,):
    raise ValueError(f'{where}: shape {values.shape}; the models have N={n} samples')
  return values


def _check(plan: Plan) -> None:
  """What the measures need of the samples, of all and of the fewest that are compared."""
  half = scores.Plan(plan.settings['permutations'], plan.settings['resamples'])
  widths = sorted({model.width for model in (*plan.left, *plan.right)})
  for codes in (plan.groups, plan.items):
    if codes is not None:
      grouped.checked(codes, plan.n)
  for name, measure in plan.measures.items():
    if measure.null != 'pairs':
      raise ValueError(f'measure {name!r}: its chance exchanges two sides of one space; take a '
                       'pair at a time by mmalign measure')
    own_plan = dataclasses.replace(half, settings=plan.of_measure(measure))
    reason = scores.obstacle(measure, plan.n, widths, own_plan, plan.groups, plan.items)
    if not reason and plan.settings['sizes']:
      reason = _of_sizes(plan, measure)
    if reason:
      raise ValueError(f'measure {name!r}: {reason}')


def _of_sizes(plan: Plan, measure: Measure) -> str:
  low, high = min(plan.settings['sizes']), max(plan.settings['sizes'])
  if high > plan.n:
    return f'sizes={high} is more than the N={plan.n} samples'
  if low < measure.least or ('k' in measure.settings and plan.settings['k'] >= low):
    return f'sizes={low} samples are too few, k={plan.settings["k"]}'
  return ''


def _remarks(plan: Plan, sides: Mapping[str, Sequence[Model]]) -> list[str]:
  found = []
  for side, every in sides.items():
    known = plan.scores[side]
    absent = [m.name for m in every if m.name not in known]
    if known and absent:
      found.append(f'{side}: no score of {", ".join(map(repr, absent))}: left out of trends')
    if all(len(m.layers) == 1 for m in every):
      found.append(f'{side}: one layer a model')
  if plan.wide:
    found.append('a model has numbers that float32 would round: all are compared in float64')
  return found
