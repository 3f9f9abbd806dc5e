"""MATLAB files of v5 to v7, element by element.

SciPy reads them too, but its compiled reader follows the types and sizes of a damaged file out of
its own memory. Here every element lies within the one that holds it, and no count is believed.
"""

from collections.abc import Callable, Iterator
import dataclasses
import io
import math
import mmap
from typing import Literal
import zlib

import numpy as np

from mmalign_jax.data.files.formats import guard, sparse

_TYPES = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8',
          13: 'u8', 16: 'u1', 17: 'u2', 18: 'u4'}  # the last three are UTF-8, 16 and 32
_MATRIX, _PACKED = 14, 15
_CLASSES = {1: 'cell', 2: 'struct', 3: 'object', 4: 'char', 5: 'sparse', 6: 'f8', 7: 'f4',
            8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4', 14: 'i8', 15: 'u8',
            16: 'function_handle', 17: 'opaque'}
_COMPLEX, _LOGICAL = 0x800, 0x200
_DEEP = 16       # elements within each other
_HEAD = 2**12    # bytes that hold the name of a packed variable

Order = Literal['<', '>']


@dataclasses.dataclass(frozen=True)
class Cells:
  """items: column by column."""
  shape: tuple[int, ...]
  items: list


@dataclasses.dataclass(frozen=True)
class Records:
  """A struct, or many: rows of the values of `names`, column by column."""
  shape: tuple[int, ...]
  names: list[str]
  rows: list[list]


@dataclasses.dataclass(frozen=True)
class Instance:
  """An object of a class, which is not read."""
  kind: str


@dataclasses.dataclass(frozen=True)
class Array:
  """Numbers or text, made when they are needed; single: one number, or one text."""
  load: Callable[[], np.ndarray]
  single: bool


class _Elements:
  """The elements in a stretch of bytes, one after the other."""

  def __init__(self, view: memoryview, order: Order):
    self.view, self.at = view, 0
    self.order: Order = order

  def __bool__(self) -> bool:
    return self.at + 8 <= len(self.view)

  def number(self, at: int) -> int:
    return int.from_bytes(self.view[at:at + 4], 'little' if self.order == '<' else 'big')

  def next(self) -> tuple[int, memoryview]:
    """Type and bytes of the next element."""
    if not self:
      raise ValueError('cut off within a variable')
    first, count, start = self.number(self.at), self.number(self.at + 4), self.at + 8
    if first >> 16:  # up to four bytes, in the tag itself
      first, count, start = first & 0xffff, first >> 16, self.at + 4
    if start + count > len(self.view) or start == self.at + 4 and count > 4:
      raise ValueError(f'an element of {count} bytes, and {len(self.view) - start} are there')
    end = start + count
    self.at = end if first == _PACKED else self.at + 8 if start == self.at + 4 else (
        end + -end % 8)
    return first, self.view[start:end]

  def numbers(self) -> np.ndarray:
    """The next element as numbers of the type that it says."""
    kind, data = self.next()
    if kind not in _TYPES:
      raise ValueError(f'numbers of the unknown type {kind}')
    dtype = np.dtype(_TYPES[kind]).newbyteorder(self.order)
    if len(data) % dtype.itemsize:
      raise ValueError(f'{len(data)} bytes of {dtype.itemsize} a number')
    return np.frombuffer(data, dtype)

  def text(self) -> str:
    """The next element as a name."""
    return bytes(self.next()[1]).decode('utf-8', 'replace').rstrip('\0')


def recognised(raw: guard.File) -> bool:
  """Whether the head of a file is of v5 to v7."""
  raw.seek(0)
  return raw.read(128)[126:] in (b'IM', b'MI')


def variables(raw: guard.File, size: int) -> Iterator[tuple[str, Callable[[], object]]]:
  """Each variable of a file by name, and how to parse it.

  Args:
    raw: an open file, or what one unpacked to in memory.
    size: bytes of the file, for the bound on what is packed.
  """
  view = (raw.getbuffer() if isinstance(raw, io.BytesIO) else
          memoryview(mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)))
  order = '<' if bytes(view[126:128]) == b'IM' else '>'
  elements = _Elements(view[128:], order)
  while elements:
    kind, data = elements.next()
    if kind == _PACKED:
      head = zlib.decompressobj().decompress(data, _HEAD)
      parse = lambda data=data: _parsed(_inflated(data, size), order, size)
      name = _name(memoryview(head)[8:], order)
    elif kind == _MATRIX:
      parse = lambda data=data: _matrix(data, order, None, 0)
      name = _name(data, order)
    else:
      raise ValueError(f'a variable of the unknown type {kind}')
    if name:  # what has none belongs to objects
      yield name, parse


def _inflated(data: memoryview, size: int) -> memoryview:
  bound = 8 * guard.most(size)
  stream = zlib.decompressobj()
  found = stream.decompress(data, bound + 1)
  if len(found) > bound:
    raise ValueError(f'it unpacks to more than {bound} bytes; {guard.PLAIN}')
  if not stream.eof:
    raise ValueError('cut off within what is packed')
  return memoryview(found)


def _parsed(view: memoryview, order: Order, size: int):
  kind, data = _Elements(view, order).next()
  if kind != _MATRIX:
    raise ValueError(f'a variable of the unknown type {kind}')
  return _matrix(data, order, size, 0)


