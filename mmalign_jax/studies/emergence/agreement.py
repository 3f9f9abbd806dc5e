"""How similar the representations of two encoders are, over all pairs of their layers."""

import functools
from typing import Any

import jax
import numpy as np

from mmalign_jax import rng, similarity
from mmalign_jax.similarity import Measure
from mmalign_jax.training import compiling
from mmalign_jax.types import Array

SMALL = 1e6  # permutations times entries of a table N x N below which compiling is what takes time


def settings_of(measure: Measure, neighbors: int) -> dict[str, Any]:
  """Keyword arguments of a measure: those that count neighbours take `neighbors`."""
  return {'k': neighbors} if 'k' in measure.settings else {}


@functools.lru_cache(maxsize=64)
def compiled(name: str, neighbors: int, permutations: int, thorough: bool = True):
  """jit of (x [R, N, D], y [R, N, D'], seed) -> scores [R] and their nulls [R, permutations].

  Rows are L2-normalised first, as published. The permutations depend on the seed alone, so nulls
  of several layers, depths or tasks belong together entry by entry.
  """
  measure = similarity.MEASURES[name]
  settings = settings_of(measure, neighbors)

  def pair(x, y, seed):
    found = similarity.calibrate(
        measure, similarity.normalize(x), similarity.normalize(y), key=rng.stream(seed, 'null'),
        permutations=permutations, **settings)
    return found.score, found.null

  return jax.jit(
      jax.vmap(pair, in_axes=(0, 0, None)),
      compiler_options=None if thorough else compiling.QUICK)


def agreement(x: Array, y: Array, *, name: str, neighbors: int, permutations: int,
              seed: int) -> tuple[np.ndarray, np.ndarray]:
  """One measure of all pairs of layers, beside the permutation null of the best of them.

  Layers go through one at a time, so that one compilation serves encoders of every depth.

  Args:
    x, y: [R, L1, N, D] and [R, L2, N, D'], the layers of R encoders of either side.
    name: in `similarity.MEASURES`. neighbors: for those that count them. seed: of permutations.

  Returns:
    scores [R, L1, L2], and the best under each permutation [R, permutations].
  """
  measure = similarity.MEASURES[name]
  one = compiled(name, neighbors, permutations, permutations * x.shape[2] ** 2 > SMALL)
  best = np.maximum if measure.higher else np.minimum
  scores, chances = [], []
  for i in range(x.shape[1]):
    for j in range(y.shape[1]):
      score, chance = jax.device_get(one(x[:, i], y[:, j], np.uint32(seed)))
      scores.append(score)
      chances.append(chance)
  return (np.stack(scores, axis=1).reshape(len(x), x.shape[1], y.shape[1]),
          functools.reduce(best, chances))


def best_layers(name: str, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The best of scores [R, L1, L2] by the measure's own direction [R], and where it is [R, 2]."""
  flat = scores.reshape(len(scores), -1)
  at = flat.argmax(axis=1) if similarity.MEASURES[name].higher else flat.argmin(axis=1)
  return np.take_along_axis(flat, at[:, None], axis=1)[:, 0], np.stack(
      np.unravel_index(at, scores.shape[1:]), axis=1)


def calibrated(name: str, neighbors: int, best: np.ndarray,
               null: np.ndarray) -> similarity.Calibration:
  """Calibrations of best values [...] with the nulls [..., P] of the best: arrays [...]."""
  measure = similarity.MEASURES[name]
  settings = settings_of(measure, neighbors)
  one = lambda score, chance: similarity.calibration(
      measure, score[None, None], chance, **settings)
  found = jax.jit(jax.vmap(one))(best.ravel(), null.reshape(best.size, -1))
  return jax.tree.map(lambda v: np.asarray(v).reshape(best.shape + v.shape[1:]), found)
