"""Views of a folder whose files are .npy or tables: which files fit, and their rows joined."""

import pathlib
import re

import numpy as np

from mmalign_jax.data.files import labels, rows, stores
from mmalign_jax.data.files.columns import FORMATS, Table, open_table, read_by, refuse_unknown
from mmalign_jax.data.files.formats import guard, parts as formats
from mmalign_jax.data.files.reading import Reading

_KNOWN = ('.npy', *FORMATS)
_VALID = formats.ENDINGS[1:-1]
Families = dict[str, dict[str, pathlib.Path]]  # pattern -> {'': file} or {'train': .., 'test': ..}


def from_folder(folder: pathlib.Path, asked: dict[str, str], reading: Reading,
                id: str = '') -> stores.Raw:
  """Views of a folder; labels from the file of y, else from the last column of both views.

  Args:
    folder: holds NAME.npy (or NAME_train.npy and NAME_test.npy, perhaps NAME_valid.npy), or csv
      files in whose names NAME is one of the words between '-' and '_', with a word train... and
      test... (and valid, val or dev) for a given split.
    asked: NAME of each role; '' for y and group takes a file of that very name, if there is one.
    reading: how tables are read.
    id: column of every file by which rows are joined, '' for rows in the same order.

  Raises:
    FileNotFoundError: no file for a role.
    ValueError: several sets of files fit, or the labels of the two views differ.
  """
  names = {role: name or role for role, name in asked.items()}
  found = {role: _families(folder, name, [*filter(None, asked.values())], exact=not asked[role])
           for role, name in names.items()}
  found = {role: families for role, families in found.items() if families or asked[role]}
  for role, families in found.items():
    if not families:
      known = sorted(p.name for p in folder.iterdir() if guard.kind(p) in _KNOWN)
      raise FileNotFoundError(f'{folder}: no .npy file or table (or train and test pair) for '
                              f'{role} {names[role]!r}; it has {stores.listing(known)}')
  chosen = _choose(folder, found, () if asked['group'] else ('group',), reading)
  shared, notes = _shared(chosen)
  tables = {part: {role: open_table(paths[part], reading) for role, paths in chosen.items()
                   if guard.kind(paths[part]) in FORMATS} for part in shared}
  refuse_unknown([table for one in tables.values() for table in one.values()], reading.index, '')
  parts, columns, pooled = {}, {}, {}
  for part in shared:
    paths = {role: paths[part] for role, paths in chosen.items()}
    arrays = _read_part(paths, tables[part], notes, reading, id, columns)
    parts[part] = stores.settled({role: stores.beside_file(paths.get(role), array)
                                 for role, array in arrays.items()}, reading, notes, pooled)
  notes = tuple(dict.fromkeys(notes))
  used = frozenset(name for paths in chosen.values() for path in paths.values()
                   for name in read_by(path))
  roles = {role: names[role] for role in [*parts.values()][-1]}
  return stores.Raw(str(folder), roles, parts, notes, used, columns, pooled)


def _families(folder: pathlib.Path, name: str, others: list[str], exact: bool) -> Families:
  """Files of a view by pattern, e.g. 'mfeat-{}.csv' or '{}_*0.csv' ({} the name, * the part); none
  of a longer name among `others`, as image_caption.csv is of no view 'image' beside it."""
  longer = [other for other in others if other != name and '{}' in _pattern(other, name)[0]]
  found = {}
  for path in sorted(folder.iterdir()):
    kind = guard.kind(path)
    stem = path.name[:-len(kind) - 3 * path.name.lower().endswith('.gz')] if kind else ''
    pattern, part = _pattern(stem, name)
    if kind in _KNOWN and (
        pattern in ('{}', '{}_*') or '{}' in pattern and kind in FORMATS and not exact) and not (
            any('{}' in _pattern(stem, other)[0] for other in longer)):
      found.setdefault(pattern + kind, {})[part] = path
  return _whole_or_split(folder, found, exact)


