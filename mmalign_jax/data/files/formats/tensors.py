""".safetensors files, and .pt and .pth files where torch is installed."""

from collections.abc import Iterator
import itertools
import json
import pathlib
from typing import Any, TypeGuard
import warnings
import zipfile

import numpy as np

from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.formats.store import Store, plain

_TYPES = {'F64': 'f8', 'F32': 'f4', 'F16': 'f2', 'BOOL': '?', 'I64': 'i8', 'I32': 'i4',
          'I16': 'i2', 'I8': 'i1', 'U64': 'u8', 'U32': 'u4', 'U16': 'u2', 'U8': 'u1',
          'C64': 'c8'}
_SHORT = {'BF16': 'bfloat16', 'F8_E4M3': 'float8_e4m3fn', 'F8_E5M2': 'float8_e5m2',
          'F8_E8M0': 'float8_e8m0fnu', 'F8_E4M3FNUZ': 'float8_e4m3fnuz',
          'F8_E5M2FNUZ': 'float8_e5m2fnuz'}  # of ml_dtypes
_MOST_HEADER = 2**26  # bytes
_MOST_TENSORS = 100_000


def safetensors(path: pathlib.Path) -> Store:
  """The tensors of a file by name."""
  remarks = []
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'), guard.opened(path) as file:
      return plain(_tensor(file, _header(file)[key]), remarks)
  with guard.reading(path), guard.opened(path) as file:
    return Store(str(path), tuple(_header(file)), read, remarks=remarks)


def _header(file: guard.File) -> dict[str, dict]:
  """What the file says of each tensor: dtype, shape, data_offsets from the end of the header."""
  there = guard.length(file)
  size = int.from_bytes(file.read(8), 'little')
  if not 2 <= size <= min(there - 8, _MOST_HEADER):
    raise ValueError(f'a header of {size} bytes in a file of {there}')
  header = json.loads(file.read(size).decode('utf-8'), object_pairs_hook=_once)
  if not isinstance(header, dict) or not all(isinstance(v, dict) for v in header.values()):
    raise ValueError('the header is not an object of tensors')
  header.pop('__metadata__', None)
  return header


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
  """A JSON object none of whose keys occurs twice."""
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    raise ValueError(f'it holds {next(n for n in names if names.count(n) > 1)!r} twice')
  return found


def _tensor(file: guard.File, entry: dict) -> np.ndarray:
  """The tensor of one entry; the file stands at the end of its header."""
  name, shape, offsets = (entry.get(field) for field in ('dtype', 'shape', 'data_offsets'))
  if not (isinstance(name, str) and _whole(shape) and _whole(offsets) and len(offsets) == 2):
    raise ValueError(f'dtype {name!r}, shape {str(shape)[:80]}, data_offsets '
                     f'{str(offsets)[:80]} do not describe a tensor')
  if name not in _TYPES and name not in _SHORT:
    raise ValueError(f'dtype {name!r} is unknown; known: {", ".join([*_TYPES, *_SHORT])}')
  dtype = _dtype(name)
  start, end = offsets
  if not start <= end <= guard.length(file):
    raise ValueError(f'data_offsets {offsets} of {guard.length(file)} bytes')
  if guard.sized(shape, dtype.itemsize, held=end - start) != end - start:
    raise ValueError(f'shape {tuple(shape)} of {name} does not fill data_offsets {offsets}')
  file.seek(start, 1)
  return guard.taken(file, end - start).view(dtype).reshape(shape)


def _whole(numbers) -> TypeGuard[list[int]]:
  return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)


def _dtype(name: str) -> np.dtype:
  if name in _TYPES:
    return np.dtype(_TYPES[name]).newbyteorder('<')
  import ml_dtypes
  return np.dtype(getattr(ml_dtypes, _SHORT[name]))


# -- torch -----------------------------------------------------------------------------------------


def torch(path: pathlib.Path) -> Store:
  """The tensors of a file of torch.save by name, a/b where they are nested; '' for a lone one.

  Read by torch with weights_only=True, which runs nothing of the file. Everything is loaded at
  once, as torch does.

  Raises:
    ValueError: torch is not installed, or the file holds anything but tensors.
  """
  try:
    import torch as library  # pyright: ignore[reportMissingImports]  is optional
  except ImportError as error:
    raise ValueError(f'{path}: reading it needs torch, which is not installed: install it, or save '
                     'the tensors as .safetensors or .npz') from error
  size, remarks = path.stat().st_size, []
  with guard.reading(path), guard.opened(path) as file:
    _check_archive(file, size)
    try:
      with warnings.catch_warnings():  # torch warns of what only its developers can change
        warnings.simplefilter('ignore')
        loaded = library.load(file, map_location='cpu', weights_only=True)
    except Exception as error:  # its own text is many lines of advice
      reason = ('objects other than tensors are never loaded; save a dict of tensors'
                if 'weights_only' in str(error).lower() or 'weights only' in str(error).lower()
                else (str(error) or type(error).__name__))
      raise ValueError(reason) from error
    named = list(itertools.islice(_named(loaded, '', library), _MOST_TENSORS))
    found = dict(named)
    if len(named) == _MOST_TENSORS:
      raise ValueError(f'it holds {_MOST_TENSORS} tensors or more')
    if len(found) < len(named) or not found:
      raise ValueError('two of its tensors have one name' if found else 'it holds no tensors')
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'):
      return plain(_filled(found[key], size, library), remarks)
  return Store(str(path), tuple(found), read, remarks=remarks)


def _check_archive(file: guard.File, size: int) -> None:
  """What a zip archive unpacks to is bounded; older files are one stream that is not packed."""
  if zipfile.is_zipfile(file):
    with zipfile.ZipFile(file) as archive:
      guard.sized((sum(info.file_size for info in archive.infolist()),), 1, size=size)
  file.seek(0)


def _named(value, name: str, library) -> Iterator[tuple[str, Any]]:
  """(name, tensor) of a tensor, or of the dicts and lists that hold them."""
  if isinstance(value, library.Tensor):
    yield name, value
  elif isinstance(value, dict):
    for key, inner in value.items():
      yield from _named(inner, f'{name}/{key}' if name else str(key), library)
  elif isinstance(value, (list, tuple)):
    for i, inner in enumerate(value):
      yield from _named(inner, f'{name}/{i}' if name else str(i), library)


def _filled(tensor, size: int, library) -> np.ndarray:
  """A tensor as an array; a sparse, repeated (stride 0) or short-float one is filled in."""
  guard.sized(tuple(tensor.shape), tensor.element_size(), size=size)
  if tensor.is_quantized:
    raise ValueError('a quantised tensor; save tensor.dequantize()')
  tensor = tensor.detach()
  tensor = tensor.to_dense() if tensor.layout != library.strided else tensor
  exact = (library.float64, library.float32, library.float16)
  if tensor.is_floating_point() and tensor.dtype not in exact:
    tensor = tensor.to(library.float32)
  return tensor.resolve_conj().resolve_neg().numpy()
