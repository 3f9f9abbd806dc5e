"""Losses by name. Each returns one value per example, in nats; the caller reduces."""

import dataclasses
import math

from mmalign_jax.losses.contrastive import info_nce, sigmoid
from mmalign_jax.losses.protocol import OPTIONS, Loss, own_settings
from mmalign_jax.losses.streaming import streaming_info_nce, streaming_sigmoid
from mmalign_jax.losses.task import TASKS, Task, cross_entropy, expected, l1, task_of
from mmalign_jax.types import Range, lookup

__all__ = ['LOSSES', 'OPTIONS', 'TASKS', 'Loss', 'Task', 'cross_entropy', 'expected', 'info_nce',
           'l1', 'loss_of', 'own_ranges', 'own_settings', 'sigmoid', 'streaming_info_nce',
           'streaming_sigmoid', 'task_of']

# A row: (z1, z2, **options) -> [B], with those of OPTIONS that its signature names; or a `Loss`.
LOSSES = {'info_nce': info_nce, 'sigmoid': sigmoid, 'streaming_info_nce': streaming_info_nce,
          'streaming_sigmoid': streaming_sigmoid}


def loss_of(name: str) -> Loss:
  """The row `name` of LOSSES."""
  row = lookup(LOSSES, name, 'loss')
  return dataclasses.replace(row if isinstance(row, Loss) else Loss(row, True), name=name)


def own_ranges() -> dict[str, Range]:
  """{loss_NAME: range} of the own settings of all losses; of two with one name, the wider."""
  found: dict[str, Range] = {}
  for row in map(loss_of, LOSSES):
    for setting in row.settings:
      own = row.ranges.get(setting, Range(low=-math.inf))
      before = found.get(f'loss_{setting}', own)
      found[f'loss_{setting}'] = Range(
          min(own.low, before.low), max(own.high, before.high), own.whole and before.whole)
  return found
