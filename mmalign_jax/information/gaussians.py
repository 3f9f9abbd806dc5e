"""Information of jointly normal variables, from their covariance alone: log-determinants."""

import numpy as np

from mmalign_jax.information.decomposition import Decomposition, from_redundancy
from mmalign_jax.types import Array

_ROUNDING = 1e-8  # of a covariance with unit variances, between its two halves


def gaussian(covariance: Array, d1: int, d2: int) -> Decomposition:
  """Decomposition of jointly normal X1 [d1], X2 [d2] about Y, the rest of the variables.

  I(A;B) = (log det S_A + log det S_B - log det S_AB) / 2, and redundancy = min(I(X1;Y), I(X2;Y)).
  For a scalar Y that is the redundancy of BROJA and of every other decomposition in which it
  depends on the pairs (X1,Y) and (X2,Y) alone (Barrett 2015, arXiv 1411.2832). For a vector Y it is
  the minimum mutual information only: BROJA can find less shared.

  Args:
    covariance: [..., D, D] of (X1, X2, Y) in this order; D > d1 + d2. The scale of a variable does
      not matter. Computed by NumPy in float64: not within jit or vmap.
    d1, d2: how many variables X1 and X2 have, each at least 1.

  Returns:
    Decomposition of arrays [...] in nats, gap 0, method 'gaussian'.

  Raises:
    ValueError: a covariance that is not square, finite, symmetric or positive definite, or d1, d2
      out of range.

  Examples:
    >>> covariance = np.array([[1, 0, 0.6], [0, 1, 0.6], [0.6, 0.6, 1]])
    >>> round(float(gaussian(covariance, 1, 1).synergy), 3)
    0.413
  """
  s = _checked(np.asarray(covariance, np.float64))
  d = s.shape[-1]
  for name, value in (('d1', d1), ('d2', d2)):
    if not 1 <= value < d:
      raise ValueError(f'{name}={value} must be in 1..{d - 2} for a covariance of {d} variables')
  if d1 + d2 >= d:
    raise ValueError(f'd1={d1} and d2={d2} leave none of {d} variables for the target')
  x1, x2, y = np.split(np.arange(d), [d1, d1 + d2])
  log_det = lambda *parts: _log_det(s, np.concatenate(parts))
  mi = lambda *x: (log_det(*x) + log_det(y) - log_det(*x, y)) / 2
  mi_1, mi_2 = np.maximum(mi(x1), 0), np.maximum(mi(x2), 0)
  mi_joint = np.maximum(mi(x1, x2), np.maximum(mi_1, mi_2))  # but for rounding it is larger
  return from_redundancy(np.minimum(mi_1, mi_2), mi_1, mi_2, mi_joint, method='gaussian',
                         gap=np.zeros_like(mi_1))


def _log_det(s: np.ndarray, of: np.ndarray) -> np.ndarray:
  root = np.linalg.cholesky(s[..., of[:, None], of])
  return 2 * np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(axis=-1)


def _checked(s: np.ndarray) -> np.ndarray:
  """The covariance [..., D, D] with unit variances, which carries the same information."""
  if s.ndim < 2 or s.shape[-1] != s.shape[-2]:
    raise ValueError(f'covariance has shape {s.shape}; it must be square, [D, D]')
  if s.shape[-1] < 3:
    raise ValueError(f'covariance has shape {s.shape}; X1, X2 and Y need a variable each')
  if not np.isfinite(s).all():
    raise ValueError(f'covariance has {np.sum(~np.isfinite(s))} entries that are not finite')
  variance = np.diagonal(s, axis1=-2, axis2=-1)
  if not (variance > 0).all():
    raise ValueError(f'covariance has a variance of {variance.min():g} on its diagonal; its '
                     f'smallest eigenvalue is {np.linalg.eigvalsh(s).min():g}, not above 0')
  scale = np.sqrt(variance)
  s = s / (scale[..., :, None] * scale[..., None, :])
  uneven = np.abs(s - s.swapaxes(-1, -2)).max()
  if uneven > _ROUNDING:
    raise ValueError(f'covariance is not symmetric: its halves differ by up to {uneven:.2g} (of '
                     'unit variances)')
  s = (s + s.swapaxes(-1, -2)) / 2
  least = np.linalg.eigvalsh(s).min()
  if not least > s.shape[-1] * np.finfo(np.float64).eps:
    raise ValueError(f'covariance is not positive definite: the smallest eigenvalue is '
                     f'{least:.3g}, with all variances scaled to 1')
  return s
