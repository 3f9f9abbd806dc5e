"""BROJA: exact values, an independent solver, axioms, gradients, and what a wrong table is told.

The optimum is that of -H_Q(Y|X1,X2) over all Q with the pair marginals of P, below `value`. A
tolerance that is a gap or two is no looseness: each certificate bounds its own error.
"""

import functools
import json
import pathlib
import sys
import warnings

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse, special

from mmalign_jax import Hyper, Spec, synthetic
from mmalign_jax.information import ATOMS, broja, discrete, solver
from mmalign_jax.information.convex import broja_many
from mmalign_jax.information.decomposition import checked_table

SHARED = pathlib.Path(__file__).resolve().parents[2] / 'shared'
MANY = settings(max_examples=60, deadline=None, derandomize=True)
SHAPES = [(2, 2, 2), (3, 4, 3), (4, 3, 3), (3, 2, 5)]  # few, since each compiles for two seconds
KINDS = ('dense', 'sparse', 'unreachable', 'deterministic', 'near_deterministic', 'wide', 'counts')


def table(kind: str, shape, seed: int) -> np.ndarray:
  """A random p(x1, x2, y)."""
  g = np.random.default_rng(seed)
  n1, n2, c = shape
  p = g.exponential(size=shape)
  if kind == 'sparse':
    p *= g.random(shape) < 0.4
    p[0, 0, 0] += 0.1
  elif kind == 'unreachable':
    p[-1], p[:, 0], p[..., -1] = 0, 0, 0 if c > 1 else p[..., -1]
  elif kind.endswith('deterministic'):
    p = p[..., :1] * np.eye(c)[g.integers(c, size=(n1, n2))]
    p += 1e-12 * (kind != 'deterministic')
  elif kind == 'wide':  # entries from 1 down to 1e-13
    p = np.exp(g.uniform(-30, 0, shape))
  elif kind == 'counts':
    p = g.multinomial(100, g.dirichlet(np.full(p.size, 0.3))).reshape(shape).astype(np.float64)
  return p / p.sum()


def tables(shapes=SHAPES):
  return st.builds(table, st.sampled_from(KINDS), st.sampled_from(shapes), st.integers(0, 2**31))


def golden(shape) -> np.ndarray:
  p = np.random.default_rng(0).exponential(size=shape)
  return p / p.sum()


def filled(p: np.ndarray, shape) -> np.ndarray:
  """p with states that never occur."""
  return np.pad(p, [(0, to - n) for to, n in zip(shape, p.shape)])


def entropy(p) -> float:
  return special.entr(p).sum()


def informations(p: np.ndarray) -> tuple[float, float, float]:
  """I(X1;Y), I(X2;Y), I(X1,X2;Y) in nats, not by the code under test."""
  h_y = entropy(p.sum(axis=(0, 1)))
  of = lambda joint: h_y + entropy(joint.sum(axis=-1)) - entropy(joint)
  return of(p.sum(axis=1)), of(p.sum(axis=0)), of(p)


def value(q: np.ndarray) -> float:
  """-H_Q(Y|X1,X2) in nats."""
  return entropy(q.sum(axis=-1)) - entropy(q)


def atoms_of(p) -> np.ndarray:
  return broja(p).atoms()


# -- gates -----------------------------------------------------------------------------------------


def gate(bits: int, rule) -> np.ndarray:
  """p [8, 8, 16] of x1, x2, y = rule(independent fair bits)."""
  p = np.zeros((8, 8, 16))
  for inputs in np.ndindex((2,) * bits):
    p[rule(*inputs)] += 0.5**bits
  return p


def flipped(p: np.ndarray, noise: float) -> np.ndarray:
  """p with a binary label that is wrong with probability `noise`."""
  other = p.copy()
  other[..., :2] = p[..., 1::-1]
  return (1 - noise) * p + noise * other


def h(p: float) -> float:
  """Entropy in bits of a biased coin."""
  return entropy([p, 1 - p]) / np.log(2)


