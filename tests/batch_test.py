"""BATCH against exact decompositions, and what keeps it honest: held-out rows, nulls, optima."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.information import solver
from mmalign_jax.information.convex import broja
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.neural import coupling, nets as batch_nets
from mmalign_jax.information.neural.estimate import (
  BatchSpec,
  _atom,
  _runs,
  _standardised,
  _versions,
  batch,
)
from mmalign_jax.information.neural.groups import parted
from mmalign_jax.information.neural.training import Cuts, discriminate, run

N, NOISE, FLIP = 2000, 0.3, 0.05
KEY = jax.random.key(0)
SPEC = BatchSpec(
    width=16, depth=1, batch_size=128, steps=200, learning_rate=1e-2, coupling_width=16,
    coupling_depth=1, embedding=4, pairs=32, coupling_steps=60, sweeps=10, checks=10, check_size=16,
    check_count=4)
SOURCES = {  # what the bits of the two sides are, and the label
    'redundancy': lambda b, c: (b, b, b), 'unique_1': lambda b, c: (b, c, b),
    'unique_2': lambda b, c: (b, c, c), 'synergy': lambda b, c: (b, c, b ^ c),
    'mixed': lambda b, c: (b, c, b & c)}


def source(name: str, seed: int = 0):
  """x1 [N, 2], x2 [N, 3], y [N] and the table of the bits behind them [2, 2, 2]."""
  g = np.random.default_rng(seed)
  s1, s2, y = SOURCES[name](*g.integers(0, 2, (2, N)))
  y = y ^ (g.random(N) < FLIP)
  side = lambda s, d: np.c_[2 * s - 1 + NOISE * g.normal(size=N), g.normal(size=(N, d - 1))]
  table = np.zeros((2, 2, 2))
  for b in (0, 1):
    for c in (0, 1):
      i, j, k = SOURCES[name](b, c)
      table[i, j, k] += (1 - FLIP) / 4
      table[i, j, 1 - k] += FLIP / 4
  return side(s1, 2), side(s2, 3), y, table


def posteriors(seed: int, m: int = 32, n_classes: int = 3):
  """log p(y|x1), log p(y|x2) [m, C] float32, related and not sharp."""
  g = np.random.default_rng(seed)
  z = g.normal(size=(m, n_classes))
  return tuple(jax.nn.log_softmax(jnp.asarray(1.5 * z + g.normal(size=z.shape), jnp.float32))
               for _ in range(2))


def nets(seed: int, n_classes: int = 3) -> coupling.Pair:
  return coupling.init(jax.random.key(seed), n_classes, 8, 1, 4)


def informed(pair, log_p1, log_p2, sweeps: int):
  return coupling.information(coupling.coupled(pair, log_p1, log_p2, sweeps))


scored = jax.jit(lambda *given: coupling.score(*given)[0], static_argnums=4)
slope = jax.jit(jax.grad(informed), static_argnums=3)


# -- the estimator ---------------------------------------------------------------------------------


@functools.cache
def found(name: str):
  x1, x2, y, table = source(name)
  return batch(x1, x2, y, key=KEY, spec=SPEC, null=19), broja(table)


@pytest.mark.parametrize('name', SOURCES)
def test_atoms_are_those_of_the_bits(name):
  estimate, exact = found(name)
  for atom, true in zip(ATOMS, exact.atoms()):
    value, error = float(estimate.atoms[atom].value), float(estimate.atoms[atom].error)
    assert abs(value - true) < 3 * error + 0.01, atom
  for mi in ('mi_1', 'mi_2', 'mi_joint'):
    assert float(getattr(estimate, mi)) == pytest.approx(getattr(exact, mi), abs=0.1), mi
  if name in ATOMS:
    assert max(ATOMS, key=lambda atom: estimate.atoms[atom].value) == name
    assert float(estimate.atoms[name].p_value) == pytest.approx(1 / 20)


@pytest.mark.parametrize('name', SOURCES)
def test_sums_hold_and_the_coupling_is_near_its_optimum(name):
  estimate, _ = found(name)
  r, u1, u2, s = (estimate.atoms[atom].value for atom in ATOMS)
  for total, mi in ((r + u1, 'mi_1'), (r + u2, 'mi_2'), (r + u1 + u2 + s, 'mi_joint'),
                    (r + u1 + u2, 'mi_union')):
    assert float(total) == pytest.approx(float(getattr(estimate, mi)), abs=1e-6)
  assert -1e-9 <= float(estimate.excess) < 0.02
  assert float(estimate.q_mi_joint) >= max(estimate.q_mi_1, estimate.q_mi_2) - 1e-5
  assert set(estimate.bounds) == {'mi_1', 'mi_2', 'mi_joint', 'mi_union', 'q_mi_joint', *ATOMS}
  errors = np.array([estimate.atoms[atom].error for atom in ATOMS])
  assert (errors > 0).all() and (errors < 0.05).all()


def test_independent_labels_stay_within_their_null():
  x1, x2, _, _ = source('synergy')
  y = np.random.default_rng(1).integers(0, 2, N)
  estimate = batch(x1, x2, y, key=KEY, spec=SPEC, null=19)
  for name, atom in estimate.atoms.items():
    assert abs(float(atom.value)) < 0.02, name
    assert float(atom.p_value) > 0.05, name
    assert atom.null.shape == (19,) and float(atom.null_mean) == pytest.approx(
        float(np.mean(atom.null)), abs=1e-6)


def test_the_p_value_counts_ties_and_what_is_no_number():
  rows = lambda values: jnp.stack([jnp.full(5, v) for v in values])
  assert float(_atom(rows([1.0, 0.5, 1.0, 2.0])).p_value) == pytest.approx(3 / 4)
  assert float(_atom(rows([3.0, 0.5, 1.0, 2.0])).p_value) == pytest.approx(1 / 4)
  assert float(_atom(rows([3.0, 0.5, jnp.nan, 2.0])).p_value) == pytest.approx(2 / 4)


# -- held-out rows ---------------------------------------------------------------------------------


@functools.cache
def prepared(name: str = 'redundancy'):
  x1, x2, y, _ = source(name)
  return jnp.float32(x1), jnp.float32(x2), jnp.asarray(y, jnp.int32), Cuts.of(N, SPEC)


@functools.cache
def misled() -> np.ndarray:
  """Scores [20, 4] of labels whose test part is scrambled, and of 19 that are permuted."""
  x1, x2, y, cuts = prepared()
  scrambled = y.at[cuts.test].set(jax.random.permutation(KEY, y[cuts.test]))
  labels = _versions(KEY, y, 19, cuts).at[0].set(scrambled)  # as many as elsewhere: one compile
  return np.asarray(_runs(x1, x2, labels, KEY, 2, SPEC).scores.mean(axis=1))


def test_scrambled_test_labels_lower_every_score():
  right, _ = found('redundancy')
  assert min(right.mi_1, right.mi_2, right.mi_joint, right.mi_union) > 0.3
  assert (misled()[0] < 0).all()


def test_random_labels_are_learnt_by_heart_and_give_nothing():
  _, _, y, cuts = prepared()
  g = np.random.default_rng(3)
  wide = [jnp.asarray(g.normal(size=(N, 60)), jnp.float32) for _ in range(2)]
  spec = dataclasses.replace(SPEC, width=64, steps=400, checks=1)  # stopped by nothing
  log_ps, scale = jax.jit(discriminate, static_argnums=(4, 5))(*wide, y, KEY, 2, spec)
  gained = lambda rows: [np.log(2) - float(batch_nets.cross_entropy(p[rows], y[rows]).mean())
                         for p in log_ps]
  assert max(gained(cuts.test)) < 0.005
  assert float(scale.max()) < 0.3, 'calibration does not believe what does not generalise'
  null = misled()[1:]
  assert float(null.max()) < 0.01 and float(null.mean()) < 0


def test_versions_permute_labels_within_each_part():
  _, _, y, cuts = prepared()
  labels = np.asarray(_versions(KEY, y, 3, cuts))
  np.testing.assert_array_equal(labels[0], y)
  for part in cuts:
    for row in labels[1:]:
      np.testing.assert_array_equal(np.sort(row[part]), np.sort(y[part]))
      assert 0.3 < (row[part] == np.asarray(y[part])).mean() < 0.7


@pytest.mark.parametrize('n', [160, 1999, 5000])
def test_parts_of_the_rows_are_whole_minibatches(n):
  train, stop, test = Cuts.of(n, SPEC)
  assert train.start == 0 and train.stop == stop.start and stop.stop == test.start
  assert test.stop == n and 0 < test.stop - test.start == stop.stop - stop.start <= n / 5
  assert (test.stop - test.start) % SPEC.pairs == 0


def test_versions_trained_side_by_side_are_those_trained_alone():
  x1, x2, y, cuts = prepared('mixed')
  spec = dataclasses.replace(SPEC, steps=10, coupling_steps=10)  # rounding grows with the steps
  labels = _versions(KEY, y, 2, cuts)
  together = _runs(x1, x2, labels, KEY, 2, spec)
  alone = jax.jit(functools.partial(run, n_classes=2, spec=spec))
  for k in (0, 2):
    one = alone(x1, x2, labels[k], KEY)
    for name in ('scores', 'of_q', 'log_p1', 'scale'):
      # a score divides by the marginals of rare labels, in float32
      close = 2e-4 if name == 'scores' else 1e-5
      np.testing.assert_allclose(getattr(together, name)[k], getattr(one, name), atol=close)


# -- groups ----------------------------------------------------------------------------------------


def copies(seed: int = 0):
  """x1 [2032, 2], x2 [2032, 3], y [2032] and 127 groups of 16 samples that are nearly the same: so
  many that the parts of whole groups are as long as those of 2,000 samples."""
  g = np.random.default_rng(seed)
  who = np.repeat(np.arange(127), 16)
  near = lambda d: g.normal(size=(127, d))[who] + 0.02 * g.normal(size=(len(who), d))
  return near(2), near(3), g.integers(0, 2, 127)[who], who


def test_near_copies_tell_nothing_where_their_groups_are_told():
  x1, x2, y, who = copies()
  told = batch(x1, x2, y, key=KEY, spec=SPEC, null=19, groups=who)
  assert told.n == N and float(told.mi_joint) < 0.02
  assert all(float(atom.p_value) > 0.05 and atom.null.shape == (19,)
             for atom in told.atoms.values())
  taken = batch(x1[:N], x2[:N], y[:N], key=KEY, spec=SPEC, null=19)
  assert float(taken.mi_joint) > 0.1
  assert min(float(atom.p_value) for atom in taken.atoms.values()) == pytest.approx(1 / 20)


def test_groups_are_whole_in_the_split_and_in_the_null():
  _, _, y, who = copies()
  rows, labels = parted(y, who, 5, SPEC, np.random.default_rng(0))
  cuts = Cuts.of(len(rows), SPEC)
  parts = [set(who[rows[part]]) for part in cuts]
  assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
  assert len(set(rows)) == len(rows) == N and labels.shape == (6, N)
  np.testing.assert_array_equal(labels[0], y[rows])
  assert all(len(np.unique(labels[:, who[rows] == k], axis=1).T) == 1 for k in set(who[rows]))
  assert 0.3 < (labels[1:] == labels[0]).mean() < 0.7


def test_groups_whose_labels_vary_exchange_them_in_their_order():
  size = np.repeat([8, 16], 60)
  who = np.repeat(np.arange(120), size)
  place = np.concatenate([np.arange(k) for k in size])
  y = 16 * who + place  # which sample of which group
  spec = dataclasses.replace(SPEC, pairs=16, batch_size=32, check_size=16)
  rows, labels = parted(y, who, 3, spec, np.random.default_rng(0))
  at, (own, *others) = np.split(np.arange(len(rows)), [cut.start for cut in Cuts.of(
      len(rows), spec)][1:]), labels
  np.testing.assert_array_equal(own, y[rows])
  for other in others:
    np.testing.assert_array_equal(other % 16, own % 16)  # a sample gets another's of its place
    pairs = set(zip(own // 16, other // 16))
    assert len(pairs) == len(set(own // 16))             # all of a group come from one other
    for part in at:
      assert not set(other[part] // 16) & (set(own // 16) - set(own[part] // 16))


def test_errors_are_of_whole_groups():
  rows = jnp.asarray(np.random.default_rng(0).normal(size=(3, 12)), jnp.float32)
  four = np.repeat(rows, 4, axis=1)
  assert float(_atom(four, np.repeat(np.arange(12), 4)).error) == pytest.approx(
      float(_atom(rows).error), rel=1e-6)


@pytest.mark.parametrize('groups, message', [
    (np.arange(2032) % 2, 'groups: 0 of 2 are among samples to train'),
    (np.arange(2032) % 7, 'groups: 1 of 7 are among samples to'),
    (np.zeros(2032, int), 'groups has one group only'),
    (np.arange(9), r'groups has shape \(9,\), and there are n=2032'),
    (np.maximum(np.arange(2032) - 1000, 0) // 30, 'samples are left in parts of whole groups')])
def test_groups_that_do_not_fit_are_named(groups, message):
  x1, x2, y, _ = copies()
  y = np.arange(2032) % 2
  with pytest.raises(ValueError, match=message):
    batch(x1, x2, y, key=KEY, spec=dataclasses.replace(SPEC, batch_size=600), groups=groups)


def test_long_integers_keep_their_differences_and_constants_are_none():
  x = np.stack([2**62 + np.arange(N) % 2, np.full(N, 2**62)], axis=1)
  made = np.asarray(_standardised(x, Cuts.of(N, SPEC)))
  np.testing.assert_allclose(np.unique(made[:, 0]), [-1, 1])
  assert not made[:, 1].any()
  assert not np.asarray(_standardised(np.full((N, 1), 0.1), Cuts.of(N, SPEC))).any()


# -- the coupling ----------------------------------------------------------------------------------


@pytest.mark.parametrize('size', [1.0, 30.0])
@pytest.mark.parametrize('sweeps', [1, 10])
def test_the_marginals_of_q_are_exact(sweeps, size):
  m1, m2 = coupling.marginals(*posteriors(0))
  log_a = size * jax.random.normal(KEY, (3, 32, 32))
  q = np.asarray(coupling.couple(log_a, m1, m2, sweeps))
  assert (q >= 0).all()
  np.testing.assert_allclose(q.sum(axis=1), m1, atol=2e-8)
  np.testing.assert_allclose(q.sum(axis=0), m2, atol=2e-8)


def test_class_totals_are_made_equal():
  half, most = jnp.log(jnp.array([[0.5, 0.5]] * 2)), jnp.log(jnp.array([[0.8, 0.2], [0.6, 0.4]]))
  m1, m2 = coupling.marginals(half, most)  # totals (.5, .5) and (.7, .3): both (.6, .4)
  np.testing.assert_allclose(m1, [[0.3, 0.2]] * 2, atol=1e-6)
  np.testing.assert_allclose(m2, [[0.8 / 2 * 6 / 7, 0.1 * 4 / 3], [0.3 * 6 / 7, 0.2 * 4 / 3]],
                             atol=1e-6)


def test_no_net_is_better_than_the_exact_optimum():
  with jax.enable_x64(True):
    sides = [jnp.asarray(p, jnp.float64) for p in posteriors(1)]
    pair = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), nets(0))
    neural, exact = jax.jit(functools.partial(
        coupling.against_exact, size=16, sweeps=10))(pair, *sides)
    couple = jax.jit(functools.partial(coupling.coupled, sweeps=10))
    tables = [couple(pair, *(side[rows] for side in sides)) for rows in (slice(16), slice(16, 32))]
  assert neural.shape == exact.shape == (2,) and (neural > exact).all()
  for value, q in zip(exact, tables):
    by_broja = broja(np.asarray(q))
    least = by_broja.mi_1 + by_broja.mi_2 - by_broja.redundancy
    assert float(value) == pytest.approx(float(least), abs=1e-7)


def test_a_score_without_a_second_source_is_the_log_score_of_the_first():
  log_p1, _ = posteriors(2)
  log_p2 = jnp.broadcast_to(jnp.log(jnp.exp(log_p1).mean(axis=0, keepdims=True)), log_p1.shape)
  flat = jax.tree.map(jnp.zeros_like, nets(0))  # then q(y|x1,x2) = p(y|x1), the optimum
  y = jax.random.randint(KEY, (32,), 0, 3)
  score = scored(flat, log_p1, log_p2, y, 10)
  np.testing.assert_allclose(score, -batch_nets.cross_entropy(log_p1, y), atol=1e-4)


def test_a_score_by_labels_is_that_of_the_exact_multipliers():
  sides = posteriors(3)
  loss = lambda pairs, _: informed(pairs[0], *sides, 10)
  trained = jax.jit(lambda pair: batch_nets.fit(
      loss, lambda pairs: (loss(pairs, 0),), (pair,), steps=400, checks=10, learning_rate=1e-2,
      weight_decay=0.0)[0])(nets(1))
  y = jax.random.categorical(KEY, sides[0])
  m1, m2 = coupling.marginals(*sides)
  score = scored(trained, *sides, y, 10)
  with jax.enable_x64(True):
    m1, m2 = (np.asarray(m, np.float64) for m in (m1, m2))
    product = jnp.asarray(m1[:, None] * m2[None] / m1.sum(axis=0))
    best = jax.jit(solver.solve)(product, 1e-9)
    exact = np.asarray(best.a + best.b)[np.arange(32), y]
  assert float(score.mean()) == pytest.approx(float(exact.mean()), abs=0.02)
  assert np.corrcoef(score, exact)[0, 1] > 0.98


@pytest.mark.parametrize('size', [1.0, 100.0])
def test_gradients_are_finite_for_sharp_kernels_and_certain_labels(size):
  certain = jnp.where(jnp.eye(3)[jnp.arange(32) % 3] > 0, 0.0, -16.0)
  pair = jax.tree.map(lambda leaf: size * leaf, nets(2))
  for sides in ((certain, certain), (posteriors(4)[0], certain), posteriors(4)):
    for leaf in jax.tree.leaves(slope(pair, *sides, 10)):
      assert np.isfinite(leaf).all()
    assert np.isfinite(scored(pair, *sides, jnp.arange(32) % 3, 10)).all()


def test_the_information_of_no_numbers_is_none():
  assert np.isnan(coupling.information(jnp.full((2, 2, 2), jnp.nan)))


# -- nets ------------------------------------------------------------------------------------------


def test_a_net_equals_its_forward_pass_in_numpy():
  layers = batch_nets.init(KEY, (4, 5, 3))
  x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
  (w1, b1), (w2, b2) = (tuple(map(np.asarray, layer)) for layer in layers)
  hidden = x @ w1.T + b1
  expected = np.where(hidden > 0, hidden, 0.1 * hidden) @ w2.T + b2
  np.testing.assert_allclose(batch_nets.apply(layers, x), expected, atol=1e-5)
  assert (np.abs(w1) <= 0.5).all() and (np.abs(w2) <= 5**-0.5).all() and w1.std() > 0.2
  assert not np.any(batch_nets.init(KEY, (4, 5, 3), last=0.0)[-1][0])


def test_an_epoch_has_every_row_once():
  rows = np.concatenate([batch_nets.minibatch(KEY, step, 10, 30) for step in jnp.arange(3)])
  np.testing.assert_array_equal(np.sort(rows), np.arange(30))
  assert (rows != np.concatenate(
      [batch_nets.minibatch(KEY, step, 10, 30) for step in jnp.arange(3, 6)])).any()


def test_fit_keeps_the_best_of_each_part_and_never_nan():
  loss = lambda parts, step: parts[0]**2 + parts[1] + jnp.where(step > 50, jnp.nan, 0)
  validate = lambda parts: ((parts[0] - 0.5)**2, (parts[1] - 2.0)**2)
  start = (jnp.float32(1.0), jnp.float32(1.0))
  one, two = batch_nets.fit(loss, validate, start, steps=100, checks=100, learning_rate=0.05,
                            weight_decay=0.0)
  assert float(one) == pytest.approx(0.5, abs=0.05)  # passed on the way to 0
  assert float(two) == 1.0                           # its start, since it only moved away


def test_calibration_finds_the_scale_and_gives_up_on_what_is_useless():
  g = np.random.default_rng(0)
  prior = jnp.array([0.2, 0.3, 0.5])
  gain = jnp.asarray(g.normal(size=(20_000, 3)), jnp.float32)
  y = jax.random.categorical(KEY, batch_nets.log_posterior(prior, 0.5, gain))
  assert float(batch_nets.calibrated(prior, gain, y)) == pytest.approx(0.5, abs=0.05)
  assert float(batch_nets.calibrated(prior, -gain, y)) == 0
  assert float(batch_nets.calibrated(prior, 0 * gain, y)) == 0
  sure = jnp.asarray(20 * np.eye(3)[np.asarray(y)], jnp.float32)
  assert float(batch_nets.calibrated(prior, sure, y)) <= batch_nets.STEEPEST


# -- what is refused -------------------------------------------------------------------------------


def bad(**changes):
  """Arguments [300, 2], [300, 3], [300] of two classes, with changes."""
  g = np.random.default_rng(0)
  given = {'x1': g.normal(size=(300, 2)), 'x2': g.normal(size=(300, 3)), 'y': np.arange(300) % 2}
  return {name: changes[name](value) if name in changes else value
          for name, value in given.items()}


@pytest.mark.parametrize('changes, message', [
    ({'x1': lambda x: x[:299]}, 'x1 has 299 samples and y has 300'),
    ({'x2': lambda x: x[:10]}, 'x2 has 10 samples'),
    ({'x1': lambda x: x[:, 0]}, r'x1 has shape \(300,\)'),
    ({'y': lambda y: y[:, None]}, r'y has shape \(300, 1\)'),
    ({'x2': lambda x: np.where(x > 2, np.nan, x)}, 'x2 has [0-9]+ entries that are not finite'),
    ({'x1': lambda x: x.astype(str)}, 'x1 .*type <U'),
    ({'x1': lambda x: x[:, :0]}, r'x1 has shape \(300, 0\)'),
    ({'y': lambda y: y / 2}, 'y has type float64'),
    ({'y': lambda y: 0 * y}, r'y has labels 0\.\.0'),
    ({'y': lambda y: y - 1}, r'y has labels -1\.\.0'),
    ({'y': lambda y: 2 * y}, 'y: class 1 is not among the 192 training rows of 300')])
def test_data_that_do_not_fit_are_named(changes, message):
  with pytest.raises(ValueError, match=message):
    batch(**bad(**changes), key=KEY, spec=dataclasses.replace(SPEC, pairs=18, check_size=8))


def test_too_few_samples_say_how_many_are_needed():
  assert SPEC.needed() == 214 and BatchSpec().needed() == 427
  with pytest.raises(ValueError, match='n=300 samples are too few.*need n=427'):
    batch(**bad(), key=KEY)


def test_the_null_has_a_member():
  with pytest.raises(ValueError, match='null=0'):
    batch(**bad(), key=KEY, spec=SPEC, null=0)


@pytest.mark.parametrize('settings, message', [
    ({'width': 0}, 'width=0'), ({'steps': 1.5}, 'steps=1.5'),
    ({'learning_rate': -1.0}, 'learning_rate=-1.0'),
    ({'weight_decay': float('nan')}, 'decay=nan'), ({'check_size': 65}, 'check_size=65.*pairs=64'),
    ({'checks': 601}, 'checks=601.*steps=600')])
def test_settings_that_do_not_fit_are_named(settings, message):
  with pytest.raises(ValueError, match=message):
    BatchSpec(**settings)


def test_settings_are_static():
  assert hash(BatchSpec()) == hash(BatchSpec()) and BatchSpec(width=8) != BatchSpec()
