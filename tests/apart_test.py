"""Guard, share and auto: what becomes of the alignment's gradient on every encoder."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax import named, objective
from mmalign_jax.training import apart, step, sweep
from mmalign_jax.types import GUARDS, LAM_MODES, SCHEDULES, Batch, Spec

B, SPEC = 16, Spec(depth=2, width=6, projection_width=4, clip_norm=1e6)
MODE = {name: i for i, name in enumerate(LAM_MODES)}
GUARD = {name: i for i, name in enumerate(GUARDS)}


def setting(spec=SPEC, **settings):
  g = np.random.default_rng(0)
  batch = Batch(tuple(g.normal(size=(B, d)).astype(np.float32) for d in (5, 7)),
                g.integers(0, 3, B).astype(np.int32))
  hyper = named.hyper(**{'lam': 2.0, 'temperature': 0.2} | settings)
  return started(spec)(named.hyper(temperature=hyper.temperature)), hyper, batch


@functools.cache
def started(spec):
  return jax.jit(lambda hyper: objective.init(
      jax.random.key(0), hyper, 5, 7, spec=spec, n_outputs=3))


@functools.cache
def compiled(of, spec):
  return jax.jit(lambda *given: of(*given, jnp.float32(0.5), spec=spec, n_outputs=3)[0])


def gradient(params, hyper, batch, spec=SPEC, of=apart.gradient):
  return compiled(of, spec)(params, hyper, batch)


PLAIN = jax.grad(objective.objective, has_aux=True)


def plain(params, hyper, batch, spec=SPEC):
  return gradient(params, hyper, batch, spec, PLAIN)


@functools.partial(jax.grad, has_aux=True)
def of_tasks(params, hyper, batch, progress, *, spec, n_outputs):
  task, _, metrics = objective.parts(
      params, hyper, batch, progress, spec=spec, n_outputs=n_outputs)
  return task, metrics


def encoder(grads, side: int) -> np.ndarray:
  leaves = jax.tree.leaves(grads[f'side_{side}']['params']['encoder'])
  return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])


def felt(side: int, **settings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Task gradient, alignment's as it is, and as it is felt, on an encoder."""
  params, hyper, batch = setting(**settings)
  task = encoder(plain(params, hyper.replace(lam=0.0, own={}), batch), side)
  unchanged = hyper.replace(guard=None, lam_mode=None)
  return (task, encoder(plain(params, unchanged, batch), side) - task,
          encoder(gradient(params, hyper, batch), side) - task)


@pytest.mark.parametrize('spec, settings', [
    (SPEC, {}), (SPEC, dict(lam_1=0.5, lam_2=3.0, schedule=2)),
    (Spec(depth=1, width=6, learnable_temperature=True, fusion='trained', fusion_width=4), {}),
    (Spec(depth=1, width=6, loss='prediction'), {})])
def test_without_guard_and_as_a_weight_it_is_the_plain_gradient(spec, settings):
  params, hyper, batch = setting(spec, **settings)
  hyper_ = hyper.replace(guard=0, lam_mode=0)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
               gradient(params, hyper_, batch, spec), plain(params, hyper, batch, spec))


@pytest.mark.parametrize('mode', LAM_MODES)
@pytest.mark.parametrize('guard', GUARDS)
def test_strength_0_changes_nothing(mode, guard):
  params, hyper, batch = setting(lam=0.0, guard=GUARD[guard], lam_mode=MODE[mode])
  tasks = gradient(params, hyper, batch, of=of_tasks)
  jax.tree.map(np.testing.assert_array_equal, gradient(params, hyper, batch), tasks)


@pytest.mark.parametrize('side', [1, 2])
def test_a_guard_takes_out_what_goes_against_the_task_and_nothing_else(side):
  for temperature in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0):
    task, align, guarded = felt(side, guard=1, temperature=temperature)
    along = min(align @ task, 0) / (task @ task)
    np.testing.assert_allclose(guarded, align - along * task, rtol=1e-3, atol=1e-6)
    assert guarded @ task > -1e-6 * np.linalg.norm(task) * np.linalg.norm(align)


def test_opposite_gradients():
  """By hand: a = (-1, 2) against t = (1, 0) keeps (0, 2); with t it is as it was."""
  tree = lambda *v: {'params': {'encoder': jnp.array(v), 'projection': jnp.array([3.0])}}
  hyper = named.hyper(guard=1, lam_mode=None)
  found = apart._felt(tree(-1.0, 2.0), tree(1.0, 0.0), 1.0, hyper, tree(1.0, 0.0))['params']
  np.testing.assert_allclose(found['encoder'], [0, 2])
  np.testing.assert_allclose(found['projection'], [3])
  np.testing.assert_allclose(
      apart._felt(tree(1.0, 2.0), tree(1.0, 0.0), 1.0, hyper, tree(1.0, 0.0))['params']['encoder'],
      [1, 2])
  np.testing.assert_allclose(  # what counts is the mean over an epoch, not the batch
      apart._felt(tree(1.0, -2.0), tree(-1.0, 0.0), 1.0, hyper, tree(0.0, 1.0))[
          'params']['encoder'], [1, 0])
  share = named.hyper(guard=1, lam_mode=1)
  found = apart._felt(tree(-1.0, 2.0), tree(5.0, 0.0), 0.4, share, tree(5.0, 0.0))['params']
  np.testing.assert_allclose(found['encoder'], [0, 2])  # 0.4 of 5, once guarded
  np.testing.assert_allclose(found['projection'], [3])  # scaled as the encoder: by 1


