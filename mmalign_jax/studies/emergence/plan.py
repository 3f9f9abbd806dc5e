"""The emergence study: which encoders are trained alone, on what, and how, from plain settings.

A cell of the results is a pair: the untransformed encoder of a given depth, and a transformed one.
The encoders themselves are trained in units (see `alone`), all values of `unique` in one.
"""

from collections.abc import Collection, Mapping
import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import checks, losses, named, similarity
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.generators.synthetic import N_UNIQUE
from mmalign_jax.settings import (
  Rule,
  check_cells,
  checked,
  choice,
  count,
  number,
  of_range,
  refuse_unread,
  shown,
  text,
  whole,
)
from mmalign_jax.studies import files, reads
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training.alone import Protocol, own_fields
from mmalign_jax.training.fitting import fitting, traceable
from mmalign_jax.training.sweep import make_tables
from mmalign_jax.types import Hyper, PyTree, Range, Spec, lookup

DIMENSIONS = ('unique', 'transform_depth', 'depth', 'seed')
RUN = {'workers': 0, 'resamples': 2000, 'data_dir': ''}  # how to run; 0: chosen by the machine
MEASURED = {  # what similarity is measured with: another choice needs no training
    'measures': ('debiased_linear_cka', 'mutual_knn'), 'neighbors': 100, 'permutations': 100,
    'n_align': 512}
