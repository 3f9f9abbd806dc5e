"""One training of BATCH for one version of the labels: nets, calibration, coupling, scores.

Rows come in the order train, stop, test, cut by `Cuts`. All shapes are fixed by a BatchSpec and the
number of rows, so that versions of the labels can be trained side by side by vmap.
"""

import dataclasses
import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.information.neural import coupling as batch_coupling, nets as batch_nets
from mmalign_jax.types import Array, Key

_LEAST = -16.0  # of log p(y|x): no label costs more, and squares of rounding errors are float32


@dataclasses.dataclass(frozen=True)
class BatchSpec:
  """Static settings: one compile each.

  width, depth: hidden layers of the discriminators; batch_size, steps: of their training.
  coupling_width, coupling_depth, embedding (K): of f1, f2; pairs (m): samples of either side that
  are coupled; coupling_steps; sweeps of Sinkhorn. checks: validations during a training, whose
  steps are rounded down to a multiple of it. check_size, check_count: test minibatches that are
  also solved exactly, their size and largest number.
  """
  width: int = 64
  depth: int = 2
  batch_size: int = 256
  steps: int = 600
  learning_rate: float = 1e-3
  weight_decay: float = 1e-2
  coupling_width: int = 32
  coupling_depth: int = 2
  embedding: int = 16
  pairs: int = 64
  coupling_steps: int = 300
  coupling_learning_rate: float = 1e-2
  sweeps: int = 20
  checks: int = 20
  check_size: int = 32
  check_count: int = 16

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.type is int and (not isinstance(value, int) or value < 1):
        raise ValueError(f'{field.name}={value} must be a whole number, at least 1')
      if field.type is float and not 0 <= value < math.inf:
        raise ValueError(f'{field.name}={value} must be at least 0')
    for name, most in (('check_size', 'pairs'), ('checks', 'steps'), ('checks', 'coupling_steps')):
      if getattr(self, name) > getattr(self, most):
        raise ValueError(f'{name}={getattr(self, name)} must be at most {most}='
                         f'{getattr(self, most)}')

  def needed(self) -> int:
    """Samples that fill a minibatch of every kind."""
    return max(5 * self.pairs, math.ceil(5 * self.batch_size / 3))


class Cuts(NamedTuple):
  """train, stop, test: slices of the rows, 3/5, 1/5 and 1/5 of them. The latter two are rounded
  down to a multiple of BatchSpec.pairs, so that all scores are of the same rows."""
  train: slice
  stop: slice
  test: slice

  @classmethod
  def of(cls, n: int, spec: BatchSpec) -> 'Cuts':
    held = n // 5 // spec.pairs * spec.pairs
    return cls(slice(0, n - 2 * held), slice(n - 2 * held, n - held), slice(n - held, n))


@struct.dataclass
class Run:
  """What one version of the labels gives.

  scores [n_test, 4]: what a test row adds to I(X1;Y), I(X2;Y), I(X1,X2;Y) and the union, which are
  means, in nats. of_q [3]: I_Q(X1;Y), I_Q(X2;Y), I_Q(X1,X2;Y). scale [3] of the calibrations. pair,
  log_p1 [n_test, C], log_p2 [n_test, C]: the coupling and what it couples.
  """
  scores: Array
  of_q: Array
  scale: Array
  pair: batch_coupling.Pair
  log_p1: Array
  log_p2: Array


