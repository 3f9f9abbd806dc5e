"""One view of a file without the others and without labels: rows that encoders are applied to."""

from collections.abc import Collection
import dataclasses

import numpy as np

from mmalign_jax.data.files import (
  checked,
  columns,
  features,
  gaps,
  pooling,
  steps,
  stores,
  table_views,
)
from mmalign_jax.data.files.formats import parts
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading


@dataclasses.dataclass(frozen=True, eq=False)
class LoneView:
  """x [N, F] f64, or [N, T, F] with NaN where there is no step; rows that lack the view all NaN;
  names of the columns, () where there are none; notes for the user."""
  x: np.ndarray
  columns: tuple[str, ...] = ()
  notes: tuple[str, ...] = ()


def read(spec: str, name: str, known: Collection[str] = (), *, others: Collection[str] = (),
         reading: Reading | None = None, argument: str = 'FILE',
         pooled: str = '') -> LoneView:
  """The rows of a view.

  Args:
    spec: FILE or FILE:KEY. Without KEY, of a file with keys the one of the view's name (NAME_train,
      NAME_valid, NAME_test one after the other), or the only one; of a table the columns that are
      `known` or begin with the view's name, else all.
    name: of the view. known: the columns that it had when the encoder was fitted. others: names of
      views whose columns may be there, too.
    reading: how the file is read; missing numbers are refused, given the means of training
      ('mean': they stay NaN here), or the row lacks the view ('drop'; so does one of zeros).
    argument: what an error message calls the file.
    pooled: how sequences became what the encoder was fitted on, where `reading` does not say.

  Raises:
    OSError: no such file. ValueError: one line that names the file, for what does not fit.
  """
  opened = Opened(reading)
  if pooled and opened.reading.pool not in ('', pooled):
    raise ValueError(f'--pool={opened.reading.pool}: the encoder of {name!r} was fitted on '
                     f'sequences with --pool={pooled}')
  with features.named(argument, spec):
    if spec == 'digits':
      return _judged(_of_store(stores.digits(), name, opened.reading, pooled), opened.reading)
    path, key = features.parts(spec)
    source = opened.at(path)
    if isinstance(source, columns.Table):
      made = _of_table(source, key, name, known, others)
    elif key is None and _keys(source, name):
      made = _of_store(source, name, opened.reading, pooled)
    else:
      made = _of_key(spec, argument, opened, pooled)
    opened.refuse_unread()
    return _judged(made, opened.reading)


def _of_table(table: columns.Table, key: str | None, name: str, known: Collection[str],
              others: Collection[str]) -> LoneView:
  if key is not None:
    chosen = table.features(pattern=key)
  elif not table.named:
    chosen = table.features()
  else:
    chosen = [j for j in table.features() if table.names[j] in known
              or table_views.view_of(table.names[j], (name, *others)) == name]
    chosen = chosen or table.features()
  if not chosen:
    raise ValueError(f'no column {key!r}; it has {stores.listing(table.names)}' if key else
                     'no features: every column is an index or an id')
  names = tuple(table.names[j] for j in chosen) if table.named else ()
  return LoneView(table.numbers(chosen), names, table.notes)


def _keys(store: stores.Store, name: str) -> list[str]:
  """Keys of a view: its name, or its parts where train and test are there."""
  if name in store.keys:
    return [name]
  found = [key for ending in parts.ENDINGS if (key := f'{name}_{ending}') in store.keys]
  return found if {f'{name}_train', f'{name}_test'} <= set(found) else []


def _of_store(store: stores.Store, name: str, reading: Reading, pooled: str) -> LoneView:
  made, notes = [], []
  for key in _keys(store, name):
    side = _settled(name, stores.find(store, key), reading, pooled)
    array, = side.arrays.values()
    made.append(checked.view(array, key))
    notes += side.notes
  widths = [part.shape[-1] for part in made]
  if len(set(widths)) > 1:
    raise ValueError(f'{name}: parts of {" and ".join(map(str, widths))} columns')
  if len({part.ndim for part in made}) > 1:
    raise ValueError(f'{name}: sequences in some parts only')
  return LoneView(checked.joined(made), notes=(*store.remarks, *notes))


def _of_key(spec: str, argument: str, opened: Opened, pooled: str) -> LoneView:
  """The array of a key, or the only one."""
  found = features.find(spec, argument, opened)
  side = _settled(argument, found, opened.reading, pooled)
  (where, array), = side.arrays.items()
  return LoneView(checked.view(array, where or 'the array'), notes=side.notes)


def _settled(name: str, found: steps.Found, reading: Reading, pooled: str) -> steps.Found:
  """One array; sequences pooled as they were for the encoder."""
  deep = any(array.ndim > 2 or pooling.is_ragged(array, found.steps.get(key))
             for key, array in found.arrays.items())
  return steps.one_each({name: found}, reading.layers,
                        reading.pool or (pooled if deep else ''))[name]


def _judged(view: LoneView, reading: Reading) -> LoneView:
  """Numbers that are missing, and rows of zeros, as `pairs` judges them."""
  x = view.x
  if x.ndim == 3:
    return _judged_steps(view, reading)
  gone = np.asarray(np.isnan(x).all(axis=1))
  zero = gaps.zeros((np.where(gone[:, None], 1, x),))
  partly = np.asarray(np.isnan(x).any(axis=1)) & ~gone
  notes = [*view.notes]
  if reading.missing == 'drop':
    for some, what in ((partly, 'with missing numbers'), (zero, 'of zeros')):
      notes += [f'{some.sum()} rows {what} count as lacking this view'] * bool(some.any())
    gone |= partly | zero
  elif partly.any():
    gaps.kept({'features': [x[~gone]]}, reading.missing)  # refuses, or leaves them
    notes.append(f'{partly.sum()} rows with missing numbers given the means of the columns in '
                 'training')
  if zero.any() and reading.missing != 'drop':
    notes.append(f'{zero.sum()} of {len(x)} rows are 0 in every feature: if they are missing '
                 'samples, --missing=drop takes them for rows without this view')
  if gone.any():
    notes.append(f'{gone.sum()} of {len(x)} rows lack this view')
  return LoneView(np.where(gone[:, None], np.nan, x), view.columns, tuple(dict.fromkeys(notes)))


def _judged_steps(view: LoneView, reading: Reading) -> LoneView:
  """The same of sequences [N, T, F]."""
  x, has, notes = gaps.of_steps(view.x, reading.missing, dashes='--')
  notes = [*view.notes, *notes] + [f'{(~has).sum()} of {len(x)} rows lack this view'] * bool(
      (~has).any())
  return LoneView(x, view.columns, tuple(dict.fromkeys(notes)))
