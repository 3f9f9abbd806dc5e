"""Paired features and a label from files, checked, split, standardised and ready for a study.

`load_paired` reads two views of the same N samples and their label. Formats are in `stores` and
`columns`; here the values are judged, and whatever was assumed is said in `notes`.
"""

import dataclasses
import hashlib

import numpy as np

from mmalign_jax.data.files import (
  checked,
  columns,
  folder_views,
  gaps,
  labels,
  rows,
  splits,
  stores,
  table_views,
)
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.labels import Label
from mmalign_jax.data.files.reading import CHOICES, Reading

TASKS = CHOICES['task']
TEST_FRACTION = 0.25  # where no split is given


@dataclasses.dataclass(frozen=True, eq=False)
class PairedData:
  """Two views of the same samples, N to train on and M to test on.

  x1_train [N, D1], x2_train [N, D2], x1_test [M, D1], x2_test [M, D2] f32 with training mean 0 and
  standard deviation 1; y_train [N], y_test [M] i32 in 0..C-1, or f32 in units of y_scale about
  y_center; fold_test [M] i32 in 0..n_folds-1. A split made here comes in random order, so the
  first rows are a random sample; a given one keeps its order.
  """
  x1_train: np.ndarray
  x2_train: np.ndarray
  y_train: np.ndarray
  x1_test: np.ndarray
  x2_test: np.ndarray
  y_test: np.ndarray
  fold_test: np.ndarray
  n_folds: int
  classes: tuple[str, ...]  # the original labels by integer code; () for regression
  name_1: str
  name_2: str
  task: str                 # 'cross_entropy' or 'l1'
  y_center: float           # regression: training median and mean absolute deviation from it
  y_scale: float
  fingerprint: str          # sha256 of all arrays
  notes: tuple[str, ...]    # remarks for the user, one line each


def load_paired(data: str, *, x1: str = '', x2: str = '', y: str = '', group: str = '',
                id: str = '', task: str = 'auto', classes: int = 0, sep: str = '',
                decimal: str = '', header: str = 'auto', index: str = 'auto',
                missing: str = 'refuse', layers: str = 'auto', pool: str = '',
                test_fraction: float = TEST_FRACTION, split_seed: int = 0) -> PairedData:
  """Reads two views and a label, splits them unless a split is given, and standardises.

  Args:
    data: 'digits' (no file needed; views left, right, top, bottom), or the path of a table (.csv,
      .tsv, .parquet), of one of `files.STORES`, of a folder with .npy files or tables, or of one of
      .h5 files as published (`formats.h5_folder`).
    x1, x2: names of the views: key, variable, prefix of column names, or word in file names. '' is
      x1 and x2 (left and right for 'digits'). Both may name the same view.
    y: name of the label. '' is y; in tables then label, then the last column.
    group: name of the ids of samples that belong together. '' is group, where that exists.
    id: column by which the tables of a folder are joined; '' for rows in the same order.
    task, classes: 'cross_entropy', 'l1' (regression), or 'auto'; see `labels`.
    sep, decimal, header, index, missing, layers, pool: how files are read; see `Reading`.
    test_fraction: part of the samples, in (0, 1), to test on where no split is given.
    split_seed: of the split and of the folds, in 0..2**32-1.

  Raises:
    FileNotFoundError: a missing file, or view in a folder.
    ValueError: one line that names the field and the value, for anything else that does not fit.
  """
  if task not in TASKS:
    raise ValueError(f'task: {task!r}; known: {", ".join(TASKS)}')
  reading = Reading(sep=sep, decimal=decimal, header=header, index=index, missing=missing,
                    layers=layers, pool=pool, task=task, classes=classes)
  if not 0 < test_fraction < 1:
    raise ValueError(f'test_fraction: {test_fraction!r} is not in (0, 1)')
  if not 0 <= split_seed < 2**32:
    raise ValueError(f'split_seed: {split_seed!r} is not in 0..2**32-1')
  raw = read_raw(data, x1=x1, x2=x2, y=y, group=group, id=id, reading=reading)
  arrays, n_train = checked.whole(raw)
  views = {role: checked.called(raw, role) for role in ('x1', 'x2')}
  keep, said = gaps.kept({where: [arrays[role]] for role, where in views.items()}, missing,
                         arrays['y'], checked.called(raw, 'y'), '', classes)
  arrays = {role: array[keep] for role, array in arrays.items()}
  n_train = None if n_train is None else int(keep[:n_train].sum())
  label = labels.read_label(arrays['y'], task, checked.called(raw, 'y'), classes)
  codes = rows.codes(arrays['group']) if 'group' in arrays else None
  if n_train is not None and test_fraction != TEST_FRACTION:
    raise ValueError(f'test_fraction={test_fraction!r} has no effect: {raw.where} comes split')
  if n_train is None:
    train, test = splits.split(label.values, label.classes, codes, test_fraction, split_seed)
  else:
    train, test = np.split(np.arange(len(label.values)), [n_train])
  splits.check_classes(label, train, test, checked.called(raw, 'y'))
  known = np.isin(np.arange(len(label.values)), train)
  arrays |= {role: gaps.filled([arrays[role]], missing, where, known)[0]
             for role, where in views.items()}
  notes = [*raw.notes, *said, *label.notes, _split_note(label, train, test, n_train, split_seed)]
  if given := checked.n_valid(raw):
    notes.append(f'the {given} rows of the given validation part are for training here')
  if codes is not None:
    notes.append(splits.group_note(raw.names['group'], codes[train], codes[test]))
  fold_test = splits.test_folds(len(test), None if codes is None else codes[test], split_seed)
  return _assembled(raw, arrays, label, train, test, fold_test, notes)


