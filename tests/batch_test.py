"""The neural BATCH estimator: known sources, held-out scores, exact couplings, its null."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.information import ATOMS, BatchSpec, batch, broja
from mmalign_jax.information import batch_coupling as coupling
from mmalign_jax.information.batch_run import Cuts, run

N = 1200
SPEC = BatchSpec(width=24, depth=1, batch_size=96, steps=240, learning_rate=3e-3, pairs=32,
                 coupling_width=12, coupling_depth=1, embedding=4, coupling_steps=60, checks=10,
                 check_size=16, check_count=4)


def sources(kind: str, n: int = N, seed: int = 0):
  """Two noisy bits a side (one of them shared) as features [n, 3], and a label of one kind."""
  g = np.random.default_rng(seed)
  shared, one, two = g.integers(0, 2, (3, n))
  label = {'redundancy': shared, 'unique_1': one, 'unique_2': two, 'synergy': one ^ two}[kind]
  y = np.where(g.random(n) < 0.1, 1 - label, label)
  view = lambda own: np.c_[shared, own, shared] * [4, 4, 0] + g.normal(size=(n, 3)) * 0.6
  return view(one), view(two), y


def truth(kind: str) -> float:
  """The only atom there is, in nats, by the exact solver on the table of the bits."""
  p = np.zeros((4, 4, 2))
  for s, a, b in np.ndindex(2, 2, 2):
    label = {'redundancy': s, 'unique_1': a, 'unique_2': b, 'synergy': a ^ b}[kind]
    p[2 * s + a, 2 * s + b] += np.where(np.arange(2) == label, 0.9, 0.1) / 8
  return float(getattr(broja(p), kind))


@pytest.mark.parametrize('kind', ATOMS)
def test_the_only_atom_is_found(kind):
  found = batch(*sources(kind), key=jax.random.key(0), spec=SPEC, null=19)
  values = {name: float(atom.value) for name, atom in found.atoms.items()}
  error = {name: float(atom.error) for name, atom in found.atoms.items()}
  assert max(values, key=values.get) == kind
  assert values[kind] == pytest.approx(truth(kind), abs=0.05 + 3 * error[kind])
  assert float(found.atoms[kind].p_value) == pytest.approx(1 / 20)
  for name in set(ATOMS) - {kind}:
    assert values[name] == pytest.approx(0, abs=0.05 + 3 * error[name])


def test_sums_hold_and_no_label_of_the_test_rows_was_seen():
  x1, x2, y = sources('unique_1')
  key = jax.random.key(1)
  found = batch(x1, x2, y, key=key, spec=SPEC, null=1)
  r, u1, u2, s = (float(found.atoms[name].value) for name in ATOMS)
  assert r + u1 == pytest.approx(float(found.mi_1), abs=1e-5)
  assert r + u2 == pytest.approx(float(found.mi_2), abs=1e-5)
  assert r + u1 + u2 + s == pytest.approx(float(found.mi_joint), abs=1e-5)
  order = np.asarray(jax.random.permutation(jax.random.split(key, 3)[0], N))
  test = order[Cuts.of(N, SPEC).test]
  spoilt = y.copy()
  spoilt[test] = np.random.default_rng(0).permutation(y[test])
  blind = batch(x1, x2, spoilt, key=key, spec=SPEC, null=1)
  assert float(blind.q_mi_1) == pytest.approx(float(found.q_mi_1), abs=1e-6)  # the nets are equal
  assert float(blind.mi_1) < float(found.mi_1) - 0.2


def test_what_was_learnt_by_heart_is_worth_nothing():
  g = np.random.default_rng(0)
  x1, x2 = g.normal(size=(2, N, 20))
  found = batch(x1, x2, g.integers(0, 3, N), key=jax.random.key(0), spec=SPEC, null=19)
  for mi in (found.mi_1, found.mi_2, found.mi_joint):
    assert float(mi) < 0.03
  for atom in found.atoms.values():
    assert abs(float(atom.value)) < 0.03 + 3 * float(atom.error)
    assert float(atom.p_value) > 0.05


def test_nulls_trained_side_by_side_are_those_trained_alone():
  module = sys.modules['mmalign_jax.information.batch']
  x1, x2, y = sources('redundancy', 400)
  x1, x2 = (jnp.asarray(x, jnp.float32) for x in (x1, x2))
  labels = jnp.stack([jnp.asarray(y, jnp.int32), jnp.asarray(y[::-1].copy(), jnp.int32)])
  key = jax.random.key(0)
  both = module._runs(x1, x2, labels, key, 2, SPEC)
  alone = jax.jit(lambda y: run(x1, x2, y, key, n_classes=2, spec=SPEC))(labels[1])
  np.testing.assert_allclose(both.scores[1], alone.scores, atol=2e-3)
  np.testing.assert_allclose(both.of_q[1], alone.of_q, atol=1e-3)


# -- couplings -------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def minibatch():
  """Nets of chance, and log p(y|x) [16, 3] of both sides."""
  one, two = np.random.default_rng(0).dirichlet(np.ones(3), (2, 16))
  pair = coupling.init(jax.random.key(0), 3, 8, 1, 4)
  return pair, jnp.log(jnp.asarray(one, jnp.float32)), jnp.log(jnp.asarray(two, jnp.float32))


def test_a_coupling_has_the_marginals(minibatch):
  pair, log_p1, log_p2 = minibatch
  m1, m2 = coupling.marginals(log_p1, log_p2)
  np.testing.assert_allclose(m1.sum(axis=0), m2.sum(axis=0), rtol=1e-5)
  assert float(m1.sum()) == pytest.approx(1, abs=1e-5)
  q = coupling.coupled(pair, log_p1, log_p2, 20)
  assert q.shape == (16, 16, 3) and float(q.min()) >= 0
  np.testing.assert_allclose(q.sum(axis=1), m1, atol=1e-6)
  np.testing.assert_allclose(q.sum(axis=0), m2, atol=1e-6)


def test_nets_are_never_below_the_exact_optimum(minibatch):
  pair, log_p1, log_p2 = minibatch
  with jax.enable_x64(True):
    to64 = lambda tree: jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), tree)
    neural, exact = coupling.against_exact(*to64((pair, log_p1, log_p2)), 16, 20)
    q = np.asarray(coupling.coupled(*to64((pair, log_p1, log_p2)), 20))
  least = broja(q / q.sum())
  union = float(least.redundancy + least.unique_1 + least.unique_2)
  assert float(exact[0]) == pytest.approx(union, abs=1e-5)
  assert float(neural[0]) >= float(exact[0]) - 1e-8


def test_gradients_of_a_coupling_are_finite_and_right(minibatch):
  pair, log_p1, log_p2 = minibatch
  value = lambda log_a: coupling.information(
      coupling.couple(log_a, *coupling.marginals(log_p1, log_p2), 60))
  log_a = coupling.log_kernel(pair, log_p1, log_p2)
  grad = jax.grad(value)(log_a)
  assert jnp.isfinite(grad).all()
  way = jax.random.normal(jax.random.key(1), log_a.shape)
  step = 0.03
  slope = (value(log_a + step * way) - value(log_a - step * way)) / (2 * step)
  assert float(jnp.sum(grad * way)) == pytest.approx(float(slope), rel=0.05, abs=1e-4)


def test_training_lowers_the_excess():
  x1, x2, y = sources('redundancy')
  short = batch(x1, x2, y, key=jax.random.key(0), null=1,
                spec=BatchSpec(**{**vars(SPEC), 'coupling_steps': 10}))
  trained = batch(x1, x2, y, key=jax.random.key(0), spec=SPEC, null=1)
  assert -1e-6 <= float(trained.excess) < float(short.excess)


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('change, message', [
    (dict(x1=np.zeros(400)), r'x1 has shape \(400,\); 2 axes are needed'),
    (dict(x2=np.zeros((399, 3))), 'x2 has 399 samples and y has 400'),
    (dict(x1=np.full((400, 3), np.nan)), 'x1 has 1200 entries that are not finite'),
    (dict(x1=np.full((400, 3), 'a')), 'x1 has shape .* real features are needed'),
    (dict(y=np.full(400, 0.5)), 'y has type float64; labels are integers'),
    (dict(y=np.zeros(400, int)), r'y has labels 0\.\.0; two classes or more'),
    (dict(y=np.full((400, 1), 1)), r'y has shape \(400, 1\); 1 axes are needed'),
    (dict(y=np.arange(400) % 2 * 2), 'y: class 1 is not among the'),
    (dict(null=0), 'null=0 must be at least 1'),
    (dict(spec=BatchSpec()), 'n=400 samples are too few: .* need n=427')])
def test_mistakes(change, message):
  x1, x2, y = sources('unique_1', 400)
  given = dict(x1=x1, x2=x2, y=y, null=2, spec=SPEC) | change
  with pytest.raises(ValueError, match=message):
    batch(given.pop('x1'), given.pop('x2'), given.pop('y'), key=jax.random.key(0), **given)


@pytest.mark.parametrize('setting, message', [
    (dict(width=0), 'width=0 must be a whole number, at least 1'),
    (dict(learning_rate=-1.0), 'learning_rate=-1.0 must be at least 0'),
    (dict(check_size=128), 'check_size=128 must be at most pairs=64')])
def test_settings_are_checked(setting, message):
  with pytest.raises(ValueError, match=message):
    BatchSpec(**setting)
