""".pkl and .pickle files that hold nothing but arrays, numbers and text; no code of them is run.

{'train': {NAME: array, ...}, 'valid': ..., 'test': ...}, as MultiBench publishes MOSI, MOSEI,
UR-FUNNY and MUStARD, is the store of `parts`; of other dicts and lists the arrays are a/b where
they are nested.
"""

from collections.abc import Iterator
import math
import pathlib
from typing import Any

import numpy as np

from mmalign_jax.data.files.formats import guard, parts, pickle_machine
from mmalign_jax.data.files.formats.parts import Leaf
from mmalign_jax.data.files.formats.pickle_values import Array, Span, Text, taken
from mmalign_jax.data.files.formats.store import Store, plain

_MOST_VISITS = 2_000_000
_MOST_KEYS = 100_000
_DEEPEST = 8
_LABELS = ('labels', 'label', 'y')


def pickled(path: pathlib.Path) -> Store:
  """The arrays of a file by name.

  Raises:
    ValueError: damaged, or it holds or asks for anything but data.
  """
  size, remarks = path.stat().st_size, []
  with guard.reading(path), guard.opened(path) as file:
    value = pickle_machine.load(file)
    found = _parts(value)
    inner = {part: dict(_named(_Leaves(path, size), one, '')) for part, one in found.items()}
    named = {} if found else dict(_named(_Leaves(path, size), value, ''))
    if not named and not any(inner.values()):
      raise ValueError('it holds no arrays, numbers or text')
  if found:
    y = next((name for name in _LABELS if name in inner['train']), 'labels')
    return parts.store(str(path), inner, y, size)
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'):
      return plain(named[key].read(), remarks)
  return Store(str(path), tuple(named), read, remarks=remarks)


def _parts(value: Any) -> dict[str, dict]:
  """The training, validation and test part of a dict of dicts; none where it is something else."""
  if not isinstance(value, dict) or not all(isinstance(part, dict) for part in value.values()):
    return {}
  found: dict[str, dict] = {parts.ALIAS.get(str(name), str(name)): part
                            for name, part in value.items()}
  fits = {'train', 'test'} <= set(found) <= set(parts.PARTS) and len(found) == len(value)
  return found if fits else {}


class _Leaves:
  """Makes arrays of values that hold no others; counts what was looked at."""

  def __init__(self, path: pathlib.Path, size: int):
    self.path, self.size, self.visits = path, size, 0

  def look(self) -> None:
    self.visits += 1
    if self.visits > _MOST_VISITS:
      raise ValueError('more values than can be read; save them as arrays')

  def of(self, value: Any) -> dict[str, Leaf] | None:
    """{'': the array of a value}, with lengths where it is ragged; {} where there is none (None);
    None where it holds others."""
    self.look()
    if type(value) is Array:
      return {'': Leaf(value.shape or (), lambda: self.read(value))}
    if value is None:
      return {}
    if type(value) in (bool, int, float, str, bytes, Text, Span):
      return {'': Leaf((), lambda: self.values([value], ()))}
    if type(value) not in (list, tuple):
      return None if type(value) is dict else {}
    if value and all(type(item) is Array for item in value):
      return self.arrays(value)
    shape = self.shape(value, 0)
    return None if shape is None else {'': Leaf(shape, lambda: self.values(value, shape))}

  def arrays(self, items: list[Array]) -> dict[str, Leaf] | None:
    """Arrays of one shape, as one; sequences [T, F] of one F, in line with their lengths."""
    shapes: list[tuple[int, ...]] = [item.shape or () for item in items]
    self.visits += len(items)
    if len(set(shapes)) == 1:
      return {'': Leaf((len(items), *shapes[0]), lambda: self.lined(items, np.stack))}
    if {len(shape) for shape in shapes} != {2} or len({shape[1] for shape in shapes}) > 1:
      return None
    lengths = np.array([shape[0] for shape in shapes])
    return {'': Leaf((int(lengths.sum()), shapes[0][1]),
                     lambda: self.lined(items, np.concatenate)),
            '_length': Leaf(lengths.shape, lambda: lengths)}

  def lined(self, items: list[Array], how) -> np.ndarray:
    count = sum(math.prod(item.shape or ()) for item in items)
    guard.sized((count,), max(item.dtype.itemsize if item.dtype else 1 for item in items),
                size=self.size)
    with guard.opened(self.path) as file:
      return how([item.read(file) for item in items])

  def read(self, array: Array) -> np.ndarray:
    with guard.opened(self.path) as file:
      return array.read(file)

  def shape(self, value: Any, depth: int) -> tuple[int, ...] | None:
    """Of nested lists of numbers or text of equal length; None of others."""
    self.look()
    if type(value) in (bool, int, float, str, bytes):
      return ()
    if type(value) not in (list, tuple) or depth == _DEEPEST:
      return None
    shapes: set[tuple[int, ...] | None] = set()
    for item in value:
      shapes.add(self.shape(item, depth + 1))
      if len(shapes) > 1 or None in shapes:
        return None
    return (len(value), *(shapes.pop() or ())) if shapes else (0,)

  def values(self, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Nested lists of numbers, or of text, of this shape."""
    guard.sized(shape, 8, size=self.size)
    for _ in range(len(shape) - 1):
      value = [item for inner in value for item in inner]
    if value and all(type(item) in (str, bytes, Text, Span) for item in value):
      with guard.opened(self.path) as file:
        return guard.texts([_text(file, item) for item in value], str(self.path)).reshape(shape)
    if not all(type(item) in (bool, int, float) for item in value):
      raise ValueError('numbers and text in one list')
    made = np.array(value)
    if made.dtype == object:
      raise ValueError('whole numbers beyond 64 bits')
    return made.reshape(shape)


def _text(file: guard.File, value: str | bytes | Text | Span) -> str:
  """Text, or bytes as Python 2 wrote it."""
  if isinstance(value, str):
    return value
  data = bytes(taken(file, Span(value.at, value.size)) if isinstance(value, Text) else
               taken(file, value))
  try:
    return data.decode('utf-8')
  except UnicodeDecodeError:
    return data.decode('latin-1')


def _named(leaves: _Leaves, value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Leaf]]:
  """(name, array) of a value and of all that it holds."""
  found = leaves.of(value)
  if found is not None:
    yield from ((f'{name}{ending}', leaf) for ending, leaf in found.items())
    return
  if depth == _DEEPEST:
    raise ValueError(f'more than {_DEEPEST} dicts and lists within each other')
  items = value.items() if type(value) is dict else enumerate(value)
  for count, (key, inner) in enumerate(items):
    if count > _MOST_KEYS:
      raise ValueError(f'more than {_MOST_KEYS} arrays; save them as one')
    yield from _named(leaves, inner, f'{name}/{key}' if name else str(key), depth + 1)
