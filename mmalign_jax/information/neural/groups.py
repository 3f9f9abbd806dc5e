"""Samples that belong together, for BATCH: whole groups in the parts of its split and its null."""

from typing import NamedTuple

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.information.neural.training import BatchSpec

FOLDS = 5  # of like size: one to stop by, one to test on, the others to train
PARTS = ('train', 'stop by', 'test on')


class Parted(NamedTuple):
  """rows [M]: which samples, in the order of `Cuts`, at random within a part; labels [1 + P, M]: as
  they are, then whole groups exchanged within each part."""
  rows: np.ndarray
  labels: np.ndarray


def parted(y: np.ndarray, groups: np.ndarray, null: int, spec: BatchSpec,
           rng: np.random.Generator) -> Parted:
  """Samples in parts of whole groups, as many as `Cuts` takes, and their labels.

  Groups of a part whose labels are not constant within them are cut to like sizes where theirs
  differ (`grouped`). P is `null`, or all arrangements but the one at hand where these are fewer.

  Args:
    y: [N] classes; groups: [N] codes, as `grouped.checked` gives them.

  Raises:
    ValueError: too few groups, or too few samples where they are cut.
  """
  parts = _parts(y, groups, rng)
  _check(groups, parts)
  whole = grouped.constant(groups, y)
  used, kept, at, classes, count = [], [], [], [], 0
  for part in parts:
    own = np.unique(groups[part], return_inverse=True)[1]
    blocks = grouped.blocks(own, whole)
    kept.append(part[blocks.kept])
    used.append(part if whole else kept[-1])
    at.append(count + (own if whole else np.arange(len(blocks.kept))))
    classes += [rows + count for rows in blocks.classes]
    count += len(blocks.kept)
  joint = grouped.Blocks(np.concatenate(kept), tuple(classes))
  moved = y[joint.kept][joint.permuted(null, rng)]
  drawn = [rng.permutation(len(part))[:size] for part, size in zip(used, _sizes(used, spec))]
  rows = np.concatenate([part[some] for part, some in zip(used, drawn)])
  if len(rows) < spec.needed():
    raise ValueError(f'groups: {len(rows)} of n={len(y)} samples are left in parts of whole groups '
                     f'of like size; {spec.needed()} are needed')
  _check(groups, np.split(rows, np.cumsum([len(some) for some in drawn])[:-1]))
  positions = np.concatenate([own[some] for own, some in zip(at, drawn)])
  return Parted(rows, np.concatenate([y[rows][None], moved[:, positions]]))


def _parts(y: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
  """Samples to train on, to stop by and to test on; the latter are the smallest folds, so that the
  fewest are left out."""
  fold = grouped.folds(groups, y, FOLDS, rng)
  *train, stop, test = np.argsort(-np.bincount(fold), kind='stable')
  return [np.flatnonzero(np.isin(fold, folds)) for folds in (train, [stop], [test])]


def _sizes(parts: list[np.ndarray], spec: BatchSpec) -> tuple[int, int, int]:
  """How many samples of each part are used, such that `Cuts` cuts them there."""
  train, stop, test = map(len, parts)
  held = min(stop, test, train // 3) // spec.pairs * spec.pairs
  return min(train, 3 * held + 5 * spec.pairs - 1), held, held


def _check(groups: np.ndarray, parts: list[np.ndarray]) -> None:
  for name, part in zip(PARTS, parts):
    if (found := len(np.unique(groups[part]))) < 2:
      raise ValueError(f'groups: {found} of {int(groups.max()) + 1} are among samples to {name}, '
                       'and two are needed: ten groups of like size will do')
