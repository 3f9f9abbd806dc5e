"""Checks of settings at the edge: one ValueError that names the field and the value."""

from collections.abc import Iterable, Mapping

import numpy as np

from mmalign_jax import losses, named, settings, similarity
from mmalign_jax.data import pair_source, sources
from mmalign_jax.encoders import sides
from mmalign_jax.settings import Rule, check_field, choice, of_range, whole
from mmalign_jax.types import (
  COMPUTE_DTYPES,
  FUSIONS,
  LAM_MODES,
  NAMES,
  Hyper,
  PyTree,
  Range,
  Spec,
  lookup,
)

RANGES = {  # of the traced settings, where a generator does not say more in its own row
    'temperature': Range(1e-6), 'learning_rate': Range(1e-12), 'n_train': Range(1, 2**24, True),
    **{name: Range(0, len(known) - 1, True) for name, known in NAMES.items()},
    'transform_depth': Range(0, 1000, True), 'level': Range(0, whole=True),
    'mismatched': Range(0, 1), 'flipped': Range(0, 1), 'seed': Range(0, settings.MOST_SEED, True)}
_MOST = {'depth': 1000, 'width': 2**16, 'projection_width': 2**16, 'batch_size': 2**20,
         'steps': 10**9, 'max_train': 2**24, 'neighbors': 2**20, 'n_align': 2**20}
SEED = whole(0, settings.MOST_SEED, strict=True)
STATIC: dict[str, Rule] = {
    'generator': choice(lambda: sources.SOURCES), 'encoder': choice(lambda: sides.ENCODERS),
    'projection': choice(lambda: sides.PROJECTIONS), 'task': choice(lambda: losses.TASKS),
    'loss': choice(lambda: losses.LOSSES), 'transform': choice(lambda: ('one', 'both')),
    'compute_dtype': choice(lambda: COMPUTE_DTYPES), 'fusion': choice(lambda: FUSIONS),
    'fusion_width': whole(0, _MOST['width'], guard=True), 'learnable_temperature': settings.truth(),
    'learnable_bias': settings.truth(),
    'probes': settings.truth(),
    'min_temperature': settings.number(0, above=True, single=True),
    'max_temperature': settings.number(0, above=True, single=True),
    'clip_norm': settings.number(0, above=True, single=True),
    'transform_seed': SEED,
    'labelled_batch': whole(0, _MOST['batch_size'], guard=True),
    **{name: whole(1, most, guard=True) for name, most in _MOST.items()}}
_OF_SIDE: dict[str, Rule] = {  # of one side alone; '' and 0 follow the common one
    'encoder': choice(lambda: sides.ENCODERS, blank=True),
    **{name: whole(0, _MOST[name], guard=True) for name in ('depth', 'width')}}
MEASURED = ('debiased_linear_cka', 'mutual_knn')  # of every pair of encoders


def static_rules(n_sides: int = 2) -> dict[str, Rule]:
  """The rule of every static setting of S sides."""
  return STATIC | {f'{name}_{i}': rule for name, rule in _OF_SIDE.items()
                   for i in range(1, n_sides + 1)}


def range_of(name: str, own: Mapping[str, Range]) -> Range:
  """What a field of Hyper may be; own: ranges of a generator's row."""
  known = own if name in own else RANGES if name in RANGES else losses.own_ranges()
  return known.get(name, Range())


def own_ranges(source: sources.Source) -> dict[str, Range]:
  """Ranges of what a source reads."""
  return {name: bounds for name, bounds in source.ranges.items() if name in source.settings}


def traced_rule(name: str, own: Mapping[str, Range] | None = None) -> Rule:
  """The rule of a field of Hyper as an axis of a grid; own: ranges of the generator's row."""
  if name in NAMES:
    return choice(lambda: NAMES[name], axis=True)
  seed = name == 'seed'
  return of_range(range_of(name, own or {}), axis=True, single=not seed, strict=seed)


def check(spec: Spec, hypers: Hyper, *, to_train: bool = True) -> None:
  """Checks the settings of a sweep; hypers may be stacked.

  Args:
    to_train: also what training alone asks for; not of encoders that are there, and only used.

  Raises:
    ValueError: for an unknown registry name (lists the known ones) or a value out of range.
  """
  rules = static_rules(len(spec.sides))
  for name, value in named.static(spec, len(spec.sides)).items():
    if name != 'loss' or value:  # '' is no alignment, which no user asks for by that name
      rules[name].of(name, value)
  source = lookup(sources.SOURCES, spec.generator, 'generator')
  own = own_ranges(source)
  for name, values in named.traced(hypers).items():
    if values is not None:
      check_field(name, np.asarray(values, np.float64), *range_of(name, own))
  if spec.loss:
    check_own(spec, hypers.own)
  check_temperatures(spec, hypers)
  if to_train:
    check_lengths(hypers)
    check_steps(spec, hypers, source)
  if spec.probes:
    check_probes(spec.generator, source)
  check_pairs(spec.n_align, spec.neighbors)
  if source.present is not None:  # batches are filled up
    return
  n_train = np.asarray(hypers.n_train)
  if n_train.min() < spec.batch_size:
    raise ValueError(f'n_train={n_train.min():g} samples are fewer than a batch: '
                     f'batch_size={spec.batch_size}')
  if n_train.max() > spec.max_train:
    raise ValueError(f'n_train={n_train.max():g} is above max_train={spec.max_train}')


