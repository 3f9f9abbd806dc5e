"""A third modality for the study of strength, from outside the package; run by

  mmalign --register=own_third.py sweep --config=strength:tiny --config.generator=three \\
    --workdir=DIR
"""

import dataclasses

import jax.numpy as jnp

from mmalign_jax.data.sources import SOURCES, Bounds
from mmalign_jax.types import Draws, Test

BITS = SOURCES['bits']
KEEP = 0.9  # share of the bits of side 1 that the third modality sees as they are


def third(x):
  """x [B, 12] of side 1 -> [B, 6], every second bit, some of them turned."""
  turned = jnp.arange(x.size).reshape(x.shape) * 7919 % 1000 / 1000 > KEEP
  return jnp.where(turned, -x, x)[:, ::2]


def draw(tables, hyper, key, n):
  draws = BITS.draw(tables, hyper, key, n)
  return Draws((*draws.rows, draws.rows[0]), draws.y)


def inputs(tables, hyper, rows):
  x1, x2 = BITS.inputs(tables, hyper, rows[:2])
  return x1, x2, third(BITS.inputs(tables, hyper, (rows[2], rows[2]))[0])


def test(tables, hyper, side):
  if side < 3:
    return BITS.test(tables, hyper, side)
  one = BITS.test(tables, hyper, 1)
  return Test(third(one.x), one.target, one.fold, one.n_folds)


def pairs(tables, hyper, key, n):
  x1, x2 = BITS.pairs(tables, hyper, key, n)
  return x1, x2, third(x1)


def joint(tables, hyper, key):
  both = BITS.joint(tables, hyper, key)
  return both.replace(x=(*both.x, third(both.x[0])), rows=(*both.rows, both.rows[0]))


def bounds(tables, hyper):
  return (*BITS.bounds(tables, hyper), Bounds(jnp.float32(jnp.nan), jnp.float32(jnp.nan)))


SOURCES['three'] = dataclasses.replace(
    BITS, draw=draw, inputs=inputs, test=test, pairs=pairs, bounds=bounds, sides=3,
    joint=joint,
    factors=None)  # of three sides it names none: probes are refused
