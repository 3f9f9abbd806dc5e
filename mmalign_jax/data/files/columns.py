"""A table of a file as columns: by name, as text or as numbers, and which of them are no features.

`open_table` reads .csv, .tsv and .parquet. Columns that name or count the rows (`index_of`) are
left out of the features, with a note, unless --index says otherwise.
"""

from collections.abc import Callable, Collection, Sequence
import dataclasses
import fnmatch
import pathlib
import re

import numpy as np

from mmalign_jax.data.files import delimited, parquet
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.reading import OF_TABLES, Reading

FORMATS = ('.csv', '.tsv', '.parquet')
_BLOCK = 2**20       # cells that become numbers at a time
_EXACT = 2**53       # whole numbers up to here are floats too
_UNNAMED = re.compile(r'|unnamed: ?\d+|__index_level_\d+__|level_\d+', re.IGNORECASE)
_ID = re.compile(r'(?i:(.*[_\-. ])?(id|ids|uid|uuid|guid))|.*[a-z]I[dD]')  # never a feature
_INDEX = re.compile(r'(.*[_\-. ])?(index|idx)', re.IGNORECASE)             # one where all differ
_FEW = 10            # rows from which chance does not count them


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """names [D] of the columns, their places where there is no header (`named`); n rows;
  text(j): a column [N] as written; numbers(columns): [N, ...] f64, or integers beyond 2^53, NaN
  where missing; index: columns that are no features; notes; head: first rows
  of a text_file."""
  path: pathlib.Path
  names: tuple[str, ...]
  named: bool
  n: int
  text: Callable[[int], np.ndarray]
  numbers: Callable[[Sequence[int]], np.ndarray]
  index: tuple[int, ...] = ()
  notes: tuple[str, ...] = ()
  head: tuple[Sequence[str], ...] = ()
  text_file: bool = True

  def place(self, name: str) -> int | None:
    """The column of that name, None where there is none; `index` is also the first that is one.

    Raises:
      ValueError: the name occurs twice.
    """
    found = [j for j, known in enumerate(self.names) if known == name]
    if not found and name == 'index' and self.index:
      return self.index[0]
    if len(found) > 1:
      raise ValueError(f'{self.path}: {len(found)} columns {name!r}')
    return found[0] if found else None

  def features(self, left_out: Collection[str] = (), pattern: str = '') -> list[int]:
    """Columns that are features: neither index nor of a name in `left_out`, and of the pattern."""
    return [j for j, name in enumerate(self.names) if j not in self.index and name not in left_out
            and (not pattern or name == pattern or fnmatch.fnmatchcase(name, pattern))]


def open_table(path: pathlib.Path, reading: Reading) -> Table:
  """The table of a .csv, .tsv or .parquet file (or .gz of the first two).

  Raises:
    OSError: it cannot be opened.
    ValueError: it cannot be read, or an index column is not clear; the option is named.
  """
  if guard.kind(path) == '.parquet':
    names, n, text, numbers, marked = parquet.read(path)
    table = Table(path, names, True, n, text, numbers, text_file=False,
                  notes=(f'{path.name}: {n} rows',))
  else:
    made = delimited.read(path, reading)
    names = tuple(made.header) if made.header else tuple(map(str, range(len(made.cells[0]))))
    names = ('', *names) if made.named_rows else names
    marked = (0,) if made.named_rows else ()
    table = Table(path, names, made.header is not None, len(made.cells), lambda j: _text(made, j),
                  lambda columns: _numbers(made, path, columns), notes=made.notes,
                  head=tuple(made.cells[:3]))
  index, notes = index_of(table, marked, reading)
  return dataclasses.replace(table, index=index, notes=(*table.notes, *notes))


def read_by(path: pathlib.Path) -> tuple[str, ...]:
  """The options that say how a file is cut into columns, where there are any."""
  kind = guard.kind(path)
  return () if kind not in FORMATS else ('index',) if kind == '.parquet' else OF_TABLES


# -- cells -----------------------------------------------------------------------------------------


def _text(made: delimited.Text, j: int) -> np.ndarray:
  cells = [row[j] for row in made.cells]
  if made.mark == ',' and all(delimited.is_number(c, ',') or delimited.is_missing(c)
                              for c in cells):
    cells = [cell.replace(',', '.') for cell in cells]
  return guard.texts(cells, f'column {j}')