def _name(view: memoryview, order: Order) -> str:
  parts = _Elements(view, order)
  flags = parts.numbers()
  if _kind(flags) != 'opaque':
    parts.next()
  return parts.text()


def _kind(flags: np.ndarray) -> str:
  if flags.dtype.kind != 'u' or len(flags) != 2 or int(flags[0]) & 0xff not in _CLASSES:
    raise ValueError('a variable of an unknown class')
  return _CLASSES[int(flags[0]) & 0xff]


def _matrix(view: memoryview, order: Order, size: int | None, depth: int):
  """One variable, or what lies in a cell; size: of the file, where this was packed in it."""
  if depth > _DEEP:
    raise ValueError(f'cells within cells, more than {_DEEP} deep')
  if not len(view):
    return Array(lambda: np.zeros((0, 0)), False)
  parts = _Elements(view, order)
  flags = parts.numbers()
  kind = _kind(flags)
  if kind == 'opaque':
    *_, kind = parts.text(), parts.text(), parts.text()
    return Instance(kind)
  shape = tuple(parts.numbers().tolist())
  parts.text()
  if len(shape) < 2 or not all(isinstance(n, int) and n >= 0 for n in shape):
    raise ValueError(f'shape {shape} is not that of an array')
  if kind == 'function_handle':
    return Instance(kind)
  if kind == 'object':
    return Instance(parts.text())
  inner = lambda: _inner(parts, order, size, depth)
  if kind == 'cell':
    return Cells(shape, [inner() for _ in range(_many(shape, 1, view))])
  if kind == 'struct':
    width = int(parts.numbers()[0])
    names = bytes(parts.next()[1])
    if width < 1 or len(names) % width:
      raise ValueError(f'names of fields of {width} bytes')
    names = [names[i:i + width].split(b'\0')[0].decode('utf-8', 'replace')
             for i in range(0, len(names), width)]
    return Records(shape, names, [[inner() for _ in names]
                                  for _ in range(_many(shape, len(names), view))])
  return _array(parts, kind, int(flags[0]), shape, size)


def _inner(parts: _Elements, order: Order, size: int | None, depth: int):
  kind, data = parts.next()
  if kind != _MATRIX:
    raise ValueError(f'a cell of the unknown type {kind}')
  return _matrix(data, order, size, depth + 1)


def _many(shape: tuple[int, ...], each: int, view: memoryview) -> int:
  """How many parts there are; each takes a tag of 8 bytes."""
  guard.sized(shape, 8 * each, held=len(view))
  return math.prod(shape)


def _array(parts: _Elements, kind: str, flags: int, shape: tuple[int, ...],
           size: int | None) -> Array:
  left = lambda: _Elements(parts.view[parts.at:], parts.order)
  if flags & _COMPLEX:
    def load() -> np.ndarray:
      raise ValueError('complex numbers; save real(x) and imag(x)')
  elif kind == 'char':
    load = lambda: _text(*left().next(), parts.order, shape)
  elif kind == 'sparse':
    load = lambda: _sparse(left(), shape, size)
  else:
    load = lambda: _numbers(left().numbers(), kind, bool(flags & _LOGICAL), shape, size)
  single = math.prod(shape) == 1 or kind == 'char' and (math.prod(shape) == 0 or shape[0] == 1)
  return Array(load, single and kind != 'sparse' and not flags & _COMPLEX)


def _numbers(found: np.ndarray, kind: str, logical: bool, shape: tuple[int, ...],
             size: int | None) -> np.ndarray:
  if size is not None:
    guard.sized(shape, 8, size=size)
  if len(found) != math.prod(shape):
    raise ValueError(f'shape {shape}, but {len(found)} numbers')
  with np.errstate(invalid='ignore', over='ignore'):
    found = found.astype(kind).reshape(shape, order='F')
  return found != 0 if logical else found


def _text(kind: int, data: memoryview, order: Order, shape: tuple[int, ...]) -> np.ndarray:
  """Rows of characters as texts [rows]."""
  if len(shape) != 2 or kind not in (1, 2, 4, 16, 17, 18):
    raise ValueError(f'text of shape {shape} and type {kind}')
  if kind in (1, 2, 16):
    units = bytes(data).decode('utf-8', 'replace').encode('utf-16-le')
  elif kind == 18:
    units = bytes(data).decode(f'utf-32-{"le" if order == "<" else "be"}').encode('utf-16-le')
  else:
    units = np.frombuffer(data, f'{order}u2').astype('<u2').tobytes()
  found = np.frombuffer(units, '<u2')
  if not math.prod(shape):
    return np.array([''])
  if len(found) != math.prod(shape):
    raise ValueError(f'shape {shape}, but {len(found)} characters')
  return np.array([line.tobytes().decode('utf-16-le', 'replace')
                   for line in found.reshape(shape, order='F')], np.str_)


def _sparse(parts: _Elements, shape: tuple[int, ...], size: int | None) -> np.ndarray:
  rows, starts, data = parts.numbers(), parts.numbers(), parts.numbers()
  if not len(starts) or starts.dtype.kind not in 'iu' or not 0 <= starts[-1] <= min(
      len(rows), len(data)):
    raise ValueError('a sparse matrix whose columns end nowhere')
  native = [part.astype(part.dtype.newbyteorder('=')) for part in (data, rows, starts)]
  data, rows, starts = native
  return sparse.compressed('csc', shape, data[:starts[-1]], rows[:starts[-1]], starts,
                           len(parts.view) if size is None else size)
