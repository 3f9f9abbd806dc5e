"""Sequences [samples, steps, features] and layers [layers, samples, features]: told apart, pooled.

Both are arrays of three axes, and no array says which it is. It is taken for one of them only
where the numbers of samples of all sides leave no other reading, or where the user says so;
otherwise it is refused with the options that settle it.
"""

from collections.abc import Collection, Iterable
import dataclasses

import numpy as np

from mmalign_jax.data.files.formats import parts
from mmalign_jax.data.files.pooling import POOLS, Steps, is_ragged, pooled

LAYERS = ('auto', 'first', 'none')
ENDINGS = ('length', 'mask')
_OPTIONS = ('--layers=first if the first axis is layers, --pool=mean (or last, max) if the arrays '
            'are [samples, steps, features]')


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
  """What a user named for one side. where: in words; arrays by name, as in the file; steps of them,
  where they have any; picked: an index chose one layer; notes for the user; columns of a
  table by name; pooled: how sequences became what is here."""
  where: str
  arrays: dict[str, np.ndarray]
  steps: dict[str, Steps] = dataclasses.field(default_factory=dict)
  picked: bool = False
  notes: tuple[str, ...] = ()
  columns: tuple[str, ...] = ()
  pooled: str = ''

  def with_arrays(self, arrays: dict[str, np.ndarray], *notes: str) -> 'Found':
    """The same with settled arrays."""
    return dataclasses.replace(self, arrays=arrays, steps={}, notes=(*self.notes, *notes))


def beside(name: str, keys: Collection[str]) -> dict[str, str]:
  """{'length': key, 'mask': key} of what describes the steps of `name`, where it is there.

  NAME_length, and for NAME_train also NAME_length_train.
  """
  found = {}
  for ending in ENDINGS:
    stem, _, part = name.rpartition('_')
    names = [f'{name}_{ending}', f'{stem}_{ending}_{part}']
    for key in names if part in parts.ENDINGS else names[:1]:
      if key in keys:
        found[ending] = key
  return found


# -- settling --------------------------------------------------------------------------------------


def settled(sides: dict[str, Found], layers: str, pool: str,
            rows: Iterable[int] = ()) -> dict[str, Found]:
  """Every side with arrays [N, D]: layers by name, sequences pooled; other shapes as they were.

  Args:
    sides: by what an error message calls them.
    layers: 'first': a first of three axes is layers; 'none': it is samples, and the second steps;
      'auto': what the numbers of samples allow, or an error.
    pool: 'mean', 'last' or 'max' over the steps, or ''.
    rows: numbers of samples that are known from elsewhere (the label).

  Raises:
    ValueError: one line that names the side and the options, where it is unclear; lengths or masks
      that do not fit; an option that changes nothing.
  """
  if layers not in LAYERS:
    raise ValueError(f'layers={layers!r}; known: {", ".join(LAYERS)}')
  if pool and pool not in POOLS:
    raise ValueError(f'pool={pool!r}; known: {", ".join(POOLS)}')
  readings = {name: _reading(name, sides, layers, pool, rows) for name in sides}
  done = {name: _READINGS[how](name, sides[name], pool) for name, how in readings.items()}
  used = set(readings.values())
  if pool not in ('', 'none') and not used & {'sequences', 'layers of sequences'}:
    raise ValueError(f'--pool={pool} has no effect: no side has sequences')
  if layers == 'first' and not used & {'layers', 'layers of sequences'}:
    raise ValueError('--layers=first has no effect: no side has an array of three axes')
  if layers == 'none' and 'sequences' not in used:
    raise ValueError('--layers=none has no effect: no side has an array of three axes')
  return done


def one_each(sides: dict[str, Found], layers: str, pool: str,
             rows: Iterable[int] = ()) -> dict[str, Found]:
  """As `settled`, where every side must come to one array, as in a decomposition.

  Raises:
    ValueError: as `settled`; several layers.
  """
  done = settled(sides, layers, pool, rows)
  for name, side in done.items():
    if len(side.arrays) != 1:
      raise ValueError(f'{name}={side.where!r}: {len(side.arrays)} layers; one is needed: add '
                       ':INDEX, or save it as an array of its own')
  return done


