"""Augmented copies of vectors, for losses that keep what a side says of itself: noise and masks."""

import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import own_columns
from mmalign_jax.types import Array, Key, Numeric, PyTree


def copy(x: PyTree, key: Key, *, noise: Numeric, masked: Numeric, components: Numeric = 0,
         axis_name: str | None = None) -> PyTree:
  """x with Gaussian noise, and some of its numbers set to 0, the mean of what is standardised.

  Every sample has a key of its own, by its place in the batch of all devices, so that a batch has
  the same copy however it is spread.

  Args:
    x: array [B, ...] of numbers that are not whole, or `Frames`, whose mask stays.
    key: of the copy.
    noise: [] standard deviation, in units of x. masked: [] probability, in 0..1.
    components: [] columns of vectors [B, C] that are kept, 0 for all. The others are 0 and stay so;
      what is kept is scaled as in `unit`, and its noise with it.
    axis_name: of the mapped axis over which the batch is spread.

  Returns:
    as x.

  Raises:
    ValueError: x is of whole numbers, as ids and bytes are.

  Examples:
    >>> copy(np.ones((2, 3), np.float32), jax.random.key(0), noise=0.0, masked=0.0).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
  """
  def one(leaf: Array) -> Array:
    if leaf.dtype == bool:
      return leaf
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
      raise ValueError(f'inputs of {leaf.dtype} have no noisy copies, which this loss asks for')
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(
        own_columns(len(leaf), axis_name))
    shape = leaf.shape[1:]
    drawn = jax.vmap(lambda k: jax.random.normal(k, shape, leaf.dtype))(keys[:, 0])
    stays = jax.vmap(lambda k: jax.random.bernoulli(k, 1 - masked, shape))(keys[:, 1])
    own = noise * unit(shape[0], components)[None] if len(shape) == 1 else noise
    return jnp.where(stays, leaf + own * drawn, 0)
  return jax.tree.map(one, x)


def unit(columns: int, components: Numeric) -> Array:
  """Root mean square [C] of every column where all C together have 1, but only some are kept."""
  n = kept(columns, components)
  return jnp.where(jnp.arange(columns) < n, jnp.sqrt(columns / n), 0)


def kept(columns: int, components: Numeric) -> Array:
  """How many columns [] i32 of C are kept where so many are asked for; 0 for all."""
  asked = jnp.asarray(components).astype(jnp.int32)
  return jnp.where(asked > 0, jnp.minimum(asked, columns), columns)
