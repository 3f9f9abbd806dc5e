"""Labels: which text is a number, and whether a label is classes or a quantity.

A column of text is numbers only if each of its labels is the spelling of its number: what Python
writes for it as a whole number or a float (7, -1, 0.5, 1e-05), or NumPy's savetxt. So 1_0, 0x10,
007, nan and, in one column, 1.10 beside 1.1 stay text, and all labels of the column with them.
Where such text takes more values than classes may, yet is all written as numbers, no two of them
equal (0.50, 1.25, ...), it is numbers after all.

Text is classes. Whole numbers are classes where they take at most SHARE of n values (100 classes
of 16 samples are; up to ten may be half of n), and a quantity (task l1) else; other numbers are a
quantity. `task` and `classes` decide against these rules.

-1 beside classes from 0 or 1 may be one of them, or the mark of a row without a label that
scikit-learn uses: refused, unless `classes` says how many there are.
"""

import dataclasses
import math

import numpy as np

from mmalign_jax.data.files import delimited

SHARE = 1 / 3      # distinct whole numbers, of the samples, that are still classes
_SURE = 1 / 20     # ... without a remark
_FEW = 20          # values that are few in any case
_SHOWN = 10        # classes listed in a note


@dataclasses.dataclass(frozen=True)
class Label:
  """Labels of all rows: values [N] i32 codes of `classes`, or f64 for a quantity."""
  task: str
  values: np.ndarray
  classes: tuple[str, ...]
  notes: tuple[str, ...]


def read_label(y: np.ndarray, task: str, where: str, classes: int = 0, *,
               ask: bool = True) -> Label:
  """Codes in sorted order of the classes (of the numbers, where all are), or plain numbers.

  Args:
    y: [N] numbers or text, none of it missing.
    task: 'cross_entropy', 'l1', or 'auto' for the rules above.
    where: what an error message begins with.
    classes: how many there are, which settles that they are classes; 0 where it is not said.
    ask: whether -1 beside classes from 0 or 1 is asked about where neither task nor classes are
      said; a class otherwise.

  Raises:
    ValueError: text with task 'l1', one class only, more than `classes`, or -1 of which it is not
      clear whether it is a class.
  """
  y = to_numbers(y)
  if task == 'l1' and y.dtype.kind == 'U':
    y = _written(y, where)
  asked = task != 'auto' or classes > 0
  task = 'cross_entropy' if classes or task == 'auto' and is_classes(y) else task
  if task != 'cross_entropy':
    return Label('l1', y.astype(np.float64), (), (_quantity_note(y, asked),))
  values, codes = np.unique(y, return_inverse=True)
  if ask and not asked and (n_others := _beside_mark(values)):
    raise ValueError(
        f'{where}: -1 in {(y == -1).sum()} of {len(y)} rows, beside {n_others} classes from '
        f'{values[1]:g}: a class, or no label? --classes={n_others + 1} counts it as one, '
        f'--classes={n_others} does not; or write nan for no label, a name for a class')
  names = tuple(_class_name(value) for value in values.tolist())
  if len(names) == 1:
    raise ValueError(f'{where}: one class only, {names[0]!r}')
  if classes and len(names) > classes:
    raise ValueError(f'{where}: {len(names)} classes, and --classes={classes}')
  return Label(task, codes.astype(np.int32), names,
               tuple(_class_notes(values, names, len(y), asked, classes)))


def to_numbers(values: np.ndarray) -> np.ndarray:
  """Text [N] as f64 where it is numbers by the rule above; anything else as it is."""
  if values.dtype.kind != 'U' or not len(values):
    return values
  unique, inverse = np.unique(values, return_inverse=True)
  numbers = _parsed(unique)
  if numbers is None or not np.isfinite(numbers).all():
    return values
  spelt = all(text in _spellings(number) for text, number in zip(unique.tolist(), numbers.tolist()))
  many = len(unique) > max(SHARE * len(values), _FEW) and len(np.unique(numbers)) == len(unique)
  padded = any(text.lstrip('+-')[:1] == '0' and text.lstrip('+-')[1:2].isdigit()
               for text in unique.tolist())
  return numbers[inverse] if spelt or many and not padded else values


