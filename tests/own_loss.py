"""A loss with two weights of its own, both axes of a grid, from outside the package; run by

  mmalign --register=own_loss.py sweep --config=strength:tiny --config.loss=own_vicreg \\
    --config.loss_variance='(0, 25)' --workdir=DIR
"""

import itertools

import jax
import jax.numpy as jnp

from mmalign_jax import losses


def vicreg(outputs, batch, *, axis_name=None, variance: float = 25.0, covariance: float = 1.0):
  """Mean squared distance of all pairs, a hinge on every deviation, and squared covariances, of the
  embeddings before they are normalised (Bardes et al. 2022); [] for the whole batch."""
  valid = jnp.ones(len(batch.y)) if batch.valid is None else batch.valid.astype(jnp.float32)
  every = lambda v: v if axis_name is None else jax.lax.all_gather(v, axis_name, tiled=True)
  valid = every(valid)[:, None]
  n, z = valid.sum(), [every(out.raw) * valid for out in outputs]
  centred = [(one - one.sum(axis=0) / n) * valid for one in z]
  covariances = [one.T @ one / (n - 1) for one in centred]
  pairs = list(itertools.combinations(z, 2))
  apart = sum(jnp.square(a - b).sum() / (n * a.shape[1]) for a, b in pairs) / len(pairs)
  spread = sum(jax.nn.relu(1 - jnp.sqrt(jnp.diag(c) + 1e-4)).mean() for c in covariances)
  off = sum((jnp.square(c).sum() - jnp.square(jnp.diag(c)).sum()) / len(c) for c in covariances)
  return 25 * apart + variance * spread + covariance * off


losses.LOSSES['own_vicreg'] = losses.Loss(vicreg)
