"""A study: one Spec, the axes of its grid, and its data, from plain settings.

Settings are a flat dict: the fields of `Spec`, the fields of `Hyper` as tuples (an axis of the grid
where there are several values), the arguments of `load_paired`, and how to run (`RUN`).
"""

from collections.abc import Collection, Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from mmalign_jax import checks, losses, named
from mmalign_jax.data.published import count_sides
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.named import OF_TRAINING
from mmalign_jax.runs import shards
from mmalign_jax.settings import (
  MOST_VALUES,
  Rule,
  check_cells,
  checked,
  choice,
  count,
  number,
  refuse_unread,
  text,
)
from mmalign_jax.studies import files, reads
from mmalign_jax.studies.strength import candidates
from mmalign_jax.studies.strength.candidates import TUNED
from mmalign_jax.training.fitting import joint_shapes, traceable
from mmalign_jax.training.sweep import grid, make_tables
from mmalign_jax.types import NAMES, SCHEDULES, Hyper, PyTree, Spec, lookup

_ALWAYS = ('redundancy', 'n_labelled', 'lam', 'seed')  # dimensions even with one value
RUN = {'chunk': 0, 'workers': 0, 'memory_gb': 1.0, 'resamples': 2000,  # 0: chosen by the machine
       'data_dir': ''}
_DERIVED = ('max_train', 'labelled_batch')
_ABSENT = ('guard', 'lam_mode')  # unless asked for: they take a second gradient
_KIND = 'strength'
# not in a record where they are as here: a record of before has none of them
UNSET = {'study': _KIND, 'fusion': 'none', 'probes': False, **dict.fromkeys(_ABSENT, ())}
_MOST_OF_FILES = 3  # sides
RULES_OF_RUN = {
    'chunk': count(0, 2**20), 'workers': count(0, 1024), 'resamples': count(20, 10**7),
    'memory_gb': number(0, 2**20, above=True), 'data_dir': text()}


@dataclasses.dataclass(frozen=True)
class Study:
  """axes: values of each dimension in real units, last fastest; hypers: the grid [R]; settings:
  everything that decides the results; notes: what was assumed about the data; tuned: candidates of
  the settings that are chosen on validation rows before the grid is run; loaded: data from
  files."""
  name: str
  spec: Spec
  axes: dict[str, tuple]
  hypers: Hyper
  tables: PyTree
  settings: dict[str, Any]
  run: dict[str, Any]
  notes: tuple[str, ...] = ()
  tuned: dict[str, tuple] = dataclasses.field(default_factory=dict)
  loaded: files.Loaded | None = None

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(len(values) for values in self.axes.values())

  @property
  def n_sides(self) -> int:
    return SOURCES[self.spec.generator].n_sides(self.tables)

  @property
  def n_cells(self) -> int:
    return math.prod(self.shape)


def defaults() -> dict[str, Any]:
  """Every setting with its default; the traced ones as tuples, () where absent. There are those of
  as many sides as a registered source has, and those of every registered loss."""
  traced = {name: () if value is None else (value,) for name, value in _traced().items()}
  static = {name: value for name, value in named.static_fields(_most_sides()).items()
            if name not in _DERIVED}
  of_names = {name: (known[0],) for name, known in NAMES.items() if traced[name]}
  return {'study': _KIND, 'name': 'study', **static, **traced, **of_names, **TUNED,
          **files.DEFAULTS, **RUN}


def _most_sides() -> int:
  return max(_MOST_OF_FILES, *(
      row.sides for row in SOURCES.values() if isinstance(row.sides, int)))


def _count(settings: Mapping[str, Any], source: Source) -> int:
  """How many sides the data have; those of files as many as are named."""
  return source.sides if isinstance(source.sides, int) else count_sides(
      settings['data'], settings['x3'])


def _traced() -> dict[str, float | int | None]:
  """Names and defaults of all traced settings."""
  return named.traced_fields(_most_sides()) | dict.fromkeys(losses.own_ranges())