def unlabelled(y: np.ndarray, classes: int) -> np.ndarray:
  """[N] bool: labels [N] that are -1, the mark of none, beside classes from 0 or 1; no row where
  there are so many `classes` that -1 is one of them: as many as values, and none above it."""
  numbers = to_numbers(y)
  values = np.unique(numbers)
  if not _beside_mark(values) or classes == len(values) > values[-1] - values[1] + 1:
    return np.zeros(len(y), bool)
  return np.asarray(numbers == -1)


def is_classes(values: np.ndarray) -> bool:
  """Whether labels [N], as `to_numbers` gives them, are classes where nothing else is said."""
  if values.dtype.kind in 'Ub':
    return True
  whole = values.dtype.kind in 'iu' or bool(
      np.isfinite(values).all() and (values == np.round(values)).all())
  return whole and len(np.unique(values)) <= max(
      SHARE * len(values), min(len(values) / 2, 10), 1)


def units(y: np.ndarray, where: str) -> tuple[float, float]:
  """Median of the training labels [N] f64 of a quantity, and mean absolute deviation from it.

  Raises:
    ValueError: a deviation that is 0 or not finite.
  """
  center = float(np.median(y))
  scale = float(np.abs(y - center).mean())
  if not 0 < scale < math.inf:
    raise ValueError(f'{where}: no spread in training: deviation {scale} about {center}')
  return center, scale


def _beside_mark(values: np.ndarray) -> int:
  """How many classes that begin with 0 or 1 stand beside -1 among sorted values [K]; 0 where -1 is
  no mark."""
  marked = values.dtype.kind in 'if' and len(values) > 2 and values[0] == -1 and (
      values[1] in (0, 1) and (values == np.round(values)).all())
  return len(values) - 1 if marked else 0


def _parsed(unique: np.ndarray) -> np.ndarray | None:
  if not all(map(delimited.is_number, unique.tolist())):
    return None
  return np.array([float(text) for text in unique.tolist()])


def _spellings(number: float) -> tuple[str, ...]:
  """How a number is written by Python and NumPy."""
  whole = (str(int(number)),) if number.is_integer() else ()
  return (*whole, repr(number), f'{number:.18e}')


def _written(y: np.ndarray, where: str) -> np.ndarray:
  """Text [N] as numbers, for a label that is said to be one."""
  bad = next((text for text in y.tolist() if not delimited.is_number(text)), None)
  if bad is not None:
    raise ValueError(f"{where}: task 'l1' needs numbers, not {bad!r}")
  return y.astype(np.float64)


# -- notes -----------------------------------------------------------------------------------------


def _class_name(value) -> str:
  return str(int(value)) if isinstance(value, (bool, float)) and value == int(value) else str(value)


def _quantity_note(y: np.ndarray, asked: bool) -> str:
  n_values = len(np.unique(y))
  whole = y.dtype.kind in 'iu' or (y == np.round(y)).all()
  unclear = not asked and (whole or n_values <= _FEW)
  return 'task l1: numeric label, regression' + (
      f'; it takes {n_values} {"whole " if whole else ""}values in {len(y)} samples: if they are '
      'classes, --task=cross_entropy' if unclear else '')


def _class_notes(values: np.ndarray, names: tuple[str, ...], n: int, asked: bool, classes: int):
  unclear = not asked and values.dtype.kind != 'U' and len(names) > max(_SURE * n, _FEW)
  numbers = None if asked or values.dtype.kind != 'U' else _parsed(values)
  spelt = numbers is not None and (numbers != np.round(numbers)).any()  # 0.20, of %.2f
  yield f'task cross_entropy: {len(names)} classes' + (
      f': numbers such as {names[0]!r} are text as they are spelt' if spelt else '') + (
          '; if the label is a quantity, --task=l1' if unclear or spelt else '')
  if classes and _beside_mark(values):
    yield f'-1 counts as one of --classes={classes}; --classes={classes - 1} takes it for no label'
  if classes and len(names) < classes:
    yield f'{classes - len(names)} of {classes} classes have no sample'
  if not asked and values.dtype.kind == 'U' and len(names) > max(SHARE * n, _FEW):
    yield f'{len(names)} different labels in {n} samples: ids? --y names another column'
  if names != tuple(map(str, range(len(names)))):
    text = values.dtype.kind == 'U'
    pairs = [f'{name!r} -> {code}' if text else f'{name} -> {code}'
             for code, name in enumerate(names)]
    more = ', ...' if len(pairs) > _SHOWN else ''
    yield f'{"label strings" if text else "labels"} mapped: {", ".join(pairs[:_SHOWN])}{more}'