def run(x1: Array, x2: Array, y: Array, key: Key, *, n_classes: int,
        spec: BatchSpec) -> Run:
  """Train on rows of x1 [N, D1], x2 [N, D2], y [N] i32 and score others; cut by `Cuts`."""
  chex.assert_rank([x1, x2, y], [2, 2, 1])
  cuts = Cuts.of(len(y), spec)
  key_nets, key_pair = jax.random.split(key)
  log_ps, scale = discriminate(x1, x2, y, key_nets, n_classes, spec)
  pair = coupling(log_ps[0], log_ps[1], key_pair, spec)
  labels = y[cuts.test]
  log_p1, log_p2, log_p12 = (log_p[cuts.test] for log_p in log_ps)
  union, of_q = batch_coupling.over_blocks(
      lambda one, two, y: batch_coupling.score(pair, one, two, y, spec.sweeps), spec.pairs, log_p1,
      log_p2, labels)
  log_prior = jnp.log(jnp.bincount(labels, length=n_classes) / len(labels))[labels]
  gained = [-batch_nets.cross_entropy(log_p, labels) for log_p in (log_p1, log_p2, log_p12)]
  scores = jnp.stack([*gained, union.ravel()], axis=1) - log_prior[:, None]
  return Run(scores, of_q.mean(axis=0), scale, pair, log_p1, log_p2)


def discriminate(x1, x2, y, key: Key, n_classes: int, spec: BatchSpec):
  """Calibrated log p(y|x1), log p(y|x2), log p(y|x1,x2) [N, C] each, and their scales [3].

  A net gives log p(y|x) - log p(y). It starts at 0, so that one which never does better on the rows
  to stop by says nothing, and the scale of one that is not to be believed is 0.
  """
  cuts = Cuts.of(len(y), spec)
  n_train = cuts.train.stop
  prior = jnp.bincount(y[cuts.train], length=n_classes) / n_train
  sources = (x1, x2, jnp.concatenate([x1, x2], axis=1))
  key_order, *keys = jax.random.split(key, 1 + len(sources))
  start = tuple(batch_nets.init(k, (x.shape[1], *(spec.width,) * spec.depth, n_classes), last=0.0)
                for k, x in zip(keys, sources))
  def losses(nets, rows):
    log_p = lambda net, x: batch_nets.log_posterior(prior, 1.0, batch_nets.apply(net, x[rows]))
    return [batch_nets.cross_entropy(log_p(*both), y[rows]).mean() for both in zip(nets, sources)]
  def of_minibatch(nets, step):
    one, two, joint = losses(nets, batch_nets.minibatch(key_order, step, spec.batch_size, n_train))
    return one + two + joint
  nets = batch_nets.fit(
      of_minibatch, lambda nets: losses(nets, cuts.stop), start, steps=spec.steps,
      checks=spec.checks, learning_rate=spec.learning_rate, weight_decay=spec.weight_decay)
  gains = [batch_nets.apply(*both) for both in zip(nets, sources)]
  scale = jax.vmap(batch_nets.calibrated, (None, 0, None))(
      prior, jnp.stack([gain[cuts.stop] for gain in gains]), y[cuts.stop])
  log_ps = [jnp.maximum(batch_nets.log_posterior(prior, *both), _LEAST)
            for both in zip(scale, gains)]
  return log_ps, scale


def coupling(log_p1, log_p2, key: Key, spec: BatchSpec) -> batch_coupling.Pair:
  """f1, f2 of log p(y|x1), log p(y|x2) [N, C], by the rows to train on and those to stop by."""
  cuts = Cuts.of(len(log_p1), spec)
  key_order, key_start = jax.random.split(key)
  start = batch_coupling.init(key_start, log_p1.shape[1], spec.coupling_width, spec.coupling_depth,
                              spec.embedding)
  def loss(pair, log_p1, log_p2):
    return batch_coupling.information(batch_coupling.coupled(pair, log_p1, log_p2, spec.sweeps))
  def of_minibatch(pairs, step):
    rows = batch_nets.minibatch(key_order, step, spec.pairs, cuts.train.stop)
    return loss(pairs[0], log_p1[rows], log_p2[rows])
  def validate(pairs):
    values = batch_coupling.over_blocks(
        lambda *sides: loss(pairs[0], *sides), spec.pairs, log_p1[cuts.stop], log_p2[cuts.stop])
    return (values.mean(),)
  return batch_nets.fit(
      of_minibatch, validate, (start,), steps=spec.coupling_steps, checks=spec.checks,
      learning_rate=spec.coupling_learning_rate, weight_decay=spec.weight_decay)[0]
