"""What a file may claim and unpack: every reader asks here before it allocates.

A file is data of others. What it says of itself (a header, a shape) is checked against the bytes
that it has; what is packed (compressed, sparse, chunked) may grow to `most` values and no further,
so that a small file can take neither the memory nor the time of the machine. Nothing is unpacked
to disk.
"""

from collections.abc import Iterable, Iterator, Sequence
import contextlib
import gzip
import io
import math
import os
import pathlib
import stat
import warnings
import zlib

import numpy as np

VALUES = 2**24    # values that any packed array may have: 128 MiB as float64
PER_BYTE = 4      # ... or so many for each byte of its file, where that is more
GZIP = 2**28      # bytes that any .gz file may unpack to: 256 MiB
TEXT = 2**24      # ... a table, each cell of which takes many times its characters
GZIP_PER_BYTE = 10
LABELS = 2**27   # characters that a column of text may take, each padded to the longest
_DEFLATE = 1032   # deflate packs no better than this
_BLOCK = 2**20
_LISTED = 20      # names in an error message

File = io.BufferedReader | io.BytesIO

PLAIN = 'save it as a plain .npy file, which is read at any size'


def listing(names: Iterable[str]) -> str:
  """Names for an error message, on one line and not too many."""
  names = list(names)
  more = f', ... ({len(names)} in all)' if len(names) > _LISTED else ''
  return ', '.join(map(repr, names[:_LISTED])) + more if names else 'nothing'


def place(text: str | os.PathLike[str]) -> pathlib.Path:
  """A path as people write it, `~` being their home.

  Raises:
    ValueError: the home of somebody who is not known here.
  """
  try:
    return pathlib.Path(text).expanduser()
  except RuntimeError:
    raise ValueError(f'{text}: nobody here has that home directory; a file whose name begins with '
                     '~ is ./~...') from None


@contextlib.contextmanager
def reading(what) -> Iterator[None]:
  """Any failure of a parser as one line that names the file; its warnings are not for users."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  except Exception as error:  # parsers of damaged files raise all sorts
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ValueError(f'{what}: cannot be read: {reason}') from error


def kind(path: pathlib.Path) -> str:
  """The suffix that tells the format, in small letters: '.csv' for both A.csv and A.CSV.gz."""
  name = path.name.lower()
  return pathlib.PurePath(name.removesuffix('.gz')).suffix


def most(size: int) -> int:
  """Values that a packed array in a file of `size` bytes may have."""
  return max(VALUES, PER_BYTE * size)


def texts(cells: Sequence[str], where: str) -> np.ndarray:
  """Text [N]; an array pads all to the longest, so that one of them may not be too long.

  Raises:
    ValueError: more than `LABELS` characters.
  """
  check_padded(max(map(len, cells), default=0), len(cells), where)
  return np.array(cells, np.str_)


def check_padded(longest: int, count: int, where: str) -> None:
  """Raises ValueError where `count` texts of up to `longest` characters are too many."""
  if longest * count > LABELS:
    raise ValueError(f'{where}: text of up to {longest} characters in {count} rows is no label or '
                     'id')


def sized(shape: Iterable[int], itemsize: int, *, held: int | None = None, size: int = 0) -> int:
  """The bytes of an array that a file claims to hold, if the file can.

  Args:
    shape: as claimed.
    itemsize: bytes of a value.
    held: bytes that are there for it, where it is not packed; None where it is.
    size: bytes of the whole file, where it is packed.

  Raises:
    ValueError: more is claimed than is held, or than a packed array may have.
  """
  shape = tuple(int(axis) for axis in shape)
  if any(axis < 0 for axis in shape):
    raise ValueError(f'shape {shape} has a negative axis')
  count = math.prod(shape)
  if math.prod(max(axis, 1) for axis in shape) >= 2**62:
    raise ValueError(f'shape {shape} is larger than any array')
  if held is not None:
    if count * max(itemsize, 1) > held:
      raise ValueError(f'shape {shape} of {itemsize} bytes a value claims {count * itemsize} '
                       f'bytes, but {held} are there: cut off, or not what it says')
  elif count * max(itemsize, 8) > 8 * most(size):
    raise ValueError(f'shape {shape} would unpack to {count} values of {itemsize} bytes, above the '
                     f'bound of {most(size)} for a packed file of {size} bytes; {PLAIN}')
  return count * itemsize


def inflates(packed: int, size: int) -> bool:
  """Whether `packed` deflated bytes could grow beyond the bound of a file of `size` bytes."""
  return packed * _DEFLATE > 8 * most(size)


def inflated(blocks: Iterable[bytes], bound: int, wbits: int = zlib.MAX_WBITS) -> int:
  """The bytes that a deflated stream unpacks to, which are counted and not kept.

  Raises:
    ValueError: more than `bound`.
    zlib.error: a damaged stream.
  """
  stream, count = zlib.decompressobj(wbits), 0
  for block in blocks:
    while block and not stream.eof:
      count += len(stream.decompress(block, _BLOCK))
      block = stream.unconsumed_tail
      if count > bound:
        raise ValueError(f'it unpacks to more than {bound} bytes; {PLAIN}')
  return count


@contextlib.contextmanager
def opened(path: pathlib.Path, most_bytes: int = GZIP) -> Iterator[File]:
  """A file to read from any place; of a .gz file, in memory, what it unpacks to.

  Raises:
    ValueError: it is no file, or unpacks to more than `most_bytes` and more than GZIP_PER_BYTE
      times its size.
    OSError, EOFError, zlib.error: missing or damaged.
  """
  if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait without end
    raise ValueError('not a file but a pipe, a device or a folder')
  if path.suffix.lower() != '.gz':
    with open(path, 'rb') as file:
      yield file
    return
  bound, memory = max(most_bytes, GZIP_PER_BYTE * path.stat().st_size), io.BytesIO()
  with gzip.open(path) as packed:
    while block := packed.read(_BLOCK):
      if memory.tell() + len(block) > bound:
        raise ValueError(f'it unpacks to more than {bound} bytes, the bound for a .gz file of '
                         f'{path.stat().st_size} bytes; unpack it first')
      memory.write(block)
  memory.seek(0)
  yield memory


@contextlib.contextmanager
def source(path: pathlib.Path) -> Iterator[pathlib.Path | File]:
  """What HDF5 opens: the path itself, or in memory what a .gz file unpacks to; as `opened`."""
  if path.suffix.lower() != '.gz':
    yield path
    return
  with opened(path) as file:
    yield file


def length(file: io.BufferedIOBase) -> int:
  """Bytes from here to the end of the file, whose position stays."""
  here = file.tell()
  end = file.seek(0, io.SEEK_END)
  file.seek(here)
  return end - here


def taken(file: io.BufferedIOBase, count: int) -> np.ndarray:
  """The next `count` bytes of a file [count] u8; `sized` comes before.

  Raises:
    ValueError: fewer are left.
  """
  flat = np.empty(count, np.uint8)
  view, done = flat.data, 0
  while done < count:
    got = file.readinto(view[done:done + 16 * _BLOCK])
    if not got:
      raise ValueError(f'cut off: {done} of {count} bytes')
    done += got
  return flat
