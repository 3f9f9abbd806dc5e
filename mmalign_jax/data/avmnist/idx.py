"""Images and labels of MNIST from IDX files, plain or gzip: numbers only, nothing is executed.

An IDX file is two zero bytes, a type code (8: unsigned byte), the number of axes, the length of
each axis as a big-endian u32, and the values (http://yann.lecun.com/exdb/mnist/).
"""

import gzip
import math
import pathlib
import struct

import numpy as np

from mmalign_jax.data.files.formats import guard

UNSIGNED_BYTE = 8
_GZIP = b'\x1f\x8b'
_KINDS = {1: 'labels', 3: 'images'}


def read_idx(path: pathlib.Path, n_axes: int) -> np.ndarray:
  """The values of one IDX file, u8 with `n_axes` axes; gzip is told by content, not by name.

  Args:
    path: of the file.
    n_axes: 3 for images [N, H, W], 1 for labels [N].

  Raises:
    FileNotFoundError: no such file.
    ValueError: damaged, truncated, too long, or not an IDX file of `n_axes` axes of bytes.
  """
  if not path.is_file():
    raise FileNotFoundError(f'{str(path)!r}: no such file')
  with guard.reading(path), open(path, 'rb') as raw:
    packed = raw.read(2) == _GZIP
    raw.seek(0)
    with gzip.open(raw) if packed else raw as file:
      shape = _shape(file.read(4 + 4 * n_axes), n_axes)
      size = math.prod(shape)
      values = file.read(size + 1)  # one more, to see that the file ends here
  if len(values) != size:
    more = 'more' if len(values) > size else len(values)
    raise ValueError(f'{path}: {shape} needs {size} bytes, the file has {more}')
  return np.frombuffer(values, np.uint8).reshape(shape)


def _shape(head: bytes, n_axes: int) -> tuple[int, ...]:
  """Lengths of the axes, from the first bytes of a file."""
  wanted = bytes([0, 0, UNSIGNED_BYTE, n_axes])
  if head[:4] != wanted:
    raise ValueError(f'it begins with {head[:4].hex() or "nothing"}, IDX '
                     f'{_KINDS.get(n_axes, "values")} with {wanted.hex()}')
  if len(head) < 4 + 4 * n_axes:
    raise ValueError(f'truncated, {len(head)} bytes')
  return struct.unpack(f'>{n_axes}I', head[4:])


def read_images(images: pathlib.Path, labels: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  """Images [N, 28, 28] u8 and their digits [N] i32 in 0..9, from two files.

  Raises:
    FileNotFoundError: no such file.
    ValueError: as in `read_idx`; no images or not 28 x 28, unequal counts, labels above 9.
  """
  pixels, digits = read_idx(images, 3), read_idx(labels, 1)
  if pixels.shape[1:] != (28, 28) or not len(pixels):
    raise ValueError(f'{images}: shape {pixels.shape} is not [images, 28, 28]')
  if len(pixels) != len(digits):
    raise ValueError(f'{images} has {len(pixels)} images, {labels} has {len(digits)} labels')
  if digits.max() > 9:
    row = int((digits > 9).argmax())
    raise ValueError(f'{labels}: label {digits[row]} at row {row} (from 0) is not a digit')
  return pixels, digits.astype(np.int32)


def find(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The file `name` or `name`.gz in `folder`; where there is neither, the name with .gz."""
  plain = folder / name
  return plain if plain.is_file() else folder / f'{name}.gz'