# n_train, n_validation: samples. epochs_1, epochs_2: of the untransformed and the transformed side.
# Several learning rates or weight decays are tuned, once a side and band of depths (lowest and
# highest), over tune_epochs_1 and tune_epochs_2. untransformed_depth: of the encoders of side 1
# that those of side 2 are compared with.
TRAINED = {
    'study': 'emergence', 'name': 'emergence', 'generator': 'bits', 'unique': tuple(range(9)),
    'transform_depth': tuple(range(1, 11)), 'depth': tuple(range(1, 11)), 'seed': (0,),
    'untransformed_depth': (1,), 'transform': 'one', 'transform_seed': 0, 'level': 0,
    'flipped': 0.0, 'mismatched': 0.0, 'encoder': 'mlp', 'width': 12, 'batch_size': 512,
    'clip_norm': 8.0, 'n_train': 45875, 'n_validation': 9830, 'epochs_1': 50, 'epochs_2': 300,
    'learning_rate': (1e-3, 5e-3, 1e-2, 5e-2), 'weight_decay': (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
    'bands': ((1, 3), (4, 7), (8, 10)), 'tune_epochs_1': 25, 'tune_epochs_2': 60}
PAIRS = 'pairs'  # the generator that is none, but data: see `real.plan`
OF_PAIRS = {'task': 'auto', 'clip_quantile': (0.95, 1.0)}  # settings that pairs alone have
_ALONE = ('level', 'flipped', 'mismatched')  # one value for all encoders


def most_epochs(settings: Mapping[str, Any], side: int) -> int:
  """Of any training of a side: trainings that choose settings and those that are kept share a
  program."""
  return max(settings[f'{name}_{side}'] for name in ('epochs', 'tune_epochs'))


@dataclasses.dataclass(frozen=True)
class Emergence:
  """axes: values of each of DIMENSIONS; settings: all that decides the encoders, with the defaults
  of what is not read; record: without those; measured: all that decides what is measured on them;
  run: how to run."""
  name: str
  axes: dict[str, tuple]
  spec: Spec
  tables: PyTree
  settings: dict[str, Any]
  measured: dict[str, Any]
  run: dict[str, Any]
  record: dict[str, Any]
  notes: tuple[str, ...] = ()
  merit, repeats = 'validation_accuracy', 1  # what is chosen by; units that share a program

  def protocol(self, unit: Unit) -> Protocol:
    spec = dataclasses.replace(self.spec, depth=unit.depth)
    return Protocol(spec, unit.side, most_epochs(self.settings, unit.side),
                    self.settings['n_validation'])

  def hyper(self, unit: Unit) -> Hyper:
    """Settings of a unit: the `alone.own_fields` by `unique` [R], the others scalars."""
    own = {name: np.broadcast_to(np.float32(value), len(self.axes['unique'])) for name, value in {
        **dict.fromkeys(own_fields(self.spec.generator), 0.0),
        **dials(self.spec.generator, self.axes['unique']),
        'learning_rate': unit.learning_rate, 'weight_decay': unit.weight_decay}.items()}
    shared = {name: np.float32(self.settings[name]) for name in (*_ALONE, 'n_train')
              if name not in own}
    return named.hyper(**own, **shared, transform_depth=np.float32(unit.transform_depth),
                       seed=np.uint32(unit.seed))

  def bands(self) -> dict[tuple[int, int], int]:
    """{band of depths: the depth of the study nearest to its middle}, bands without depths left
    out."""
    found = {}
    for low, high in self.settings['bands']:
      inside = [d for d in self.axes['depth'] if low <= d <= high]
      if inside:
        found[low, high] = min(inside, key=lambda d: abs(d - (low + high) / 2))
    return found

  def transforms(self, side: int) -> tuple[int, ...]:
    """Transform depths at which a side has encoders of its own: 0 stands for an untouched side."""
    untouched = side == 1 and self.spec.transform == 'one'
    return (0,) if untouched else self.axes['transform_depth']


def dials(generator: str, unique: tuple) -> dict[str, np.ndarray]:
  """Fields of Hyper [R] that `unique` sets.

  Raises:
    ValueError: the generator's row has no such dial; lists those that have.
  """
  known = {name: row.unique for name, row in SOURCES.items() if row.unique}
  if generator not in known:
    lookup(dict.fromkeys((*known, PAIRS)), generator, 'generator')
  return lookup(known, generator, 'generator')(np.asarray(unique, np.float64))


def defaults() -> dict[str, Any]:
  """Every setting with its default."""
  return {**files.DEFAULTS, **OF_PAIRS, **TRAINED, **MEASURED, **RUN}


def rules(source: Source | None = None) -> dict[str, Rule]:
  """What every setting may be, those of the generator as its row says."""
  own = {} if source is None else checks.own_ranges(source)
  static = ('generator', 'transform', 'transform_seed', 'encoder', 'width', 'batch_size',
            'clip_norm')
  lone = {name: dataclasses.replace(checks.traced_rule(name, own), axis=False) for name in _ALONE}
  depths = whole(1, 1000, axis=True, guard=True)
  axes = {'unique': of_range(Range(0, N_UNIQUE, True), axis=True), 'depth': depths,
          'untransformed_depth': depths, **{name: checks.traced_rule(name, own) for name in (
              'transform_depth', 'seed', 'learning_rate', 'weight_decay')}}
  return {
      **files.rules(), 'task': choice(lambda: (*losses.TASKS, 'auto')),
      'clip_quantile': number(0, 1, above=True, axis=True),
      'study': text(), 'name': text(blank=False), **{n: checks.STATIC[n] for n in static}, **lone,
      **axes, 'bands': Rule('pairs'), 'measures': choice(
          lambda: similarity.MEASURES, axis=True, called='measure'),
      **{name: count(1, 2**24) for name in ('n_train', 'n_validation')},
      **{name: count(1, 10**6) for name in ('epochs_1', 'epochs_2', 'tune_epochs_1',
                                            'tune_epochs_2', 'permutations')},
      'neighbors': count(1, 2**20), 'n_align': count(1, 2**20), 'workers': count(0, 1024),
      'resamples': count(20, 10**7)}


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Emergence:
  """Builds the study.

  Args:
    given: by name.
    preset: names in it that nobody chose for this study (see `settings.refuse_unread`).

  Raises:
    ValueError: an unknown setting or name (lists the known ones), a value out of range or without
      effect, or settings that do not fit each other.
  """
  generator = checks.STATIC['generator'].of('generator', given.get('generator', Spec.generator))
  source = lookup(SOURCES, generator, 'generator')
  settings = checked(given, defaults(), rules(source))
  axes = {name: settings[name] for name in DIMENSIONS}
  check_cells(axes)
  dials(generator, settings['unique'])
  idle = unread(settings, source)
  _check_depths(settings, source)
  if 'bands' not in idle:
    check_bands(settings)
  read = refuse_unread(settings, given, defaults(), idle, preset)
  if 'bands' in idle:  # of one candidate: any that hold every depth
    settings['bands'] = bands_of(settings)
  spec = Spec(
      generator=generator, encoder=settings['encoder'], width=settings['width'],
      depth=max(settings['depth']), projection='none', batch_size=settings['batch_size'],
      clip_norm=settings['clip_norm'], max_train=settings['n_train'],
      transform=settings['transform'], transform_seed=settings['transform_seed'],
      n_align=settings['n_align'], neighbors=settings['neighbors'])
  _check_fields(spec, settings, source)
  checks.check_pairs(spec.n_align, spec.neighbors, settings['measures'])
  tables = make_tables(spec)
  traceable(spec, tables)
  _check_measures(settings)
  pick = lambda names, of: {name: of[name] for name in names if name in of}
  return Emergence(
      settings['name'], axes, spec, tables, pick(TRAINED, settings), pick(MEASURED, settings),
      pick(RUN, settings), pick(TRAINED, read))


def unread(settings: Mapping[str, Any], source: Source) -> dict[str, str]:
  """{setting: why it has no effect}, of those that this study does not read."""
  of_sides = reads.unread_of_sides({**settings, 'projection': 'none'})
  of_generator = reads.unread_of_generator(settings, source.settings)
  found = {name: why for name, why in (of_sides | of_generator).items() if name in TRAINED}
  for dimension in DIMENSIONS:
    found.pop(dimension, None)
  found |= files.unread(settings['generator']) | dict.fromkeys(
      OF_PAIRS, f'has no effect: generator {settings["generator"]!r} reads no files')
  found.pop('n_validation', None)  # of a generator it is a number of samples
  found |= {name: 'has no effect: `unique` sets it' for name in dials(
      settings['generator'], settings['unique']) if name in TRAINED}
  return found | unread_of_all(settings)


def unread_of_all(settings: Mapping[str, Any]) -> dict[str, str]:
  """As `unread`, of settings that generators and pairs share."""
  found = {}
  if len(settings['learning_rate']) * len(settings['weight_decay']) == 1:
    found |= dict.fromkeys(
        ('bands', 'tune_epochs_1', 'tune_epochs_2'),
        'has no effect: with one learning_rate and one weight_decay there is nothing to tune')
  if not any('k' in similarity.MEASURES[name].settings for name in settings['measures']):
    found['neighbors'] = ('has no effect: none of measures='
                          f'{shown(settings["measures"])} counts neighbours')
  return found


def bands_of(settings: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
  """The bands, or one of all depths where these do not hold each once."""
  held = [sum(low <= depth <= high for low, high in settings['bands'])
          for depth in settings['depth']]
  return settings['bands'] if set(held) == {1} else (
      (min(settings['depth']), max(settings['depth'])),)


def check_bands(settings: Mapping[str, Any]) -> None:
  """Whether every depth is in one band: there its learning rate and decay are chosen."""
  bands = settings['bands']
  for depth in settings['depth']:
    if sum(low <= depth <= high for low, high in bands) != 1:
      raise ValueError(f'bands={shown(bands)}: depth={depth} must be in exactly one of them')


def _check_depths(settings: Mapping[str, Any], source: Source) -> None:
  if 'transform_depth' not in source.settings and any(settings['transform_depth']):
    raise ValueError(f'transform_depth={shown(settings["transform_depth"])} is not a setting of '
                     f'generator {settings["generator"]!r}; give transform_depth=(0,)')
  for depth in settings['untransformed_depth']:
    if depth not in settings['depth']:
      raise ValueError(f'untransformed_depth={depth} is not among depth={settings["depth"]}')


def _check_fields(spec: Spec, settings: Mapping[str, Any], source: Source) -> None:
  """Every field of Hyper that an encoder will see, in its range."""
  dial = dials(spec.generator, settings['unique'])
  fields = {k: np.asarray(v, float) for k, v in dial.items()} | {
      k: settings[k] for k in (*_ALONE, 'n_train') if k in source.settings or k == 'n_train'}
  checks.check(dataclasses.replace(spec, neighbors=1, n_align=max(spec.n_align, 4)),
               named.hyper(**{'redundancy': dial.get('redundancy', 0)} | fields))


def _check_measures(settings: Mapping[str, Any]) -> None:
  """Whether the measures take layers [n_align, width]; shapes only, nothing is run."""
  layer = jax.ShapeDtypeStruct((settings['n_align'], settings['width']), jnp.float32)
  for name in settings['measures']:
    row = similarity.MEASURES[name]
    own = {'k': settings['neighbors']} if 'k' in row.settings else {}
    fitting(lambda: jax.eval_shape(lambda x, y: row(x, y, **own), layer, layer),
            f'measures={name!r}, n_align={settings["n_align"]}')


def cells(plan: Emergence) -> list[tuple[int, int, int]]:
  """(transform_depth, depth, seed) of every transformed unit: all `unique` of one are together.

  Neighbours in the list differ in depth, so that workers compile different programs at once.
  """
  return [(t, d, s) for s, t, d in itertools.product(
      plan.axes['seed'], plan.axes['transform_depth'], reversed(plan.axes['depth']))]


def shard_of(plan: Emergence, i: int, n: int) -> list[tuple[int, int, int]]:
  """Part i of n (from 1) of `cells`, of about equal cost: each goes to the part with least."""
  load, parts = [0.0] * n, [[] for _ in range(n)]
  for cell in sorted(cells(plan), key=lambda c: (-c[1], c)):
    least = load.index(min(load))
    load[least] += cell[1] + 1
    parts[least].append(cell)
  chosen = set(parts[i - 1])
  return [cell for cell in cells(plan) if cell in chosen]
