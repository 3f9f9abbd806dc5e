"""Entropies from counts: independent formulas, published values, bias under simulation."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats
from sklearn import metrics

from mmalign_jax.information import counts
from mmalign_jax.information.counts import ENTROPIES

FAST = {'xla_backend_optimization_level': 0}
DEVICE = [name for name in ENTROPIES if name != 'nsb']


def jitted(f, n):
  """One compilation, which is faster than one for each of its steps."""
  return jax.device_get(jax.jit(f, compiler_options=FAST)(jnp.array(n)))


def draws(p, n, times, seed=0):
  return np.random.default_rng(seed).multinomial(n, np.ravel(p), size=times)


# -- values ----------------------------------------------------------------------------------------


def test_plug_in_and_miller_madow_by_hand():
  assert counts.plug_in([2, 1, 1, 0]) == pytest.approx(1.5 * np.log(2), abs=1e-15)
  assert counts.miller_madow([2, 1, 1, 0]) == pytest.approx(1.5 * np.log(2) + 2 / 8, abs=1e-15)
  assert str(counts.plug_in([4, 0])) == '0.0' and counts.miller_madow([4, 0]) == 0
  assert counts.plug_in([0.5, 0.5]) == pytest.approx(np.log(2))  # weights


def chao_shen_in_words(n):
  total, single = sum(n), sum(k == 1 for k in n)
  coverage = 1 - (single - (single == total)) / total
  each = [coverage * k / total for k in n if k > 0]
  return -sum(p * math.log(p) / (1 - (1 - p)**total) for p in each)


@pytest.mark.parametrize('n', [[4, 2, 1, 1], [5, 5], [1, 1, 1], [7], [1, 0], [30, 1, 0, 2, 1]])
def test_chao_shen(n):
  assert counts.chao_shen(n) == pytest.approx(chao_shen_in_words(n), abs=1e-13)


def test_chao_shen_for_two_and_one_of_three():
  # C = 2/3: p = 4/9 and 2/9, seen with chance 1 - (5/9)^3 and 1 - (7/9)^3
  expected = -(4 / 9) * np.log(4 / 9) / (1 - (5 / 9)**3) - (2 / 9) * np.log(2 / 9) / (
      1 - (7 / 9)**3)
  assert counts.chao_shen([2, 1]) == pytest.approx(expected, abs=1e-15)


def test_grassberger_by_its_recursion():
  g = [0, -np.euler_gamma - np.log(2)]  # G(1); G(2n) = 2 + G(1) + 2/3 + ... ; G(2n+1) = G(2n)
  for n in range(2, 40):
    g.append(g[1] + sum(2 / j for j in range(1, n, 2)) if n % 2 == 0 else g[n - 1])
  n = [1, 2, 3, 4, 7, 39, 0]
  expected = np.log(sum(n)) - sum(k * g[k] for k in n) / sum(n)
  assert counts.grassberger(n) == pytest.approx(expected, abs=1e-13)


def nsb_by_quadrature(n):
  n = np.asarray(n, float)
  k, total = len(n), n.sum()
  evidence = lambda b: (special.gammaln(k * b) - special.gammaln(total + k * b)
                        + np.sum(special.gammaln(n + b) - special.gammaln(b)))
  top = max(evidence(b) for b in np.geomspace(1e-6, 1e4, 200))
  def integrand(u, of_mean):
    b = np.exp(u)
    slope = k * special.polygamma(1, k * b + 1) - special.polygamma(1, b + 1)
    mean = special.digamma(total + k * b + 1) - np.sum(
        (n + b) / (total + k * b) * special.digamma(n + b + 1))
    return np.exp(evidence(b) - top) * b * slope * (mean if of_mean else 1)
  parts = [sum(integrate.quad(integrand, a, a + 2, args=(of_mean,), epsabs=1e-13)[0]
               for a in range(-20, 14, 2)) for of_mean in (True, False)]
  return parts[0] / parts[1]


@pytest.mark.parametrize('n', [
    [3, 1], [0, 5], [12, 4, 1, 0, 0, 2, 0, 0], [1] * 6, [400, 300, 300], [9, 0, 0, 0, 0, 0]])
def test_nsb_against_quadrature(n):
  assert counts.nsb(n) == pytest.approx(nsb_by_quadrature(n), abs=3e-6)


@pytest.mark.parametrize('n, k, published', [
    ([4, 12, 4, 5, 3, 1, 5, 1, 2, 2, 2, 2, 11, 3, 4, 12, 12, 1, 2], 100, 2.80609),
    ([12, 4, 12, 4, 5, 3, 1, 5, 1, 2, 2, 2, 2, 11, 3, 4, 12, 12, 1, 2], 100, 2.84001),
    ([7, 3, 5, 8, 9, 1, 3, 3, 1, 0, 2, 5, 2, 11, 4, 23, 5, 0, 8, 0], 20, 2.62363)])
def test_nsb_of_published_examples(n, k, published):  # of the documentation of the package ndd
  assert counts.nsb(np.pad(n, (0, k - len(n)))) == pytest.approx(published, abs=1e-5)


def test_nsb_limits():
  assert counts.nsb([5]) == 0
  assert counts.nsb([10**6, 10**6]) == pytest.approx(np.log(2), abs=1e-6)
  assert counts.nsb(np.full(10, 10**5)) == pytest.approx(np.log(10), abs=1e-4)
  assert 0 < counts.nsb([1, 0]) < np.log(2)
  assert isinstance(counts.nsb(np.ones((3, 4)), axis=1), np.ndarray)


@pytest.mark.parametrize('name', ENTROPIES)
def test_any_shape_and_axis(name):
  n = np.random.default_rng(0).integers(0, 6, (3, 2, 5)) + np.eye(5, dtype=int)[[0, 2]]
  f = ENTROPIES[name]
  assert f(n) == pytest.approx(f(n.ravel()), abs=1e-12)
  np.testing.assert_allclose(f(n, axis=-1), [[f(row) for row in one] for one in n], atol=1e-12)
  np.testing.assert_allclose(f(n, axis=(0, 2)), [f(n[:, i]) for i in range(2)], atol=1e-12)
  assert np.asarray(f(n, axis=1)).dtype == np.float64 and f(n, axis=1).shape == (3, 5)


@pytest.mark.parametrize('name', DEVICE)
def test_jax_arrays_jit_and_vmap(name):
  n = draws(np.ones(12) / 12, 30, 5)
  f = ENTROPIES[name]
  expected = [f(row) for row in n]
  found = jitted(jax.vmap(f), n)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert np.isfinite(jitted(f, np.zeros(3))).all()  # no samples where it cannot be refused


def test_jax_arrays_outside_jit():
  n = jnp.array([2, 1, 1, 0])
  assert isinstance(counts.plug_in(n), jax.Array)
  assert float(counts.plug_in(n)) == pytest.approx(1.5 * np.log(2))
  assert counts.nsb(n) == pytest.approx(counts.nsb([2, 1, 1, 0]))
  with pytest.raises(ValueError, match='counts has 1 entries negative'):
    counts.plug_in(-n[:1])


@pytest.mark.parametrize('name', ['plug_in', 'miller_madow'])
def test_gradient_is_finite(name):
  slope = jax.grad(ENTROPIES[name])(jnp.array([3.0, 0.0, 1.0]))
  assert np.isfinite(slope).all()


# -- bias ------------------------------------------------------------------------------------------


def bias(name, p, n, times=60):
  found = ENTROPIES[name](draws(p, n, times), axis=-1)
  return found.mean() - stats.entropy(p), found.std() / times**0.5


def test_bias_of_undersampled_uniform_states():
  p = np.ones(1000) / 1000
  plug_in, _ = bias('plug_in', p, 200)
  assert plug_in < -1.5
  for name, most in (('nsb', 0.1), ('chao_shen', 0.1), ('grassberger', 0.5),
                     ('miller_madow', 0.8)):
    assert abs(bias(name, p, 200)[0]) < most * abs(plug_in), name


@pytest.mark.parametrize('name', ['miller_madow', 'chao_shen', 'grassberger', 'nsb'])
def test_bias_of_well_sampled_states(name):
  p = np.random.default_rng(1).dirichlet(np.ones(8))
  plug_in, _ = bias('plug_in', p, 100, 400)
  found, error = bias(name, p, 100, 400)
  assert abs(found) < 0.3 * abs(plug_in) + 3 * error


def test_nsb_is_right_on_average_over_its_prior():
  """By construction: the posterior mean, over draws from the prior of mean entropy in 0..log K."""
  g, k = np.random.default_rng(0), 12
  beta = np.geomspace(1e-5, 1e5, 2000)
  mean_entropy = special.digamma(k * beta + 1) - special.digamma(beta + 1)
  off = []
  for xi in g.uniform(0, np.log(k), 400):
    p = g.dirichlet(np.full(k, np.interp(xi, mean_entropy, beta)) + 1e-12)
    p = np.nan_to_num(p, nan=1 / k)
    off.append(counts.nsb(g.multinomial(10, p / p.sum())) - stats.entropy(p))
  assert abs(np.mean(off)) < 3.5 * np.std(off) / 20


# -- mutual information ----------------------------------------------------------------------------


@pytest.mark.parametrize('name', ENTROPIES)
def test_information_is_three_entropies(name):
  n = np.random.default_rng(0).integers(1, 9, (3, 2, 4))
  h = ENTROPIES[name]
  found = counts.mutual_information(n, 0, (1, 2), entropy=name)
  assert found == pytest.approx(h(n.sum((1, 2))) + h(n.sum(0)) - h(n), abs=1e-12)
  assert counts.mutual_information(n, 0, -1, entropy=name) == pytest.approx(
      counts.mutual_information(n.sum(1).T, entropy=name), abs=1e-12)


def test_information_by_hand():
  n = [[2, 0], [0, 2]]  # H(X) = H(Y) = H(X,Y) = log 2 + 1/8
  assert counts.mutual_information(n) == pytest.approx(np.log(2) + 1 / 8)
  assert counts.mutual_information(n, entropy='plug_in') == pytest.approx(np.log(2))
  found = jitted(jax.vmap(counts.mutual_information), [n, np.ones((2, 2))])
  np.testing.assert_allclose(found, [np.log(2) + 1 / 8, (1 + 1 - 3) / 8], atol=1e-6)


@functools.cache
def informations(name, n=100, times=200):
  p = np.outer([0.4, 0.3, 0.2, 0.1], [0.5, 0.3, 0.2])
  return np.array([counts.mutual_information(one.reshape(4, 3), entropy=name)
                   for one in draws(p, n, times, seed=3)])


@pytest.mark.parametrize('name', ENTROPIES)
def test_information_of_independent_variables(name):
  found = informations(name)
  error = found.std() / len(found)**0.5
  if name == 'plug_in':
    assert found.mean() == pytest.approx(3 * 2 / 200, abs=4 * error)  # (4 - 1)(3 - 1) / 2N
    return
  assert abs(found.mean()) < 4 * error + 0.004
  assert (found < 0).any()  # and is not cut off


# -- shuffled --------------------------------------------------------------------------------------


def noisy_copy(n, states, kept, seed=0):
  g = np.random.default_rng(seed)
  x = g.integers(0, states, n)
  return x, np.where(g.uniform(size=n) < kept, x, g.integers(0, states, n))


def test_null_mean_is_the_expected_information_of_shuffled_pairs():
  x, y = noisy_copy(80, 5, 0.3)
  found = counts.shuffled(x, y, 0, 2000)
  mi = metrics.mutual_info_score(x, y)
  h = stats.entropy(np.bincount(x)) / 2 + stats.entropy(np.bincount(y)) / 2
  adjusted = metrics.adjusted_mutual_info_score(x, y)  # (mi - expected) / (h - expected)
  expected = (mi - adjusted * h) / (1 - adjusted)
  assert found.mi == pytest.approx(mi)
  assert found.null_mean == pytest.approx(expected, abs=0.003)
  assert found.corrected == pytest.approx(found.mi - found.null_mean)


def test_dependent_codes_are_significant_and_independent_ones_uniform():
  x, y = noisy_copy(300, 6, 0.6)
  assert counts.shuffled(x, y, 0, 99).p_value == 0.01
  p = [counts.shuffled(*noisy_copy(60, 4, 0.0, seed), seed, 39).p_value for seed in range(150)]
  p -= np.random.default_rng(0).uniform(size=150) / 40
  assert stats.kstest(p, 'uniform').pvalue > 0.01


def test_ties_count_as_reached():
  assert counts.shuffled([0, 0, 0, 0], [0, 1, 2, 3], 0, 20).p_value == 1
  assert counts.shuffled([0, 1, 2, 3], [7, 5, 3, 1], 0, 20).p_value == 1  # any order gives log 4


def test_codes_are_names():
  x, y = noisy_copy(100, 4, 0.5)
  one, other = counts.shuffled(x, y, 1, 20), counts.shuffled(10 - 3.0 * x, 1000 * y, 1, 20)
  assert one.mi == pytest.approx(other.mi) and one.p_value == other.p_value


@pytest.mark.parametrize('seed', [3, jax.random.key(3), jax.random.PRNGKey(3)])
def test_a_seed_or_key_gives_the_same_again(seed):
  x, y = noisy_copy(50, 4, 0.2)
  assert counts.shuffled(x, y, seed, 10) == counts.shuffled(x, y, seed, 10)


@pytest.mark.parametrize('name', ENTROPIES)
def test_shuffled_with_any_entropy(name):
  found = counts.shuffled(*noisy_copy(200, 4, 0.8), 0, 19, entropy=name)
  assert found.p_value == 0.05 and 0.3 < found.corrected < 1.2


def of_groups(seed, told=0.0, count=12, size=20):
  """x, y, groups: both columns have one value a group, equal in a share `told` of the groups."""
  x, y = noisy_copy(count, 4, told, seed)
  groups = np.repeat(np.arange(count), size)
  return x[groups], y[groups], groups


def test_groups_exchange_what_they_have_as_a_whole():
  p = np.array([[counts.shuffled(x, y, seed, 39, groups=of).p_value for of in (None, groups)]
                for seed in range(60) for x, y, groups in [of_groups(seed)]])
  assert (p[:, 0] <= 0.05).mean() > 0.9  # single samples are taken for evidence
  assert (p[:, 1] <= 0.05).mean() <= 0.17
  x, y, groups = of_groups(0, told=1.0)
  assert counts.shuffled(x, y, 0, 99, groups=groups).p_value == 0.01
  one = counts.shuffled(x, y, 0, 99, groups=groups)
  assert one.mi == counts.shuffled(x, y, 0, 1).mi and one == counts.shuffled(
      x, y, 0, 99, groups=groups + 5)


def test_groups_of_unequal_size_are_cut_and_few_arrangements_taken_once():
  x, y = np.array([0, 1, 1, 0, 1, 0]), np.array([0, 1, 0, 1, 0, 0])
  groups = np.array([0, 0, 1, 1, 1, 1])  # two of two samples, in one other arrangement
  found = counts.shuffled(x, y, 0, 200, groups=groups)
  assert found.mi == counts.shuffled(x[:4], y[:4], 0, 1).mi
  assert found.null_mean == counts.shuffled(x[:4], y[[2, 3, 0, 1]], 0, 1).mi
  assert found.p_value == (1 + (found.null_mean >= found.mi)) / 2
  varied = counts.shuffled(x, groups, 0, 200, groups=groups)  # y is of the groups: nothing is cut
  assert varied.mi == counts.shuffled(x, groups, 0, 1).mi
  with pytest.raises(ValueError, match='groups has one group only'):
    counts.shuffled(x, y, 0, groups=np.zeros(6, int))


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', ENTROPIES)
@pytest.mark.parametrize('n, message', [
    ([3, -1], 'counts has 1 entries negative or not finite, first -1'),
    ([3, np.nan], 'counts has 1 entries negative or not finite, first nan'),
    ([0, 0], 'has no samples'), ([], 'has no samples'), (np.zeros((2, 0)), 'has no samples')])
def test_wrong_counts(name, n, message):
  with pytest.raises(ValueError, match=message):
    ENTROPIES[name](n)


def test_a_row_without_samples_is_refused():
  with pytest.raises(ValueError, match=r'counts of shape \(2, 2\) has no samples'):
    counts.plug_in([[1, 2], [0, 0]], axis=1)


@pytest.mark.parametrize('name', ['chao_shen', 'grassberger'])
def test_parts_of_a_sample_are_refused(name):
  with pytest.raises(ValueError, match='counts has 1.5; this estimator needs whole numbers'):
    ENTROPIES[name]([2, 1.5])


def test_nsb_runs_on_the_host():
  with pytest.raises(ValueError, match='nsb runs on the host'):
    jax.jit(counts.nsb)(jnp.ones(3))


@pytest.mark.parametrize('arguments, message', [
    ({'entropy': 'best'}, "entropy='best' is none of plug_in, miller_madow"),
    ({'x': 2}, 'x: axis 2 of counts with 2 axes'), ({'y': 0}, 'must have none in common')])
def test_wrong_arguments_of_information(arguments, message):
  with pytest.raises(ValueError, match=message):
    counts.mutual_information(np.ones((2, 2)), **arguments)


@pytest.mark.parametrize('x, y, permutations, message', [
    ([0, 1], [0, 1, 1], 5, 'x has N=2 samples and y has N=3'),
    ([0.5, 1], [0, 1], 5, 'x has entries like 0.5, of type float64; codes are whole numbers'),
    ([0, 1], ['a', 'b'], 5, 'y has entries like a'), ([0, np.nan], [0, 1], 5, 'x has entries'),
    ([[0], [1]], [0, 1], 5, r'x has shape \(2, 1\); codes are \[N\]'),
    ([], [], 5, r'x has shape \(0,\)'), ([0, 1], [0, 1], 0, 'permutations=0 must be at least 1')])
def test_wrong_arguments_of_shuffled(x, y, permutations, message):
  with pytest.raises(ValueError, match=message):
    counts.shuffled(np.array(x), np.array(y), 0, permutations)