def rules(source: Source | None = None) -> dict[str, Rule]:
  """What every setting may be, traced ones as the source's row says."""
  own = {} if source is None else checks.own_ranges(source)
  traced = {name: checks.traced_rule(name, own) for name in _traced()}
  for name in (*filter(named.is_own, traced), *_ABSENT,
               *(('n_train', 'n_labelled') if source and source.tables is None else ())):
    traced[name] = dataclasses.replace(traced[name], least=0)
  static = {name: rule for name, rule in checks.static_rules(_most_sides()).items()
            if name not in _DERIVED}
  if source and source.tables is None:
    static['task'] = choice(lambda: (*losses.TASKS, 'auto'))
  tune = {name: dataclasses.replace(traced[name.removeprefix('tune_')], least=0)
          for name in TUNED if TUNED[name] == ()} | {'tune_seeds': count(1, MOST_VALUES)}
  return {'study': text(), 'name': text(blank=False), **static, **traced, **files.rules(), **tune,
          **RULES_OF_RUN}


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = (),
                  loaded: files.Loaded | None = None) -> Study:
  """Builds a study, reading its data where they come from a file.

  Args:
    given: by name.
    preset: names in it that nobody chose for this study (see `settings.refuse_unread`).
    loaded: the data that the settings name (`files.load`), where they have been read already.

  Raises:
    ValueError: an unknown setting (lists the known ones), a value out of range or without effect,
      or data that do not fit. FileNotFoundError: a missing file.
  """
  generator = given.get('generator', Spec.generator)
  source = lookup(SOURCES, checks.STATIC['generator'].of('generator', generator), 'generator')
  settings = checked(given, defaults(), rules(source))
  for name, known in NAMES.items():
    settings[name] = tuple(sorted(settings[name], key=known.index))
  axes = _dimensions(settings, source)
  check_cells(axes)
  n_sides = _count(settings, source)
  reads.check_strengths(settings, n_sides, given.keys() - {*preset})
  read = refuse_unread(settings, given, defaults(), unread(settings, source, n_sides), preset)
  if 'tune_train_steps' in read.keys() & {*preset}:  # nobody asked for longer ones
    settings['tune_train_steps'] = read['tune_train_steps'] = candidates.cut(
        settings['tune_train_steps'], settings['steps'])
  tuned = candidates.tuned(settings, source, named.strengths(_most_sides())[1:])
  if source.tables is None:
    most = max((*settings['n_train'], settings['batch_size']))
    checks.check(*_built(  # all but n_train, before anything is read
        settings | {'n_train': (most,)}, {k: v for k, v in axes.items() if k != 'n_train'}, most))
    loaded = loaded or files.load(settings)
    settings |= files.decided(settings, loaded)
    read |= {name: settings[name] for name in ('task', 'n_align', *(
        name for name in ('n_train', 'n_labelled') if name in source.settings))}
    axes = _dimensions(settings, source)
  elif losses.task_of(settings['task']).regression:
    raise ValueError(f'task={settings["task"]!r} is not for generator {generator!r}, whose label '
                     'is a class; use cross_entropy')
  spec, hypers = _built(settings, axes, max(settings['n_train']))
  checks.check(spec, hypers)
  tables = files.tables(loaded) if loaded else make_tables(spec)
  if not loaded and 'n_labelled' in source.settings and 0 not in settings['n_labelled']:
    labels = int(max(settings['n_labelled'])) * source.n_outputs(tables)
    spec = dataclasses.replace(spec, labelled_batch=min(spec.batch_size, labels))
  traceable(spec, tables)
  record = {name: value for name, value in read.items()
            if name not in RUN and (name not in UNSET or value != UNSET[name])} | (
      {'data_fingerprint': loaded.fingerprint} if loaded else {}) | _since(settings, source)
  return Study(settings['name'], spec, axes, hypers, tables, record,
               {name: settings[name] for name in RUN},
               (files.notes(settings, loaded) if loaded else ()) + _judged(spec, hypers, tables)
               + candidates.idle(settings, source, loaded),
               tuned, loaded)