AND = gate(2, lambda a, b: (a, b, a & b))
XOR = gate(2, lambda a, b: (a, b, a ^ b))
GATES = {  # table, and the atoms in bits in the order of ATOMS
    'rdn': (gate(1, lambda a: (a, a, a)), (1, 0, 0, 0)),
    'unq': (gate(2, lambda a, b: (a, b, a)), (0, 1, 0, 0)),
    'xor': (XOR, (0, 0, 0, 1)),
    'and': (AND, (h(1/4) - 1/2, 0, 0, 1/2)),
    'or': (gate(2, lambda a, b: (a, b, a | b)), (h(1/4) - 1/2, 0, 0, 1/2)),
    'copy': (gate(2, lambda a, b: (a, b, 2*a + b)), (0, 1, 1, 0)),
    'sum': (gate(2, lambda a, b: (a, b, a + b)), (1/2, 0, 0, 1)),
    'xorand': (gate(2, lambda a, b: (a, b, 2*(a & b) + (a ^ b))), (1/2, 0, 0, 1)),
    'rdnxor': (gate(3, lambda r, a, b: (2*r + a, 2*r + b, 2*r + (a ^ b))), (1, 0, 0, 1)),
    'rdnunqxor': (gate(5, lambda r, u, v, a, b: (
        4*r + 2*u + a, 4*r + 2*v + b, 8*r + 4*u + 2*v + (a ^ b))), (1, 1, 1, 1)),
    'noisy and': (flipped(AND, .1), (h(.3) - (h(.1) + 1) / 2, 0, 0, (1 - h(.1)) / 2)),
    'noisy xor': (flipped(XOR, .1), (0, 0, 0, 1 - h(.1)))}


@functools.cache
def of_gates():
  return broja(np.stack([p for p, _ in GATES.values()])).to_bits()


@pytest.mark.parametrize('name', GATES)
def test_gates_are_exact(name):
  expected, found = GATES[name][1], of_gates()
  at = list(GATES).index(name)
  np.testing.assert_allclose(found.atoms()[at] * np.log(2), np.array(expected) * np.log(2),
                             atol=1e-6)
  assert found.units == 'bits' and found.gap[at] <= 1e-6 / np.log(2)


@pytest.mark.parametrize('name', [name for name, (p, _) in GATES.items() if
                                  not p[2:].any() and not p[:, 2:].any() and not p[..., 2:].any()])
def test_gates_without_states_that_never_occur(name):
  p, expected = GATES[name]
  np.testing.assert_allclose(atoms_of(p[:2, :2, :2]), np.array(expected) * np.log(2), atol=1e-6)


def test_closed_forms_are_the_published_digits():
  for name, digits in (('and', (.3113, .5)), ('noisy and', (.1468, .2655)),
                       ('noisy xor', (0, .5310))):
    np.testing.assert_allclose(np.array(GATES[name][1])[[0, 3]], digits, atol=5.1e-5)


def test_bug_10_a_label_that_is_x1_is_unique_to_x1():
  p = np.einsum('i,j,iy->ijy', [.2, .3, .5], [.1, .2, .3, .4], np.eye(3))
  expected = (0, entropy([.2, .3, .5]), 0, 0)
  np.testing.assert_allclose(atoms_of(p), expected, atol=1e-6)
  assert broja(p).unique_1 == pytest.approx(expected[1], abs=1e-6)
  assert broja(p.transpose(1, 0, 2)).unique_2 == pytest.approx(expected[1], abs=1e-6)
  assert ATOMS == ('redundancy', 'unique_1', 'unique_2', 'synergy')


# -- published tables ------------------------------------------------------------------------------


@pytest.mark.parametrize('case', [0, 1])
def test_values_of_a_cone_program(case):
  path = SHARED / 'oracles/values.json'
  if not path.is_file():
    pytest.skip(f'no reference values at {path}')
  entry = json.loads(path.read_text())['pid'][case]
  shape = entry['shape']
  p = np.random.default_rng(entry['seed']).dirichlet(np.full(np.prod(shape), .5)).reshape(shape)
  keys = ('((0,), (1,))', '((0,),)', '((1,),)', '((0, 1),)')
  found = broja(filled(p, (4, 3, 3))).to_bits().atoms()
  np.testing.assert_allclose(found, [entry['bits'][key] for key in keys], atol=1e-4)