def _reading(name: str, sides: dict[str, Found], layers: str, pool: str, rows) -> str:
  """How one side is to be read: a key of _READINGS."""
  side = sides[name]
  shapes = {array.shape for array in side.arrays.values()}
  deepest = max(map(len, shapes), default=0)
  lone = len(side.arrays) == 1 and not side.picked
  if side.picked and side.steps:
    raise ValueError(f'{name}={side.where!r}: an index picks a layer, but this array has '
                     f'{_source(side)}, so that it is sequences; use --pool=mean, last or max')
  if deepest == 4 and lone and layers == 'first' and pool:
    return 'layers of sequences'
  if deepest != 3 and not any(is_ragged(array, side.steps.get(key))
                              for key, array in side.arrays.items()):
    return 'as it is'
  if lone and layers == 'first' and deepest == 3:
    return 'layers'
  if side.steps or not lone or layers == 'none':
    if not pool:
      known = f' with {_source(side)}' if side.steps else ''
      raise ValueError(f'{name}={side.where!r}: sequences of shape {_shape(side)}{known}; say how '
                       'to pool their steps: --pool=mean, --pool=last or --pool=max')
    return 'sequences'
  fits = _fits(name, sides, rows)
  if fits == {'layers'}:
    return 'layers'
  if pool:
    return 'sequences'
  seen = ('the number of samples fits its first axis, so that they are [samples, steps, features]: '
          'say how to pool the steps, --pool=mean, --pool=last or --pool=max'
          if fits == {'sequences'} else f'layers, or sequences? {_OPTIONS}')
  raise ValueError(f'{name}={side.where!r}: three-dimensional, shape {_shape(side)}; {seen}')


def _fits(name: str, sides: dict[str, Found], rows: Iterable[int]) -> set[str]:
  """How the lone array of a side can be read so that all sides have the same number of samples."""
  first, second = next(iter(sides[name].arrays.values())).shape[:2]
  others = [{n} for n in rows]
  for other, side in sides.items():
    if other != name and side.arrays:
      array = next(iter(side.arrays.values()))
      steps = next(iter(side.steps.values()), Steps(''))
      lone = len(side.arrays) == 1 and not side.picked and array.ndim == 3
      counted = [length for length in (steps.length, steps.mask) if length is not None]
      others.append({len(counted[0])} if counted else
                    set(array.shape[:2]) if lone else set(array.shape[:1]))
  if not others:
    return {'layers', 'sequences'}
  return {how for how, n in (('layers', second), ('sequences', first))
          if all(n in known for known in others)}


def _shape(side: Found) -> tuple[int, ...]:
  return next(iter(side.arrays.values())).shape


def _source(side: Found) -> str:
  return next(iter(side.steps.values())).source


def _as_layers(name: str, side: Found, pool: str) -> Found:
  (key, array), = side.arrays.items()
  note = (f'{name} has shape {array.shape}, read as {len(array)} layers of {array.shape[1]} '
          'samples; if it is [samples, steps, features], say --layers=none --pool=mean')
  return side.with_arrays({f'{key}:{i}' if key else str(i): z for i, z in enumerate(array)}
                          if len(array) else side.arrays, note)


def _as_sequences(name: str, side: Found, pool: str) -> Found:
  notes, made = [], {}
  for key, array in side.arrays.items():
    made[key], note = pooled(array, pool, side.steps.get(key, Steps(key)), f'{name}={side.where!r}')
    notes += [f'{name}: {note}']
  return dataclasses.replace(side.with_arrays(made, *dict.fromkeys(notes)), pooled=pool)


def _as_both(name: str, side: Found, pool: str) -> Found:
  (key, array), = side.arrays.items()
  steps = side.steps.get(key, Steps(key))
  names = [f'{key}:{i}' if key else str(i) for i in range(len(array))]
  return _as_sequences(name, dataclasses.replace(
      side, arrays=dict(zip(names, array)), steps=dict.fromkeys(names, steps)), pool)


_READINGS = {'as it is': lambda name, side, pool: side, 'layers': _as_layers,
             'sequences': _as_sequences, 'layers of sequences': _as_both}
