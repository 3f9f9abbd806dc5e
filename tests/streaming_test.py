"""Streaming losses equal the plain ones, in value and gradient, on one device and on eight."""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

from emitters import OLDER
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mmalign_jax import losses, named, objective
from mmalign_jax.losses import streaming
from mmalign_jax.types import Batch, Spec

B, K = 64, 16
PAIRS = {'info_nce': streaming.streaming_info_nce, 'sigmoid': streaming.streaming_sigmoid}
both_losses = pytest.mark.parametrize('name', PAIRS)


def embeddings(seed: int = 0, rows: int = B, width: int = K) -> tuple[np.ndarray, np.ndarray]:
  """Unit rows z1, z2 [rows, width], related."""
  g = np.random.default_rng(seed)
  z1 = g.normal(size=(rows, width))
  z2 = z1 + 0.7 * g.normal(size=(rows, width))
  unit = lambda z: (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
  return unit(z1), unit(z2)


def settings(name: str, temperature=0.2, bias=-3.0) -> dict:
  """The settings of a loss that have gradients."""
  return dict(temperature=temperature, **({'bias': bias} if name == 'sigmoid' else {}))


def with_gradients(loss):
  """(z1, z2, settings, weights) -> values [B] and gradients of their weighted sum.

  Weights that differ, some of them negative, catch a gradient that holds for means alone.
  """
  def total(z1, z2, more, weights):
    values = loss(z1, z2, **more)
    return jnp.sum(values * weights), values

  def both(z1, z2, more, weights):
    (_, values), grads = jax.value_and_grad(total, (0, 1, 2), has_aux=True)(z1, z2, more, weights)
    return values, grads

  return both


@functools.cache
def plain(name: str):
  """The compiled plain loss with its gradients."""
  return jax.jit(with_gradients(losses.LOSSES[name]))


@functools.cache
def streamed(name: str, block_size: int):
  """The compiled streaming loss with its gradients."""
  return jax.jit(with_gradients(functools.partial(PAIRS[name], block_size=block_size)))


def weights(rows: int = B) -> np.ndarray:
  return np.random.default_rng(9).normal(size=rows).astype(np.float32)


def assert_close(got, expected, tolerance=1e-5):
  """Leaf by leaf, to `tolerance` of the largest entry (or of 1)."""
  for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
    other = functools.reduce(lambda tree, key: tree[getattr(key, 'idx', getattr(key, 'key', None))],
                             path, got)
    scale = max(1.0, np.abs(leaf).max())
    np.testing.assert_allclose(np.asarray(other) / scale, np.asarray(leaf) / scale, rtol=0,
                               atol=tolerance, err_msg=jax.tree_util.keystr(path))


# -- one device ------------------------------------------------------------------------------------


@both_losses
@pytest.mark.parametrize('block_size', [1, 5, 12, 100])
def test_any_block_size_equals_the_plain_loss(name, block_size):
  arguments = *embeddings(), settings(name), weights()
  assert_close(streamed(name, block_size)(*arguments), plain(name)(*arguments))


@pytest.mark.parametrize('columns', [5, 12])
def test_columns_in_parts_equal_the_plain_loss(columns, monkeypatch):
  monkeypatch.setattr(streaming, 'COLUMNS', columns)
  valid = np.arange(13) % 3 > 0
  masked = lambda loss: jax.jit(with_gradients(
      lambda z1, z2, temperature: loss(z1, z2, temperature=temperature, valid=valid)))
  in_parts = masked(functools.partial(streaming.streaming_info_nce, block_size=4))
  whole = masked(losses.info_nce)
  for temperature in (0.1, 0.2):
    arguments = *embeddings(rows=13), {'temperature': temperature}, weights(13)
    assert_close(in_parts(*arguments), whole(*arguments), 2e-5)


@both_losses
@pytest.mark.parametrize('temperature', [0.01, 0.1, 10.0])
def test_equals_the_plain_loss_at_extreme_temperatures(name, temperature):
  z1, z2 = embeddings(1)
  for more in (settings(name, temperature), settings(name, temperature, bias=-10.0)):
    for one, two in ((z1, z2), (z1, z1), (z1, -z1), (z1, z2[::-1])):
      arguments = one, two, more, weights()
      # where p is nearly 1 both lose digits: each is within 1e-5 of float64
      assert_close(streamed(name, 12)(*arguments), plain(name)(*arguments), 2e-5)


def oracle(name: str, z1, z2, w, temperature: float, bias: float):
  """Values and gradients in float64, written out."""
  z1, z2, w = (x.astype(np.float64) for x in (z1, z2, w))
  s, eye = z1 @ z2.T / temperature, np.eye(len(z1))
  if name == 'info_nce':
    by_row, by_column = special.log_softmax(s, axis=1), special.log_softmax(s, axis=0)
    values = -(np.diag(by_row) + np.diag(by_column)) / 2
    ds = (w[:, None] * np.exp(by_row) + w * np.exp(by_column)) / 2 - np.diag(w)
    more = {}
  else:
    sign = 2 * eye - 1
    values = -special.log_expit(sign * (s + bias)).sum(1)
    ds = -w[:, None] * sign * special.expit(-sign * (s + bias))
    more = {'bias': ds.sum()}
  grads = ds @ z2 / temperature, ds.T @ z1 / temperature, {
      'temperature': -(ds * s).sum() / temperature, **more}
  return values, grads


@both_losses
@pytest.mark.parametrize('temperature', [0.01, 0.2])
def test_equals_float64(name, temperature):
  z1, z2 = embeddings(2)
  got = streamed(name, 5)(z1, z2, settings(name, temperature), weights())
  assert_close(got, oracle(name, z1, z2, weights(), temperature, -3.0))


@both_losses
def test_is_finite_where_the_plain_loss_is(name):
  z1, _ = embeddings(3)
  both = streamed(name, 5)
  for one, two in ((z1, z1), (z1, -z1), (0 * z1, 0 * z1), (100 * z1, z1)):
    got = both(one, two, settings(name, 0.001), np.full(B, 1 / B, np.float32))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))


