"""Partial least squares: correlation of the directions that share most covariance."""

import dataclasses

import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import scaled, without_constants
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array


@struct.dataclass
class Side:
  """Centred features z [N, D], and how many pairs of scores are asked for."""
  z: Array
  components: int = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Side':
    return dataclasses.replace(self, z=self.z[order])


def prepare(z: Array, *, components: int = 1) -> Side:
  """The side z [N, D]."""
  if not 1 <= components <= min(z.shape):
    raise ValueError(f'components={components} is outside 1..{min(z.shape)}')
  return Side(scaled(without_constants(z))[0], components)


def compare(x: Side, y: Side) -> Array:
  """Mean Pearson correlation of x u_i and y v_i over the leading singular vectors of x^T y."""
  u, _, vt = jnp.linalg.svd(jnp.dot(x.z.T, y.z, precision='highest'), full_matrices=False)
  score_x = jnp.dot(x.z, u[:, :x.components], precision='highest')  # [N, components]
  score_y = jnp.dot(y.z, vt[:y.components].T, precision='highest')
  product, square_x, square_y = (
      jnp.sum(a * b, axis=0) for a, b in
      ((score_x, score_y), (score_x, score_x), (score_y, score_y)))
  fine = (square_x > 1e-12) & (square_y > 1e-12)
  root = jnp.sqrt(jnp.where(fine, square_x, 1) * jnp.where(fine, square_y, 1))
  return jnp.mean(jnp.where(fine, product / root, 0))


@wide
def pls(x: Array, y: Array, *, components: int = 1) -> Array:
  """Mean correlation of the first pairs of PLS scores of x [N, D1] and y [N, D2] (PLS-SVD): [].

  Scores x u and y v have the largest covariance that unit directions u, v can have, then the next
  largest in orthogonal directions (Wegelin 2000; scikit-learn's PLSSVD). Range 0..1, higher is more
  similar, 1 for equal sides. Invariant to orthogonal maps, isotropic scaling and translation of
  either side. Not differentiable where singular values tie. 0 where a side is constant.

  Precision: float32 once the shift is out, about 1e-5; float64 where a side needs it.

  Args:
    x, y: features of the same samples.
    components: pairs of scores, at most N, D1 and D2.

  Raises:
    ValueError: components out of range, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(pls(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.87]
  """
  x, y = paired(x, y, shift=True)
  return compare(prepare(x, components=components), prepare(y, components=components))


MEASURES = {
    'pls': Measure(
        pls, prepare, compare, 'correlation of the directions that share most covariance', '0..1',
        ('orthogonal', 'scaling', 'translation'), {'components': 1}, differentiable=False),
}