@pytest.mark.parametrize('side, own', [(1, {}), (2, {}), (2, dict(lam_2=0.3))])
def test_a_share_is_of_the_length_of_the_task(side, own):
  task, align, shared = felt(side, lam_mode=1, **own)
  length = own.get('lam_2', 2.0)
  np.testing.assert_allclose(np.linalg.norm(shared), length * np.linalg.norm(task), rtol=1e-3)
  cosine = shared @ align / np.linalg.norm(shared) / np.linalg.norm(align)
  np.testing.assert_allclose(cosine, 1, rtol=1e-4)


def test_auto_is_felt_as_far_as_it_serves_the_task():
  for side in (1, 2):
    task, align, chosen = felt(side, lam=1.0, lam_mode=2)
    cosine = max(align @ task / np.linalg.norm(task) / np.linalg.norm(align), 0)
    np.testing.assert_allclose(np.linalg.norm(chosen), cosine * np.linalg.norm(task), rtol=1e-2,
                               atol=1e-5)


@jax.jit
def initial(hyper):
  return step.init_state(jax.random.key(0), hyper, 5, 7, spec=SPEC, n_outputs=3)


@jax.jit
def stepped(*given):
  return step.train_step(*given, spec=SPEC, n_outputs=3, n_batches=4)[0]


def test_a_guard_is_against_the_mean_over_an_epoch():
  params, hyper, batch = setting(guard=1, lam=1.0)
  state = initial(hyper)
  first = stepped(state, hyper, batch)
  other = dataclasses.replace(batch, y=(batch.y + 1) % 3)
  second = stepped(first, hyper, other)
  task = jax.jit(lambda at, of: of_tasks(
      at.params, hyper, of, at.step / SPEC.steps, spec=SPEC, n_outputs=3)[0])
  wanted = jax.tree.map(lambda a, b: 0.25 * (0.75 * a + b), task(state, batch), task(first, other))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6),
               second.of_task, wanted)
  assert initial(named.hyper()).of_task is None


@pytest.mark.parametrize('name, at, factor', [
    ('warmup', 1, 0.5), ('cosine', 10, 0.5), ('cosine', 20, 0)])
def test_a_schedule_is_of_the_training_and_not_of_the_most_steps(name, at, factor):
  """Of 20 steps of a program of 600."""
  params, hyper, batch = setting(schedule=SCHEDULES.index(name), train_steps=20)
  state = dataclasses.replace(initial(named.hyper()), step=jnp.int32(at))
  constant = hyper.replace(schedule=0, lam=factor * hyper.lam)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
               *(stepped(state, one, batch).params for one in (hyper, constant)))


def test_devices_feel_what_the_whole_batch_does():
  params, hyper, batch = setting(guard=1, lam_mode=1)
  state = initial(hyper)
  stepped = lambda axis_name: lambda state, hyper, batch: step.train_step(
      state, hyper, batch, spec=SPEC, n_outputs=3, axis_name=axis_name)[0].params
  whole = jax.jit(stepped(None))(state, hyper, batch)
  parts = jax.tree.map(lambda v: v.reshape(2, B // 2, *v.shape[1:]), batch)
  both = jax.jit(jax.vmap(stepped('data'), in_axes=(None, None, 0), axis_name='data'))(
      state, hyper, parts)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(b[0], a, atol=2e-5), whole, both)


def test_both_are_axes_of_a_sweep():
  spec = Spec(depth=1, width=4, steps=3, batch_size=16, max_train=32, n_align=16)
  hypers = sweep.grid({'guard': (0, 1), 'lam_mode': (0, 1, 2)}, lam=1.0, n_train=32)
  cells = sweep.run_sweep(spec, hypers)
  assert cells.cka[0].shape == (6,) and len(set(np.asarray(cells.cka[0]).tolist())) > 3
  alone = sweep.run_sweep(spec, sweep.grid({'lam': (1.0,)}, n_train=32))
  np.testing.assert_allclose(cells.cka[0][0], alone.cka[0][0], atol=1e-5)


def test_an_unknown_guard_lists_the_known_ones():
  from mmalign_jax.studies.strength import plan
  with pytest.raises(ValueError, match="guard 'strict' is unknown; known: none, project"):
    plan.from_settings({'guard': ('strict',)})
  study = plan.from_settings({'guard': ('none', 'project'), 'n_train': (512,)})
  assert study.axes['guard'] == ('none', 'project')
  assert 'guard' not in plan.from_settings({'n_train': (512,)}).settings
