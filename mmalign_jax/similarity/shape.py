"""Shapes: what is left of a difference after the best rotation (Williams et al. 2021)."""

import jax.numpy as jnp

from mmalign_jax.similarity import linear
from mmalign_jax.similarity.basis import compact, nuclear, thin_svd
from mmalign_jax.similarity.measure import Measure, Rows, paired
from mmalign_jax.similarity.preprocess import root, scaled, without_constants
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array


def prepare(z: Array, *, alpha: float = 1.0) -> Rows:
  """Centred features of Frobenius norm 1, [N, min(N, D)]; alpha < 1 whitens them in part.

  Raises:
    ValueError: alpha outside 0..1.
  """
  if not 0 <= alpha <= 1:
    raise ValueError(f'alpha={alpha} is outside 0..1')
  z, scale = scaled(without_constants(z))
  z = compact(z)
  if alpha < 1:
    u, s, vt = thin_svd(z)
    present = s > 4 * s.shape[0] * jnp.finfo(s.dtype).eps * s[0]
    stretched = jnp.where(present, alpha * s + (1 - alpha) / scale, 0)
    z = jnp.dot(u * stretched[None], vt, precision='highest')
  square = jnp.sum(z * z)
  return Rows(z / jnp.sqrt(jnp.where(square > 0, square, 1)))


def similarity(x: Rows, y: Rows) -> Array:
  """|| x^T y ||_*: the cosine after the best rotation."""
  return nuclear(jnp.dot(x.z.T, y.z, precision='highest'))


def distance(x: Rows, y: Rows) -> Array:
  """sqrt(2 - 2 cosine) = min over rotations of || x Q - y ||_F."""
  square = 2 - 2 * similarity(x, y)
  rounding = 32 * jnp.finfo(square.dtype).eps  # what is left of equal shapes
  return root(jnp.where(square > rounding, square, 0))


def angle(x: Rows, y: Rows) -> Array:
  """arccos of the cosine, in radians."""
  cosine = similarity(x, y)
  apart = cosine < 1 - 16 * jnp.finfo(cosine.dtype).eps
  return jnp.where(apart, jnp.arccos(jnp.where(apart, cosine, 0)), 0)


@wide
def bures(x: Array, y: Array) -> Array:
  """Normalised Bures similarity || x^T y ||_* / (|| x || || y ||) of centred x, y: [].

  The cosine of the shapes of x [N, D1] and y [N, D2] (Tang et al. 2020). Range 0..1, higher is
  more similar, 1 for equal sides. Invariant to orthogonal maps, isotropic scaling and translation
  of either side. 0 where a side is constant. Grows with D / N for unrelated features.

  Precision: float32 once the shift is out, about 1e-6; float64 where a side needs it.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(bures(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.87]
  """
  x, y = paired(x, y, shift=True)
  return similarity(prepare(x), prepare(y))


@wide
def procrustes(x: Array, y: Array) -> Array:
  """Orthogonal Procrustes distance of x [N, D1], y [N, D2], centred and of unit norm: [].

  min over rotations of || x Q - y ||_F = sqrt(2 - 2 bures): a metric, range 0..sqrt(2), lower is
  more similar, 0 for equal sides. Widths may differ: the narrower is padded. Invariances as
  `bures`; its square is what Ding et al. (2021) report. Gradient 0 at equal shapes.

  Precision: of its square that of `bures`; below 2e-3 (1e-7 in float64) it is 0.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(procrustes(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 0.0, 0.509]
  """
  x, y = paired(x, y, shift=True)
  return distance(prepare(x), prepare(y))


@wide
def angular(x: Array, y: Array, *, alpha: float = 1.0) -> Array:
  """Angular shape distance arccos(bures) of x [N, D1] and y [N, D2], in radians: [].

  A metric (Williams et al. 2021), range 0..pi/2, lower is more similar, 0 for equal sides.
  Invariant to orthogonal maps, isotropic scaling and translation of either side where alpha = 1.

  Precision: of its square that of `bures`; below 2e-3 (1e-7 in float64) it is 0.

  Args:
    x, y: features of the same samples.
    alpha: singular values s of the centred features become alpha s + 1 - alpha (netrep's partial
      whitening): 1 leaves the shape, 0 whitens it (then invariant to linear maps, as CCA is).
      Between, the scale matters, and gradients are infinite where singular values tie.

  Raises:
    ValueError: alpha outside 0..1, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(angular(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 0.0, 0.515]
  """
  x, y = paired(x, y, shift=True)
  return angle(prepare(x, alpha=alpha), prepare(y, alpha=alpha))


def prepare_covariance(z: Array) -> linear.Side:
  """The side z [N, D], not centred."""
  return linear.prepare(z, centered=False)


def one_less(x: linear.Side, y: linear.Side) -> Array:
  """1 - <K, L> / (|K| |L|)."""
  return 1 - linear.compare(x, y)


@wide
def covariance_distance(x: Array, y: Array) -> Array:
  """Distance 1 - tr(K L) / (|K| |L|) of the correlation matrices K = x x^T, L = y y^T: [].

  Correlation-matrix distance (Herdin et al. 2005) between samples of x [N, D1] and y [N, D2], not
  centred; 1 - linear CKA if they are. Range 0..1, lower is more similar, 0 for equal sides.
  Invariant to orthogonal maps and isotropic scaling of either side, not to translation. 1 where a
  side is 0.

  Precision: float32, about 1e-6; float64 where a side needs it.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(covariance_distance(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [0.0, 0.0, 0.978]
  """
  x, y = paired(x, y)
  return one_less(prepare_covariance(x), prepare_covariance(y))


@wide
def effective_rank(z: Array) -> Array:
  """Effective rank of one side z [N, D] (Roy and Vetterli 2007; RankMe): [] in 1..min(N, D).

  exp of the entropy of the singular values over their sum, 0 for zeros. Not centred: pass
  `center(z)` for the rank of the spread. Invariant to orthogonal maps and scaling.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> round(float(effective_rank(np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]))), 3)
    2.0
  """
  z, _ = paired(z, z, least=1)
  s = jnp.linalg.svd(compact(scaled(z)[0]), compute_uv=False)
  p = s / jnp.where(s.sum() > 0, s.sum(), 1)
  some = p > jnp.finfo(p.dtype).tiny
  entropy = -jnp.sum(jnp.where(some, p * jnp.log(jnp.where(some, p, 1)), 0))
  return jnp.where(s.sum() > 0, jnp.exp(entropy), 0.0)


_SHAPE = ('orthogonal', 'scaling', 'translation')
MEASURES = {
    'bures': Measure(bures, prepare, similarity, 'cosine after the best rotation', '0..1', _SHAPE),
    'procrustes': Measure(
        procrustes, prepare, distance, 'distance after the best rotation, both of unit norm',
        '0..1.414', _SHAPE, higher=False, best=0.0),
    'angular': Measure(
        angular, prepare, angle, 'angle after the best rotation, in radians', '0..1.571', _SHAPE,
        {'alpha': 1.0}, higher=False, best=0.0),
    'covariance_distance': Measure(
        covariance_distance, prepare_covariance, one_less,
        '1 - cosine of the correlation matrices of the samples, not centred', '0..1',
        ('orthogonal', 'scaling'), higher=False, best=0.0),
}
