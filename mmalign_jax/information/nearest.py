"""Mutual information from samples by nearest neighbours, in nats, on the host.

Densities are never estimated: how many neighbours lie within a distance says how much denser the
joint space is than its parts. Meant for few dimensions: of 2000 pairs of 32 normals, correlated by
0.3 each, `ksg` finds 0.2 of 1.5 nats. A lower bound like `classifier.held_out` says more there.
Values below 0, which chance gives where there is next to no information, are returned as they are.
"""

import warnings

import numpy as np

from mmalign_jax.precision import doubles
from mmalign_jax.types import Array

_SAME = 1 + 1e-10  # distances as close as this are ties: the tree rounds their squares
_REPEATED = 0.1    # share of samples with an equal one from which `ksg` warns


def ross(x: Array, y: Array, k: int = 3) -> float:
  """I(X;Y) [] in nats of features and class labels.

  Ross (2014, PLoS ONE 9:e87357): psi(N) - <psi(N_y)> + psi(k) - <psi(m)>, with N_y samples in the
  class of a sample and m others of any class no further than its k-th neighbour in the class.
  Never above psi(N) - <psi(N_y)>, which is H(Y) to about (C - 1) / 2N.

  Where distances tie, k is the number of samples of the class that are as near (all, with the
  sample itself, where they coincide): for features of few values this is the information of their
  table, and not minus infinity. A class of N_y <= k samples takes k = N_y - 1; one of a single
  sample has no neighbour and is left out, with a warning.

  Args:
    x: [N, D] finite; distances are Euclidean, so bring the columns to a common scale.
    y: [N] labels: integers, booleans or strings.
    k: neighbours, 1 to N - 1. More: less noise, more bias.

  Raises:
    ValueError: arrays that do not fit or are not finite, labels of one class (of those with two
      samples) or that are not whole numbers, or k out of range.

  Examples:
    >>> y = np.arange(100) % 2
    >>> round(ross(np.arange(100.0)[:, None] + 1e4 * y[:, None], y), 3)
    0.698
  """
  from scipy.special import digamma  # here, since importing the package stays fast
  x = checked_samples(x, 'x')
  codes = checked_labels(y, len(x))
  _check_k(k, len(x))
  x, codes = _without_singles(x, codes)
  size = np.bincount(codes)
  radius, same = np.empty(len(x)), np.empty(len(x))
  for code in range(len(size)):
    mine = codes == code
    tree, own = _tree(x[mine]), x[mine]
    nearest = min(k, len(own) - 1) + 1  # the first is the sample itself
    radius[mine] = tree.query(own, k=nearest)[0][:, -1] * _SAME
    same[mine] = tree.query_ball_point(own, radius[mine], return_length=True)
  near = _tree(x).query_ball_point(x, radius, return_length=True)
  itself = radius > 0  # counted where all of them coincide, as in a table
  return float(digamma(len(x)) + np.mean(
      digamma(same - itself) - digamma(near - itself) - digamma(size[codes])))


def ksg(x: Array, y: Array, k: int = 3) -> float:
  """I(X;Y) [] in nats of continuous variables.

  Kraskov, Stoegbauer and Grassberger (2004, arXiv cond-mat/0305641), algorithm 1: psi(k) + psi(N) -
  <psi(n_x + 1) + psi(n_y + 1)>, with e the distance (largest over all columns) of a sample to its
  k-th neighbour and n_x, n_y others that are strictly nearer than e in x and in y.

  X and Y must have densities. Repeated values are warned of: labels belong to `ross`, codes to
  `counts`. Where distances tie, which a density does not allow, a sample counts all others that are
  as near as e instead of k, n_x + 1 and n_y + 1, with itself where they coincide (e = 0). So the
  value is finite, that of a table where everything repeats, and for rounded values not twice too
  high; but it is biased, either way.

  Args:
    x, y: [N, D] and [N, E] finite. Scale all columns alike, such as to unit variance: a wide one
      decides who is near.
    k: neighbours, 1 to N - 1. More: less noise, more bias.

  Raises:
    ValueError: arrays that do not fit or are not finite, or k out of range.

  Examples:
    >>> x = np.random.default_rng(0).normal(size=(200, 1))
    >>> ksg(x, x + 0.01 * x**2) > 2
    True
  """
  from scipy.special import digamma  # here, since importing the package stays fast
  x, y = checked_samples(x, 'x'), checked_samples(y, 'y')
  if len(x) != len(y):
    raise ValueError(f'x has N={len(x)} samples and y has N={len(y)}')
  _check_k(k, len(x))
  _warn_of_repeats(x, 'x')
  _warn_of_repeats(y, 'y')
  joint = np.concatenate([x, y], axis=1)
  whole, *margins = (_tree(z) for z in (joint, x, y))
  e = whole.query(joint, k=k + 1, p=np.inf)[0][:, -1]  # the first is the sample itself
  count = lambda tree, r, at=slice(None): tree.query_ball_point(
      tree.data[at], r[at], p=np.inf, return_length=True)
  inside, near = (np.array([count(tree, r) for tree in margins]) for r in (e / _SAME, e * _SAME))
  tied = ((near - inside).sum(axis=0) > 1) | (e == 0)  # not one other sample alone at distance e
  itself = e > 0
  of_joint = np.full(len(x), k)
  of_joint[tied] = count(whole, e * _SAME, tied) - itself[tied]
  of_margins = np.where(tied, near - itself, inside)  # a sample is inside itself: the + 1
  return float(digamma(len(x)) + np.mean(digamma(of_joint) - digamma(of_margins).sum(axis=0)))


