"""Objectives of pairs: true partners brought together, with other ways than negatives, or none, to
keep embeddings from collapsing."""

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import ABSENT, dot, gather, kept, own_columns, where_valid
from mmalign_jax.losses.contrastive import info_nce
from mmalign_jax.losses.moments import every, standardised
from mmalign_jax.losses.together import unit
from mmalign_jax.types import Array, Numeric, Outputs


def cosine(z1: Array, z2: Array, *, axis_name: str | None = None,
           valid: Array | None = None) -> Array:
  """1 - cosine of partners; nothing keeps embeddings apart.

  Args:
    z1, z2: [B, K] unit-norm embeddings of the same samples.
    axis_name: not read: no sample has to do with another.
    valid: [B] bool, the samples that are real; None for all.

  Returns:
    [B] in 0..2.

  Examples:
    >>> z = np.eye(2, dtype=np.float32)
    >>> cosine(z, z[::-1]).tolist()
    [1.0, 1.0]
  """
  del axis_name
  chex.assert_equal_shape([z1, z2])
  z1, z2 = kept(valid, z1, z2)
  return where_valid(valid, 1 - jnp.sum(z1.T * z2.T, axis=0))


def squared_distance(a: Array, b: Array, *, axis_name: str | None = None,
                     valid: Array | None = None) -> Array:
  """Mean squared difference |a - b|^2 / K of partners; nothing keeps embeddings apart.

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised.
    axis_name: not read: no sample has to do with another.
    valid: [B] bool, the samples that are real; None for all.

  Returns:
    [B], at least 0.

  Examples:
    >>> squared_distance(np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])).tolist()
    [5.0]
  """
  del axis_name
  chex.assert_equal_shape([a, b])
  a, b = kept(valid, a, b)
  return where_valid(valid, jnp.mean(jnp.square(a.T - b.T), axis=0))


def prediction(one: Outputs, two: Outputs, *, axis_name: str | None = None,
               valid: Array | None = None) -> Array:
  """Cross-modal prediction: 1 - cosine of what a side's predictor says and the other's embedding,
  which is a constant to it; the mean of both directions (SimSiam, Chen and He 2021).

  Args:
    one, two: of both sides; `predicted` [B, K] and z [B, K].
    axis_name: not read: no sample has to do with another.
    valid: [B] bool, the samples that are real; None for all.

  Returns:
    [B] in 0..2.

  Examples:
    >>> z = np.eye(2, dtype=np.float32)
    >>> side = Outputs(layers=(z,), z=z, raw=z, prediction=z, predicted=3 * z)
    >>> prediction(side, side).tolist()
    [0.0, 0.0]
  """
  del axis_name
  def towards(predicted: Array, z: Array) -> Array:
    predicted, z = (v.T for v in kept(valid, predicted, jax.lax.stop_gradient(z)))
    return 1 - jnp.sum(predicted * z, axis=0) * jax.lax.rsqrt(
        jnp.sum(jnp.square(predicted), axis=0) + 1e-12)
  assert one.predicted is not None and two.predicted is not None
  return where_valid(valid, 0.5 * (towards(one.predicted, two.z) + towards(two.predicted, one.z)))


def gap_aware(z1: Array, z2: Array, *, uniformity: float = 1.0, sharpness: float = 2.0,
              axis_name: str | None = None, valid: Array | None = None) -> Array:
  """True pairs aligned, centroids of pairs spread: |z1_i - z2_i|^2 + uniformity * log of the mean
  over j != i of exp(-sharpness |c_i - c_j|^2), c = (z1 + z2) / 2 (arXiv 2601.18525; uniformity of
  Wang and Isola 2020). Without negatives between the sides nothing holds their means apart.

  Args:
    z1, z2: [B, K] unit-norm embeddings of the same samples.
    uniformity: [] weight. sharpness: [] of the kernel.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [B]; the second term is at most 0.

  Examples:
    >>> z = np.eye(2, dtype=np.float32)
    >>> gap_aware(z, z, sharpness=1.0).tolist()
    [-2.0, -2.0]
  """
  chex.assert_equal_shape([z1, z2])
  z1, z2 = kept(valid, z1, z2)
  c = 0.5 * (z1 + z2)
  all_c = gather(c, axis_name)
  squares, all_squares = (jnp.sum(jnp.square(v), axis=1) for v in (c, all_c))
  distance = squares[:, None] + all_squares[None] - 2 * dot(c, all_c.T)
  itself = own_columns(len(c), axis_name)[:, None] == jnp.arange(len(all_c))[None]
  real = jnp.ones(len(all_c), bool) if valid is None else gather(valid, axis_name)
  others = real[None] & ~itself
  near = jnp.where(others, -sharpness * jnp.maximum(distance, 0), ABSENT)
  count = jnp.sum(others, axis=1)
  spread = jnp.where(count > 0, jax.nn.logsumexp(near, axis=1) - jnp.log(jnp.maximum(count, 1)), 0)
  apart = jnp.sum(jnp.square(z1.T - z2.T), axis=0)
  return where_valid(valid, apart + uniformity * spread)


def shared_own(a: Array, b: Array, *, temperature: Numeric, orthogonality: float = 1.0,
               axis_name: str | None = None, valid: Array | None = None) -> Array:
  """An embedding in two halves, of which only the first is aligned (by `contrastive.info_nce`); the
  second is the side's own: orthogonality * the mean squared correlation of the features of one half
  with those of the other is added, of both sides (the idea of arXiv 2602.14983).

  Args:
    a, b: [B, K] embeddings of the same samples, not normalised, K at least 2.
    temperature: [] positive.
    orthogonality: [] weight.
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [B] nats, and the second term in each.

  Raises:
    ValueError: K is 1.

  Examples:
    >>> z = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]], np.float32)
    >>> [round(float(v), 3) for v in shared_own(z, z, temperature=1.0)]  # of 4, 2 are equal
    [1.006, 1.006, 1.006, 1.006]
  """
  half = a.shape[1] // 2
  if not half:
    raise ValueError('shared_own splits an embedding in two; projection_width is 1')
  a, b = kept(valid, a, b)
  values = info_nce(unit(a[:, :half]), unit(b[:, :half]), temperature=temperature,
                    axis_name=axis_name, valid=valid)
  all_a, all_b, real, n = every(a, b, axis_name, valid)
  mixed = jnp.zeros(())
  for z in (all_a, all_b):
    z = standardised(z, real, n)
    mixed += jnp.mean(jnp.square(dot(z[:, :half].T, z[:, half:]) / n))
  return where_valid(valid, values + orthogonality * mixed)
