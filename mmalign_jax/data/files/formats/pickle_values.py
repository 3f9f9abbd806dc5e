"""What a pickle may ask for: the few functions by which NumPy writes its arrays, as values here.

Nothing of NumPy or Python is called by a name in a file. A name is looked up in GLOBALS, and its
row makes one of the values below from arguments that are checked; data stay in the file.
"""

from collections.abc import Callable
import dataclasses
import re
from typing import Any, NamedTuple

import numpy as np

from mmalign_jax.data.files.formats import guard

_TYPE = re.compile(r'\?|b1|[iu][1248]|f(?:2|4|8|12|16)|c(?:8|16)|[SU]\d{1,7}')
_SHORTEST = 2**16  # bytes of text that are one label
OBJECTS = np.dtype(object)


class Span(NamedTuple):
  """Bytes that stay in the file: where they begin, how many, and whether they are UTF-8 of a text
  that stands for bytes in latin-1."""
  at: int
  size: int
  latin: bool = False


class Text(NamedTuple):
  """A text that stays in the file."""
  at: int
  size: int


class Name(NamedTuple):
  """A name of GLOBALS, and what it makes of its arguments."""
  name: str
  call: Callable[..., Any] | None


@dataclasses.dataclass(eq=False)
class Dtype:
  """A type of numbers or text, of objects (never read), or one that is not yet said."""
  code: str
  dtype: np.dtype | None = None


@dataclasses.dataclass(eq=False)
class Array:
  """An array of so many bytes that stay in the file, or lie here where they are few; of objects:
  data None; a shape that is None has not been said."""
  dtype: np.dtype | None = None
  shape: tuple[int, ...] | None = None
  fortran: bool = False
  data: bytes | Span | None = None

  def read(self, file: guard.File) -> np.ndarray:
    """The values, from the open file that it lies in.

    Raises:
      ValueError: objects, or fewer bytes than the shape needs.
    """
    if self.dtype is None or self.shape is None:
      raise ValueError('an array that was begun and never filled')
    if self.dtype == OBJECTS:
      raise ValueError(f'an array of objects, shape {self.shape}; only numbers and text of a fixed '
                       'length are read: save it as such')
    assert self.data is not None
    data = taken(file, self.data)
    claimed = guard.sized(self.shape, self.dtype.itemsize, held=len(data))
    if claimed != len(data):
      raise ValueError(f'shape {self.shape} of {self.dtype} is {claimed} bytes, and {len(data)} '
                       'are there')
    flat = np.frombuffer(data, self.dtype) if claimed else np.zeros(0, self.dtype)
    return flat.reshape(self.shape[::-1]).T if self.fortran else flat.reshape(self.shape)


def taken(file: guard.File, data: bytes | Span) -> bytes | np.ndarray:
  """The bytes of a span, or those that are here."""
  if not isinstance(data, Span):
    return data
  file.seek(data.at)
  flat = guard.taken(file, data.size)
  return str(flat.data, 'utf-8', 'surrogatepass').encode('latin-1') if data.latin else flat


def text(value: object) -> str:
  """A short text; bytes of Python 2 are one.

  Raises:
    ValueError: it is none, or no short one.
  """
  if isinstance(value, bytes):
    value = value.decode('latin-1')
  if not isinstance(value, str) or len(value) > _SHORTEST:
    raise ValueError(f'{_kind(value)} stands where a name is needed')
  return value


def _kind(value: object) -> str:
  return f'a value of kind {type(value).__name__}'


# -- what the names do -----------------------------------------------------------------------------


def _dtype(code: object, *_: object) -> Dtype:
  code = text(code).lstrip('<>|=')
  if re.fullmatch(r'O\d{0,2}', code):
    return Dtype('O', OBJECTS)
  if not code or not _TYPE.fullmatch(code):
    raise ValueError(f'the type {code[:40]!r} is neither numbers nor text')
  return Dtype(code, np.dtype(code))


def fill_dtype(made: Dtype, state: object) -> None:
  """The state of a type: (version, byte order, no fields ...)."""
  if not (isinstance(state, tuple) and len(state) >= 5 and all(part is None for part in state[2:5])
          and text(state[1]) in ('<', '>', '|', '=')):
    raise ValueError('a type with fields, or one that NumPy did not write')
  if made.dtype is not OBJECTS:
    made.dtype = np.dtype(text(state[1]) + made.code)


