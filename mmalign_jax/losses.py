"""Contrastive and task losses. Each returns one value per example, in nats; the caller reduces.

Reductions over the few features run with the batch as the last axis, which vectorises on a CPU.
"""

import chex
import jax
import jax.numpy as jnp


def info_nce(z1: chex.Array, z2: chex.Array, *, temperature: chex.Numeric) -> chex.Array:
  """Symmetric InfoNCE with in-batch negatives (van den Oord et al. 2018; Radford et al. 2021).

  1/2 [ -log softmax_j(z1_i . z2_j / t) - log softmax_j(z2_i . z1_j / t) ] at j = i.

  Args:
    z1, z2: [B, K] embeddings of the same samples, unit norm by convention (not enforced).
    temperature: [] positive.

  Returns:
    [B] nats; log B where all embeddings are equal.
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  scaled = z2 / temperature  # K values a row, where dividing the logits would touch B
  logits = jnp.dot(z1, scaled.T, precision='highest')
  normalizer = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)
  return 0.5 * normalizer - jnp.sum(z1.T * scaled.T, axis=0)


def cross_entropy(logits: chex.Array, y: chex.Array) -> chex.Array:
  """-log softmax(logits)[y], or against a distribution over classes.

  Args:
    logits: [B, C].
    y: [B] integer classes, or [B, C] probabilities.

  Returns:
    [B] nats.
  """
  chex.assert_rank(logits, 2)
  target = jax.nn.one_hot(y, logits.shape[1], axis=0) if y.ndim == 1 else y.T
  chex.assert_equal_shape([logits.T, target])
  return -jnp.sum(target * jax.nn.log_softmax(logits.T, axis=0), axis=0)


def l1(prediction: chex.Array, y: chex.Array) -> chex.Array:
  """|prediction - y| [B], in the units of y [B]."""
  chex.assert_rank([prediction, y], 1)
  chex.assert_equal_shape([prediction, y])
  return jnp.abs(prediction - y)


LOSSES = {'info_nce': info_nce}
TASKS = {'cross_entropy': cross_entropy, 'l1': l1}
