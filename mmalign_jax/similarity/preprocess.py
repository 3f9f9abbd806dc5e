"""What is done to features before they are compared: pure functions of one side z [N, D]."""

import jax
import jax.numpy as jnp

from mmalign_jax.similarity.wide import kept_wide
from mmalign_jax.types import Array


@kept_wide
def center(z: Array) -> Array:
  """Columns of z [N, D] with mean 0; twice, since a mean far from 0 is rounded.

  Examples:
    >>> center(np.array([[0.0, 2.0], [4.0, 2.0]])).tolist()
    [[-2.0, 0.0], [2.0, 0.0]]
  """
  z = z - z.mean(axis=0, keepdims=True)
  return z - z.mean(axis=0, keepdims=True)


@kept_wide
def normalize(z: Array) -> Array:
  """Rows of z [N, D] with Euclidean norm 1; a row of zeros stays.

  Examples:
    >>> [round(float(v), 3) for v in normalize(np.array([[3.0, 4.0], [0.0, 2.0]]))[0]]
    [0.6, 0.8]
  """
  z = z / power(jnp.max(jnp.abs(z), axis=1, keepdims=True))  # squares stay in range
  square = jnp.sum(z * z, axis=1, keepdims=True)
  return z * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


@kept_wide
def standardize(z: Array) -> Array:
  """Columns of z [N, D] with mean 0 and standard deviation 1 (over N); constant columns are 0.

  Examples:
    >>> standardize(np.array([[0.0, 2.0], [4.0, 6.0]])).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
  """
  z = without_constants(z)
  z = z / power(jnp.max(jnp.abs(z), axis=0, keepdims=True))  # squares stay in range
  square = jnp.mean(z * z, axis=0, keepdims=True)
  return z * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


@kept_wide
def clip(z: Array, *, quantile: float = 0.95, by_sample: bool = True) -> Array:
  """Entries of z [N, D] held within +- a quantile of the absolute values.

  The bound is the mean over samples of each sample's quantile (as Huh et al. 2024 do before
  neighbours are sought), or with by_sample=False the quantile of all entries. One bound for all.

  Raises:
    ValueError: where quantile is not in 0..1.

  Examples:
    >>> float(clip(np.arange(101.0)[:, None], quantile=0.95, by_sample=False).max())
    95.0
  """
  if not 0 <= quantile <= 1:
    raise ValueError(f'quantile={quantile} is outside 0..1')
  size = jnp.abs(z)
  bound = (jnp.quantile(size, quantile, axis=1).mean() if by_sample
           else jnp.quantile(size, quantile))
  return jnp.clip(z, -bound, bound)


def without_constants(z: Array) -> Array:
  """`center`, and what rounding leaves of a constant column is exactly 0."""
  rounding = 64 * jnp.finfo(z.dtype).eps * jnp.abs(z.mean(axis=0, keepdims=True))
  z = center(z)
  return jnp.where(jnp.max(jnp.abs(z), axis=0, keepdims=True) > rounding, z, 0)


def root(square: Array) -> Array:
  """Square roots of any shape, 0 with gradient 0 where `square` is not above 0."""
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def scaled(z: Array) -> tuple[Array, Array]:
  """z over the power of two [] at or below its largest absolute entry, and that power: squares of
  squares stay in range, and no digit is lost."""
  largest = power(jnp.max(jnp.abs(z)))
  return z / largest, largest


def power(value: Array) -> Array:
  """The power of two at or below `value` [...], 1 for 0; a constant to derivatives."""
  value = jax.lax.stop_gradient(value)
  _, exponent = jnp.frexp(jnp.where(value > 0, value, 1))
  return jnp.ldexp(jnp.ones_like(value), exponent - 1)
