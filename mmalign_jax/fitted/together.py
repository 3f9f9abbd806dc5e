"""What the encoders of several views say of the same rows together."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from mmalign_jax import objective
from mmalign_jax.fitted.calibrate import probabilities
from mmalign_jax.fitted.model import (
  Fitted,
  Prediction,
  in_parts,
  number_of,
  outputs,
  predict,
  said,
)
from mmalign_jax.training import compiling
from mmalign_jax.types import Spec


def predict_together(fitted: Fitted, x: Mapping[str, np.ndarray]) -> Prediction:
  """What the encoders of several views say of the same rows: the head on all embeddings, where
  there is one and a row has all views; else mean probabilities of the views that it has, calibrated
  again, or mean values.

  Args:
    x: arrays as of `embed`, by view.

  Raises:
    ValueError: as `embed`; other numbers of rows, or no view.
  """
  if not x:
    raise ValueError(f'no view is given; known: {", ".join(fitted.names)}')
  rows = {name: len(value) for name, value in x.items()}
  if len(set(rows.values())) > 1:
    raise ValueError('views of other numbers of rows: ' + ', '.join(
        f'{name} has {n}' for name, n in rows.items()))
  if len(x) == 1:
    return predict(fitted, *next(iter(x.items())))
  made = {name: outputs(fitted, name, value) for name, value in x.items()}
  return of_outputs(fitted, {name: z for name, (z, _) in made.items()},
                    {name: prediction for name, (_, prediction) in made.items()})


def of_outputs(fitted: Fitted, z: Mapping[str, np.ndarray],
               predictions: Mapping[str, np.ndarray]) -> Prediction:
  """The same of the `outputs` of several views, by name."""
  of_each = said(fitted, joined(fitted, predictions), fitted.together)
  places = {number_of(fitted, name): value for name, value in z.items()}
  if fitted.head is None or len(places) < len(fitted.views):
    return of_each
  of_all = said(fitted, fused(fitted, [places[i] for i in range(len(places))]), fitted.joint)
  lacks = np.isnan(of_all.value)
  either = lambda a, b: np.where(lacks.reshape(-1, *[1] * (a.ndim - 1)), b, a)
  if of_all.probabilities is None or of_each.probabilities is None:
    return Prediction(None, either(of_all.value, of_each.value), max(
        of_all.residual, of_each.residual) if lacks.any() else of_all.residual)
  return Prediction(either(of_all.probabilities, of_each.probabilities),
                    either(of_all.value, of_each.value), np.nan)


def fused(fitted: Fitted, z: Sequence[np.ndarray]) -> np.ndarray:
  """Logits [N, C], or values [N], of the head on the embeddings z [N, K] of all views; NaN in rows
  that lack one."""
  run = _head(fitted.spec, fitted.n_outputs)
  lacks = np.logical_or.reduce([np.isnan(one).any(axis=1) for one in z])
  whole = [np.where(lacks[:, None], 0, one).astype(np.float32) for one in z]
  made, = in_parts(run, fitted.head, whole) or (np.zeros(
      (0, fitted.n_outputs) if fitted.classes else 0, np.float32),)
  made[lacks] = np.nan
  return made


@compiling.kept(32)
def _head(spec: Spec, n_outputs: int):
  return jax.jit(lambda params, z: (objective.fused(
      {objective.FUSION: params}, z, spec=spec, n_outputs=n_outputs),))


def joined(fitted: Fitted, found: Mapping[str, np.ndarray]) -> np.ndarray:
  """Log of the mean calibrated probabilities [N, C] of several views' logits, or mean values [N];
  over the views that a row has."""
  each = np.stack([
      probabilities(logits, fitted.views[number_of(fitted, name)].calibration.temperature)
      if fitted.classes else np.asarray(logits, np.float64) for name, logits in found.items()])
  known = np.isfinite(each)
  count = known.sum(axis=0)
  mean = np.where(count > 0, np.where(known, each, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
  return np.log(np.maximum(mean, np.finfo(float).tiny)) if fitted.classes else mean
