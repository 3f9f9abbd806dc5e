"""Linear kernels: CKA and HSIC in feature space where N > D, in sample space otherwise.

The inner product <K, L> of two centred Gram matrices K = x x^T, L = y y^T is || x^T y ||_F^2: it
needs D1 x D2 numbers, never N x N. Biased: K is centred on both sides. Debiased (Song et al. 2012):
K loses its diagonal and is U-centred, so that <K, L> / (n (n - 3)) is the unbiased HSIC.
"""

import dataclasses
import functools

import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity.gram import Gram, gram, ratio, u_centered
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import scaled, without_constants
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array


@struct.dataclass
class Features:
  """Centred features z [N, D] of largest entry 1, their squares [N] of row norms, the product
  norm [] = <K, K>, and the scale [] that was taken out of K."""
  z: Array
  squares: Array
  norm: Array
  scale: Array
  debiased: bool = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Features':
    return dataclasses.replace(self, z=self.z[order], squares=self.squares[order])


Side = Features | Gram


def prepare(z: Array, *, debiased: bool = False, centered: bool = True) -> Side:
  """The side z [N, D]: its features where N > D, else its Gram matrix."""
  z, scale = scaled(without_constants(z) if centered else z)
  n, d = z.shape
  if n <= d:
    matrix = jnp.dot(z, z.T, precision='highest')
    matrix = u_centered(matrix) if debiased else matrix
    return gram(matrix, scale**2)
  side = Features(z, jnp.sum(z * z, axis=1), jnp.zeros((), z.dtype), scale**2, debiased)
  return dataclasses.replace(side, norm=inner(side, side))


def inner(x: Side, y: Side) -> Array:
  """<K, L> of the centred (debiased: U-centred) Gram matrices, by what the sides hold."""
  if isinstance(x, Gram):
    return (jnp.vdot(x.matrix, y.matrix, precision='highest') if isinstance(y, Gram)
            else _mixed(x.matrix, y.z))
  if isinstance(y, Gram):
    return _mixed(y.matrix, x.z)
  product = jnp.sum(jnp.square(jnp.dot(x.z.T, y.z, precision='highest')))
  if not x.debiased:
    return product
  n = float(x.squares.shape[0])  # n^2 does not fit an i32
  return (product - n / (n - 2) * jnp.vdot(x.squares, y.squares, precision='highest')
          + x.squares.sum() * y.squares.sum() / ((n - 1) * (n - 2)))


def _mixed(matrix: Array, z: Array) -> Array:
  """`inner` of a centred Gram matrix [N, N] and features z [N, D]: those need no centring then."""
  return jnp.vdot(jnp.dot(matrix, z, precision='highest'), z, precision='highest')


def compare(x: Side, y: Side) -> Array:
  """<K, L> / (|K| |L|), 0 where a side is constant."""
  return ratio(inner(x, y), x.norm, y.norm)


@wide
def linear_cka(x: Array, y: Array) -> Array:
  """Biased linear CKA of x [N, D1] and y [N, D2] (Kornblith et al. 2019): [].

  Range 0..1, higher is more similar, 1 for equal sides. Invariant to orthogonal maps, translation
  and isotropic scaling of either side; not to invertible linear maps. Grows with D / N for
  unrelated features: prefer the debiased form, or `calibrate`. 0 where a side is constant.

  Precision: that of float32 once the shift is out, about 1e-6; float64 where a side needs it.

  Raises:
    ValueError: for arrays that do not fit (see `measure.paired`).

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(linear_cka(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.757]
  """
  x, y = paired(x, y, shift=True)
  return compare(prepare(x), prepare(y))


@wide
def debiased_linear_cka(x: Array, y: Array) -> Array:
  """Linear CKA of x [N, D1], y [N, D2] from the unbiased HSIC of Song et al. (2012): [].

  At most 1, about 0 for unrelated features and slightly negative by chance; higher is more similar.
  Invariances as linear CKA. Not clipped at 0. 0 where a side is constant.

  Precision: that of float32 once the shift is out, about 1e-6; float64 where a side needs it.

  Raises:
    ValueError: N < 4, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(debiased_linear_cka(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.851]
  """
  x, y = paired(x, y, least=4, shift=True)
  return compare(prepare(x, debiased=True), prepare(y, debiased=True))


def rv_coefficient(x: Array, y: Array) -> Array:
  """RV coefficient tr(Sxy Syx) / sqrt(tr(Sxx^2) tr(Syy^2)) (Escoufier 1973): [] in 0..1.

  Of x [N, D1] and y [N, D2]; higher is more similar. The same number as biased linear CKA, under
  its older name; invariances as there.

  Precision: that of float32 once the shift is out, about 1e-6; float64 where a side needs it.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(rv_coefficient(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.757]
  """
  return linear_cka(x, y)


MEASURES = {
    'linear_cka': Measure(
        linear_cka, prepare, compare, 'cosine of the centred Gram matrices; grows with D / N',
        '0..1', ('orthogonal', 'scaling', 'translation')),
    'debiased_linear_cka': Measure(
        debiased_linear_cka, functools.partial(prepare, debiased=True), compare,
        'linear CKA from unbiased HSIC; about 0 by chance', '..1',
        ('orthogonal', 'scaling', 'translation'), least=4),
    'rv_coefficient': Measure(
        rv_coefficient, prepare, compare, 'RV coefficient; equals biased linear CKA',
        '0..1', ('orthogonal', 'scaling', 'translation')),
}
