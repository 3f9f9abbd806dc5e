"""Losses by name. Each returns one value per example, in nats; the caller reduces."""

import inspect
from typing import Any

import chex

from mmalign_jax.losses.contrastive import info_nce, sigmoid
from mmalign_jax.losses.streaming import streaming_info_nce, streaming_sigmoid
from mmalign_jax.losses.task import TASKS, Task, cross_entropy, expected, l1, task_of
from mmalign_jax.types import lookup

__all__ = ['LOSSES', 'OPTIONS', 'TASKS', 'Task', 'contrastive', 'cross_entropy', 'expected',
           'info_nce', 'l1', 'options_of', 'sigmoid', 'streaming_info_nce', 'streaming_sigmoid',
           'task_of']

# A row: (z1, z2, **options) -> [B], with those of OPTIONS that its signature names.
LOSSES = {'info_nce': info_nce, 'sigmoid': sigmoid, 'streaming_info_nce': streaming_info_nce,
          'streaming_sigmoid': streaming_sigmoid}
OPTIONS = ('temperature', 'axis_name', 'valid')


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
