"""Hostile MATLAB 5 files, element by element."""

import pathlib
import random
import struct
import zlib

import numpy as np

from fuzzing import harm, valid
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs

_INT8, _INT32, _UINT32, _SINGLE, _MATRIX, _COMPRESSED = 1, 5, 6, 7, 14, 15
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_FLOAT = 7  # class of single


def _element(kind: int, data: bytes, size: int | None = None) -> bytes:
  count = len(data) if size is None else size
  return struct.pack('<II', kind, count) + data + bytes(-len(data) % 8)


def _matrix(name: str, shape, body: bytes, kind: int = _FLOAT, flags: int = 0, nzmax: int = 0,
            size: int | None = None) -> bytes:
  return _element(_MATRIX, (
      _element(_UINT32, struct.pack('<II', kind | flags << 8, nzmax))
      + _element(_INT32, struct.pack(f'<{len(shape)}i', *shape))
      + _element(_INT8, name.encode('latin-1')) + body), size)


def _file(*elements: bytes) -> bytes:
  return b'MATLAB 5.0 MAT-file'.ljust(124) + struct.pack('<H', 0x100) + b'IM' + b''.join(elements)


def _floats(n: int = 96) -> bytes:
  return _element(_SINGLE, np.arange(n, dtype=np.float32).tobytes())


def _written(make):
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    (folder / 'd.mat').write_bytes(make(r, evil))
    specs = valid.FORMATS['npy'].write(folder, {k: a for k, a in arrays.items() if k != 'x1'})
    return specs | {'x1': r.choice(('d.mat', 'd.mat:x1', 'd.mat:x1{1}')), 'whole': 'd.mat'}
  return write


def _shape(r, evil):
  shape = r.choice(((24, 4), (2**30, 2**30), (-1, 4), (24, -4), (0, 4), (24,), (), (24, 4, 1, 1, 1),
                    (2**31 - 1, 4), (24, 2**20), (1,) * 40))
  return _file(_matrix('x1', shape, _floats(r.choice((96, 95, 0, 200))), r.choice((
      _FLOAT, 6, 8, 9, 12, 13, 15, 18, 99)), r.choice((0, 0, 2, 4, 8, 255))))


def _class(r, evil):
  kind = r.choice((_OBJECT, _FUNCTION, _OPAQUE, _CHAR, _CELL, _STRUCT, 0, 14))
  body = r.choice((_floats(), _element(_INT8, b'MCOS') + _element(_INT8, b'string') + _matrix(
      '', (6, 1), _element(_UINT32, struct.pack('<6I', 0xDD000000, 2, 1, 1, 1, 1))),
      _element(_INT8, evil.pickled(r)), _element(16, b'\xff\xfe\xfd' * 32), b''))
  return _file(_matrix('x1', r.choice(((24, 4), (1, 1), (2**20, 2**9))), body, kind))


def _deep(r, evil):
  """Cells in cells in cells."""
  inner = _matrix('', (24, 4), _floats())
  for _ in range(r.choice((3, 20, 5000))):
    inner = _matrix('', (1, 1), inner, _CELL)
  return _file(_matrix('x1', (1, 1), inner, _CELL))


def _many_cells(r, evil):
  n = r.choice((10_000, 2**28))
  return _file(_matrix('x1', (n, 1), _matrix('', (1, 1), _floats(1)) * 10_000, _CELL))


def _sparse(r, evil):
  rows = np.array(r.choice(([0, 1, 2], [0, 1, 2**30], [-5, 0, 1], [0] * 3)), np.int32)
  columns = np.array(r.choice(([0, 1, 2, 3, 3], [0, 1000, 2, 3, 3], [3, 2, 1, 0, 0], [0, 1, 2, 2**31
                               - 1, -1], [0])), np.int32)
  body = (_element(_INT32, rows.tobytes()) + _element(_INT32, columns.tobytes()) + _floats(3))
  return _file(_matrix('x1', r.choice(((24, 4), (2**31 - 1, 4), (24, 2**30), (-1, 4))), body,
                       _SPARSE, nzmax=r.choice((3, 0, 2**31))))


def _packed(r, evil):
  """Compressed elements: a bomb, an element in an element, a damaged one."""
  inner = _matrix('x1', (24, 4), _floats())
  head = _matrix('x1', (2**28, 4), struct.pack('<II', _SINGLE, 2**32 - 8), size=2**32 - 8)
  bomb = harm.zlib_bomb(r.choice((200, 4096)), head)
  return _file(r.choice((
      struct.pack('<II', _COMPRESSED, len(bomb)) + bomb,
      _element(_COMPRESSED, zlib.compress(_element(_COMPRESSED, zlib.compress(inner)))),
      _element(_COMPRESSED, zlib.compress(inner)[:-9]), _element(_COMPRESSED, b''),
      _element(_COMPRESSED, zlib.compress(inner), 2**31))))


def _names(r, evil):
  names = ('', '../x1', 'a\nb', '\x1b[2J', '__header__', '__globals__', 'x' * 5000, 'x1', 'x1',
           '\xe9')
  return _file(*(_matrix(r.choice(names), (24, 4), _floats()) for _ in range(r.choice((1, 2, 4)))))


def _struct(r, evil):
  n = r.choice((8, 0, 2**31 - 1, 1))
  body = (_element(_INT32, struct.pack('<I', n)) + _element(_INT8,
                                                            b'a\0\0\0\0\0\0\0\x1b[2J\0\0\0\0')
          + _matrix('', (24, 4), _floats()) * 2)
  return _file(_matrix('x1', r.choice(((1, 1), (3, 1), (2**30, 1))), body, _STRUCT))


CRAFTED = {
    'mat': {name: _written(make) for name, make in (
        ('shape that lies', _shape), ('classes', _class), ('cells in cells', _deep),
        ('many cells', _many_cells), ('sparse parts that lie', _sparse), ('names', _names),
        ('structs', _struct))},
    'mat packed': {'packed elements': _written(_packed)}}
