"""Objectives of dependence between kernels of two sides: CKA and HSIC, without their bias.

Both take [B, K] of two sides and give one value [] for the batch; with axis_name that of the
samples of all devices.
"""

import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import dot
from mmalign_jax.losses.moments import every
from mmalign_jax.types import Array


def cka(a: Array, b: Array, *, axis_name: str | None = None, valid: Array | None = None) -> Array:
  """1 - linear CKA without its bias (Kornblith et al. 2019; Song et al. 2012), as
  `similarity.debiased_linear_cka`.

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised; 4 at least, else 1.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [], 0 for equal sides, about 1 for independent ones.

  Examples:
    >>> z = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    >>> abs(round(float(cka(z, 2 * z)), 3))
    0.0
  """
  a, b, real, n = every(a, b, axis_name, valid)
  grams = []
  for z in (a, b):
    centred = real * (z - jnp.sum(real * z, axis=0, keepdims=True) / n)
    z = near_one(centred, jnp.max(jnp.abs(z)))  # of which what follows is the eighth power
    grams.append(dot(z, z.T))
  k, m = grams
  across, one, two = (unbiased_hsic(k_, m_, real, n) for k_, m_ in ((k, m), (k, k), (m, m)))
  some = (one > 0) & (two > 0)
  return 1 - jnp.where(some, across * jax.lax.rsqrt(jnp.where(some, one * two, 1)), 0)


def hsic(a: Array, b: Array, *, bandwidth: float = 1.0, axis_name: str | None = None,
         valid: Array | None = None) -> Array:
  """-HSIC without its bias (Gretton et al. 2005; Song et al. 2012) of Gaussian kernels
  exp(-|z_i - z_j|^2 / (2 bandwidth^2)).

  Args:
    a, b: [B, K] unit-norm embeddings of the same samples; 4 at least, else 0.
    bandwidth: [] positive, in units of the embeddings.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [], about 0 for independent sides, negative for dependent ones.

  Examples:
    >>> z = np.eye(4, dtype=np.float32)
    >>> abs(round(float(hsic(z, z)), 3))  # every other sample is equally far: nothing to tell
    0.0
  """
  a, b, real, n = every(a, b, axis_name, valid)
  grams = []
  for z in (a, b):
    squares = jnp.sum(jnp.square(z), axis=1)
    distance = squares[:, None] + squares[None] - 2 * dot(z, z.T)
    grams.append(jnp.exp(-jnp.maximum(distance, 0) / (2 * bandwidth**2)))
  return -unbiased_hsic(grams[0], grams[1], real, n)


def near_one(centred: Array, largest: Array) -> Array:
  """centred / 2^e, below 1, by which nothing changes that does not depend on its size, to the last
  digit; 0 where it is no more than rounding of what had a number as large as `largest` []."""
  size, largest = jax.lax.stop_gradient((jnp.max(jnp.abs(centred)), largest))
  scale = jnp.ldexp(jnp.ones((), centred.dtype), -jnp.frexp(size)[1])
  return jnp.where(size > 16 * jnp.finfo(centred.dtype).eps * largest, scale, 0) * centred


def unbiased_hsic(one: Array, two: Array, real: Array, n: Array) -> Array:
  """HSIC [] of kernels [N, N] by its unbiased estimator, of n real samples [N, 1]; 0 if n < 4."""
  other = real * real.T * (1 - jnp.eye(len(one), dtype=one.dtype))
  one, two = one * other, two * other
  of_one, of_two = jnp.sum(one, axis=1), jnp.sum(two, axis=1)
  total = (jnp.sum(one * two)
           + jnp.sum(of_one) * jnp.sum(of_two) / jnp.maximum((n - 1) * (n - 2), 1)
           - 2 * jnp.sum(of_one * of_two) / jnp.maximum(n - 2, 1))
  return jnp.where(n >= 4, total / jnp.maximum(n * (n - 3), 1), 0)
