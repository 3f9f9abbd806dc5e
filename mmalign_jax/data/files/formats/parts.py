"""Data that come in a training, a validation and a test part, as published: one store for all.

Array NAME of a part has the key NAME_PART, and NAME all parts in line. Sequences [N, T, F] are
padded with steps of zeros, at the front (MultiBench) or the end: a step that is 0 in every feature,
before all others or after them, is none, and NAME_mask_PART says so.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.formats.store import Store, plain

PARTS = ('train', 'valid', 'test')
ALIAS = {'dev': 'valid', 'val': 'valid', 'validation': 'valid'}
ENDINGS = ('train', 'valid', *ALIAS, 'test')  # of names of arrays and files
_ENDINGS = ('_length', '_mask')


class Leaf(NamedTuple):
  """An array that is not yet read, and its shape."""
  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


def store(where: str, parts: Mapping[str, Mapping[str, Leaf]], y: str, size: int) -> Store:
  """The arrays of all parts by key.

  Args:
    where: the file or folder.
    parts: by part the arrays by name; a view that a part lacks is NaN there.
    y: the name of the label where none is asked for.
    size: bytes of the file, by which what is put in line is bounded.

  Returns:
    The store; read(key) gives labels [N, 1, 1] as [N], infinite numbers as NaN (what is missing
    is for --missing), and NaN in samples that have no step at all.
  """
  made = _Parts(where, {part: parts[part] for part in PARTS if part in parts}, size, [])
  keys: dict[str, Callable[[], np.ndarray]] = {}
  for name in dict.fromkeys(name for part in made.parts.values() for name in part):
    for part in (*made.parts, ''):
      ending = f'_{part}' if part else ''
      if f'{name}{ending}' in keys:
        raise ValueError(f'{where}: two arrays are called {f"{name}{ending}"!r}')
      keys[f'{name}{ending}'] = lambda name=name, part=part: made.array(name, part)
      if made.is_sequence(name):
        keys[f'{name}_mask{ending}'] = lambda name=name, part=part: made.mask(name, part)
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{where}: {key!r}'):
      return keys[key]()
  endings = tuple(f'_{part}' for part in made.parts)
  names = tuple(sorted(keys, key=lambda key: ('_mask' in key, key.endswith(endings))))
  return Store(where, names, read, remarks=made.remarks, y=y)


class _Parts(NamedTuple):
  where: str
  parts: dict[str, Mapping[str, Leaf]]
  size: int
  remarks: list[str]

  def is_sequence(self, name: str) -> bool:
    """Whether an array is [N, T, F], and no lengths of its own lie beside it."""
    shapes = [part[name].shape for part in self.parts.values() if name in part]
    return all(len(shape) == 3 and shape[1:] != (1, 1) for shape in shapes) and not any(
        f'{name}{ending}' in part for part in self.parts.values() for ending in _ENDINGS)

  def array(self, name: str, part: str) -> np.ndarray:
    """The values of one part; of '', all in line."""
    if not part:
      return self.joined([self.array(name, one) for one in self.parts])
    view, _ = self.view(name, part)
    return view

  def mask(self, name: str, part: str) -> np.ndarray:
    """[N, T] bool: the steps that are some."""
    if part:
      return self.view(name, part)[1]
    masks = [self.view(name, one)[1] for one in self.parts]
    return self.joined(masks)

  def joined(self, arrays: list[np.ndarray]) -> np.ndarray:
    """Parts in line; of sequences, the shorter ones filled up with steps that are none."""
    longest = max(array.shape[1:2] for array in arrays)
    total = sum(map(len, arrays))
    guard.sized((total, *longest, *arrays[0].shape[2:]), max(a.dtype.itemsize for a in arrays),
                size=self.size)
    if longest and len({array.shape[1] for array in arrays}) > 1:
      if any(array.ndim == 2 and array.dtype != bool for array in arrays):
        raise ValueError(f'shapes {", ".join(str(array.shape) for array in arrays)} of the parts '
                         'do not fit')
      arrays = [np.pad(array, ((0, 0), (0, longest[0] - array.shape[1]),
                               *((0, 0),) * (array.ndim - 2))) for array in arrays]
    return np.concatenate(arrays)

  def view(self, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """An array of a part, and which of its steps are some, if it has steps."""
    leaf = self.parts[part].get(name)
    if leaf is None:
      return self.absent(name, part)
    array = plain(leaf.read(), self.remarks)
    said = f'{name} ({part})'
    if array.ndim == 3 and array.shape[1:] == (1, 1):
      array = array.reshape(-1)
    infinite = np.asarray(np.isinf(array) if array.dtype.kind == 'f' else False)
    if infinite.any():
      self.remarks.append(f'{said}: {infinite.sum()} infinite numbers, first '
                          f'{array[infinite][0]}, are missing ones')
      array = np.where(infinite, array.dtype.type(np.nan), array)
    if not self.is_sequence(name):
      return array, np.ones(0, bool)
    steps = padded(array)
    none = np.asarray(~steps.any(axis=1))
    if not steps.all():
      self.remarks.append(
          f'{said}: {(~steps).sum()} of {steps.size} steps, 0 in every feature at the beginning or '
          f'the end of {(~steps.all(axis=1)).sum()} of {len(steps)} samples, are none' + (
              f'; {none.sum()} samples have no other and lack it' if none.any() else ''))
    if none.any():
      array = array if array.dtype.kind == 'f' else array.astype(np.float64)
      array = np.where(none[:, None, None], array.dtype.type(np.nan), array)
    steps[none, :1] = True  # a step of NaN, which is pooled to what is missing
    return array, steps

  def absent(self, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """A view that a part lacks: NaN, one step a sample of sequences."""
    shape = next(one[name].shape for one in self.parts.values() if name in one)
    others = [leaf.shape for leaf in self.parts[part].values() if leaf.shape]
    if not others or len(shape) not in (2, 3) or shape[1:] == (1, 1):
      raise ValueError(f'{name} is not there in {part}')
    n = others[0][0]
    shape = (n, 1, shape[2]) if len(shape) == 3 else (n, *shape[1:])
    guard.sized(shape, 4, size=self.size)
    self.remarks.append(f'{name} is not there in {part}: its {n} samples lack it')
    return np.full(shape, np.nan, np.float32), np.ones((n, 1), bool)


def padded(array: np.ndarray) -> np.ndarray:
  """[N, T] bool: steps of [N, T, F] that are no padding, which is 0 before the first step that is
  not, or after the last.

  Examples:
    >>> padded(np.array([[[0], [2], [0], [3], [0]]])).tolist()
    [[False, True, True, True, False]]
  """
  some = (array != 0).any(axis=2)
  return np.asarray(np.logical_or.accumulate(some, axis=1)
                    & np.logical_or.accumulate(some[:, ::-1], axis=1)[:, ::-1])