# Bug 11 is the last of them: another program that falls back to a loose solver has .01415 there.
@pytest.mark.parametrize('shape, expected', [
    ((2, 2, 2), (.00307, 0, .01262, .01538)), ((5, 5, 3), (.05199, .01803, .02307, .27190)),
    ((10, 10, 5), (.02606, .02997, .02053, .37725)),
    ((20, 20, 10), (.01592, .02151, .01776, .48829))])
def test_golden_tables(shape, expected):
  p = golden(shape)
  found = broja(filled(p, (20, 20, 10)) if shape[0] == 10 else p).to_bits()
  np.testing.assert_allclose(found.atoms(), expected, atol=6e-6)
  assert found.gap <= 1e-6


def bits_table(redundancy: int) -> np.ndarray:
  """p of the task bits that x1 and x2 see, of the `bits` generator."""
  generator = synthetic.GENERATORS['bits']
  _, labels = generator.task(generator.tables(Spec()), Hyper(redundancy=redundancy))
  labels = np.asarray(labels, np.float64)
  task, seen = np.arange(256), redundancy + (8 - redundancy) // 2
  shared, x1 = task & (1 << redundancy) - 1, task & (1 << seen) - 1
  p = np.zeros((1 << seen, 256 >> seen - redundancy, 4))
  p[x1, shared | task >> seen << redundancy] = labels / labels.sum()
  return p / p.sum()


@pytest.mark.parametrize('redundancy, expected', [
    (6, (1.081, .321, .189, .081)), (7, (1.4019, 0, .2700, 0))])
def test_bug_14_labels_that_nearly_follow_from_many_states(redundancy, expected):
  p = bits_table(redundancy)
  found = broja(p)
  np.testing.assert_allclose(found.to_bits().atoms(), expected, atol=5.1e-4)
  mi_1, mi_2, both = informations(p)
  assert found.redundancy - found.synergy == pytest.approx(mi_1 + mi_2 - both, abs=1e-12)


# -- other ways to the optimum ---------------------------------------------------------------------


def convex_optimum(p: np.ndarray) -> tuple[float, float]:
  """Bounds of the optimum from an interior-point method for cones.

  Both hold whatever status it reports: its Q is moved to the marginals, its multipliers to a
  feasible point of the dual.
  """
  cp = pytest.importorskip('cvxpy')
  m1, m2 = p.sum(axis=1), p.sum(axis=0)
  on = (m1[:, None] > 0) & (m2[None] > 0)
  i, j, y = np.nonzero(on)
  q = cp.Variable(len(i))
  def sums(group, count):
    return sparse.csr_matrix((np.ones(len(i)), (group, np.arange(len(i)))), (count, len(i)))
  cell = sums(i * p.shape[1] + j, p.shape[0] * p.shape[1])
  rows = [np.flatnonzero(m) for m in (m1, m2)]
  marginals = [sums(of * p.shape[2] + y, m.size)[row] @ q == m.ravel()[row]
               for of, m, row in zip((i, j), (m1, m2), rows)]
  problem = cp.Problem(cp.Minimize(cp.sum(cp.rel_entr(q, cell.T @ (cell @ q)))), marginals)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # that the solution may be inaccurate
    problem.solve('CLARABEL', tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10, max_iter=500)
  found = np.zeros(p.shape)
  found[on] = np.maximum(q.value, 0)
  a, b = (np.full(m.shape, -np.inf) for m in (m1, m2))
  for price, row, marginal in zip((a, b), rows, marginals):
    np.put(price, row, -marginal.dual_value)
  return dual_bound(m1, m2, a, b), value(moved(found, m1, m2))


feasible = jax.jit(solver.feasible)


def moved(q, m1, m2) -> np.ndarray:
  with jax.enable_x64(True):
    q = np.asarray(feasible(q, m1, m2))
  np.testing.assert_allclose(q.sum(axis=1), m1, atol=1e-13)
  np.testing.assert_allclose(q.sum(axis=0), m2, atol=1e-13)
  assert (q >= 0).all()
  return q


