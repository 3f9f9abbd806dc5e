"""Encoders trained alone: the same as a plain loop written with optax, alone or in units."""

import dataclasses
import functools

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmalign_jax import losses, rng
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.training import alone, compiling
from mmalign_jax.training.step import optimizer
from mmalign_jax.training.sweep import make_tables
from mmalign_jax.types import Frames, Hyper, OwnSide, Spec, TrainState, shape_of

SPEC = Spec(depth=2, projection='none', batch_size=16, max_train=40, n_align=8, neighbors=2)
PROTOCOL = alone.Protocol(SPEC, side=2, epochs=4, n_validation=24)


@pytest.fixture(scope='module')
def tables():
  return make_tables(SPEC)


def hyper(redundancy, **rest):
  own = {name: np.float32(rest.pop(name, 0.0)) for name in alone.OWN[1:4]}
  rate = {'learning_rate': 1e-2, 'weight_decay': 1e-2, 'transform_depth': 0.0} | rest
  return Hyper(redundancy=np.float32(redundancy), **own,
               **{k: np.float32(v) for k, v in rate.items() if k != 'seed'},
               seed=np.uint32(rest.get('seed', 3)))


def unit(values, **rest):
  one = hyper(0, **rest)
  return jax.tree.map(
      lambda v, axis: v if axis is None else np.broadcast_to(v, len(values)), one,
      alone.unit_axes(), is_leaf=lambda v: v is None).replace(
          redundancy=np.asarray(values, np.float32))


@functools.cache
def trained(protocol):
  """jit of `train_alone`: (hyper, tables[, epochs]) -> Trained."""
  return jax.jit(functools.partial(alone.train_alone, protocol=protocol))


def plain_loop(h, tables, protocol):
  """The protocol as one would write it by hand, on the same draws and batches."""
  spec, source = protocol.spec, SOURCES['bits']
  module = sides.Side(spec, 4)
  draws, params = jax.device_get(jax.jit(lambda h: (
      source.draw(tables, h, rng.stream(h.seed, 'data'), spec.max_train + protocol.n_validation),
      sides.init(rng.stream(h.seed, f'init_{protocol.side}'), (module,), 12)['side_1']))(h))
  rows = draws.rows[protocol.side - 1]
  table = np.asarray(tables.x2 if protocol.side == 2 else tables.x1)[int(h.transform_depth)]
  tx = optax.chain(optax.clip_by_global_norm(spec.clip_norm),
                   optax.adamw(float(h.learning_rate), weight_decay=float(h.weight_decay)))
  state = tx.init(params)
  loss = lambda p, x, y: jnp.mean(losses.cross_entropy(module.apply(p, x).prediction, y))

  @jax.jit
  def step(params, state, x, y):
    updates, state = tx.update(jax.grad(loss)(params, x, y), state, params)
    return optax.apply_updates(params, updates), state

  said = jax.jit(lambda params, x: module.apply(params, x).prediction)
  permuted = jax.jit(lambda key, epoch: rng.permute(
      jax.random.fold_in(key, epoch), jnp.arange(spec.max_train), spec.max_train))
  key = rng.stream(h.seed, f'order_{protocol.side}')
  x_held, y_held = table[rows[spec.max_train:]], draws.y[spec.max_train:]
  best, history, kept = -1.0, [], params
  for epoch in range(protocol.epochs):
    order = np.asarray(permuted(key, epoch))
    for i in range(spec.max_train // spec.batch_size):
      chosen = order[i * spec.batch_size:(i + 1) * spec.batch_size]
      params, state = step(params, state, table[rows[chosen]], draws.y[chosen])
    hits = np.argmax(said(params, x_held), axis=1) == y_held
    history.append(float(hits.mean()))
    if history[-1] > best:
      best, kept, epoch_kept = history[-1], params, epoch + 1
  return kept, history, epoch_kept


@pytest.mark.parametrize('side, transform', [(1, 0.0), (2, 3.0)])
def test_equals_a_plain_loop(tables, side, transform):
  protocol = dataclasses.replace(PROTOCOL, side=side)
  h = hyper(6, transform_depth=transform)
  params, history, best_epoch = plain_loop(h, tables, protocol)
  found = trained(protocol)(h, tables)
  np.testing.assert_allclose(found.validation, history, atol=1e-6)
  assert found.best_epoch == best_epoch and not found.diverged
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), found.params, params)


