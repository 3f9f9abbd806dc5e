"""Where two modalities lie in one space: the gap between them, alignment and uniformity.

These need both sides in the same space. The gap does not ask which samples belong together; its
null exchanges x_i and y_i at random, and asks whether the sides differ as distributions. Over
layers the closest pair is the score, and p asks whether even that is farther apart than chance.
"""

from typing import Any

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity.basis import nuclear
from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.similarity.measure import Measure, Rows, paired
from mmalign_jax.similarity.preprocess import center, normalize, root, scaled
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array, Numeric


@struct.dataclass
class Gap:
  """Gaussian 2-Wasserstein distance of two clouds and its parts, in units of the features: total []
  = sqrt(centroids^2 + distribution^2), share [] = centroids^2 / total^2 (0 if total is 0)."""
  centroids: Array
  distribution: Array
  total: Array
  share: Array


def prepare(z: Array) -> Rows:
  """The features as they are."""
  return Rows(z)


def between_centroids(x: Rows, y: Rows) -> Array:
  """|| mean x - mean y ||."""
  shift = x.z[:1]  # of both, so that their means keep the digits of a difference
  apart, scale = scaled((x.z - shift).mean(axis=0) - (y.z - shift).mean(axis=0))
  return scale * root(jnp.sum(apart * apart))


def of_centroids(x: Rows, y: Rows) -> Array:
  """The share of the squared total distance that lies between the centroids."""
  return parts(x, y).share


def of_distribution(x: Rows, y: Rows) -> Array:
  """The distance that is left once the centroids are put on each other."""
  return parts(x, y).distribution


def parts(x: Rows, y: Rows) -> Gap:
  """W2^2 = || mean x - mean y ||^2 + tr(Sx) + tr(Sy) - 2 || Sx^(1/2) Sy^(1/2) ||_*."""
  n = x.z.shape[0]
  z, scale = scaled(center(jnp.concatenate([x.z, y.z])))
  x, y = Rows(z[:n]), Rows(z[n:])
  centroids, a, b = between_centroids(x, y), center(x.z), center(y.z)
  roots = nuclear(jnp.dot(_factor(a), _factor(b).T, precision='highest'))
  square = (jnp.sum(a * a) + jnp.sum(b * b) - 2 * roots) / n
  rounding = 64 * jnp.finfo(square.dtype).eps * (jnp.sum(a * a) + jnp.sum(b * b)) / n
  distribution = root(jnp.where(square > rounding, square, 0))
  total = root(centroids**2 + distribution**2)
  share = jnp.where(total > 0, centroids**2 / jnp.where(total > 0, total, 1) ** 2, 0.0)
  return Gap(scale * centroids, scale * distribution, scale * total, share)


def _factor(z: Array) -> Array:
  """F [min(N, D), D] with F^T F = z^T z; its rotation is a constant to derivatives."""
  if z.shape[0] <= z.shape[1]:
    return z
  q, _ = jnp.linalg.qr(jax.lax.stop_gradient(z))
  return jnp.dot(q.T, z, precision='highest')


@wide
def modality_gap(x: Array, y: Array) -> Array:
  """Distance of the centroids of x [N, D] and y [N, D] (Liang et al. 2022): [] >= 0.

  In units of the features: 0..2 for rows of norm 1, as is usual (`normalize` first). Lower is
  closer; 0 for equal sides. Invariant to translation and orthogonal maps of both sides together
  only, and blind to the pairing.

  Precision: float32 once a shift of both is out, 1e-6 of the spread; float64 where a side needs
  it.

  Raises:
    ValueError: widths differ, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(modality_gap(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 176.207, 0.0]
  """
  x, y = paired(x, y, same_width=True)
  return between_centroids(prepare(x), prepare(y))


@wide
def modality_gap_parts(x: Array, y: Array) -> Gap:
  """The gap between x [N, D] and y [N, D] split into centroids and the rest of the distribution.

  The squared 2-Wasserstein distance between Gaussians of the same means and covariances (over N) is
  a sum of the two: Dowson and Landau (1982). In units of the features; blind to the pairing.

  Raises:
    ValueError: widths differ, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2)
    >>> gap = modality_gap_parts(x, x + [3, 4])
    >>> {name: round(float(value), 3) for name, value in vars(gap).items()}
    {'centroids': 5.0, 'distribution': 0.0, 'total': 5.0, 'share': 1.0}
  """
  x, y = paired(x, y, same_width=True)
  return parts(prepare(x), prepare(y))