def _reconstruct(kind: object, shape: object, code: object) -> Array:
  if not (isinstance(kind, Name) and kind.name == 'numpy.ndarray'):
    raise ValueError(f'an array of {_kind(kind)}, not of numpy.ndarray')
  return Array()


def fill_array(made: Array, state: object) -> None:
  """The state of an array: (version, shape, type, whether columns first, bytes)."""
  if not isinstance(state, tuple) or len(state) not in (4, 5):
    raise ValueError('an array whose state NumPy did not write')
  _fill(made, *state[-4:])


def _fill(made: Array, shape: object, dtype: object, fortran: object, data: object) -> None:
  if made.shape is not None:
    raise ValueError('an array that is filled twice')
  if not (isinstance(shape, tuple) and len(shape) <= 32 and all(type(n) is int for n in shape)
          and isinstance(dtype, Dtype) and isinstance(fortran, (bool, int))):
    raise ValueError('an array whose shape or type NumPy did not write')
  objects = dtype.dtype == OBJECTS
  if not objects and not isinstance(data, (bytes, Span)):
    raise ValueError(f'the data of an array are {_kind(data)}, not bytes')
  if not objects and not (isinstance(data, Span) and data.latin):
    assert dtype.dtype is not None and isinstance(data, (bytes, Span))
    guard.sized(shape, dtype.dtype.itemsize,
                held=data.size if isinstance(data, Span) else len(data))
  elif any(n < 0 or n > 2**40 for n in shape):
    raise ValueError(f'shape {shape}')
  made.shape, made.dtype, made.fortran = shape, dtype.dtype, bool(fortran)
  made.data = None if objects else data  # pyright: ignore[reportAttributeAccessIssue]


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> Array:
  made = Array()
  _fill(made, shape, dtype, text(order) == 'F', data)
  return made


def _scalar(dtype: object, data: object = b'') -> object:
  if not isinstance(dtype, Dtype) or dtype.dtype is None or dtype.dtype == OBJECTS or not (
      isinstance(data, bytes) and len(data) == dtype.dtype.itemsize):
    raise ValueError('a number that NumPy did not write')
  return np.frombuffer(data, dtype.dtype, 1)[0].item() if data else ''


def _encode(value: object, how: object = 'latin1') -> bytes | Span:
  if text(how).lower().replace('-', '') not in ('latin1', 'iso88591'):
    raise ValueError('bytes that are not written in latin-1')
  if isinstance(value, Text):
    return Span(*value, True)
  if not isinstance(value, str):
    raise ValueError(f'{_kind(value)} stands where text is needed')
  return value.encode('latin-1')


def _bytes(*nothing: object) -> bytes:
  if nothing:
    raise ValueError('bytes made from something')
  return b''


def _ordered(*nothing: object) -> dict:
  if nothing:
    raise ValueError('an OrderedDict made from something')
  return {}


_CALLS: dict[str, Callable[..., Any] | None] = {
    'numpy.dtype': _dtype, 'numpy.ndarray': None, '_codecs.encode': _encode,
    'builtins.bytes': _bytes, '__builtin__.bytes': _bytes, 'collections.OrderedDict': _ordered,
    **{f'{core}.multiarray.{name}': call for core in ('numpy.core', 'numpy._core')
       for name, call in (('_reconstruct', _reconstruct), ('scalar', _scalar))},
    **{f'{core}.numeric._frombuffer': _frombuffer for core in ('numpy.core', 'numpy._core')}}
GLOBALS = {name: Name(name, call) for name, call in _CALLS.items()}


def named(module: str, name: str) -> Name:
  """The row of GLOBALS.

  Raises:
    ValueError: there is none; it names what was asked for.
  """
  found = GLOBALS.get(f'{module}.{name}')
  if found is None:
    raise ValueError(f'it asks for {f"{module}.{name}"[:100]!r}: of a pickle, only arrays, numbers '
                     'and text in dicts, lists and tuples are read, and nothing in it is run')
  return found
