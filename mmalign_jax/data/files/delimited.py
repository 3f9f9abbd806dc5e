"""Text tables (.csv, .tsv): their bytes as cells, with separator, decimal mark and header found.

Python's own csv module cuts the lines: it keeps every cell as it is written, which labels and ids
need, and takes a second for 10^6 columns, for which pandas takes two minutes.

Text is a number only if it is written as one: digits with at most one decimal mark and one
exponent (`is_number`). 1_0, 0x10, nan and inf are not, nor is 1,234 where the point is the mark.
"""

import csv
import dataclasses
import io
import itertools
import pathlib
import re

from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.reading import SEPARATORS, Reading

MISSING = frozenset(('', 'NA', 'N/A', 'n/a', '#N/A', '#NA', '<NA>', 'NaN', 'nan', 'NAN', '-NaN',
                     '-nan', 'null', 'NULL', 'None', '?'))
NUMBER = re.compile(r'[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?', re.ASCII)
_COMMA_NUMBER = re.compile(r'[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?', re.ASCII)
_GROUPED = re.compile(r'[+-]?[1-9]\d{0,2}(,\d{3})+', re.ASCII)
_CANDIDATES = (',', ';', '\t', '|')
_SAMPLED = 50        # lines that are looked at to find the separator
_SAMPLED_CELLS = 2000
_NAMES = {mark: name for name, mark in SEPARATORS.items()}

Rows = list[list[str]]


@dataclasses.dataclass(frozen=True, eq=False)
class Text:
  """header [D] or None; cells [N][D] as written, without blanks about them; mark: '.' or ',';
  named_rows: the header lacks the cell of the first column, as R writes it; notes."""
  header: list[str] | None
  cells: Rows
  mark: str
  named_rows: bool = False
  notes: tuple[str, ...] = ()


def is_missing(cell: str) -> bool:
  """Whether a cell stands for a missing value: empty, NA, NaN, null, None, ? and the like."""
  return cell in MISSING


def is_number(cell: str, mark: str = '.') -> bool:
  """Whether a cell is written as a number."""
  return bool((NUMBER if mark == '.' else _COMMA_NUMBER).fullmatch(cell))


def read(path: pathlib.Path, reading: Reading) -> Text:
  """The cells of a text table.

  Raises:
    OSError: it cannot be opened.
    ValueError: no text, empty, rows of unequal length, or a decimal mark that is not clear.
  """
  with guard.reading(path):
    text = _decoded(path)
    default = '\t' if guard.kind(path) == '.tsv' else ''
    sep = reading.separator or default or _separator(text, reading)
    rows = _rows(text, sep)
  named_rows = _check_widths(path, rows, sep, reading)
  mark = _mark(path, rows, sep, reading)
  header = {'yes': True, 'no': False}.get(reading.header)
  header = named_rows or (has_header(rows, mark) if header is None else header)
  if header is None:
    raise ValueError(f'{path}: does the first line ({guard.listing(rows[0][:4])}, ...) name the '
                     'columns? --header=yes or --header=no')
  said = [f'{_NAMES.get(sep, repr(sep))} between cells'] if sep != (default or ',') else []
  said += ['decimal comma'] if mark == ',' else []
  notes = (f'{path.name}: first line read as {"a header" if header else "data: no header"}; '
            + ''.join(f'{what}; ' for what in said) + f'{len(rows) - header} rows',)
  return Text(rows[0] if header else None, rows[1:] if header else rows, mark, named_rows, notes)


# -- bytes and lines -------------------------------------------------------------------------------


def _decoded(path: pathlib.Path) -> str:
  """The text of a file in UTF-8, or in UTF-16 with its mark."""
  with guard.opened(path, guard.TEXT) as file:
    raw = file.read()
  coding = 'utf-16' if raw[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8-sig'
  try:
    text = raw.decode(coding)
  except UnicodeDecodeError as error:
    line = raw[:error.start].count(b'\n') + 1
    raise ValueError(f'not text in UTF-8: byte 0x{raw[error.start]:02x} in line {line}; save it as '
                     'UTF-8') from error
  if '\0' in text:
    raise ValueError(f'a NUL byte in line {text[:text.index(chr(0))].count(chr(10)) + 1}: no text '
                     'table, or UTF-16 without its mark')
  return text


def _rows(text: str, sep: str) -> Rows:
  """Cells of all lines; empty lines are no rows, but of a lone column a missing value."""
  lines = io.StringIO(text, newline='')
  if sep == ' ':
    lines = (re.sub(r'[ \t]+', ' ', line.strip()) for line in lines)
  made = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=sep, strict=True)]
  while made and not any(made[-1]) and len(made[-1]) < 2:
    made.pop()
  first = next((i for i, row in enumerate(made) if any(row)), len(made))
  made = made[first:]
  if not made:
    raise ValueError('empty file')
  lone = max(map(len, made)) == 1
  return [row or [''] for row in made] if lone else [row for row in made if row]


