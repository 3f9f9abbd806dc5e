"""The k nearest by cosine of many models' layers: the lists of `similarity.neighbors`, in NumPy.

Thousands of layers of many widths would each need a compiled program, or wait for one. Here the
cosines of all pairs are float64 products; where two of them are so close that rounding, or a tie,
could decide who is the last neighbour, that sample's are taken again from differences, with the
ties of `similarity.exact`. Neighbours are a set here: their order is not that of nearness.
"""

import numpy as np

from mmalign_jax.similarity import exact

_CLEAR = 1e-11  # cosines that differ by more are in order, whatever the rounding


def search(z: np.ndarray, k: int) -> np.ndarray:
  """[k, N] i32 of z [N, D], for 1 <= k < N: the sample itself is none, ties go to the lower index.

  Examples:
    >>> z = np.arange(12.0).reshape(6, 2) ** 2
    >>> np.sort(search(z, 2), axis=0)[:, 5].tolist()
    [3, 4]
  """
  p, some = _points(z)
  near = p @ p.T
  np.fill_diagonal(near, -np.inf)
  n = len(z)
  if k == n - 1:
    every = np.argsort(near, axis=1)[:, 1:]
    return np.ascontiguousarray(every.T, np.int32)
  kept = np.argpartition(-near, k, axis=1)[:, :k + 1]  # the last is the next beyond
  values = np.take_along_axis(near, kept, axis=1)
  lists, last = kept[:, :k], values[:, :k].min(axis=1)
  for i in np.flatnonzero(last - values[:, k] <= _CLEAR):
    lists[i] = _exactly(p, some, int(i), k)
  return np.ascontiguousarray(lists.T, np.int32)


def _points(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rows [N, D] f64 of norm 1, or of zeros, and which are not."""
  z = np.asarray(z, np.float64)
  largest = np.abs(z).max()
  if not 2.0**-400 < largest < 2.0**400:
    z = z / (largest or 1)
  square = np.einsum('ij,ij->i', z, z)[:, None]
  return z / np.sqrt(np.where(square > 0, square, 1)), square[:, 0] > 0


def _exactly(p: np.ndarray, some: np.ndarray, i: int, k: int) -> np.ndarray:
  """The k nearest of sample i by differences: what follows each other within rounding is equal."""
  difference = p - p[i]
  near = np.where(some & some[i], -np.einsum('ij,ij->i', difference, difference) / 2, -1.0)
  near[i] = -np.inf
  order = np.argsort(-near, kind='stable')[:-1]
  far = -near[order]
  slack = 2 * exact.TIE * far + 2 * exact.UNIT * np.sqrt(far) + exact.UNIT**2
  group = np.cumsum(np.diff(far, prepend=far[:1]) > slack)
  return order[np.lexsort((order, group))][:k]
