"""MATLAB files: v4 by SciPy, v5 to v7 by `matlab5`, v7.3 as HDF5. Cells and structs become keys.

`X{2}` is the second cell of X (`X{2,1}` where X has rows and columns), `S.name` a field of a
struct, `S(3).name` that of the third of many. A cell array of single numbers or of texts is one
array. Objects of MATLAB classes (string, table, datetime, function handles) are refused by name.
"""

from collections.abc import Callable, Iterable, Iterator
import pathlib

import numpy as np

from mmalign_jax.data.files.formats import guard, hdf5, matlab5, sparse
from mmalign_jax.data.files.formats.store import Store, plain

Leaves = Iterator[tuple[str, Callable[[], np.ndarray]]]  # key, and how to load it

_NUMBERS = ('double', 'single', 'logical', 'int8', 'int16', 'int32', 'int64', 'uint8', 'uint16',
            'uint32', 'uint64')
_DEEP = 8  # cells and structs within each other


def mat(path: pathlib.Path) -> Store:
  """The variables of a file of any version."""
  size, remarks = path.stat().st_size, []
  with guard.reading(path), guard.opened(path) as raw:
    is_hdf5 = hdf5.recognised(raw)
    is_v5 = matlab5.recognised(raw)
  leaves, opened = ((_of_hdf5, hdf5.opened) if is_hdf5 else
                    (_of_v5 if is_v5 else _of_v4, guard.opened))
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'), opened(path) as raw:
      for name, load in leaves(raw, size, key):
        if name == key:
          return plain(load(), remarks)
      raise ValueError(f'no {key!r}')
  with guard.reading(path), opened(path) as raw:
    return Store(str(path), tuple(name for name, _ in leaves(raw, size, None)), read,
                 remarks=remarks)


def refused(kind: str) -> Callable[[], np.ndarray]:
  """How an object of a MATLAB class is loaded: not at all."""
  def load():
    how = {'string': 'save cellstr(x), or char(x)', 'table': 'save table2array(x)',
           'categorical': 'save cellstr(x), or double(x)'}.get(kind, 'save numbers or text')
    raise ValueError(f'an object of the MATLAB class {kind!r}, which only MATLAB reads; {how}')
  return load


def indices(shape: Iterable[int]) -> list[str]:
  """'1', '2', ... of a vector, '1,1', '2,1', ... of what has rows and columns, column by column."""
  shape = tuple(shape)
  if sum(axis != 1 for axis in shape) <= 1:
    return [str(i + 1) for i in range(int(np.prod(shape)))]
  return [','.join(str(i + 1) for i in np.unravel_index(at, shape, order='F'))
          for at in range(int(np.prod(shape)))]


# -- v4 to v7 --------------------------------------------------------------------------------------


def _of_v4(raw: guard.File, size: int, key: str | None) -> Leaves:
  """Arrays alone: v4 has nothing else."""
  import scipy.io  # slow to import, and seldom needed
  raw.seek(0)
  for name, shape, kind in scipy.io.whosmat(raw):
    if kind != 'sparse':
      guard.sized(shape, 1, held=guard.length(raw) + raw.tell())
    yield name, lambda name=name: _load_v4(raw, name, size)


def _load_v4(raw: guard.File, name: str, size: int) -> np.ndarray:
  import scipy.io
  raw.seek(0)
  found = scipy.io.loadmat(raw, variable_names=[name])[name]
  return sparse.filled(found, size) if hasattr(found, 'toarray') else found


def _of_v5(raw: guard.File, size: int, key: str | None) -> Leaves:
  """Every variable, or those that may hold `key`."""
  for name, parse in matlab5.variables(raw, size):
    if key is None or key.startswith(name):
      yield from _parts(name, parse())


def _parts(name: str, value) -> Leaves:
  """The arrays in a variable, by key."""
  if isinstance(value, matlab5.Array):
    yield name, value.load
  elif isinstance(value, matlab5.Instance):
    yield name, refused(value.kind)
  elif isinstance(value, matlab5.Records):
    places = [''] if len(value.rows) == 1 else [f'({i})' for i in indices(value.shape)]
    for place, row in zip(places, value.rows):
      for field, inner in zip(value.names, row):
        yield from _parts(f'{name}{place}.{field}', inner)
  elif all(isinstance(item, matlab5.Array) and item.single for item in value.items):
    yield name, lambda: _alike([item.load().ravel()[0].item() for item in value.items])
  else:
    for i, item in zip(indices(value.shape), value.items):
      yield from _parts(f'{name}{{{i}}}', item)