def _separator(text: str, reading: Reading) -> str:
  """The separator by which the first lines are cut alike, and into the most numbers."""
  candidates = [sep for sep in _CANDIDATES if sep != reading.mark]
  lines = []
  for line in io.StringIO(text, newline=''):
    lines += [line] if line.strip() else []
    if len(lines) == _SAMPLED:
      break
  whole = [line for line in lines if len(line) < 2**20]
  lines = whole if len(whole) > 1 else [line[:2**16] for line in lines[:3]]
  best, best_score = '', (-1.0,)
  marks = (reading.mark,) if reading.mark else ('.', ',')
  for sep in candidates:
    rows = list(csv.reader(lines, delimiter=sep))
    widths = {len(row) for row in (rows[1:] or rows)}
    if not rows or min(widths) < 2 or whole == lines and (
        len(widths) > 1 or len(rows[0]) not in (*widths, max(widths) - 1)):
      continue
    cells = [cell.strip() for row in (rows[1:] or rows) for cell in row[:_SAMPLED_CELLS]]
    good = max(sum(is_number(c, mark) or is_missing(c) for c in cells) for mark in marks)
    if (score := (good / len(cells), len(rows[0]) in widths, max(widths))) > best_score:
      best, best_score = sep, score
  if best:
    return best  # else cut unevenly by all: the commonest, so that the error can say it
  counted = {sep: sum(line.count(sep) for line in lines) for sep in candidates}
  return max(counted, key=counted.__getitem__) if any(counted.values()) else candidates[0]


def _check_widths(path: pathlib.Path, rows: Rows, sep: str, reading: Reading) -> bool:
  """Whether the header alone is one cell short, so that the first column holds names of rows."""
  width = len(rows[0])
  later = {len(row) for row in rows[1:]}
  if later == {width + 1} and width and reading.header != 'no':
    names = [row[0] for row in rows[1:]]
    counted = names == [str(i + 1) for i in range(len(names))] or not any(map(is_number, names))
    decimals = sep == ',' and width == 1 and all(row[1].isdigit() for row in rows[1:])
    if (counted and not decimals and len(set(names)) == len(names)
        and not any(map(is_number, rows[0]))):
      return True
  for i, row in enumerate(rows):
    if len(row) != width:
      hint = '' if reading.sep else '; --sep and --decimal say how they are cut'
      raise ValueError(f'{path}: line {i + 1} has {len(row)} cells, the first line {width} (cut at '
                       f'{sep!r}{hint})')
  return False


# -- numbers ---------------------------------------------------------------------------------------


def _mark(path: pathlib.Path, rows: Rows, sep: str, reading: Reading) -> str:
  """The decimal mark: a comma where numbers are written with it."""
  commas = [] if reading.mark else [cell for row in rows for cell in row if ',' in cell]
  numeric = [cell for cell in commas if re.fullmatch(r'[0-9eE+\-.,]+', cell)
             and any(map(str.isdigit, cell))]
  if not numeric:
    return reading.mark or '.'
  odd = next((cell for cell in numeric if not _COMMA_NUMBER.fullmatch(cell)), None)
  if odd is not None:
    raise ValueError(f'{path}: {odd!r} has separators of thousands; write plain numbers')
  points = next((cell for row in rows[1:] for cell in row
                 if '.' in cell and NUMBER.fullmatch(cell)), None)
  if points is not None:
    raise ValueError(f'{path}: both {numeric[0]!r} and {points!r}: --decimal=point or '
                     '--decimal=comma says which mark is that of numbers')
  if all(map(_GROUPED.fullmatch, numeric)):
    raise ValueError(f'{path}: {numeric[0]!r}: a decimal comma, or separators of thousands? '
                     '--decimal=comma, or write plain numbers')
  return ','


def has_header(rows: Rows, mark: str = '.') -> bool | None:
  """Whether the first row names columns; None where that cannot be told.

  It does where it holds text above numbers; where it counts the columns 0, 1, 2, ... (the last may
  break the count, as in the UCI files; more than three are needed, since a row of binary features
  may well start 0, 1); and where it is text alone, of which some does not come back further down
  its column. Text and rising whole numbers, above text and numbers, may be names or values. Numbers
  beside an empty first cell are names where what is below that cell names or counts the rows.
  """
  first, later = rows[0], rows[1:]
  def numeric(cell: str) -> bool:
    return is_number(cell, mark) or is_missing(cell)
  if not first[0] and (found := _under_corner(rows)) is not False:
    return found
  text = [j for j, cell in enumerate(first) if not numeric(cell)]
  if any(all(numeric(row[j]) for row in later) for j in text):
    return True
  counted = [cell for cell in first if is_number(cell, mark)]
  if not text:
    return len(first) > 3 and first[:-1] == _count(len(first) - 1)
  own = any(all(row[j] != first[j] for row in later) for j in text)
  if not counted or not own:
    return own
  rising = all(map(str.isdigit, counted)) and sorted(set(map(int, counted))) == [
      int(cell) for cell in counted]
  few = len(counted) > 1 and counted == _count(len(counted)) and any(  # name,0,1 above r1,0.5,1.5
      mark in row[j] for j, cell in enumerate(first) if cell in counted for row in later)
  return None if rising and (len(counted) > 2 or few) else False


def _under_corner(rows: Rows) -> bool | None:
  """Whether the first row, whose first cell is empty, names columns by numbers, as pandas does
  beside an index without a name; None where that cannot be told."""
  names = list(itertools.dropwhile(lambda cell: not cell, rows[0]))
  index = [row[0] for row in rows[1:]]
  if any(map(is_missing, index)):
    return False
  whole = len(set(names)) == len(names) and all(map(str.isdigit, names))
  counted = index in (_count(len(index)), _count(len(index) + 1)[1:])
  if len(index) > 2 and (counted or whole and not any(map(is_number, index))) or (
      len(names) > 2 and names == _count(len(names))):
    return True
  return None if whole and len(set(index)) == len(index) and all(map(str.isdigit, index)) else False


def _count(n: int) -> list[str]:
  return [str(i) for i in range(n)]