def _whole_or_split(folder: pathlib.Path, found: Families, exact: bool) -> Families:
  """Families of one file, or of a train and a test part; `dev` without these is a word as others.

  Raises:
    ValueError: two validation parts.
  """
  made: Families = {}
  for pattern, paths in found.items():
    valid = [part for part in paths if part in _VALID]
    if {'train', 'test'} <= set(paths):
      if len(valid) > 1:
        raise ValueError(f'{folder}: {" and ".join(paths[part].name for part in valid)} are both a '
                         'validation part; leave one')
      made[pattern] = {formats.ALIAS.get(part, part): path for part, path in paths.items()}
    elif '' in paths:
      made[pattern] = paths
    elif pattern.endswith(FORMATS) and not exact:
      made |= {pattern.replace('*', part): {'': paths[part]} for part in valid}
  return made


def _pattern(stem: str, name: str) -> tuple[str, str]:
  """('{}_*0', 'train') for 'text_train0' and 'text'; no {} where the name is not in the stem."""
  pattern = re.sub(rf'(^|[-_]){re.escape(name)}(?=$|[-_])', r'\1{}', stem, count=1)
  part = re.search(r'(?:^|(?<=[-_]))(train|test)', pattern) or re.search(
      rf'(?:^|(?<=[-_]))({"|".join(_VALID)})(?=$|[-_\d])', pattern)
  if not part:
    return pattern, ''
  return pattern[:part.start()] + '*' + pattern[part.end():], part[0]


def _shared(chosen: dict[str, dict[str, pathlib.Path]]) -> tuple[list[str], list[str]]:
  """Parts that all roles have, train first; a note on a validation part that some lack."""
  has = {part: [role for role, paths in chosen.items() if part in paths]
         for part in ('', *formats.PARTS)}
  parts = [part for part, roles in has.items() if len(roles) == len(chosen)]
  notes = [f'the validation part of {", ".join(has["valid"])} is not read: not all have one'
           ] if has['valid'] and 'valid' not in parts else []
  return parts, notes


def _choose(folder: pathlib.Path, found: dict[str, Families],
            optional: tuple[str, ...], reading: Reading) -> dict[str, dict[str, pathlib.Path]]:
  """Files of every role, all in one piece or all split: the one set that every view has."""
  sides = {role: found[role] for role in stores.sides_of(found)}
  some, *others = sides.values()
  sets = [(p,) * len(sides) for p in some if all(p in other for other in others)]
  if not sets and all(len(families) == 1 for families in sides.values()):
    sets = [tuple(p for families in sides.values() for p in families)]
  needed = [role for role in ('y', 'group') if role in found and role not in optional]
  sets = [ps for ps in sets if len({'*' in p for p in ps}) == 1
          and all(_fitting(found[role], ps[0]) for role in needed)]
  for name in ('{}_*.npy', '{}.npy'):  # files of the very name need no guess
    same = (name,) * len(sides)
    sets = [same] if same in sets else sets
  for name in ('{}' + kind for kind in FORMATS):
    if (name,) * len(sides) in sets:
      sets = [ps for ps in sets if ps[0] == name or '*' in ps[0]]
  paths_of = lambda ps: [paths for families, p in zip(sides.values(), ps)
                         for paths in families[p].values()]
  if len(sets) > 1 and 'y' not in found:
    sets = [ps for ps in sets if all(_has_label(path, reading) for path in paths_of(ps))]
  if len(sets) != 1:
    raise ValueError(f'{folder}: {"more than one" if sets else "no"} set of files fits all of '
                     f'{", ".join(found)}; candidates: {_candidates(found)}')
  patterns, = sets
  more = {role: _fitting(found[role], patterns[0]) for role in ('y', 'group') if role in found}
  return {**{role: families[p] for (role, families), p in zip(sides.items(), patterns)},
          **{role: paths for role, paths in more.items() if paths}}


def _fitting(families: Families, pattern: str) -> dict[str, pathlib.Path]:
  """Files of y or group for views of this pattern: split where they are; {} where unclear."""
  fitting = {p: paths for p, paths in families.items() if ('*' in p) == ('*' in pattern)}
  forms = (pattern, *(form + kind for kind in _KNOWN for form in ('{}_*', '{}')))
  exact = [p for p in forms if p in fitting]
  if exact or len(fitting) == 1:
    return fitting[(exact or list(fitting))[0]]
  return {}


def _candidates(found: dict[str, Families]) -> str:
  return '; '.join(f'{role} ' + ' + '.join(path.name for path in paths.values())
                   for role, families in found.items() for paths in families.values())


