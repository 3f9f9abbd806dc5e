"""Nearest neighbours of one side: exact, symmetric, and one tile of products at a time.

By cosine, inner product or Euclidean distance; the sample itself is left out; ties go to the lower
index. The products of all pairs are made in tiles of at most TILE x TILE, each once: a tile serves
its rows, and turned its columns. Memory: the features, O(k N) and a few tiles of 16 MiB.
"""

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity import item_neighbors
from mmalign_jax.similarity.preprocess import center, normalize

METRICS = ('cosine', 'inner_product', 'euclidean')
TILE = 2048

Found = tuple[chex.Array, chex.Array]  # values and indices [..., k], best first


@struct.dataclass
class Neighbors:
  """lists [k, N] i32: the neighbours of every sample, nearest first; values [k, N]: how near, by
  the product, or -|a - b|^2 for 'euclidean'. first [N] i32: the first sample of every sample's
  item, None where each is an item of its own; see `item_neighbors`."""
  lists: chex.Array
  values: chex.Array
  first: chex.Array | None = None

  @property
  def names(self) -> chex.Array:
    """[k, N] i32: which neighbours these are, equal for samples of one item."""
    return self.lists if self.first is None else self.first[self.lists]

  @property
  def own(self) -> chex.Array:
    """[N] i32: the name of every sample itself."""
    n = self.lists.shape[1]
    return jnp.arange(n, dtype=self.lists.dtype) if self.first is None else self.first

  def take(self, order: chex.Array) -> 'Neighbors':
    every = jnp.arange(order.shape[0], dtype=order.dtype)
    place = jnp.zeros_like(order).at[order].set(every)
    first = self.first
    if first is not None:
      first = jnp.full_like(first, len(first)).at[first[order]].min(
          every.astype(first.dtype))[first[order]]
    return Neighbors(place[self.lists[:, order]], self.values[:, order], first)


def search(z: chex.Array, *, k: int = 10, metric: str = 'cosine',
           with_self: bool = False, items: chex.Array | None = None) -> Neighbors:
  """The k nearest neighbours of every row of z [N, D].

  Raises:
    ValueError: k outside 1..N-1 (1..N with_self), or not below the number of items, codes [N];
      an unknown metric.
  """
  n = z.shape[0]
  if not 1 <= k < n + with_self:
    raise ValueError(f'k={k} neighbours need 1 <= k < N, and N={n}')
  if metric not in METRICS:
    raise ValueError(f'metric={metric!r} is unknown; known: {", ".join(METRICS)}')
  if items is not None:
    if not isinstance(items, jax.core.Tracer) and k >= (count := len(np.unique(items))):
      raise ValueError(f'k={k} neighbours, each of an item of its own, need k < the number of '
                       f'items, {count}')
    items = jnp.unique(jnp.asarray(items), return_inverse=True, size=n)[1].astype(jnp.int32)
    return Neighbors(*item_neighbors.search(z, items, k, metric), item_neighbors.firsts(items))
  z = {'cosine': normalize, 'inner_product': lambda z: z, 'euclidean': center}[metric](z)
  squares = jnp.sum(z * z, axis=1) if metric == 'euclidean' else jnp.zeros(n, z.dtype)
  factor = 2 if metric == 'euclidean' else 1
  count = -(-n // TILE)
  size = -(-n // count)
  filled = jnp.pad(z, ((0, count * size - n), (0, 0))).reshape(count, size, -1)
  squares = jnp.pad(squares, (0, count * size - n)).reshape(count, size)
  place = jnp.arange(count * size).reshape(count, size)

  def nearness(i, j, product):  # [size, size] of strips i and j, symmetric in them
    near = factor * product - (squares[i][:, None] + squares[j][None])
    row, column = place[i][:, None], place[j][None]
    allowed = (row < n) & (column < n) & (with_self | (row != column))
    return jnp.where(allowed, near, -jnp.inf)

  values, lists = _tiled(filled, nearness, k)
  return Neighbors(lists.reshape(-1, k)[:n].T, values.reshape(-1, k)[:n].T)


def _tiled(strips: chex.Array, nearness, k: int) -> Found:
  """The k best of every row [count, size, k], from tiles (i, j), i <= j, by rising columns."""
  count, size, _ = strips.shape
  if count == 1:
    return jax.lax.top_k(nearness(0, 0, _square(strips[0])), k)
  kept = min(k, size)
  def add(found: Found, row, tile, first) -> Found:
    values, index = jax.lax.top_k(tile, kept)
    index = index + first * size
    old = jax.tree.map(lambda leaf: leaf[row], found)
    values, index = (jnp.concatenate(both, axis=1) for both in zip(old, (values, index)))
    values, best = jax.lax.top_k(values, k)  # earlier columns come first, and win a tie
    index = jnp.take_along_axis(index, best, axis=1)
    return tuple(leaf.at[row].set(new) for leaf, new in zip(found, (values, index)))
  def step(found, pair):
    i, j = pair
    def diagonal(found):
      return add(found, i, nearness(i, i, _square(strips[i])), i)
    def other(found):
      tile = nearness(i, j, jnp.dot(strips[i], strips[j].T, precision='highest'))
      return add(add(found, i, tile, j), j, tile.T, i)
    return jax.lax.cond(i == j, diagonal, other, found), None
  start = (jnp.full((count, size, k), -jnp.inf, strips.dtype),
           jnp.zeros((count, size, k), jnp.int32))
  pairs = np.stack(np.triu_indices(count), axis=1).astype(np.int32)
  return jax.lax.scan(step, start, pairs)[0]


def _square(z: chex.Array) -> chex.Array:
  """z z^T [N, N]; of a large one three quarters are computed, and one is turned."""
  dot = lambda a, b: jnp.dot(a, b.T, precision='highest')
  half = z.shape[0] // 2
  if half < 512:
    return dot(z, z)
  a, b = z[:half], z[half:]
  across = dot(a, b)
  return jnp.concatenate([jnp.concatenate([dot(a, a), across], axis=1),
                          jnp.concatenate([across.T, dot(b, b)], axis=1)])
