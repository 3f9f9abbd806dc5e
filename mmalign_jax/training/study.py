"""A study: one Spec, the axes of its grid, and its data, from plain settings.

Settings are a flat dict: the fields of `Spec`, the fields of `Hyper` as tuples (an axis of the grid
where there are several values), the arguments of `load_paired`, and how to run (`RUN`).
"""

import dataclasses
import inspect
import math
from typing import Any

import numpy as np

from mmalign_jax import checks
from mmalign_jax.data import paired
from mmalign_jax.data.sources import SOURCES, ArrayTables
from mmalign_jax.training.sweep import grid, make_tables
from mmalign_jax.types import (
    SCHEDULES, Hyper, PyTree, Spec, lookup, static_fields, traced_fields)

STRENGTHS = ('lam', 'lam_1', 'lam_2')
_ALWAYS = ('redundancy', 'lam', 'seed')  # dimensions even with one value
RUN = {'chunk': 0, 'workers': 0, 'memory_gb': 1.0, 'resamples': 2000}  # 0: chosen by the machine
_DATA = {name: p.default for name, p in inspect.signature(paired.load_paired).parameters.items()
         if name != 'task'}
_DATA['data'] = ''
_DERIVED = ('max_train',)


@dataclasses.dataclass(frozen=True)
class Study:
  """axes: values of each dimension in real units, last fastest; hypers: the grid [R]; settings:
  everything that decides the results; notes: what was assumed about the data."""
  name: str
  spec: Spec
  axes: dict[str, tuple]
  hypers: Hyper
  tables: PyTree
  settings: dict[str, Any]
  run: dict[str, Any]
  notes: tuple[str, ...] = ()

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(len(values) for values in self.axes.values())

  @property
  def n_cells(self) -> int:
    return math.prod(self.shape)


def defaults() -> dict[str, Any]:
  """Every setting with its default; the traced ones as tuples, () where absent."""
  traced = {name: () if value is None else (value,) for name, value in traced_fields().items()}
  static = {name: value for name, value in static_fields().items() if name not in _DERIVED}
  return {'name': 'study', **static, **traced, 'schedule': (SCHEDULES[0],), **_DATA, **RUN}


def from_settings(given: dict[str, Any]) -> Study:
  """Builds a study, reading its data where they come from a file.

  Raises:
    ValueError: an unknown setting (lists the known ones), a value out of range, or data that do not
      fit. FileNotFoundError: a missing file.
  """
  for name in given:
    lookup(defaults(), name, 'setting')
  settings = defaults() | {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
  source = lookup(SOURCES, settings['generator'], 'generator')
  loaded = _load(settings) if source.tables is None else None
  if loaded:
    settings['task'] = loaded.task
    settings['n_train'] = _all_rows(settings, len(loaded.y_train))
    settings['n_align'] = min(settings['n_align'], len(loaded.y_test))
  values = {name: _axis(name, settings[name]) for name in traced_fields()}
  spec = Spec(max_train=int(max(values['n_train'])),
              **{name: settings[name] for name in static_fields() if name not in _DERIVED})
  axes = _dimensions(values, source.settings, spec.generator)
  axes_numbers = {name: [_number(name, v) for v in axis] for name, axis in axes.items()}
  fixed = {name: _number(name, value[0]) for name, value in values.items()
           if value and name not in axes}
  hypers = grid(axes_numbers, **fixed)
  checks.check(spec, hypers)
  decisive = {name: value for name, value in settings.items() if name not in RUN}
  if loaded:
    decisive['data_fingerprint'] = loaded.fingerprint
  tables = _tables(loaded) if loaded else make_tables(spec)
  return Study(
      settings['name'], spec, axes, hypers, tables, decisive,
      {name: settings[name] for name in RUN}, loaded.notes if loaded else ())


def _axis(name: str, value: Any) -> tuple:
  """Values of a traced setting as a sorted tuple without repeats (a lone value is one)."""
  value = value if isinstance(value, tuple) else (value,)
  for v in value:
    _number(name, v)
  return tuple(sorted(set(value), key=lambda v: _number(name, v)))


def _number(name: str, value: Any) -> float:
  if name == 'schedule' and isinstance(value, str):
    lookup(dict.fromkeys(SCHEDULES), value, name)
    return SCHEDULES.index(value)
  if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
    raise ValueError(f'{name}={value!r} is not a number')
  return float(value)


def _dimensions(values: dict[str, tuple], reads: tuple[str, ...],
                generator: str) -> dict[str, tuple]:
  """Axes of the grid: several values, or always; settings first, then strengths, then the seed."""
  both = bool(values['lam_1'] and values['lam_2'])  # then nothing follows `lam`
  axes = {}
  for name in (*(n for n in values if n not in (*STRENGTHS, 'seed')), *STRENGTHS, 'seed'):
    n_values = len(values[name])
    specific = name in ('redundancy', 'unique_1', 'unique_2', 'synergy', 'level',
                        'transform_depth', 'mismatched', 'flipped')
    if specific and name not in reads:
      if n_values > 1:
        raise ValueError(f'{name}={values[name]} is not a setting of generator {generator!r}, '
                         f'which reads {", ".join(reads)}')
      continue
    if name == 'lam' and both:
      continue
    if n_values == 0 and name not in ('lam_1', 'lam_2'):
      raise ValueError(f'{name}=() has no values')
    if n_values > 1 or (n_values and name in _ALWAYS + STRENGTHS):
      axes[name] = values[name]
  return axes


def _load(settings: dict[str, Any]) -> paired.PairedData:
  if not settings['data']:
    raise ValueError("data='' names no file: give data=PATH (or data=digits)")
  arguments = {name: settings[name] for name in _DATA}
  return paired.load_paired(**arguments, task=settings['task'])


def _all_rows(settings: dict[str, Any], n_rows: int) -> tuple:
  """n_train, () meaning all rows; checked against the rows and the batch."""
  n_train = settings['n_train'] or (n_rows,)
  n_train = n_train if isinstance(n_train, tuple) else (n_train,)
  if n_rows < settings['batch_size']:
    raise ValueError(f'{settings["data"]}: {n_rows} training samples are fewer than a batch: '
                     f'batch_size={settings["batch_size"]}')
  if max(n_train) > n_rows:
    raise ValueError(f'n_train={max(n_train)} is more than the {n_rows} training samples of '
                     f'{settings["data"]}')
  return n_train


def _tables(data: paired.PairedData) -> ArrayTables:
  return ArrayTables(
      data.x1_train, data.x2_train, data.y_train, data.x1_test, data.x2_test, data.y_test,
      data.fold_test, data.n_folds, len(data.classes) or 1)
