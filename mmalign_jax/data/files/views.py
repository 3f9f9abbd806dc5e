"""Paired features and a label from files, checked, split, standardised and ready for a study.

`load_paired` reads two views of the same N samples and their label. Formats are in `files` and
`tables`; here the values are judged, and whatever was assumed is said in `notes`.
"""

import dataclasses
import hashlib
import math

import numpy as np

from mmalign_jax.data.files import (
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
from mmalign_jax.data.files.labels import Label, read_label
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
  arrays, n_train = whole(raw)
  views = {role: _where(raw, role) for role in ('x1', 'x2')}
  keep, said = gaps.kept({where: [arrays[role]] for role, where in views.items()}, missing,
                         arrays['y'], _where(raw, 'y'), '')
  arrays = {role: array[keep] for role, array in arrays.items()}
  n_train = None if n_train is None else int(keep[:n_train].sum())
  label = read_label(arrays['y'], task, _where(raw, 'y'), classes)
  codes = rows.codes(arrays['group']) if 'group' in arrays else None
  if n_train is not None and test_fraction != TEST_FRACTION:
    raise ValueError(f'test_fraction={test_fraction!r} has no effect: {raw.where} comes split')
  if n_train is None:
    train, test = splits.split(label.values, label.classes, codes, test_fraction, split_seed)
  else:
    train, test = np.split(np.arange(len(label.values)), [n_train])
  _check_classes(label, train, test, _where(raw, 'y'))
  known = np.isin(np.arange(len(label.values)), train)
  arrays |= {role: gaps.filled([arrays[role]], missing, where, known)[0]
             for role, where in views.items()}
  notes = [*raw.notes, *said, *label.notes, _split_note(label, train, test, n_train, split_seed)]
  if n_valid(raw):
    notes.append(f'the {n_valid(raw)} rows of the given validation part are for training here')
  if codes is not None:
    notes.append(_group_note(raw.names['group'], codes[train], codes[test]))
  fold_test = splits.test_folds(len(test), None if codes is None else codes[test], split_seed)
  return _assembled(raw, arrays, label, train, test, fold_test, notes)


def _assembled(raw: stores.Raw, arrays: stores.Arrays, label: Label, train: np.ndarray,
               test: np.ndarray, fold_test: np.ndarray, notes: list[str]) -> PairedData:
  """Rows `train` and `test` of the arrays, in the units of the training rows."""
  fields, y_raw = {'fold_test': fold_test}, labels.to_numbers(arrays['y'])
  for role in ('x1', 'x2'):
    fields[f'{role}_train'], fields[f'{role}_test'] = _standardised(
        arrays[role], train, test, _where(raw, role))
    notes = [*notes, *_remarks(arrays[role], train, y_raw, _where(raw, role))]
  center, scale = _units(label, train, _where(raw, 'y'))
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


# -- checks --------------------------------------------------------------------------------------


def _where(raw: stores.Raw, role: str, part: str = '') -> str:
  return f'{raw.where}: {role} {raw.names[role]!r}' + (f' ({part})' if part else '')


def whole(raw: stores.Raw, sequences: bool = False) -> tuple[stores.Arrays, int | None]:
  """All rows, train before test, by role; and the number of training rows of a given split, those
  of a given validation part (`n_valid`) last among them.

  Missing numbers and labels are still there, ids of groups are text. sequences: views [N, T, F] are
  no error; all become as long as the longest, NaN where they have no step.
  """
  parts = []
  for part, arrays in raw.parts.items():
    parts.append({role: _read(role, array, _where(raw, role, part), sequences)
                  for role, array in arrays.items()})
    for role, array in parts[-1].items():
      if len(array) != len(parts[-1]['x1']):
        raise ValueError(f'{_where(raw, "x1", part)} has {len(parts[-1]["x1"])} rows, '
                         f'{role} {raw.names[role]!r} has {len(array)}')
  for role in stores.sides_of(parts[0]):
    widths = [part[role].shape[-1] for part in parts]
    if len({part[role].ndim for part in parts}) > 1:
      raise ValueError(f'{_where(raw, role)}: sequences in one of {" and ".join(raw.parts)} only')
    if len(set(widths)) > 1:
      (first, width), *others = zip(raw.parts, widths)
      raise ValueError(f'{_where(raw, role)} has {width} columns in {first}' + ''.join(
          f', {width} in {part}' for part, width in others))
  joined = {role: _joined([part[role] for part in parts]) for role in parts[0]}
  counts = [len(part['x1']) for part in parts]
  return joined, sum(counts[:-1]) if len(parts) > 1 else None


def n_valid(raw: stores.Raw) -> int:
  """Rows of a given validation part; 0 where none is given."""
  return len(raw.parts['valid']['x1']) if 'valid' in raw.parts else 0


def _read(role: str, array: np.ndarray, where: str, sequences: bool) -> np.ndarray:
  if role in ('y', 'group'):
    return {'y': vector, 'group': rows.as_ids}[role](array, where)
  if sequences and np.ndim(array) == 3:
    n, t, f = array.shape
    return matrix(array.reshape(n * t, f), where).reshape(n, t, f)
  return matrix(array, where)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
  """The rows of all parts; of sequences, the shorter ones filled up with NaN."""
  if parts[0].ndim < 3:
    return np.concatenate(parts)
  longest = max(part.shape[1] for part in parts)
  return np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]), (0, 0)),
                                constant_values=np.nan) for part in parts])


