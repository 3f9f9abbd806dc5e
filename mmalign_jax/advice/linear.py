"""Ridge regression and canonical correlations, judged on rows that they were not fitted to."""

from collections.abc import Iterator
import dataclasses

import numpy as np

from mmalign_jax import grouped

FOLDS = 5
RIDGES = tuple(10.0**i for i in range(-3, 3))      # of the mean square of a feature times rows
SHARPNESS = (0.0, 0.5, 1, 2, 3, 4, 6, 8, 12, 20)   # of probabilities made of predictions
SHRUNK = (1e-3, 1e-2, 1e-1, 0.5)                   # towards equal variances, where CCA whitens


@dataclasses.dataclass(frozen=True)
class Told:
  """What predictions of unseen rows tell of the label: information in nats, at least 0, accuracy in
  0..1 (of a quantity: how often it is on the label's side of the median)."""
  information: float
  accuracy: float


def folds(codes: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator,
          count: int = FOLDS) -> np.ndarray:
  """The fold [N] of each row, every class spread over all of them; groups stay whole."""
  if groups is not None:
    return grouped.folds(groups, codes, min(count, groups.max() + 1), rng)
  order = rng.permutation(len(codes))
  order = order[np.argsort(codes[order], kind='stable')]
  fold = np.empty(len(codes), int)
  fold[order] = np.arange(len(codes)) % min(count, len(codes))
  return fold


def predicted(x: np.ndarray, target: np.ndarray, fold: np.ndarray, part: float = 1) -> np.ndarray:
  """Predictions [R, N, C] of every row by ridges that did not see its fold, for each of RIDGES.

  Args:
    x: [N, D]; target [N, C]; fold [N] from 0.
    part: of the other folds' rows, the share that is learnt from.
  """
  found = np.empty((len(RIDGES), *target.shape))
  for test in (fold == f for f in range(fold.max() + 1)):
    learnt = np.flatnonzero(~test)
    learnt = learnt[:max(2, round(part * len(learnt)))]
    for at, prediction in enumerate(_ridges(x[learnt], target[learnt], x[test])):
      found[at, test] = prediction
  return found


def _ridges(x: np.ndarray, target: np.ndarray, unseen: np.ndarray) -> Iterator[np.ndarray]:
  mean, middle = x.mean(axis=0), target.mean(axis=0)
  x, unseen = x - mean, unseen - mean
  dual = x.shape[1] > len(x)  # whichever matrix is smaller
  values, axes = np.linalg.eigh(x @ x.T if dual else x.T @ x)
  values = np.maximum(values, 0)
  left = (unseen @ x.T if dual else unseen) @ axes
  right = axes.T @ (target - middle if dual else x.T @ (target - middle))
  unit = max(values.sum() / x.shape[1], np.finfo(float).tiny)
  for ridge in RIDGES:
    yield left / (values + ridge * unit) @ right + middle


def told_of_classes(found: np.ndarray, codes: np.ndarray) -> Told:
  """Of predictions [R, N, C] of 0 and 1: H(Y) less the cross-entropy of probabilities p(y)
  exp(sharpness * prediction), at the ridge and sharpness with the least of it.

  Below I(X;Y) but for two chosen numbers (Barber and Agakov 2003); at sharpness 0 it is 0.
  """
  share = np.bincount(codes) / len(codes)
  best = (np.inf, 0)
  for at, prediction in enumerate(found):
    for sharp in SHARPNESS:
      logit = np.log(share) + sharp * prediction
      logit -= logit.max(axis=1, keepdims=True)
      loss = np.log(np.exp(logit).sum(axis=1)) - logit[np.arange(len(codes)), codes]
      best = min(best, (float(loss.mean()), at))
  entropy = -float(np.sum(share * np.log(share)))
  return Told(max(0.0, entropy - best[0]),
              float((found[best[1]].argmax(axis=1) == codes).mean()))


def told_of_value(found: np.ndarray, y: np.ndarray) -> Told:
  """Of predictions [R, N, 1]: -log(1 - R^2) / 2, that of a Gaussian of this unseen error."""
  error = np.square(found[:, :, 0] - y).mean(axis=1)
  at = int(error.argmin())
  left = min(1.0, max(error[at] / max(y.var(), np.finfo(float).tiny), 1e-6))
  middle = np.median(y)
  return Told(-0.5 * float(np.log(left)),
              float(((found[at, :, 0] > middle) == (y > middle)).mean()))


@dataclasses.dataclass(frozen=True, eq=False)
class Canonical:
  """correlation [K], falling: of unseen rows. w_1 [D1, K], w_2 [D2, K]: directions, from all rows,
  and mean_1, mean_2."""
  correlation: np.ndarray
  w_1: np.ndarray
  w_2: np.ndarray
  mean_1: np.ndarray
  mean_2: np.ndarray


def canonical(x1: np.ndarray, x2: np.ndarray, fold: np.ndarray) -> Canonical:
  """Canonical correlations (Hotelling 1936) of covariances shrunk by as much as finds most in
  unseen rows."""
  best = (-1.0, SHRUNK[0], np.zeros(0))
  for shrunk in SHRUNK:
    found = np.mean([_unseen(x1, x2, fold == f, shrunk) for f in range(fold.max() + 1)], axis=0)
    value = float(np.square(np.maximum(found, 0)).sum())
    if value > best[0]:
      best = (value, shrunk, found)
  _, shrunk, found = best
  fitted = _directions(x1, x2, shrunk)
  order = np.argsort(-found, kind='stable')
  return Canonical(found[order], fitted.w_1[:, order], fitted.w_2[:, order], fitted.mean_1,
                   fitted.mean_2)


def _unseen(x1: np.ndarray, x2: np.ndarray, test: np.ndarray, shrunk: float) -> np.ndarray:
  """Correlations [K] of the scores of the rows `test` on directions of the others."""
  of = _directions(x1[~test], x2[~test], shrunk)
  one, two = x1[test] @ of.w_1, x2[test] @ of.w_2
  one, two = one - one.mean(axis=0), two - two.mean(axis=0)
  size = np.linalg.norm(one, axis=0) * np.linalg.norm(two, axis=0)
  return (one * two).sum(axis=0) / np.where(size > 0, size, np.inf)


def _directions(x1: np.ndarray, x2: np.ndarray, shrunk: float) -> Canonical:
  mean_1, mean_2 = x1.mean(axis=0), x2.mean(axis=0)
  a, b = x1 - mean_1, x2 - mean_2
  root_1, root_2 = _root(a, shrunk), _root(b, shrunk)
  u, s, vt = np.linalg.svd(root_1.T @ (a.T @ b / len(a)) @ root_2, full_matrices=False)
  return Canonical(s, root_1 @ u, root_2 @ vt.T, mean_1, mean_2)


def _root(z: np.ndarray, shrunk: float) -> np.ndarray:
  """W [D, D], z W of about identity covariance."""
  values, axes = np.linalg.eigh(z.T @ z / len(z))
  values = (1 - shrunk) * np.maximum(values, 0) + shrunk * max(values.mean(), 1e-300)
  return axes / np.sqrt(values)
