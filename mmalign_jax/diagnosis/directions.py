"""Directions that two views share, one by one beside chance, and whether they carry a label."""

import dataclasses
import math

import numpy as np

ALPHA = 0.05
TENTH = 0.1      # of what the best direction tells of a label: less is none
_NEAR = 1 - 1e-9  # of a value: equal but for rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Directions:
  """Singular vectors and values of a coupling, K = min(K1, K2).

  strengths [K], strongest first; left [K1, K], right [K2, K]. floors [K]: a strength is above
  chance at ALPHA where it is larger. p_values [K], never falling.
  """
  strengths: np.ndarray
  left: np.ndarray
  right: np.ndarray
  floors: np.ndarray
  p_values: np.ndarray

  @property
  def count(self) -> int:
    """How many are above chance: the first ones."""
    return int((self.p_values <= ALPHA).sum())


def found(coupling: np.ndarray, null: np.ndarray) -> Directions:
  """Singular directions of a coupling [K1, K2] against those of its permutations [P, K1, K2].

  Step by step (Winkler et al. 2020, arXiv 2002.10046): the k-th is held against the largest
  singular value that permutations give in what the first k - 1 directions leave of both sides; p is
  (1 + permutations that reach it) / (1 + P), and not below that of the direction before. Tests end
  with the first that is not below ALPHA.
  """
  u, s, vt = np.linalg.svd(coupling)
  turned = u.T @ null @ vt.T
  floors, p = np.empty(len(s)), np.empty(len(s))
  last = 0.0
  for k in range(len(s)):
    largest = _largest(turned[:, k:, k:])
    last = max(last, (1 + int((largest >= s[k] * _NEAR).sum())) / (1 + len(null)))
    floors[k:], p[k:] = np.sort(largest)[-1 - allowed(len(null))], last
    if last > ALPHA:
      break
  return Directions(s, u[:, :len(s)], vt[:len(s)].T, floors, p)


def allowed(permutations: int) -> int:
  """How many of P permutations may reach a value that is above chance; -1 where P are too few."""
  return math.floor(ALPHA * (1 + permutations) + 1e-9) - 1


def _largest(blocks: np.ndarray) -> np.ndarray:
  """Largest singular value [P] of [P, A, B]."""
  if blocks.shape[1] < blocks.shape[2]:
    blocks = blocks.transpose(0, 2, 1)
  return np.sqrt(np.maximum(np.linalg.eigvalsh(blocks.transpose(0, 2, 1) @ blocks)[:, -1], 0))


def told(bases: np.ndarray, y: np.ndarray, orders: np.ndarray) -> np.ndarray:
  """Which directions [S] bool tell of a label: the share of its variance that they explain is above
  the largest share of all S directions but for ALPHA of the permutations of the label, and at least
  TENTH of the largest share that is found: into the direction of a nuisance leaks some signal.

  Args:
    bases: [S, r, M] orthonormal scores of each direction, rows of zeros for fewer than r.
    y: [M, L] columns of mean 0.
    orders: [P, M] permutations.
  """
  if not len(bases):
    return np.zeros(0, bool)
  explained = lambda y: np.square(bases @ y).sum(axis=(1, 2))
  largest = np.array([explained(y[order]).max() for order in orders])
  share = explained(y)
  return (share * _NEAR > np.sort(largest)[-1 - allowed(len(orders))]) & (
      share >= TENTH * share.max())


def label_columns(y: np.ndarray) -> np.ndarray:
  """[M, L]: an indicator of each class, or numbers of variance 1; centred."""
  if y.dtype.kind == 'f':
    made = (y[:, None] if y.ndim == 1 else y) * 1.0
    made = (made - made.mean(axis=0)) / np.maximum(made.std(axis=0), 1e-300)
  else:
    made = (y[:, None] == np.unique(y)) * 1.0
  return made - made.mean(axis=0)
