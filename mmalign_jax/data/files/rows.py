"""Rows of several sides: joined by ids, with gaps, repeated, in groups. Pure functions.

A side is a list of layers [N, D]; row i of all sides is the same sample.
"""

from collections.abc import Sequence

import numpy as np

from mmalign_jax.data.files import delimited

_SHARE = 0.05   # repeated rows from which a remark is made
_SHOWN = 3      # ids in a message

Layers = Sequence[np.ndarray]


def as_ids(values: np.ndarray, where: str) -> np.ndarray:
  """Ids [N] as text: text exactly as written, whole numbers without a point.

  Raises:
    ValueError: not one a sample, missing, or neither text nor whole numbers.
  """
  values = np.asarray(values)
  if values.ndim == 2 and 1 in values.shape:
    values = values.ravel()
  if values.ndim != 1:
    raise ValueError(f'{where}: shape {values.shape} is not one value a sample')
  if values.dtype.kind == 'S':
    values = np.char.decode(values, 'utf-8', 'replace')
  if values.dtype.kind not in 'biufU':
    raise ValueError(f'{where}: neither text nor whole numbers but {values.dtype}')
  if values.dtype.kind == 'f':
    if not (np.isfinite(values) & (values == np.round(values))).all():
      raise ValueError(f'{where}: ids are text or whole numbers, not {values.dtype} with fractions '
                       'or gaps')
    values = np.array([str(int(value)) for value in values.tolist()], np.str_)
  values = values.astype(np.str_) if values.dtype.kind != 'U' else np.char.strip(values)
  gone = np.flatnonzero([delimited.is_missing(value) for value in values.tolist()])
  if len(gone):
    raise ValueError(f'{where}: {len(gone)} missing, first at row {gone[0]} (from 0)')
  return values


def codes(values: np.ndarray) -> np.ndarray:
  """[N] i64 in 0..G-1 of ids [N], in the order of their text."""
  return np.unique(values, return_inverse=True)[1].astype(np.int64)


def joined(ids: dict[str, np.ndarray], what: str) -> tuple[dict[str, np.ndarray], str]:
  """Rows of each side [M] such that all have the same ids, in the order of the first; a note.

  Args:
    ids: text [N] of each side, N its own, as `as_ids` gives them.
    what: what a message calls the ids.

  Raises:
    ValueError: an id that occurs twice in one side, or fewer than two that all share.
  """
  at = {}
  for side, values in ids.items():
    unique, first, counts = np.unique(values, return_index=True, return_counts=True)
    if (counts > 1).any():
      twice = unique[counts > 1]
      raise ValueError(f'{what}: {side} has {len(twice)} ids more than once, first '
                       f'{twice[0].item()!r} ({counts[counts > 1][0]} times); an id must be that '
                       'of one row')
    at[side] = dict(zip(unique.tolist(), first.tolist()))
  first, *others = ids
  common = [value for value in ids[first].tolist() if all(value in at[side] for side in others)]
  if len(common) < 2:
    seen = '; '.join(f'{side} has {", ".join(map(repr, values[:_SHOWN].tolist()))}, ...'
                     for side, values in ids.items())
    raise ValueError(f'{what}: {len(common)} ids are in all of {", ".join(ids)}; {seen} (compared '
                     'as text, as written)')
  rows = {side: np.array([at[side][value] for value in common]) for side in ids}
  left = [f'{len(values) - len(common)} only in {side}' if len(ids) == 2 else
          f'{len(values) - len(common)} of {side} not in all'
          for side, values in ids.items() if len(values) > len(common)]
  return rows, f'joined by {what}: {len(common)} rows matched' + ''.join(f', {s}' for s in left)


def order_differs(one: np.ndarray, other: np.ndarray) -> bool:
  """Whether two sides name the same rows (most of them at least) in another order."""
  if len(one) != len(other) or (one == other).all():
    return False
  shared = len(np.intersect1d(one, other))
  return 2 * shared > len(np.unique(one)) and len(np.unique(one)) == len(one)


