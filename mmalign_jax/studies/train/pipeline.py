"""Batches of pairs by grain: shuffled anew each epoch, this process's part, a state to resume from.

The global batches do not depend on how many processes there are: each takes its slice of them.
"""

from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np

from mmalign_jax.data.prepared import Prepared, take
from mmalign_jax.types import Batch

Pair = tuple[Batch, Batch | None]  # whose labels are learnt, and what is aligned where that differs


class Batches(Iterator[Pair]):
  """Endless batches, with the place in them as a state that JSON can hold.

  per_epoch: how many there are until every label has had its turn.
  """

  def __init__(self, labels: 'grain.DatasetIterator[Batch]', per_epoch: int,
               pairs: 'grain.DatasetIterator[Batch] | None' = None):
    self._labels, self.per_epoch, self._pairs = labels, per_epoch, pairs

  def __next__(self) -> Pair:
    return next(self._labels), None if self._pairs is None else next(self._pairs)

  def get_state(self) -> dict[str, Any]:
    state = self._labels.get_state()
    return state if self._pairs is None else {'labels': state, 'pairs': self._pairs.get_state()}

  def set_state(self, state: dict[str, Any]) -> None:
    if self._pairs is None:
      self._labels.set_state(state)
      return
    self._labels.set_state(state['labels'])
    self._pairs.set_state(state['pairs'])


def batches(data: Prepared, *, batch_size: int, seed: int, part: int = 0, parts: int = 1,
            drop_last: bool = True, labelled: np.ndarray | None = None, align_on: str = 'pairs',
            multiple: int = 1) -> Batches:
  """Batches of the training rows; where not all are labelled, of labels and of pairs apart.

  Args:
    data: the pairs.
    batch_size: of the global batch.
    seed: of the order.
    part, parts: which slice of each global batch is given, of how many.
    drop_last: leaves out the pairs that fill no batch at the end of an epoch; otherwise they come
      filled up with copies that are not `valid`.
    labelled: rows whose labels may be learnt; None for all that have one.
    align_on: 'pairs', or 'labelled': only the rows whose labels are learnt.
    multiple: of which the size of a batch is a multiple. Labels fewer than a batch make a smaller
      one, filled up to that.

  Returns:
    Batch of x (of every side [B, ...]), y [B], B = batch_size / parts; and one of pairs or None.
  """
  known = np.flatnonzero(data.labelled) if labelled is None else labelled
  n = len(data.y)
  of = lambda rows, size, drop, seed: _stream(data, rows, size, seed, part, parts, drop)
  size = min(batch_size, -(-len(known) // multiple) * multiple)
  drop = drop_last and size <= len(known)
  if len(known) == n:
    return Batches(of(known, batch_size, drop_last, seed), _count(n, batch_size, drop_last))
  labels, per_epoch = of(known, size, drop, seed), _count(len(known), size, drop)
  if align_on == 'labelled':
    return Batches(labels, per_epoch)
  return Batches(labels, per_epoch, of(np.arange(n), batch_size, drop_last, seed + 1))


def _count(n: int, batch_size: int, drop_last: bool) -> int:
  """Batches of an epoch of n rows, at least 1."""
  return max(n // batch_size if drop_last else -(-n // batch_size), 1)


def _stream(data: Prepared, rows: np.ndarray, batch_size: int, seed: int, part: int, parts: int,
            drop_last: bool) -> 'grain.DatasetIterator[Batch]':
  """Endless batches of `rows`, in a fresh order each epoch."""
  own = slice(part * (batch_size // parts), (part + 1) * (batch_size // parts))
  whole = all(has.all() for has in data.present)
  y = np.where(data.labelled, data.y, 0).astype(data.y.dtype)

  def batch(index: np.ndarray) -> Batch:
    valid = None if drop_last else (np.arange(batch_size) < len(index))[own]
    index = rows[np.resize(index, batch_size)[own]]
    present = None if whole else tuple(has[index] for has in data.present)
    return Batch(tuple(take(x, index) for x in data.x), y[index], valid, present=present)

  order = grain.MapDataset.range(len(rows)).seed(seed).shuffle()
  found = order.batch(batch_size, drop_remainder=drop_last).repeat(None).map(batch)
  return iter(found.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)))


def budget(data: Prepared, n_labelled: int, seed: int) -> np.ndarray:
  """Rows of `n_labelled` labels a class (in all, for a regression; 0: all that there are), drawn by
  the seed, so that a smaller budget is part of a larger one.

  Raises:
    ValueError: a class with fewer labels.
  """
  known = np.flatnonzero(data.labelled)
  if not n_labelled:
    return known
  shuffled = np.random.default_rng([seed, 3]).permutation(known)
  label = data.y[shuffled] if data.classes else np.zeros(len(shuffled), int)
  found = []
  for code, name in enumerate(data.classes or ('',)):
    of_class = shuffled[label == code]
    if len(of_class) < n_labelled:
      raise ValueError(f'n_labelled={n_labelled}: there are {len(of_class)} labels'
                       f'{f" of class {name!r}" if name else ""} to learn from')
    found.append(of_class[:n_labelled])
  return np.sort(np.concatenate(found))


def order_seed(seeds: tuple[int, ...]) -> int:
  """Seed of the order of an ensemble, which shares its batches: that of its first seed."""
  return int(np.random.default_rng([seeds[0], 1]).integers(2**31))


def own_part() -> tuple[int, int]:
  """(part, parts) of this process."""
  return jax.process_index(), jax.process_count()