def test_info_nce_of_equal_embeddings_is_log_of_the_batch():
  z = np.full((B, K), K**-0.5, np.float32)
  values, _ = streamed('info_nce', 5)(z, z, settings('info_nce', 0.1), weights())
  np.testing.assert_allclose(values, np.full(B, np.log(B)), atol=3e-6)


@both_losses
def test_vmapped_equals_a_loop(name):
  z1, z2 = map(np.stack, zip(*(embeddings(i) for i in range(3))))
  more = settings(name, np.float32([0.05, 0.2, 1.0]), np.float32([-10, -3, 0]))
  both = with_gradients(functools.partial(PAIRS[name], block_size=5))
  got = jax.jit(jax.vmap(both, (0, 0, 0, None)))(z1, z2, more, weights())
  for i in range(3):
    one = jax.tree.map(lambda x: x[i], (z1, z2, more))
    assert_close(jax.tree.map(lambda x: x[i], got), streamed(name, 5)(*one, weights()))


def test_vmapped_over_one_side_and_a_setting():
  z1, z2 = embeddings()
  both = with_gradients(functools.partial(streaming.streaming_info_nce, block_size=5))
  axes, t = (0, None, {'temperature': 0}, None), np.float32([0.3, 0.7])
  got = jax.jit(jax.vmap(both, axes))(np.stack([z1, z2]), z2, {'temperature': t}, weights())
  for i, one in enumerate((z1, z2)):
    assert_close(jax.tree.map(lambda x: x[i], got),
                 streamed('info_nce', 5)(one, z2, {'temperature': t[i]}, weights()))


@both_losses
def test_half_precision_is_summed_in_float32(name):
  half = [z.astype(jnp.bfloat16) for z in embeddings()]
  more = settings(name, 0.5)
  values, grads = streamed(name, 5)(*half, more, weights())
  assert values.dtype == jnp.float32 and all(g.dtype == jnp.bfloat16 for g in grads[:2])
  full = [z.astype(np.float32) for z in half]
  np.testing.assert_allclose(values, streamed(name, 5)(*full, more, weights())[0], rtol=1e-6)


@both_losses
@pytest.mark.parametrize('shapes, block_size, text', [
    (((4, 3), (4, 3)), 0, 'block_size=0 must'), (((4, 3), (4, 3)), 2.5, 'block_size=2.5 must'),
    (((4, 3), (4, 3)), True, 'block_size=True must'),
    (((4, 3), (5, 3)), 2, r'z1 has shape \(4, 3\), z2 \(5, 3\)'),
    (((4, 3), (4, 2)), 2, r'z1 has shape \(4, 3\), z2 \(4, 2\)'),
    (((4,), (4,)), 2, r'z1 has shape \(4,\)'), (((4, 0), (4, 0)), 2, r'z1 has shape \(4, 0\)'),
     (((4, 3), (4, 3, 1)), 2, r'z2 has shape \(4, 3, 1'),
    (((0, 3), (0, 3)), 2, r'z1 has shape \(0, 3\)')])
