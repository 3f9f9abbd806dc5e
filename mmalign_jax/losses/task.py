"""Task losses of one side: a value per example; and TASKS, by name."""

from collections.abc import Callable
import dataclasses

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.types import Array, lookup


def cross_entropy(logits: Array, y: Array) -> Array:
  """-log softmax(logits)[y], or against a distribution over classes.

  Args:
    logits: [B, C].
    y: [B] integer classes, or [B, C] probabilities.

  Returns:
    [B] nats.

  Examples:
    >>> round(float(cross_entropy(np.zeros((1, 4)), np.array([2]))[0]), 3)  # log 4
    1.386
  """
  chex.assert_rank(logits, 2)
  target = jax.nn.one_hot(y, logits.shape[1], axis=0) if y.ndim == 1 else y.T
  chex.assert_equal_shape([logits.T, target])
  return -jnp.sum(target * jax.nn.log_softmax(logits.T, axis=0), axis=0)


def l1(prediction: Array, y: Array) -> Array:
  """|prediction - y| [B], in the units of y [B].

  Examples:
    >>> l1(np.array([1.0, -2.0]), np.array([0.5, 1.0])).tolist()
    [0.5, 3.0]
  """
  chex.assert_rank([prediction, y], 1)
  chex.assert_equal_shape([prediction, y])
  return jnp.abs(prediction - y)


@dataclasses.dataclass(frozen=True)
class Task:
  """A row of TASKS: function(prediction, y [B]) -> [B]. A plain function stands for `Task` of it.

  regression: prediction is [B] and y numbers, else logits [B, C] and classes. soft: for y it takes
  probabilities [B, C] too. units: of its value.
  """
  function: Callable[[Array, Array], Array]
  regression: bool = False
  soft: bool = False
  units: str = 'nats'

  def __call__(self, prediction: Array, y: Array) -> Array:
    return self.function(prediction, y)


TASKS = {'cross_entropy': Task(cross_entropy, soft=True),
         'l1': Task(l1, regression=True, units='label deviation')}


def task_of(name: str) -> Task:
  """The row `name` of TASKS."""
  row = lookup(TASKS, name, 'task')
  return row if isinstance(row, Task) else Task(row)


def expected(name: str, prediction: Array, target: Array) -> Array:
  """The task loss [M] of predictions against labels [M], or its mean over p(y | x) [M, C]."""
  task = task_of(name)
  if task.soft or target.ndim == 1:
    return task(prediction, target)
  classes = jnp.arange(target.shape[1])
  each = jax.vmap(lambda y: task(prediction, jnp.full(len(target), y)))(classes)  # [C, M]
  return jnp.sum(each * target.T, axis=0)