def _judged(spec: Spec, hypers: Hyper, tables: PyTree) -> tuple[str, ...]:
  """What a head on all sides is judged on, in words; nothing where there is none."""
  if spec.fusion == 'none':
    return ()
  source = SOURCES[spec.generator]
  n = joint_shapes(source, tables).target.shape[0]
  if source.tables is None:
    return (f'fused: judged on the {n} test rows that have all sides',)
  drawn = any(name in source.settings and np.any(np.asarray(getattr(hypers, name)) > 0)
              for name in ('flipped', 'mismatched'))
  return (f'fused: judged on {n:,} samples, ' + (
      'drawn, with p(y | all sides) of each' if drawn else 'all that there are, with their exact '
      'p(y | all sides)'),)


def unread(settings: Mapping[str, Any], source: Source, n_sides: int) -> dict[str, str]:
  """{setting: why it has no effect}, of those that this study does not read."""
  found = (reads.unread_of_sides(settings, n_sides) | reads.unread_of_others(settings, n_sides)
           | reads.unread_of_temperature(settings) | reads.unread_of_loss(settings)
           | reads.unread_of_strengths(settings, n_sides)
           | reads.unread_of_generator(settings, source.settings)
           | reads.unread_of_fusion(settings))
  found |= files.unread(settings['generator'])
  if source.tables is None and 'n_train' not in source.settings:
    found['n_train'] = 'has no effect: n_labelled and n_pairs say how many samples'
  if source.validation is None:
    found |= dict.fromkeys(TUNED, 'has no effect: generator '
                           f'{settings["generator"]!r} has no validation rows; pairs has')
  else:
    found |= candidates.unread(settings)
  if settings['chunk']:
    found['memory_gb'] = f'has no effect: chunk={settings["chunk"]} says how many cells go at once'
  return found


def _since(settings: Mapping[str, Any], source: Source) -> dict[str, Any]:
  """What is trained otherwise than by a version before, under the same settings: a folder of that
  one is not gone on with."""
  some = lambda name: name in source.settings and any(
      value > 0 for value in (*settings[name], *settings[f'tune_{name}']))
  said = []
  if settings['loss'] and losses.loss_of(settings['loss']).augments and some('components'):
    said.append('copies have noise on kept components only')
  if {*settings['schedule']} - {SCHEDULES[0]} and some('train_steps'):
    said.append('a schedule is of train_steps')
  return {shards.RULES: said} if said else {}


def _built(settings: Mapping[str, Any], axes: Mapping[str, tuple],
           max_train: int) -> tuple[Spec, Hyper]:
  """The Spec and the grid."""
  task = settings['task'] if settings['task'] != 'auto' else Spec.task
  spec = named.spec(max_train=max_train, labelled_batch=settings.get('labelled_batch', 0), **{
      name: settings[name] for name in named.static_fields(_most_sides())
      if name not in _DERIVED} | {'task': task})
  columns = {name: [number_of(name, v) for v in axis] for name, axis in axes.items()}
  fixed = {name: number_of(name, settings[name][0]) for name in _traced()
           if settings[name] and name not in axes}
  return spec, grid(columns, **fixed)


def number_of(name: str, value: float | str) -> float:
  """A value of a traced setting as it is in `Hyper`: names by their index."""
  return float(NAMES[name].index(value)) if isinstance(value, str) else float(value)


def _dimensions(settings: Mapping[str, Any], source: Source) -> dict[str, tuple]:
  """Axes of the grid: several values, or always; settings first, then strengths, then the seed."""
  n_sides = _count(settings, source)
  strengths = named.strengths(_most_sides())
  all_own = all(settings[f'lam_{i + 1}'] for i in range(n_sides))  # then nothing follows `lam`
  axes = {}
  for name in (*(n for n in _traced() if n not in (*strengths, 'seed')), *strengths, 'seed'):
    values, own = settings[name], named.is_own(name)
    if not (own or name in (*OF_TRAINING, *source.settings)) or name == 'lam' and all_own:
      continue
    if len(values) > 1 or (values and name in (*_ALWAYS, *strengths)):
      axes[name] = values
  return axes
