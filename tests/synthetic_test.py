"""Generators against published digits, against enumeration of all states, and against samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mmalign_jax import named
from mmalign_jax.generators import exact, synthetic
from mmalign_jax.types import Hyper, Spec

LN2 = np.log(2)
# I(X1;Y), I(X2;Y) in nats and the Bayes accuracies of X1 and X2, by redundancy (golden.md)
GOLDEN = [
    (.36687, .47334, .5412, .5952), (.36687, .61882, .5412, .6467), (.49350, .60760, .5787, .6512),
    (.49350, .77167, .5787, .7367), (.71508, .73337, .6663, .7083), (.71508, .88669, .6663, .7446),
    (.97171, .88055, .7994, .7363), (.97171, 1.15884, .7994, .9063),
    (1.15884, 1.15884, .9063, .9063)]
MI = ('mi_1', 'mi_2', 'mi_joint')
MOST = 56  # settings of a call
ATOMS = ('redundancy', 'unique_1', 'unique_2', 'synergy')


@functools.lru_cache
def tables(generator: str = 'bits', **settings):
  return synthetic.GENERATORS[generator].tables(Spec(generator=generator, **settings))


@functools.lru_cache
def informer(generator: str):
  """(stacked Hyper) -> Information [R], compiled."""
  known = functools.partial(exact.information, synthetic.GENERATORS[generator], tables(generator))
  return jax.jit(jax.vmap(known))


def information(generator: str = 'bits', **values) -> exact.Information:
  """Exact quantities [R] of settings [R] (scalars are repeated), as numpy arrays."""
  n = max(np.size(v) for v in values.values())
  values = {name: np.resize(v, MOST) for name, v in values.items()}  # one compilation for all
  values = {**named.traced(Hyper()), **values}
  stacked = {k: jnp.asarray(np.broadcast_to(v, MOST), jnp.float32) for k, v in values.items()}
  hypers = named.hyper(**stacked)
  return jax.tree.map(lambda v: np.asarray(v)[:n], informer(generator)(hypers))


# -- published digits ------------------------------------------------------------------------------


def test_information_and_bayes_accuracy_have_the_published_digits():
  found = information(redundancy=np.arange(9))
  got = np.stack([found.mi_1, found.mi_2, found.bayes_accuracy_1, found.bayes_accuracy_2], axis=1)
  np.testing.assert_allclose(got, GOLDEN, atol=1e-4)
  np.testing.assert_allclose(got[:, :2], np.array(GOLDEN)[:, :2], atol=1e-5)
  np.testing.assert_allclose(found.mi_joint, [1.15884] * 9, atol=1e-5)
  np.testing.assert_allclose(found.bayes_accuracy, [.9063] * 9, atol=1e-4)
  np.testing.assert_allclose(found.mi_1_2, [8 * LN2] * 9, atol=1e-4)


def test_task_bits_are_counted_by_who_sees_them():
  found = information(redundancy=np.arange(9))
  np.testing.assert_array_equal(found.shared, np.arange(9))
  np.testing.assert_array_equal(found.unique_1, (8 - np.arange(9)) // 2)
  np.testing.assert_array_equal(found.shared + found.unique_1 + found.unique_2, [8] * 9)


def test_harder_levels_have_less_information():
  found = information(level=np.arange(10))
  for name in (*MI, 'bayes_accuracy'):
    values = getattr(found, name)
    assert np.isfinite(values).all() and (np.diff(values) < 0).all(), name
  labels = np.asarray(tables().labels)
  assert np.isfinite(labels).all()
  np.testing.assert_allclose(labels.sum(-1), np.ones((10, 256)), atol=1e-6)
  assert np.abs(labels.mean(1) - 0.25).max() <= 0.01 + 1e-6


# -- enumeration -----------------------------------------------------------------------------------


def bits_labels_64(redundancy: int) -> np.ndarray:
  """p(y | shared, private_1, private_2) [256, 16, 16, 4], from the published definition."""
  rng = np.random.RandomState(1)
  n_1 = (8 - redundancy) // 2
  counts = ((8, redundancy), (4, n_1), (4, 8 - redundancy - n_1))
  chosen = [rng.choice(width, count, replace=False) for width, count in counts]
  weights = np.random.RandomState(2).uniform(0, 1, (8, 4))
  weights /= np.sqrt((weights**2).sum(1, keepdims=True))
  logits, start = np.zeros((256, 16, 16, 4)), 0
  for axis, bits in enumerate(chosen):
    for bit in bits:
      on = (np.arange((256, 16, 16)[axis]) >> bit) & 1
      shape = [1, 1, 1, 1]
      shape[axis] = -1
      logits = logits + on.reshape(shape) * weights[start]
      start += 1
  p = special.softmax(logits / 0.05, axis=-1)
  while np.abs(p.mean((0, 1, 2)) - 0.25).max() > 0.01:
    p = p * (0.25 / p.mean((0, 1, 2)))
    p /= p.sum(-1, keepdims=True)
  return p


def enumerated(labels: np.ndarray, flipped: float, mismatched: float) -> dict[str, float]:
  """Everything from p(x1, x2, y), summed over all 2^24 pairs of inputs, one shared value a time."""
  entropy = lambda p: special.entr(p).sum()
  distance = np.array([bin(h).count('1') for h in range(256)])
  noise = flipped**distance * (1 - flipped)**(8 - distance)  # by XOR of the shared bits
  classes = labels.shape[-1]
  p_1y, p_2y = np.zeros((256, 16, classes)), np.zeros((256, 16, classes))
  h_12y = h_12 = best = 0.
  for s in range(256):
    genuine = (noise[s ^ np.arange(256)][None, :, None, None] / 16
               * labels[s][:, None])                         # [u1, s2, u2, y]
    stranger = np.broadcast_to(labels[s].mean(1)[:, None, None] / 4096, genuine.shape)
    p = ((1 - mismatched) * genuine + mismatched * stranger) / 4096
    p_1y[s] = p.sum((1, 2))
    p_2y += p.sum(0)
    h_12y += entropy(p)
    h_12 += entropy(p.sum(-1))
    best += p.max(-1).sum()
  h_y, h_1, h_2 = entropy(p_1y.sum((0, 1))), entropy(p_1y.sum(-1)), entropy(p_2y.sum(-1))
  return {
      'mi_1': h_1 + h_y - entropy(p_1y), 'mi_2': h_2 + h_y - entropy(p_2y),
      'mi_joint': h_12 + h_y - h_12y, 'mi_1_2': h_1 + h_2 - h_12,
      'bayes_accuracy_1': p_1y.max(-1).sum(), 'bayes_accuracy_2': p_2y.max(-1).sum(),
      'bayes_accuracy': best}


def test_noisy_bits_equal_an_enumeration_of_all_states():
  found = information(redundancy=5, flipped=0.15, mismatched=0.2)
  for name, value in enumerated(bits_labels_64(5), 0.15, 0.2).items():
    np.testing.assert_allclose(getattr(found, name)[0], value, atol=2e-5, err_msg=name)


def test_corruption_takes_information_from_side_2_only():
  for name in ('flipped', 'mismatched'):
    found = information(redundancy=4, **{name: np.array([0, .1, .3, .5])})
    np.testing.assert_allclose(found.mi_1, [found.mi_1[0]] * 4, atol=1e-5)
    assert (np.diff(found.mi_2) < 0).all() and (np.diff(found.mi_1_2) < 0).all()


def test_fully_mismatched_pairs_share_nothing():
  found = information(redundancy=4, mismatched=1.0)
  np.testing.assert_allclose([found.mi_2[0], found.mi_1_2[0]], [0, 0], atol=1e-5)
  np.testing.assert_allclose(found.mi_joint, found.mi_1, atol=1e-5)
  np.testing.assert_allclose(found.bayes_accuracy_2, [.25], atol=0.01)


def test_shared_bits_that_are_all_flipped_still_tell_everything():
  found = information(redundancy=4, flipped=np.array([0.0, 1.0]))
  for name in (*MI, 'mi_1_2', 'bayes_accuracy_2'):
    np.testing.assert_allclose(*getattr(found, name), atol=1e-5)


# -- atoms -----------------------------------------------------------------------------------------


def test_atoms_are_the_information_that_was_asked_for():
  edges = np.array(np.meshgrid(*[[0, LN2]] * 4)).reshape(4, -1)
  inside = np.random.default_rng(0).uniform(0, LN2, (4, 30))
  near = np.random.default_rng(1).choice([1e-6, 1e-3, LN2 - 1e-3, LN2 - 1e-5], (4, 10))
  values = np.concatenate([edges, inside, near], axis=1)
  found = information('atoms', **dict(zip(ATOMS, values, strict=True)))
  r, u1, u2, _ = values
  np.testing.assert_allclose(found.mi_1, r + u1, atol=1e-4)
  np.testing.assert_allclose(found.mi_2, r + u2, atol=1e-4)
  np.testing.assert_allclose(found.mi_joint, values.sum(0), atol=1e-4)


def test_flipped_shared_bits_add_their_noise_to_the_redundant_atom():
  flip, flipped = 0.05, 0.1
  kept = lambda e: LN2 - special.entr(e) - special.entr(1 - e)
  found = information('atoms', redundancy=kept(flip), unique_1=.3, unique_2=.2, synergy=.4,
                      flipped=flipped)
  both = flip * (1 - flipped) + flipped * (1 - flip)
  np.testing.assert_allclose(found.mi_1, [kept(flip) + .3], atol=1e-5)
  np.testing.assert_allclose(found.mi_2, [kept(both) + .2], atol=1e-5)
  np.testing.assert_allclose(found.mi_joint, [kept(flip) + .9], atol=1e-5)
  np.testing.assert_allclose(found.mi_1_2, [8 * kept(flipped)], atol=1e-5)


def test_flip_probability_inverts_the_information_of_a_noisy_bit():
  flip = np.concatenate([np.linspace(0.001, 0.499, 99), [0.0, 0.5]])
  nats = LN2 - special.entr(flip) - special.entr(1 - flip)
  got = np.asarray(synthetic.flip_probability(jnp.float32(nats)), np.float64)
  np.testing.assert_allclose(LN2 - special.entr(got) - special.entr(1 - got), nats, atol=1e-6)
  np.testing.assert_allclose(got, flip, atol=1e-3)
  assert got[-2] == 0 and got[-1] == 0.5


# -- samples ---------------------------------------------------------------------------------------

KNOBS = {'clean': {'flipped': 0.0, 'mismatched': 0.0},
         'noisy': {'flipped': 0.15, 'mismatched': 0.2}}
N = 400_000


@functools.lru_cache
def sampled(generator: str, knobs: str):
  """(hyper, N draws) of one setting."""
  atoms = dict(zip(ATOMS, (.5, .3, .2, .4), strict=True))
  hyper = Hyper(**({'redundancy': 4} if generator == 'bits' else atoms), **KNOBS[knobs])
  draw = jax.jit(functools.partial(synthetic.draw, synthetic.GENERATORS[generator], n=N))
  return hyper, jax.tree.map(np.asarray, draw(tables(generator), hyper, key=jax.random.key(0)))


@functools.lru_cache
def judged(generator: str, side: int):
  """(hyper) -> Test of one side, compiled."""
  arguments = synthetic.GENERATORS[generator], tables(generator)
  return jax.jit(lambda hyper: exact.test_set(*arguments, hyper, side))


def assert_counts(observed, expected, at_least: float = 5.):
  """Pearson's chi-square over cells expected often enough lies within 5 deviations."""
  observed, expected = np.ravel(observed), np.ravel(expected)
  often = expected >= at_least
  statistic = ((observed - expected)[often]**2 / expected[often]).sum()
  degrees = often.sum()
  assert degrees > 0 and abs(statistic - degrees) < 5 * np.sqrt(2 * degrees), statistic / degrees
  assert observed[expected == 0].sum() == 0