def _tree(x: np.ndarray):
  """A search tree of x [N, D]."""
  from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]  of a C module
  return cKDTree(x)


# -- checks ----------------------------------------------------------------------------------------


def checked_samples(x: Array, name: str) -> np.ndarray:
  """x [N, D] as float64.

  Raises:
    ValueError: not two axes, an empty one, an entry that is not a finite real number.
  """
  x = np.asarray(x)
  if x.ndim != 2 or 0 in x.shape:
    raise ValueError(f'{name} has shape {x.shape}; samples are [N, D], none of them 0')
  if x.dtype.kind not in 'biuf':
    raise ValueError(f'{name} has entries of type {x.dtype}, not real numbers')
  x = doubles(x)
  bad = ~np.isfinite(x)
  if bad.any():
    at = np.argwhere(bad)[0].tolist()
    raise ValueError(f'{name} has {bad.sum()} entries that are not finite, first {x[tuple(at)]} at '
                     f'{at}')
  return x


def checked_labels(y: Array, n: int, name: str = 'y') -> np.ndarray:
  """Codes [n] in 0..C-1 of labels [n], C at least 2.

  Raises:
    ValueError: not [n], not whole numbers, booleans or strings, or all the same.
  """
  y = np.asarray(y)
  if y.ndim != 1:
    raise ValueError(f'{name} has shape {y.shape}; labels are [N]')
  if len(y) != n:
    raise ValueError(f'x has N={n} samples and {name} has N={len(y)}')
  if y.dtype.kind not in 'biufUS':
    raise ValueError(f'{name} has labels of type {y.dtype}, not integers or strings')
  if y.dtype.kind == 'f' and (y != np.round(y)).any():  # NaN is not equal to itself
    raise ValueError(f'{name} has {y[y != np.round(y)][0]:g}; labels are whole numbers (bin what '
                     'is continuous)')
  classes, codes = np.unique(y, return_inverse=True)
  if len(classes) < 2:
    raise ValueError(f'{name} has one class, {classes[0]}: there is nothing to know of it')
  return codes


def _check_k(k: int, n: int):
  if not (1 <= k < n and k == int(k)):
    raise ValueError(f'k={k} neighbours must be a whole number, 1 <= k < N={n}')


def _without_singles(x: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  size = np.bincount(codes)
  if (single := np.sum(size == 1)) == 0:
    return x, codes
  if np.sum(size > 1) < 2:
    raise ValueError(f'y has {np.sum(size > 1)} classes with two samples or more; two are needed')
  warnings.warn(f'y has {single} classes of one sample, which are left out', stacklevel=3)
  kept = size[codes] > 1
  return x[kept], np.unique(codes[kept], return_inverse=True)[1]


def _warn_of_repeats(x: np.ndarray, name: str):
  count = np.unique(x, axis=0, return_counts=True)[1]
  share = np.sum(count[count > 1]) / len(x)
  if share > _REPEATED:
    warnings.warn(f'{name}: {share:.0%} of the samples have an equal one, and ksg is for '
                  'densities; use ross for labels, counts for codes', stacklevel=3)