def dual_bound(m1, m2, a, b) -> float:
  """sum m1 a + sum m2 b once a is shifted such that logsumexp_y(a + b) <= 0 in each cell."""
  total = special.logsumexp(a[:, None] + b[None], axis=2)
  total = np.where(np.isfinite(total), total, -np.inf).max(axis=1)
  a = a - np.where(np.isfinite(total), total, 0)[:, None]
  return (m1 * np.where(m1 > 0, a, 0)).sum() + (m2 * np.where(m2 > 0, b, 0)).sum()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', [*SHAPES, (2, 3, 1)])
def test_agrees_with_a_cone_program(shape, kind):
  for seed in range(4):
    p = table(kind, shape, seed)
    low, high = convex_optimum(p)
    found = broja(p)
    ours = value(found.q)
    assert high - low < 1e-6, 'the other solver failed: choose another table'
    assert low - 1e-12 <= ours <= high + found.gap + 1e-12
    mi_1, mi_2, _ = informations(p)
    optimum = mi_1 + mi_2 - np.array([high, low]) - entropy(p.sum(axis=(0, 1)))  # of redundancy
    np.testing.assert_allclose(found.redundancy, optimum, atol=1e-6)
    # The certificate holds the other solver's optimum.
    assert optimum[0] <= found.redundancy + found.gap + 1e-12
    assert found.redundancy <= optimum[1] + 1e-12


def brute_force(p: np.ndarray) -> float:
  """The least value over Q = p + t(y) [[1, -1], [-1, 1]], p [2, 2, 2], by grids that close in."""
  sign = np.array([[1, -1], [-1, 1]])
  low = -np.minimum(p[0, 0], p[1, 1])
  high = np.minimum(p[0, 1], p[1, 0])
  centre, width = (low + high) / 2, high - low
  for _ in range(40):
    grid = centre[:, None] + width[:, None] * np.linspace(-.5, .5, 21)
    t = np.stack(np.meshgrid(*np.clip(grid, low[:, None], high[:, None]), indexing='ij'), axis=-1)
    q = np.maximum(p + t[..., None, None, :] * sign[..., None], 0)
    values = (special.entr(q.sum(axis=-1)).sum(axis=(-2, -1))
              - special.entr(q).sum(axis=(-3, -2, -1)))
    best = np.unravel_index(values.argmin(), values.shape)
    centre, width = t[best], 0.6 * width
  return values.min()


def test_bug_13_generic_two_by_two_tables_and_the_same_twice():
  g = np.random.default_rng(13)
  for p in g.dirichlet(np.ones(8), size=40).reshape(-1, 2, 2, 2):
    found, again, least = broja(p), broja(p), brute_force(p)
    for name in (*ATOMS, 'gap', 'q'):
      np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
    mi_1, mi_2, _ = informations(p)
    expected = mi_1 + mi_2 - entropy(p.sum(axis=(0, 1))) - least
    assert found.redundancy == pytest.approx(expected, abs=found.gap + 1e-9)
    assert expected <= found.redundancy + found.gap + 1e-12


@pytest.mark.parametrize('entries', [
    (0, 1e-4, 1e-5, 0, 1e-5, 0, 1, 0), (1e-3, 1e-3, 1e-5, 1, 1e-8, 1e-9, 1e-3, 0),
    (1e-3, 1e-10, 1e-3, 1e-2, 1e-12, 0, 0, 1), (1e-3, 0, 0, 1, 1e-4, 1e-4, 0, 0),
    (1e-8, 1, 1e-3, 0, 1e-3, 1e-2, 0, 1e-13), (1e-10, 1e-12, 0, 1e-4, 1e-2, 1e-11, 1, .1)])
