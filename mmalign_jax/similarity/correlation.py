"""Canonical correlation and its relatives: CCA, SVCCA, PWCCA, linear regression.

All compare subspaces: from D close to N on they are 1 for anything, and by chance about as large as
(D1 + D2) / N. `calibrate` shows it.
"""

import jax.numpy as jnp

from mmalign_jax.similarity import basis
from mmalign_jax.similarity.basis import Basis, nuclear
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array


def _overlap(x: Basis, y: Basis) -> Array:
  """Qx^T Qy [r1, r2]; its singular values are the canonical correlations."""
  return jnp.dot(x.q.T, y.q, precision='highest')


def _over(total: Array, count: Array) -> Array:
  """total / count, 0 where there is nothing to count."""
  return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0.0)


def mean_correlation(x: Basis, y: Basis) -> Array:
  """Mean canonical correlation over the smaller rank."""
  return _over(nuclear(_overlap(x, y)), jnp.minimum(x.rank, y.rank))


def mean_square(x: Basis, y: Basis) -> Array:
  """Mean squared canonical correlation over the smaller rank; needs no decomposition."""
  return _over(jnp.sum(jnp.square(_overlap(x, y))), jnp.minimum(x.rank, y.rank))


def projection_weighted(x: Basis, y: Basis) -> Array:
  """sum_i a_i rho_i / sum_i a_i with a_i = sum_j |<h_i, x_j>| over canonical variables h_i of x."""
  u, rho, _ = jnp.linalg.svd(_overlap(x, y), full_matrices=False)
  weight = jnp.sum(jnp.abs(jnp.dot(u.T, x.loadings, precision='highest')), axis=1)
  weight = jnp.where(jnp.arange(rho.shape[0]) < jnp.minimum(x.rank, y.rank), weight, 0)
  return _over(jnp.vdot(weight, rho, precision='highest'), weight.sum())


def explained(x: Basis, y: Basis) -> Array:
  """Share of y's variance in the span of x."""
  predicted = jnp.dot(_overlap(x, y), y.loadings, precision='highest')
  return _over(jnp.sum(jnp.square(predicted)), jnp.sum(jnp.square(y.loadings)))


@wide
def cca(x: Array, y: Array) -> Array:
  """Mean canonical correlation of x [N, D1] and y [N, D2] (Hotelling 1936): [] in 0..1.

  Higher is more similar, 1 for equal sides. Invariant to invertible linear maps and translation of
  either side. Mean over the smaller rank; directions below rounding are left out. 0 where a side is
  constant.

  Precision: float32, about 1e-5, and directions below 1e-6 of the largest are left out; float64
  where a side needs it.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(cca(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 1.0]
  """
  x, y = paired(x, y, shift=True)
  return mean_correlation(basis.prepare(x), basis.prepare(y))


@wide
def cca_squared(x: Array, y: Array) -> Array:
  """Mean squared canonical correlation (Yanai's GCD, R^2_CCA of Kornblith et al. 2019): [] in 0..1.

  Higher is more similar, 1 for equal sides. Invariances and errors as `cca`.

  Precision: as `cca`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(cca_squared(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 1.0]
  """
  x, y = paired(x, y, shift=True)
  return mean_square(basis.prepare(x), basis.prepare(y))


@wide
def svcca(x: Array, y: Array, *, components: int | None = None,
          variance: float = 0.99) -> Array:
  """Mean canonical correlation of leading principal components (Raghu et al. 2017): [] in 0..1.

  Higher is more similar, 1 for equal sides. Invariant to orthogonal maps, isotropic scaling and
  translation of either side. Exact and deterministic.

  Precision: as `cca`.

  Args:
    x, y: features [N, D1], [N, D2] of the same samples.
    components: number of components of each side; None to go by the variance.
    variance: share of the variance that the fewest components kept must reach, in (0, 1].

  Raises:
    ValueError: components or variance out of range, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(svcca(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.87]
  """
  x, y = paired(x, y, shift=True)
  return mean_correlation(*(basis.prepare(z, components=components, variance=variance)
                            for z in (x, y)))


@wide
def pwcca(x: Array, y: Array) -> Array:
  """Projection-weighted CCA (Morcos et al. 2018) of x [N, D1] and y [N, D2]: [] in 0..1.

  Canonical correlations weighted by how much of the centred x each canonical variable of x accounts
  for: not symmetric. Higher is more similar, 1 for equal sides. Invariant to isotropic scaling and
  translation of x, and to invertible linear maps of y. Not differentiable where correlations
  tie, as they all do from D = N - 1 on.

  Precision: as `cca`.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(pwcca(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 1.0]
  """
  x, y = paired(x, y, shift=True)
  return projection_weighted(basis.prepare(x), basis.prepare(y))


@wide
def linear_regression(x: Array, y: Array) -> Array:
  """R^2 of the least-squares prediction of y [N, D2] from x [N, D1], all of y together: [] in 0..1.

  Not symmetric: how much of y x explains. Higher is more similar, 1 for equal sides. Invariant to
  invertible linear maps of x, and to orthogonal maps, isotropic scaling and translation of y. In
  sample: D1 / (N - 1) by chance. 0 where a side is constant.

  Precision: as `cca`.

  Raises:
    ValueError: for arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(linear_regression(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 1.0]
  """
  x, y = paired(x, y, shift=True)
  return explained(basis.prepare(x), basis.prepare(y))


def _entry(function, compare, meaning, invariant, settings=None, **rest) -> Measure:
  return Measure(
      function, basis.prepare, compare, meaning, '0..1', invariant, settings or {}, subspace=True,
      **rest)


_SPACE = ('orthogonal', 'scaling', 'translation', 'linear')
MEASURES = {
    'cca': _entry(cca, mean_correlation, 'mean canonical correlation; 1 for anything if D >= N',
                  _SPACE),
    'cca_squared': _entry(cca_squared, mean_square, 'mean squared canonical correlation', _SPACE),
    'svcca': _entry(svcca, mean_correlation, 'mean canonical correlation of principal components',
                    _SPACE[:3], {'components': None, 'variance': 0.99}),
    'pwcca': _entry(pwcca, projection_weighted, 'canonical correlations weighted by share of x',
                    ('scaling', 'translation'), symmetric=False, differentiable=False),
    'linear_regression': _entry(linear_regression, explained,
                                'share of the variance of y that x predicts', _SPACE[:3],
                                symmetric=False),
}
