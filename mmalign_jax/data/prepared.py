"""`Pairs` made ready for training: split, labels set aside to choose settings by, components.

What a training may see is decided here once: the test rows, never; the validation rows, only to
choose settings, and their labels are counted; of the other rows all modalities, and the labels that
the study's budget allows.
"""

import dataclasses
import hashlib
from typing import Any

import jax
import numpy as np

from mmalign_jax.data import components as reductions
from mmalign_jax.data.components import View
from mmalign_jax.data.files import labels, rows, splits
from mmalign_jax.data.files.labels import Label
from mmalign_jax.data.pair_source import PairTables
from mmalign_jax.data.pairs import NO_CLASS, Pairs

TEST_FRACTION = 0.25    # where no split is given
MOST_COMPONENTS = 100   # of a modality
VALIDATION = 10         # labels a class (in all, for a regression) to choose settings by


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
  """Rows on which an encoder is judged: x [M, C] f32 or Frames, y [M], fold [M] i32, unit [M]: rows
  of one unit (a group, or a recording in several pairs) are one observation."""
  x: View
  y: np.ndarray
  fold: np.ndarray
  unit: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
  """Principal components of every side, or its sequences, and which rows are for what.

  x: of every side [N, C] f32, or Frames, training rows, 0 where it is missing; present: of every
  side [N] bool. y: [N] i32 with NO_CLASS, or f32 with NaN, where there is no label. spread: of
  every side [C], root mean square of a column of x if only so many were kept; 1 of sequences.
  validation, test: of every side. unseen: of every side [U, C], test rows that have all sides, with
  unseen_y [U], unseen_fold [U] i32 from 0 on, folds without such rows left out, and unseen_unit
  [U], of which rows of one are one observation. n_folds: of the test rows.
  """
  names: tuple[str, ...]
  x: tuple[View, ...]
  present: tuple[np.ndarray, ...]
  y: np.ndarray
  spread: tuple[np.ndarray, ...]
  validation: tuple[Judged, ...]
  test: tuple[Judged, ...]
  unseen: tuple[View, ...]
  unseen_y: np.ndarray
  unseen_fold: np.ndarray
  unseen_unit: np.ndarray
  classes: tuple[str, ...]
  n_folds: int
  notes: tuple[str, ...]
  fingerprint: str

  @property
  def labelled(self) -> np.ndarray:
    """[N] bool."""
    return self.y != NO_CLASS if self.classes else ~np.isnan(self.y)

  @property
  def task(self) -> str:
    return 'cross_entropy' if self.classes else 'l1'


