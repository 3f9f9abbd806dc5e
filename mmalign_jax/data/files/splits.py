"""Train and test rows of one sample, and folds of the test rows."""

import fractions
import warnings

import numpy as np

from mmalign_jax.data.files.labels import Label

MAX_FOLDS = 32


def split(y: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, fraction: float,
          seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Rows to train and to test on, in random order: stratified by class, no group on both sides.

  Args:
    y: [N] codes of the classes in 0..C-1, or numbers.
    classes: C names; () for numbers, whose split is plainly random.
    groups: [N] codes in 0..G-1 of what must stay together, or None.
    fraction: part of the rows to test on, in (0, 1); of the groups, it is met as nearly as whole
      groups (stratified: at most 32 folds of them) allow.
    seed: in 0..2**32-1.

  Raises:
    ValueError: a class or a sample too small to be split, or one group only.
  """
  n = len(y)
  n_test = min(max(round(fraction * n), 1), n - 1)
  if n < 2:
    raise ValueError(f'only {n} sample: nothing is left to test on')
  counts = np.bincount(y) if classes else np.array([n])
  if counts.min() < 2:
    raise ValueError(f'y: class {classes[counts.argmin()]!r} has {counts.min()} sample; a '
                     'stratified split needs 2')
  if groups is not None:
    return _group_split(y, classes, groups, fraction, seed)
  if classes and min(n_test, n - n_test) < len(counts):
    raise ValueError(f'test_fraction: {fraction} of {n} samples leaves {n_test} to test on and '
                     f'{n - n_test} to train on, fewer than {len(counts)} classes')
  from sklearn import model_selection  # slow to import, and seldom needed
  train, test = model_selection.train_test_split(
      np.arange(n), test_size=n_test, random_state=seed, stratify=y if classes else None)
  return np.asarray(train), np.asarray(test)


def _group_split(y: np.ndarray, classes: tuple[str, ...], groups: np.ndarray, fraction: float,
                 seed: int) -> tuple[np.ndarray, np.ndarray]:
  from sklearn import model_selection
  n_groups = int(groups.max()) + 1
  if n_groups < 2:
    raise ValueError('group: one id only; a split needs 2')
  if classes:
    n_folds, n_test = _fold_ratio(fraction, min(n_groups, int(np.bincount(y).max())))
    folds = model_selection.StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore', UserWarning)  # of classes rarer than folds: no obstacle
      parts = [test for _, test in folds.split(groups, y, groups)]
    test = np.concatenate(parts[:n_test])
  else:
    n_test = min(max(round(fraction * n_groups), 1), n_groups - 1)
    folds = model_selection.GroupShuffleSplit(1, test_size=n_test, random_state=seed)
    test = next(folds.split(groups, groups=groups))[1]
  order = np.random.default_rng([seed, 0]).permutation(len(groups))
  in_test = np.isin(order, test)
  return order[~in_test], order[in_test]


def _fold_ratio(fraction: float, most: int) -> tuple[int, int]:
  """(folds, test folds) with at most `most` folds, their ratio as near `fraction` as it gets."""
  ratio = fractions.Fraction(fraction).limit_denominator(min(most, MAX_FOLDS))
  if 0 < ratio < 1:
    return ratio.denominator, ratio.numerator
  return most, (1 if ratio == 0 else most - 1)


def test_folds(n: int, groups: np.ndarray | None, seed: int) -> np.ndarray:
  """Balanced random folds of n test rows, for a bootstrap over test samples.

  Args:
    n: number of rows.
    groups: [n] ids; rows of one stay in one fold, and folds hold equally many groups. Or None.
    seed: in 0..2**32-1.

  Returns:
    [n] i32 in 0..F-1, each of them used, F = min(32, rows or groups).
  """
  unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
  n_units = int(unit.max()) + 1
  fold = np.random.default_rng([seed, 1]).permutation(n_units) % min(MAX_FOLDS, n_units)
  return fold[unit].astype(np.int32)


def check_classes(label: Label, train: np.ndarray, test: np.ndarray, where: str) -> None:
  """Every class of the test rows must occur in training."""
  unseen = np.setdiff1d(label.values[test], label.values[train])
  if label.classes and len(unseen):
    raise ValueError(f'{where}: class {label.classes[unseen[0]]!r} is in test but never in train')


def group_note(name: str, train: np.ndarray, test: np.ndarray) -> str:
  """How many ids [n] there are to train and to test on, and whether some are in both."""
  both = len(np.intersect1d(train, test))
  return (f'group {name!r}: {len(np.unique(train))} ids in train, {len(np.unique(test))} in test'
          + (f'; warning: {both} on both sides of the given split' if both else ''))