# -- gaps ------------------------------------------------------------------------------------------


def with_gaps(layers: Layers) -> np.ndarray:
  """[N] bool: rows with a missing number in some layer."""
  return np.logical_or.reduce([np.isnan(z).any(axis=1) if z.dtype.kind == 'f' else
                               np.zeros(len(z), bool) for z in layers])


def all_zero(layers: Layers) -> np.ndarray:
  """[N] bool: rows all of whose features are 0 in every layer; none where there is one feature."""
  if max(z.shape[1] for z in layers) < 2:
    return np.zeros(len(layers[0]), bool)
  return ~np.logical_or.reduce([(z != 0).any(axis=1) for z in layers])


def first_gap(layers: Layers) -> tuple[int, int, int]:
  """How many numbers are missing, and row and column of the first."""
  gaps = [np.argwhere(np.isnan(z)) for z in layers if z.dtype.kind == 'f']
  first = next(at for at in gaps if len(at))[0]
  return sum(map(len, gaps)), int(first[0]), int(first[1])


def filled(z: np.ndarray, gone: np.ndarray, known: np.ndarray, where: str) -> np.ndarray:
  """A layer [N, D] with the mean of its column where a number is missing or the row is `gone`.

  Args:
    z: numbers, NaN where missing.
    gone: [N] bool, rows that are missing as a whole.
    known: [N] bool, rows whose values make the means (those to train on).
    where: what an error message begins with.

  Raises:
    ValueError: a column without any value.
  """
  gaps = np.isnan(z) | gone[:, None] if z.dtype.kind == 'f' else np.broadcast_to(
      gone[:, None], z.shape)
  if not gaps.any():
    return z
  wide = z.dtype if z.dtype == np.float32 else np.float64
  return np.where(gaps, means(z, ~gaps & known[:, None], where), z).astype(wide)


def means(z: np.ndarray, use: np.ndarray, where: str) -> np.ndarray:
  """Means [D] f64 of the columns of z [N, D] over the numbers that `use` [N, D] names.

  Raises:
    ValueError: a column without any.
  """
  counts = use.sum(axis=0)
  if not counts.all():
    raise ValueError(f'{where}: column {counts.argmin()} (from 0) has no value to take the mean of')
  return np.sum(z, axis=0, where=use, dtype=np.float64) / counts


# -- repeats ---------------------------------------------------------------------------------------


def repeated(layers: Layers) -> float:
  """The share of rows, not all zero, that equal an earlier one in every layer; 0 of one feature."""
  if max(z.shape[1] for z in layers) < 2:
    return 0.0
  some = ~all_zero(layers)  # those are for `gaps`
  rows = zip(*(map(bytes, np.ascontiguousarray(z[some])) for z in layers))
  return (some.sum() - len(set(map(hash, rows)))) / len(some)


def repeats_note(side: str, layers: Layers, options: str) -> list[str]:
  """A remark on repeated rows, where there are many of them."""
  share = repeated(layers)
  return [f'{share:.0%} of the rows of {side} repeat an earlier row exactly: are they samples that '
          f'belong together, or partners of one item? {options}'] if share > _SHARE else []


# -- slips -----------------------------------------------------------------------------------------


def constant_note(z: np.ndarray, where: str) -> list[str]:
  """A remark on columns of the training rows [N, D] that hold one value."""
  constant = np.ptp(z, axis=0) == 0
  return [f'{where}: {constant.sum()} of {len(constant)} columns constant in training, set to 0'
          ] if constant.any() else []


def label_note(z: np.ndarray, y: np.ndarray, where: str) -> list[str]:
  """A remark on columns [N, D] that are the label [N]: an easy slip with tables."""
  same = np.flatnonzero((z == y[:, None]).all(axis=0)) if y.dtype.kind != 'U' else ()
  return [f'warning: {where}: column {j} (from 0) equals the label' for j in same]
