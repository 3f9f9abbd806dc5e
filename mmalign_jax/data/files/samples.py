"""All sides of a comparison, and what belongs to their rows, read together.

Features, label, groups and items are joined by ids where that is asked; one selection of rows then
serves all. What was assumed is said in notes.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np

from mmalign_jax.data.files import features, gaps, rows, stores
from mmalign_jax.data.files.features import Features
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
  """sides by argument, row i of all the same sample; label [N] as read; groups, items [N] codes in
  0..G-1, None where not asked for; notes for the user."""
  sides: dict[str, Features]
  label: np.ndarray | None
  groups: np.ndarray | None
  items: np.ndarray | None
  notes: tuple[str, ...]


def read(sides: dict[str, str], reading: Reading, *, y: tuple[str, str] | None = None,
         group: str = '', item: str = '', id: str = '', lone: bool = False) -> Samples:
  """Reads what a command line names, without missing values: `matched`, then `without_gaps`.

  Raises:
    OSError, ValueError: as of both.
  """
  made, where = matched(sides, reading, y=y, group=group, item=item, id=id, lone=lone)
  whole, more = without_gaps(made, reading, where, where[y[0]] if y else '')
  return dataclasses.replace(whole, notes=tuple(dict.fromkeys([*made.notes, *more])))


def matched(sides: dict[str, str], reading: Reading, *, y: tuple[str, str] | None = None,
            group: str = '', item: str = '', id: str = '',
            lone: bool = False) -> tuple[Samples, dict[str, str]]:
  """The same rows of all files, NaN where a number is missing; what a message calls each argument.

  Args:
    sides: what an error message calls each side, and its FILE[:KEY].
    reading: how files are read, and what becomes of missing values.
    y: the same of the label: FILE[:KEY], or a column or key of a file of the sides.
    group, item: columns or keys of a file of the sides, or FILE[:KEY]; '' for none.
    id: a column or key that every file has, or one FILE[:KEY] for each file with commas; '' for
      rows that are in the same order.
    lone: as in `arrays.read_sides`.

  Raises:
    OSError: no such file.
    ValueError: one line that names the argument and its value, for anything that does not fit.
  """
  opened = Opened(reading)
  paths = {}
  for argument, spec in sides.items():
    with features.named(argument, spec):
      paths[argument] = features.parts(spec)[0]
      opened.at(paths[argument])
  asked = {'--group': group, '--item': item}
  columns = {name: _attached(name, spec, paths, opened) for name, spec in asked.items() if spec}
  label, notes, left_out = _label(y, paths, opened)
  left_out += _of_rows(id, (group, item), paths)
  if label is not None and label[0] not in columns:
    columns[label[0]] = label[1]
  known = {len(label[1][at]) for at in label[1]} if label and not id else set()
  found = features.read_sides(sides, opened, left_out, gaps=True, rows=known, lone=lone)
  opened.refuse_unread()
  notes = [note for side in found.values() for note in side.notes] + list(notes)
  counts = {name: len(side.layers[0]) for name, side in found.items()}
  for values in columns.values():
    counts |= {at: len(z) for at, z in values.items() if at not in counts}
  where = {**{name: f'{name}={spec!r}' for name, spec in sides.items()},
           **{name: f'{name}={spec!r}' for name, spec in asked.items()},
           **({y[0]: f'{y[0]}={y[1]!r}'} if y else {})}
  at, note = _matched(id, paths, counts, where, opened, found)
  notes += note
  values = None if label is None else _agreed(label[0], columns[label[0]], at, where, ids=False)
  groups, items = (rows.codes(_agreed(name, columns[name], at, where)) if name in columns else None
                   for name in asked)
  return Samples({name: _taken(side, at[name]) for name, side in found.items()}, values, groups,
                 items, tuple(dict.fromkeys(notes))), where


# -- what belongs to the rows ----------------------------------------------------------------------


def _attached(name: str, spec: str, paths: dict[str, pathlib.Path],
              opened: Opened) -> dict[str, np.ndarray]:
  """A column by the side whose file has it, or by its own name from a file of its own.

  That file is added to `paths`.
  """
  found = {}
  for side, path in paths.items():
    with features.named(name, spec):
      values = opened.column(path, spec)
    found |= {} if values is None else {side: _flat(values)}
  if found:
    return found
  try:
    path, _ = features.parts(spec)
  except OSError as error:
    known = '; '.join(f'{side} has {stores.listing(opened.names(path))}'
                      for side, path in paths.items())
    raise ValueError(f'{name}={spec!r} is neither a column or key of a file of the sides, nor a '
                     f'file: {known}') from error
  values, _ = features.single(spec, name, 'label', opened)
  paths[name] = path
  return {name: _flat(values)}


def _of_rows(id: str, others: tuple[str, ...],
             paths: dict[str, pathlib.Path]) -> list[tuple[pathlib.Path, str]]:
  """Columns by file that name rows or say which belong together, and so are no features."""
  ids = id.split(',')
  found = [*((path, name) for path in paths.values() for name in others),
           *zip(paths.values(), ids * len(paths) if len(ids) == 1 else ids)]
  for spec in filter(None, (*others, *ids)):
    with contextlib.suppress(OSError):  # a name, and no FILE:COLUMN
      path, key = features.parts(spec)
      found.append((path, key or ''))
  return [(path, name) for path, name in found if name]


def _flat(values: np.ndarray) -> np.ndarray:
  """One value a sample where that is all there is."""
  values = np.atleast_1d(values)
  return values.ravel() if values.ndim == 2 and 1 in values.shape else values


def _label(y: tuple[str, str] | None, paths: dict[str, pathlib.Path], opened: Opened):
  """((argument, {where its rows are: values}) or None, notes, columns that hold it)."""
  if y is None:
    return None, (), []
  name, spec = y
  try:
    path, key = features.parts(spec)
  except OSError as error:
    if not any(opened.column(path, spec) is not None for path in paths.values()):
      raise type(error)(f'{name}={spec!r}: {error}, nor a column or key of a file of the sides'
                        ) from error
    return (name, _attached(name, spec, paths, opened)), (), [
        (path, spec) for path in paths.values()]
  values, notes = features.single(spec, name, 'label', opened)
  if not values.size:
    raise ValueError(f'{name}={spec!r}: empty, shape {values.shape}')
  paths[name] = path
  return (name, {name: _flat(values)}), notes, [(path, key)] if key else []


def _agreed(name: str, columns: dict[str, np.ndarray], at: dict[str, np.ndarray],
            where: dict[str, str], ids: bool = True) -> np.ndarray:
  """Values [N] of the rows that are left, on which all files that hold them agree."""
  made = {}
  for side, values in columns.items():
    made[side] = rows.as_ids(values, where[name]) if ids else values
    if len(made[side]) <= at[side].max():
      raise ValueError(f'{where[name]} has {len(values)} samples, and {where[side]} '
                       f'{at[side].max() + 1}')
    made[side] = made[side][at[side]]
  (first, one), *others = made.items()
  for side, other in others:
    differ = np.flatnonzero((one != other) & ~(_no_number(one) & _no_number(other)))
    if len(differ):
      i = differ[0]
      raise ValueError(f'{where[name]}: {first} and {side} differ in {len(differ)} rows, first at '
                       f'row {i} (from 0): {one[i].item()!r} and {other[i].item()!r}; --id=NAME '
                       'joins rows by ids')
  return one


def _no_number(values: np.ndarray) -> np.ndarray:
  """Where values are NaN, which equals nothing."""
  return np.isnan(values) if values.dtype.kind == 'f' else np.zeros(values.shape, bool)


# -- the same rows in all --------------------------------------------------------------------------


def _matched(id: str, paths: dict[str, pathlib.Path], counts: dict[str, int],
             where: dict[str, str], opened: Opened, found: dict[str, Features]):
  """({side: its rows [N]}, notes): joined by ids, or all of them in their order."""
  if id:
    with_rows = {name: path for name, path in paths.items() if name in counts}
    at, note = rows.joined(_ids(id, with_rows, counts, opened), f'--id={id}')
    return at, [note]
  (first, n), *others = counts.items()
  for name, other in others:
    if other != n:
      read_as = [len(found[s].layers) if s in found else 1 for s in (first, name)]
      layers = [f', read as {count} layers' if count > 1 else '' for count in read_as]
      remarks = ''.join(f' ({note})' for note in dict.fromkeys(
          note for side in found.values() for note in side.notes if 'layers' in note))
      raise ValueError(f'{where[first]} has N={n} samples{layers[0]}, and {where[name]} has '
                       f'N={other}{layers[1]}; row i of all must be the same sample, or --id=NAME '
                       f'joins them by ids{remarks}')
  if opened.reading.index == 'auto':
    _check_order(paths, counts, opened)
  return dict.fromkeys(counts, np.arange(n)), []


def _ids(id: str, paths: dict[str, pathlib.Path], counts: dict[str, int],
         opened: Opened) -> dict[str, np.ndarray]:
  """Ids of the rows of each side as text: its column, or one file a side."""
  specs = id.split(',')
  specs = specs * len(paths) if len(specs) == 1 else specs
  if len(specs) != len(paths):
    raise ValueError(f'--id={id} names {len(specs)} for {len(paths)} files: {", ".join(paths)}')
  made = {}
  for (name, path), spec in zip(paths.items(), specs):
    with features.named('--id', spec):
      values = opened.column(path, spec)
    if values is None:
      try:
        features.parts(spec)
      except OSError as error:
        raise ValueError(f'--id={id}: the file of {name} has no column or key {spec!r}; it has '
                         f'{stores.listing(opened.names(path))}') from error
      values, _ = features.single(spec, '--id', 'label', opened)
    made[name] = rows.as_ids(values, f'--id={id} of {name}')
    if len(made[name]) != counts[name]:
      raise ValueError(f'--id={id}: {len(made[name])} ids for the {counts[name]} samples of {name}')
  return made


def _check_order(paths: dict[str, pathlib.Path], counts: dict[str, int], opened: Opened) -> None:
  """Refuses sides whose own ids name the same rows in another order."""
  known = {}
  for name, path in paths.items():
    if name not in counts or path in [p for _, p, _ in known.values()]:
      continue
    try:
      ids = opened.ids(path)
      known |= {} if ids is None else {name: (name, path, rows.as_ids(ids, name))}
    except ValueError:  # an index of fractions, with gaps, or objects: nothing to compare
      continue
  made = [(name, ids) for name, _, ids in known.values() if len(ids) == counts[name]]
  for name, ids in made[1:]:
    if rows.order_differs(made[0][1], ids):
      raise ValueError(f'{made[0][0]} and {name} name the same rows in another order (index or ids '
                       'in both): --id=NAME joins them (--id=index by the index of each); if row i '
                       'of both is the same sample nonetheless, --index names the columns to leave '
                       'out')


def _taken(side: Features, at: np.ndarray) -> Features:
  """Some rows of a side."""
  if len(at) == len(side.layers[0]) and (at == np.arange(len(at))).all():
    return side
  return dataclasses.replace(side, layers=tuple(z[at] for z in side.layers))


# -- missing values and repeats --------------------------------------------------------------------


def without_gaps(made: Samples, reading: Reading, where: dict[str, str],
                 label: str = '') -> tuple[Samples, list[str]]:
  """Samples without missing values by `reading.missing`, and notes.

  Args:
    made: numbers that are NaN are missing.
    reading: what becomes of them.
    where: what an error message calls each side.
    label: what it calls the label.

  Raises:
    ValueError: see `gaps.kept`.
  """
  layers = {where[name]: side.layers for name, side in made.sides.items()}
  keep, notes = gaps.kept(layers, reading.missing, made.label, label, classes=reading.classes)
  sides = {name: dataclasses.replace(side, layers=gaps.filled(side.layers, reading.missing,
                                                              where[name]))
           for name, side in made.sides.items()}
  if not keep.all():
    at = np.flatnonzero(keep)
    sides = {name: _taken(side, at) for name, side in sides.items()}
    values, groups, items = (None if z is None else z[at]
                             for z in (made.label, made.groups, made.items))
    made = dataclasses.replace(made, label=values, groups=_again(groups), items=_again(items))
  if made.groups is None and made.items is None:
    options = '--group=NAME' if made.label is not None else '--group=NAME or --item=NAME'
    notes += [note for name, side in sides.items()
              for note in rows.repeats_note(name, side.layers, f'{options} says so')]
  return dataclasses.replace(made, sides=sides), notes


def _again(codes: np.ndarray | None) -> np.ndarray | None:
  return None if codes is None else rows.codes(codes)
