"""The emergence study: which encoders are trained alone, on what, and how, from plain settings.

A cell of the results is a pair: the untransformed encoder of a given depth, and a transformed one.
The encoders themselves are trained in units (see `alone`), all values of `unique` in one.
"""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from mmalign_jax import checks, similarity
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.training.alone import OWN, Protocol
from mmalign_jax.training.sweep import make_tables
from mmalign_jax.types import Hyper, PyTree, Spec, lookup

DIMENSIONS = ('unique', 'transform_depth', 'depth', 'seed')
N_UNIQUE = 8  # `unique` runs from 0, everything shared, to 8, nothing shared
UNIQUE = {  # generator: unique [R] -> fields of Hyper; I(X;Y) stays ln 2 in `atoms`
    'bits': lambda u: {'redundancy': N_UNIQUE - u},
    'atoms': lambda u: {'redundancy': math.log(2) * (1 - u / N_UNIQUE),
                        'unique_1': math.log(2) * u / N_UNIQUE,
                        'unique_2': math.log(2) * u / N_UNIQUE},
}
RUN = {'workers': 0, 'resamples': 2000}  # how to run; 0: chosen by the machine
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
_WHOLE = {'n_train': 1, 'n_validation': 1, 'epochs_1': 1, 'epochs_2': 1, 'tune_epochs_1': 1,
          'tune_epochs_2': 1, 'permutations': 1, 'n_align': 4, 'neighbors': 1, 'workers': 0}


@dataclasses.dataclass(frozen=True, order=True)
class Unit:
  """Encoders of one side that are trained together, one for each value of `unique`."""
  side: int
  depth: int
  transform_depth: int
  seed: int
  epochs: int
  learning_rate: float
  weight_decay: float

  @property
  def name(self) -> str:
    return unit_name(self.side, self.transform_depth, self.depth, self.seed)

  @property
  def words(self) -> str:
    return (f'side {self.side}, depth {self.depth}, transform {self.transform_depth}, '
            f'seed {self.seed}')

  @property
  def weight(self) -> float:
    """How long it takes, in arbitrary units: layers count, and what every step costs besides."""
    return self.epochs * (self.depth + 1)


def unit_name(side: int, transform_depth: int, depth: int, seed: int) -> str:
  """Name of a unit's file."""
  return f'side_{side}_depth_{depth:02d}_transform_{transform_depth:02d}_seed_{seed}'