def test_wrong_arguments_are_named(name, shapes, block_size, text):
  with pytest.raises(ValueError, match=text) as caught:
    PAIRS[name](*map(np.ones, shapes), temperature=0.1, block_size=block_size)
  assert '\n' not in str(caught.value)


def test_the_objective_takes_a_streaming_loss_by_name():
  g = np.random.default_rng(0)
  batch = Batch(tuple(g.normal(size=(2, 40, 6)).astype(np.float32)), g.integers(0, 3, 40))
  hyper = named.hyper(lam=0.7, lam_2=0.2, temperature=0.1)
  spec = Spec(depth=1, learnable_temperature=True)
  params = jax.jit(lambda key: objective.init(
      key, hyper, 6, 6, spec=spec, n_outputs=3))(jax.random.key(0))
  gradient = lambda name: jax.jit(jax.grad(lambda p: objective.objective(
      p, hyper, batch, jnp.float32(1), spec=dataclasses.replace(spec, loss=name),
      n_outputs=3)[0]))(params)
  assert_close(gradient('streaming_info_nce'), gradient('info_nce'))


# -- memory ----------------------------------------------------------------------------------------


@functools.cache
def temporary_bytes(loss, rows: int, width: int) -> int:
  """What the compiled value and gradient of the mean needs beside arguments and results."""
  z = jax.ShapeDtypeStruct((rows, width), jnp.float32)
  both = jax.value_and_grad(lambda z1, z2, t: jnp.mean(loss(z1, z2, temperature=t)), (0, 1, 2))
  compiled = jax.jit(both).lower(z, z, jax.ShapeDtypeStruct((), jnp.float32)).compile()
  return compiled.memory_analysis().temp_size_in_bytes


@both_losses
def test_memory_doubles_with_the_batch(name):
  small, large = (temporary_bytes(PAIRS[name], rows, 32) for rows in (2049, 4098))
  assert 1.5 * small < large < 2.2 * small


@both_losses
def test_a_matrix_no_larger_than_a_stripe_is_not_cut(name):
  pair = PAIRS[name], losses.LOSSES[name]
  np.testing.assert_array_equal(*jax.jit(lambda z1, z2: [
      loss(z1, z2, temperature=0.1) for loss in pair])(*embeddings(rows=40)))
  assert temporary_bytes(PAIRS[name], 2048, 32) < 5 * 2**24 < temporary_bytes(
      losses.LOSSES[name], 8192, 32)
  assert temporary_bytes(PAIRS[name], 2049, 32) < 5 * 2**24


@both_losses
def test_a_batch_of_32768_fits_in_a_gigabyte(name):
  assert temporary_bytes(PAIRS[name], 32768, 256) < 1e9
  assert temporary_bytes(losses.LOSSES[name], 32768, 256) > 8e9


# -- eight devices ---------------------------------------------------------------------------------

DEVICES, ROWS, RUNS = 8, 7, 2
ALL = {'info_nce': losses.info_nce, 'sigmoid': losses.sigmoid,
       **{f'streaming_{k}': functools.partial(v, block_size=4) for k, v in PAIRS.items()}}


def problem() -> tuple[dict, np.ndarray, np.ndarray]:
  """Parameters of R runs, and x1, x2 [N, D] of the global batch."""
  g = np.random.default_rng(5)
  params = {'side_1': g.normal(size=(RUNS, 6, K)), 'side_2': g.normal(size=(RUNS, 6, K)),
            'log_temperature': np.log([0.05, 0.5]), 'bias': np.array([-5.0, -1.0])}
  x1, x2 = g.normal(size=(2, DEVICES * ROWS, 6)).astype(np.float32)
  return {k: v.astype(np.float32) for k, v in params.items()}, x1, x2 + x1


def mean_loss(params, x1, x2, *, name: str, axis_name: str | None = None):
  """Mean over the rows given, and the values: encoders, temperature and bias are all learnt."""
  unit = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)
  more = {'bias': params['bias']} if 'sigmoid' in name else {}
  values = ALL[name](unit(x1 @ params['side_1']), unit(x2 @ params['side_2']),
                     temperature=jnp.exp(params['log_temperature']), axis_name=axis_name, **more)
  return jnp.mean(values), values