def _alike(values: list) -> np.ndarray:
  """Numbers [N], or texts [N]; text and numbers in one array would make both text."""
  if len({isinstance(value, str) for value in values}) > 1:
    raise ValueError('cells of numbers and of text, mixed; save one kind')
  return np.array(values)


# -- v7.3 ------------------------------------------------------------------------------------------


def _of_hdf5(file, size: int, key: str | None) -> Leaves:
  """As `_of_v5`. What MATLAB has not marked is an array with its axes in MATLAB's order."""
  for name in file:
    if not name.startswith('#') and (key is None or key.startswith(name)):
      try:
        item = hdf5.inside(file, name)
      except ValueError as error:
        yield name, _raises(str(error))
        continue
      yield from _items(name, item, size, 0)


def _raises(reason: str) -> Callable[[], np.ndarray]:
  def load():
    raise ValueError(reason)
  return load


def _items(name: str, item, size: int, depth: int) -> Leaves:
  """The arrays in a dataset or group, by key."""
  import h5py
  kind = _class(item)
  if depth > _DEEP:
    raise ValueError(f'{name}: cells within cells, more than {_DEEP} deep')
  if 'MATLAB_object_decode' in item.attrs or kind in ('function_handle', 'opaque', 'string'):
    yield name, refused(kind or 'object')
  elif isinstance(item, h5py.Group):
    if 'MATLAB_sparse' in item.attrs:
      yield name, lambda: _sparse(item, size)
    elif hdf5.form(item):
      yield name, lambda: hdf5.matrix(item, size, [])
    else:
      for field in item.keys():
        inner = hdf5.inside(item, field)
        join = '.' if kind == 'struct' else '/'
        yield from _items(f'{name}{join}{field}', inner, size, depth + 1)
  elif h5py.check_ref_dtype(item.dtype) is h5py.Reference:
    yield from _cells(name, item, size, depth)
  else:
    yield name, lambda: _array(item, kind, size)


def _class(item) -> str:
  kind = item.attrs.get('MATLAB_class', '')
  return kind.decode() if isinstance(kind, bytes) else str(kind)


def _cells(name: str, item, size: int, depth: int) -> Leaves:
  """A dataset of references to what is elsewhere in the same file; in a struct, one a record."""
  import h5py
  if item.attrs.get('MATLAB_empty', 0):
    return
  shape = hdf5.checked(item, size).shape[::-1]
  cells = [item.file[ref] for ref in np.asarray(item[()]).ravel()]  # MATLAB's order: columns first
  if all(isinstance(cell, h5py.Dataset) and _is_single(cell) for cell in cells):
    yield name, lambda: _alike([_array(cell, _class(cell), size).ravel()[0].item()
                                for cell in cells])
    return
  for i, cell in zip(indices(shape), cells):
    yield from _items(f'{name}{{{i}}}', cell, size, depth + 1)


def _is_single(cell) -> bool:
  """Whether a cell holds one number, or one line of text."""
  if 'MATLAB_object_decode' in cell.attrs:
    return False
  if _class(cell) == 'char':
    return bool(cell.attrs.get('MATLAB_empty', 0)) or cell.shape[-1] == 1
  return cell.size == 1 and cell.dtype.kind in 'biuf' and not cell.attrs.get('MATLAB_empty', 0)


def _array(item, kind: str, size: int) -> np.ndarray:
  """Numbers or text of one dataset, its axes in MATLAB's order."""
  if item.dtype.names == ('real', 'imag'):
    raise ValueError('complex numbers; save real(x) and imag(x)')
  if kind not in (*_NUMBERS, 'char', ''):
    raise ValueError(f'a variable of the MATLAB class {kind!r}; save numbers or text')
  if item.attrs.get('MATLAB_empty', 0):
    return np.array(['']) if kind == 'char' else np.zeros(tuple(hdf5.values(item, size)))
  found = np.transpose(hdf5.values(item, size))
  if kind == 'char':
    lines = np.atleast_2d(found).astype('<u2')
    return np.array([line.tobytes().decode('utf-16-le', 'replace') for line in lines], np.str_)
  return found


def _sparse(group, size: int) -> np.ndarray:
  """MATLAB stores columns: jc where each begins, ir the rows; nothing of these where all is 0."""
  rows = int(group.attrs['MATLAB_sparse'])
  jc = hdf5.values(hdf5.inside(group, 'jc'), size)
  empty = np.zeros(0)
  data, ir = (hdf5.values(hdf5.inside(group, part), size) if part in group else empty.astype(dtype)
              for part, dtype in (('data', np.float64), ('ir', np.int64)))
  return sparse.compressed('csc', (rows, len(jc) - 1), data, ir.astype(np.int64),
                           jc.astype(np.int64), size)
