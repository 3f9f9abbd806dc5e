"""Exact information and Bayes accuracy of a generator, from its task bits alone.

Every bit of a sample is fair and independent, so what one side knows of a task bit is a binary
symmetric channel: flip probability 0 where the side sees it, 1/2 where it does not, and
`hyper.flipped` where it sees a noisy copy. All information is in nats.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy

from mmalign_jax import struct
from mmalign_jax.generators import synthetic
from mmalign_jax.generators.synthetic import PRIVATE, SHARED, Generator, Tables
from mmalign_jax.types import Array, Hyper, Joint, Key, Test

_PAIRS = 1 << (SHARED + 2 * PRIVATE)  # of inputs that belong together


@struct.dataclass
class Information:
  """Scalars []: mutual informations in nats, Bayes accuracies in 0..1 (of X1, X2 and both),
  and how many task bits are shared or private to a side (nominal, not information)."""
  mi_joint: Array
  mi_1: Array
  mi_2: Array
  mi_1_2: Array
  bayes_accuracy_1: Array
  bayes_accuracy_2: Array
  bayes_accuracy: Array
  shared: Array
  unique_1: Array
  unique_2: Array


def information(generator: Generator, tables: Tables, hyper: Hyper) -> Information:
  """Exact quantities of one setting; vmap over `hyper` for many.

  I(X1;X2) and the joint terms depend on a pair only through the Hamming distance h of its shared
  bits: given h, a pair is genuine with a known probability and its task bits are uniform.
  """
  masks, labels = generator.task(tables, hyper)
  p_1, p_2 = (side_posterior(masks, labels, hyper, side) for side in (1, 2))
  p_h, unrelated, trust = _distances(hyper)
  trust = trust[:, None, None]
  p_joint = trust * labels[None] + (1 - trust) * p_1[None]  # [9, 2**T, C]
  p_y = labels.mean(axis=0)
  only_1, only_2 = synthetic.hidden_from(masks, 2), synthetic.hidden_from(masks, 1)
  return Information(
      mi_joint=entropy(p_y) - jnp.sum(p_h * entropy(p_joint).mean(axis=1)),
      mi_1=entropy(p_y) - entropy(p_1).mean(),
      mi_2=entropy(p_y) - entropy(p_2).mean(),
      mi_1_2=jnp.sum(xlogy(p_h, p_h / unrelated)),
      bayes_accuracy_1=p_1.max(axis=1).mean(),
      bayes_accuracy_2=p_2.max(axis=1).mean(),
      bayes_accuracy=jnp.sum(p_h * p_joint.max(axis=2).mean(axis=1)),
      shared=jnp.sum(~only_1 & ~only_2), unique_1=jnp.sum(only_1 & ~only_2),
      unique_2=jnp.sum(only_2 & ~only_1))


def _distances(hyper: Hyper) -> tuple[Array, Array, Array]:
  """For h = 0..8 shared bits that differ in a pair [9]: how probable that is, how probable in an
  unrelated pair, and how probable it is that a pair of them is genuine."""
  h = jnp.arange(SHARED + 1.0)
  ways = jnp.array([math.comb(SHARED, k) for k in range(SHARED + 1)], jnp.float32)
  unrelated = ways / 2**SHARED
  genuine = (1 - hyper.mismatched) * ways * jnp.exp(
      xlogy(h, hyper.flipped) + xlogy(SHARED - h, 1 - hyper.flipped))
  p_h = genuine + hyper.mismatched * unrelated
  return p_h, unrelated, jnp.where(p_h > 0, genuine / jnp.where(p_h > 0, p_h, 1), 0)


def side_posterior(masks: Array, labels: Array, hyper: Hyper, side: int) -> Array:
  """p(y | what one side sees) for every value of the task bits: [2**T, C].

  Args:
    masks: [T] u32, labels: [2**T, C] of the generator's task.
    side: 1 or 2; the corruptions (flipped, mismatched) act on side 2.
  """
  noisy = hyper.flipped if side == 2 else 0.0
  flip = jnp.where(synthetic.hidden_from(masks, side), 0.5,
                   jnp.where(synthetic.touches_shared(masks), noisy, 0.0))
  value, place = jnp.arange(labels.shape[0]), jnp.arange(masks.shape[0])
  differ = (value[:, None, None] ^ value[None, :, None]) >> place[None, None] & 1
  flip = flip[None, None]
  channel = jnp.prod(jnp.where(differ == 1, flip, 1 - flip), axis=-1)  # [2**T, 2**T]
  posterior = jnp.dot(channel, labels, precision='highest')
  if side == 2:
    prior = labels.mean(axis=0, keepdims=True)
    posterior = (1 - hyper.mismatched) * posterior + hyper.mismatched * prior
  return posterior


def test_set(generator: Generator, tables: Tables, hyper: Hyper, side: int) -> Test:
  """All 4096 inputs of one side with their exact p(y | x): accuracy without sampling noise."""
  masks, labels = generator.task(tables, hyper)
  rows = jnp.arange(synthetic.ROWS)
  x = synthetic.inputs(tables, hyper, (rows, rows))[side - 1]
  pattern = synthetic.task_pattern(synthetic.side_sample(rows, side), masks)
  target = side_posterior(masks, labels, hyper, side)[pattern]
  return Test(x, target, fold=jnp.zeros_like(rows), n_folds=1)


def joint_test(generator: Generator, tables: Tables, hyper: Hyper, key: Key) -> Joint:
  """Pairs of inputs of both sides with their exact p(y | x1, x2).

  They are the 65,536 pairs that occur where x2 is neither noisy nor another sample's: accuracy on
  them is exact. With hyper.flipped or hyper.mismatched, 2**24 pairs occur: then they are 65,536
  drawn ones, x2 of each of the former with noise by `key`, and an accuracy near a half has a
  standard error of 0.2 points at most.
  """
  masks, labels = generator.task(tables, hyper)
  sample = jnp.arange(_PAIRS, dtype=jnp.uint32)
  unrelated, *noise = jax.random.bits(key, (SHARED + 2, _PAIRS), jnp.uint32)
  row_1 = sample & (synthetic.ROWS - 1)
  row_2 = synthetic.row_of_2(
      sample, unrelated >> 20, synthetic.uniform(jnp.stack(noise)), hyper)
  seen = row_1 | ((row_2 >> SHARED) << synthetic.WIDTH)  # shared bits as in x1, of which y is
  pattern = synthetic.task_pattern(seen, masks)
  apart = jax.lax.population_count((row_1 ^ row_2) & (2**SHARED - 1))
  trust = _distances(hyper)[2][apart][:, None]
  target = trust * labels[pattern] + (1 - trust) * side_posterior(masks, labels, hyper, 1)[pattern]
  rows = jnp.arange(synthetic.ROWS)
  return Joint(
      synthetic.inputs(tables, hyper, (rows, rows)),
      (row_1.astype(jnp.int32), row_2.astype(jnp.int32)), target,
      jnp.zeros(_PAIRS, jnp.int32), information(generator, tables, hyper).bayes_accuracy)


def entropy(p: Array) -> Array:
  """-sum p log p over the last axis, in nats; 0 log 0 = 0."""
  return -jnp.sum(xlogy(p, p), axis=-1)

