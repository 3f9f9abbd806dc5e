"""Directions that two views share, one by one beside chance, and whether they carry a label."""

from collections.abc import Iterable
import dataclasses
import math

import numpy as np

ALPHA = 0.05
_NEAR = 1 - 1e-9  # of a value: equal but for rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Directions:
  """Singular vectors and values of a coupling, K = min(K1, K2).

  strengths [K], strongest first; left [K1, K], right [K2, K]. floors [K]: a strength is above
  chance at ALPHA where it is larger. p_values [K], never falling. chance [P]: the strongest of each
  permutation.
  """
  strengths: np.ndarray
  left: np.ndarray
  right: np.ndarray
  floors: np.ndarray
  p_values: np.ndarray
  chance: np.ndarray

  @property
  def above(self) -> np.ndarray:
    """[K] bool: above chance."""
    return self.p_values <= ALPHA


def found(coupling: np.ndarray, null: np.ndarray) -> Directions:
  """Singular directions of a coupling [K1, K2] against those of its permutations [P, K1, K2].

  Step by step (Winkler et al. 2020, arXiv 2002.10046): the k-th is held against the largest
  singular value that permutations give in what the first k - 1 directions leave of both sides; p is
  (1 + permutations that reach it) / (1 + P), and not below that of the direction before. What is
  left gives no larger values than the whole, so a step is taken only where the one before does not
  settle it: p and floor may then be too large, never too small. Tests end with the first direction
  that is not above chance.
  """
  u, s, vt = np.linalg.svd(coupling)
  turned = u.T @ null @ vt.T
  floors, p = np.empty(len(s)), np.empty(len(s))
  chance = largest = _largest(turned)
  for k in range(len(s)):
    if k and _p(s[k], largest) > ALPHA:
      largest = _largest(turned[:, k:, k:])
    p[k:] = max(p[k - 1] if k else 0.0, _p(s[k], largest))
    floors[k:] = np.sort(largest)[-1 - allowed(len(null))]
    if p[k] > ALPHA:
      break
  return Directions(s, u[:, :len(s)], vt[:len(s)].T, floors, p, chance)


def _p(value: float, null: np.ndarray) -> float:
  return (1 + int((null >= value * _NEAR).sum())) / (1 + len(null))


def joint_p(of: Iterable[Directions]) -> float:
  """Of the smallest p-value of several strongest directions, by the same permutations (Westfall and
  Young 1993)."""
  values = np.array([np.append(d.strengths[0] * _NEAR, d.chance) for d in of])  # [O, 1 + P]
  ordered = np.sort(values, axis=1)
  reach = [len(row) - np.searchsorted(row, v, side='left') for row, v in zip(ordered, values)]
  least = np.min(reach, axis=0)
  return float((least <= least[0]).mean())


def allowed(permutations: int) -> int:
  """How many of P permutations may reach a value that is above chance; -1 where P are too few."""
  return math.floor(ALPHA * (1 + permutations) + 1e-9) - 1


def _largest(blocks: np.ndarray) -> np.ndarray:
  """Largest singular value [P] of [P, A, B]."""
  if blocks.shape[1] < blocks.shape[2]:
    blocks = blocks.transpose(0, 2, 1)
  return np.sqrt(np.maximum(np.linalg.eigvalsh(blocks.transpose(0, 2, 1) @ blocks)[:, -1], 0))


def told(scores: np.ndarray, y: np.ndarray, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Which directions [S] tell of a label, and how much of each [S] the label explains.

  That is the share of a direction's variance, mean over its scores, less what permutations of the
  label give. It tells of it if it does more than the best of all S under all but ALPHA of them.

  Args:
    scores: [S, r, M] of mean 0 and sum of squares 1.
    y: [M, L] orthonormal columns of mean 0.
    orders: [P, M] permutations.
  """
  if not len(scores):
    return np.zeros(0, bool), np.zeros(0)
  flat = scores.reshape(-1, scores.shape[2])
  explained = lambda y: np.square(flat @ y).sum(axis=1).reshape(scores.shape[:2]).mean(axis=1)
  null, share = np.array([explained(y[order]) for order in orders]), explained(y)
  floor = np.sort(null.max(axis=1))[-1 - allowed(len(orders))]
  return share * _NEAR > floor, share - null.mean(axis=0)


def label_basis(y: np.ndarray) -> np.ndarray:
  """[M, L] orthonormal: of an indicator for each class, or of the numbers; mean 0."""
  if y.dtype.kind == 'f':
    made = (y[:, None] if y.ndim == 1 else y) / max(float(np.abs(y).max()), 1e-300)
  else:
    made = (y[:, None] == np.unique(y)) * 1.0
  u, s, _ = np.linalg.svd(made - made.mean(axis=0), full_matrices=False)
  return u[:, s > 1e-9 * max(s[0], 1e-300)]
