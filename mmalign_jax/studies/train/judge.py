"""What an ensemble of trained encoders is worth on held-out pairs."""

from collections.abc import Sequence
import functools
from typing import TYPE_CHECKING

import jax
import numpy as np

from mmalign_jax import losses, objective, similarity
from mmalign_jax.data.prepared import Judged, Prepared, View, take
from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.training import compiling
from mmalign_jax.training.evaluate import pairs
from mmalign_jax.types import PyTree, Spec

if TYPE_CHECKING:
  import xarray as xr

CHUNK = 500   # samples in one call: the last is filled up, so that all share one compilation
_SHOWN = {
    'accuracy': ('test accuracy', '1'), 'accuracy_se': ('standard error of test accuracy', '1'),
    'cross_entropy': ('test cross-entropy', 'nats'),
    'absolute_error': ('test absolute error, in mean deviations of the training labels', '1')}
_SIMILAR = {
    'cka': 'debiased linear CKA of the last hidden layers', 'mutual_knn':
    'mutual kNN of the last hidden layers', 'recall': 'recall at 1'}


@compiling.kept(16)
def _forward(spec: Spec, n_outputs: int, side: int):
  module = objective.modules(spec, n_outputs, side)[-1]
  def one(params, x):
    out = objective.outputs(module, params, x)
    prediction = out.prediction if losses.task_of(spec.task).regression else jax.nn.log_softmax(
        out.prediction)
    return prediction, out.layers[-1], out.z
  return jax.jit(jax.vmap(one, in_axes=(0, None)))


def forward(params: PyTree, x: View, side: int, *, spec: Spec, n_outputs: int):
  """Of one side, from 1, with samples x [M, ...]: log probabilities [R, M, C] or predictions [R,
  M], the last layer [R, M, width], z [R, M, K]."""
  m, parts = count(x), []
  for start in range(0, m, CHUNK):
    index = np.minimum(np.arange(start, start + CHUNK), m - 1)
    out = jax.device_get(_forward(spec, n_outputs, side)(params[f'side_{side}'], take(x, index)))
    parts.append(jax.tree.map(lambda v: v[:, :m - start], out))
  return jax.tree.map(lambda *v: np.concatenate(v, axis=1), *parts)


def count(x: View) -> int:
  """M, the samples of a view."""
  return len(jax.tree.leaves(x)[0])


def some(n: int, most: int | None) -> np.ndarray:
  """`most` of the rows 0..n-1 at random, in order; all where there are no more. Always the same:
  test rows may come sorted by class, and the first are then of a few classes alone."""
  return np.sort(np.random.default_rng(0).permutation(n)[:most])


def accuracies(params: PyTree, tests: Sequence[Judged], *, spec: Spec, n_outputs: int,
               most: int | None = None) -> dict[str, np.ndarray]:
  """Accuracy [R] and task loss [R] (cross-entropy in nats) of every encoder on all rows, or on
  `most` of them (`some`)."""
  found = {}
  for i, test in enumerate(tests, start=1):
    few = some(count(test.x), most)
    prediction, *_ = forward(params, take(test.x, few), i, spec=spec, n_outputs=n_outputs)
    hit, loss = outcomes(prediction, test.y[few])
    found |= {f'accuracy_{i}': hit.mean(axis=1), f'{_loss(spec)}_{i}': loss.mean(axis=1)}
  return found


