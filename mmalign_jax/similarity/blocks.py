"""A function of all pairs of samples, a block of rows at a time.

Loops of closures are compiled anew whenever they are called outside jit. What has any is therefore
jitted where it stands, so that a measure called twice by itself is compiled once; and within
`jax.enable_x64(True)` where it is in float64, since `vmap` of a program works outside of it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mmalign_jax.types import Array, PyTree

BLOCK_ENTRIES = 1 << 24  # of a block of rows x N: 64 MiB in float32


def row_blocks(function: Callable[..., PyTree], z: Array, *,
               entries: int | None = None) -> PyTree:
  """function(rows [B, D], index [B]) -> leaves [B, ...] over all rows of z [N, D], as [N, ...].

  B is such that B x N entries stay within `entries`, BLOCK_ENTRIES where that is None; the last
  block repeats earlier rows.
  """
  n = z.shape[0]
  size = max(1, min(n, (BLOCK_ENTRIES if entries is None else entries) // n))
  if size == n:
    return function(z, jnp.arange(n))
  count = -(-n // size)
  starts = jnp.minimum(jnp.arange(count) * size, n - size)
  def block(start):
    index = start + jnp.arange(size)
    return function(z[index], index)
  made = jax.lax.map(block, starts)
  last = n - (count - 1) * size  # rows of the last block that are new
  join = lambda leaf: jnp.concatenate(
      [leaf[:-1].reshape(-1, *leaf.shape[2:]), leaf[-1, size - last:]])
  return jax.tree.map(join, made)


def settled(function: Callable[[Array], tuple], leaves: tuple, needed: Array,
            size: int) -> tuple:
  """Leaves [N, ...] after function(index [B]) -> leaves [B, ...] of the rows that are `needed`.

  B is `size`, at most N, a block at a time; the last repeats rows that are not needed.
  """
  n = needed.shape[0]
  size = min(n, size)
  order = jnp.argsort(~needed, stable=True).astype(jnp.int32)  # those that are come first
  number = jnp.sum(needed)
  def block(state):
    start, leaves = state
    index = jax.lax.dynamic_slice(order, (jnp.minimum(start, n - size),), (size,))
    made = function(index)
    return start + size, tuple(leaf.at[index].set(one) for leaf, one in zip(leaves, made))
  loop = lambda leaves: jax.lax.while_loop(
      lambda state: state[0] < number, block, (jnp.zeros_like(number), leaves))[1]
  # what is the same in every block is made before the loop, also where there is none
  return jax.lax.cond(number > 0, loop, lambda leaves: leaves, leaves)
