"""Representational similarity analysis: do the same pairs of samples lie far apart on both
sides?"""

import functools

import jax
import jax.numpy as jnp

from mmalign_jax.similarity import exact
from mmalign_jax.similarity.gram import Gram, cosine, gram, without_diagonal
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import center, normalize, root, scaled
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array

DISSIMILARITIES = ('euclidean', 'squared_euclidean', 'cosine', 'correlation')
COMPARISONS = ('spearman', 'pearson', 'cosine')


def prepare(z: Array, *, dissimilarity: str = 'euclidean',
            comparison: str = 'spearman') -> Gram:
  """Dissimilarities of all pairs of rows of z [N, D]; as ranks, centred, or as they are.

  Raises:
    ValueError: an unknown dissimilarity or comparison.
  """
  if dissimilarity not in DISSIMILARITIES:
    raise ValueError(f'dissimilarity={dissimilarity!r} is unknown; known: '
                     f'{", ".join(DISSIMILARITIES)}')
  if comparison not in COMPARISONS:
    raise ValueError(f'comparison={comparison!r} is unknown; known: {", ".join(COMPARISONS)}')
  return gram(_compared(scaled(z)[0], dissimilarity, comparison))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _compared(z: Array, dissimilarity: str, comparison: str) -> Array:
  """What is compared of all pairs [N, N], 0 on the diagonal: made in float64, of the type of z."""
  with jax.enable_x64(True):
    far, tolerance = _distances(z, dissimilarity)
    if comparison == 'spearman':
      return _centered(ranked(far, tolerance)).astype(z.dtype)
    far = far if dissimilarity == 'euclidean' else far**2
    far = without_diagonal(scaled(far)[0])
    return (_centered(far) if comparison == 'pearson' else far).astype(z.dtype)


@_compared.defjvp
def _compared_jvp(dissimilarity, comparison, primals, tangents):
  (z,), (dz,) = primals, tangents
  found = _compared(z, dissimilarity, comparison)
  if comparison == 'spearman':
    return found, jnp.zeros_like(found)  # ranks do not move
  def formula(z):
    if dissimilarity == 'correlation':
      z = _rows_centered(z)
    z = center(z) if 'euclidean' in dissimilarity else normalize(z)
    squares = jnp.sum(z * z, axis=1)
    far = squares[:, None] + squares[None] - 2 * jnp.dot(z, z.T, precision='highest')
    far = without_diagonal(jnp.maximum(far, 0))
    far = scaled(root(far) if dissimilarity == 'euclidean' else far)[0]
    return _centered(far) if comparison == 'pearson' else far
  return found, jax.jvp(formula, (z,), (dz,))[1]


def _distances(z: Array, dissimilarity: str) -> tuple[Array, Array]:
  """Distances [N, N] f64 of rows of z [N, D], for cosines sqrt(1 - cosine), and by how much two may
  differ and be equal [N, N]."""
  z = jax.lax.stop_gradient(z).astype(jnp.float64)
  if dissimilarity == 'correlation':
    z = _rows_centered(z)
  metric = 'euclidean' if 'euclidean' in dissimilarity else 'cosine'
  near, error = exact.all_nearness(exact.points(z, metric)[0], metric)
  far = without_diagonal(jnp.sqrt(jnp.maximum(-near, 0)))
  return far, exact.tie(far, metric, error)


def _rows_centered(z: Array) -> Array:
  z = z - z.mean(axis=1, keepdims=True)
  return z - z.mean(axis=1, keepdims=True)  # a mean far from 0 is rounded


def _centered(matrix: Array) -> Array:
  """The matrix [N, N] of a zero diagonal less its mean beside it, which stays 0; what rounding
  leaves of equal entries is 0."""
  n = matrix.shape[0]
  mean = matrix.sum() / float(n * (n - 1))
  moved = without_diagonal(matrix - mean)
  rounding = 64 * jnp.finfo(matrix.dtype).eps * jnp.abs(mean)
  return jnp.where(jnp.max(jnp.abs(moved)) > rounding, moved, 0)


def ranked(matrix: Array, tolerance: Array | float = 0.0) -> Array:
  """The rank of every pair of different samples [N, N], over N^2 / 2; equal ones share their mean
  rank, and those are equal that follow each other within `tolerance` [N, N]."""
  n = matrix.shape[0]
  i, j = jnp.triu_indices(n, k=1)
  count = i.shape[0]
  tolerance = jnp.broadcast_to(jnp.asarray(tolerance, matrix.dtype), matrix.shape)
  values, place = jax.lax.sort((matrix[i, j], jnp.arange(count, dtype=jnp.int32)), num_keys=1)
  new = jnp.diff(values) > tolerance[i, j][place][1:]
  group = jnp.cumsum(jnp.concatenate([jnp.zeros(1, bool), new]), dtype=jnp.int32)  # of equal ones
  last = jnp.zeros(count, jnp.int32).at[group].max(jnp.arange(1, count + 1, dtype=jnp.int32))
  first = jnp.concatenate([jnp.zeros(1, jnp.int32), last[:-1]])
  middle = (first[group].astype(matrix.dtype) + last[group] + 1) / 2
  rank = jnp.zeros(count, matrix.dtype).at[place].set(middle / (n * n / 2))
  upper = jnp.zeros_like(matrix).at[i, j].set(rank)
  return upper + upper.T


@wide
def rsa(x: Array, y: Array, *, dissimilarity: str = 'euclidean',
        comparison: str = 'spearman') -> Array:
  """Correlation of the dissimilarities of all pairs of samples of x [N, D1] and y [N, D2]: [].

  Kriegeskorte et al. (2008). Range -1..1 (0..1 for 'cosine'), higher is more similar, 1 for equal
  sides. 'euclidean' is invariant to orthogonal maps, isotropic scaling and translation of either
  side. 'spearman' has no useful gradient. 0 where all dissimilarities of a side are equal. Holds N
  x N.

  Precision: float64 distances of the given rows, whatever their type; distances within 1e-12 of
  each other share a rank.

  Args:
    x, y: features of the same samples.
    dissimilarity: 'euclidean', 'squared_euclidean', 'cosine' or 'correlation' (1 - Pearson over
      features) of two samples.
    comparison: 'spearman' (ties share their mean rank), 'pearson' or 'cosine'.

  Raises:
    ValueError: an unknown name, N < 3, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(rsa(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.475]
  """
  x, y = paired(x, y, least=3)
  return cosine(*(prepare(z, dissimilarity=dissimilarity, comparison=comparison) for z in (x, y)))


MEASURES = {
    'rsa': Measure(
        rsa, prepare, cosine, 'rank correlation of the distances between samples', '-1..1',
        ('orthogonal', 'scaling', 'translation'),
        {'dissimilarity': 'euclidean', 'comparison': 'spearman'}, least=3, differentiable=False,
        dense=True),
}