def test_bug_14_entries_far_apart(entries):
  """An optimum at the edge, where multipliers are large or any: the first are counts of 100,012."""
  p = np.reshape(entries, (2, 2, 2)) / np.sum(entries)
  found = broja(p)
  mi_1, mi_2, both = informations(p)
  expected = mi_1 + mi_2 - entropy(p.sum(axis=(0, 1))) - brute_force(p)
  assert found.redundancy == pytest.approx(expected, abs=1e-6)
  assert found.redundancy - found.synergy == pytest.approx(mi_1 + mi_2 - both, abs=1e-12)


def test_bug_13_five_by_five_the_same_twice():
  p = golden((5, 5, 3))
  np.testing.assert_array_equal(atoms_of(p), atoms_of(p))


# -- axioms ----------------------------------------------------------------------------------------


@MANY
@given(p=tables())
def test_atoms_and_their_sums(p):
  found = broja(p)
  assert (found.atoms() >= 0).all()
  assert 0 <= found.gap <= 1e-6
  mi_1, mi_2, both = informations(p)
  np.testing.assert_allclose([found.mi_1, found.mi_2, found.mi_joint], [mi_1, mi_2, both],
                             atol=1e-12)
  assert found.redundancy + found.unique_1 == pytest.approx(mi_1, abs=1e-9)
  assert found.redundancy + found.unique_2 == pytest.approx(mi_2, abs=1e-9)
  assert found.atoms().sum() == pytest.approx(both, abs=1e-9)


@functools.cache
def jitted_co_information():
  return jax.jit(discrete.interaction_information)


@MANY
@given(p=tables())
def test_redundancy_less_synergy_is_the_co_information(p):
  found = broja(p)
  mi_1, mi_2, both = informations(p)
  assert found.redundancy - found.synergy == pytest.approx(mi_1 + mi_2 - both, abs=1e-12)
  with jax.enable_x64(True):
    assert jitted_co_information()(p) == pytest.approx(mi_1 + mi_2 - both, abs=1e-12)


@MANY
@given(p=tables())
def test_q_has_the_pair_marginals_and_the_value(p):
  found = broja(p)
  assert found.q.shape == p.shape and (found.q >= 0).all()
  np.testing.assert_allclose(found.q.sum(axis=1), p.sum(axis=1), atol=1e-12)
  np.testing.assert_allclose(found.q.sum(axis=0), p.sum(axis=0), atol=1e-12)
  mi_1, mi_2, through_q = informations(found.q)
  assert mi_1 + mi_2 - through_q == pytest.approx(found.redundancy, abs=1e-12)


@MANY
@given(p=tables([(2, 2, 2), (3, 4, 3), (4, 3, 3)]))
def test_exchanging_the_sources_exchanges_the_unique_atoms(p):
  found, other = broja(p), broja(p.transpose(1, 0, 2))
  np.testing.assert_allclose(found.atoms(), other.atoms()[[0, 2, 1, 3]],
                             atol=found.gap + other.gap + 1e-12)


@MANY
@given(p=tables(), seed=st.integers(0, 2**31))
def test_names_of_states_do_not_matter(p, seed):
  g = np.random.default_rng(seed)
  found, other = broja(p), broja(p[np.ix_(*(g.permutation(n) for n in p.shape))])
  np.testing.assert_allclose(found.atoms(), other.atoms(), atol=found.gap + other.gap + 1e-12)


@MANY
@given(first=tables([(2, 2, 2)]), second=tables([(2, 2, 2)]))
def test_independent_systems_add_up(first, second):
  product = np.einsum('abc,def->adbecf', first, second).reshape(4, 4, 4)
  np.testing.assert_allclose(atoms_of(product), atoms_of(first) + atoms_of(second), atol=2e-6)


@MANY
@given(p=tables([(2, 2, 2)]))
def test_states_that_never_occur_do_not_matter(p):
  found, other = broja(p), broja(filled(p, (3, 4, 3)))
  np.testing.assert_allclose(found.atoms(), other.atoms(), atol=found.gap + other.gap + 1e-12)
  assert not other.q[2:].any() and not other.q[:, 2:].any() and not other.q[..., 2:].any()


