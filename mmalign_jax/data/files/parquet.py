"""Columns of a .parquet file, read by pyarrow, typed as they are."""

from collections.abc import Callable, Sequence
import pathlib

import numpy as np

from mmalign_jax.data.files.formats import guard

Read = tuple[tuple[str, ...], int, Callable[[int], np.ndarray],
             Callable[[Sequence[int]], np.ndarray], tuple[int, ...]]


def read(path: pathlib.Path) -> Read:
  """Names, rows, text(column), numbers(columns) as in `columns.Table`, and index columns.

  A column of lists of equal length is so many features. Index columns are those that pandas
  named when it wrote the file.

  Raises:
    OSError, ValueError: it cannot be read, or claims more than a packed file may hold.
  """
  import pyarrow.parquet  # slow to import, and seldom needed
  types, size = pyarrow.types, path.stat().st_size
  with guard.reading(path), guard.opened(path) as file:
    parts = pyarrow.parquet.ParquetFile(file)
    texts = types.is_string, types.is_large_string, types.is_binary, types.is_large_binary
    repeated = [field.name for field in parts.schema_arrow  # a million times one long text
                if any(one_of(field.type) for one_of in texts)]
    parts = pyarrow.parquet.ParquetFile(file, read_dictionary=repeated)
    schema, meta = parts.schema_arrow, parts.metadata
    guard.sized((meta.num_rows, len(schema)), 8, size=size)
    packed = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    guard.sized((packed,), 1, size=size)
    table = parts.read(use_threads=False)
    said = schema.pandas_metadata
  names = tuple(schema.names)
  marked = said.get('index_columns') if isinstance(said, dict) else ()
  index = [names.index(name) for name in (marked if isinstance(marked, list) else ())
           if isinstance(name, str) and name in names]
  def text(j: int) -> np.ndarray:
    return _text(table.column(j), f'{path}: column {names[j]!r}')
  def numbers(columns: Sequence[int]) -> np.ndarray:
    return _stacked([_numbers(table.column(j), f'{path}: column {names[j]!r}', size)
                     for j in columns], table.num_rows)
  return names, table.num_rows, text, numbers, tuple(index)


def _text(column, where: str) -> np.ndarray:
  """A column as text [N]; '' where missing, whole numbers without a point."""
  import pyarrow
  kind = column.type
  if pyarrow.types.is_dictionary(kind):
    kind = kind.value_type
  if pyarrow.types.is_nested(kind) or pyarrow.types.is_binary(kind):
    raise ValueError(f'{where}: {kind} is no label or id')
  return guard.texts(['' if value is None or value != value else str(value)
                      for chunk in column.chunks for value in _values(chunk)], where)


def _values(chunk) -> list:
  """Of a chunk; a text that occurs again is the same object."""
  if not hasattr(chunk, 'dictionary'):
    return chunk.to_pylist()
  known = chunk.dictionary.to_pylist()
  return [None if i is None else known[i] for i in chunk.indices.to_pylist()]


def _numbers(column, where: str, size: int) -> np.ndarray:
  """A column [N] or [N, K], NaN where missing."""
  import pyarrow
  types, kind = pyarrow.types, column.type
  if types.is_dictionary(kind):
    kind = kind.value_type
  if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
    return _lists(column.combine_chunks(), where, size)
  if types.is_decimal(kind):
    column = column.cast(pyarrow.float64())
  elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
            or types.is_null(kind)):
    what = ' (a date)' if types.is_temporal(kind) else ''
    raise ValueError(f'{where}: not numbers but {kind}{what}; --index={where.split()[-1]} '
                     'leaves it out')
  if types.is_null(kind):
    return np.full(len(column), np.nan)
  values = column.to_numpy()
  if values.dtype.kind == 'O':  # booleans with gaps
    values = np.array([np.nan if v is None else float(v) for v in values])
  return values.astype(np.float64) if values.dtype.kind == 'b' else values


def _lists(column, where: str, size: int) -> np.ndarray:
  """A column of lists as [N, K]."""
  import pyarrow
  column = column.combine_chunks() if isinstance(column, pyarrow.ChunkedArray) else column
  lengths = np.unique([len(v) if v is not None else -1 for v in column])
  if len(lengths) != 1 or lengths[0] < 1:
    raise ValueError(f'{where}: lists of {lengths.min()} to {lengths.max()} values; those of equal '
                     'length can be read (-1: a missing one)' if len(lengths) else
                     f'{where}: no lists')
  guard.sized((len(column), int(lengths[0])), 8, size=size)
  flat = column.flatten()
  return _numbers(pyarrow.chunked_array([flat]), where, size).reshape(len(column), -1)


def _stacked(columns: list[np.ndarray], n: int) -> np.ndarray:
  """Columns side by side; f64 unless all are of one type."""
  if not columns:
    return np.empty((n, 0))
  return np.concatenate([z[:, None] if z.ndim == 1 else z for z in columns], axis=1)
