"""Which settings have an effect, asked of the registry rows themselves; and why others have none.

`unread` functions give {setting: why it has no effect}, in words that follow its name and value.
"""

from collections.abc import Collection, Iterable, Mapping
import dataclasses
import functools
from typing import Any

from mmalign_jax import losses
from mmalign_jax.encoders import sides
from mmalign_jax.named import OF_TRAINING, is_own, static_fields, strengths, traced_fields
from mmalign_jax.types import Hyper, Spec

_OF_DATA = tuple(name for name in traced_fields()
                 if name not in OF_TRAINING and not is_own(name))


def of_row(registry: Mapping, name: str) -> frozenset[str]:
  """Fields of Spec that a row of ENCODERS or PROJECTIONS reads when it makes its module; all where
  it hands the Spec on, to be read later."""
  row = registry[name]
  seen: set[str] = set()

  class Watched(Spec):  # a Spec that writes down what is asked of it
    def __getattribute__(self, field):
      if field in static_fields():
        seen.add(field)
      return super().__getattribute__(field)

  watched = Watched()
  seen.clear()
  module = row(watched, name='watched')
  values = [getattr(module, field.name, None) for field in dataclasses.fields(module)
            if field.name not in ('parent', 'name')]
  return frozenset(static_fields()) if any(v is watched for v in values) else frozenset(seen)


def unread_of_sides(s: Mapping[str, Any], n_sides: int = 2) -> dict[str, str]:
  """encoder, depth, width and projection_width; s: those of every side and in common."""
  found, numbers = {}, range(1, n_sides + 1)
  names = [s.get(f'encoder_{i}') or s.get('encoder', '') for i in numbers]
  read = [of_row(sides.ENCODERS, name) for name in names]
  if all(s.get(f'encoder_{i}') for i in numbers):
    found['encoder'] = f'has no effect: {_both("encoder", numbers)} given'
  for field in ('depth', 'width'):
    users = [i for i in numbers if field in read[i - 1]]
    for i in numbers:
      if i not in users:
        found[f'{field}_{i}'] = (f'has no effect: encoder {names[i - 1]!r} of side {i} reads no '
                                 f'{field}; {_those(field)} do')
    if not users:
      found[field] = f'has no effect: encoder {names[0]!r} reads no {field}; {_those(field)} do'
    elif all(s.get(f'{field}_{i}') for i in users):
      own = ' and '.join(f'{field}_{i}' for i in users)
      found[field] = f'has no effect: {own} stand for it'
  if 'projection_width' not in of_row(sides.PROJECTIONS, s['projection']):
    readers = [name for name in sides.PROJECTIONS
               if 'projection_width' in of_row(sides.PROJECTIONS, name)]
    found['projection_width'] = (f'has no effect with projection={s["projection"]!r}, only with '
                                 f'{" or ".join(readers)}')
  return found


def _those(field: str) -> str:
  return ', '.join(name for name in sides.ENCODERS
                   if field in of_row(sides.ENCODERS, name)) or 'none'


def _both(stem: str, numbers: Iterable[int]) -> str:
  names = [f'{stem}_{i}' for i in numbers]
  return (f'{" and ".join(names)} are both' if len(names) == 2 else
          f'{", ".join(names)} are all' if len(names) > 2 else f'{names[0]} is')


def unread_of_others(s: Mapping[str, Any], n_sides: int) -> dict[str, str]:
  """Settings of sides that the data do not have."""
  known = {*static_fields(n_sides), *strengths(n_sides)}
  has = f'has no effect: generator {s["generator"]!r} has {n_sides} sides'
  most = max((int(end) for name in s for _, _, end in [name.rpartition('_')] if end.isdecimal()),
             default=0)
  return {name: has for name in (*static_fields(most), *strengths(most))
          if name in s and name not in known}


def unread_of_strengths(s: Mapping[str, Any], n_sides: int) -> dict[str, str]:
  """lam, where nothing follows it; strengths of pairs, of a loss that is of all sides at once."""
  numbers, row = range(1, n_sides + 1), losses.loss_of(s['loss'])
  pairs = [name for name in strengths(n_sides) if name.count('_') == 2]
  if not row.of_pairs:
    found = dict.fromkeys(pairs, f'has no effect: loss {s["loss"]!r} is of all sides at once')
  else:
    found = {}
  if all(s.get(f'lam_{i}') for i in numbers):
    found['lam'] = (f'has no effect: {_both("lam", numbers)} given; leave lam at {Hyper.lam:g}')
  return found


def check_strengths(s: Mapping[str, Any], n_sides: int, given: Collection[str]) -> None:
  """Whether it is said what every encoder feels; given: names of settings that somebody chose.

  Raises:
    ValueError: strengths of some encoders, but not of all of three or more, and none in common.
  """
  names = [f'lam_{i + 1}' for i in range(n_sides)]
  own = [name for name in names if s.get(name)]
  if n_sides > 2 and own and len(own) < n_sides and 'lam' not in given:
    rest = [name for name in names if name not in own]
    raise ValueError(f'{" and ".join(own)} of {n_sides} sides: give {" and ".join(rest)}, or lam, '
                     f'which the other{"s follow" if len(rest) > 1 else " follows"}')


def unread_of_loss(s: Mapping[str, Any]) -> dict[str, str]:
  """Settings that are other losses' own."""
  own = losses.loss_of(s['loss']).settings
  bias = {} if 'bias' in own else {
      'learnable_bias': f'has no effect: loss {s["loss"]!r} has no bias; sigmoid has'}
  return bias | {name: f'has no effect: loss {s["loss"]!r} has no such setting' + (
      f', but {", ".join(own)}' if own else '')
          for name in s if is_own(name) and name.startswith('loss_')
          and name.removeprefix('loss_') not in own}


def unread_of_temperature(s: Mapping[str, Any]) -> dict[str, str]:
  """temperature and its bounds."""
  if 'temperature' not in losses.loss_of(s['loss']).options:
    why = f'has no effect: loss {s["loss"]!r} takes no temperature'
    return dict.fromkeys(
        ('temperature', 'learnable_temperature', 'min_temperature', 'max_temperature'), why)
  if s['learnable_temperature']:
    return {}
  return dict.fromkeys(('min_temperature', 'max_temperature'),
                       'has no effect without learnable_temperature=True')


def unread_of_fusion(s: Mapping[str, Any]) -> dict[str, str]:
  """Settings of a head on all sides, where there is none."""
  return {} if s['fusion'] != 'none' else {
      'fusion_width': 'has no effect without fusion=frozen or fusion=trained'}


def unread_of_generator(s: Mapping[str, Any], reads: Collection[str]) -> dict[str, str]:
  """Traced settings that the generator does not read, and those of its random transform."""
  listed = ', '.join(reads)
  found = {name: f'is not a setting of generator {s["generator"]!r}, which reads {listed}'
           for name in _OF_DATA if name not in reads}
  depths = s['transform_depth'] if 'transform_depth' in reads else ()
  if not any(depths):
    found |= dict.fromkeys(('transform', 'transform_seed'),
                           'has no effect without a transform_depth above 0')
  return found


@functools.lru_cache(maxsize=None)
def counts_neighbors(measure) -> bool:
  """Whether a measure of similarity takes a number of neighbours."""
  return 'k' in measure.settings
