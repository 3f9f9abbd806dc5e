"""Atoms from samples: against exact atoms, by chance, and under what must not matter."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from mmalign_jax import Hyper, Spec, rng, synthetic
from mmalign_jax.information import (
  ATOMS,
  broja,
  cross_check as checks,
  discrete,
  estimate,
  quantise,
)
from mmalign_jax.information.estimation import CHANCE, PRESENT, UNDECIDED, holm, solved
from mmalign_jax.information.samples import Label, Plan, Question, answer, binned, joined

STATES = 4


def drawn(atoms, n, seed=0):
  """Codes of the relevant bits of the `atoms` generator, and its label."""
  hyper = Hyper(**dict(zip(ATOMS, map(float, atoms))))
  pairs = _generated(hyper, rng.stream(seed, 'test'), n)
  relevant = lambda row: (np.asarray(row)[:, None] >> np.array([0, 8, 9]) & 1) @ [1, 2, 4]
  return relevant(pairs.rows[0]), relevant(pairs.rows[1]), np.asarray(pairs.y)


@functools.partial(jax.jit, static_argnums=2)
def _generated(hyper, key, n):
  made = synthetic.GENERATORS['atoms']
  return synthetic.draw(made, made.tables(Spec()), hyper, key, n)


def independent(n, seed, shape=(STATES, STATES, 2)):
  g = np.random.default_rng(seed)
  return tuple(g.integers(0, states, n) for states in shape)


def test_raw_atoms_are_those_of_the_table():
  x1, x2, y = independent(300, 0)
  p = np.zeros((STATES, STATES, 2))
  np.add.at(p, (x1, x2, y), 1 / 300)
  found = estimate(x1, x2, y, null=5, bootstrap=20)
  exact = broja(p)
  for k, name in enumerate(ATOMS):
    assert found.atoms[name].raw == pytest.approx(exact.atoms()[k], abs=1e-9)
  exact_mi = [float(mi) for mi in (exact.mi_1, exact.mi_2, exact.mi_joint)]
  assert found.raw_mi == pytest.approx(exact_mi, abs=1e-9)
  assert found.cells == (STATES, STATES, 2) and found.n == 300 and found.gap <= 1e-6


@pytest.mark.parametrize('dominant', range(4))
def test_the_dominant_atom_is_named_and_near(dominant):
  truth = np.where(np.arange(4) == dominant, 0.5, 0.1)
  found = estimate(*drawn(truth, 500, dominant), null=99, bootstrap=40)
  values = np.array([found.atoms[name].value for name in ATOMS])
  assert values.argmax() == dominant
  assert found.atoms[ATOMS[dominant]].verdict == PRESENT
  np.testing.assert_allclose(values, truth, atol=0.12)
  raw = np.array([found.atoms[name].raw for name in ATOMS])
  assert np.abs(values - truth).sum() < 0.6 * np.abs(raw - truth).sum()
  assert found.shares is not None


def test_sums_hold_for_corrected_values():
  found = estimate(*drawn((0.3, 0.1, 0.2, 0.1), 600), null=0, bootstrap=0)
  r, u1, u2, s = (found.atoms[name].value for name in ATOMS)
  assert found.mi_1 == pytest.approx(r + u1) and found.mi_2 == pytest.approx(r + u2)
  assert found.mi_joint == pytest.approx(r + u1 + u2 + s)
  assert all(atom.p_value is atom.interval is atom.verdict is None
             for atom in found.atoms.values())


def test_independent_samples_average_nothing_and_are_seldom_called_present():
  found = [estimate(*independent(120, seed), null=99, bootstrap=20, seed=seed)
           for seed in range(60)]
  values = np.array([[f.atoms[name].value for name in ATOMS] for f in found])
  raw = np.array([[f.atoms[name].raw for name in ATOMS] for f in found])
  error = values.std(axis=0, ddof=1) / np.sqrt(len(found))
  assert (np.abs(values.mean(axis=0)) < 3 * error).all()
  assert (raw.mean(axis=0) > 3 * error).all()  # the test could fail: the plug-in does
  called = [any(atom.verdict == PRESENT for atom in f.atoms.values()) for f in found]
  assert np.mean(called) <= 0.15  # 3 of 60 expected at most; 10 or more once in 10,000
  p = np.array([[f.atoms[name].p_value for name in ATOMS] for f in found])
  assert ((p <= 0.05).mean(axis=0) <= 0.17).all()


def test_equal_seeds_threads_and_relabelled_cells_give_equal_atoms():
  (x1, x2, _), (kept, wrong) = independent(400, 0), np.random.default_rng(1).random((2, 400))
  x2 = np.where(kept < 0.3, x1, x2)  # sides and pairs tell something: the model has every part
  y = (x1 // 2 & x2 // 2) ^ (wrong < 0.1)
  one = estimate(x1, x2, y, null=20, bootstrap=20, seed=3)
  assert estimate(x1, x2, y, null=20, bootstrap=20, seed=3, workers=2).atoms == one.atoms
  other = estimate(x1 * 7 + 100, x2.astype(float), y, null=20, bootstrap=20, seed=3)
  assert other.atoms == one.atoms
  assert estimate(x1, x2, y, null=20, bootstrap=20, seed=4).atoms != one.atoms


def test_exchanging_the_sides_exchanges_unique_information():
  x1, x2, y = drawn((0.1, 0.5, 0.1, 0.1), 1000)
  one, two = (estimate(*sides, y, null=0, bootstrap=0) for sides in ((x1, x2), (x2, x1)))
  for name, other in zip(ATOMS, ('redundancy', 'unique_2', 'unique_1', 'synergy')):
    assert two.atoms[other].raw == pytest.approx(one.atoms[name].raw, abs=1e-6)
    assert two.atoms[other].value == pytest.approx(one.atoms[name].value, abs=0.01)


def test_a_copy_of_the_first_side_is_unique_to_it():
  """Bug of a public implementation: unique_1 and unique_2 exchanged."""
  x1, x2, _ = independent(500, 0)
  found = estimate(x1, x2, x1, null=99, bootstrap=20)
  assert found.atoms['unique_1'].value == pytest.approx(np.log(STATES), abs=0.02)
  assert [found.atoms[name].verdict == PRESENT for name in ATOMS] == [False, True, False, False]


def test_small_tables_of_few_samples_claim_nothing():
  """Bug of published numbers: synergies of 138 samples at or below those of noise."""
  found = estimate(*independent(138, 1, (20, 20, 2)), null=99, bootstrap=40)
  assert found.atoms['synergy'].raw > 0.35
  assert abs(found.atoms['synergy'].value) < 0.12
  assert found.atoms['synergy'].verdict in (CHANCE, UNDECIDED)


def test_a_permutation_that_gives_the_same_table_reaches_it():
  g = np.random.default_rng(6)
  groups = np.repeat(np.arange(6), 5)
  a, b = (g.permutation([0, 0, 0, 1, 1, 1])[groups] for _ in range(2))
  y = (g.random(30) < np.choose(a + b, [0.1, 0.5, 0.9])).astype(int)
  found = estimate(a, b, y, groups=groups, null=200, bootstrap=0).atoms['synergy']
  # both sides are constant in groups: 6 and 4 of 200 permutations change nothing at all, a few
  # give as much; without them it was 1 / 201, and `present`
  assert found.p_value > 0.05 and found.verdict != 'present'


def test_holm_against_hand_worked_values():
  np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
  np.testing.assert_allclose(holm([0.5, 0.9, 0.4]), [1, 1, 1])


def test_solving_in_chunks_and_threads_changes_nothing():
  tables = np.random.default_rng(0).dirichlet(np.ones(32), 30).reshape(30, 4, 4, 2)
  one, two = solved(tables), solved(tables, workers=2)
  np.testing.assert_array_equal(one, two)
  np.testing.assert_allclose(one[7], broja(tables[7]).atoms(), atol=2e-5)


@pytest.mark.parametrize('change, message', [
    (dict(x1=np.zeros((50, 2))), r'x1 has shape \(50, 2\); codes \[N\] are needed'),
    (dict(x2=np.zeros(49, int)), 'x2 has 49 samples and y has 50'),
    (dict(x1=np.full(50, 0.5)), 'x1 has values of type float64 that are no whole numbers'),
    (dict(y=np.zeros(50, int)), 'y has one class only'),
    (dict(x1=np.arange(50)), 'n=50 samples are too few for 50 x 3 cells and 2 classes: at least '
     '250 are needed'),
    (dict(null=-1), 'null=-1 must be 0 or at least 1'),
    (dict(bootstrap=5), 'bootstrap=5 must be 0 or at least 20'),
    (dict(x1=np.zeros(0, int), x2=np.zeros(0, int), y=np.zeros(0, int)), 'y is empty')])
def test_mistakes(change, message):
  g = np.random.default_rng(0)
  given = dict(x1=g.integers(0, 3, 50), x2=g.integers(0, 3, 50), y=g.integers(0, 2, 50)) | change
  with pytest.raises(ValueError, match=message):
    estimate(given.pop('x1'), given.pop('x2'), given.pop('y'), **given)


# -- other estimators beside -----------------------------------------------------------------------


def cross_check(*given, **more):
  with threadpool_limits(1):  # threads that wait for each other take most of the time
    return checks.cross_check(*given, **more)


def test_cross_checks_agree_where_cells_lose_nothing():
  g = np.random.default_rng(0)
  bit = g.integers(0, 2, 800)
  x1, x2 = (bit[:, None] * 6 + g.normal(size=(800, 2)) for _ in range(2))
  cells = dict.fromkeys(checks.NAMES, np.log(2))
  found = cross_check(x1, x2, bit, cells)
  for check in found.values():
    assert check.flag is None
    assert check.nearest == pytest.approx(np.log(2), abs=0.03)
    assert check.classifier == pytest.approx(np.log(2), abs=0.05)
  short = cross_check(x1, x2, bit, dict.fromkeys(checks.NAMES, 0.2))
  assert all('the cells lose at least' in check.flag for check in short.values())
  tall = cross_check(x1[g.permutation(800)], x2, bit, cells)
  assert 'the cells claim' in tall['mi_1'].flag and tall['mi_2'].flag is None


def test_cross_checks_of_categories_and_of_numbers():
  x1, x2, y = drawn((0.1, 0.5, 0.1, 0.1), 1500)
  cells = {'mi_1': 0.6, 'mi_2': 0.2, 'mi_joint': 0.8}
  found = cross_check(x1[:, None], x2[:, None], y, cells, categories=True)
  assert found['mi_1'].nearest is None
  assert found['mi_1'].classifier == pytest.approx(0.6, abs=0.08)
  g = np.random.default_rng(0)
  z = g.normal(size=1000)
  x1, x2 = ((z + g.normal(size=1000))[:, None] for _ in range(2))
  four = np.searchsorted(np.quantile(z, (.25, .5, .75)), z)
  found = cross_check(x1, x2, four, dict.fromkeys(checks.NAMES, 0.35), continuous=z)
  assert found['mi_1'].nearest == pytest.approx(0.5 * np.log(2), abs=0.06)  # rho = 1 / sqrt 2
  assert dataclasses.asdict(found['mi_1']).keys() == {
      'cells', 'nearest', 'classifier', 'classifier_error', 'flag', 'left_out'}


def test_the_classifier_beside_sees_a_part_of_many_samples(monkeypatch):
  g = np.random.default_rng(0)
  bit, seen = np.arange(300) % 2, []
  real = checks.held_out
  monkeypatch.setattr(checks, 'MOST_ROWS', 200)
  monkeypatch.setattr(checks, 'held_out', lambda x, y, seed, groups: (
      seen.append((len(x), len(y), len(groups))), real(x, y, seed, groups=groups))[1])
  x1, x2 = bit[:, None] + 0.1 * g.normal(size=(300, 2)), g.normal(size=(300, 2))
  question = Question('a', 'b', x1, x2, Label(bit, ('0', '1')), np.arange(300) // 3)
  found = answer(question, Plan(cells={'a': 2, 'b': 2}, null=0, bootstrap=0))
  assert seen == [(200, 200, 200)] * 3
  assert found['cross_check']['mi_1']['classifier'] > 0.6
  assert any('sees 200 of n=300 samples' in note for note in found['notes'])


def test_a_column_that_is_constant_but_for_rounding_is_no_feature():
  x = np.c_[np.arange(30.0), np.full(30, 0.1)]  # whose mean is not 0.1
  assert x[:, 1].std() > 0
  for made in (quantise.standardised(x), joined([x])):
    assert not made[:, 1].any() and made[:, 0].std() > 0.5


def test_integers_that_float64_rounds_keep_their_differences():
  y = np.arange(40) % 2
  np.testing.assert_array_equal(quantise.scaled((2**62 + y)[:, None])[:, 0] > 0, y)
  ranks = 2**62 + np.arange(40)
  np.testing.assert_array_equal(quantise.quantiles(ranks, 4), np.arange(40) // 10)
  label, note = binned(ranks, 2)
  assert len(np.unique(label.numbers)) == 40 and '4.612e+18' in note
  assert '-1.7e+308' in binned(np.repeat([-1.7e308, 1.7e308], [11, 10]), 2)[1]


def test_discrete_and_estimate_agree_on_the_exact_generator():
  truth = (0.1, 0.2, 0.3, 0.1)
  x1, x2, y = drawn(truth, 50000)
  p = np.zeros((8, 8, 16))
  np.add.at(p, (x1, x2, y), 1 / len(y))
  assert float(discrete.three(p)[2]) == pytest.approx(sum(truth), abs=0.03)
