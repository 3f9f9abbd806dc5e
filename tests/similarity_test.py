"""Measures of similarity: published fixtures, invariances, nulls, and no NaN anywhere."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.similarity import MEASURES, debiased_linear_cka, linear_cka, mutual_knn

VALUES = pathlib.Path(__file__).resolve().parents[1] / '../shared/oracles/values.json'
CKAS = ('linear_cka', 'debiased_linear_cka')
CASES = (0, 1)
STATIC = {'mutual_knn': ('k',)}  # settings that decide a shape
JITTED = {name: jax.jit(measure, static_argnames=STATIC.get(name, ()))
          for name, measure in MEASURES.items()}


def unit(x):
  return x / np.linalg.norm(x, axis=1, keepdims=True)


def golden() -> tuple[np.ndarray, np.ndarray]:
  """X [200, 20], Y [200, 30], noisy views of the same six factors, as in golden.md."""
  g, n = np.random.default_rng(0), 200
  z = g.standard_normal((n, 6))
  x = z @ g.standard_normal((6, 20)) + .5 * g.standard_normal((n, 20))
  return x, z @ g.standard_normal((6, 30)) + .5 * g.standard_normal((n, 30))


def related(seed: int, n: int = 50) -> tuple[np.ndarray, np.ndarray]:
  """x [n, 4], y [n, 6] of two shared factors."""
  g = np.random.default_rng(seed)
  z = g.normal(size=(n, 2))
  views = [z @ g.normal(size=(2, d)) + g.normal(size=(n, d)) for d in (4, 6)]
  return tuple(view.astype(np.float32) for view in views)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('name, value', [
    ('linear_cka', 0.79181783), ('debiased_linear_cka', 0.78646484), ('mutual_knn', 0.585500)])
def test_golden_fixture(name, value):
  np.testing.assert_allclose(JITTED[name](*map(jnp.float32, golden())), value, atol=1e-5)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('name', sorted(MEASURES))
def test_values_of_the_metric_code_of_the_field(name, case):
  if not VALUES.is_file():
    pytest.skip(f'no reference values at {VALUES}')
  entry = json.loads(VALUES.read_text())['similarity'][case]
  if name not in entry['values']:
    pytest.skip(f'values.json has no {name}')
  r = np.random.default_rng(entry['seed'])
  x = r.standard_normal((entry['n'], entry['d1']))
  w = r.standard_normal((entry['d1'], entry['d2']))
  y = np.tanh(x @ w / np.sqrt(entry['d1']))
  y = y + entry['noise'] * r.standard_normal((entry['n'], entry['d2']))
  settings = {'k': entry['k']} if name == 'mutual_knn' else {}
  value = JITTED[name](jnp.float32(unit(x)), jnp.float32(unit(y)), **settings)
  np.testing.assert_allclose(value, entry['values'][name], atol=1e-5)


def test_linear_cka_by_hand():
  # centred columns a = (1, -1, 0, 0), b = (0, 0, 1, -1): a.a = 2 for x = [a], y = [a, b]
  a, b = np.array([1.0, -1, 0, 0]), np.array([0, 0, 1.0, -1])
  x, y = jnp.float32(a[:, None]), jnp.float32(np.stack([a, b], 1))
  np.testing.assert_allclose(linear_cka(x, y), 4 / (2 * np.sqrt(8)), rtol=1e-6)
  assert linear_cka(x, jnp.float32(b[:, None])) == 0


def hsic_64(x, y) -> float:
  """Unbiased HSIC of Song et al. (2012), equation 5, on Gram matrices in float64."""
  n = len(x)
  k, m = (z.astype(np.float64) @ z.T.astype(np.float64) for z in (x, y))
  np.fill_diagonal(k, 0)
  np.fill_diagonal(m, 0)
  one = np.ones(n)
  return (np.trace(k @ m) + one @ k @ one * (one @ m @ one) / ((n - 1) * (n - 2))
          - 2 / (n - 2) * one @ k @ m @ one) / (n * (n - 3))


@pytest.mark.parametrize('n', [4, 5, 50, 300])
def test_debiased_cka_is_the_ratio_of_unbiased_hsic(n):
  x, y = related(n, n)
  expected = hsic_64(x, y) / np.sqrt(hsic_64(x, x) * hsic_64(y, y))
  np.testing.assert_allclose(debiased_linear_cka(x + 3, y - 2), expected, atol=2e-5)


@pytest.mark.parametrize('k', [1, 5, 49])
def test_mutual_knn_equals_sorted_cosines(k):
  x, y = related(3)
  def neighbors(z):
    cosine = unit(z.astype(np.float64))
    cosine = cosine @ cosine.T
    np.fill_diagonal(cosine, -np.inf)
    return [set(row) for row in np.argsort(-cosine, axis=1)[:, :k]]
  shared = [len(a & b) / k for a, b in zip(neighbors(x), neighbors(y), strict=True)]
  np.testing.assert_allclose(JITTED['mutual_knn'](x, y, k=k), np.mean(shared), atol=1e-6)


def test_mutual_knn_of_all_others_is_one():
  assert JITTED['mutual_knn'](*related(0), k=49) == pytest.approx(1)


# -- what the whole registry promises --------------------------------------------------------------


def rotated(x, seed):
  return x @ np.linalg.qr(np.random.default_rng(seed).normal(size=(x.shape[1],) * 2))[0]


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize('name', sorted(MEASURES))
class TestEveryMeasure:

  def test_ignores_a_rotation(self, name, seed):
    x, y = related(seed)
    np.testing.assert_allclose(
        JITTED[name](jnp.float32(rotated(x, seed)), y), JITTED[name](x, y), atol=1e-5)

  @pytest.mark.parametrize('scale', [1e-4, 3.0, 1e4])
  def test_ignores_the_scale(self, name, seed, scale):
    x, y = related(seed)
    np.testing.assert_allclose(
        JITTED[name](jnp.float32(scale * x), y), JITTED[name](x, y), atol=1e-5)

  def test_ignores_the_order_of_the_samples(self, name, seed):
    x, y = related(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    np.testing.assert_allclose(JITTED[name](x[order], y[order]), JITTED[name](x, y), atol=1e-5)

  def test_is_symmetric_and_one_for_equal_sides(self, name, seed):
    x, y = related(seed)
    np.testing.assert_allclose(JITTED[name](x, y), JITTED[name](y, x), atol=1e-6)
    np.testing.assert_allclose(JITTED[name](x, jnp.float32(2 * x)), 1, atol=1e-5)


@pytest.mark.parametrize('name', sorted(MEASURES))
def test_is_the_same_under_jit_and_vmap(name):
  many = [related(seed) for seed in range(3)]
  expected = [JITTED[name](*one) for one in many]
  np.testing.assert_allclose(MEASURES[name](*many[0]), expected[0], atol=1e-6)
  stacked = map(jnp.stack, zip(*many, strict=True))
  np.testing.assert_allclose(jax.jit(jax.vmap(MEASURES[name]))(*stacked), expected, atol=1e-6)


@pytest.mark.parametrize('name', sorted(MEASURES))
def test_gradient_is_finite_at_equal_and_at_constant_features(name):
  x, _ = related(0)
  constant = np.full(x.shape, 0.3)
  grad = jax.jit(jax.grad(MEASURES[name], (0, 1)))
  for one, two in ((x, x), (x, x @ np.eye(4)[::-1]), (x, constant), (constant, constant)):
    grads = grad(jnp.float32(one), jnp.float32(two))
    assert all(np.isfinite(g).all() for g in grads)


@pytest.mark.parametrize('name', sorted(MEASURES))
def test_sides_of_different_length_are_refused(name):
  x, y = related(0)
  with pytest.raises(AssertionError):
    MEASURES[name](x, y[:-1])


# -- centred kernel alignment ----------------------------------------------------------------------


@pytest.mark.parametrize('value', [0.0, 0.1, 1 / 3, 7.7, 1000.1])
@pytest.mark.parametrize('name', CKAS)
def test_cka_is_zero_where_one_side_is_constant(name, value):
  x, y = related(0)
  constant = jnp.full(y.shape, value, jnp.float32)
  assert JITTED[name](x, constant) == pytest.approx(0, abs=1e-5)
  assert JITTED[name](jnp.float32(y), jnp.full(x.shape, value)) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('value', [0.0, 0.1, 1 / 3, 7.7, 1000.1])
@pytest.mark.parametrize('name', CKAS)
def test_cka_is_zero_where_both_sides_are_constant(name, value):
  one, two = jnp.full((50, 4), value, jnp.float32), jnp.full((50, 6), value / 3, jnp.float32)
  assert JITTED[name](one, two) == 0


@pytest.mark.parametrize('n, biased, error', [
    (16, 0.972, 0.1), (64, 0.891, 0.02), (256, 0.666, 0.005)])
def test_only_the_debiased_cka_is_near_zero_for_independent_features(n, biased, error):
  g = np.random.default_rng(n)
  pairs = jnp.asarray(g.normal(size=(20, 2, n, 512)), jnp.float32)
  debiased = jax.jit(jax.vmap(lambda p: debiased_linear_cka(p[0], p[1])))(pairs)
  assert abs(debiased.mean()) < error
  values = jax.jit(jax.vmap(lambda p: linear_cka(p[0], p[1])))(pairs)
  np.testing.assert_allclose(values.mean(), biased, atol=0.01)


def test_mutual_knn_of_independent_features_is_chance():
  g = np.random.default_rng(0)
  pairs = jnp.asarray(g.normal(size=(20, 2, 200, 16)), jnp.float32)
  value = jax.jit(jax.vmap(lambda p: mutual_knn(p[0], p[1], k=10)))(pairs).mean()
  np.testing.assert_allclose(value, 10 / 199, atol=0.004)


# -- neighbours ------------------------------------------------------------------------------------


@pytest.mark.parametrize('k', [0, -1, 50, 51])
def test_k_out_of_range_is_refused(k):
  with pytest.raises(ValueError, match=f'k={k} '):
    mutual_knn(*related(0), k=k)


def test_mutual_knn_of_constant_features_is_defined():
  constant, measure = jnp.ones((50, 4)), JITTED['mutual_knn']
  assert measure(constant, constant) == pytest.approx(1)
  assert 0 <= measure(constant, related(0)[0]) <= 1
  assert np.isfinite(measure(0 * constant, constant))
