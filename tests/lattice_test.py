"""I_min and MMI: gates, axioms, gradients; and what holds for every decomposition by a table."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.lattice import METHODS, imin, mmi

CLOSED = {'imin': imin, 'mmi': mmi}
FAST = {'xla_backend_optimization_level': 0}
SHAPE = (4, 4, 4)  # of most tables, since each shape is a compilation


def gate(outcomes, shape=SHAPE) -> np.ndarray:
  """p(x1, x2, y) of (p, x1, x2, y) tuples."""
  table = np.zeros(shape)
  for p, *at in outcomes:
    table[tuple(at)] += p
  return table


def of_bits(y, flip=0.0) -> np.ndarray:
  pairs = itertools.product(range(2), repeat=2)
  outcomes = [[(1 - flip) / 4, a, b, y(a, b)] for a, b in pairs]
  return gate(outcomes + [[flip / 4, a, b, 1 - y] for _, a, b, y in outcomes if flip])


def with_shared_bit() -> np.ndarray:
  """RDNXOR: (r, a), (r, b) -> (r, a xor b)."""
  return gate([[1 / 8, 2 * r + a, 2 * r + b, 2 * r + (a ^ b)]
               for r, a, b in itertools.product(range(2), repeat=3)])


def with_all_atoms() -> np.ndarray:
  """RDNUNQXOR: (r, u, a), (r, v, b) -> (r, u, v, a xor b)."""
  return gate([[1 / 32, 4 * r + 2 * u + a, 4 * r + 2 * v + b, 8 * r + 4 * u + 2 * v + (a ^ b)]
               for r, u, v, a, b in itertools.product(range(2), repeat=5)], (8, 8, 16))


def random_table(*shape, seed=0, zeros=0.0):
  g = np.random.default_rng(seed)
  p = g.exponential(size=shape) * (g.uniform(size=shape) >= zeros)
  return p / p.sum()


def bits(p, method):
  return CLOSED[method](p).to_bits().atoms()


H1 = -0.1 * np.log2(0.1) - 0.9 * np.log2(0.9)  # of a flip of .1
H3 = -0.3 * np.log2(0.3) - 0.7 * np.log2(0.7)
AND = 0.75 * np.log2(4 / 3)
GATES = {  # both decompositions agree on all of these; bits
    'RDN': (gate([[1 / 2, a, a, a] for a in range(2)]), [1, 0, 0, 0]),
    'UNQ': (of_bits(lambda a, b: a), [0, 1, 0, 0]),
    'XOR': (of_bits(lambda a, b: a ^ b), [0, 0, 0, 1]),
    'AND': (of_bits(lambda a, b: a & b), [AND, 0, 0, 0.5]),
    'OR': (of_bits(lambda a, b: a | b), [AND, 0, 0, 0.5]),
    'COPY': (of_bits(lambda a, b: 2 * a + b), [1, 0, 0, 1]),
    'SUM': (of_bits(lambda a, b: a + b), [0.5, 0, 0, 1]),
    'XORAND': (of_bits(lambda a, b: 2 * (a ^ b) + (a & b)), [0.5, 0, 0, 1]),
    'RDNXOR': (with_shared_bit(), [1, 0, 0, 1]),
    'RDNUNQXOR': (with_all_atoms(), [2, 0, 0, 2]),
    'noisy AND': (of_bits(lambda a, b: a & b, 0.1), [H3 - H1 / 2 - 0.5, 0, 0, 0.5 - H1 / 2]),
    'noisy XOR': (of_bits(lambda a, b: a ^ b, 0.1), [0, 0, 0, 1 - H1])}
PRINTED = {'AND': .3113, 'noisy AND': .1468}  # redundancy, in tables of the field


@pytest.mark.parametrize('method', CLOSED)
@pytest.mark.parametrize('name', GATES)
def test_gates(name, method):
  p, expected = GATES[name]
  np.testing.assert_allclose(bits(p, method), expected, atol=1e-9)
  if name in PRINTED:
    assert bits(p, method)[0] == pytest.approx(PRINTED[name], abs=5e-5)


def imin_in_words(p):
  """Sum over y of p(y) times the smaller of sum_x p(x|y) (log 1/p(y) - log 1/p(y|x))."""
  total = 0.0
  for y in range(p.shape[2]):
    p_y = p[:, :, y].sum()
    specific = []
    for joint in (p.sum(axis=1), p.sum(axis=0)):
      specific.append(sum(
          joint[x, y] / p_y * (np.log(1 / p_y) - np.log(joint[x].sum() / joint[x, y]))
          for x in range(len(joint)) if joint[x, y] > 0))
    total += p_y * min(specific) if p_y > 0 else 0
  return total


@pytest.mark.parametrize('zeros', [0.0, 0.5])
def test_imin_by_its_definition(zeros):
  p = np.stack([random_table(*SHAPE, seed=seed, zeros=zeros) for seed in range(20)])
  np.testing.assert_allclose(imin(p).redundancy, [imin_in_words(one) for one in p], atol=1e-12)


# -- axioms ----------------------------------------------------------------------------------------


def batch(count=20, zeros=0.3):
  return np.stack([random_table(*SHAPE, seed=seed, zeros=zeros) for seed in range(count)])


@pytest.mark.parametrize('method', CLOSED)
def test_sums_signs_and_certificate(method):
  found = CLOSED[method](batch())
  assert all(isinstance(getattr(found, name), np.ndarray) for name in ATOMS)
  assert found.redundancy.dtype == np.float64 and found.method == method and found.q is None
  assert (found.gap == 0).all()
  np.testing.assert_allclose(found.redundancy + found.unique_1, found.mi_1, atol=1e-14)
  np.testing.assert_allclose(found.redundancy + found.unique_2, found.mi_2, atol=1e-14)
  np.testing.assert_allclose(found.atoms().sum(axis=-1), found.mi_joint, atol=1e-14)
  assert (found.atoms() > -1e-14).all()


@pytest.mark.parametrize('method', CLOSED)
def test_symmetry_and_names_of_states(method):
  p = batch()
  found, swapped = (CLOSED[method](q) for q in (p, p.swapaxes(-3, -2)))
  np.testing.assert_allclose(found.atoms()[:, [0, 2, 1, 3]], swapped.atoms(), atol=1e-14)
  renamed = CLOSED[method](p[:, [2, 0, 3, 1]][:, :, ::-1][..., [1, 0, 3, 2]])
  np.testing.assert_allclose(found.atoms(), renamed.atoms(), atol=1e-14)


@pytest.mark.parametrize('method', CLOSED)
def test_a_source_and_its_copy_share_everything(method):
  joint = random_table(4, 4)
  p = np.zeros(SHAPE)
  p[np.arange(4), np.arange(4)] = joint
  found = CLOSED[method](p)
  np.testing.assert_allclose(found.atoms(), [found.mi_1, 0, 0, 0], atol=1e-14)


@pytest.mark.parametrize('method', CLOSED)
def test_less_of_a_source_shares_less(method):
  """Monotony: a blurred X2 cannot raise the redundancy."""
  blur = np.random.default_rng(0).dirichlet(np.ones(4), 4)
  p = batch()
  less = CLOSED[method](np.einsum('sxzy,zw->sxwy', p, blur))
  assert (less.redundancy <= CLOSED[method](p).redundancy + 1e-14).all()


def test_order_of_the_three_redundancies():
  p = batch()
  found = {name: METHODS[name](p) for name in METHODS}
  assert (found['broja'].redundancy <= found['mmi'].redundancy + 1e-6).all()
  assert (found['imin'].redundancy <= found['mmi'].redundancy + 1e-14).all()
  for name in ('imin', 'mmi'):
    for part in ('mi_1', 'mi_2', 'mi_joint'):
      np.testing.assert_allclose(getattr(found[name], part), getattr(found['broja'], part))


@pytest.mark.parametrize('name', METHODS)
def test_bug_10_a_copy_of_the_first_source_is_unique_1(name):
  found = METHODS[name](GATES['UNQ'][0])
  assert float(found.unique_1) == pytest.approx(np.log(2), abs=1e-6)
  assert float(found.unique_2) == pytest.approx(0, abs=1e-6)
  other = METHODS[name](GATES['UNQ'][0].swapaxes(0, 1))
  assert float(other.unique_2) == pytest.approx(np.log(2), abs=1e-6)


@pytest.mark.parametrize('name', METHODS)
def test_bug_12_all_methods_speak_the_same_unit(name):
  found = METHODS[name](GATES['XOR'][0])
  assert found.units == 'nats' and float(found.synergy) == pytest.approx(np.log(2), abs=1e-6)
  assert found.to_bits().units == 'bits'
  assert float(found.to_bits().synergy) == pytest.approx(1, abs=1e-6)
  assert float(found.to_bits().mi_joint) == float(found.to_bits().to_bits().mi_joint)


# -- transformations -------------------------------------------------------------------------------


@pytest.mark.parametrize('method', CLOSED)
def test_batches_and_vmap(method):
  p = batch(6).reshape(2, 3, *SHAPE)
  f = CLOSED[method]
  found = f(p).atoms()
  assert found.shape == (2, 3, 4)
  one = [[f(p[i, j]).atoms() for j in range(3)] for i in range(2)]
  np.testing.assert_allclose(found, one, atol=1e-14)
  mapped = jax.vmap(jax.vmap(lambda p: f(p).atoms()))(jnp.float32(p))  # in float64 all the same
  np.testing.assert_allclose(mapped, one, atol=1e-6)


@pytest.mark.parametrize('method', CLOSED)
def test_jit_needs_float64(method):
  p = random_table(*SHAPE)
  f = lambda p: CLOSED[method](p).atoms()
  with pytest.raises(ValueError, match=f'{method} within jax.jit needs float64'):
    jax.jit(f)(jnp.float32(p))
  with jax.enable_x64(True):
    np.testing.assert_allclose(jax.jit(f, compiler_options=FAST)(p), f(p), atol=1e-14)


def slopes(method, p):
  """d atoms / d p [..., 4, n1, n2, C]: one compilation."""
  f = jax.vmap(jax.jacrev(lambda p: CLOSED[method](p).atoms()))
  with jax.enable_x64(True):
    return jax.device_get(jax.jit(f, compiler_options=FAST)(p))


@pytest.mark.parametrize('method', CLOSED)
def test_gradient_against_finite_differences(method):
  p = (batch(11, zeros=0.0) + 1 / 64) / 2
  along = np.random.default_rng(1).normal(size=SHAPE)
  along -= along.mean()  # the sum stays 1
  f = lambda p: CLOSED[method](p).atoms()
  expected = (f(p + 1e-7 * along) - f(p - 1e-7 * along)) / 2e-7
  np.testing.assert_allclose(np.sum(slopes(method, p) * along, axis=(-3, -2, -1)), expected,
                             atol=1e-7)


@pytest.mark.parametrize('method', CLOSED)
def test_gradient_is_finite_at_zeros(method):
  p = np.stack([GATES[name][0] for name in GATES if name != 'RDNUNQXOR'])
  assert np.isfinite(slopes(method, p)).all()


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('method', CLOSED)
@pytest.mark.parametrize('p, message', [
    (np.ones((2, 2)) / 4, r'p has shape \(2, 2\)'), (np.ones((2, 2, 2)), 'p sums to 8'),
    (np.full((2, 2, 2), np.nan), 'p has 8 entries negative or not finite'),
    (-np.ones((2, 2, 2)), 'p has 8 entries negative'), (np.ones((2, 0, 2)), 'without states')])
def test_wrong_tables(method, p, message):
  with pytest.raises(ValueError, match=message):
    CLOSED[method](p)
