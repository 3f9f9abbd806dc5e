"""Correlations over depth and the most alignment there is, against scipy and by hand."""

import numpy as np
import pytest
from scipy import stats
import xarray as xr

from mmalign_jax.reports import statistics
from mmalign_jax.studies.emergence import correlation

DIMS = ('unique', 'transform_depth', 'depth', 'seed')


def made(alignment, performance, null=None, measure='debiased_linear_cka'):
  """A data set of a study with alignment and performance [U, T, D, S]."""
  alignment = np.asarray(alignment, float)
  null = np.zeros((*alignment.shape, 5)) if null is None else null
  coords = {name: (name, 1 + np.arange(n)) for name, n in zip(DIMS, alignment.shape)}
  data = {measure: (DIMS, alignment), f'{measure}_calibrated': (DIMS, alignment / 2),
          f'{measure}_null': ((*DIMS, 'permutation'), null),
          'accuracy_2': (DIMS, np.asarray(performance, float))}
  return xr.Dataset(data, coords)


@pytest.mark.parametrize('kind, reference', [
    ('spearman', stats.spearmanr), ('pearson', stats.pearsonr)])
def test_correlations_are_scipys(kind, reference):
  random = np.random.default_rng(0)
  x = random.standard_normal((3, 4, 10)).round(1)  # with ties
  y = random.standard_normal((3, 4, 10)).round(1) + x
  found = statistics.KINDS[kind](x, y)
  for i in np.ndindex(3, 4):
    np.testing.assert_allclose(found[i], reference(x[i], y[i])[0], atol=1e-12)


@pytest.mark.parametrize('kind', ['spearman', 'pearson'])
def test_no_trend_where_a_side_is_constant(kind):
  correlate = statistics.KINDS[kind]
  assert correlate(np.full(5, 0.1), np.arange(5)) == 0
  assert correlate(np.full(5, 0.3) + 1e-17, np.arange(5)) == 0
  np.testing.assert_allclose(correlate(1e-9 * np.arange(5), np.arange(5)), 1)  # small, not constant


def test_a_score_that_is_not_finite_gives_no_correlation():
  assert np.isnan(statistics.spearman([1, 2, np.nan], [1, 2, 3]))


def test_by_series_is_over_depth_for_every_transform_and_seed():
  random = np.random.default_rng(1)
  a, p = random.random((2, 2, 3, 6, 2))
  found = correlation.by_series(made(a, p), 'debiased_linear_cka')
  assert found['alignment_performance'].shape == (2, 6)
  for u, t, s in np.ndindex(2, 3, 2):
    n = t * 2 + s
    expect = lambda x, y: stats.spearmanr(x, y)[0]
    np.testing.assert_allclose(
        found['alignment_performance'][u, n], expect(a[u, t, :, s], p[u, t, :, s]))
    np.testing.assert_allclose(found['performance_depth'][u, n], expect(p[u, t, :, s], range(6)))
    np.testing.assert_allclose(found['alignment_depth'][u, n], expect(a[u, t, :, s], range(6)))


def test_a_distance_counts_negatively():
  a = np.arange(4.0).reshape(1, 1, 4, 1)
  data = made(a, a, measure='procrustes')
  assert correlation.by_series(data, 'procrustes')['alignment_performance'] == -1
  # calibrated, 1 is best whatever the direction of the measure was
  assert correlation.by_series(data, 'procrustes', calibrated=True)['alignment_depth'] == 1


def test_medians_cover_the_truth():
  random, hits = np.random.default_rng(2), 0
  for trial in range(200):
    found = statistics.median(random.standard_normal(20), n_boot=400, seed=trial)
    hits += found.interval[0] <= 0 <= found.interval[1]
  assert 0.9 <= hits / 200 <= 1
  assert statistics.median(np.array([1.0, 3.0])).interval is None
  assert statistics.median(np.array([1.0, np.nan, 3.0])).value == 2
  assert np.isnan(statistics.median(np.array([np.nan])).value)


def test_the_largest_is_judged_by_a_null_of_the_largest():
  null = np.zeros((1, 1, 3, 1, 4))
  null[0, 0, 0, 0], null[0, 0, 1, 0] = [.1, .4, .0, .1], [.2, .1, .2, .1]  # by depth
  data = made(np.array([.1, .3, .2]).reshape(1, 1, 3, 1), np.zeros((1, 1, 3, 1)), null)
  found = correlation.largest(data, 'debiased_linear_cka', 10)
  best = np.array([.2, .4, .2, .1])  # over depths, permutation by permutation
  assert found.value == pytest.approx(.3) and found.null_mean == pytest.approx(best.mean())
  assert found.calibrated == pytest.approx((.3 - best.mean()) / (1 - best.mean()))
  assert found.p_value == pytest.approx(2 / 5)
  assert found.null_q95 == pytest.approx(np.quantile(best, 0.95))


def test_largest_of_a_distance_is_the_smallest():
  null = np.full((1, 1, 3, 1, 4), 5.0)
  null[0, 0, 2, 0, 0] = 1.0
  data = made(np.array([3., 2., 4.]).reshape(1, 1, 3, 1), np.zeros((1, 1, 3, 1)), null,
              'procrustes')
  found = correlation.largest(data, 'procrustes', 10)
  assert found.value == 2 and found.null_mean == 4 and found.p_value == pytest.approx(2 / 5)
  assert found.calibrated == pytest.approx((2 - 4) / (0 - 4))
