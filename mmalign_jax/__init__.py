"""Multimodal representation alignment: when it emerges, and how strongly to ask for it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from mmalign_jax import diagnosis, fitted, information, similarity
  from mmalign_jax.fitted.estimator import AlignedEncoders
  from mmalign_jax.generators import exact, synthetic
  from mmalign_jax.losses import cross_entropy, info_nce, l1, sigmoid
  from mmalign_jax.losses.streaming import streaming_info_nce, streaming_sigmoid
  from mmalign_jax.training.step import init_state, train_step
  from mmalign_jax.training.sweep import grid, run_sweep
  from mmalign_jax.types import Batch, Hyper, Spec, TrainState

__all__ = [
    'AlignedEncoders', 'Batch', 'Hyper', 'Spec', 'TrainState', 'cross_entropy', 'diagnosis',
    'exact', 'fitted', 'grid', 'info_nce', 'information', 'init_state', 'l1', 'run_sweep',
    'sigmoid', 'similarity', 'streaming_info_nce', 'streaming_sigmoid', 'synthetic',
    'train_step']

_MODULES = {'diagnosis': '', 'fitted': '', 'information': '', 'similarity': '',
            'exact': 'generators', 'synthetic': 'generators'}
_NAMES = {
    'fitted.estimator': ('AlignedEncoders',),
    'losses': ('cross_entropy', 'info_nce', 'l1', 'sigmoid'),
    'losses.streaming': ('streaming_info_nce', 'streaming_sigmoid'),
    'training.step': ('init_state', 'train_step'), 'training.sweep': ('grid', 'run_sweep'),
    'types': ('Batch', 'Hyper', 'Spec', 'TrainState')}


def __getattr__(name: str) -> Any:
  """Loads a public name when it is first asked for: a command begins without JAX."""
  if name in _MODULES:
    found = importlib.import_module('.'.join(filter(None, (__name__, _MODULES[name], name))))
  else:
    where = next((module for module, names in _NAMES.items() if name in names), None)
    if where is None:
      raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    found = getattr(importlib.import_module(f'{__name__}.{where}'), name)
  globals()[name] = found
  return found


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
