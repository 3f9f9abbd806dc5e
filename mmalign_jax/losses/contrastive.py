"""Contrastive losses of two sides: a value per example, in nats; the caller reduces.

Reductions over the few features run with the batch as the last axis, which vectorises on a CPU.
"""

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import ABSENT, dot, gather, kept, own_columns, where_valid
from mmalign_jax.losses.log_sums import log_sums
from mmalign_jax.types import Array, Numeric


def info_nce(z1: Array, z2: Array, *, temperature: Numeric,
             axis_name: str | None = None, valid: Array | None = None) -> Array:
  """Symmetric InfoNCE with in-batch negatives (van den Oord et al. 2018; Radford et al. 2021).

  1/2 [ -log softmax_j(z1_i . z2_j / t) - log softmax_j(z2_i . z1_j / t) ] at j = i, where j runs
  over the N samples of all devices. Gradients flow through the gathered embeddings, so the pmean
  over axis_name of the gradients of each device's mean is the gradient of the mean over N. On one
  CPU its derivatives are of reverse mode only (`log_sums`).

  Args:
    z1, z2: [B, K] embeddings of the same samples, unit norm by convention (not enforced); those of
      one device where axis_name is given.
    temperature: [] positive.
    axis_name: of the mapped axis (pmap, vmap, shard_map) over which the batch is spread; None for
      N = B.
    valid: [B] bool, the samples that are real; None for all. The others are filling, as at the end
      of an epoch: they are no negatives, and their values are 0.

  Returns:
    [B] nats; log N where all embeddings are equal.

  Examples:
    >>> z1 = np.eye(4, dtype=np.float32)
    >>> [round(float(v), 3) for v in info_nce(z1, z1, temperature=1.0)]
    [0.744, 0.744, 0.744, 0.744]
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  z1, z2 = kept(valid, z1, z2)
  scaled = z2 / temperature  # K values a row, where dividing the logits would touch B
  own = jnp.sum(z1.T * scaled.T, axis=0)
  if axis_name is None and jax.default_backend() == 'cpu':  # elsewhere exponentials cost little
    kind = jnp.result_type(z1, scaled, jnp.float32)
    return where_valid(valid, 0.5 * log_sums(z1.astype(kind), scaled.astype(kind), valid) - own)
  logits = dot(z1, gather(scaled, axis_name).T)
  others = logits if axis_name is None else dot(
      gather(z1, axis_name), scaled.T)  # [N, B]
  if valid is not None:
    real = gather(valid, axis_name)
    logits = jnp.where(real[None], logits, ABSENT)
    others = jnp.where(real[:, None], others, ABSENT)
  normalizer = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(others, axis=0)
  return where_valid(valid, 0.5 * normalizer - own)


def sigmoid(z1: Array, z2: Array, *, temperature: Numeric,
            bias: Numeric = -10.0, axis_name: str | None = None,
            valid: Array | None = None) -> Array:
  """The sigmoid loss of SigLIP (Zhai et al. 2023): every pair is a yes-or-no question.

  sum_j -log sigmoid(s_ij (z1_i . z2_j / t + bias)), s_ij = 1 at j = i and -1 elsewhere, where j
  runs over the N samples of all devices. Its mean over i is the loss of the paper, whose start is
  t = 0.1 and bias = -10.

  Args:
    z1, z2: [B, K] embeddings of the same samples, unit norm by convention (not enforced); those of
      one device where axis_name is given.
    temperature: [] positive.
    bias: [] added to every logit; negative, as all but one of the N pairs are not partners.
    axis_name: of the mapped axis (pmap, vmap, shard_map) over which the batch is spread; None for
      N = B.
    valid: [B] bool, the samples that are real; None for all. The others are filling, as at the end
      of an epoch: they are no negatives, and their values are 0.

  Returns:
    [B] nats, each a sum over N pairs.

  Examples:
    >>> z1 = np.eye(4, dtype=np.float32)
    >>> [round(float(v), 3) for v in sigmoid(z1, z1, temperature=1.0)]
    [9.0, 9.0, 9.0, 9.0]
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  z1, z2 = kept(valid, z1, z2)
  others = gather(z2 / temperature, axis_name)
  logits = dot(z1, others.T) + bias
  partner = own_columns(len(z1), axis_name)[:, None] == jnp.arange(len(others))[None]
  signed = jnp.where(partner, -logits, logits)
  if valid is not None:
    signed = jnp.where(gather(valid, axis_name)[None], signed, ABSENT)
  return where_valid(valid, jnp.sum(jax.nn.softplus(signed), axis=1))