def _numbers(made: delimited.Text, path: pathlib.Path, columns: Sequence[int]) -> np.ndarray:
  """Columns as [N, D] f64, NaN where missing; as i64 if all are whole and some beyond 2^53."""
  whole_rows = made.cells and list(columns) == list(range(len(made.cells[0])))
  step, parts, long = max(_BLOCK // max(len(columns), 1), 1), [], False
  for start in range(0, len(made.cells), step):
    rows = made.cells[start:start + step]
    rows = rows if whole_rows else [[row[j] for j in columns] for row in rows]
    flat = [cell for row in rows for cell in row]
    flat = [cell.replace(',', '.') for cell in flat] if made.mark == ',' else flat
    said = ' '.join(flat)
    long = long or bool(re.search(r'(?<![\d.])\d{16,}(?![\d.eE])', said))
    try:
      if re.search(r'[^0-9eE+\-. ]', said):
        raise ValueError
      values = np.array(flat, object).astype(np.float64)
    except ValueError:
      values = np.array([_number(cell, path, start + i // len(columns), columns[i % len(columns)],
                                 made.header) for i, cell in enumerate(flat)], np.float64)
    parts.append(values.reshape(len(rows), len(columns)))
  if not parts:
    return np.empty((0, len(columns)))
  whole = _whole(made, columns) if long else None
  return np.concatenate(parts) if whole is None else whole


def _number(cell: str, path: pathlib.Path, row: int, column: int, header) -> float:
  if delimited.is_number(cell):
    return float(cell)
  if delimited.is_missing(cell):
    return np.nan
  name = f' {header[column]!r}' if header and column < len(header) else ''
  raise ValueError(f'{path}: row {row}, column {column} (from 0): not a number: {cell[:60]!r}'
                   f'{_reason(cell)}; --index={header[column] if name else column} leaves the '
                   f'column{name} out')


def _reason(cell: str) -> str:
  """What a cell is that is nearly a number."""
  for pattern, what in ((r'[+-]?[\d.,]+ ?%', 'a percentage'),
                        (r'\d{1,4}([-/.])\d{1,2}\1\d{1,4}.*', 'a date'),
                        (r"[+-]?\d{1,3}([ ,.'_]\d{3})+([.,]\d*)?", 'separators of thousands'),
                        (r'[+-]?(inf|infinity)', 'infinite'), (r'0[xX][\da-fA-F]+', 'hexadecimal')):
    if re.fullmatch(pattern, cell, re.IGNORECASE):
      return f' ({what})'
  return ''


def _nearly_number(cell: str) -> bool:
  """Whether a cell is a number in another spelling, and no name of a row; a date may be one."""
  try:
    float(cell or 'nan')
  except ValueError:
    return _reason(cell) not in ('', ' (a date)')
  return True


def _whole(made: delimited.Text, columns: Sequence[int]) -> np.ndarray | None:
  """Columns as i64 or u64 [N, D], None where some cell is not whole or does not fit."""
  try:
    return np.array([[int(row[j]) for j in columns] for row in made.cells
                     if not any('_' in row[j] for j in columns)])
  except (ValueError, OverflowError):
    return None


# -- index columns ---------------------------------------------------------------------------------


def index_of(table: Table, marked: Sequence[int],
             reading: Reading) -> tuple[tuple[int, ...], tuple[str, ...]]:
  """Columns that are no features, and notes that say so.

  With index='auto' these are: what the file marks as such (pandas in parquet, names of rows of R);
  leading columns without a name; whole numbers or text under a name such as id, sample_id or uuid;
  the same under index or idx where all differ; a column that counts the rows from 0 or 1; a first
  column that does so in another order, or of text that all differs. A lone column is none of them.

  Raises:
    ValueError: a first column of whole numbers that all differ beside numbers that are not whole:
      ids or a feature? Or a name in `reading.index` that occurs twice.
  """
  if reading.index == 'none':
    return (), ()
  if reading.index != 'auto':
    asked = (asked_for(table, name.strip()) for name in reading.index.split(','))
    return tuple(j for j in asked if j is not None), ()
  width, found = len(table.names), dict.fromkeys(marked, 'marked by the file')
  if width < 2 or not table.n:
    return tuple(found), ()
  for j, name in enumerate(table.names if table.named else ()):
    if _UNNAMED.fullmatch(name) and set(range(j)) <= set(found):
      found[j] = 'no name, before all others'
    elif (_ID.fullmatch(name) or _INDEX.fullmatch(name)) and j not in found and _is_id(
        table, j, distinct=not _ID.fullmatch(name)):
      found[j] = 'ids by its name'
  for j in _counting(table, found):
    found[j] = 'it counts the rows'
  if 0 not in found and (reason := _first(table)):
    found[0] = reason
  if len(found) == width and not marked:
    return (), ()
  return tuple(sorted(found)), tuple(
      f'{table.path.name}: column {table.names[j]!r} left out as an index ({reason}); --index=none '
      'keeps it' for j, reason in sorted(found.items())[:5])


def asked_for(table: Table, name: str) -> int | None:
  """The column that one name of --index means, None where the table has none."""
  j = table.place(name)
  if j is None and re.fullmatch(r'-?\d{1,9}', name) and (
      -len(table.names) <= int(name) < len(table.names)):
    j = int(name) % len(table.names)
  return j


def refuse_unknown(tables: Sequence[Table], index: str, dashes: str = '--') -> None:
  """Raises ValueError for a name in --index that none of the tables has."""
  for name in () if not tables or index in ('auto', 'none') else map(str.strip, index.split(',')):
    if all(asked_for(table, name) is None for table in tables):
      raise ValueError(f'{dashes}index={index}: no table has a column {name!r}; ' + '; '.join(
          f'{table.path.name} has {", ".join(map(repr, table.names[:20]))}' for table in tables))


def _tried(read: Callable[..., np.ndarray], at: int | Sequence[int]) -> np.ndarray | None:
  """What a column is as text or as numbers, None where it is not."""
  try:
    return read(at)
  except ValueError:
    return None


def _column(table: Table, j: int) -> np.ndarray | None:
  """A column as numbers [N], None where it is not."""
  values = _tried(table.numbers, [j])
  return values[:, 0] if values is not None and values.shape[1:] == (1,) else None


def _is_whole(values: np.ndarray | None) -> bool:
  return values is not None and (values.dtype.kind in 'iu' or bool(
      np.isfinite(values).all() and (values == np.round(values)).all()))


def _is_id(table: Table, j: int, distinct: bool) -> bool:
  """Whether a column is text or whole numbers, and all of it different where that is asked."""
  values = _column(table, j)
  if values is not None and not _is_whole(values):
    return False
  cells = _tried(table.text, j) if distinct else None
  return not distinct or cells is not None and len(set(cells.tolist())) == table.n


def _counting(table: Table, found: Collection[int]) -> list[int]:
  """The one column that counts the rows from 0 or 1 (the first of all, with few rows)."""
  if table.n < 3:
    return []
  near = [0] if table.n < _FEW else range(len(table.names))
  rows = np.arange(table.n)
  for j in near:
    if j in found or not _starts(table, j):
      continue
    values = _column(table, j)
    if values is not None and values[0] in (0, 1) and (values - values[0] == rows).all():
      return [j]
  return []


def _starts(table: Table, j: int) -> bool:
  """Whether the first rows of a column allow it to count them: a quick look, for many columns."""
  if not table.text_file:
    return j < 1000
  cells = [row[j] for row in table.head]
  if not delimited.is_number(cells[0]) or float(cells[0]) not in (0, 1):
    return False
  return all(delimited.is_number(cell) and float(cell) == float(cells[0]) + i
             for i, cell in enumerate(cells))


def _first(table: Table) -> str:
  """Why the first column is an index, '' where it is none."""
  values = _column(table, 0)
  if values is None:
    cells = [] if (text := _tried(table.text, 0)) is None else text.tolist()  # none of lists
    names = len(set(cells)) == table.n and not any(map(_nearly_number, cells))
    return 'text that differs in every row' if names else ''
  if table.n < _FEW or not _is_whole(values) or len(np.unique(values)) < table.n:
    return ''
  others = [_column(table, j) for j in range(1, min(len(table.names), 50))]
  ranks = np.arange(table.n)
  def counts(z) -> bool:
    return z is not None and z.min() in (0, 1) and (np.sort(z) - z.min() == ranks).all()
  if counts(values) and not all(map(counts, others)):
    return 'it counts the rows in another order'
  if (np.diff(values) > 0).all() or 2 * sum(map(_is_whole, others)) < len(others):
    raise ValueError(f'{table.path}: column {table.names[0]!r} holds whole numbers that all differ:'
                     f' ids, or a feature? --index={table.names[0]} leaves it out, --index=none '
                     'keeps it')
  return ''