@dataclasses.dataclass(frozen=True)
class Emergence:
  """axes: values of each of DIMENSIONS; settings: all that decides the encoders; measured: all that
  decides what is measured on them; run: how to run."""
  name: str
  axes: dict[str, tuple]
  spec: Spec
  tables: PyTree
  settings: dict[str, Any]
  measured: dict[str, Any]
  run: dict[str, Any]
  notes: tuple[str, ...] = ()

  def protocol(self, unit: Unit) -> Protocol:
    spec = dataclasses.replace(self.spec, depth=unit.depth)
    return Protocol(spec, unit.side, unit.epochs, self.settings['n_validation'])

  def hyper(self, unit: Unit) -> Hyper:
    """Settings of a unit: the fields of `alone.OWN` by `unique` [R], the others scalars."""
    own = {name: np.broadcast_to(np.float32(value), len(self.axes['unique'])) for name, value in {
        **dict.fromkeys(OWN, 0.0), **dials(self.spec.generator, self.axes['unique']),
        'learning_rate': unit.learning_rate, 'weight_decay': unit.weight_decay}.items()}
    shared = {name: np.float32(self.settings[name])
              for name in ('level', 'flipped', 'mismatched', 'n_train')}
    return Hyper(**own, **shared, transform_depth=np.float32(unit.transform_depth),
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
  """Fields of Hyper [R] that `unique` sets."""
  return lookup(UNIQUE, generator, 'generator')(np.asarray(unique, np.float64))


def defaults() -> dict[str, Any]:
  """Every setting with its default."""
  return {**TRAINED, **MEASURED, **RUN}


def from_settings(given: dict[str, Any]) -> Emergence:
  """Builds the study.

  Raises:
    ValueError: an unknown setting or name (lists the known ones), or a value out of range.
  """
  for name in given:
    lookup(defaults(), name, 'setting')
  settings = {name: _tuples(value) for name, value in (defaults() | given).items()}
  for name in (*DIMENSIONS, 'untransformed_depth', 'learning_rate', 'weight_decay', 'measures'):
    settings[name] = _axis(name, settings[name])
  _check_numbers(settings)
  settings['n_align'], settings['level'] = int(settings['n_align']), int(settings['level'])
  spec = Spec(
      generator=settings['generator'], encoder=settings['encoder'], width=settings['width'],
      depth=max(settings['depth']), projection='none', batch_size=settings['batch_size'],
      clip_norm=settings['clip_norm'], max_train=settings['n_train'],
      transform=settings['transform'], transform_seed=settings['transform_seed'],
      n_align=settings['n_align'], neighbors=settings['neighbors'])
  axes = {name: settings[name] for name in DIMENSIONS}
  _check_axes(spec, settings)
  pick = lambda names: {name: settings[name] for name in names}
  return Emergence(settings['name'], axes, spec, make_tables(spec), pick(TRAINED), pick(MEASURED),
                   pick(RUN))


def _tuples(value: Any) -> Any:
  return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def _axis(name: str, value: Any) -> tuple:
  """Distinct values as a tuple, sorted but for names (a lone value is one)."""
  value = value if isinstance(value, tuple) else (value,)
  if not value:
    raise ValueError(f'{name}=() has no values')
  if name == 'measures':
    for measure in value:
      lookup(similarity.MEASURES, measure, 'measure')
    return tuple(dict.fromkeys(value))
  for v in value:
    if isinstance(v, bool) or not isinstance(v, (int, float)):
      raise ValueError(f'{name}={v!r} is not a number')
    if name in (*DIMENSIONS, 'untransformed_depth') and v != int(v):
      raise ValueError(f'{name}={v!r} must be a whole number')
  return tuple(sorted(set(value if name in ('learning_rate', 'weight_decay') else map(int, value))))


def _check_numbers(settings: dict[str, Any]) -> None:
  for name, least in _WHOLE.items():
    value = settings[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
      raise ValueError(f'{name}={value!r} must be a whole number of at least {least}')
  checks.check_field('depth', np.asarray(settings['depth'], float), 1, np.inf, True)
  bands = settings['bands']
  for band in bands:
    if not (isinstance(band, tuple) and len(band) == 2 and band[0] <= band[1]):
      raise ValueError(f'bands={bands!r} must be pairs (lowest depth, highest depth)')
  for depth in settings['depth']:
    if sum(low <= depth <= high for low, high in bands) != 1:
      raise ValueError(f'bands={bands!r}: depth={depth} must be in exactly one of them')


def _check_axes(spec: Spec, settings: dict[str, Any]) -> None:
  checks.check_field('unique', np.asarray(settings['unique'], float), 0, N_UNIQUE, True)
  for depth in settings['untransformed_depth']:
    if depth not in settings['depth']:
      raise ValueError(f'untransformed_depth={depth} is not among depth={settings["depth"]}')
  if settings['generator'] == 'atoms' and settings['level']:
    raise ValueError(f'level={settings["level"]} is not a setting of generator \'atoms\'')
  source = lookup(SOURCES, spec.generator, 'generator')
  dial = dials(spec.generator, settings['unique'])
  for name, axis in (('learning_rate', settings['learning_rate']),
                     ('weight_decay', settings['weight_decay']),
                     ('transform_depth', settings['transform_depth']), ('seed', settings['seed'])):
    n = max(len(axis), len(settings['unique']))
    fields = {**{k: np.resize(v, n) for k, v in dial.items()}, name: np.resize(axis, n)}
    fields |= {k: settings[k] for k in ('level', 'flipped', 'mismatched', 'n_train')
               if k in source.settings}
    checks.check(spec, Hyper(**fields))


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