def _assembled(raw: stores.Raw, arrays: stores.Arrays, label: Label, train: np.ndarray,
               test: np.ndarray, fold_test: np.ndarray, notes: list[str]) -> PairedData:
  """Rows `train` and `test` of the arrays, in the units of the training rows."""
  fields, y_raw = {'fold_test': fold_test}, labels.to_numbers(arrays['y'])
  for role in ('x1', 'x2'):
    fields[f'{role}_train'], fields[f'{role}_test'] = _standardised(
        arrays[role], train, test, checked.called(raw, role))
    notes += rows.constant_note(arrays[role][train], checked.called(raw, role))
    notes += rows.label_note(arrays[role], y_raw, checked.called(raw, role))
  center, scale = (0.0, 1.0) if label.classes else labels.units(
      label.values[train], checked.called(raw, 'y'))
  y = label.values if label.classes else ((label.values - center) / scale).astype(np.float32)
  fields |= {'y_train': y[train], 'y_test': y[test]}
  return PairedData(
      **fields, n_folds=int(fold_test.max()) + 1, classes=label.classes,
      name_1=raw.names['x1'], name_2=raw.names['x2'], task=label.task, y_center=center,
      y_scale=scale, fingerprint=_fingerprint(fields), notes=tuple(dict.fromkeys(notes)))


def read_raw(data: str, *, x1: str = '', x2: str = '', y: str = '', group: str = '', id: str = '',
             reading: Reading | None = None, **more: str) -> stores.Raw:
  """Arrays of the roles as they are in `data`; arguments and errors as in `load_paired`.

  Args:
    more: x3, x4, ...: further views, by name; '' is none.
  """
  asked = {'x1': x1 or 'x1', 'x2': x2 or 'x2', 'y': y, 'group': group} | {
      role: name for role, name in more.items() if name}
  reading = reading or Reading()
  path = guard.place(data)
  if id and not path.is_dir():
    raise ValueError(f'id={id!r} joins the tables of a folder; {data!r} is none')
  if data == 'digits':
    raw = stores.from_store(stores.digits(), {**asked, 'x1': x1 or 'left', 'x2': x2 or 'right'},
                           reading)
  elif not path.exists():
    raise FileNotFoundError(f'data={data!r}: no such file or folder')
  elif not id and stores.is_folder(path):
    raw = stores.from_store(stores.folder(path), asked, reading)
  elif path.is_dir():
    raw = folder_views.from_folder(path, asked, reading, id)
  elif guard.kind(path) in columns.FORMATS:
    raw = table_views.from_table(path, asked, reading)
  elif guard.kind(path) in stores.STORES:
    raw = stores.from_store(stores.STORES[guard.kind(path)](path), asked, reading)
  else:
    raise ValueError(f"{data!r}: unknown format {path.suffix!r}; known: 'digits', a folder, "
                     f'{", ".join((*columns.FORMATS, *stores.STORES))}')
  reading.refuse_unread(raw.used, '')
  return raw


# -- features and notes --------------------------------------------------------------------------


def _standardised(x: np.ndarray, train: np.ndarray, test: np.ndarray,
                  where: str) -> tuple[np.ndarray, np.ndarray]:
  """Both parts in f32 by the training mean and deviation; columns constant in training are 0."""
  with np.errstate(over='ignore', invalid='ignore'):
    mean, std = x[train].mean(axis=0), x[train].std(axis=0)
    constant = (np.ptp(x[train], axis=0) == 0) | (std == 0)
    z = np.where(constant, 0, (x - mean) / np.where(constant, 1, std)).astype(np.float32)
  bad = np.flatnonzero(~np.isfinite(std) | ~np.isfinite(z).all(axis=0))
  if len(bad):
    raise ValueError(f'{where}: column {bad[0]} (from 0) has values too large to standardise, up '
                     f'to {np.abs(x[:, bad[0]]).max():.3g}')
  return z[train], z[test]


def _split_note(label: Label, train: np.ndarray, test: np.ndarray, n_train: int | None,
                seed: int) -> str:
  made = ('given' if n_train is not None else
          f'made here ({"stratified" if label.classes else "random"}, seed {seed})')
  missing = len(label.classes) - len(np.unique(label.values[test])) if label.classes else 0
  return (f'split {made}: {len(train)} train, {len(test)} test'
          + (f'; {missing} classes not in test' if missing else ''))


def _fingerprint(fields: dict[str, np.ndarray]) -> str:
  """sha256 of names, shapes, types and bytes of all arrays."""
  digest = hashlib.sha256()
  for name, array in sorted(fields.items()):
    digest.update(f'{name} {array.dtype.str} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
