"""What a trained pair of encoders is worth: accuracy, information, and similarity of the sides."""

import chex
from flax import struct
import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

from mmalign_jax import losses, objective
from mmalign_jax.generators.exact import entropy
from mmalign_jax.data.sources import Source
from mmalign_jax.similarity import debiased_linear_cka, mutual_knn
from mmalign_jax.types import Hyper, Key, PyTree, Spec, Test


@struct.dataclass
class Score:
  """One encoder: accuracy [] in 0..1, accuracy_by_fold [F], task_loss [] (cross-entropy in nats, or
  absolute error), information [] I(prediction; Y) in nats (NaN for regression)."""
  accuracy: chex.Array
  accuracy_by_fold: chex.Array
  task_loss: chex.Array
  information: chex.Array


@struct.dataclass
class Cell:
  """Everything recorded of one cell; scalars [] but for `side_i.accuracy_by_fold` [F]."""
  side_1: Score
  side_2: Score
  ceiling_1: chex.Array
  ceiling_2: chex.Array
  mi_1: chex.Array
  mi_2: chex.Array
  cka: chex.Array
  mutual_knn: chex.Array
  diverged: chex.Array


def evaluate(params: PyTree, hyper: Hyper, tables: PyTree, key: Key, *, spec: Spec,
             source: Source) -> Cell:
  """Scores of both encoders and the similarity of their last hidden layers.

  diverged is set, and every score NaN, where a parameter is not finite.
  """
  modules = objective.modules(spec, source.n_outputs(tables))
  scores = [
      score(modules[i].apply(params[f'side_{i + 1}'], test.x).prediction, test, spec=spec)
      for i, test in enumerate(source.test(tables, hyper, side) for side in (1, 2))]
  x1, x2 = source.pairs(tables, hyper, key, spec.n_align)
  h1, h2 = (modules[i].apply(params[f'side_{i + 1}'], x).layers[-1] for i, x in enumerate((x1, x2)))
  diverged = ~jnp.all(jnp.isfinite(ravel_pytree(params)[0]))
  known = source.bounds(tables, hyper)
  trained = dict(
      side_1=scores[0], side_2=scores[1], cka=debiased_linear_cka(h1, h2),
      mutual_knn=mutual_knn(h1, h2, k=spec.neighbors))
  trained = jax.tree.map(lambda v: jnp.where(diverged, jnp.nan, v), trained)
  return Cell(
      **trained, ceiling_1=known.accuracy_1, ceiling_2=known.accuracy_2, mi_1=known.mi_1,
      mi_2=known.mi_2, diverged=diverged)


def score(prediction: chex.Array, test: Test, *, spec: Spec) -> Score:
  """Judges logits [M, C] against p(y | x) [M, C], or predictions [M] against labels [M].

  For regression accuracy is the share of rows predicted on the label's own side of the training
  median, which the standardised labels have at 0 (the field scores sentiment by sign).
  """
  task_loss = losses.expected(spec.task, prediction, test.target)  # [M]
  if losses.task_of(spec.task).regression:
    correct = ((prediction > 0) == (test.target > 0)).astype(jnp.float32)
    information = jnp.float32(jnp.nan)
  else:
    guess = jax.nn.one_hot(jnp.argmax(prediction, axis=1), prediction.shape[1])
    correct = jnp.sum(guess * test.target, axis=1)
    joint = jnp.dot(guess.T, test.target, precision='highest') / prediction.shape[0]  # [C, C]
    information = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
  by_fold = correct.mean(keepdims=True)
  if test.n_folds > 1:
    member = jax.nn.one_hot(test.fold, test.n_folds)  # [M, F]
    by_fold = jnp.dot(correct, member, precision='highest') / jnp.sum(member, axis=0)
  return Score(correct.mean(), by_fold, task_loss.mean(), information)
