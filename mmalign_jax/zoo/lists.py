"""Mutual kNN of all pairs of layers: how many neighbours two lists share, as a sparse product.

A layer is the set of its (sample, neighbour) pairs, k N of N^2: a row of zeros and ones. The
measure of two layers is the product of their rows over k N.
"""

from collections.abc import Iterable
import dataclasses

import jax
import numpy as np
from scipy import sparse

from mmalign_jax.similarity import Measure, knn
from mmalign_jax.similarity.neighbors import search
from mmalign_jax.zoo import nearest
from mmalign_jax.zoo.grams import padded

MOST = 16384  # samples, above which N^2 columns are too many


def fits(measure: Measure) -> bool:
  """Whether a measure is mutual kNN."""
  return getattr(measure.compare, '__wrapped__', None) is knn.mutual


@dataclasses.dataclass(frozen=True, eq=False)
class Right:
  """lists [L, k, N]: the neighbours of every sample; first [N]: the first sample of its item."""
  lists: np.ndarray
  first: np.ndarray


class Lists:
  """The engine of mutual kNN (`stacks.Engine`)."""

  def __init__(self, measure: Measure, settings: dict):
    own = {**measure.settings, **settings}
    self.k, self._metric = own['k'], own['metric']
    self._search = jax.jit(lambda z, items=None: search(
        z, k=own['k'], metric=own['metric'], items=items))

  def bytes_of(self, n: int) -> int:
    return 16 * self.k * n

  def layer(self, z: np.ndarray, items: np.ndarray | None) -> Right:
    if items is None and self._metric == 'cosine':
      return Right(nearest.search(z, self.k), np.arange(len(z), dtype=np.int32))
    found = (self._search(padded(z)) if items is None else self._search(padded(z), items))
    first = np.arange(len(z), dtype=np.int32) if found.first is None else np.asarray(found.first)
    return Right(np.asarray(found.lists), first.astype(np.int32))

  def left(self, layers: Iterable[Right], count: int) -> sparse.csr_array:
    """[N^2, L]."""
    return sparse.csr_array(_rows(self.right(layers, count), None).T)

  def right(self, layers: Iterable[Right], count: int) -> Right:
    layers = list(layers)
    return Right(np.stack([one.lists for one in layers]), layers[0].first)

  def compare(self, left: sparse.csr_array, right: Right,
              order: np.ndarray | None) -> np.ndarray:
    n = right.lists.shape[2]
    shared = np.asarray(sparse.csr_array(_rows(right, order) @ left).todense())
    return (shared.T / np.float32(self.k * n)).astype(np.float32)


def _rows(side: Right, order: np.ndarray | None) -> sparse.csr_array:
  """[L, N^2] of the samples of a side taken in `order` (`neighbors.Neighbors.take`)."""
  layers, k, n = side.lists.shape
  if order is None:
    names = side.first[side.lists]
  else:
    place = np.empty(n, np.int32)
    place[order] = np.arange(n, dtype=np.int32)
    moved = side.first[order]
    least = np.full(n, n, np.int32)
    np.minimum.at(least, moved, np.arange(n, dtype=np.int32))
    names = least[moved][place][side.lists[:, :, order]]
  columns = (names + n * np.arange(n, dtype=np.int32)).reshape(layers, -1)
  starts = k * n * np.arange(layers + 1)  # i64: beyond 2^31 in a large block
  ones = np.ones(columns.size, np.float32)
  return sparse.csr_array((ones, columns.ravel(), starts), shape=(layers, n * n))
