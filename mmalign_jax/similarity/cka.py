"""Centred kernel alignment (Kornblith et al. 2019), linear kernel, in feature space."""

import chex
import jax
import jax.numpy as jnp


def linear_cka(x: chex.Array, y: chex.Array) -> chex.Array:
  """Biased linear CKA of x [N, D1] and y [N, D2]: [] in 0..1, 1 for equal up to rotation and scale.

  Grows with D / N for unrelated features: prefer the debiased form. 0 where a side is constant.
  """
  x, y = _centered(x, y)
  return _ratio(_cross(x, y), _cross(x, x), _cross(y, y))


def debiased_linear_cka(x: chex.Array, y: chex.Array) -> chex.Array:
  """Linear CKA from the unbiased HSIC of Song et al. (2012): [] about 0 for unrelated features.

  At most 1, slightly negative by chance; N of at least 4. Invariant to rotations, isotropic
  scaling and permutations of the samples. 0 where a side is (numerically) constant.
  """
  x, y = _centered(x, y)
  return _ratio(_unbiased(x, y), _unbiased(x, x), _unbiased(y, y))


def _centered(x, y):
  chex.assert_rank([x, y], 2)
  chex.assert_equal_shape_prefix([x, y], 1)
  return _center(x), _center(y)


def _center(x):
  """Centred columns over the largest entry, so that squares of squares stay in float32 range.

  What rounding leaves of a constant column is 0.
  """
  mean = x.mean(axis=0, keepdims=True)
  x = x - mean
  rounding = 64 * jnp.finfo(x.dtype).eps * jnp.abs(mean)
  x = jnp.where(jnp.max(jnp.abs(x), axis=0, keepdims=True) > rounding, x, 0)
  largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
  return x / jnp.where(largest > 0, largest, 1)


def _cross(x, y):
  """|| x^T y ||_F^2 = <K, L> of the centred Gram matrices, without forming them."""
  return jnp.sum(jnp.square(jnp.dot(x.T, y, precision='highest')))


def _unbiased(x, y):
  """n (n - 3) times the unbiased HSIC of centred features."""
  n = x.shape[0]
  norms_x, norms_y = jnp.sum(x * x, axis=1), jnp.sum(y * y, axis=1)
  return (_cross(x, y) - n / (n - 2) * jnp.sum(norms_x * norms_y)
          + norms_x.sum() * norms_y.sum() / ((n - 1) * (n - 2)))


def _ratio(xy, xx, yy):
  fine = (xx > 1e-12) & (yy > 1e-12)
  root = jnp.sqrt(jnp.where(fine, xx, 1)) * jnp.sqrt(jnp.where(fine, yy, 1))
  return jnp.where(fine, xy / root, 0.0)
