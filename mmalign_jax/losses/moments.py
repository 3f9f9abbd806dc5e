"""Objectives of moments: what two embeddings have in common over a batch, and how they are spread.

Each takes the embeddings of two sides before they are normalised, [B, K], and gives one value []
for the batch. Covariances divide by the number of real samples. With axis_name they are those of
the samples of all devices, which every device computes.
"""

import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import dot, gather, kept
from mmalign_jax.types import Array

EPS = 1e-4  # of a variance, where its root is taken (Bardes et al. 2022)


def vicreg(a: Array, b: Array, *, invariance: float = 25.0, variance: float = 25.0,
           covariance: float = 1.0, axis_name: str | None = None,
           valid: Array | None = None) -> Array:
  """Variance, invariance and covariance (VICReg, Bardes et al. 2022), with its published weights.

  invariance * mean |a - b|^2 / K + variance * the mean over features of max(0, 1 - deviation) +
  covariance * the sum of squared covariances of different features / K; the last two of both sides
  (variance halved, as in the authors' code).

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised.
    invariance, variance, covariance: [] weights.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [], in the units of the weights.

  Examples:
    >>> z = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]], np.float32)
    >>> float(vicreg(z, z)), round(float(vicreg(z, -z)), 3)  # 25 * mean of 4 * 4 / 2
    (0.0, 200.0)
  """
  a, b, real, n = every(a, b, axis_name, valid)
  apart = jnp.sum(real * jnp.square(a - b)) / (n * a.shape[1])
  spread = covariances = jnp.zeros(())
  for z in (a, b):
    centred = real * (z - jnp.sum(real * z, axis=0, keepdims=True) / n)
    c = dot(centred.T, centred) / jnp.maximum(n - 1, 1)
    squares = jnp.diag(c)
    spread += jnp.mean(jax.nn.relu(1 - jnp.sqrt(squares + EPS))) / 2
    covariances += (jnp.sum(jnp.square(c)) - jnp.sum(jnp.square(squares))) / len(c)
  return invariance * apart + variance * spread + covariance * covariances


def barlow_twins(a: Array, b: Array, *, off_diagonal: float = 0.005, axis_name: str | None = None,
                 valid: Array | None = None) -> Array:
  """Redundancy reduction (Barlow Twins, Zbontar et al. 2021): sum_k (1 - c_kk)^2 + off_diagonal *
  sum_{k != l} c_kl^2 of the correlations c of the features of one side with those of the other.

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised.
    off_diagonal: [] weight.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [], at least 0.

  Examples:
    >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], np.float32)
    >>> round(float(barlow_twins(z, z)), 3), round(float(barlow_twins(z, z[:, ::-1])), 3)
    (0.0, 2.01)
  """
  a, b, real, n = every(a, b, axis_name, valid)
  c = dot(standardised(a, real, n).T, standardised(b, real, n)) / n
  own = jnp.diag(c)
  return jnp.sum(jnp.square(1 - own)) + off_diagonal * (
      jnp.sum(jnp.square(c)) - jnp.sum(jnp.square(own)))


def soft_cca(a: Array, b: Array, *, decorrelation: float = 0.1, axis_name: str | None = None,
             valid: Array | None = None) -> Array:
  """Soft CCA (Chang et al. 2018): |a - b|^2 / (2 K), both standardised, + decorrelation * the mean
  absolute correlation of different features of a side, of both sides.

  Of the batch alone, where the paper keeps a running mean of the covariances. With several sides,
  over all their pairs, it is the sum of correlations of multi-set CCA (SUMCOR).

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised.
    decorrelation: [] weight.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [], at least 0.

  Examples:
    >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], np.float32)
    >>> round(float(soft_cca(z, z)), 3), round(float(soft_cca(z, -z)), 3)
    (0.0, 2.0)
  """
  a, b, real, n = every(a, b, axis_name, valid)
  a, b = (standardised(z, real, n) for z in (a, b))
  width = a.shape[1]
  mixed = jnp.zeros(())
  for z in (a, b):
    c = jnp.abs(dot(z.T, z) / n)
    mixed += (jnp.sum(c) - jnp.sum(jnp.diag(c))) / max(width * (width - 1), 1)
  return jnp.sum(jnp.square(a - b)) / (2 * n * width) + decorrelation * mixed


def correlation(a: Array, b: Array, *, shrinkage: float = 0.1, axis_name: str | None = None,
                valid: Array | None = None) -> Array:
  """1 - mean squared canonical correlation of the two sides (deep CCA, Andrew et al. 2013).

  tr(S_aa^-1 S_ab S_bb^-1 S_ba) / K is that mean, of covariances whose own are shrunk towards a
  multiple of the identity (Vinod 1976). The inverses are iterations of products, since factorising
  many small matrices side by side is slow where products are not. With several sides it is over all
  their pairs.

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised.
    shrinkage: [] in (0, 1], of the covariance of a side towards its mean variance.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [] in 0..1; 1 where nothing is correlated.

  Examples:
    >>> z = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], np.float32)
    >>> round(float(correlation(z, z[:, ::-1])), 3)  # of shrunk ones: the identity itself
    0.0
  """
  a, b, real, n = every(a, b, axis_name, valid)
  a, b = (real * (z - jnp.sum(real * z, axis=0, keepdims=True) / n) for z in (a, b))
  across = dot(a.T, b) / n
  inverses = []
  for z in (a, b):
    c = dot(z.T, z) / n
    middle = jnp.trace(c) / len(c)
    middle = jnp.where(middle > 0, middle, 1)
    c = (1 - shrinkage) * c + shrinkage * middle * jnp.eye(len(c))
    inverses.append(inverse(c))
  squares = jnp.sum(dot(inverses[0], across) * dot(across, inverses[1]))
  return 1 - squares / a.shape[1]


# -- their parts -----------------------------------------------------------------------------------


def every(a: Array, b: Array, axis_name: str | None,
          valid: Array | None) -> tuple[Array, Array, Array, Array]:
  """Both sides of all devices [N, K], which samples are real [N, 1] f32, and how many [], at least
  1."""
  a, b = (gather(z, axis_name) for z in kept(valid, a, b))
  real = jnp.ones((len(a), 1), a.dtype) if valid is None else (
      gather(valid, axis_name)[:, None].astype(a.dtype))
  return a, b, real, jnp.maximum(jnp.sum(real), 1)


def standardised(z: Array, real: Array, n: Array) -> Array:
  """z [N, K] with mean 0 and variance 1 over the real samples, 0 elsewhere and where constant."""
  centred = real * (z - jnp.sum(real * z, axis=0, keepdims=True) / n)
  square = jnp.sum(jnp.square(centred), axis=0, keepdims=True) / n
  return jnp.where(square > 0, centred * jax.lax.rsqrt(jnp.where(square > 0, square, 1) + 1e-12), 0)


_ITERATIONS = 24  # halve the distance of every eigenvalue from 1 until it is small, then square it


@jax.custom_jvp
def inverse(a: Array) -> Array:
  """a^-1 of a positive definite a [K, K], to float32 where its condition number is up to 10^5: the
  iteration x <- x (2 - a x) of Schulz (1933)."""
  step = lambda _, x: dot(x, 2 * jnp.eye(len(a), dtype=a.dtype) - dot(a, x))
  return jax.lax.fori_loop(0, _ITERATIONS, step, jnp.eye(len(a), dtype=a.dtype) / jnp.trace(a))


@inverse.defjvp
def _inverse_jvp(primals, tangents):
  x = inverse(*primals)
  return x, -dot(dot(x, tangents[0]), x)


