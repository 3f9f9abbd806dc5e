""".npy and .npz files of NumPy and of scipy.sparse; pickled objects are refused.

The header of every array is held against the bytes that follow it before memory is taken for it.
Archives are read member by member and never unpacked to disk: a name in them is a key, no path.
"""

from collections.abc import Callable
import io
import pathlib
import threading
import zipfile

import numpy as np

from mmalign_jax.data.files.formats import guard, sparse
from mmalign_jax.data.files.formats.store import Store, plain

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0}
_PARSING = threading.Lock()  # threads of Python 3.11 that read headers at once fail: see runs.npy
_SPARSE = {'csr': ('data', 'indices', 'indptr'), 'csc': ('data', 'indices', 'indptr'),
           'bsr': ('data', 'indices', 'indptr'), 'coo': ('data', 'row', 'col'),
           'dia': ('data', 'offsets')}
_MATRIX = 'matrix'  # what the one key of a sparse file is called


def npy(path: pathlib.Path) -> Store:
  """The only array of an .npy file, under the key ''."""
  remarks = []
  def read(_: str) -> np.ndarray:
    with guard.reading(path), guard.opened(path) as file:
      return plain(_array(file, guard.length(file)), remarks)
  return Store(str(path), ('',), read, remarks=remarks)


def _array(file: io.BufferedIOBase, there: int, size: int | None = None) -> np.ndarray:
  """The array of an open .npy file of `there` bytes, packed in `size` bytes if that is given."""
  version = np.lib.format.read_magic(file)
  if version not in _HEADERS:
    raise ValueError(f'version {version} of .npy, which is for named fields; plain numbers or text '
                     'are needed')
  try:
    with _PARSING:
      shape, fortran, dtype = _HEADERS[version](file)
  except ValueError as error:
    if "'<f1'" in str(error) or "'|f1'" in str(error):
      raise ValueError('float8, of which .npy files do not say the kind; save float16, or '
                       '.safetensors, which names the type') from error
    raise
  if dtype.hasobject:
    raise ValueError('Object arrays are pickled, and never loaded; save numbers or plain text')
  if dtype.itemsize == 0:
    raise ValueError(f'values of no bytes: {dtype}')
  claimed = guard.sized(shape, dtype.itemsize, held=there - file.tell())
  if size is not None:
    guard.sized(shape, dtype.itemsize, size=size)
  array = guard.taken(file, claimed).view(dtype)
  return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def npz(path: pathlib.Path) -> Store:
  """The arrays of an .npz file; a file of scipy.sparse.save_npz is one array, `matrix`."""
  size, remarks = path.stat().st_size, []
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'), guard.opened(path) as raw:
      there = guard.length(raw)
      with zipfile.ZipFile(raw) as file:
        members = _members(file)
        load = lambda name: _member(file, members[name], there, size)
        if key == _MATRIX and _is_sparse(members):
          return plain(_sparse(load, members, size), remarks)
        return plain(load(key), remarks)
  with guard.reading(path), guard.opened(path) as raw, zipfile.ZipFile(raw) as file:
    members = _members(file)
  return Store(str(path), (_MATRIX,) if _is_sparse(members) else tuple(members), read,
               remarks=remarks)


def _members(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
  """The arrays of an archive by key; what is no .npy file is not looked at."""
  found = {}
  for info in file.infolist():
    key = info.filename.removesuffix('.npy')
    if key != info.filename:
      if key in found:
        raise ValueError(f'it holds {key!r} twice')
      found[key] = info
  return found


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo, there: int, size: int) -> np.ndarray:
  """One member of an archive of `there` bytes, in a file of `size` bytes."""
  if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
    raise ValueError(f'packed by zip method {info.compress_type}; np.savez and np.savez_compressed '
                     'store or deflate')
  stored = info.compress_type == zipfile.ZIP_STORED
  if stored:
    guard.sized((info.file_size,), 1, held=there)
  with file.open(info) as member:
    # a ZipExtFile, which typeshed does not say
    return _array(member, info.file_size,  # pyright: ignore[reportArgumentType]
                  None if stored else size)


def _is_sparse(members: dict[str, zipfile.ZipInfo]) -> bool:
  return {'format', 'shape'} <= set(members) and any(
      set(parts) <= set(members) for parts in _SPARSE.values())


def _sparse(read: Callable[[str], np.ndarray], members: dict[str, zipfile.ZipInfo],
            size: int) -> np.ndarray:
  """The matrix of scipy.sparse.save_npz, whose parts `read` loads."""
  import scipy.sparse  # slow to import, and seldom needed
  form = read('format').item()
  form = form.decode() if isinstance(form, bytes) else str(form)
  if form not in _SPARSE or not set(_SPARSE[form]) <= set(members):
    raise ValueError(f'a sparse matrix of form {form!r}; known: {", ".join(_SPARSE)}')
  shape, data, *rest = read('shape'), *map(read, _SPARSE[form])
  if form in sparse.COMPRESSED:
    indices, indptr = rest
    return sparse.compressed(form, shape, data, indices, indptr, size)
  if np.shape(shape) != (2,):
    raise ValueError(f'shape {np.shape(shape)} of a sparse matrix is not (rows, columns)')
  make = getattr(scipy.sparse, f'{form}_array')
  parts = (data, tuple(rest)) if form == 'coo' else (data, *rest)
  return sparse.filled(make(parts, shape=tuple(map(int, shape))), size)
