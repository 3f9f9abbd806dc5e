"""Entropy and information of tables: hand-worked values, identities, gradients, wrong axes."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmalign_jax.information import discrete

LN2 = np.log(2)
FAST = {'xla_backend_optimization_level': 0}


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def value(f, p, *axes, **given):
  """One compilation, which is faster than one for each of its steps."""
  return jax.device_get(jax.jit(lambda p: f(p, *axes, **given), compiler_options=FAST)(p))


def mi(p, *axes):
  return value(discrete.mutual_information, p, *axes)


def table(*shape, seed=0, zeros=0.0):
  g = np.random.default_rng(seed)
  p = g.exponential(size=shape) * (g.uniform(size=shape) >= zeros)
  return p / p.sum()


def gate(y) -> np.ndarray:
  """p(x1, x2, y) [2, 2, 2] of two fair bits and their function."""
  p = np.zeros((2, 2, 2))
  for a, b in itertools.product(range(2), repeat=2):
    p[a, b, y(a, b)] = 1 / 4
  return p


XOR, AND = gate(lambda a, b: a ^ b), gate(lambda a, b: a & b)


# -- entropy ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('p, expected', [
    ([1.0], 0.0), ([0.5, 0.5], LN2), ([1, 0, 0], 0.0), ([0.5, 0.25, 0.25, 0], 1.5 * LN2),
    ([[0.25, 0.25], [0.25, 0.25]], 2 * LN2), ([0.9, 0.1], 0.3250829733914482)])
def test_entropy_by_hand(p, expected):
  assert value(discrete.entropy, jnp.array(p)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize('shape', [(7,), (3, 4), (2, 3, 4, 2)])
def test_entropy_of_any_shape(shape):
  p = table(*shape, zeros=0.3)
  assert value(discrete.entropy, p) == pytest.approx(stats.entropy(p.ravel()), abs=1e-14)


def test_entropy_over_some_axes():
  p = np.stack([table(3, 4, seed=seed) for seed in range(5)])
  expected = [stats.entropy(one.ravel()) for one in p]
  np.testing.assert_allclose(value(discrete.entropy, p, axis=(1, 2)), expected, atol=1e-14)
  np.testing.assert_allclose(value(jax.vmap(discrete.entropy), p), expected, atol=1e-14)
  np.testing.assert_allclose(value(discrete.entropy, np.moveaxis(p, 0, 1), axis=(0, -1)), expected,
                             atol=1e-14)


def test_no_negative_zero_and_no_nan_for_tiny_entries():
  tiny = np.array([1 - 1e-300, 1e-300])
  assert 0 <= value(discrete.entropy, tiny) < 1e-290
  assert value(discrete.xlogx, jnp.zeros(())) == 0


# -- information -----------------------------------------------------------------------------------


@pytest.mark.parametrize('p, x, y, expected', [
    (np.eye(4) / 4, 0, 1, 2 * LN2), (np.ones((3, 5)) / 15, 0, 1, 0.0),
    (XOR, 0, 2, 0.0), (XOR, (0, 1), 2, LN2), (XOR, 0, (1, 2), LN2), (XOR, 1, -1, 0.0),
    (AND, 0, 2, 0.75 * np.log(4 / 3)), (AND, (0, 1), 2, 2 * LN2 - 0.75 * np.log(3)),
    (np.array([[0.45, 0.05], [0.05, 0.45]]), 0, 1, LN2 - 0.3250829733914482)])
def test_mutual_information_by_hand(p, x, y, expected):
  assert mi(p, x, y) == pytest.approx(expected, abs=1e-15)


def test_conditional_and_interaction_information_by_hand():
  conditional = lambda p: value(discrete.conditional_mutual_information, p)
  interaction = lambda p: value(discrete.interaction_information, p)
  assert conditional(XOR) == pytest.approx(LN2)  # I(X1;Y|X2)
  assert interaction(XOR) == pytest.approx(-LN2)
  shared = np.zeros((2, 2, 2))
  shared[[0, 1], [0, 1], [0, 1]] = 1 / 2
  assert interaction(shared) == pytest.approx(LN2)
  assert conditional(shared) == pytest.approx(0, abs=1e-15)
  # AND: redundancy .3113 bits less synergy .5 bits, whatever the decomposition
  assert interaction(AND) == pytest.approx(0.75 * np.log(4 / 3) - 0.5 * LN2)


def by_divergence(p: np.ndarray) -> float:
  """I(X;Y) of p [x, y] by its other definition."""
  apart = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
  return stats.entropy(p.ravel(), apart.ravel())


@pytest.mark.parametrize('zeros', [0.0, 0.4])
def test_information_is_a_divergence(zeros):
  p = table(3, 4, 2, zeros=zeros)
  assert mi(p, 0, 1) == pytest.approx(by_divergence(p.sum(axis=2)), abs=1e-14)
  assert mi(p, (0, 2), 1) == pytest.approx(
      by_divergence(p.transpose(0, 2, 1).reshape(6, 4)), abs=1e-14)
  by_z = [w * by_divergence(one / w) for one, w in zip(p.transpose(2, 0, 1), p.sum((0, 1)))
          if w > 0]
  assert value(discrete.conditional_mutual_information, p, 0, 1, given=2) == pytest.approx(
      sum(by_z), abs=1e-14)


@pytest.mark.parametrize('zeros', [0.0, 0.5])
def test_chain_rule(zeros):
  p = table(3, 2, 4, 2, zeros=zeros)
  whole, first = mi(p, (0, 1), 2), mi(p, 0, 2)
  rest = value(discrete.conditional_mutual_information, p, 1, 2, given=0)
  assert whole == pytest.approx(first + rest, abs=1e-14)
  assert value(discrete.interaction_information, p.sum(axis=3)) == pytest.approx(
      first + mi(p, 1, 2) - whole, abs=1e-14)


@pytest.mark.parametrize('order', [*itertools.permutations(range(3))])
def test_permutation_of_axes_and_symmetry(order):
  p = table(3, 2, 4)
  expected = by_divergence(p.reshape(6, 4))
  x, y = (order.index(0), order.index(1)), order.index(2)
  for pair in ((x, y), (y - 3, x[::-1])):
    assert mi(p.transpose(order), *pair) == pytest.approx(expected, abs=1e-14)


def test_permutation_of_states():
  p = table(3, 2, 4)
  assert mi(p[[2, 0, 1]][:, :, [3, 1, 0, 2]], (0, 1), 2) == pytest.approx(mi(p, (0, 1), 2))


def test_three_informations_of_a_batch():
  p = np.stack([table(3, 2, 4, seed=seed, zeros=0.2) for seed in range(6)]).reshape(2, 3, 3, 2, 4)
  found = value(discrete.three, p)
  for at in itertools.product(range(2), range(3)):
    pairs = (p[at].sum(axis=1), p[at].sum(axis=0), p[at].reshape(6, 4))
    np.testing.assert_allclose([part[at] for part in found], [by_divergence(q) for q in pairs],
                               atol=1e-14)


@pytest.mark.parametrize('function', [
    discrete.mutual_information, discrete.conditional_mutual_information,
    discrete.interaction_information, discrete.three], ids=lambda f: f.__name__)
def test_vmap(function):
  p = np.stack([table(3, 2, 4, seed=seed) for seed in range(4)])
  found = np.array(value(jax.vmap(function), p))
  one = jax.jit(function, compiler_options=FAST)
  np.testing.assert_allclose(np.moveaxis(found, -1, 0), [one(table) for table in p], atol=1e-14)


def test_single_precision_stays_single():
  with jax.enable_x64(False):
    found = mi(jnp.float32(AND), 0, 2)
  assert found.dtype == jnp.float32 and float(found) == pytest.approx(0.2157615, abs=1e-6)


# -- gradients -------------------------------------------------------------------------------------


FUNCTIONS = {
    'entropy': discrete.entropy,
    'mutual': lambda p: discrete.mutual_information(p, (0, 1), 2),
    'conditional': discrete.conditional_mutual_information,
    'interaction': discrete.interaction_information,
    'three': lambda p: sum(discrete.three(p))}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_gradient_against_finite_differences(name):
  f, p = FUNCTIONS[name], (table(2, 3, 2) + 1 / 12) / 2
  slope = value(jax.grad(f), p)
  f = jax.jit(f, compiler_options=FAST)
  for at in ((0, 0, 0), (1, 2, 1), (0, 1, 1)):
    step = np.zeros_like(p)
    step[at] = 1e-6
    assert float(slope[at]) == pytest.approx(float(f(p + step) - f(p - step)) / 2e-6, abs=1e-8)


@pytest.mark.parametrize('name', FUNCTIONS)
@pytest.mark.parametrize('p', [XOR, AND, table(3, 2, 2, zeros=0.6)], ids=['xor', 'and', 'sparse'])
def test_gradient_is_finite_at_zeros(name, p):
  slope = value(jax.grad(FUNCTIONS[name]), p)
  assert np.isfinite(slope).all()


def test_gradient_at_a_zero_is_that_of_an_entry_that_stays_zero():
  slope = value(jax.grad(discrete.entropy), jnp.array([0.5, 0.5, 0.0]))
  np.testing.assert_allclose(slope, [LN2 - 1, LN2 - 1, 0])


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('x, y, message', [
    (0, 3, 'axis 3 of a table with 3 axes'), (-4, 1, 'axis -4 of a table with 3 axes'),
    (0, 0, 'must have none in common'), ((0, 2), -1, 'must have none in common')])
def test_wrong_axes(x, y, message):
  with pytest.raises(ValueError, match=message):
    discrete.mutual_information(AND, x, y)


def test_a_condition_that_is_a_source_is_refused():
  with pytest.raises(ValueError, match=r'axes \(0,\), \(2,\) and \(0,\) must have none in common'):
    discrete.conditional_mutual_information(AND, 0, 2, given=0)
  with pytest.raises(AssertionError):
    discrete.interaction_information(np.ones((2, 2)) / 4)
