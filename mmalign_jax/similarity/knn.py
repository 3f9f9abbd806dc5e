"""Measures that compare nearest neighbours: mutual, Jaccard, cycle, LCS and edit-distance kNN.

Samples are the last axis of every array, so that each step is one long vector operation. Where
several samples are of one item, the neighbours that are compared are items (`item_neighbors`).
"""

import jax
import jax.numpy as jnp

from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.neighbors import Neighbors, search
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array

LONG, FEW = 32, 4096  # neighbours from which, samples up to which a table is faster (measured)


@jax.jit
def matches(x: Neighbors, y: Neighbors) -> Array:
  """[k, N] bool: the neighbour in x's list is anywhere in y's list of the same sample."""
  k, n = x.lists.shape
  if k >= LONG and n <= FEW:  # look up in a table [N, N] of y's neighbours, instead of k k N pairs
    sample = jnp.arange(n)[None]
    table = jnp.zeros((n, n), bool).at[y.names, sample].set(True)
    return table[x.names, sample]
  names = y.names
  return jax.lax.map(lambda row: jnp.any(row[None] == names, axis=0), x.names)


def mutual(x: Neighbors, y: Neighbors) -> Array:
  """Mean of |A and B| / k."""
  return matches(y, x).mean(dtype=x.values.dtype)  # a null permutes y: the table of x is made once


def jaccard(x: Neighbors, y: Neighbors) -> Array:
  """Mean of |A and B| / |A or B|."""
  shared = matches(x, y).sum(axis=0)  # [N]
  return jnp.mean(shared / (2 * x.lists.shape[0] - shared), dtype=x.values.dtype)


@jax.jit
def cycle(x: Neighbors, y: Neighbors) -> Array:
  """Share of samples that one of y's neighbours leads back to, in x's lists."""
  own, names = x.own, x.names
  back = jax.lax.map(lambda row: jnp.any(names[:, row] == own[None], axis=0), y.lists)
  return jnp.any(back, axis=0).mean(dtype=x.values.dtype)


@jax.jit
def longest_common(x: Neighbors, y: Neighbors) -> Array:
  """Mean length of the longest common subsequence of the two ordered lists."""
  def row(last, one):  # last [k + 1, N]: lengths for the first rows of x and any part of y
    found = jnp.maximum(last[1:], last[:-1] + (one[None] == names))
    return _running(jnp.maximum, jnp.concatenate([last[:1], found])), None
  (k, n), names = x.lists.shape, y.names
  length, _ = jax.lax.scan(row, jnp.zeros((k + 1, n), jnp.int32), x.names)
  return length[-1].mean(dtype=x.values.dtype)


@jax.jit
def edit_similarity(x: Neighbors, y: Neighbors) -> Array:
  """1 - mean Levenshtein distance of the two ordered lists / k."""
  (k, n), names = x.lists.shape, y.names
  steps = jnp.arange(k + 1, dtype=jnp.int32)[:, None]
  def row(last, one):  # last [k + 1, N]: distances; an insertion costs one a step along y
    changed = jnp.minimum(last[1:] + 1, last[:-1] + (one[None] != names))
    column = jnp.concatenate([last[:1] + 1, changed])
    return steps + _running(jnp.minimum, column - steps), None
  start = jnp.broadcast_to(steps, (k + 1, n))
  distance, _ = jax.lax.scan(row, start, x.names)
  return 1 - distance[-1].mean(dtype=x.values.dtype) / k


def _running(best, rows: Array) -> Array:
  """Running maximum or minimum over the first axis; a loop, since cummax is quadratic on a CPU."""
  def step(last, row):
    last = best(last, row)
    return last, last
  return jax.lax.scan(step, rows[0], rows)[1]