def check_lengths(hypers: Hyper) -> None:
  """Whether strengths of pairs are lengths, as is said of all others (of several, only how they
  stand to each other would count)."""
  pairs = [name for name in hypers.own if name.startswith('lam_') and name.count('_') == 2]
  mode = int(np.max(hypers.lam_mode)) if hypers.lam_mode is not None else 0
  if pairs and mode:
    raise ValueError(f'{pairs[0]} is no length under lam_mode={LAM_MODES[mode]!r}, which gives '
                     'what an encoder feels of all others a single one: give lam_1, lam_2, ... or '
                     f'lam_mode={LAM_MODES[0]!r}')


def check_steps(spec: Spec, hypers: Hyper, source: sources.Source) -> None:
  """Whether a program is as long as its cells train."""
  most = np.max(hypers.train_steps) if 'train_steps' in source.settings else 0
  if most > spec.steps:
    raise ValueError(f'train_steps={most:g} is above steps={spec.steps}: raise steps')


def check_tables(spec: Spec, hypers: Hyper, tables: PyTree) -> None:
  """Whether the tables of paired arrays, or of pairs, have as many samples as are asked for, and
  all of theirs are drawn.

  Raises:
    ValueError: more samples than there are would be some of them twice; fewer pairs would leave
      out some that have a label.
  """
  draw = lookup(sources.SOURCES, spec.generator, 'generator').draw
  if draw is sources.draw_rows and (most := np.max(hypers.n_train)) > len(tables.y):
    raise ValueError(f'n_train={most:g} is above the {len(tables.y)} training rows of the tables')
  if draw is pair_source.draw and spec.max_train < len(tables.y):
    raise ValueError(f'max_train={spec.max_train} is below the {len(tables.y)} training rows of '
                     f'the tables: give max_train={len(tables.y)}')


def check_own(spec: Spec, own: Iterable[str]) -> None:
  """Whether the loss has the settings that are its own."""
  row = losses.loss_of(spec.loss)
  for name in losses.own_settings(dict.fromkeys(own)):
    lookup(row.settings, name, f'setting of loss {spec.loss!r}')
  if spec.learnable_bias and 'bias' not in row.settings:
    raise ValueError(f'learnable_bias=True has no effect: loss {spec.loss!r} has no bias')


def check_probes(name: str, source: sources.Source) -> None:
  """Whether the source of that name has what probes read."""
  if source.factors is None:
    known = [other for other, row in sources.SOURCES.items() if row.factors]
    raise ValueError(f'probes=True: generator {name!r} names no factors to be read from a layer; '
                     f'{", ".join(sorted(known))} do')


def check_temperatures(spec: Spec, hypers: Hyper) -> None:
  """Bounds of a learnt temperature, in order and around where it starts."""
  if not spec.min_temperature <= spec.max_temperature:
    raise ValueError(f'min_temperature={spec.min_temperature:g} must be above 0 and not above '
                     f'max_temperature={spec.max_temperature:g}')
  if spec.learnable_temperature:  # in float32, as it is kept
    low, high = np.array([spec.min_temperature, spec.max_temperature], np.float32).tolist()
    check_field('temperature', np.asarray(hypers.temperature, np.float64), low, high, False)


def check_pairs(n_align: int, neighbors: int, measures: Iterable[str] = MEASURED) -> None:
  """Whether the measures can be taken of n_align pairs."""
  rows = {name: lookup(similarity.MEASURES, name, 'measure') for name in measures}
  if neighbors >= n_align and any('k' in row.settings for row in rows.values()):
    raise ValueError(f'neighbors={neighbors} must be below n_align={n_align}')
  for name, row in rows.items():
    if n_align < row.least:
      raise ValueError(f'n_align={n_align} must be at least {row.least}: {name} needs so many '
                       'pairs')


def least_pairs(neighbors: int) -> int:
  """Fewest pairs for the measures of a study of strength."""
  return max(neighbors + 1, *(similarity.MEASURES[name].least for name in MEASURED))