def on_devices(name: str, path: str) -> None:
  """Values and gradients under pmap(vmap) [R, ...], and of run 0 under pmap and shard_map."""
  assert len(jax.local_devices()) == DEVICES
  params, x1, x2 = problem()
  split = lambda x: x.reshape(DEVICES, ROWS, -1)

  def one(params, x1, x2):
    grads, values = jax.grad(
        functools.partial(mean_loss, name=name, axis_name='data'), has_aux=True)(params, x1, x2)
    return values, jax.lax.pmean(grads, 'data')

  many = jax.vmap(one, (0, None, None))
  first = jax.tree.map(lambda x: x[0], params)
  found = {}
  for kind, step, p in (('runs', many, params), ('alone', one, first)):
    values, grads = jax.pmap(step, axis_name='data', in_axes=(None, 0, 0))(
        p, split(x1), split(x2))
    found[f'{kind} values'] = np.moveaxis(np.asarray(values), 0, -2).reshape(
        *values.shape[1:-1], -1)
    for key, g in grads.items():
      g = np.asarray(g)
      np.testing.assert_allclose(g, np.broadcast_to(g[:1], g.shape), atol=1e-6)
      found[f'{kind} {key}'] = g[0]
  rows = jax.P('data')  # the parameters are one for all devices, so shard_map sums their gradients
  loss = jax.shard_map(
      lambda *x: mean_loss(*x, name=name, axis_name='data')[1], in_specs=(jax.P(), rows, rows),
      out_specs=rows, mesh=jax.sharding.Mesh(np.array(jax.devices()), ('data',)))
  mean = lambda *x: (lambda values: (jnp.mean(values), values))(loss(*x))
  grads, found['sharded values'] = jax.jit(jax.grad(mean, has_aux=True))(first, x1, x2)
  np.savez(path, **found, **{f'sharded {k}': g for k, g in grads.items()})


ON_EIGHT_DEVICES = '''
import sys
sys.path.insert(0, 'tests')
import streaming_test
for name in streaming_test.ALL:
  streaming_test.on_devices(name, f'{sys.argv[1]}/{name}.npz')
'''


@pytest.fixture(scope='module')
def eight_devices(tmp_path_factory) -> pathlib.Path:
  """A folder with what eight devices found, a file per loss."""
  root, folder = pathlib.Path(__file__).resolve().parents[1], tmp_path_factory.mktemp('eight')
  env = {**os.environ, 'PYTHONPATH': str(root), 'JAX_PLATFORMS': 'cpu',
         'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
         'XLA_FLAGS': f'--xla_force_host_platform_device_count={DEVICES} {OLDER}'}
  done = subprocess.run([sys.executable, '-c', ON_EIGHT_DEVICES, str(folder)], cwd=root, env=env,
                        capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  return folder


@functools.cache
def on_one_device(name: str):
  """Values and gradients of all runs."""
  gradient = jax.grad(functools.partial(mean_loss, name=name), has_aux=True)
  grads, values = jax.jit(jax.vmap(gradient, (0, None, None)))(*problem())
  return {'values': values, **grads}


@pytest.mark.parametrize('name', ALL)
def test_eight_devices_equal_one_on_the_global_batch(name, eight_devices):
  expected = on_one_device(name.removeprefix('streaming_'))
  first = jax.tree.map(lambda x: x[0], expected)
  with np.load(eight_devices / f'{name}.npz') as file:
    for kind, values in (('runs', expected), ('alone', first), ('sharded', first)):
      assert_close({k: file[f'{kind} {k}'] for k in expected}, values)


def test_an_axis_of_vmap_serves_as_well():
  z1, z2 = embeddings(6)
  split = lambda z: z.reshape(4, B // 4, K)
  loss = functools.partial(
      streaming.streaming_info_nce, temperature=0.2, block_size=3, axis_name='data')
  total = lambda z1, z2: jnp.sum(jax.vmap(loss, axis_name='data')(split(z1), split(z2)))
  got = jax.jit(jax.grad(total, (0, 1)))(z1, z2)
  ones = np.ones(B, np.float32)
  assert_close(got, plain('info_nce')(z1, z2, settings('info_nce'), ones)[1][:2])
