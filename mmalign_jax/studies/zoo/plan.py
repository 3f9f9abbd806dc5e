"""Many models of one modality against many of another: what is asked, checked, and looked at.

Settings say where models are, what is measured, by what chance and intervals are made, and what the
models are worth (scores, or a label that a linear probe reads from them).
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
from typing import Any
import zlib

import numpy as np

from mmalign_jax import similarity
from mmalign_jax.data.files import labels, rows
from mmalign_jax.data.files.reading import CHOICES, Reading
from mmalign_jax.settings import Rule, checked, choice, count, number, shown, text, truth
from mmalign_jax.similarity import Measure, own
from mmalign_jax.similarity.neighbors import METRICS
from mmalign_jax.studies.zoo import chance, inputs, models, possible, quality
from mmalign_jax.studies.zoo.models import Model

KIND = 'zoo'
DECIDING = {
    'study': KIND, 'left': '', 'right': '', 'levels': '', 'y': '', 'group': '', 'item': '',
    'measures': ('mutual_knn', 'debiased_linear_cka'), 'k': 10, 'metric': 'cosine', 'sigma': 0.0,
    'clip': 1.0, 'standardize': False, 'normalize': False, 'permutations': 200, 'permute': 'auto',
    'resamples': 100, 'sizes': (), 'repeats': 10, 'size_permutations': 50, 'map': True, 'seed': 0,
    'missing': 'refuse', 'pool': '', 'sep': '', 'decimal': '', 'header': 'auto', 'index': 'auto'}
OLDER = DECIDING | {'permute': 'random', 'own_measures': {}}  # of folders that do not say
RUN = {'name': 'zoo', 'data_dir': '', 'score_left': '', 'score_right': '', 'draws': 2000,
       'memory': 2.0}
_PATHS = ('left', 'right', 'y', 'group', 'item', 'score_left', 'score_right')


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
  """settings: all that decides results; record: with a print of the data; run: how to run, and
  what needs no comparing anew. left, right: models, the same where one side is compared with
  itself; levels: values of the right side's levels, () for none. kept [M]: rows that are used;
  groups, items [M]: their codes, or None; y [L] with its classes, () for a number, or None, of the
  samples `labelled` [L] of those kept. scores: by side and model, those that were given."""
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
  labelled: np.ndarray
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
    return any(model.wide for model in (*self.left, *self.right) if not model.refused)

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
      'size_permutations': count(1, 10_000), 'permute': choice(lambda: chance.WAYS),
      'map': truth(), 'seed': Rule('whole', 0, 2**32 - 1),
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
  at = {name: inputs.placed(settings[name], settings['data_dir']) for name in _PATHS}
  levels = inputs.levels(at['right'], settings['levels'], reading)
  seen = inputs.looked(at, reading, settings['levels'], len(levels))
  sides, notes = seen.models, seen.notes
  notes += [f'{name}={shown(settings[name])} has no effect on {", ".join(measures)}'
            for name in ('k', 'metric', 'sigma')
            if name in given and name not in preset and settings[name] != defaults()[name]
            and not any(name in measure.settings for measure in measures.values())]
  n = models.same_samples(sides)
  gone = np.logical_or.reduce([m.gaps for side in sides.values() for m in side if not m.refused])
  kept = np.flatnonzero(~gone) if settings['missing'] == 'drop' else np.arange(n)
  if len(kept) < n:
    notes.append(f'missing=drop: {n - len(kept)} of {n} rows left out of every model')
  columns = {name: inputs.column(name, at, n, reading, seen) for name in inputs.OF_ROWS}
  groups, items = (None if (z := columns[name]) is None else
                   rows.codes(rows.as_ids(z[kept], f'{name}={settings[name]!r}'))
                   for name in ('group', 'item'))
  label, labelled, more = inputs.label(columns['y'], kept, f'y={settings["y"]!r}')
  scores_of = {side: quality.given(f'score_{side}', at[f'score_{side}'],
                                   [m.name for m in sides[side]]) for side in sides}
  zeros = [kept.tolist()] if settings['missing'] == 'drop' and any(
      m.zeros for side in sides.values() for m in side if not m.refused) else []
  print_of = zlib.crc32(repr([(m.name, m.n, m.print) for side in sides.values() for m in side]
                             + [levels, *(None if z is None else z.tolist()
                                          for z in columns.values())] + zeros).encode())
  settings = settings | {'permute': chance.way(settings, measures, sides, len(kept))}
  code = {name: inputs.code_of(name) for name in measures if ':' in name}
  plan = Plan(
      settings['name'], {name: settings[name] for name in DECIDING},
      {name: settings[name] for name in DECIDING} | {'data_fingerprint': f'{print_of:08x}'}
      | ({'own_measures': code} if code else {}),
      {name: settings[name] for name in RUN}, (), measures, tuple(sides['left']),
      tuple(sides.get('right', sides['left'])), levels, kept, groups, items, label, labelled,
      scores_of, reading)
  possible.check(plan)
  return dataclasses.replace(plan, notes=tuple(dict.fromkeys(
      [*notes, *_remarks(plan, sides), *more])))


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


def _remarks(plan: Plan, sides: Mapping[str, Sequence[Model]]) -> list[str]:
  found = []
  for side, every in sides.items():
    known = plan.scores[side]
    absent = [m.name for m in every if m.name not in known]
    if known and absent:
      found.append(f'{side}: no score of {", ".join(map(repr, absent))}: left out of trends')
    if all(len(m.layers) == 1 for m in every):
      found.append(f'{side}: one layer a model')
  if plan.settings['permute'] == 'shifts':
    found.append(f'chance is of {plan.settings["permutations"]} shifts along one random circle of '
                 'the samples, as exact as any permutations and far quicker; permute=random takes '
                 'any, as mmalign measure does')
  if plan.wide:
    found.append('a model has numbers that float32 would round: all are compared in float64')
  return found
