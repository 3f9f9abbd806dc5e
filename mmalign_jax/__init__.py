"""Multimodal representation alignment: when it emerges, and how strongly to ask for it."""

from mmalign_jax import information, similarity
from mmalign_jax.generators import exact, synthetic
from mmalign_jax.losses import cross_entropy, info_nce, l1, sigmoid
from mmalign_jax.losses.streaming import streaming_info_nce, streaming_sigmoid
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.training.sweep import grid, run_sweep
from mmalign_jax.types import Batch, Hyper, Spec, TrainState

__all__ = [
    'Batch', 'Hyper', 'Spec', 'TrainState', 'cross_entropy', 'exact', 'grid', 'info_nce',
    'information', 'init_state', 'l1', 'run_sweep', 'sigmoid', 'similarity',
    'streaming_info_nce', 'streaming_sigmoid', 'synthetic', 'train_step']