def test_a_unit_equals_its_encoders_one_by_one(tables):
  units = unit([0, 4, 8], transform_depth=2.0)
  found = alone.compiled(PROTOCOL)(units, tables)
  for i, redundancy in enumerate((0, 4, 8)):
    one = trained(PROTOCOL)(hyper(redundancy, transform_depth=2.0), tables)
    np.testing.assert_allclose(found.validation[i], one.validation, atol=1e-6)
    np.testing.assert_allclose(found.score.accuracy[i], one.score.accuracy, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=2e-5),
                 found.params, one.params)


def test_a_short_training_is_the_beginning_of_a_long_one(tables):
  """Whatever the program is compiled for: those that choose settings share it."""
  h = hyper(8, transform_depth=1.0)
  of = lambda epochs, most: trained(
      dataclasses.replace(PROTOCOL, epochs=most))(h, tables, epochs)
  short, long, own = of(2, 4), of(4, 4), of(2, 2)
  np.testing.assert_array_equal(short.validation[:2], long.validation[:2])
  np.testing.assert_array_equal(short.validation[2:], [-1, -1])
  np.testing.assert_allclose(short.validation[:2], own.validation, atol=1e-6)
  assert short.best_epoch == own.best_epoch <= 2
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), short.params, own.params)


def test_a_group_equals_its_units(tables):
  pair = [unit([0, 4, 8], transform_depth=t, seed=s) for t, s in ((1.0, 0), (5.0, 1))]
  group = alone.compiled(PROTOCOL, True)(jax.tree.map(lambda *v: np.stack(v), *pair), tables)
  for i, one in enumerate(pair):
    alike = alone.compiled(PROTOCOL)(one, tables)
    np.testing.assert_allclose(group.validation[i], alike.validation, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[i], b, atol=2e-5),
                 group.params, alike.params)


def test_the_best_epoch_is_the_first_of_the_best(tables):
  protocol = dataclasses.replace(PROTOCOL, epochs=12)
  found = alone.compiled(protocol)(unit([0, 4, 8], learning_rate=0.1), tables)
  np.testing.assert_array_equal(found.best_epoch, np.argmax(found.validation, axis=1) + 1)
  assert (np.asarray(found.best_epoch) < 12).any()  # or the choice was not put to the test
  held = alone.validate  # the kept parameters are those of that epoch
  h = hyper(4, learning_rate=0.1)
  source = SOURCES['bits']

  @jax.jit
  def validated(h, params):
    draws = source.draw(tables, h, rng.stream(h.seed, 'data'), 64)
    counted = alone.occurrences(source.test(tables, h, 2), draws.rows[1][40:], draws.y[40:])
    return held(params, counted, module=sides.Side(SPEC, 4))

  again = validated(h, jax.tree.map(lambda v: v[1], found.params))
  np.testing.assert_allclose(again, np.max(found.validation[1]), atol=1e-6)


def test_counted_samples_give_the_accuracy_of_the_samples(tables):
  source, module = SOURCES['bits'], sides.Side(SPEC, 4)

  @jax.jit
  def of(h):
    draws = source.draw(tables, h, jax.random.key(5), 500)
    params = sides.init(jax.random.key(0), (module,), 12)['side_1']
    counted = alone.occurrences(source.test(tables, h, 1), draws.rows[0], draws.y)
    x, _ = source.inputs(tables, h, draws.rows)
    return (counted.target.sum(), module.apply(params, x).prediction, draws.y,
            alone.validate(params, counted, module=module))

  total, prediction, y, found = of(hyper(4))
  np.testing.assert_allclose(total, 1, atol=1e-5)
  np.testing.assert_allclose(found, (np.argmax(prediction, axis=1) == y).mean(), atol=1e-6)


