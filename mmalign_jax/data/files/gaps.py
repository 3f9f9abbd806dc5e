"""Missing values: numbers that are NaN, rows that are all zero, and labels that are not there."""

from collections.abc import Mapping

import numpy as np

from mmalign_jax.data.files import labels, rows
from mmalign_jax.data.files.delimited import is_missing
from mmalign_jax.data.files.rows import Layers


def kept(sides: Mapping[str, Layers], missing: str, label: np.ndarray | None = None,
         label_is: str = 'y', dashes: str = '--',
         classes: int = 0) -> tuple[np.ndarray, list[str]]:
  """Rows [N] bool that stay, and notes.

  Args:
    sides: layers [N, D] by what an error message calls the side; NaN where missing.
    missing: 'refuse', 'drop' (a row leaves all sides) or 'mean' (all stay, see `filled`). A row
      whose features are all 0, among others that are not, counts as missing for the last two; the
      first says how many there are.
    label: [N] numbers or text, which no mean can stand for.
    label_is: what an error message calls it.
    dashes: before the name of the option.
    classes: how many there are; 0 where it is not said.

  Raises:
    ValueError: what is missing is to be refused, or fewer than two rows stay.
  """
  n = len(next(iter(sides.values()))[0])
  gone, notes = no_label(label, n, classes), []
  if label is not None and gone.any() and missing != 'drop':
    first = gone.argmax()
    raise ValueError(f'{label_is}: {gone.sum()} values missing or not finite, first '
                     f'{label[first].item()!r} at row {first} (from 0); {dashes}missing=drop '
                     'leaves these rows out')
  for side, layers in sides.items():
    gaps, zero = rows.with_gaps(layers), zeros(layers)
    if gaps.any() and missing == 'refuse':
      count, row, column = rows.first_gap(layers)
      raise ValueError(f'{side}: {count} values not finite, first nan at row {row}, column '
                       f'{column} (from 0); {dashes}missing=drop leaves out its {gaps.sum()} rows '
                       f'in all sides, {dashes}missing=mean puts the mean of the column')
    if zero.any() and missing == 'refuse':
      notes.append(f'{side}: {zero.sum()} of {n} rows are 0 in every feature: if they are missing '
                   f'samples, {dashes}missing=drop leaves them out')
    if (gaps | zero).any() and missing == 'mean':
      notes.append(f'{side}: {gaps.sum()} rows with missing numbers and {zero.sum()} of zeros '
                   'given the means of the columns')
    gone |= (gaps | zero) if missing == 'drop' else False
  if gone.any():
    if n - gone.sum() < 2:
      raise ValueError(f'{dashes}missing=drop leaves {n - gone.sum()} of {n} rows')
    notes.append(f'{dashes}missing=drop: {gone.sum()} of {n} rows left out in all sides')
  return ~gone, notes


def filled(layers: Layers, missing: str, where: str, known: np.ndarray | None = None) -> Layers:
  """Layers without gaps where missing='mean', as they are else.

  Args:
    layers: [N, D] each.
    missing: see `kept`.
    where: what an error message calls the side.
    known: [N] bool, rows whose values make the means (those to train on); None for all.
  """
  if missing != 'mean':
    return layers
  known = np.ones(len(layers[0]), bool) if known is None else known
  zero = zeros(layers)
  return tuple(rows.filled(z, zero, known, where) for z in layers)


def zeros(layers: Layers) -> np.ndarray:
  """[N] bool: rows that are all zero, among others that are not."""
  zero = rows.all_zero(layers)
  return zero & ~zero.all()


def no_label(label: np.ndarray | None, n: int, classes: int = 0) -> np.ndarray:
  """[N] bool: rows without a label; with -1 too, where so many `classes` leave none for it."""
  if label is None or label.ndim != 1:
    return np.zeros(n, bool)
  if label.dtype.kind == 'U':
    gone = np.array([is_missing(text.strip()) for text in label.tolist()], bool)
  else:
    gone = ~np.isfinite(label) if label.dtype.kind == 'f' else np.zeros(n, bool)
  if classes:
    gone[~gone] = labels.unlabelled(label[~gone], classes)
  return gone


def of_steps(view: np.ndarray, missing: str, where: str = '',
             dashes: str = '') -> tuple[np.ndarray, np.ndarray, list[str]]:
  """Sequences [N, T, F], all NaN in a step that is none; which have a step [N] bool; notes.

  Args:
    view: a step without any number is none.
    missing: steps that lack some numbers are refused, are none ('drop'), or stay ('mean').
    where, dashes: how an error message begins, and the name of the option.
  """
  step = np.asarray(~np.isnan(view).all(axis=2))
  partly = step & np.isnan(view).any(axis=2)
  notes = []
  if partly.any() and missing == 'refuse':
    n, t = np.argwhere(partly)[0]
    raise ValueError(f'{where}{partly.sum()} steps with some numbers missing, first at sample {n}, '
                     f'step {t} (from 0); {dashes}missing=drop takes them for no steps, {dashes}'
                     'missing=mean puts the means of the features')
  if partly.any() and missing == 'mean':
    notes.append(f'{where}{partly.sum()} steps with missing numbers given the means of the '
                 'features in training')
    partly[:] = False
  step &= ~partly
  return np.where(step[:, :, None], view, np.nan), np.asarray(step.any(axis=1)), notes
