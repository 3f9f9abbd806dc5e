"""What the estimator is given, judged: views, names of their columns, labels."""

import math
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import _get_feature_names, check_array, column_or_1d

from mmalign_jax.settings import shown

UNLABELLED = -1  # of classes that are numbers, as in sklearn.semi_supervised; NaN of a regression


def column(y: Any) -> np.ndarray:
  """y [N] as scikit-learn takes it, but that what is missing stays so: of a list with text, NaN
  would become the text 'nan', and pandas' NA is neither equal to itself nor not.

  Raises:
    ValueError: not one value a row.
  """
  if isinstance(y, np.ndarray) and y.dtype.kind != 'O':
    return column_or_1d(y, warn=True)
  values = np.asarray(y, object)
  flat = column_or_1d(values, dtype=object, warn=True) if values.ndim else column_or_1d(y)
  missing = np.array([_is_missing(value) for value in flat.tolist()], bool)
  if not missing.any():
    return column_or_1d(y, warn=True)
  known = np.array(flat[~missing].tolist())
  if known.dtype.kind == 'f' and known.ndim == 1:  # numbers, of which NaN is one
    return np.array([math.nan if gone else value for gone, value in zip(missing, flat)], float)
  return np.array([None if gone else value for gone, value in zip(missing, flat)], object)


def _is_missing(value: Any) -> bool:
  """None, NaN, NaT and pandas' NA."""
  if value is None or type(value).__name__ in ('NAType', 'NaTType'):
    return True
  return isinstance(value, (float, np.floating)) and math.isnan(value)


def labelled(y: np.ndarray) -> np.ndarray:
  """Which rows have a class [N] bool; those of numbers that are -1 or NaN, and None, have none."""
  if y.dtype.kind == 'O':
    number = lambda v: isinstance(v, (int, np.integer, float, np.floating)) and v == UNLABELLED
    return np.array([not (_is_missing(v) or number(v)) for v in y.tolist()], bool)
  known = ~np.isnan(y) if y.dtype.kind == 'f' else np.ones(len(y), bool)
  return known & (y != UNLABELLED) if y.dtype.kind in 'if' else known


def known(y: np.ndarray, labelled: np.ndarray) -> np.ndarray:
  """Those of y that are labelled; numbers that stood among what was missing are numbers again."""
  given = y[labelled]
  if given.dtype.kind == 'O' and not all(isinstance(v, str) for v in given.tolist()):
    return np.array(given.tolist())
  return given


def as_numbers(array: Any, name: str, **options: Any) -> np.ndarray:
  """f64, NaN where missing."""
  allowed: dict[str, Any] = {'dtype': np.float64, 'ensure_all_finite': 'allow-nan'}
  return check_array(array, input_name=name, **allowed, **options)


def names_of(view: Any) -> tuple[str, ...]:
  """Of the columns of a table, () of an array."""
  found = _get_feature_names(view)
  return () if found is None else tuple(map(str, found))


def checked_rows(view: np.ndarray, name: str) -> np.ndarray:
  """A view whose rows are whole, or all NaN."""
  gaps = np.isnan(view)
  partly = gaps.any(axis=1) & ~gaps.all(axis=1)
  if partly.any():
    raise ValueError(f'view {name!r}: {partly.sum()} rows with some numbers NaN, first row '
                     f'{partly.argmax()} (from 0); impute them, or make the row all NaN: it then '
                     'lacks the view')
  return view


def cuts(split: Any, width: int) -> list[int]:
  """Where columns 0..width-1 are cut into views.

  Examples:
    >>> cuts(None, 5), cuts(2, 5), cuts((1, 3), 5), cuts(None, 1)
    ([3], [2], [1, 3], [])
  """
  if split is None:
    return [(width + 1) // 2] if width > 1 else []
  at = [split] if isinstance(split, Integral) else list(split)
  inside = all(isinstance(c, Integral) and 0 < int(c) < width for c in at)
  if not inside or sorted(set(at)) != at:
    raise ValueError(f'split={shown(split)}: columns to cut at must rise within 1..{width - 1}')
  return [int(c) for c in at]