@MANY
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_feasible_moves_any_q_to_the_marginals(seed, scale):
  g = np.random.default_rng(seed)
  p, q = table('sparse', (3, 4, 3), seed), scale * g.exponential(size=(3, 4, 3))
  moved(q * (g.random(q.shape) < 0.7), p.sum(axis=1), p.sum(axis=0))
  np.testing.assert_allclose(moved(p, p.sum(axis=1), p.sum(axis=0)), p, atol=1e-15)


# -- ways to call it -------------------------------------------------------------------------------


def few() -> np.ndarray:
  """[6, 2, 2, 2]."""
  return np.stack([table(kind, (2, 2, 2), 5) for kind in KINDS[:6]])


def test_ways_to_call_agree():
  p = few()
  single = [broja(one) for one in p]
  expected = np.stack([one.atoms() for one in single])
  atol = 2e-12 + 2 * max(one.gap for one in single)
  nested, mapped = broja(p.reshape(2, 3, 2, 2, 2)), jax.vmap(broja)(p)
  with jax.enable_x64(True):
    within = [jax.jit(broja)(one) for one in p]
  assert nested.q.shape == (2, 3, 2, 2, 2) and nested.gap.shape == (2, 3)
  np.testing.assert_allclose(nested.atoms().reshape(6, 4), expected, atol=atol)
  np.testing.assert_allclose(mapped.atoms(), expected, atol=atol)
  np.testing.assert_allclose([one.atoms() for one in within], expected, atol=atol)
  np.testing.assert_allclose(broja_many(p), expected, atol=1e-4)
  for found in (single[0], mapped, nested, within[0]):
    assert found.redundancy.dtype == found.q.dtype == found.gap.dtype == np.float64
  assert broja_many(p).dtype == np.float64 and not jax.config.jax_enable_x64


def test_any_array_of_numbers_is_float64_inside():
  p = np.array([[[.5, 0], [0, .25]], [[0, .125], [.125, 0]]])  # these are exact in every type
  for one in (p.tolist(), p.astype(np.float32), jnp.float32(p), p.astype(np.float16)):
    np.testing.assert_array_equal(atoms_of(one), atoms_of(p))
  assert atoms_of(np.eye(8, dtype=int)[0].reshape(2, 2, 2)).sum() == 0


@pytest.mark.parametrize('wrap', [
    jax.jit, lambda f: jax.jit(jax.vmap(f)), lambda f: jax.vmap(jax.jit(f)),
    lambda f: jax.jit(jax.grad(lambda p: f(p[0]).redundancy))])
def test_jit_without_float64_says_what_to_do(wrap):
  with pytest.raises(ValueError, match='jax.enable_x64') as error:
    wrap(broja)(few())
  assert '\n' not in str(error.value)


# -- gradients -------------------------------------------------------------------------------------


def accurate(p):
  return broja(p, tol=1e-9).atoms()


@pytest.mark.parametrize('kind', ['dense', 'sparse', 'deterministic', 'counts'])
def test_gradients_are_central_differences(kind):
  """Along changes that keep the sum, and the zeros, where derivatives are infinite."""
  p, width = table(kind, (3, 4, 3), 1), 1e-5
  direction = p * np.random.default_rng(1).normal(size=p.shape)
  direction -= p * direction.sum()
  with jax.enable_x64(True):
    gradients = np.asarray(jax.jacrev(accurate)(jnp.asarray(p)))
    sides = [np.asarray(accurate(p + step * direction)) for step in (width, -width)]
  assert np.isfinite(gradients).all()
  np.testing.assert_allclose(np.einsum('kabc,abc->k', gradients, direction),
                             (sides[0] - sides[1]) / (2 * width), atol=5e-6)


def test_gradients_are_finite_on_gates():
  for name in ('and', 'xor', 'rdn', 'noisy and'):
    with jax.enable_x64(True):
      gradients = jax.jacrev(accurate)(jnp.asarray(filled(GATES[name][0][:2, :2, :2], (3, 4, 3))))
    assert np.isfinite(gradients).all()


def test_gradient_without_float64():
  p = np.float32(table('dense', (3, 4, 3), 1))
  gradient = jax.grad(lambda p: broja(p).redundancy)(jnp.asarray(p))
  with jax.enable_x64(True):
    expected = jax.jacrev(accurate)(jnp.asarray(p, jnp.float64))[0]
  np.testing.assert_allclose(gradient, expected, atol=1e-4)