def outcomes(prediction: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Which are right [R, M], and the loss [R, M], of log probabilities [R, M, C] of classes [M], or
  of predictions [R, M] of labels [M], which are right on the label's own side of 0."""
  if prediction.ndim == 2:
    return ((prediction > 0) == (y > 0)).astype(np.float64), np.abs(prediction - y)
  return ((prediction.argmax(axis=2) == y).astype(np.float64),
          -prediction[:, np.arange(len(y)), y])


def _loss(spec: Spec) -> str:
  return 'absolute_error' if losses.task_of(spec.task).regression else 'cross_entropy'


@functools.lru_cache(maxsize=8)
def _similar(neighbors: int):
  measure = lambda name, a, b, **kw: similarity.MEASURES[name](a, b, **kw)
  def one(h1, h2, z1, z2):
    return (measure('debiased_linear_cka', h1, h2), measure('mutual_knn', h1, h2, k=neighbors),
            measure('recall_xy', z1, z2, at=1), measure('recall_yx', z1, z2, at=1))
  return jax.jit(lambda *v: jax.lax.map(lambda s: one(*s), v))


def judge(params: PyTree, data: Prepared, *, spec: Spec, n_outputs: int) -> dict[str, np.ndarray]:
  """Everything reported of an ensemble [R], by name; accuracy_by_fold_i [R, F]."""
  found = {}
  for i, test in enumerate(data.test, start=1):
    prediction, *_ = forward(params, test.x, i, spec=spec, n_outputs=n_outputs)
    hit, loss = outcomes(prediction, test.y)
    found[f'accuracy_{i}'] = hit.mean(axis=1)
    found[f'accuracy_se_{i}'] = clustered_error(hit, np.unique(test.unit, return_inverse=True)[1])
    found[f'accuracy_by_fold_{i}'] = by_fold(hit, test.fold, data.n_folds)
    found[f'{_loss(spec)}_{i}'] = loss.mean(axis=1)
    found[f'ceiling_{i}'] = np.full(len(hit), np.nan)
  few = some(count(data.unseen[0]), spec.n_align)
  sides = [forward(params, take(x, few), i, spec=spec, n_outputs=n_outputs)[1:]
           for i, x in enumerate(data.unseen, start=1)]
  for i, j in pairs(len(sides)):
    (h1, z1), (h2, z2) = sides[i - 1], sides[j - 1]
    names = (*(name if len(sides) == 2 else f'{name}_{i}_{j}' for name in ('cka', 'mutual_knn')),
             f'recall_{i}{j}', f'recall_{j}{i}')
    found |= zip(names, jax.device_get(_similar(spec.neighbors)(h1, h2, z1, z2)))
  finite = [np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)
            for leaf in jax.tree.leaves(jax.device_get(params))]
  return found | {'diverged': ~np.all(finite, axis=0)}


def by_fold(hit: np.ndarray, fold: np.ndarray, n_folds: int) -> np.ndarray:
  """Means [R, F] of hit [R, M]; NaN of a fold without a row."""
  member = np.eye(n_folds)[fold]  # [M, F]
  with np.errstate(invalid='ignore'):
    return hit @ member / member.sum(axis=0)


def clustered_error(hit: np.ndarray, unit: np.ndarray) -> np.ndarray:
  """Standard error [R] of the mean of hit [R, M] whose M samples come in independent units."""
  off = hit - hit.mean(axis=1, keepdims=True)
  sums = np.stack([np.bincount(unit, row) for row in off])
  return np.sqrt((sums**2).sum(axis=1)) / hit.shape[1]


def similar(dataset: 'xr.Dataset') -> list[str]:
  """Names of the similarities of pairs of sides in a data set, in order."""
  return [str(name) for name in dataset.data_vars
          if any(str(name) == stem or str(name).startswith(f'{stem}_') for stem in _SIMILAR)]


def to_dataset(axes: dict[str, tuple], found: dict[str, np.ndarray],
               attributes: dict[str, str]) -> 'xr.Dataset':
  """`judge`'s arrays with a dimension per axis of the ensemble."""
  import xarray as xr
  shape, data = tuple(map(len, axes.values())), {}
  for name, value in found.items():
    text, units = _words(name)
    own = ('fold',) if value.ndim == 2 else ()
    data[name] = ((*axes, *own), np.asarray(value).reshape(shape + value.shape[1:]),
                  {'long_name': text, 'units': units})
  text = {'lam': 'strength of alignment', 'seed': 'random seed'}
  coords = {name: (name, np.asarray(axis), {'long_name': text[name], 'units': '1'})
            for name, axis in axes.items()}
  return with_encoders(xr.Dataset(data, coords, attributes))


def _words(name: str) -> tuple[str, str]:
  """Long name and units of a variable."""
  stem, _, side = name.rpartition('_')
  if name == 'diverged':
    return 'a parameter became infinite or NaN', '1'
  if stem == 'recall':
    return f'{_SIMILAR[stem]}, side {side[0]} to side {side[1]}', '1'
  for known, text in _SIMILAR.items():
    if name == known or name.startswith(f'{known}_'):
      of = name.removeprefix(known).split('_')[1:]
      return f'{text}, sides {" and ".join(of)}' if of else text, '1'
  text, units = _SHOWN.get(stem, (stem.replace('_', ' '), '1'))
  return f'{text} of encoder {side}', units