def decoupled_info_nce(z1: Array, z2: Array, *, temperature: Numeric,
                       axis_name: str | None = None, valid: Array | None = None) -> Array:
  """Decoupled contrastive learning (Yeh et al. 2022): `info_nce` whose denominator lacks the true
  partner, so that a pair that is close already has the gradient of one that is not.

  Args:
    z1, z2, temperature, axis_name, valid: as in `info_nce`; two real samples at least, else 0.

  Returns:
    [B] nats, of any sign.

  Examples:
    >>> z1 = np.eye(2, dtype=np.float32)
    >>> decoupled_info_nce(z1, z1, temperature=0.5).tolist()
    [-2.0, -2.0]
  """
  own, rows, columns, count = _without_partner(z1, z2, temperature, axis_name, valid)
  values = 0.5 * (jax.nn.logsumexp(rows, axis=1) + jax.nn.logsumexp(columns, axis=0)) - own
  return where_valid(valid, jnp.where(count > 0, values, 0))


def debiased_info_nce(z1: Array, z2: Array, *, temperature: Numeric, positives: float = 0.1,
                      axis_name: str | None = None, valid: Array | None = None) -> Array:
  """Debiased contrastive learning (Chuang et al. 2020): a share of the negatives are of the
  sample's own class, and their part is taken out of the denominator.

  -log(e / (e + M max((mean - positives e) / (1 - positives), exp(-1 / t)))), e = exp(z1_i . z2_i /
  t), mean that of exp(logit) over the M other samples; both directions, halved.

  Args:
    z1, z2, temperature, axis_name, valid: as in `info_nce`; two real samples at least, else 0.
    positives: [] in 0..1, the share.

  Returns:
    [B] nats, at least 0.

  Examples:
    >>> z1 = np.eye(2, dtype=np.float32)
    >>> [round(float(v), 3) for v in debiased_info_nce(z1, z1, temperature=0.5, positives=0.0)]
    [0.127, 0.127]
  """
  own, rows, columns, count = _without_partner(z1, z2, temperature, axis_name, valid)
  count_ = jnp.maximum(count, 1).astype(own.dtype)
  def direction(logits, axis):
    # relative to the partner's: exp(own) is taken out of everything, and overflows nowhere
    mean = jnp.sum(jnp.exp(jnp.minimum(logits - jnp.expand_dims(own, axis), 60.0)), axis) / count_
    floor = jnp.exp(jnp.minimum(-1 / temperature - own, 60.0))
    return jnp.log1p(count_ * jnp.maximum((mean - positives) / (1 - positives), floor))
  values = 0.5 * (direction(rows, 1) + direction(columns, 0))
  return where_valid(valid, jnp.where(count > 0, values, 0))


def _without_partner(z1: Array, z2: Array, temperature: Numeric, axis_name: str | None,
                     valid: Array | None) -> tuple[Array, Array, Array, Array]:
  """Logits of true partners [B], those of the rows [B, N] and columns [N, B] of this device, ABSENT
  for partners and filling, and how many others are real [B]."""
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  z1, z2 = kept(valid, z1, z2)
  scaled = z2 / temperature
  rows = dot(z1, gather(scaled, axis_name).T)
  columns = dot(gather(z1, axis_name), scaled.T)
  n = rows.shape[1]
  other = own_columns(len(z1), axis_name)[:, None] != jnp.arange(n)[None]
  if valid is not None:
    other &= gather(valid, axis_name)[None]
  count = jnp.sum(other, axis=1)
  return (jnp.sum(z1.T * scaled.T, axis=0), jnp.where(other, rows, ABSENT),
          jnp.where(other.T, columns, ABSENT), count)