def test_side_1_does_not_know_of_the_transform(tables):
  protocol = dataclasses.replace(PROTOCOL, side=1)
  one, other = (trained(protocol)(hyper(4, transform_depth=t), tables) for t in (0.0, 7.0))
  np.testing.assert_array_equal(one.validation, other.validation)


def test_a_rate_that_explodes_is_flagged_and_leaves_finite_parameters(tables):
  found = alone.compiled(PROTOCOL)(unit([4, 4, 4]).replace(
      learning_rate=np.array([1e-2, 1e38, 1e-2], np.float32)), tables)
  np.testing.assert_array_equal(found.diverged, [False, True, False])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.params))
  assert np.isfinite(found.score.accuracy).all() and found.validation[1, -1] == -1


def test_layers_of_both_sides_are_of_the_same_pairs():
  spec = dataclasses.replace(SPEC, n_align=50)
  same = make_tables(spec)
  h = unit([4])
  x1, x2 = jax.jit(lambda h: SOURCES['bits'].pairs(same, h, rng.stream(3, 'test'), 50))(hyper(4))
  np.testing.assert_array_equal(x1[:, :8], x2[:, :8])  # the shared bits
  params = jax.jit(lambda: sides.init(
      jax.random.key(1), (sides.Side(spec, 4),), 12)['side_1'])()
  layers = jax.jit(lambda params, x: sides.Side(spec, 4).apply(params, x).layers)
  for side, x in ((1, x1), (2, x2)):
    protocol = alone.Protocol(spec, side, 1, 24)
    found = alone.compiled_layers(protocol)(jax.tree.map(lambda v: v[None], params), h, same)
    assert found.shape == (1, 2, 50, 12)
    np.testing.assert_allclose(found[0], np.stack(layers(params, x)), atol=1e-5)


@pytest.mark.parametrize('masked', [False, True])
def test_gradients_of_parts_of_a_batch_are_those_of_the_batch(masked, monkeypatch):
  spec = Spec(encoder='transformer', depth=1, width=4, projection='none', batch_size=6)
  g = np.random.default_rng(0)
  x, y = g.normal(size=(6, 3, 5)).astype(np.float32), jnp.asarray([0, 1, 2, 2, 1, 0])
  x = Frames(x, np.arange(3) < g.integers(1, 4, (6, 1))) if masked else x
  module = sides.Side(spec.of_side(1), 3)
  params = jax.jit(lambda key: sides.init(key, (module,), shape_of(x))['side_1'])(
      jax.random.key(0))
  flat, tree = ravel_pytree(params)
  params = {alone.FLAT: flat}
  state = TrainState(jnp.zeros((), jnp.int32), params, optimizer(spec).init(params))
  made = {}
  for rows in (0, 2, 4):
    monkeypatch.setattr(compiling, 'part', lambda _, rows=rows: rows)
    step = lambda state: alone.step(state, Hyper(), x, y, tree=tree, module=module, spec=spec)
    made[rows] = jax.jit(step, compiler_options=compiling.QUICK)(state)
  moments = lambda state: jax.tree.leaves(state.opt_state)  # of the gradient, clipped
  for ours, whole in zip(moments(made[2]), moments(made[0]), strict=True):
    np.testing.assert_allclose(ours, whole, atol=1e-6)
  jax.tree.map(np.testing.assert_array_equal, made[4], made[0])  # 4 does not divide the batch


def test_a_step_of_a_transformer_counts_as_many():
  mlp, own = Spec(), Spec(sides=(OwnSide(), OwnSide('sequence_transformer')))
  assert not compiling.pays(mlp, 150) and compiling.pays(own, 150)
  assert compiling.pays(mlp, 3000) and not compiling.part(mlp)
  assert compiling.options(own, thorough=False) == compiling.QUICK
  assert compiling.options(mlp, models=1) is None and compiling.options(own, models=2) is None
