"""What trained encoders are worth: accuracy, information, and similarity of the sides."""

from collections.abc import Callable, Sequence
import itertools

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp

from mmalign_jax import losses, objective, rng, struct
from mmalign_jax.data.sources import Bounds, Source
from mmalign_jax.generators.exact import entropy
from mmalign_jax.similarity import debiased_linear_cka, mutual_knn
from mmalign_jax.training import probes
from mmalign_jax.types import Array, Hyper, Joint, Key, Outputs, PyTree, Spec, Test


@struct.dataclass
class Score:
  """One encoder: accuracy [] in 0..1, accuracy_by_fold [F], task_loss [] (cross-entropy in nats, or
  absolute error), information [] I(prediction; Y) in nats (NaN for regression); balanced_accuracy,
  correlation []: see `further`, NaN where the task has none."""
  accuracy: Array
  accuracy_by_fold: Array
  task_loss: Array
  information: Array
  balanced_accuracy: Array
  correlation: Array


@struct.dataclass
class Fused:
  """The head on all sides, and every side alone, on the same samples, which have all sides; ceiling
  []: Bayes accuracy of all sides together, NaN if unknown."""
  together: Score
  sides: tuple[Score, ...]
  ceiling: Array


@struct.dataclass
class Cell:
  """Everything recorded of one cell; scalars [] but for `accuracy_by_fold` [F] of a score.

  sides, bounds: of every side; validation: accuracy [] of every side on the rows that choose
  settings, none where the data have none. retention: of every side what probes read from its
  layers, none without `Spec.probes`. cka, mutual_knn: of every pair of sides, in the order of
  `pairs`. fused: None without a head on all sides.
  """
  sides: tuple[Score, ...]
  bounds: tuple[Bounds, ...]
  cka: tuple[Array, ...]
  mutual_knn: tuple[Array, ...]
  diverged: Array
  validation: tuple[Array, ...] = ()
  fused: Fused | None = None
  retention: tuple[probes.Retention, ...] = ()


def pairs(n_sides: int) -> tuple[tuple[int, int], ...]:
  """Pairs of sides, numbered from 1: (1, 2), (1, 3), ..., (2, 3), ..."""
  return tuple(itertools.combinations(range(1, n_sides + 1), 2))


def evaluate(params: PyTree, hyper: Hyper, tables: PyTree, key: Key, *, spec: Spec,
             source: Source) -> Cell:
  """Scores of all encoders and the similarity of their last hidden layers.

  diverged is set, and every score NaN, where a parameter is not finite. One of a frozen head, which
  no encoder feels, makes the scores of that head NaN alone.
  """
  modules = objective.modules(spec, source.n_outputs(tables), source.n_sides(tables))
  tests = [source.test(tables, hyper, side) for side in range(1, len(modules) + 1)]
  apply = lambda i, x: objective.outputs(modules[i], params[f'side_{i + 1}'], x)
  judged, scores = zip(*(
      ((out := apply(i, test.x)), score(out.prediction, test, spec=spec))
      for i, test in enumerate(tests)))
  last = [apply(i, x).layers[-1]
          for i, x in enumerate(source.pairs(tables, hyper, key, spec.n_align))]
  felt = params if spec.fusion != 'frozen' else {
      name: value for name, value in params.items() if name != objective.FUSION}
  diverged = ~jnp.all(jnp.isfinite(ravel_pytree(felt)[0]))
  of_pairs = lambda measure, **settings: tuple(
      measure(last[i - 1], last[j - 1], **settings) for i, j in pairs(len(modules)))
  validation = () if source.validation is None else tuple(
      score(apply(i, test.x).prediction, test, spec=spec).accuracy for i, test in enumerate(
          source.validation(tables, hyper, side) for side in range(1, len(modules) + 1)))
  read = () if not spec.probes else _read(judged, apply, hyper, tables, source)
  trained = dict(sides=scores, validation=validation, cka=of_pairs(debiased_linear_cka),
                 mutual_knn=of_pairs(mutual_knn, k=spec.neighbors), retention=read,
                 fused=fused(params, hyper, tables, spec=spec, source=source))
  trained = jax.tree.map(lambda v: jnp.where(diverged, jnp.nan, v), trained)
  return Cell(**trained, bounds=tuple(source.bounds(tables, hyper)), diverged=diverged)


