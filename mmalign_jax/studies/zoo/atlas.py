"""A map and a tree of models, from how unlike each two of them are."""

import numpy as np


def distances(values: np.ndarray, best: float | None, higher: bool) -> np.ndarray:
  """[m, m] of a measure: symmetric, 0 for a model and itself."""
  unlike = (best if best is not None else values.max()) - values if higher else values
  unlike = (unlike + unlike.T) / 2
  np.fill_diagonal(unlike, 0)
  return np.maximum(unlike, 0)


def plane(distance: np.ndarray) -> tuple[np.ndarray, float]:
  """Places [m, 2] of classical scaling (Torgerson 1952), and how much of the squares of all
  distances two axes hold.

  Examples:
    >>> places, share = plane(np.abs(np.subtract.outer([0.0, 1.0, 3.0], [0.0, 1.0, 3.0])))
    >>> round(share, 3), np.round(np.abs(np.diff(places[:, 0])), 3).tolist()
    (1.0, [1.0, 2.0])
  """
  m = len(distance)
  center = np.eye(m) - 1 / m
  values, vectors = np.linalg.eigh(-center @ (distance**2) @ center / 2)
  order = np.argsort(-values)[:2]
  held = np.maximum(values[order], 0)
  places = np.zeros((m, 2))
  places[:, :len(order)] = vectors[:, order] * np.sqrt(held)
  total = np.abs(values).sum()
  return places, float(held.sum() / total) if total else 1.0


def tree(distance: np.ndarray) -> np.ndarray:
  """[m - 1, 4] merges of average linkage, as SciPy has them."""
  from scipy.cluster import hierarchy  # slow to import
  i, j = np.triu_indices(len(distance), 1)
  return hierarchy.linkage(distance[i, j], 'average')