def prepare(pairs: Pairs, *, components: int = MOST_COMPONENTS, n_validation: int = VALIDATION,
            test_fraction: float = TEST_FRACTION, split_seed: int = 0) -> Prepared:
  """Splits, sets validation labels aside, and takes principal components of the training rows.

  Test rows are drawn from the labelled ones, stratified; a group is on one side only. Validation
  rows have labels, `n_validation` a class where the class has three times as many, and whole
  groups; where the data come with validation rows, they are those that have a label. Rows without
  a label are for training, but those of a group to test on or to choose settings by. Components are
  those of all training rows that have the modality, its columns standardised before; in units of
  one common scale, so that noise is not blown up to the size of what matters. Of a modality that no
  training row has they are those of the validation rows. Sequences keep their features,
  standardised.

  Args:
    components: kept of every side at most.
    n_validation: labels a class, or in all for a regression; 0 sets none aside.
    test_fraction: of the labelled rows, where no split is given.
    split_seed: of both splits.

  Raises:
    ValueError: classes too small to be split, a class to test on that is never in training, a
      column without a number in training, or nothing left to train on.
  """
  usable = np.logical_or.reduce(pairs.present)
  parts = divide(pairs, n_validation=n_validation, test_fraction=test_fraction,
                 split_seed=split_seed)
  train, chosen, test = parts.train, parts.validation, parts.test
  center, scale = (0.0, 1.0) if pairs.classes else labels.units(
      pairs.y[train[pairs.labelled[train]]], f'{pairs.where}: y')
  y = pairs.y if pairs.classes else ((pairs.y - center) / scale).astype(np.float32)
  codes = None if pairs.group is None else pairs.group[test]
  fold = np.zeros(len(usable), np.int32)
  fold[test] = splits.test_folds(len(test), codes, split_seed)
  made, found = _components(pairs, train, chosen, components)
  unit = np.arange(len(usable)) if pairs.group is None else pairs.group
  judged = lambda of: tuple(
      Judged(take(z, of[has[of]]), y[of[has[of]]], fold[of[has[of]]], unit[of[has[of]]])
      for (z, _), has in zip(made, pairs.present))
  unseen = test[pairs.complete[test]]
  fields: dict[str, Any] = dict(
      x=tuple(take(z, train) for z, _ in made), present=tuple(has[train] for has in pairs.present),
      y=y[train], spread=tuple(spread for _, spread in made), validation=judged(chosen),
      test=judged(test), unseen=tuple(take(z, unseen) for z, _ in made))
  # not in the fingerprint: labels, folds and units of `unseen` are among those of `test`
  unseen_fold = np.unique(fold[unseen], return_inverse=True)[1].astype(np.int32)
  return Prepared(
      pairs.names, **fields, unseen_y=y[unseen], unseen_fold=unseen_fold,
      unseen_unit=unit[unseen], classes=pairs.classes, n_folds=int(fold.max()) + 1,
      notes=(*pairs.notes, *parts.notes, *found, _note(pairs, train, chosen, test, made)),
      fingerprint=_fingerprint(fields))


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
  """Numbers of the samples that are for training, of those whose labels choose settings, and of
  those to test on; notes for the user."""
  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray
  notes: tuple[str, ...] = ()


def divide(pairs: Pairs, *, n_validation: int = VALIDATION, test_fraction: float = TEST_FRACTION,
           split_seed: int = 0) -> Rows:
  """Which rows are for what; arguments and errors as of `prepare`."""
  known, test = _split(pairs, test_fraction, split_seed)
  label = Label(pairs.task, pairs.y, pairs.classes, ())
  splits.check_classes(label, known, test, f'{pairs.where}: y')
  train, chosen = _set_aside(pairs, known, n_validation, split_seed)
  alone, said = _alone(pairs, chosen, test)
  train = np.sort(np.concatenate([train, alone]))
  if pairs.group is not None:
    said += (splits.group_note(
        pairs.group_name, pairs.group[np.concatenate([known, alone])], pairs.group[test]),)
  return Rows(train, chosen, test, said)


def tables(data: Prepared) -> PairTables:
  """The constants of a sweep; rows without a label have 0 there."""
  judged = lambda of: tuple((one.x, one.y, one.fold) for one in of)
  return PairTables(
      data.x, data.present, np.where(data.labelled, data.y, 0).astype(data.y.dtype), data.labelled,
      data.spread, judged(data.validation), judged(data.test), data.unseen, data.unseen_y,
      data.unseen_fold, data.n_folds, int(data.unseen_fold.max(initial=0)) + 1,
      len(data.classes) or 1)


def take(view: View, at: np.ndarray) -> View:
  """Rows of a view."""
  return jax.tree.map(lambda v: v[at], view)


# -- rows ------------------------------------------------------------------------------------------


def _given(pairs: Pairs) -> np.ndarray:
  """[N] bool: the test and validation rows of a given split."""
  given = np.zeros(len(pairs.y), bool) if pairs.test is None else pairs.test
  return given if pairs.validation is None else given | pairs.validation