def fused(params: PyTree, hyper: Hyper, tables: PyTree, *, spec: Spec,
          source: Source) -> Fused | None:
  """Scores on the samples that have all sides; None where no head is on all.

  Raises:
    ValueError: the source has no such samples.
  """
  if spec.fusion == 'none':
    return None
  if source.joint is None:
    raise ValueError(f'fusion={spec.fusion!r}: generator {spec.generator!r} has no joint test set')
  joint = source.joint(tables, hyper, rng.stream(hyper.seed, 'joint test'))
  n_outputs = source.n_outputs(tables)
  outs = [objective.outputs(module, params[f'side_{i}'], x) for i, (module, x) in enumerate(zip(
      objective.modules(spec, n_outputs, len(joint.x)), joint.x, strict=True), start=1)]
  rows = joint.rows or [slice(None)] * len(outs)
  prediction = objective.fused(
      params, [out.z[row] for out, row in zip(outs, rows)], spec=spec, n_outputs=n_outputs)
  together = score(prediction, joint, spec=spec)
  finite = jnp.all(jnp.isfinite(ravel_pytree(params[objective.FUSION])[0]))
  return Fused(
      jax.tree.map(lambda v: jnp.where(finite, v, jnp.nan), together),
      tuple(score(out.prediction[row], joint, spec=spec) for out, row in zip(outs, rows)),
      jnp.asarray(joint.ceiling, jnp.float32))


def _read(judged: Sequence[Outputs], apply: Callable[[int, PyTree], Outputs], hyper: Hyper,
          tables: PyTree, source: Source) -> tuple[probes.Retention, ...]:
  """What probes read of every side, fitted to samples that no training has seen drawn."""
  assert source.factors is not None  # as `checks.check_probes` says
  rows = source.draw(tables, hyper, rng.stream(hyper.seed, 'probes'), probes.N_FIT).rows
  found = []
  for i, (x, out) in enumerate(zip(source.inputs(tables, hyper, rows), judged)):
    samples, exact = (source.factors(tables, hyper, i + 1, of) for of in (rows, None))
    found.append(probes.retention(
        probes.layers(apply(i, x)), probes.layers(out), samples, exact))
  return tuple(found)


def score(prediction: Array, test: Test | Joint, *, spec: Spec) -> Score:
  """Judges logits [M, C] against p(y | x) [M, C], or predictions [M] against labels [M].

  For regression accuracy is the share of rows predicted on the label's own side of the training
  median, which the standardised labels have at 0 (the field scores sentiment by sign).
  """
  task_loss, nan = losses.expected(spec.task, prediction, test.target), jnp.float32(jnp.nan)
  if losses.task_of(spec.task).regression:
    correct = ((prediction > 0) == (test.target > 0)).astype(jnp.float32)
    information = nan
  else:
    guess = jax.nn.one_hot(jnp.argmax(prediction, axis=1), prediction.shape[1])
    correct = jnp.sum(guess * test.target, axis=1)
    joint = jnp.dot(guess.T, test.target, precision='highest') / prediction.shape[0]  # [C, C]
    information = entropy(joint.sum(0)) + entropy(joint.sum(1)) - entropy(joint.ravel())
  by_fold = correct.mean(keepdims=True)
  if test.n_folds > 1:
    member = jax.nn.one_hot(test.fold, test.n_folds)  # [M, F]
    by_fold = jnp.dot(correct, member, precision='highest') / jnp.sum(member, axis=0)
  more = {'balanced_accuracy': nan, 'correlation': nan} | further(prediction, test, spec=spec)
  return Score(correct.mean(), by_fold, task_loss.mean(), information, more['balanced_accuracy'],
               more['correlation'])


def further(prediction: Array, test: Test | Joint, *, spec: Spec) -> dict[str, Array]:
  """What else rows with labels are scored by, each []: `balanced_accuracy`, the mean share of every
  class found (of those in the test rows); of a regression `absolute_error`, the mean in standard
  deviations of the labels in training, and `correlation` (Pearson) of prediction and label."""
  if losses.task_of(spec.task).regression:
    a, b = (v - v.mean() for v in (prediction, test.target))
    size = jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))
    return {'absolute_error': jnp.abs(prediction - test.target).mean(),
            'correlation': jnp.where(size > 0, jnp.sum(a * b) / jnp.where(size > 0, size, 1), 0)}
  hit = jax.nn.one_hot(jnp.argmax(prediction, axis=1), prediction.shape[1]) * test.target
  count = test.target.sum(axis=0)
  found = jnp.where(count > 0, hit.sum(axis=0) / jnp.maximum(count, 1), 0)
  return {'balanced_accuracy': found.sum() / (count > 0).sum()}
