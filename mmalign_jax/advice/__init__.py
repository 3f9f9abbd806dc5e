"""Advice before any training: what an owner of data can measure, and the strength that it tells."""

from mmalign_jax.advice.features import features
from mmalign_jax.advice.predictor import Prediction, advice, predict

__all__ = ['Prediction', 'advice', 'features', 'predict']
