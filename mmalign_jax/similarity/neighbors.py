"""Nearest neighbours of one side: exact, symmetric, and one tile of products at a time.

By cosine, inner product or Euclidean distance; the sample itself is left out; ties go to the lower
index. Beyond WHOLE samples the products of all pairs are made in tiles of TILE x TILE, each once: a
tile serves its rows, and turned its columns. Memory: the features, O(k N) and a few tiles.
"""

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity.preprocess import center, normalize

METRICS = ('cosine', 'inner_product', 'euclidean')
WHOLE = 2048
TILE = 1024

Found = tuple[chex.Array, chex.Array]  # values and indices [..., k], best first


@struct.dataclass
class Neighbors:
  """lists [k, N] i32: the neighbours of every sample, nearest first; values [k, N]: how near, by
  the product, or -|a - b|^2 for 'euclidean'."""
  lists: chex.Array
  values: chex.Array

  def take(self, order: chex.Array) -> 'Neighbors':
    place = jnp.zeros_like(order).at[order].set(jnp.arange(order.shape[0], dtype=order.dtype))
    return self.replace(lists=place[self.lists[:, order]], values=self.values[:, order])


def search(z: chex.Array, *, k: int = 10, metric: str = 'cosine',
           with_self: bool = False) -> Neighbors:
  """The k nearest neighbours of every row of z [N, D].

  Raises:
    ValueError: k outside 1..N-1 (1..N with_self), or an unknown metric.
  """
  n = z.shape[0]
  if not 1 <= k < n + with_self:
    raise ValueError(f'k={k} neighbours need 1 <= k < N, and N={n}')
  if metric not in METRICS:
    raise ValueError(f'metric={metric!r} is unknown; known: {", ".join(METRICS)}')
  z = {'cosine': normalize, 'inner_product': lambda z: z, 'euclidean': center}[metric](z)
  squares = jnp.sum(z * z, axis=1) if metric == 'euclidean' else jnp.zeros(n, z.dtype)
  factor = 2 if metric == 'euclidean' else 1
  size = n if n <= WHOLE else TILE
  count = -(-n // size)
  filled = jnp.pad(z, ((0, count * size - n), (0, 0))).reshape(count, size, -1)
  squares = jnp.pad(squares, (0, count * size - n)).reshape(count, size)
  place = jnp.arange(count * size).reshape(count, size)

  def nearness(i, j):  # [size, size] of tile i and tile j, symmetric in them
    near = factor * jnp.dot(filled[i], filled[j].T, precision='highest')
    near = near - (squares[i][:, None] + squares[j][None])
    row, column = place[i][:, None], place[j][None]
    allowed = (row < n) & (column < n) & (with_self | (row != column))
    return jnp.where(allowed, near, -jnp.inf)

  values, lists = _tiled(nearness, count, size, k, z.dtype)
  return Neighbors(lists.reshape(-1, k)[:n].T, values.reshape(-1, k)[:n].T)


def _tiled(nearness, count: int, size: int, k: int, dtype) -> Found:
  """The k best of every row [count, size, k], from tiles (i, j), i <= j, in the order of
  columns."""
  if count == 1:
    return jax.lax.top_k(nearness(0, 0), k)
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
    tile = nearness(i, j)
    found = add(found, i, tile, j)
    return jax.lax.cond(i == j, lambda f: f, lambda f: add(f, j, tile.T, i), found), None
  start = (jnp.full((count, size, k), -jnp.inf, dtype), jnp.zeros((count, size, k), jnp.int32))
  pairs = np.stack(np.triu_indices(count), axis=1).astype(np.int32)
  return jax.lax.scan(step, start, pairs)[0]
