"""A view by its principal components: how wide it is, and what of it the diagnosis looks at."""

import dataclasses

import numpy as np

from mmalign_jax.precision import doubles

MOST = 50     # components of a view
PER = 10      # samples for each of them: of more, chance alone correlates too well to see past it
_LEAST = 5    # columns, and samples, from which noise can be told by the median


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
  """The principal components of a view.

  width: columns. rank: of the centred view. kept: components that the diagnosis looks at, with
  `share` of the variance. effective_rank: participation ratio (sum of variances)^2 / sum of their
  squares. above_noise: singular values above the optimal hard threshold for white noise of unknown
  size (Gavish and Donoho 2014), None of fewer than 5 columns; a rough number, as noise is rarely
  white, on which no verdict depends.
  """
  width: int
  rank: int
  kept: int
  share: float
  effective_rank: float
  above_noise: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """white [M, K]: components of mean 0 and sum of squares 1. weight [K]: roots of their shares of
  the variance of the whole view."""
  white: np.ndarray
  weight: np.ndarray

  def of(self, rows: np.ndarray) -> 'View':
    """Components of some rows [H], of those kept."""
    z = self.white[rows] * self.weight
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    rank = max(1, int((s > s[0] * len(z) * np.finfo(float).eps).sum()))
    return View(u[:, :rank], s[:rank] / max(np.linalg.norm(s), 1e-300))


def checked(x: np.ndarray, name: str) -> np.ndarray:
  """A view [N, D] as f64, its largest entry about 1.

  Raises:
    ValueError: no matrix of finite real numbers, or constant rows.
  """
  x = np.asarray(x)
  if x.ndim != 2 or not x.size or x.dtype.kind not in 'biuf':
    raise ValueError(f'{name} has shape {x.shape} of {x.dtype}; numbers [samples, features] are '
                     'needed')
  bad = np.argwhere(~np.isfinite(x))
  if len(bad):
    raise ValueError(f'{name} has {len(bad)} values not finite, first {x[tuple(bad[0])]} at row '
                     f'{bad[0][0]}, column {bad[0][1]} (from 0)')
  z = doubles(x)
  z = z / (np.abs(z).max() or 1.0)
  if np.ptp(z, axis=0).max() <= 64 * np.finfo(float).eps:
    raise ValueError(f'{name} is constant: all {len(x)} samples are equal')
  return z


def decomposed(z: np.ndarray, name: str, most: int) -> tuple[View, Spectrum]:
  """The first components of a view [M, D], as `checked` gives it, `most` of them at most."""
  n, width = z.shape
  z = z - z.mean(axis=0)
  u, s, _ = np.linalg.svd(z, full_matrices=False)
  rank = int((s > max(n, width) * np.finfo(float).eps * max(s[0], 1.0)).sum())
  if not rank:
    raise ValueError(f'{name} is constant in the {n} samples that are left')
  kept, variance = min(rank, most), np.square(s)
  total = variance.sum()
  share, effective = variance[:kept].sum() / total, total**2 / np.square(variance).sum()
  spectrum = Spectrum(width, rank, kept, float(share), float(effective),
                      _above_noise(s[:n - 1], n, width))
  return View(u[:, :kept], s[:kept] / np.sqrt(total)), spectrum


def _above_noise(s: np.ndarray, n: int, width: int) -> int | None:
  if min(n, width) < _LEAST:
    return None
  b = min(n, width) / max(n, width)
  threshold = (0.56 * b**3 - 0.95 * b**2 + 1.82 * b + 1.43) * np.median(s)
  return int((s > max(threshold, 1e-12 * s[0])).sum())


def strongest(view: View, span: np.ndarray) -> tuple[float, float]:
  """Share of the view's variance in directions, and that beside as many principal components.

  Args:
    span: [K, q] of full rank, coordinates of scores by the columns of `view.white`.
  """
  if not span.shape[1]:
    return 0.0, 0.0
  q, _ = np.linalg.qr(span)
  share = float(np.square(view.weight[:, None] * q).sum())
  return share, share / float(np.square(view.weight[:q.shape[1]]).sum())
