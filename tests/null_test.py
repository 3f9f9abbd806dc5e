"""Chance, layers and intervals: nulls against brute force, and their promises under simulation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmalign_jax.similarity import (
  MEASURES,
  Measure,
  bootstrap,
  calibrate,
  calibration,
  layer_pairs,
  of_function,
)
from mmalign_jax.similarity.measure import Rows

KEY = jax.random.key(0)


def layers(seed: int, count: int, n: int = 40, widths=(4,), shared: float = 0.0):
  """`count` layers [n, D] a side, all of them views of `shared` times the same two factors."""
  g = np.random.default_rng(seed)
  z = shared * g.normal(size=(n, 2))
  return [[jnp.float32(z @ g.normal(size=(2, d)) + g.normal(size=(n, d)))
           for d in np.resize(widths, count)] for _ in range(2)]


@pytest.mark.parametrize('widths', [(4,), (4, 7, 50)])
@pytest.mark.parametrize('name', ['linear_cka', 'debiased_linear_cka', 'mutual_knn', 'procrustes'])
def test_every_pair_of_layers_is_there(name, widths):
  x, y = layers(0, 3, widths=widths, shared=1.0)
  found = layer_pairs(MEASURES[name], x, y[:2])
  expected = np.array([[MEASURES[name](a, b) for b in y[:2]] for a in x])
  np.testing.assert_allclose(found.matrix, expected, atol=1e-5)
  best = expected.max() if MEASURES[name].higher else expected.min()
  assert float(found.best) == pytest.approx(best, abs=1e-5)
  assert float(found.matrix[tuple(found.index)]) == float(found.best)


def test_a_layer_is_prepared_once(monkeypatch):
  calls = []
  measure = MEASURES['debiased_linear_cka']
  object.__setattr__(measure, 'prepare', lambda z, prepare=measure.prepare, **s: (
      calls.append(z.shape), prepare(z, **s))[1])
  try:
    calibrate(measure, *layers(0, 3), key=KEY, permutations=5)
  finally:
    object.__setattr__(measure, 'prepare', measure.prepare.__defaults__[0])
  assert len(calls) == 6


def test_bug_3_scores_that_are_all_below_zero_have_a_best_pair():
  for seed in range(20):
    found = layer_pairs(MEASURES['debiased_linear_cka'], *layers(seed, 2))
    if found.matrix.max() < 0:
      break
  assert found.matrix.max() < 0, 'no such draw: choose other seeds'
  assert float(found.best) == float(found.matrix.max()) < 0
  assert float(found.matrix[tuple(found.index)]) == float(found.best)
  assert np.isfinite(calibrate(MEASURES['debiased_linear_cka'], *layers(seed, 2), key=KEY,
                               permutations=9).p_value)


@pytest.mark.parametrize('name', ['linear_cka', 'mutual_knn', 'procrustes', 'rsa'])
@pytest.mark.parametrize('count', [1, 2])
def test_the_null_is_the_best_over_layers_of_permuted_features(name, count):
  x, y = layers(1, count, shared=0.4)
  measure = MEASURES[name]
  found = calibrate(measure, x, y, key=KEY, permutations=19)
  best = max if measure.higher else min
  null = []
  for key in jax.random.split(KEY, 19):
    order = jax.random.permutation(key, 40)
    null.append(best(float(measure(a, b[order])) for a in x for b in y))
  np.testing.assert_allclose(found.null, null, atol=2e-5)
  score = best(float(measure(a, b)) for a in x for b in y)
  reached = sum(v >= score if measure.higher else v <= score for v in null)
  assert float(found.score) == pytest.approx(score, abs=1e-5)
  assert float(found.p_value) == pytest.approx((1 + reached) / 20)
  mean = np.mean(null)
  assert float(found.calibrated) == pytest.approx(
      (score - mean) / (measure.best_value() - mean), abs=1e-4)
  np.testing.assert_allclose(found.null_quantiles, np.quantile(null, [.05, .5, .95]), atol=1e-4)


def test_equal_sides_are_calibrated_to_one_and_far_from_chance():
  (x,), _ = layers(2, 1)
  for name in ('linear_cka', 'lcs_knn', 'procrustes', 'median_rank_xy'):
    found = calibrate(MEASURES[name], x, x, key=KEY, permutations=19)
    assert float(found.calibrated) == pytest.approx(1, abs=2e-3), name
    assert float(found.p_value) == pytest.approx(1 / 20)


def test_the_gap_is_judged_by_exchanging_sides():
  (x,), (y,) = layers(3, 1)
  gap = MEASURES['modality_gap']
  same = calibrate(gap, x, y, key=KEY, permutations=99)
  apart = calibrate(gap, x, y + 1, key=KEY, permutations=99)
  assert same.p_value > 0.05 and apart.p_value == pytest.approx(0.01)
  assert float(apart.calibrated) == pytest.approx(float(apart.score - apart.null_mean))


def test_a_score_that_is_not_a_number_is_not_significant():
  (x,), (y,) = layers(3, 1)
  broken = jax.jit(lambda x, y: calibrate(MEASURES['hsic'], x, y, key=KEY, permutations=9))
  found = broken(1e30 * x, 1e30 * y)  # overflows float32
  assert not np.isfinite(found.score) and float(found.p_value) == 1


def test_equal_sides_are_calibrated_to_one_where_chance_is_near_too():
  x = 100 + np.random.default_rng(0).normal(size=(60, 8))  # in a narrow cone: distances of 1e-5
  with jax.enable_x64(True):
    found = calibrate(MEASURES['covariance_distance'], jnp.asarray(x), jnp.asarray(x), key=KEY,
                      permutations=20)
    assert 0 < found.null_mean < 1e-4 and found.calibrated == pytest.approx(1)


def test_a_measure_that_cannot_move_is_calibrated_to_zero():
  x, y = (jnp.float32(np.random.default_rng(i).normal(size=(8, 20))) for i in range(2))
  found = calibrate(MEASURES['cca'], x, y, key=KEY, permutations=19)  # D > N: 1 for anything
  assert float(found.score) == pytest.approx(1, abs=1e-4)
  assert float(found.calibrated) == 0 and found.p_value > 0.04


@functools.cache
def null_simulation(name: str, count: int, d: int, draws: int = 80, permutations: int = 39):
  """Raw and calibrated scores and p-values of independent Gaussian features, N = 30."""
  sides = np.random.default_rng([d, count]).normal(size=(draws, 2, count, 30, d))
  one = lambda pair, key: calibrate(MEASURES[name], list(pair[0]), list(pair[1]), key=key,
                                    permutations=permutations)
  found = jax.jit(jax.vmap(one))(jnp.float32(sides), jax.random.split(KEY, draws))
  return np.asarray(found.score), np.asarray(found.calibrated), np.asarray(found.p_value)


@pytest.mark.parametrize('name', ['linear_cka', 'mutual_knn'])
@pytest.mark.parametrize('count, d', [(1, 5), (1, 60), (3, 5)])
def test_independent_features_give_uniform_p_values_and_zero_calibrated_scores(name, count, d):
  score, calibrated, p = null_simulation(name, count, d)
  # p lives on a grid of 1 / 40, and mutual kNN on one of 1 / 300: spread it over its own step
  p = p - np.random.default_rng(0).uniform(size=p.shape) / 40
  assert stats.kstest(p, 'uniform').pvalue > 0.01
  error = calibrated.std(ddof=1) / len(calibrated)**0.5
  assert abs(calibrated.mean()) < 3 * error
  assert score.mean() > 10 * error  # while the raw score is not 0


def test_a_name_is_no_measure():
  with pytest.raises(ValueError, match="measure='rsa' must be an entry of similarity.MEASURES"):
    calibrate('rsa', *layers(0, 1), key=KEY)


@pytest.mark.parametrize('arguments, message', [
    ({'permutations': 0}, 'permutations=0 must be at least 1'),
    ({'k': 40}, 'k=40 neighbours need')])
def test_wrong_settings_of_a_null(arguments, message):
  with pytest.raises(ValueError, match=message):
    calibrate(MEASURES['mutual_knn'], *layers(0, 1), key=KEY, **arguments)


def test_layers_of_different_samples_are_refused():
  x, y = layers(0, 2)
  with pytest.raises(ValueError, match='x has N=40 samples and y has N=39'):
    layer_pairs(MEASURES['linear_cka'], x, [y[0], y[1][:-1]])
  with pytest.raises(ValueError, match='x has 0 layers and y has 2'):
    layer_pairs(MEASURES['linear_cka'], [], y)


# -- intervals -------------------------------------------------------------------------------------


def test_interval_of_random_halves():
  (x,), (y,) = layers(4, 1, n=41, shared=1.0)
  measure = MEASURES['linear_cka']
  found = bootstrap(measure, x, y, key=KEY, resamples=25)
  halves = []
  for key in jax.random.split(KEY, 25):
    kept = jax.random.permutation(key, 41)[:20]
    halves.append(float(measure(x[kept], y[kept])))
  spread = (np.array(halves) - np.mean(halves)) * (20 / 21)**0.5
  low, high = float(measure(x, y)) + np.quantile(spread, [.025, .975])
  assert (float(found.low), float(found.high)) == pytest.approx((low, high), abs=1e-4)
  assert found.low < found.score < found.high and 'halves' in found.resampled


def test_a_half_may_hold_too_few_items():
  x, items = np.random.default_rng(0).normal(size=(12, 3)), np.repeat(np.arange(6), 2)
  of = lambda k: bootstrap(MEASURES['mutual_knn'], x, x, key=KEY, resamples=5, items=items, k=k)
  with pytest.raises(ValueError, match='k=3 must be below the number of items.*as few as 3'):
    of(3)
  assert of(2).score == 1


def test_interval_covers_the_correlation_of_one_pair_of_features():
  """Linear CKA of single columns is r^2, whose spread is known."""
  g = np.random.default_rng(0)
  draws, n, rho = 200, 100, 0.7
  z = g.normal(size=(draws, n, 2)) @ np.linalg.cholesky([[1, rho], [rho, 1]]).T
  one = lambda pair, key: bootstrap(MEASURES['linear_cka'], pair[:, :1], pair[:, 1:], key=key,
                                    resamples=60)
  found = jax.jit(jax.vmap(one))(jnp.float32(z), jax.random.split(KEY, draws))
  covered = np.mean((found.low <= rho**2) & (rho**2 <= found.high))
  assert 0.88 <= covered <= 0.99
  width = np.median(found.high - found.low)
  known = 2 * 1.96 * 2 * rho * (1 - rho**2) / n**0.5  # delta method
  assert width == pytest.approx(known, rel=0.2)


@pytest.mark.parametrize('arguments, message', [
    ({'resamples': 1}, 'resamples=1 must be at least 2'), ({'level': 1.0}, 'level=1.0 is not in')])
def test_wrong_settings_of_an_interval(arguments, message):
  with pytest.raises(ValueError, match=message):
    bootstrap(MEASURES['linear_cka'], *layers(0, 1), key=KEY, **arguments)


def test_calibrations_of_single_pairs_join_to_that_of_all():
  key = jax.random.key(4)
  x = [jax.random.normal(jax.random.key(i), (40, 5)) for i in (0, 1)]
  y = [jax.random.normal(jax.random.key(i), (40, 4)) + x[1][:, :4] for i in (2, 3)]
  for name in ('debiased_linear_cka', 'procrustes'):
    measure = MEASURES[name]
    sides = (x, y) if not measure.same_width else ([z[:, :4] for z in x], y)
    whole = calibrate(measure, *sides, key=key, permutations=20)
    single = [[calibrate(measure, a, b, key=key, permutations=20) for b in sides[1]]
              for a in sides[0]]
    matrix = np.array([[c.score for c in row] for row in single])
    null = np.array([[c.null for c in row] for row in single])
    joined = calibration(measure, jnp.asarray(matrix), jnp.asarray(null))
    np.testing.assert_allclose(joined.null, whole.null, atol=1e-6)
    for field in ('score', 'calibrated', 'p_value', 'null_mean'):
      np.testing.assert_allclose(getattr(joined, field), getattr(whole, field), atol=1e-6)
    np.testing.assert_array_equal(joined.pairs.index, whole.pairs.index)


@pytest.mark.parametrize('name', ['mutual_knn', 'lcs_knn', 'cknna', 'rbf_cka', 'minibatch_cka',
                                  'rsa', 'median_rank_xy', 'distribution_gap'])
def test_what_was_called_once_is_not_compiled_again(name):
  """Of itself, too, outside jit; groups of equal sizes are alike."""
  (x,), (y,) = layers(0, 1, n=210)
  groups = np.repeat(np.arange(70), 3)

  def all_of_it(key):
    for more in ({}, {'groups': groups}):
      calibrate(MEASURES[name], x, y, key=key, permutations=5, **more)
      bootstrap(MEASURES[name], x, y, key=key, resamples=2, **more)
    layer_pairs(MEASURES[name], [x, y], [y])
    return MEASURES[name](x, y)

  all_of_it(KEY)
  compiled = []
  def heard(event, seconds, **_):
    if 'backend_compile' in event:
      compiled.append(seconds)
  jax.monitoring.register_event_duration_secs_listener(heard)
  try:
    all_of_it(jax.random.key(1))
    assert not compiled
    jax.jit(lambda a: a + len(name))(x)  # it does hear
    assert compiled
  finally:
    jax.monitoring.unregister_event_duration_listener(heard)


def test_a_measure_of_ones_own_is_what_it_reads_now():
  """Its null and its halves too, though it was called before."""
  (x,), (y,) = layers(0, 1)
  scale = [1.0]
  score = lambda x, y: scale[0] * (x[:, 0] * y[:, 0]).mean()
  built = Measure(score, lambda z: Rows(z), lambda x, y: score(x.z, y.z), 'built by hand', '', ())
  for own in (of_function(score), built):
    scale[0] = 1.0
    read = lambda own=own: (calibrate(own, x, y, key=KEY, permutations=19).null,
                            bootstrap(own, x, y, key=KEY, resamples=5).high)
    before, scale[0] = read(), 100.0
    for one, hundred in zip(before, read()):
      np.testing.assert_allclose(hundred, 100 * one, rtol=1e-5)


def test_settings_may_be_lists_and_arrays():
  """As numbers they give the same; what has no hash is traced each time."""
  (x,), (y,) = layers(0, 1, n=30)
  for name, one in (('mutual_knn', {'k': 5}), ('cknna', {'debiased': True}),
                    ('minibatch_cka', {'batch_size': 12}), ('recall_xy', {'at': 3}),
                    ('rbf_cka', {'sigma': 2.0})):
    expected = None
    for make in (lambda v: v, np.asarray, jnp.asarray):
      settings = {key: make(value) for key, value in one.items()}
      measure = MEASURES[name]
      found = [calibrate(measure, x, y, key=KEY, permutations=5, **settings).null,
               bootstrap(measure, x, y, key=KEY, resamples=4, **settings).low]
      expected = expected or found
      for a, b in zip(expected, found):
        np.testing.assert_allclose(a, b, atol=1e-6)
  for null in ('pairs', 'sides'):
    weighted = Measure(lambda x, y, **_: (x * y).mean(), lambda z, w=(1.0,): Rows(w[0] * z),
                       lambda x, y: (x.z * y.z).mean(), 'weighted', '', (), {'w': (1.0,)},
                       best=None, null=null)
    for w in ([2.0], np.array([2.0])):
      assert np.isfinite(calibrate(weighted, x, y, key=KEY, permutations=3, w=w).null).all()
      assert np.isfinite(float(bootstrap(weighted, x, y, key=KEY, resamples=3, w=w).low))


@pytest.mark.parametrize('name', ['recall_xy', 'median_rank_xy'])
def test_ranks_of_items_have_a_null_and_an_interval(name):
  (x,), (noise,) = layers(0, 1)
  y, items = x + 0.5 * noise, np.repeat(np.arange(20), 2)
  alone = MEASURES[name](x, y, items=items)
  near = lambda value: float(value) == pytest.approx(float(alone), abs=1e-6)
  assert near(jax.jit(MEASURES[name])(x, y, items=items))
  found = calibrate(MEASURES[name], x, y, key=KEY, permutations=19, items=items)
  assert near(found.score) and float(found.p_value) == pytest.approx(0.05)
  between = bootstrap(MEASURES[name], x, y, key=KEY, resamples=9, items=items)
  assert near(between.score) and between.low <= between.high
