"""Named arrays from csv files, and from folders whose files are .npy or .csv."""

import csv
import dataclasses
import pathlib
import re

import numpy as np

from mmalign_jax.data import files

Families = dict[str, dict[str, pathlib.Path]]  # pattern -> {'': file} or {'train': .., 'test': ..}


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells of a csv file as text, [N][D], without the header (None where there is none)."""
  path: pathlib.Path
  header: list[str] | None
  cells: list[list[str]]


# -- csv -----------------------------------------------------------------------------------------


def _rows(path: pathlib.Path) -> list[list[str]]:
  with files.reading(path), open(path, encoding='utf-8-sig', newline='') as file:
    rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
  if not rows:
    raise ValueError(f'{path}: empty file')
  for i, row in enumerate(rows):
    if len(row) != len(rows[0]):
      raise ValueError(f'{path}: line {i + 1} has {len(row)} cells, the first line {len(rows[0])}')
  return rows


def _is_number(cell: str) -> bool:
  try:
    float(cell or 'nan')  # an empty cell is a missing number
  except ValueError:
    return False
  return True


def has_header(rows: list[list[str]]) -> bool:
  """Whether the first row names columns: it holds text, or counts them 0, 1, 2, ...

  Text that comes back further down its column is a label, not a name. The last column may break
  the count, as in the UCI files, whose header ends in 0; three counted columns are needed, since a
  row of binary features may well start 0, 1.
  """
  first = rows[0]
  text = [j for j, cell in enumerate(first) if not _is_number(cell)]
  if text:
    return any(all(row[j] != first[j] for row in rows[1:]) for j in text)
  return len(first) > 3 and first[:-1] == [str(j) for j in range(len(first) - 1)]


def _table(path: pathlib.Path) -> Table:
  rows = _rows(path)
  return Table(path, rows[0], rows[1:]) if has_header(rows) else Table(path, None, rows)


def _header_note(table: Table) -> str:
  return (f'{table.path.name}: first line read as ' + ('data: no header' if table.header is None
          else 'a header') + f'; {len(table.cells)} rows')


def _floats(table: Table, columns: list[int]) -> np.ndarray:
  """Columns as [N, D] f64, NaN where a cell is empty."""
  for i, row in enumerate(table.cells):
    for j in columns:
      if not _is_number(row[j]):
        raise ValueError(f'{table.path}: row {i}, column {j} (from 0): not a number: {row[j]!r}')
  return np.array([[float(row[j] or 'nan') for j in columns] for row in table.cells],
                  np.float64).reshape(len(table.cells), len(columns))


def _text(table: Table, column: int) -> np.ndarray:
  return np.array([row[column] for row in table.cells], np.str_)


def numbers(path: pathlib.Path) -> tuple[np.ndarray, str]:
  """All columns of a csv file as [N, D] f64, NaN where a cell is empty; how line 1 was read.

  Raises:
    ValueError: rows of unequal length or a cell that is no number.
  """
  table = _table(path)
  width = len(table.cells[0]) if table.cells else 0
  return _floats(table, list(range(width))), _header_note(table)


def column(path: pathlib.Path) -> tuple[np.ndarray, str]:
  """The only column of a csv file as text [N]; how line 1 was read.

  Raises:
    ValueError: more than one column, or rows of unequal length.
  """
  table = _table(path)
  if len(table.cells[0]) != 1:
    raise ValueError(f'{len(table.cells[0])} columns; a label is one')
  return _text(table, 0), _header_note(table)


def from_csv(path: pathlib.Path, asked: dict[str, str]) -> files.Raw:
  """Views of one csv file, by the prefix of their column names.

  Args:
    path: a file whose first line is a header.
    asked: by role; prefixes for x1 and x2, columns for y ('' for y, label or the last one) and
      group ('' for the column group, if there is one).

  Raises:
    ValueError: no header, a missing column, rows of unequal length or a cell that is no number.
  """
  header, *cells = _rows(path)
  if all(map(_is_number, header)):
    raise ValueError(f'{path}: a header is needed; the first line has only numbers: '
                     f'{files.listing(header)}')
  table = Table(path, header, cells)
  group = asked['group'] or ('group' if 'group' in header else '')
  last = ([name for name in header if name != group] or header)[-1]
  y = asked['y'] or next((name for name in ('y', 'label') if name in header), last)
  single = {'y': y, 'group': group} if group else {'y': y}
  for role, name in single.items():
    if header.count(name) != 1:
      raise ValueError(f'{path}: {header.count(name)} columns {name!r} for {role}; '
                       f'it has {files.listing(header)}')
  arrays = {role: _text(table, header.index(name)) for role, name in single.items()}
  for role in ('x1', 'x2'):
    columns = [j for j, name in enumerate(header)
               if name not in single.values() and _in_view(name, asked[role])]
    if not columns:
      raise ValueError(f'{path}: no column {asked[role]!r} or {asked[role] + "_..."!r} for {role}; '
                       f'it has {files.listing(header)}')
    arrays[role] = _floats(table, columns)
  return files.Raw(str(path), {**asked, **single}, {'': arrays})


def _in_view(column: str, view: str) -> bool:
  """audio, audio_mean, audio.3 and audio12 belong to 'audio'; x12 does not belong to 'x1'."""
  digits = '' if view[-1:].isdigit() else r'|\d+'
  return bool(re.fullmatch(rf'{re.escape(view)}([_.\-].*{digits})?', column))


# -- folders -------------------------------------------------------------------------------------


def from_folder(folder: pathlib.Path, asked: dict[str, str], layers: str = 'auto',
                pool: str = '') -> files.Raw:
  """Views of a folder; labels from the file of y, else from the last column of both views.

  Args:
    folder: holds NAME.npy (or NAME_train.npy and NAME_test.npy), or csv files in whose names NAME
      is one of the words between '-' and '_', with a word train... and test... for a given split.
    asked: NAME of each role; '' for y and group takes a file of that very name, if there is one.
    layers, pool: how a view of three axes is read; see `sequences.settled`.

  Raises:
    FileNotFoundError: no file for a role.
    ValueError: several sets of files fit, or the labels of the two views differ.
  """
  names = {role: name or role for role, name in asked.items()}
  found = {role: _families(folder, name, exact=not asked[role]) for role, name in names.items()}
  found = {role: families for role, families in found.items() if families or asked[role]}
  for role, families in found.items():
    if not families:
      known = sorted(p.name for p in folder.iterdir() if p.suffix in ('.npy', '.csv'))
      raise FileNotFoundError(f'{folder}: no .npy or .csv file (or train and test pair) for {role} '
                              f'{names[role]!r}; it has {files.listing(known)}')
  chosen = _choose(folder, found, optional=() if asked['group'] else ('group',))
  notes, parts = [], {}
  for part in sorted(chosen['x1'], reverse=True):  # train first
    paths = {role: paths[part] for role, paths in chosen.items()}
    arrays = _read_part(paths, notes)
    parts[part] = files.settled({role: files.beside_file(paths.get(role), array)
                                 for role, array in arrays.items()}, layers, pool, notes)
  notes = tuple(dict.fromkeys(notes))
  return files.Raw(str(folder), {role: names[role] for role in parts[part]}, parts, notes)


def _families(folder: pathlib.Path, name: str, exact: bool) -> Families:
  """Files of a view by pattern, e.g. 'mfeat-{}.csv' or '{}_*0.csv' ({} the name, * the part)."""
  found = {}
  for path in sorted(folder.iterdir()):
    pattern, part = _pattern(path.stem, name)
    if path.suffix in ('.npy', '.csv') and (
        pattern in ('{}', '{}_*') or '{}' in pattern and path.suffix == '.csv' and not exact):
      found.setdefault(pattern + path.suffix, {})[part] = path
  return {pattern: paths for pattern, paths in found.items()
          if set(paths) in ({''}, {'train', 'test'})}


def _pattern(stem: str, name: str) -> tuple[str, str]:
  """('{}_*0', 'train') for 'text_train0' and 'text'; no {} where the name is not in the stem."""
  pattern = re.sub(rf'(^|[-_]){re.escape(name)}(?=$|[-_])', r'\1{}', stem, count=1)
  part = re.search(r'(?:^|(?<=[-_]))(train|test)', pattern)
  if not part:
    return pattern, ''
  return pattern[:part.start()] + '*' + pattern[part.end():], part[0]


def _choose(folder: pathlib.Path, found: dict[str, Families],
            optional: tuple[str, ...]) -> dict[str, dict[str, pathlib.Path]]:
  """Files of every role, all in one piece or all split: the one set that every view has."""
  x1, x2 = found['x1'], found['x2']
  pairs = [(p, p) for p in x1 if p in x2]
  if not pairs and len(x1) == len(x2) == 1:
    pairs = [(*x1, *x2)]
  needed = [role for role in ('y', 'group') if role in found and role not in optional]
  pairs = [(p, q) for p, q in pairs if ('*' in p) == ('*' in q)
           and all(_fitting(found[role], p) for role in needed)]
  for name in ('{}_*.npy', '{}.npy'):  # files of the very name need no guess
    pairs = [(name, name)] if (name, name) in pairs else pairs
  if ('{}.csv', '{}.csv') in pairs:
    pairs = [(p, q) for p, q in pairs if p == '{}.csv' or '*' in p]
  if len(pairs) > 1 and 'y' not in found:
    pairs = [(p, q) for p, q in pairs
             if all(_has_label(path) for path in (*x1[p].values(), *x2[q].values()))]
  if len(pairs) != 1:
    raise ValueError(f'{folder}: {"more than one" if pairs else "no"} set of files fits all of '
                     f'{", ".join(found)}; candidates: {_candidates(found)}')
  (p, q), = pairs
  more = {role: _fitting(found[role], p) for role in ('y', 'group') if role in found}
  return {'x1': x1[p], 'x2': x2[q], **{role: paths for role, paths in more.items() if paths}}


def _fitting(families: Families, pattern: str) -> dict[str, pathlib.Path]:
  """Files of y or group for views of this pattern: split where they are; {} where unclear."""
  fitting = {p: paths for p, paths in families.items() if ('*' in p) == ('*' in pattern)}
  exact = [p for p in (pattern, '{}_*.npy', '{}.npy', '{}_*.csv', '{}.csv') if p in fitting]
  if exact or len(fitting) == 1:
    return fitting[(exact or list(fitting))[0]]
  return {}


def _candidates(found: dict[str, Families]) -> str:
  return '; '.join(f'{role} ' + ' + '.join(path.name for path in paths.values())
                   for role, families in found.items() for paths in families.values())


def _has_label(path: pathlib.Path) -> bool:
  """Whether the last column of a csv file can be a class label."""
  if path.suffix != '.csv':
    return False
  label = files.to_numbers(_text(_table(path), -1))
  few = len(np.unique(label)) <= files.MAX_CLASSES
  return few and (label.dtype.kind == 'U' or files.whole_numbers(label))


def _read_part(paths: dict[str, pathlib.Path], notes: list[str]) -> files.Arrays:
  """Arrays of one part by role; adds to `notes` what was assumed of each csv file."""
  tables = {role: _table(path) for role, path in paths.items() if path.suffix == '.csv'}
  notes.extend(map(_header_note, tables.values()))
  arrays = {role: files.npy(path) for role, path in paths.items() if path.suffix == '.npy'}
  if 'y' not in paths:
    arrays['y'] = _shared_label([tables.get(role) for role in ('x1', 'x2')], paths)
  for role, table in tables.items():
    width = len(table.cells[0]) if table.cells else 0
    if role in ('y', 'group') and width == 1:
      arrays[role] = _text(table, 0)
    else:
      arrays[role] = _floats(table, list(range(width - ('y' not in paths))))
  return arrays


def _shared_label(tables: list[Table | None], paths: dict[str, pathlib.Path]) -> np.ndarray:
  """The last column, on which both views must agree sample by sample."""
  name_1, name_2 = paths['x1'].name, paths['x2'].name
  if None in tables:
    raise FileNotFoundError(f'{paths["x1"].parent}: no file for y, and the last column of '
                            f'{name_1} and {name_2} holds it only if both are csv')
  text = [_text(table, -1) for table in tables]
  one, two = map(files.to_numbers, text)
  if len(one) != len(two):
    raise ValueError(f'{name_1} has {len(one)} rows, {name_2} has {len(two)}')
  differ = text[0] != text[1]
  if 'U' not in (one.dtype.kind, two.dtype.kind):
    differ &= one != two
  if differ.any():
    i = differ.argmax()
    raise ValueError(f'{name_1} and {name_2}: labels (last column) differ first at row {i} (from '
                     f'0): {text[0][i].item()!r} and {text[1][i].item()!r}; name a label file by y')
  return one
