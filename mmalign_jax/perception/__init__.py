"""Encoders of real images and audio: linen modules, batch-first, init and apply pure functions."""

from mmalign_jax.perception.audio import GRU, AudioCNN, AudioTransformer
from mmalign_jax.perception.vision import LeNet, ViT

__all__ = ['GRU', 'AudioCNN', 'AudioTransformer', 'LeNet', 'ViT']
