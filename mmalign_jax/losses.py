"""Contrastive and task losses. Each returns one value per example, in nats; the caller reduces.

Reductions over the few features run with the batch as the last axis, which vectorises on a CPU.
"""

from collections.abc import Callable
import dataclasses
import inspect
from typing import Any

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.streaming import (
    ABSENT, gather, own_columns, streaming_info_nce, streaming_sigmoid, where_valid)
from mmalign_jax.types import lookup


def info_nce(z1: chex.Array, z2: chex.Array, *, temperature: chex.Numeric,
             axis_name: str | None = None, valid: chex.Array | None = None) -> chex.Array:
  """Symmetric InfoNCE with in-batch negatives (van den Oord et al. 2018; Radford et al. 2021).

  1/2 [ -log softmax_j(z1_i . z2_j / t) - log softmax_j(z2_i . z1_j / t) ] at j = i, where j runs
  over the N samples of all devices. Gradients flow through the gathered embeddings, so the pmean
  over axis_name of the gradients of each device's mean is the gradient of the mean over N.

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
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  scaled = z2 / temperature  # K values a row, where dividing the logits would touch B
  logits = jnp.dot(z1, gather(scaled, axis_name).T, precision='highest')
  others = logits if axis_name is None else jnp.dot(
      gather(z1, axis_name), scaled.T, precision='highest')  # [N, B]
  if valid is not None:
    real = gather(valid, axis_name)
    logits = jnp.where(real[None], logits, ABSENT)
    others = jnp.where(real[:, None], others, ABSENT)
  normalizer = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(others, axis=0)
  return where_valid(valid, 0.5 * normalizer - jnp.sum(z1.T * scaled.T, axis=0))


def sigmoid(z1: chex.Array, z2: chex.Array, *, temperature: chex.Numeric,
            bias: chex.Numeric = -10.0, axis_name: str | None = None,
            valid: chex.Array | None = None) -> chex.Array:
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
  """
  chex.assert_rank([z1, z2], 2)
  chex.assert_equal_shape([z1, z2])
  others = gather(z2 / temperature, axis_name)
  logits = jnp.dot(z1, others.T, precision='highest') + bias
  partner = own_columns(len(z1), axis_name)[:, None] == jnp.arange(len(others))[None]
  signed = jnp.where(partner, -logits, logits)
  if valid is not None:
    signed = jnp.where(gather(valid, axis_name)[None], signed, ABSENT)
  return where_valid(valid, jnp.sum(jax.nn.softplus(signed), axis=1))


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


@dataclasses.dataclass(frozen=True)
class Task:
  """A row of TASKS: function(prediction, y [B]) -> [B]. A plain function stands for `Task` of it.

  regression: prediction is [B] and y numbers, else logits [B, C] and classes. soft: for y it takes
  probabilities [B, C] too. units: of its value.
  """
  function: Callable[[chex.Array, chex.Array], chex.Array]
  regression: bool = False
  soft: bool = False
  units: str = 'nats'

  def __call__(self, prediction: chex.Array, y: chex.Array) -> chex.Array:
    return self.function(prediction, y)


# A row: (z1, z2, **options) -> [B], with those of OPTIONS that its signature names.
LOSSES = {'info_nce': info_nce, 'sigmoid': sigmoid, 'streaming_info_nce': streaming_info_nce,
          'streaming_sigmoid': streaming_sigmoid}
TASKS = {'cross_entropy': Task(cross_entropy, soft=True),
         'l1': Task(l1, regression=True, units='label deviation')}
OPTIONS = ('temperature', 'axis_name', 'valid')


def task_of(name: str) -> Task:
  """The row `name` of TASKS."""
  row = lookup(TASKS, name, 'task')
  return row if isinstance(row, Task) else Task(row)


def expected(name: str, prediction: chex.Array, target: chex.Array) -> chex.Array:
  """The task loss [M] of predictions against labels [M], or its mean over p(y | x) [M, C]."""
  task = task_of(name)
  if task.soft or target.ndim == 1:
    return task(prediction, target)
  classes = jnp.arange(target.shape[1])
  each = jax.vmap(lambda y: task(prediction, jnp.full(len(target), y)))(classes)  # [C, M]
  return jnp.sum(each * target.T, axis=0)


def options_of(name: str) -> tuple[str, ...]:
  """Those of OPTIONS that a loss takes."""
  taken = inspect.signature(lookup(LOSSES, name, 'loss')).parameters.values()
  if any(p.kind is p.VAR_KEYWORD for p in taken):
    return OPTIONS
  return tuple(option for option in OPTIONS if option in {p.name for p in taken})


def contrastive(name: str, z1: chex.Array, z2: chex.Array, **options: Any) -> chex.Array:
  """The loss [B] that LOSSES names; an option that is None is not given.

  Raises:
    ValueError: a batch spread over devices, or filled up, and a loss that knows nothing of it.
  """
  given = {option: value for option, value in options.items() if value is not None}
  taken = options_of(name)
  for option, what in (('axis_name', 'a batch spread over devices'),
                       ('valid', 'a batch that is filled up (drop_last=False)')):
    if option in given and option not in taken:
      raise ValueError(f'loss={name!r} takes no {option}, which {what} needs')
  return LOSSES[name](z1, z2, **{k: v for k, v in given.items() if k in taken})
