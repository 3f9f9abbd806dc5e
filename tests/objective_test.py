"""task_1 + task_2 + lam * align: values and gradients against forms written out here."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax import named, objective
from mmalign_jax.encoders.sides import PROJECTIONS
from mmalign_jax.types import SCHEDULES, Batch, Hyper, Spec

B, D1, D2, CLASSES = 16, 6, 4, 3
SETTINGS = [dict(projection=p, learnable_temperature=True, task='cross_entropy')
            for p in PROJECTIONS]
SETTINGS.append(dict(projection='linear', learnable_temperature=False, task='cross_entropy'))
SETTINGS.append(dict(projection='linear', learnable_temperature=True, task='l1'))
IDS = ['-'.join(map(str, s.values())) for s in SETTINGS]
FAST = {'xla_backend_optimization_level': 0}  # to compile
sg = jax.lax.stop_gradient


def setting(**settings):
  """(spec, hyper, params, batch)."""
  spec = Spec(depth=1, width=5, projection_width=4, **settings)
  g = np.random.default_rng(0)
  y = g.normal(size=B).astype(np.float32) if spec.task == 'l1' else g.integers(0, CLASSES, B)
  x1, x2 = (jnp.asarray(g.normal(size=(B, d)), jnp.float32) for d in (D1, D2))
  batch = Batch((x1, x2), jnp.asarray(y))
  hyper = Hyper(lam=0.7, temperature=0.3)
  return spec, hyper, started(spec, hyper.temperature), batch


@functools.cache
def started(spec: Spec, temperature: float):
  return jax.jit(lambda key: objective.init(
      key, Hyper(temperature=temperature), D1, D2, spec=spec, n_outputs=outputs(spec)),
      compiler_options=FAST)(jax.random.key(0))


def outputs(spec: Spec) -> int:
  return 1 if spec.task == 'l1' else CLASSES


@functools.lru_cache
def compiled(spec: Spec):
  return jax.jit(jax.value_and_grad(functools.partial(
      objective.objective, spec=spec, n_outputs=outputs(spec)), has_aux=True),
      compiler_options=FAST)


def gradients(params, hyper, batch, spec, progress=0.5):
  (loss, metrics), grads = jax.device_get(compiled(spec)(params, hyper, batch, progress))
  return loss, metrics, grads


# -- the objective written out, with nothing of the package ----------------------------------------


def plain_side(params, x, spec):
  """(z [B, K] of unit norm, prediction)."""
  params = params['params']
  dense = lambda layer, h: h @ layer['kernel'].T + layer['bias'][None]
  leaky = lambda h: jnp.maximum(h, 0.1 * h)
  h = x
  for i in range(spec.depth):
    h = leaky(dense(params['encoder'][f'Dense_{i}'], h))
  z = h
  if spec.projection == 'mlp':
    z = leaky(dense(params['projection']['hidden'], z))
  if spec.projection != 'none':
    z = dense(params['projection']['out'], z)
  return z / jnp.sqrt(jnp.sum(z**2, axis=1, keepdims=True)), dense(params['head'], h)


def plain_tasks(params, batch, spec):
  losses = []
  for i, x in enumerate(batch.x, start=1):
    _, prediction = plain_side(params[f'side_{i}'], x, spec)
    if spec.task == 'l1':
      losses.append(jnp.mean(jnp.abs(prediction[:, 0] - batch.y)))
    else:
      p = jax.nn.softmax(prediction, axis=1)
      losses.append(-jnp.mean(jnp.log(p[jnp.arange(B), batch.y])))
  return losses


def plain_align(z1, z2, t):
  logits = z1 @ z2.T / t
  one, two = (jnp.diag(jax.nn.log_softmax(logits, axis=axis)) for axis in (1, 0))
  return -jnp.mean(one + two) / 2


def plain_embeddings(params, batch, spec):
  return (plain_side(params[f'side_{i}'], x, spec)[0]
          for i, x in enumerate(batch.x, start=1))


def plain_temperature(params, hyper, spec):
  return jnp.exp(params['log_temperature']) if spec.learnable_temperature else hyper.temperature


def plain(params, hyper, batch, spec):
  align = plain_align(*plain_embeddings(params, batch, spec),
                      plain_temperature(params, hyper, spec))
  return sum(plain_tasks(params, batch, spec)) + hyper.lam * align


def plain_per_encoder(params, hyper, batch, spec):
  z1, z2 = plain_embeddings(params, batch, spec)
  t = plain_temperature(params, hyper, spec)
  one, two = hyper.own['lam_1'], hyper.own['lam_2']
  return (sum(plain_tasks(params, batch, spec)) + one * plain_align(z1, sg(z2), sg(t))
          + two * plain_align(sg(z1), z2, sg(t)) + (one + two) / 2 * (
              plain_align(sg(z1), sg(z2), t) - plain_align(sg(z1), sg(z2), sg(t))))


def assert_close(got, expected, atol=1e-6):
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for path, value in jax.tree_util.tree_leaves_with_path(expected):
    other = functools.reduce(lambda tree, key: tree[key.key], path, got)
    np.testing.assert_allclose(
        other, value, rtol=1e-5, atol=atol, err_msg=jax.tree_util.keystr(path))


# -- gradients -------------------------------------------------------------------------------------


@pytest.mark.parametrize('settings', SETTINGS, ids=IDS)
def test_one_strength_gives_the_plain_objective(settings):
  spec, hyper, params, batch = setting(**settings)
  loss, _, grads = gradients(params, hyper, batch, spec)
  value, expected = jax.jit(jax.value_and_grad(plain), static_argnums=3, compiler_options=FAST)(
      params, hyper, batch, spec)
  np.testing.assert_allclose(loss, value, rtol=1e-6)
  assert_close(grads, expected)


def test_equal_strengths_per_encoder_are_one_strength():
  spec, hyper, params, batch = setting(learnable_temperature=True)
  _, _, one = gradients(params, hyper, batch, spec)
  own = dict(lam_1=0.7, lam_2=0.7)
  _, _, two = gradients(params, hyper.replace(lam=9.0, own=own), batch, spec)
  assert_close(two, one)


@pytest.mark.parametrize('settings', SETTINGS, ids=IDS)
def test_strengths_per_encoder_stop_the_gradient_of_the_other_side(settings):
  spec, hyper, params, batch = setting(**settings)
  hyper = hyper.replace(own=dict(lam_1=1.8, lam_2=0.4))
  _, _, grads = gradients(params, hyper, batch, spec)
  expected = jax.jit(jax.grad(plain_per_encoder), static_argnums=3, compiler_options=FAST)(
      params, hyper, batch, spec)
  assert_close(grads, expected)


def test_a_missing_strength_follows_lam():
  spec, hyper, params, batch = setting()
  _, _, grads = gradients(params, hyper.replace(own=dict(lam_2=0.2)), batch, spec)
  own = dict(lam_1=0.7, lam_2=0.2)
  _, _, expected = gradients(params, hyper.replace(lam=0., own=own), batch, spec)
  assert_close(grads, expected)


def test_a_learnt_temperature_feels_the_mean_strength():
  spec, hyper, params, batch = setting(learnable_temperature=True)
  at = lambda lam=0.7, **own: gradients(
      params, hyper.replace(lam=lam, own=own), batch, spec)[2][
      'log_temperature']
  unit = at(lam=1.0)
  assert abs(unit) > 1e-3
  np.testing.assert_allclose(at(lam_1=1.8, lam_2=0.4), 1.1 * unit, rtol=1e-5)
  np.testing.assert_allclose(at(lam_1=0.0, lam_2=2.0), unit, rtol=1e-5)


@pytest.mark.parametrize('projection', ['linear', 'mlp'])
def test_without_alignment_the_projection_does_not_move(projection):
  spec, hyper, params, batch = setting(projection=projection, learnable_temperature=True)
  loss, metrics, grads = gradients(params, hyper.replace(lam=0.0), batch, spec)
  for i in (1, 2):
    assert all((g == 0).all() for g in jax.tree.leaves(grads[f'side_{i}']['params']['projection']))
  assert grads['log_temperature'] == 0
  np.testing.assert_allclose(loss, sum(metrics.task), rtol=1e-6)


def test_alignment_of_one_encoder_leaves_the_other_alone():
  spec, hyper, params, batch = setting()
  _, _, none = gradients(params, hyper.replace(lam=0.0), batch, spec)
  _, _, one = gradients(params, hyper.replace(own=dict(lam_1=2.0, lam_2=0.0)), batch, spec)
  assert_close(one['side_2'], none['side_2'])
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one['side_1'], none['side_1'])
  assert max(jax.tree.leaves(moved)) > 1e-2


def test_metrics_are_the_unweighted_parts():
  spec, hyper, params, batch = setting()
  hyper = hyper.replace(own=dict(lam_1=1.8, lam_2=0.4))
  loss, metrics, _ = gradients(params, hyper, batch, spec)
  tasks, align = jax.device_get(jax.jit(lambda p: (
      plain_tasks(p, batch, spec), plain_align(*plain_embeddings(p, batch, spec), 0.3)))(params))
  np.testing.assert_allclose(metrics.task, tasks, rtol=1e-5)
  np.testing.assert_allclose(metrics.align, align, rtol=1e-5)
  np.testing.assert_allclose(metrics.loss, loss, rtol=1e-6)
  np.testing.assert_allclose(loss, sum(tasks) + 1.1 * align, rtol=1e-5)


def test_vmapped_over_strength_equals_one_by_one():
  spec, hyper, params, batch = setting()
  lams = jnp.array([0.0, 0.5, 2.0])
  loss = functools.partial(objective.objective, spec=spec, n_outputs=CLASSES)
  grad = jax.grad(loss, has_aux=True)
  many, _ = jax.device_get(jax.jit(jax.vmap(
      lambda lam: grad(params, hyper.replace(lam=lam), batch, 0.5)), compiler_options=FAST)(lams))
  for i, lam in enumerate(lams.tolist()):
    _, _, one = gradients(params, hyper.replace(lam=lam), batch, spec)
    assert_close(jax.tree.map(lambda g, i=i: g[i], many), one)


# -- schedules and temperature ---------------------------------------------------------------------


@pytest.mark.parametrize('name, factors', [
    ('constant', [1, 1, 1, 1, 1]), ('warmup', [0, .5, 1, 1, 1]),
    ('cosine', [1, 0.5 + 0.5 * np.cos(0.05 * np.pi), 0.5 + 0.5 * np.cos(0.1 * np.pi), 0.5, 0])])
def test_strength_over_training(name, factors):
  hyper = named.hyper(lam=3.0, lam_1=2.0, schedule=SCHEDULES.index(name))
  felt = jax.jit(jax.vmap(functools.partial(objective.schedule, hyper)))(
      np.float32([0, .05, .1, .5, 1]))
  for at, factor in zip(np.asarray(felt), factors, strict=True):
    got = [at * objective.strength(hyper, i) for i in (1, 2)]
    np.testing.assert_allclose(got, [2 * factor, 3 * factor], atol=1e-6)


def test_schedule_may_be_traced():
  got = jax.jit(jax.vmap(lambda s: objective.schedule(Hyper(schedule=s), jnp.float32(0.05))))(
      np.arange(3, dtype=np.float32))
  np.testing.assert_allclose(got, [1, 0.5, 0.5 + 0.5 * np.cos(0.05 * np.pi)], atol=1e-6)


@pytest.mark.parametrize('value, used', [(1e-4, 0.01), (0.3, 0.3), (5.0, 1.0)])
def test_a_learnt_temperature_is_clamped(value, used):
  spec, hyper, params, batch = setting(learnable_temperature=True)
  params = params | {'log_temperature': np.log(np.float32(value))}
  np.testing.assert_allclose(objective.temperature(params, hyper, spec=spec), used, rtol=1e-6)


def test_a_learnt_temperature_starts_at_the_given_one():
  spec, hyper, params, _ = setting(learnable_temperature=True)
  np.testing.assert_allclose(objective.temperature(params, hyper, spec=spec), 0.3, rtol=1e-6)


def test_a_fixed_temperature_is_that_of_hyper_and_no_parameter():
  spec, hyper, params, _ = setting()
  assert set(params) == {'side_1', 'side_2'}
  assert objective.temperature(params, hyper, spec=spec) == np.float32(0.3)


def test_scale_gradient_keeps_the_value():
  value, grad = jax.jit(jax.value_and_grad(
      lambda x: objective.scale_gradient(x, jnp.float32(0.25))**2))(3.0)
  assert (value, grad) == (9.0, 1.5)
