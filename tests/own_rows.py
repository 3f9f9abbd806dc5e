"""Rows of one's own for every registry, as a user of the package would write them: no test itself.

  mmalign --register=own_rows.py generator --name=own
  mmalign --register=own_rows.py sweep --config=own_rows.py --workdir=DIR
"""

import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from mmalign_jax import information, losses, similarity
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.generators import synthetic
from mmalign_jax.studies import registry
from mmalign_jax.studies.strength import plan, study as strength
from mmalign_jax.types import Range

BITS = synthetic.GENERATORS['bits']


class Looked(nn.Module):
  """Every bit by a table of embeddings: x [B, D] in -1, 1 -> layers."""
  size: int

  @nn.compact
  def __call__(self, x):
    found = nn.Embed(2 * x.shape[1], self.size, name='table')(
        (x > 0).astype(jnp.int32) + 2 * jnp.arange(x.shape[1])[None])
    return (found.mean(axis=1), jnp.tanh(found).mean(axis=1))


class Started(nn.Module):
  """A layer that starts as its own initialiser says."""

  @nn.compact
  def __call__(self, x):
    start = self.param('start', nn.initializers.constant(0.25), (x.shape[1],))
    return (nn.relu(nn.Dense(5, kernel_init=nn.initializers.ones)(x * start[None])),)


def apart(z1, z2):
  """Squared distance; knows of no temperature, and of no other device."""
  return jnp.sum((z1 - z2) ** 2, axis=1)


def brier(logits, y):
  """Of integer classes only."""
  return jnp.sum((jax.nn.softmax(logits) - jax.nn.one_hot(y, logits.shape[1])) ** 2, axis=1)


synthetic.GENERATORS['own'] = synthetic.Generator(  # at most three shared bits, noisy by `flipped`
    ('redundancy', 'flipped', 'n_train'), BITS.tables, BITS.task, {'redundancy': Range(0, 3, True)},
    {'redundancy': ('bits of my own', 'bits')}, {'redundancy': 2},
    lambda u: {'redundancy': 3 - u * 3 // 8, 'flipped': u / 16})
SOURCES['own_source'] = dataclasses.replace(SOURCES['atoms'], settings=('unique_1', 'n_train'))
sides.ENCODERS['looked'] = lambda spec, name: Looked(spec.width, name=name)
sides.ENCODERS['started'] = lambda spec, name: Started(name=name)
sides.PROJECTIONS['dense'] = lambda spec, name: nn.Dense(spec.projection_width, name=name)
losses.LOSSES['apart'] = apart
losses.TASKS['brier'] = brier
similarity.MEASURES['own_cka'] = similarity.MEASURES['linear_cka']
information.METHODS['own_imin'] = information.imin
registry.STUDIES['own_study'] = strength
defaults, from_settings = plan.defaults, plan.from_settings  # of the kind of study


def get_config() -> ConfigDict:
  return ConfigDict(defaults() | dict(
      study='own_study', generator='own', encoder_1='looked', encoder_2='started', width_1=4,
      projection='dense', projection_width=3, loss='apart', task='brier', redundancy=(0, 3),
      lam=(0.0, 1.0), seed=(0, 1), steps=3, batch_size=16, n_train=(32,), n_align=32,
      resamples=20), convert_dict=False)
