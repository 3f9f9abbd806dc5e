"""What linear algebra gives on the same splits, in a second: the references of every learnt gain.

Features of a side are its principal components (PCA), or those directions of them that go with the
other side over all pairs, labelled or not: by canonical correlations (CCA, Hotelling 1936), or by
covariances (PLS, Wold 1975; its SVD form). On them a ridge regression of the labels of the budget,
classes as 0 and 1 (Hoerl and Kennard 1970). How many components, how many directions, and the ridge
are chosen on the validation rows, on which the encoders' settings are chosen, too. The labels of a
budget are those that an encoder of the same seed learns from.
"""

from collections.abc import Iterator
import dataclasses

import jax
import numpy as np

from mmalign_jax import rng
from mmalign_jax.data import pair_source
from mmalign_jax.data.prepared import Prepared, View
from mmalign_jax.types import Frames

METHODS = ('pca', 'cca', 'pls')
COMPONENTS = (10, 30, 0)                 # 0: all
DIRECTIONS = (3, 10, 30)
RIDGES = tuple(10.0**i for i in range(-4, 3))  # of the mean square of a feature times labels
_SHRUNK = 1e-3                           # of the largest variance, added where a side is whitened


@dataclasses.dataclass(frozen=True)
class Judged:
  """Of a side: accuracy by fold of the test rows [F], and what was chosen."""
  accuracy: np.ndarray
  components: int
  directions: int
  ridge: float


def references(data: Prepared, n_labelled: int, seed: int) -> dict[str, tuple[Judged, ...]]:
  """{method: one entry a side} of one budget of labels.

  Args:
    data: principal components of every side, two sides.
    n_labelled: labels a class (in all, for a regression); 0 for all.
    seed: of the budget.

  Raises:
    ValueError: sequences, other than two sides, or one without validation rows.
  """
  if len(data.x) != 2 or not all(isinstance(x, np.ndarray) for x in data.x):
    raise ValueError('linear references are of two sides of vectors')
  if not all(len(of.y) for of in data.validation):
    raise ValueError('linear references need validation rows of both sides to choose by')
  known = budget(data, n_labelled, seed)
  return {method: tuple(_side(data, side, method, known) for side in (0, 1))
          for method in METHODS}


def budget(data: Prepared, n_labelled: int, seed: int) -> np.ndarray:
  """Rows whose labels an encoder of this seed learns from (`pair_source.draw`)."""
  y = data.y if data.classes else np.zeros(len(data.y), np.int32)
  row, count = pair_source.order(
      rng.stream(np.uint32(seed), 'data'), np.where(data.labelled, y, 0), data.labelled,
      np.asarray(n_labelled, np.float32))
  return np.asarray(jax.device_get(row))[:int(count)]


def canonical(x: np.ndarray, other: np.ndarray, whiten: bool) -> tuple[np.ndarray, np.ndarray]:
  """Directions [C, d] of x [N, C], strongest first, and their correlations [d] with those of other
  [N, E] (covariances, where neither is whitened). Columns have mean 0."""
  roots = [_root(z) if whiten else np.eye(z.shape[1]) for z in (x, other)]
  u, strength, _ = np.linalg.svd(roots[0].T @ (x.T @ other / len(x)) @ roots[1],
                                 full_matrices=False)
  return roots[0] @ u, strength


def vectors(view: View) -> np.ndarray:
  """[N, C] f64."""
  assert not isinstance(view, Frames)  # as `references` makes sure
  return np.asarray(view, np.float64)


def _root(z: np.ndarray) -> np.ndarray:
  """W [C, C], z W of about identity covariance."""
  values, axes = np.linalg.eigh(z.T @ z / len(z))
  return axes / np.sqrt(values + _SHRUNK * values[-1])[None]


def _side(data: Prepared, side: int, method: str, known: np.ndarray) -> Judged:
  """Of all maps and ridges, fitted to the rows known [L]: the one with the highest accuracy on
  validation rows; of equals, of the lowest error."""
  known = known[data.present[side][known]]
  validation, test = data.validation[side], data.test[side]
  best, found = (-1.0, 0.0), None
  for components, directions, w in _maps(data, side, method):
    features = [vectors(x)[:, :len(w)] @ w
                for x in (vectors(data.x[side])[known], validation.x, test.x)]
    for ridge, (chosen, judged) in zip(RIDGES, _ridge(features, data.y[known], data)):
      correct = _correct(chosen, validation.y, data)
      target = _target(validation.y, data)
      value = float(correct.mean()), -float(np.square(chosen - target).mean())
      if value > best or found is None:
        right = _correct(judged, test.y, data)
        by_fold = np.array([right[test.fold == f].mean() for f in range(data.n_folds)
                            if (test.fold == f).any()])
        best, found = value, Judged(by_fold, components, directions, ridge)
  assert found is not None
  return found


def _maps(data: Prepared, side: int, method: str) -> Iterator[tuple[int, int, np.ndarray]]:
  """Candidates: components kept, directions, and the map [components, features]."""
  both = data.present[0] & data.present[1]
  x, other = (vectors(data.x[s])[both] for s in (side, 1 - side))
  for kept in dict.fromkeys(min(k or x.shape[1], x.shape[1]) for k in COMPONENTS):
    if method == 'pca':
      yield kept, kept, np.eye(kept)
      continue
    a, b = x[:, :kept], other[:, :kept]
    w, _ = canonical(a - a.mean(axis=0), b - b.mean(axis=0), method == 'cca')
    for directions in dict.fromkeys(min(d, w.shape[1]) for d in DIRECTIONS):
      yield kept, directions, w[:, :directions]


def _ridge(features: list[np.ndarray], y: np.ndarray,
           data: Prepared) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Predictions [M, C] of validation and test rows, for each of RIDGES."""
  learnt, *others = features
  mean, target = learnt.mean(axis=0), _target(y, data)
  middle = target.mean(axis=0)
  u, s, vt = np.linalg.svd(learnt - mean, full_matrices=False)
  unit = max(float(np.square(s).sum()) / learnt.shape[1], 1e-30)
  for ridge in RIDGES:
    b = vt.T @ ((s / (s**2 + ridge * unit))[:, None] * (u.T @ (target - middle)))
    yield tuple((z - mean) @ b + middle for z in others)


def _target(y: np.ndarray, data: Prepared) -> np.ndarray:
  """[M, C] of 0 and 1, or numbers [M, 1]."""
  return np.eye(len(data.classes))[y] if data.classes else np.asarray(y, np.float64)[:, None]


def _correct(prediction: np.ndarray, y: np.ndarray, data: Prepared) -> np.ndarray:
  """[M] of 0 and 1; a regression is right on the label's side of the median."""
  if data.classes:
    return (prediction.argmax(axis=1) == y).astype(float)
  return ((prediction[:, 0] > 0) == (y > 0)).astype(float)