def _split(pairs: Pairs, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Labelled rows to train and to test on, as numbers of samples."""
  known = np.flatnonzero(pairs.labelled)
  if pairs.test is not None:
    train, test = known[~pairs.test[known]], known[pairs.test[known]]
  else:
    codes = None if pairs.group is None else np.unique(
        pairs.group[known], return_inverse=True)[1]
    train, test = (known[part] for part in splits.split(
        pairs.y[known], pairs.classes, codes, fraction, seed))
  if not len(train) or not len(test):
    raise ValueError(f'{pairs.where}: {len(train)} labelled rows to train on and {len(test)} to '
                     'test on; both are needed')
  return train, test


def _set_aside(pairs: Pairs, train: np.ndarray, n_validation: int,
               seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Rows that stay to train on, and those whose labels choose settings: all given ones."""
  if pairs.validation is not None:
    held = pairs.validation[train]
    if held.all() or not held.any():
      raise ValueError(f'{pairs.where}: {(~held).sum()} labelled rows to train on and {held.sum()} '
                       'to choose settings by; both are needed')
    return np.random.default_rng([seed, 2]).permutation(train[~held]), train[held]
  if not n_validation:
    return train, train[:0]
  g = np.random.default_rng([seed, 2])
  train = g.permutation(train)
  held = np.ones(len(train), bool)
  if pairs.group is not None:  # whole groups: a third of them
    ids = g.permutation(np.unique(pairs.group[train]))
    held = np.isin(pairs.group[train], ids[:max(1, len(ids) // 3)])
  label = pairs.y[train] if pairs.classes else np.zeros(len(train), int)
  chosen = np.zeros(len(train), bool)
  for c in np.unique(label):
    of_class = np.flatnonzero(label == c)
    among = of_class[held[of_class]][:min(n_validation, len(of_class) // 3)]
    chosen[among] = True
  if not chosen.any():
    raise ValueError(f'{pairs.where}: no class has the three labelled training rows of which one '
                     'could choose settings')
  stay = ~chosen if pairs.group is None else ~held
  return train[stay], train[chosen]


def _alone(pairs: Pairs, chosen: np.ndarray,
           test: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
  """Rows without a label that train, and a note of those that do not, being of a group to test on
  or to choose settings by."""
  usable = np.logical_or.reduce(pairs.present) & ~pairs.labelled & ~_given(pairs)
  if pairs.group is None:
    return np.flatnonzero(usable), ()
  held = usable & np.isin(pairs.group, pairs.group[np.concatenate([chosen, test])])
  said = (f'{held.sum()} rows without a label are not used: others of their group '
          f'({pairs.group_name}) are to test on or to choose settings by')
  return np.flatnonzero(usable & ~held), (said,) if held.any() else ()


def _components(pairs: Pairs, train: np.ndarray, chosen: np.ndarray,
                components: int) -> tuple[list[tuple[View, np.ndarray]], list[str]]:
  """Of every modality its components of all samples with their standard deviations; and notes."""
  made, notes = [], []
  for view, has, name in zip(pairs.views, pairs.present, pairs.names):
    where, among = f'{pairs.where}: {name!r}', train
    if not has[train].any():
      among = chosen
      notes.append(f'no training row has {name!r}: its encoder learns nothing; its components are '
                   'those of the validation rows')
    if not has[among].any():
      raise ValueError(f'{where}: no row to train on or to choose settings by has it')
    known = among[has[among]]
    notes += rows.constant_note(view[known], where) if view.ndim == 2 else []
    found = reductions.fit(view, has, known, components, where)
    made.append((reductions.apply(found, view, has, where), found.spread))
  return made, notes


# -- words -----------------------------------------------------------------------------------------


def _note(pairs: Pairs, train: np.ndarray, chosen: np.ndarray, test: np.ndarray, made) -> str:
  labelled = int(pairs.labelled[train].sum())
  kept = ', '.join(
      f'{spread.size} of {view.shape[1]} of {name!r}' if view.ndim == 2 else
      f'none of the sequences {name!r} of up to {view.shape[1]} steps' for (_, spread), view, name
      in zip(made, pairs.views, pairs.names))
  how = 'given' if pairs.test is not None else 'made here'
  return (f'split {how}: {len(train)} to train on, {labelled} of them labelled; {len(chosen)} '
          f'labels to choose settings by; {len(test)} to test on. Principal components: {kept}')


def _fingerprint(fields: dict) -> str:
  """sha256 of names, shapes, types and bytes of all arrays."""
  digest = hashlib.sha256()
  for name, value in sorted(fields.items()):
    parts = [vars(one) if isinstance(one, Judged) else one for one in value] if isinstance(
        value, tuple) else value
    for array in jax.tree.leaves(parts):
      digest.update(f'{name} {array.dtype.str} {array.shape};'.encode())
      digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