def modality_gap_share(x: Array, y: Array) -> Array:
  """`modality_gap_parts(x, y).share` of x [N, D], y [N, D]: [] in 0..1, 0 for equal sides.

  Lower: the sides differ less in where they lie than in how they spread. Invariances as
  `modality_gap`, and one scaling of both sides.

  Precision: as `modality_gap`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(modality_gap_share(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 0.911, 0.0]
  """
  return modality_gap_parts(x, y).share


def distribution_gap(x: Array, y: Array) -> Array:
  """`modality_gap_parts(x, y).distribution` of x [N, D], y [N, D]: [] >= 0.

  In units of the features; lower is closer. Invariant to translation of either side, and to
  orthogonal maps of both together.

  Precision: as `modality_gap`; below 1e-2 of the spread (1e-6 in float64) it is 0.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(distribution_gap(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 55.189, 0.0]
  """
  return modality_gap_parts(x, y).distribution


def prepare_unit(z: Array) -> Rows:
  """Rows of norm 1."""
  return Rows(normalize(z))


def mean_square_distance(x: Rows, y: Rows) -> Array:
  """Mean of || x_i - y_i ||^2."""
  return jnp.mean(jnp.sum(jnp.square(x.z - y.z), axis=1))


@wide
def alignment(x: Array, y: Array) -> Array:
  """Mean || x_i - y_i ||^2 of paired rows of norm 1, x [N, D], y [N, D] (Wang and Isola 2020): [].

  Range 0..4, lower is more similar, 0 for equal sides; 2 - 2 x the mean cosine. Rows are normalised
  here. Invariant to the length of samples, and to an orthogonal map of both sides together.

  Precision: float32, 1e-6 absolute; float64 where a side needs it.

  Raises:
    ValueError: widths differ, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(alignment(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 3.56, 0.175]
  """
  x, y = paired(x, y, same_width=True)
  return mean_square_distance(prepare_unit(x), prepare_unit(y))


@wide
def uniformity(z: Array, *, t: float = 2.0) -> Array:
  """log of the mean of exp(-t || z_i - z_j ||^2) over pairs i < j of rows of norm 1 (one side): [].

  Wang and Isola (2020). Range -4 t..0, lower is more uniform on the sphere; 0 for rows that are all
  equal. Rows are normalised here. In blocks: O(N D) memory.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> round(float(uniformity(np.eye(3))), 3)  # all at a distance of sqrt(2)
    -4.0
  """
  z, _ = paired(z, z)
  return _uniformity(normalize(z), t)


@jax.jit
def _uniformity(z: Array, t: Numeric) -> Array:
  n = z.shape[0]
  def block(rows, index):
    square = jnp.maximum(2 - 2 * jnp.dot(rows, z.T, precision='highest'), 0)
    other = index[:, None] != jnp.arange(n)[None]
    return jnp.sum(jnp.where(other, jnp.exp(-t * square), 0), axis=1)
  return jnp.log(row_blocks(block, z).sum() / float(n * (n - 1)))


_GAP: dict[str, Any] = dict(higher=False, best=None, same_width=True, null='sides')
MEASURES = {
    'modality_gap': Measure(modality_gap, prepare, between_centroids,
                            'distance of the centroids, in units of the features', '0..',
                            ('common',), **_GAP),
    'modality_gap_share': Measure(modality_gap_share, prepare, of_centroids,
                                  'share of the squared distance of the clouds that is between '
                                  'centroids', '0..1', ('common',), **_GAP),
    'distribution_gap': Measure(distribution_gap, prepare, of_distribution,
                                'distance of the clouds once their centroids agree', '0..',
                                ('translation', 'common'), **_GAP),
    'alignment': Measure(alignment, prepare_unit, mean_square_distance,
                         'mean squared distance of pairs, rows of norm 1', '0..4',
                         ('rows', 'scaling', 'common'), higher=False, best=0.0, same_width=True),
}
