"""Any number of sides: the objective of three and of one, strengths of pairs, settings by name."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import losses, named, objective
from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.types import Batch, Hyper, OwnSide, Spec

B, CLASSES, SHAPES = 7, 3, (4, 5, 6)
SPEC = Spec(depth=1, width=5, projection_width=4)
FAST = {'xla_backend_optimization_level': 0}
sg = jax.lax.stop_gradient


def batch_of(shapes) -> Batch:
  g = np.random.default_rng(0)
  return Batch(tuple(jnp.asarray(g.normal(size=(B, d)), jnp.float32) for d in shapes),
               jnp.asarray(g.integers(0, CLASSES, B)))


@functools.cache
def params_of(shapes):
  return jax.jit(lambda key: objective.init(key, Hyper(), *shapes, spec=SPEC, n_outputs=CLASSES))(
      jax.random.key(0))


def value_and_grad(function, params):
  return jax.jit(jax.value_and_grad(function), compiler_options=FAST)(params)


def by_hand(params, batch, felt):
  """Sum of task losses, and the mean over pairs of felt[i, j] of what i learns of j: gradients only
  where they belong, the value with the mean of both."""
  outs = [module.apply(params[f'side_{i + 1}'], x) for i, (module, x) in enumerate(
      zip(objective.modules(SPEC, CLASSES, len(batch.x)), batch.x))]
  total = sum(losses.cross_entropy(out.prediction, batch.y).mean() for out in outs)
  pairs = list(itertools.combinations(range(len(outs)), 2))
  nce = lambda a, b: losses.info_nce(a, b, temperature=0.1).mean()
  for i, j in pairs:
    one, two = felt[i, j], felt[j, i]
    both = one * nce(outs[i].z, sg(outs[j].z)) + two * nce(sg(outs[i].z), outs[j].z)
    value = (one + two) / 2 * nce(sg(outs[i].z), sg(outs[j].z))
    total += (both - sg(both) + value) / len(pairs)
  return total


@pytest.mark.parametrize('own, felt', [
    ({}, {}), (dict(lam_2=2.0), {(1, 0): 2.0, (1, 2): 2.0}),
    (dict(lam_1_3=0.0, lam_3=3.0), {(0, 2): 0.0, (2, 0): 0.0, (2, 1): 3.0})])
def test_three_sides_are_their_pairs(own, felt):
  params, batch = params_of(SHAPES), batch_of(SHAPES)
  hyper = named.hyper(lam=0.7, **own)
  every = {pair: felt.get(pair, 0.7) for pair in itertools.permutations(range(3), 2)}
  loss = lambda p: objective.objective(
      p, hyper, batch, jnp.float32(0.5), spec=SPEC, n_outputs=CLASSES)[0]
  got, grads = value_and_grad(loss, params)
  want, expected = value_and_grad(functools.partial(by_hand, batch=batch, felt=every), params)
  np.testing.assert_allclose(got, want, rtol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), grads, expected)


def test_one_side_has_nothing_to_be_aligned_with():
  params, batch = params_of(SHAPES[:1]), batch_of(SHAPES[:1])
  loss, metrics = jax.jit(lambda p: objective.objective(
      p, Hyper(lam=5.0), batch, jnp.float32(0), spec=SPEC, n_outputs=CLASSES))(params)
  assert metrics.align == 0 and len(metrics.task) == 1
  np.testing.assert_allclose(loss, metrics.task[0], rtol=1e-7)


# -- settings by name ------------------------------------------------------------------------------


def test_a_spec_by_name_and_back():
  spec = named.spec(depth=2, encoder_3='gru', width_1=6)
  assert spec.sides == (OwnSide(width=6), OwnSide(), OwnSide('gru'))
  assert spec.of_side(3).encoder == 'gru' and spec.of_side(2) == Spec(depth=2)
  assert spec.of_side(4) == Spec(depth=2)  # of which nothing was said
  assert named.spec(**named.static(spec, 3)) == spec
  assert named.spec(encoder_1='', depth_2=0) == Spec()
  assert set(named.static(spec, 3)) == set(named.static_fields(3))


def test_a_hyper_by_name_and_back():
  hyper = named.hyper(lam=1.0, lam_2=0.5, lam_1_2=0.1, loss_bias=-3.0, lam_1=None)
  assert hyper.own == {'lam_2': 0.5, 'lam_1_2': 0.1, 'loss_bias': -3.0}
  assert named.hyper(**named.traced(hyper)) == hyper
  assert objective.strength(hyper, 2) == 0.5 and objective.strength(hyper, 2, 1) == 0.1
  assert objective.strength(hyper, 1, 3) == 1.0
  for name in ('lam_0', 'lam_x', 'own_strength', 'redundance'):
    with pytest.raises(TypeError, match=name):
      named.hyper(**{name: 1.0})
  assert named.strengths(2) == ('lam', 'lam_1', 'lam_2')
  assert named.strengths(3)[4:] == ('lam_1_2', 'lam_1_3', 'lam_2_3')


def test_what_is_there_of_every_encoder_has_a_dimension_of_its_own():
  of = lambda *dims: (dims, np.arange(2.0 if len(dims) == 1 else 4.0).reshape((2,) * len(dims)))
  found = with_encoders(xr.Dataset({
      'accuracy_1': of('lam'), 'accuracy_2': of('lam'), 'cka': of('lam'), 'recall_12': of('lam'),
      'validation_1': of('lam', 'epoch_1'), 'validation_2': of('lam', 'epoch_2'),
      'only_1': of('lam')}))
  assert found['accuracy'].dims == ('encoder', 'lam') and found['encoder'].values.tolist() == [1, 2]
  for i in (1, 2):
    np.testing.assert_array_equal(found['accuracy'].sel(encoder=i), found[f'accuracy_{i}'])
  assert not {'validation', 'only', 'recall', 'cka_1'} & set(found)


# -- what a loss may ask for -----------------------------------------------------------------------


def decorrelation(outputs, batch, *, temperature, axis_name=None, weight: float = 2.0,
                  power: float = 1.0):
  """A loss that asks for everything: hidden layers, both embeddings, predictions, labels."""
  every = lambda v: v if axis_name is None else jax.lax.all_gather(v, axis_name, tiled=True)
  y = every(batch.y)
  same = (y[:, None] == y[None]).astype(jnp.float32)
  valid = jnp.ones(len(y)) if batch.valid is None else every(batch.valid).astype(jnp.float32)
  pairs = valid[:, None] * valid[None]
  total = 0.0
  for out in outputs:
    z, raw, h = every(out.z), every(out.raw), every(out.layers[-1])
    p = jax.nn.softmax(every(out.prediction))
    total += jnp.sum(pairs * (same - z @ z.T / temperature) ** 2) / pairs.sum()
    total += weight * jnp.sum(pairs * jnp.abs(raw @ raw.T - h @ h.T) ** power) / pairs.sum()
    total += jnp.sum(valid[:, None] * p * p) / valid.sum()
  return total


ROW = losses.Loss(decorrelation)


@pytest.fixture
def registered():
  losses.LOSSES['decorrelation'] = ROW
  yield dataclass_spec(loss='decorrelation')
  del losses.LOSSES['decorrelation']


def dataclass_spec(**settings) -> Spec:
  return Spec(depth=1, width=5, projection_width=4, **settings)


def gradients(spec, hyper, batch, params, axis_name=None):
  return jax.grad(lambda p, b: objective.objective(
      p, hyper, b, jnp.float32(0), spec=spec, n_outputs=CLASSES, axis_name=axis_name),
                  has_aux=True)(params, batch)


def test_a_loss_of_all_outputs_is_that_of_the_global_batch(registered):
  """Four parts under an axis, one of them filled up, as the whole batch on one device."""
  g = np.random.default_rng(1)
  x = tuple(np.float32(g.normal(size=(12, d))) for d in SHAPES)
  batch = Batch(x, np.int32(g.integers(0, CLASSES, 12)), np.arange(12) < 10)
  params, hyper = params_of(SHAPES), named.hyper(lam=0.7, lam_2=0.2, loss_weight=1.5)
  whole, metrics = jax.jit(functools.partial(gradients, registered, hyper))(batch, params)
  parts = jax.tree.map(lambda v: v.reshape(4, 3, *v.shape[1:]), batch)
  step = lambda b: jax.lax.pmean(gradients(registered, hyper, b, params, 'data'), 'data')
  spread, of_parts = jax.jit(jax.vmap(step, axis_name='data'))(parts)
  np.testing.assert_allclose(of_parts.align, np.full(4, metrics.align), rtol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b, rtol=2e-4, atol=2e-6),
               spread, whole)
  kept = Batch(tuple(v[:10] for v in x), batch.y[:10])
  cut, _ = jax.jit(functools.partial(gradients, registered, hyper))(kept, params)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), cut, whole)


def test_its_own_settings_are_traced(registered):
  params, batch = params_of(SHAPES), batch_of(SHAPES)
  align = lambda **own: objective.objective(
      params, named.hyper(**own), batch, jnp.float32(0), spec=registered,
      n_outputs=CLASSES)[1].align
  many, default = jax.device_get(jax.jit(lambda weights: (
      jax.vmap(lambda w: align(loss_weight=w))(weights), align()))(np.float32([0, 2, 4])))
  np.testing.assert_allclose(many[1], default, rtol=1e-5)
  np.testing.assert_allclose(many[1] - many[0], many[2] - many[1], rtol=1e-4)
  assert many[1] > many[0] and ROW.settings == {'weight': 2.0, 'power': 1.0}


def test_a_loss_of_pairs_gets_what_it_names():
  row = losses.loss_of('sigmoid')
  assert row.of_pairs and row.options == ('temperature', 'axis_name', 'valid')
  assert row.settings == {'bias': -10.0} and not losses.loss_of('info_nce').settings
  bare = losses.Loss(lambda z1, z2: (z1 - z2).sum(1), True, name='bare')
  with pytest.raises(ValueError, match="loss='bare' takes no axis_name, which a batch spread"):
    bare((None, None), batch_of(SHAPES), own={}, axis_name='data')
  assert {'loss_bias'} <= set(losses.own_ranges())
