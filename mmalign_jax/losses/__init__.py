"""Losses by name: those that align sides (LOSSES), and those of a task (TASKS)."""

import dataclasses
import math

from mmalign_jax.losses.contrastive import (
  debiased_info_nce,
  decoupled_info_nce,
  info_nce,
  sigmoid,
)
from mmalign_jax.losses.kernels import cka, hsic
from mmalign_jax.losses.moments import barlow_twins, correlation, soft_cca, vicreg
from mmalign_jax.losses.pairs import (
  cosine,
  gap_aware,
  prediction,
  shared_own,
  squared_distance,
)
from mmalign_jax.losses.protocol import OPTIONS, Loss, own_settings
from mmalign_jax.losses.streaming import streaming_info_nce, streaming_sigmoid
from mmalign_jax.losses.task import TASKS, Task, cross_entropy, expected, l1, task_of
from mmalign_jax.losses.together import comm, factorised, intra_modal
from mmalign_jax.types import Range, lookup

__all__ = [
    'LOSSES', 'OPTIONS', 'TASKS', 'Loss', 'Task', 'barlow_twins', 'cka', 'comm', 'correlation',
    'cosine', 'cross_entropy', 'debiased_info_nce', 'decoupled_info_nce', 'expected', 'factorised',
    'gap_aware', 'hsic', 'info_nce', 'intra_modal', 'l1', 'loss_of', 'own_ranges',
    'own_settings', 'prediction', 'shared_own', 'sigmoid', 'soft_cca', 'squared_distance',
    'streaming_info_nce', 'streaming_sigmoid', 'task_of', 'vicreg']

# A row: (z1, z2, **options) -> [B] or [], with those of OPTIONS that its signature names; or a
# `Loss`.
_WEIGHT, _RAW = Range(0), {'of_pairs': True, 'of': 'raw'}
_NOISY = {'ranges': {'noise': Range(0), 'masked': Range(0, 0.99)}, 'augments': True}
LOSSES = {
    'info_nce': info_nce, 'sigmoid': sigmoid, 'streaming_info_nce': streaming_info_nce,
    'streaming_sigmoid': streaming_sigmoid, 'decoupled_info_nce': decoupled_info_nce,
    'debiased_info_nce': Loss(debiased_info_nce, True, {'positives': Range(0, 0.99)}),
    'cosine': cosine, 'squared_distance': Loss(squared_distance, **_RAW),
    'prediction': Loss(prediction, True, of='outputs', predicts=True),
    'vicreg': Loss(vicreg, ranges=dict.fromkeys(('invariance', 'variance', 'covariance'), _WEIGHT),
                   **_RAW),
    'barlow_twins': Loss(barlow_twins, ranges={'off_diagonal': _WEIGHT}, **_RAW),
    'correlation': Loss(correlation, ranges={'shrinkage': Range(1e-3, 1)}, **_RAW),
    'soft_cca': Loss(soft_cca, ranges={'decorrelation': _WEIGHT}, **_RAW),
    'cka': Loss(cka, **_RAW), 'hsic': Loss(hsic, True, {'bandwidth': Range(1e-2)}),
    'gap_aware': Loss(gap_aware, True, {'uniformity': _WEIGHT, 'sharpness': _WEIGHT}),
    'shared_own': Loss(shared_own, ranges={'orthogonality': _WEIGHT}, **_RAW),
    'factorised': Loss(factorised, True, of='outputs', **_NOISY), 'comm': Loss(comm, **_NOISY),
    'intra_modal': Loss(intra_modal, **_NOISY)}


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