# -- wrong tables ----------------------------------------------------------------------------------


def changed(at, to, shape=(2, 2, 2)) -> np.ndarray:
  p = np.full(shape, 1 / 8)
  p[at] = to
  return p


@pytest.mark.parametrize('p, message', [
    (changed((0, 1, 0), -.25),
     r'p has 1 entries negative or not finite, first -0.25 at \[0, 1, 0\]'),
    (changed((1, 0, 1), np.nan), r'p has 1 entries .* first nan at \[1, 0, 1\]'),
    (changed((1, 0, 1), np.inf), r'first inf at \[1, 0, 1\]'),
    (changed((2, 1, 0, 1), -1, (3, 2, 2, 2)), r'first -1 at \[2, 1, 0, 1\]'),
    (changed((0, 0, 0), .25), r'p sums to 1.125; probabilities sum to 1 \(divide counts'),
    (np.full((2, 2, 2), 3), 'p sums to 24; '),
    (np.zeros((2, 2, 2)), 'p sums to 0; '),
    (changed(1, .25, (3, 2, 2, 2)), 'p sums to 2; '),
    (np.full((2, 2), .25), r'p has shape \(2, 2\); a table is \[x1, x2, y\], three axes'),
    (.5, r'p has shape \(\); '),
    (np.zeros((2, 0, 2)), r'p has shape \(2, 0, 2\): an axis without states'),
    (np.zeros((0, 2, 2, 2)), r'p has shape \(0, 2, 2, 2\): an axis without states'),
    (np.full((2, 2, 2), 'x'), 'p has entries of type <U1, not real numbers'),
    (np.full((2, 2, 2), .125 + 0j), 'p has entries of type complex128, not real numbers'),
    (np.full((2, 2, 2), None), 'p has entries of type object, not real numbers')])
def test_wrong_tables_are_named(p, message):
  with pytest.raises(ValueError, match=message) as error:
    broja(p)
  assert '\n' not in str(error.value)
  with pytest.raises(ValueError, match=message.replace('p ', 'counts ', 1)):
    checked_table(p, 'counts')


@pytest.mark.parametrize('off', [5e-4, -5e-4, 1e-5])
def test_a_rounded_table_is_divided_by_its_sum(off):
  p = table('dense', (2, 2, 2), 0)
  with pytest.warns(UserWarning, match=f'p sums to {1 + off:.9g} and was divided by it') as caught:
    found = broja((1 + off) * p)
  np.testing.assert_allclose(found.atoms(), atoms_of(p), atol=1e-8)
  np.testing.assert_allclose(checked_table(p), p, rtol=1e-15)
  assert len(caught) == 1


def test_a_table_that_sums_to_one_is_not_remarked_on():
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    broja(table('dense', (2, 2, 2), 0))


@pytest.mark.parametrize('tol', [0, -1e-3, float('nan')])
def test_a_tolerance_that_cannot_be(tol):
  with pytest.raises(ValueError, match=f'tol={tol} must be above 0'):
    broja(few()[0], tol=tol)


def test_a_gap_that_is_not_reached_is_an_error(monkeypatch):
  monkeypatch.setattr(sys.modules['mmalign_jax.information.convex'], '_STEPS', 2)
  p = table('dense', (3, 4, 3), 0)
  message = r'p: .* a gap of \S+ nats in 2 steps, not tol=1e-06'
  with pytest.raises(ValueError, match=message) as error:
    broja(p)
  gap = float(str(error.value).split('gap of ')[1].split(' ')[0])
  assert 1e-6 < gap < np.log(3)
  assert broja(p, tol=gap * 1.1).gap == pytest.approx(gap, rel=.06)


def test_rounding_to_float32_needs_no_remark():
  p = table('dense', (2, 2, 2), 0)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    found = broja(np.float32(p))
  np.testing.assert_allclose(found.atoms(), broja(p).atoms(), atol=1e-6)