def matrix(array: np.ndarray, where: str) -> np.ndarray:
  """A view as f64 [N, D], NaN where missing; ValueErrors begin with `where`."""
  array = np.asarray(array)
  if array.dtype.kind not in 'biuf':
    raise ValueError(f'{where}: not real numbers but {array.dtype}')
  if array.ndim not in (1, 2):
    raise ValueError(f'{where}: shape {array.shape} is not [samples, features]; average or flatten '
                     'sequences and images first')
  array = array.astype(np.float64) if array.ndim == 2 else array.astype(np.float64)[:, None]
  if not array.size:
    raise ValueError(f'{where}: empty, shape {array.shape}')
  bad = np.argwhere(np.isinf(array))
  if len(bad):
    i, j = bad[0]
    raise ValueError(f'{where}: {len(bad)} values not finite, first {array[i, j]} at row {i}, '
                     f'column {j} (from 0)')
  return array


def vector(array: np.ndarray, where: str) -> np.ndarray:
  """Labels as numbers or text [N], some perhaps missing; ValueErrors begin with `where`."""
  array = np.asarray(array)
  if array.ndim == 2 and 1 in array.shape:
    array = array.ravel()
  if array.ndim != 1:
    raise ValueError(f'{where}: shape {array.shape} is not one value a sample')
  if not len(array):
    raise ValueError(f'{where}: empty, shape {array.shape}')
  if array.dtype.kind == 'S':
    array = np.char.decode(array, 'utf-8', 'replace')
  if array.dtype.kind not in 'biufU':
    raise ValueError(f'{where}: neither numbers nor text but {array.dtype}')
  array = np.char.strip(array) if array.dtype.kind == 'U' else array
  return array.astype(np.int64) if array.dtype.kind == 'b' else array


# -- labels ----------------------------------------------------------------------------------------


def _check_classes(label: Label, train: np.ndarray, test: np.ndarray, where: str) -> None:
  """Every class of the test rows must occur in training."""
  unseen = np.setdiff1d(label.values[test], label.values[train])
  if label.classes and len(unseen):
    raise ValueError(f'{where}: class {label.classes[unseen[0]]!r} is in test but never in train')


def _units(label: Label, train: np.ndarray, where: str) -> tuple[float, float]:
  """Median and mean absolute deviation of the training labels; 0 and 1 for classes."""
  if label.classes:
    return 0.0, 1.0
  y = label.values[train]
  center = float(np.median(y))
  scale = float(np.abs(y - center).mean())
  if not (0 < scale < math.inf):
    raise ValueError(f'{where}: no spread in training: deviation {scale} about {center}')
  return center, scale


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


def _remarks(x: np.ndarray, train: np.ndarray, y: np.ndarray, where: str) -> list[str]:
  """Notes on constant columns, and on columns that are the label: an easy slip with csv files."""
  notes = []
  constant = np.ptp(x[train], axis=0) == 0
  if constant.any():
    notes.append(f'{where}: {constant.sum()} of {len(constant)} columns constant in training, '
                 'set to 0')
  same = np.flatnonzero((x == y[:, None]).all(axis=0)) if y.dtype.kind != 'U' else ()
  return notes + [f'warning: {where}: column {j} (from 0) equals the label' for j in same]


def _split_note(label: Label, train: np.ndarray, test: np.ndarray, n_train: int | None,
                seed: int) -> str:
  made = ('given' if n_train is not None else
          f'made here ({"stratified" if label.classes else "random"}, seed {seed})')
  missing = len(label.classes) - len(np.unique(label.values[test])) if label.classes else 0
  return (f'split {made}: {len(train)} train, {len(test)} test'
          + (f'; {missing} classes not in test' if missing else ''))


def _group_note(name: str, train: np.ndarray, test: np.ndarray) -> str:
  both = len(np.intersect1d(train, test))
  return (f'group {name!r}: {len(np.unique(train))} ids in train, {len(np.unique(test))} in test'
          + (f'; warning: {both} on both sides of the given split' if both else ''))


def _fingerprint(fields: dict[str, np.ndarray]) -> str:
  """sha256 of names, shapes, types and bytes of all arrays."""
  digest = hashlib.sha256()
  for name, array in sorted(fields.items()):
    digest.update(f'{name} {array.dtype.str} {array.shape};'.encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
