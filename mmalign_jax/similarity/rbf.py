"""CKA with Gaussian (RBF) kernels k(a, b) = exp(-|a - b|^2 / (2 sigma^2)).

HSIC does not notice a constant added to a kernel, so exp(.) - 1 is what is summed: at a large
bandwidth, where the kernel is all ones but for rounding, its digits are kept. Up to DENSE samples a
side holds its centred matrix; beyond, its features, and blocks of rows are made when needed.
"""

import dataclasses
import functools

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.similarity.exact import all_squared_distances
from mmalign_jax.similarity.gram import Gram, centered, gram, ratio, u_centered
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import center, root, scaled
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array, Numeric

DENSE = 8192   # samples up to which an N x N matrix is held
_SAMPLED = 4096  # samples that the median distance is taken over


@struct.dataclass
class Streamed:
  """Features z [N, D] over sqrt(2) sigma, sums [N] over the rows of its kernel - 1, its norm []
  and scale [] (1)."""
  z: Array
  sums: Array
  norm: Array
  scale: Array
  debiased: bool = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Streamed':
    return dataclasses.replace(self, z=self.z[order], sums=self.sums[order])


Side = Gram | Streamed


def prepare(z: Array, *, sigma: Numeric | None = None, fraction: Numeric = 1.0,
            debiased: bool = False) -> Side:
  """The side z [N, D] with bandwidth `sigma`, or None for `fraction` of the median distance."""
  for name, value in (('sigma', sigma), ('fraction', fraction)):
    if value is not None and not isinstance(value, Tracer) and not value > 0:
      raise ValueError(f'{name}={value} must be above 0')
  z, scale = scaled(z)
  squares = None if z.shape[0] > DENSE else all_squared_distances(z)
  width = fraction * median_distance(z, squares) if sigma is None else sigma / scale
  width = jnp.asarray(width, z.dtype)
  width = jnp.where(width > 0, width, 1)
  if squares is None:
    return _streamed(center(z) / (jnp.sqrt(jnp.asarray(2, z.dtype)) * width), debiased)
  matrix = jnp.expm1(-squares / width / width / 2)
  matrix, scale = scaled(u_centered(matrix) if debiased else centered(matrix))
  return gram(matrix, scale)


def compare(x: Side, y: Side) -> Array:
  """<K, L> / (|K| |L|) of the centred kernels, 0 where a side is constant."""
  return ratio(inner(x, y), x.norm, y.norm)


def inner(x: Side, y: Side) -> Array:
  """<K, L> of the centred (debiased: U-centred) kernels, each over its scale."""
  if isinstance(x, Gram):
    assert isinstance(y, Gram)  # as N decides, which both have
    return jnp.vdot(x.matrix, y.matrix, precision='highest')
  assert isinstance(y, Streamed)
  return _streamed_inner(x, y)


def median_distance(z: Array, squares: Array | None = None) -> Array:
  """Median Euclidean distance [] over pairs of different samples of z [N, D].

  Beyond 4,096 samples over every (N / 4096)-th of them, whatever their order. squares [N, N]: of
  all distances, where they are known.
  """
  if z.shape[0] > _SAMPLED:
    kept = np.arange(_SAMPLED) * z.shape[0] // _SAMPLED
    z, squares = z[kept], None if squares is None else squares[kept][:, kept]
  squares = all_squared_distances(z) if squares is None else squares
  i, j = jnp.triu_indices(z.shape[0], k=1)
  return root(jnp.median(squares[i, j]))


@functools.partial(jax.jit, static_argnums=1)
def _streamed(z: Array, debiased: bool) -> Streamed:
  sums = row_blocks(lambda rows, index: _rows(z, rows, index).sum(axis=1), z)
  norm, scale = jnp.array([0, 1], z.dtype)
  side = Streamed(z, sums, norm, scale, debiased)
  norm = inner(side, side)
  if debiased:  # of a kernel that is the same between all samples rounding leaves something
    rounding = 64 * jnp.finfo(z.dtype).eps * jnp.vdot(sums, sums) / z.shape[0]
    norm = jnp.where(norm > rounding, norm, 0)
  return dataclasses.replace(side, norm=norm)