def _has_label(path: pathlib.Path, reading: Reading) -> bool:
  """Whether the last column of a table can be a class label."""
  if guard.kind(path) not in FORMATS:
    return False
  table = open_table(path, reading)
  columns = table.features()
  if not columns:
    return False
  label = labels.to_numbers(table.text(columns[-1]))
  return len(np.unique(label)) <= max(labels.SHARE * len(label), 2) and labels.is_classes(label)


def _read_part(paths: dict[str, pathlib.Path], tables: dict[str, Table], notes: list[str],
               reading: Reading, id: str, named: dict[str, tuple[str, ...]]) -> stores.Arrays:
  """Arrays of one part by role; adds to `notes` what was assumed of each table, and to `named` the
  names of its columns."""
  notes.extend(note for table in tables.values() for note in table.notes)
  arrays = {role: stores.npy(path) for role, path in paths.items() if guard.kind(path) == '.npy'}
  shared = 'y' not in paths
  for role, table in tables.items():
    columns = [j for j in table.features() if table.names[j] != id]
    if role in ('y', 'group') and len(columns) == 1:
      arrays[role] = table.text(columns[0])
    else:
      columns = columns[:len(columns) - shared]
      arrays[role] = table.numbers(columns)
      if table.named:
        named[role] = tuple(table.names[j] for j in columns)
  texts = {role: table.text([j for j in table.features() if table.names[j] != id][-1])
           for role, table in tables.items() if shared and role in stores.sides_of(tables)}
  if id:
    at, note = rows.joined({role: _ids(tables.get(role), paths[role], id) for role in paths}, id)
    notes.append(note)
    arrays = {role: array[at[role]] for role, array in arrays.items()}
    texts = {role: text[at[role]] for role, text in texts.items()}
  elif reading.index == 'auto':
    _check_order(tables)
  if shared:
    arrays['y'] = _shared_label(texts, paths)
    notes.append('y is the last column of every view; y=NAME takes a file')
  return arrays


def _ids(table: Table | None, path: pathlib.Path, id: str) -> np.ndarray:
  """Ids of the rows of a table as text."""
  if table is None or (j := table.place(id)) is None:
    raise ValueError(f'{path}: no column {id!r} for id')
  return rows.as_ids(table.text(j), f'{path}: id {id!r}')


def _check_order(tables: dict[str, Table]) -> None:
  """Refuses tables whose index columns name the same rows in another order."""
  known = [(table.path.name, table.text(table.index[0])) for table in tables.values()
           if table.index]
  for name, ids in known[1:]:
    if rows.order_differs(known[0][1], ids):
      raise ValueError(f'{known[0][0]} and {name} name the same rows in another order; id=NAME '
                       'joins them (id=index by the index of each); if row i of both is the same '
                       'sample nonetheless, index names the columns to leave out')


def _shared_label(texts: dict[str, np.ndarray], paths: dict[str, pathlib.Path]) -> np.ndarray:
  """The last column, on which all views must agree sample by sample."""
  sides = stores.sides_of(paths)
  if len(texts) < len(sides):
    names = ' and '.join(paths[role].name for role in sides)
    raise FileNotFoundError(f'{paths["x1"].parent}: no file for y, and the last column of {names} '
                            f'holds it only if {"both" if len(sides) == 2 else "all"} are tables')
  for role in sides[1:]:
    _refuse_other_labels(texts['x1'], texts[role], paths['x1'].name, paths[role].name)
  return texts['x1']


def _refuse_other_labels(one: np.ndarray, two: np.ndarray, name_1: str, name_2: str) -> None:
  if len(one) != len(two):
    raise ValueError(f'{name_1} has {len(one)} rows, {name_2} has {len(two)}')
  numbers = labels.to_numbers(one), labels.to_numbers(two)
  differ = one != two
  if 'U' not in (numbers[0].dtype.kind, numbers[1].dtype.kind):
    differ &= numbers[0] != numbers[1]
  if differ.any():
    i = differ.argmax()
    raise ValueError(f'{name_1} and {name_2}: labels (last column) differ first at row {i} (from '
                     f'0): {one[i].item()!r} and {two[i].item()!r}; name a label file by y')
