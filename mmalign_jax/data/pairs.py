"""Pairs: samples of several modalities, some without a label, some without a modality.

Every kind of real data comes as this one thing: a file or folder of a user, a data set as it is
published (`published.DATASETS`), generated or embedded ones. Here values are judged; what is done
with them before a training, and which labels a training may see, is for `prepared`.
"""

import dataclasses

import numpy as np

from mmalign_jax.data.files import checked, gaps, labels, rows, stores
from mmalign_jax.data.files.labels import Label

NO_CLASS = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
  """N samples of S modalities.

  views: of every side [N, D], or sequences [N, T, F], f64; NaN in rows that lack it, and in steps
  that are none; and single numbers NaN where missing='mean' is asked for, whose means are those of
  the rows to train on (`prepared`). present: of every side [N] bool. y: [N] i32 codes of `classes`,
  or f64 where there are none; labelled: [N] bool, y means nothing elsewhere. group: [N] i64 codes
  of `group_name`, or None. test: [N] bool, a given split, or None; validation: [N] bool, rows that
  are given to choose settings by, or None. columns: of every side the names of its features, () of
  one without; () where no side has any. pooled: of every side how its sequences were
  pooled, '' where it had none; () where no side had any.
  """
  where: str
  names: tuple[str, ...]
  views: tuple[np.ndarray, ...]
  present: tuple[np.ndarray, ...]
  y: np.ndarray
  labelled: np.ndarray
  classes: tuple[str, ...]
  group: np.ndarray | None = None
  test: np.ndarray | None = None
  validation: np.ndarray | None = None
  group_name: str = ''
  notes: tuple[str, ...] = ()
  columns: tuple[tuple[str, ...], ...] = ()
  pooled: tuple[str, ...] = ()

  @property
  def task(self) -> str:
    return 'cross_entropy' if self.classes else 'l1'

  @property
  def complete(self) -> np.ndarray:
    """[N] bool: samples that have every modality."""
    return np.logical_and.reduce(self.present)


def from_raw(raw: stores.Raw, *, missing: str = 'refuse', task: str = 'auto',
             classes: int = 0) -> Pairs:
  """The arrays of a file, judged.

  A row without any number lacks its modality, a row without a label is not labelled; both stay. A
  single missing number is refused, or (`missing`) stays for its column's mean, or the row counts as
  lacking the modality ('drop').

  Args:
    raw: as `views.read_raw` reads it.
    missing, task, classes: see `files.reading.Reading`.

  Raises:
    ValueError: one line that names the side and the value.
  """
  arrays, n_train = checked.whole(raw, sequences=True)
  sides = stores.sides_of(arrays)
  where = {role: checked.called(raw, role) for role in (*sides, 'y')}
  found, present, notes = [], [], list(raw.notes)
  for role in sides:
    view, has, said = _view(arrays[role], missing, where[role])
    found.append(view)
    present.append(has)
    notes += said
  nothing = ~np.logical_or.reduce(present)
  if nothing.any():
    notes.append(f'{nothing.sum()} samples have no modality at all: they are not used')
  label, labelled, said = _label(arrays['y'], task, classes, where['y'])
  written = labels.to_numbers(arrays['y'][labelled])
  for role, view in zip(sides, found):
    notes += rows.label_note(view[labelled], written, where[role]) if view.ndim == 2 else []
  place = np.arange(len(labelled))
  test = None if n_train is None else place >= n_train
  validation = None
  if n_train is not None and (given := checked.n_valid(raw)):
    validation = (place < n_train) & (place >= n_train - given)
  group = rows.codes(arrays['group']) if 'group' in arrays else None
  columns = tuple(raw.columns.get(role, ()) for role in sides) if raw.columns else ()
  pooled = tuple(raw.pooled.get(role, '') for role in sides) if raw.pooled else ()
  return Pairs(raw.where, tuple(raw.names[role] for role in sides), tuple(found), tuple(present),
               label.values, labelled & ~nothing, label.classes, group, test, validation,
               raw.names.get('group', ''), tuple(dict.fromkeys([*notes, *label.notes, *said])),
               columns, pooled)


def _view(view: np.ndarray, missing: str,
          where: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """A modality [N, D], which rows have it [N] bool, and notes."""
  if view.ndim == 3:
    return _sequences(view, missing, where)
  gone = np.asarray(np.isnan(view).all(axis=1))
  zero = gaps.zeros((np.where(gone[:, None], 1, view),))
  partly = np.asarray(np.isnan(view).any(axis=1)) & ~gone
  notes = []
  if missing == 'drop':
    gone |= partly | zero
  elif partly.any():
    gaps.kept({where: [view[~gone]]}, missing, dashes='')  # refuses, or leaves them
    notes.append(f'{where}: {partly.sum()} rows with missing numbers given the means of the '
                 'columns in training')
  if zero.any() and missing != 'drop':
    notes.append(f'{where}: {zero.sum()} of {len(view)} rows are 0 in every feature: if they are '
                 'missing samples, missing=drop takes them for rows without this modality')
  if gone.all():
    raise ValueError(f'{where}: missing in all of {len(gone)} rows')
  if gone.any():
    notes.append(f'{where}: {gone.sum()} of {len(gone)} samples lack this modality')
  return np.where(gone[:, None], np.nan, view), ~gone, notes


def _sequences(view: np.ndarray, missing: str,
               where: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
  """The same of sequences [N, T, F]."""
  view, has, said = gaps.of_steps(view, missing, f'{where}: ')
  gone = ~has
  if gone.all():
    raise ValueError(f'{where}: missing in all of {len(gone)} rows')
  if gone.any():
    said.append(f'{where}: {gone.sum()} of {len(gone)} samples lack this modality')
  return view, has, said


def _label(y: np.ndarray, task: str, classes: int,
           where: str) -> tuple[Label, np.ndarray, list[str]]:
  """Labels of all rows, which are labelled [N] bool, and notes."""
  gone = np.asarray(gaps.no_label(y, len(y), classes))
  marked = int(gone.sum() - gaps.no_label(y, len(y)).sum())
  if gone.all():
    raise ValueError(f'{where}: no row of {len(y)} has a label')
  known = labels.read_label(y[~gone], task, where, classes)
  values = np.full(len(y), NO_CLASS if known.classes else np.nan, known.values.dtype)
  values[~gone] = known.values
  minus = f' (-1 in {marked})' if marked else ''
  said = [f'{where}: {gone.sum()} of {len(y)} rows have no label{minus}: aligned, not learnt from'
          ] if gone.any() else []
  return dataclasses.replace(known, values=values), ~gone, said
