"""Representational similarity analysis: do the same pairs of samples lie far apart on both
sides?"""

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.similarity.gram import Gram, cosine, gram, without_diagonal
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import center, normalize, root, scaled
from mmalign_jax.similarity.rbf import squared_distances


def _euclidean(z: chex.Array) -> chex.Array:
  return root(squared_distances(center(z)))


def _cosine(z: chex.Array) -> chex.Array:
  return squared_distances(normalize(z)) / 2


DISSIMILARITIES = {
    'euclidean': _euclidean,
    'squared_euclidean': lambda z: squared_distances(center(z)),
    'cosine': _cosine,
    'correlation': lambda z: _cosine(z - z.mean(axis=1, keepdims=True)),
}
COMPARISONS = ('spearman', 'pearson', 'cosine')


def prepare(z: chex.Array, *, dissimilarity: str = 'euclidean',
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
  matrix, scale = scaled(DISSIMILARITIES[dissimilarity](scaled(z)[0]))
  if comparison == 'spearman':
    matrix = ranked(matrix)
  if comparison != 'cosine':
    n = matrix.shape[0]
    matrix = without_diagonal(matrix - matrix.sum() / float(n * (n - 1)))
  return gram(matrix, scale)


def ranked(matrix: chex.Array) -> chex.Array:
  """The rank of every pair of different samples, equal ones sharing their mean rank, over N^2 /
  2."""
  n = matrix.shape[0]
  i, j = jnp.triu_indices(n, k=1)
  rank = jax.scipy.stats.rankdata(matrix[i, j]).astype(matrix.dtype) / (n * n / 2)
  upper = jnp.zeros_like(matrix).at[i, j].set(rank)
  return upper + upper.T


def rsa(x: chex.Array, y: chex.Array, *, dissimilarity: str = 'euclidean',
        comparison: str = 'spearman') -> chex.Array:
  """Correlation of the dissimilarities of all pairs of samples of x [N, D1] and y [N, D2]: [].

  Kriegeskorte et al. (2008). Range -1..1 (0..1 for 'cosine'), higher is more similar, 1 for equal
  sides. 'euclidean' is invariant to orthogonal maps, isotropic scaling and translation of either
  side. 'spearman' has no useful gradient. 0 where all dissimilarities of a side are equal. Holds N
  x N.

  Args:
    x, y: features of the same samples.
    dissimilarity: 'euclidean', 'squared_euclidean', 'cosine' or 'correlation' (1 - Pearson over
      features) of two samples.
    comparison: 'spearman' (ties share their mean rank), 'pearson' or 'cosine'.

  Raises:
    ValueError: an unknown name, N < 3, or arrays that do not fit.
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