@wide
def mutual_knn(x: Array, y: Array, *, k: int = 10, metric: str = 'cosine',
               items: Array | None = None) -> Array:
  """Mean share of the k nearest neighbours that x [N, D1] and y [N, D2] have in common: [].

  Huh et al. (2024), arXiv 2405.07987. Range 0..1, higher is more similar, 1 for equal sides, about
  k / (N - 1) by chance. Invariant to orthogonal maps and isotropic scaling of either side; with
  'cosine' to the length of every sample, with 'euclidean' to translation. Piecewise constant: its
  gradient is 0.

  Precision: neighbours are those of float64 distances of the given rows, whatever their type;
  distances within 1e-12 of each other tie.

  Args:
    x, y: features of the same samples.
    k: neighbours, in 1..N-1; the sample itself is none of them, ties go to the lower index.
    metric: 'cosine', 'inner_product' or 'euclidean'.
    items: codes [N]. Neighbours are then the k nearest items beside a sample's own, each as near as
      its nearest sample, and by chance about k / (number of items - 1) are in common.

  Raises:
    ValueError: k or metric out of range, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(mutual_knn(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.5]
  """
  x, y = paired(x, y)
  return mutual(*(search(z, k=k, metric=metric, items=items) for z in (x, y)))


@wide
def jaccard_knn(x: Array, y: Array, *, k: int = 10, metric: str = 'cosine',
                items: Array | None = None) -> Array:
  """Mean of |A and B| / |A or B| over the neighbour sets of x [N, D1] and y [N, D2]: [] in 0..1.

  Higher is more similar, 1 for equal sides. Arguments, invariances and errors as `mutual_knn`.

  Precision: as `mutual_knn`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(jaccard_knn(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.444]
  """
  x, y = paired(x, y)
  return jaccard(*(search(z, k=k, metric=metric, items=items) for z in (x, y)))


@wide
def cycle_knn(x: Array, y: Array, *, k: int = 10, metric: str = 'cosine',
              items: Array | None = None) -> Array:
  """Share of samples i with a neighbour j in y that has i as a neighbour in x: [] in 0..1.

  Higher is more similar. Not symmetric, and below 1 for equal sides where hubs leave a sample that
  none of its neighbours has. Arguments, invariances and errors as `mutual_knn`.

  Precision: as `mutual_knn`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(cycle_knn(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.5, 0.5, 0.833]
  """
  x, y = paired(x, y)
  return cycle(*(search(z, k=k, metric=metric, items=items) for z in (x, y)))


@wide
def lcs_knn(x: Array, y: Array, *, k: int = 10, metric: str = 'cosine',
            items: Array | None = None) -> Array:
  """Mean length of the longest common subsequence of the ordered neighbour lists: [] in 0..k.

  Higher is more similar, k for equal sides. Arguments, invariances and errors as `mutual_knn`.

  Precision: as `mutual_knn`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(lcs_knn(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [2.0, 2.0, 1.0]
  """
  x, y = paired(x, y)
  return longest_common(*(search(z, k=k, metric=metric, items=items) for z in (x, y)))


@wide
def edit_distance_knn(x: Array, y: Array, *, k: int = 10,
                      metric: str = 'cosine', items: Array | None = None) -> Array:
  """1 - mean Levenshtein distance of the ordered neighbour lists / k: [] in 0..1.

  A similarity: higher is more similar, 1 for equal sides. Arguments, invariances and errors as
  `mutual_knn`.

  Precision: as `mutual_knn`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(edit_distance_knn(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.333]
  """
  x, y = paired(x, y)
  return edit_similarity(*(search(z, k=k, metric=metric, items=items) for z in (x, y)))


def _entry(function, compare, meaning, range='0..1', **rest) -> Measure:
  return Measure(function, search, compare, meaning, range, ('orthogonal', 'scaling', 'rows'),
                 {'k': 10, 'metric': 'cosine'}, differentiable=False, items=True, **rest)


MEASURES = {
    'mutual_knn': _entry(mutual_knn, mutual, 'share of k neighbours in common'),
    'jaccard_knn': _entry(jaccard_knn, jaccard, 'neighbours in common / in either list'),
    'cycle_knn': _entry(cycle_knn, cycle, 'samples a neighbour in y leads back to in x',
                        symmetric=False),
    'lcs_knn': _entry(lcs_knn, longest_common,
                      'length of the common subsequence of ordered lists', '0..k',
                      best=lambda k, **_: float(k)),
    'edit_distance_knn': _entry(edit_distance_knn, edit_similarity,
                                '1 - edit distance of ordered lists / k'),
}
