"""Nearest neighbours where several samples are of one item, as the captions of one image.

Samples of one item are not each other's neighbours, and an item counts once: the neighbours of a
sample are the k nearest *items* beside its own, an item as near as the nearest of its samples.
Distances are those of float64; what differs by no more than their rounding ties, and ties go to the
lower index.
"""

import functools

import jax
import jax.numpy as jnp

from mmalign_jax.similarity import exact
from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.types import Array


def search(z: Array, items: Array, k: int, metric: str) -> tuple[Array, Array]:
  """For every row of z [N, D] the nearest samples of the k nearest other items, codes [N].

  Returns:
    lists [k, N] i32 and how near they are, [k, N] of the type of z, as `neighbors.search`.
  """
  with jax.enable_x64(True):
    return _search(z, items, k, metric)


@functools.partial(jax.jit, static_argnums=(2, 3))  # see `blocks`
def _search(z: Array, items: Array, k: int, metric: str) -> tuple[Array, Array]:
  p, scale = exact.points(z, metric)
  squares = jnp.sum(p * p, axis=1)
  size = jnp.sqrt(squares * squares.max())  # [N], of products
  def block(rows, index):
    near, error = exact.nearness_to_all(rows, p, metric, index)  # [B, N]
    def step(near, _):
      best = near.max(axis=1, keepdims=True)
      slack = exact.slack(best, metric, size[index][:, None], p.shape[1]) + error
      tied = near >= best - slack
      place = jax.lax.argmax(tied, 1, jnp.int32)  # the first of them
      taken = items[place][:, None] == items[None]
      return jnp.where(taken, -jnp.inf, near), (place, best[:, 0])
    near = jnp.where(items[index][:, None] == items[None], -jnp.inf, near)
    lists, values = jax.lax.scan(step, near, length=k)[1]
    return lists.T, values.T
  lists, near = row_blocks(block, p, entries=1 << 20)
  near = near + 1 if metric == 'cosine' else near * scale**2
  return lists.T, near.T.astype(z.dtype)


def firsts(items: Array) -> Array:
  """[N] i32: the first sample of every sample's item, codes [N] in 0..N-1."""
  place = jnp.arange(items.shape[0], dtype=jnp.int32)
  return jnp.full_like(place, items.shape[0]).at[items].min(place)[items]
