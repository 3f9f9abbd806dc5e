"""What an ensemble of trained pairs is worth on held-out pairs."""

from collections.abc import Sequence
import functools
from typing import TYPE_CHECKING

import chex
import jax
import numpy as np

from mmalign_jax import objective, similarity
from mmalign_jax.data.avmnist.load import AVMNIST
from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.types import PyTree, Spec

if TYPE_CHECKING:
  import xarray as xr

CHUNK = 500   # pairs in one call: the last is filled up, so that all share one compilation
FOLDS = 20    # of the test pairs, the units that a bootstrap over them draws
_SHOWN = {
    'accuracy': ('test accuracy', '1'), 'accuracy_se': ('standard error of test accuracy', '1'),
    'cross_entropy': ('test cross-entropy', 'nats')}
_BOTH = {
    'cka': 'debiased linear CKA of the last hidden layers', 'mutual_knn':
    'mutual kNN of the last hidden layers', 'recall_12': 'recall at 1, image to sound',
    'recall_21': 'recall at 1, sound to image', 'diverged': 'a parameter became infinite or NaN'}


@functools.lru_cache(maxsize=8)
def _forward(spec: Spec, n_outputs: int):
  def one(params, samples):
    outs = [objective.outputs(side, params[f'side_{i + 1}'], x) for i, (side, x) in enumerate(
        zip(objective.modules(spec, n_outputs, len(samples)), samples))]
    return [(jax.nn.log_softmax(out.prediction), out.layers[-1], out.z) for out in outs]
  return jax.jit(jax.vmap(one, in_axes=(0, None)))


def forward(params: PyTree, samples: Sequence[np.ndarray], *, spec: Spec, n_outputs: int):
  """Of each side, with samples [M, ...]: log probabilities [R, M, C], the last layer [R, M, width],
  z [R, M, K]."""
  m, parts = len(samples[0]), []
  for start in range(0, m, CHUNK):
    index = np.minimum(np.arange(start, start + CHUNK), m - 1)
    out = jax.device_get(_forward(spec, n_outputs)(params, tuple(x[index] for x in samples)))
    parts.append(jax.tree.map(lambda v: v[:, :m - start], out))
  return jax.tree.map(lambda *v: np.concatenate(v, axis=1), *parts)


def accuracies(params: PyTree, data: AVMNIST, *, spec: Spec, n_outputs: int,
               most: int | None = None) -> dict[str, np.ndarray]:
  """Accuracy [R] and cross-entropy [R] (nats) of both encoders on the first `most` test pairs."""
  sides = forward(params, (data.image_test[:most], data.audio_test[:most]), spec=spec,
                  n_outputs=n_outputs)
  label, found = data.label_test[:most], {}
  for i, (log_p, *_) in enumerate(sides, start=1):
    found[f'accuracy_{i}'] = (log_p.argmax(axis=2) == label).mean(axis=1)
    found[f'cross_entropy_{i}'] = -log_p[:, np.arange(len(label)), label].mean(axis=1)
  return found


@functools.lru_cache(maxsize=8)
def _similar(neighbors: int):
  measure = lambda name, a, b, **kw: similarity.MEASURES[name](a, b, **kw)
  def one(h1, h2, z1, z2):
    return {'cka': measure('debiased_linear_cka', h1, h2),
            'mutual_knn': measure('mutual_knn', h1, h2, k=neighbors),
            'recall_12': measure('recall_xy', z1, z2, at=1),
            'recall_21': measure('recall_yx', z1, z2, at=1)}
  return jax.jit(lambda *v: jax.lax.map(lambda s: one(*s), v))


def judge(params: PyTree, data: AVMNIST, *, spec: Spec, n_outputs: int) -> dict[str, np.ndarray]:
  """Everything reported of an ensemble [R], by name; accuracy_by_fold_i [R, F]."""
  sides = forward(params, (data.image_test, data.audio_test), spec=spec, n_outputs=n_outputs)
  label, found = data.label_test, {}
  # A recording is in many pairs, and right or wrong in all of them: it counts as one observation.
  units = [np.unique(v, return_inverse=True)[1] for v in (
      data.image_index_test, data.recording_test)]
  n_folds = min(FOLDS, *(u.max() + 1 for u in units))
  for i, ((log_p, *_), unit) in enumerate(zip(sides, units), start=1):
    hit = (log_p.argmax(axis=2) == label).astype(np.float64)  # [R, M]
    fold = (np.random.default_rng(0).permutation(unit.max() + 1) % n_folds)[unit]
    found[f'accuracy_{i}'] = hit.mean(axis=1)
    found[f'accuracy_se_{i}'] = clustered_error(hit, unit)
    found[f'accuracy_by_fold_{i}'] = np.stack(
        [hit[:, fold == f].mean(axis=1) for f in range(n_folds)], axis=1)
    found[f'cross_entropy_{i}'] = -log_p[:, np.arange(len(label)), label].mean(axis=1)
    found[f'ceiling_{i}'] = np.full(len(hit), np.nan)
  few = slice(None, spec.n_align)
  (_, h1, z1), (_, h2, z2) = (tuple(v[:, few] for v in side) for side in sides)
  found |= jax.device_get(_similar(spec.neighbors)(h1, h2, z1, z2))
  finite = [np.isfinite(leaf).reshape(len(leaf), -1).all(axis=1)
            for leaf in jax.tree.leaves(jax.device_get(params))]
  return found | {'diverged': ~np.all(finite, axis=0)}


def clustered_error(hit: np.ndarray, unit: np.ndarray) -> np.ndarray:
  """Standard error [R] of the mean of hit [R, M] whose M samples come in independent units."""
  off = hit - hit.mean(axis=1, keepdims=True)
  sums = np.stack([np.bincount(unit, row) for row in off])
  return np.sqrt((sums**2).sum(axis=1)) / hit.shape[1]


def to_dataset(axes: dict[str, tuple], found: dict[str, np.ndarray],
               attributes: dict[str, str]) -> 'xr.Dataset':
  """`judge`'s arrays with a dimension per axis of the ensemble."""
  import xarray as xr
  shape, data = tuple(map(len, axes.values())), {}
  for name, value in found.items():
    stem, _, side = name.rpartition('_')
    text, units = _SHOWN.get(stem, (_BOTH.get(name, stem.replace('_', ' ')), '1'))
    text = f'{text} of encoder {side}' if name not in _BOTH else text
    own = ('fold',) if value.ndim == 2 else ()
    data[name] = ((*axes, *own), np.asarray(value).reshape(shape + value.shape[1:]),
                  {'long_name': text, 'units': units})
  text = {'lam': 'strength of alignment', 'seed': 'random seed'}
  coords = {name: (name, np.asarray(axis), {'long_name': text[name], 'units': '1'})
            for name, axis in axes.items()}
  return with_encoders(xr.Dataset(data, coords, attributes))


def check_shapes(data: AVMNIST) -> tuple[tuple[int, ...], tuple[int, ...], int]:
  """Shapes of one image and of one sound, and the number of classes."""
  chex.assert_equal_shape_prefix(
      [data.image_train, data.audio_train, data.label_train], 1)
  return data.image_train.shape[1:], data.audio_train.shape[1:], int(
      max(data.label_train.max(), data.label_test.max())) + 1