@pytest.mark.parametrize('knobs', KNOBS)
@pytest.mark.parametrize('generator', sorted(synthetic.GENERATORS))
class TestSamples:

  @pytest.mark.parametrize('side', [1, 2])
  def test_labels_follow_the_exact_posterior_of_a_side(self, generator, knobs, side):
    hyper, draws = sampled(generator, knobs)
    target = np.asarray(judged(generator, side)(hyper).target, np.float64)
    np.testing.assert_allclose(target.sum(1), np.ones(4096), atol=1e-5)
    row = draws.rows[side - 1]
    observed = np.bincount(row * target.shape[1] + draws.y, minlength=target.size)
    assert_counts(observed, N / 4096 * target)

  def test_rows_are_uniform(self, generator, knobs):
    _, draws = sampled(generator, knobs)
    for row in draws.rows:
      assert_counts(np.bincount(row, minlength=4096), np.full(4096, N / 4096))

  def test_shared_bits_differ_as_often_as_they_should(self, generator, knobs):
    hyper, draws = sampled(generator, knobs)
    differ = (draws.rows[0] ^ draws.rows[1]) & 0xFF
    distance = np.array([bin(h).count('1') for h in range(256)])
    genuine = float(hyper.flipped)**distance * (1 - float(hyper.flipped))**(8 - distance)
    expected = (1 - hyper.mismatched) * genuine + hyper.mismatched / 256
    assert_counts(np.bincount(differ, minlength=256), N * expected)

  def test_keys_decide_the_draw(self, generator, knobs):
    hyper, _ = sampled(generator, knobs)
    draw = jax.jit(lambda key: synthetic.draw(
        synthetic.GENERATORS[generator], tables(generator), hyper, key, 50).rows[0])
    rows = [draw(jax.random.key(seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (np.asarray(rows[0]) != np.asarray(rows[2])).any()


def test_labels_of_clean_pairs_follow_both_sides():
  _, draws = sampled('bits', 'clean')
  s, u1, u2 = draws.rows[0] & 0xFF, draws.rows[0] >> 8, draws.rows[1] >> 8
  labels = bits_labels_64(4)
  observed = np.bincount(((s * 16 + u1) * 16 + u2) * 4 + draws.y, minlength=labels.size)
  assert_counts(observed, N / 65536 * labels, at_least=2)


# -- transformed inputs ----------------------------------------------------------------------------


def test_depth_zero_is_the_bits_themselves():
  plain = ((np.arange(4096)[:, None] >> np.arange(12)) & 1) * 2 - 1
  np.testing.assert_array_equal(tables().x1[0], plain)
  np.testing.assert_array_equal(tables().x2[0], plain)


@pytest.mark.parametrize('side', [1, 2])
def test_transformed_inputs_are_standardised_and_all_distinct(side):
  x = np.asarray(getattr(tables(transform='both'), f'x{side}'))
  assert x.shape == (11, 4096, 12)
  np.testing.assert_allclose(x.mean(1), np.zeros((11, 12)), atol=1e-5)
  np.testing.assert_allclose(x.std(1), np.ones((11, 12)), atol=1e-5)
  for depth in range(11):
    assert len(np.unique(x[depth], axis=0)) == 4096, depth


def test_transform_of_one_side_leaves_side_1_alone():
  x1 = np.asarray(tables().x1)
  np.testing.assert_array_equal(x1, np.broadcast_to(x1[:1], x1.shape))
  x2, both = np.asarray(tables().x2), tables(transform='both')
  assert (np.abs(np.diff(x2, axis=0)).max((1, 2)) > 0.1).all()
  np.testing.assert_array_equal(both.x2, x2)
  assert (np.abs(np.asarray(both.x1)[1:] - x2[1:]).max((1, 2)) > 0.1).all()


def test_transform_seed_decides_the_networks():
  other = synthetic.bits_tables(Spec(transform_seed=1)).x2
  differ = np.abs(np.asarray(other - tables().x2)).max((1, 2)) > 0.1
  assert differ.tolist() == [False] + [True] * 10


def test_every_knob_may_be_traced():
  found = information(redundancy=np.array([1, 6]), level=np.array([2, 9]),
                      mismatched=np.array([0, .4]), transform_depth=np.array([0, 7]))
  for i, (r, level, mismatched) in enumerate(((1, 2, 0.0), (6, 9, 0.4))):
    alone = information(redundancy=r, level=level, mismatched=mismatched)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
      np.testing.assert_allclose(a[i], b[0], atol=1e-5)
  rows = jnp.arange(20)
  x2 = jax.vmap(lambda depth: synthetic.inputs(
      tables(), Hyper(transform_depth=depth), (rows, rows))[1])(jnp.array([0., 3., 10.]))
  np.testing.assert_array_equal(x2, tables().x2[np.array([0, 3, 10]), :20])


@pytest.mark.parametrize('side', [1, 2])
def test_every_input_is_judged_with_its_own_row(side):
  hyper = Hyper(redundancy=3, transform_depth=2)
  found = judged('bits', side)(hyper)
  np.testing.assert_array_equal(found.x, getattr(tables(), f'x{side}')[2])
  labels = bits_labels_64(3)
  expected = labels.mean(3 - side).transpose(1, 0, 2).reshape(4096, 4)  # private * 256 + shared
  np.testing.assert_allclose(found.target, expected, atol=1e-5)
