"""What every step of the advice works on: the pairs, a folder, a seed, the clock."""

from collections.abc import Callable
import dataclasses
import hashlib
import pathlib
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from mmalign_jax.data.pairs import NO_CLASS, Pairs
from mmalign_jax.information.quantise import standardised
from mmalign_jax.studies.advise.clock import Clock

LEAST_OF_CLASS = 2  # labels below which a class cannot be judged


@dataclasses.dataclass(eq=False)
class Work:
  """pairs; unit [N]: rows of one are never on two sides; copies [N]: codes of equal rows; folder:
  of results; workers: threads; progress: is told what is going on; results: of steps, by name;
  partial: that of a search that is under way."""
  pairs: Pairs
  unit: np.ndarray
  copies: np.ndarray
  folder: pathlib.Path
  seed: int
  clock: Clock
  workers: int
  progress: Callable[[str], None]
  fingerprint: str
  results: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
  partial: dict[str, Any] = dataclasses.field(default_factory=dict)

  def sample(self, most: int, labelled: bool = True):
    """x1, x2, y, group of at most so many rows that have the first two sides (and a label)."""
    rows = np.logical_and(self.pairs.present[0], self.pairs.present[1])
    rows = np.flatnonzero(rows & self.pairs.labelled if labelled else rows)
    if len(rows) > most:
      rows = np.sort(np.random.default_rng([self.seed, 7]).permutation(rows)[:most])
    x1, x2 = (filled(view[rows]) for view in self.pairs.views[:2])
    return x1, x2, self.pairs.y[rows], self.groups(rows)

  def groups(self, rows: np.ndarray | None = None) -> np.ndarray | None:
    """Codes of the units of rows, of all by default; None where each is by itself."""
    own = self.unit if rows is None else self.unit[rows]
    single = self.pairs.group is None and len(np.unique(own)) == len(own)
    return None if single else np.unique(own, return_inverse=True)[1]

  def some(self, most: int) -> np.ndarray:
    """Numbers of at most so many rows, in whole units, those with a label first; more only where no
    single unit is as small."""
    if len(self.unit) <= most:
      return np.arange(len(self.unit))
    size, labels = np.bincount(self.unit), np.bincount(self.unit, self.pairs.labelled)
    order = np.random.default_rng([self.seed, 8]).permutation(len(size))
    order = order[np.argsort(labels[order] == 0, kind='stable')]
    kept, room = [], most
    for unit in order:
      if size[unit] <= room:
        kept.append(unit)
        room -= size[unit]
    return np.flatnonzero(np.isin(self.unit, kept or order[:1]))


def filled(view: np.ndarray) -> np.ndarray:
  """Single missing numbers as the mean of their column, columns of deviation 1."""
  return standardised(np.where(np.isnan(view), np.nanmean(view, axis=0), view))


def usable(pairs: Pairs) -> tuple[Pairs, list[str]]:
  """The pairs with labels of classes that can be judged, no other classes, and notes.

  Raises:
    ValueError: sequences, other than 2 or 3 sides, or no two classes with labels enough.
  """
  for name, view in zip(pairs.names, pairs.views):
    if view.ndim != 2:
      raise ValueError(f'{pairs.where}: {name!r} is of sequences; --pool says how a row becomes '
                       'one vector')
  if not pairs.classes:
    if pairs.labelled.sum() < 4:
      raise ValueError(f'{pairs.where}: y has {pairs.labelled.sum()} labels; four are needed')
    return pairs, []
  counts = np.bincount(pairs.y[pairs.labelled], minlength=len(pairs.classes))
  enough = counts >= LEAST_OF_CLASS
  few, kept = np.flatnonzero((counts > 0) & ~enough), np.flatnonzero(enough)
  notes = [f'{len(few)} classes with a single label, such as {pairs.classes[few[0]]!r}: aligned, '
           'not learnt from nor tested on'] if len(few) else []
  if len(kept) < 2:
    raise ValueError(f'{pairs.where}: y has {len(kept)} classes of two labels and more; two are '
                     'needed')
  labelled = pairs.labelled & np.isin(pairs.y, kept)
  y = np.where(labelled, np.searchsorted(kept, pairs.y), NO_CLASS).astype(pairs.y.dtype)
  return dataclasses.replace(
      pairs, y=y, labelled=labelled, classes=tuple(pairs.classes[c] for c in kept),
      notes=(*pairs.notes, *notes)), notes


def copies_of(pairs: Pairs) -> np.ndarray:
  """[N] codes, the same for rows that are equal in all views; one without any view is its own."""
  digest = [hashlib.sha256(b''.join(np.ascontiguousarray(view[i]).tobytes()
                                    for view in pairs.views)).digest()
            for i in range(len(pairs.y))]
  for i in np.flatnonzero(~np.logical_or.reduce(pairs.present)):
    digest[i] = hashlib.sha256(f'none {i}'.encode()).digest()
  return np.unique(np.array(digest), return_inverse=True)[1]


def units_of(pairs: Pairs, copies: np.ndarray) -> np.ndarray:
  """[N] codes of what must be on one side: copies, and groups, those of copies together."""
  if pairs.group is None:
    return copies
  group = np.unique(pairs.group, return_inverse=True)[1]
  n = int(group.max()) + 1  # nodes of groups, and after them those of copies; a row is an edge
  size = n + int(copies.max()) + 1
  edges = sparse.coo_array((np.ones(len(group), bool), (group, n + copies)), (size, size))
  return csgraph.connected_components(edges, directed=False)[1][group]


def fingerprint(pairs: Pairs) -> str:
  """sha256 of everything that decides results."""
  digest = hashlib.sha256(repr((pairs.names, pairs.classes)).encode())
  for array in (*pairs.views, *pairs.present, pairs.y, pairs.labelled, pairs.group):
    if array is not None:
      digest.update(f'{array.dtype.str}{array.shape}'.encode())
      digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()