def _rows(z: Array, rows: Array, index: Array) -> Array:
  """Rows [B, N] of the kernel - 1; 0 on the diagonal."""
  squares = jnp.sum(z * z, axis=1)
  product = jnp.dot(rows, z.T, precision='highest')
  distances = squares[index][:, None] + squares[None] - 2 * product
  own = index[:, None] == jnp.arange(z.shape[0])[None]
  return jnp.where(own, 0, jnp.expm1(-jnp.maximum(distances, 0)))


@jax.jit
def _streamed_inner(x: Streamed, y: Streamed) -> Array:
  """<K, L> of the centred kernels from blocks of rows: the diagonal of kernel - 1 is 0."""
  n = float(x.z.shape[0])
  def block(rows, index):
    return jnp.sum(_rows(x.z, rows, index) * _rows(y.z, y.z[index], index), axis=1)
  mean_x, mean_y = x.sums.mean(), y.sums.mean()
  product = row_blocks(block, x.z).sum()
  cross = jnp.vdot(x.sums - mean_x, y.sums - mean_y, precision='highest')
  if x.debiased:
    return (product - 2 / (n - 2) * (cross + n * mean_x * mean_y)
            + n * mean_x * n * mean_y / ((n - 1) * (n - 2)))
  return product - 2 / n * cross - mean_x * mean_y


@wide
def rbf_cka(x: Array, y: Array, *, sigma: Numeric | None = None,
            fraction: Numeric = 1.0) -> Array:
  """Biased CKA of x [N, D1] and y [N, D2] with Gaussian kernels (Kornblith et al. 2019): [].

  Range 0..1, higher is more similar, 1 for equal sides. Invariant to orthogonal maps and
  translation of either side, and to isotropic scaling where the bandwidth follows the distances. 0
  where a side is constant. A fixed sigma far above the distances gives linear CKA, far below them
  about 1 for anything: hence the median by default.

  Precision: float64 distances up to 8,192 samples, sums in float32, about 1e-6; float64 where a
  side needs it.

  Args:
    x, y: features of the same samples.
    sigma: bandwidth of both kernels, in units of the features; None for the median.
    fraction: of the median distance between different samples of that side.

  Raises:
    ValueError: sigma or fraction not above 0, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(rbf_cka(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.78]
  """
  x, y = paired(x, y, shift=True)
  return compare(*(prepare(z, sigma=sigma, fraction=fraction) for z in (x, y)))


@wide
def debiased_rbf_cka(x: Array, y: Array, *, sigma: Numeric | None = None,
                     fraction: Numeric = 1.0) -> Array:
  """`rbf_cka` from the unbiased HSIC: [] at most 1, about 0 for unrelated features.

  Higher is more similar, 1 for equal sides. Arguments (`sigma` and `fraction`, too) and invariances
  as `rbf_cka`.

  Precision: as `rbf_cka`.

  Raises:
    ValueError: N < 4, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(debiased_rbf_cka(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.856]
  """
  x, y = paired(x, y, least=4, shift=True)
  return compare(*(prepare(z, sigma=sigma, fraction=fraction, debiased=True) for z in (x, y)))


_MEANING = 'CKA of Gaussian kernels, bandwidth the median distance unless given'
_SETTINGS = {'sigma': None, 'fraction': 1.0}
MEASURES = {
    'rbf_cka': Measure(
        rbf_cka, prepare, compare, _MEANING, '0..1', ('orthogonal', 'scaling', 'translation'),
        _SETTINGS, slow=True),
    'debiased_rbf_cka': Measure(
        debiased_rbf_cka, functools.partial(prepare, debiased=True), compare,
        'RBF CKA from the unbiased HSIC; about 0 by chance', '..1',
        ('orthogonal', 'scaling', 'translation'), _SETTINGS, least=4, slow=True),
}
