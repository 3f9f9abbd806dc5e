"""One side: shapes, the forward pass in numpy, initial parameters, and unit norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.encoders import mlp, sides
from mmalign_jax.types import Frames, Spec

B, D = 6, 7
initialise = jax.jit(sides.init, static_argnums=(1, 2, 3))
apply = jax.jit(lambda side, params, x: side.apply(params, x), static_argnums=0)
SPECS = [Spec(depth=3, width=5, projection=projection, projection_width=4, task=task)
         for projection in sides.PROJECTIONS for task in ('cross_entropy', 'l1')]
NAMES = [f'{spec.projection}-{spec.task}' for spec in SPECS]


def made(spec: Spec, n_outputs: int = 3, seed: int = 0):
  """(side, its parameters, x [B, D])."""
  side = sides.Side(spec, n_outputs)
  params = initialise(jax.random.key(seed), (side, side), D, D + 2)
  x = np.random.default_rng(seed).normal(size=(B, D)).astype(np.float32)
  return side, params['side_1'], x


def forward_64(params, x, spec: Spec):
  """(layers, z, prediction) in numpy float64, batch-first."""
  params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)['params']
  dense = lambda layer, h: h @ layer['kernel'].T + layer['bias']
  leaky = lambda h: np.where(h > 0, h, 0.1 * h)
  h, layers = x.astype(np.float64), []
  for i in range(spec.depth):
    h = leaky(dense(params['encoder'][f'Dense_{i}'], h))
    layers.append(h)
  z = h
  if spec.projection == 'mlp':
    z = leaky(dense(params['projection']['hidden'], z))
  if spec.projection != 'none':
    z = dense(params['projection']['out'], z)
  prediction = dense(params['head'], h)
  return layers, z / np.linalg.norm(z, axis=1, keepdims=True), prediction


@pytest.mark.parametrize('spec', SPECS, ids=NAMES)
def test_a_side_equals_the_forward_pass_in_numpy(spec):
  n_outputs = 1 if spec.task == 'l1' else 3
  side, params, x = made(spec, n_outputs)
  out = apply(side, params, x)
  layers, z, prediction = forward_64(params, x, spec)
  assert len(out.layers) == spec.depth
  for got, expected in zip(out.layers, layers, strict=True):
    np.testing.assert_allclose(got, expected, atol=1e-5)
  np.testing.assert_allclose(out.z, z, atol=1e-5)
  if spec.task == 'l1':
    prediction = prediction[:, 0]
  assert out.prediction.shape == ((B,) if spec.task == 'l1' else (B, 3))
  np.testing.assert_allclose(out.prediction, prediction, atol=1e-5)


@pytest.mark.parametrize('spec', SPECS, ids=NAMES)
def test_shapes_are_batch_first(spec):
  side, params, x = made(spec)
  out = apply(side, params, x)
  assert [h.shape for h in out.layers] == [(B, spec.width)] * spec.depth
  assert out.z.shape == (B, spec.width if spec.projection == 'none' else spec.projection_width)
  np.testing.assert_allclose(np.linalg.norm(out.z, axis=1), np.ones(B), atol=1e-6)


@pytest.mark.parametrize('depth', [1, 2, 6])
def test_depth_is_the_number_of_layers(depth):
  side = sides.Side(Spec(depth=depth), 3)
  params = jax.eval_shape(lambda key: sides.init(key, (side,), D), jax.random.key(0))['side_1']
  assert len(jax.eval_shape(side.apply, params, np.ones((B, D))).layers) == depth
  assert len(params['params']['encoder']) == depth


def test_a_side_is_the_same_under_jit_and_vmap():
  side, params, x = made(Spec(depth=2))
  out = side.apply(params, x)
  jitted = apply(side, params, x)
  many = jax.tree.map(lambda p: np.stack([p, 2 * p]), params)
  vmapped = jax.jit(jax.vmap(side.apply, (0, None)))(many, x)
  for a, b, c in zip(*map(jax.tree.leaves, (out, jitted, vmapped)), strict=True):
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(a, c[0], atol=1e-6)


def test_a_side_treats_samples_independently():
  side, params, x = made(Spec(depth=2))
  order = np.random.default_rng(0).permutation(B)
  both = (apply(side, params, x[order]), apply(side, params, x))
  for a, b in zip(*map(jax.tree.leaves, both), strict=True):
    np.testing.assert_allclose(a, b[order], atol=1e-6)


def test_an_unknown_encoder_lists_the_known_ones():
  side = sides.Side(Spec(encoder='resnet'), 3)
  with pytest.raises(ValueError, match="'resnet'.*mlp"):
    side.init(jax.random.key(0), jnp.zeros((2, D)))


# -- unit norm -------------------------------------------------------------------------------------


def test_unit_norm_of_a_hand_worked_row():
  np.testing.assert_allclose(sides.unit_norm(jnp.array([[3.0, 4.0]])), [[0.6, 0.8]], atol=1e-6)


def test_a_zero_row_stays_zero_with_a_finite_gradient():
  z = np.array([[0.0, 0.0], [1.0, -1.0]])
  np.testing.assert_allclose(sides.unit_norm(z)[0], [0, 0])
  grad = jax.jit(jax.grad(lambda z: sides.unit_norm(z).sum()))(z)
  assert np.isfinite(grad).all()


# -- initial parameters ----------------------------------------------------------------------------


def leaves(params) -> list[tuple[str, np.ndarray, int]]:
  """(path, values, fan in) of every parameter."""
  found = []
  for path, value in jax.tree_util.tree_leaves_with_path(params):
    parent = params
    for entry in path[:-1]:
      parent = parent[entry.key]
    found.append((jax.tree_util.keystr(path), np.asarray(value), parent['kernel'].shape[1]))
  return found


def initial(seed: int, **settings):
  modules = (sides.Side(Spec(width=32, projection='mlp', **settings), 10),) * 2
  return initialise(jax.random.key(seed), modules, 20, 50)


def test_parameters_lie_within_one_over_the_root_of_the_fan_in():
  for path, value, fan_in in leaves(initial(0)):
    assert np.abs(value).max() <= fan_in**-0.5 + 1e-7, path


def test_parameters_are_uniform():
  scaled = {path: value.ravel() * fan_in**0.5 for path, value, fan_in in leaves(initial(0))}
  for path, value in scaled.items():
    error = 5 / np.sqrt(value.size)
    assert abs(value.mean()) < error * 3**-0.5, path
    assert abs((value**2).mean() - 1 / 3) < error * 0.3, path
  counts = np.histogram(np.concatenate(list(scaled.values())), 10, (-1, 1))[0]
  assert np.abs(counts / counts.mean() - 1).max() < 0.1


def test_no_two_parameters_are_equal_and_seeds_differ():
  values = [np.concatenate([v.ravel() * f**0.5 for _, v, f in leaves(initial(s))]) for s in (0, 1)]
  assert len(np.unique(values[0])) > 0.999 * len(values[0])
  assert abs(np.corrcoef(*values)[0, 1]) < 0.05


def test_input_widths_may_differ():
  params = initial(0)
  shapes = [params[f'side_{i}']['params']['encoder']['Dense_0']['kernel'].shape for i in (1, 2)]
  assert shapes == [(32, 20), (32, 50)]


@pytest.mark.parametrize('leak', [1.0, 0.1])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_gradients_of_a_layer_are_those_of_its_formula(leak, dtype):
  """In an ensemble that shares its input, at a sum of exactly 0, and of gradients once more."""
  rng = np.random.default_rng(0)
  kernel, bias, x, weight = (jnp.asarray(rng.normal(size=s), dtype) for s in (
      (3, 5, 4), (3, 5), (4, 6), (3, 5, 6)))
  kernel, bias = kernel.at[:, 0].set(0), bias.at[:, 0].set(0)

  def formula(kernel, bias, x, leak):
    y = jnp.dot(kernel, x, precision='highest') + bias[:, None]
    return jnp.where(y >= 0, y, leak * y)

  def gradients(layer):
    one = lambda k, b, x, w: jnp.sum((layer(k, b, x, leak) * w).astype(jnp.float32) ** 2)
    of = lambda k, b, x: jnp.sum(jax.vmap(one, in_axes=(0, 0, None, 0))(k, b, x, weight))
    first = jax.grad(of, (0, 1, 2))
    size = lambda *v: sum(jnp.sum(g.astype(jnp.float32) ** 2) for g in first(*v))
    return jax.jit(first)(kernel, bias, x), jax.jit(jax.grad(size, (0, 1, 2)))(kernel, bias, x)

  tolerance = 1e-5 if dtype == 'float32' else 0.05
  for found, wanted in zip(jax.tree.leaves(gradients(mlp.affine)),
                           jax.tree.leaves(gradients(formula))):
    found, wanted = (np.asarray(v, np.float32) for v in (found, wanted))
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * abs(wanted).max())


@pytest.mark.parametrize('mean', [False, True])
def test_blocks_that_are_compiled_once_are_those_one_after_another(mean, monkeypatch):
  """Layers and gradients of narrow encoders, whose blocks go round a loop."""
  from mmalign_jax.encoders import layers as of_tokens
  from mmalign_jax.encoders.sequences import SequenceTransformer
  module = SequenceTransformer(4, mean, 'float32')
  there = np.ones((3, 4), bool)
  there[1, 2:] = False
  g = np.random.default_rng(0)
  x = g.normal(size=(3, 4, 6)).astype(np.float32)
  x[~there] = np.nan
  x = Frames(x, there)
  params = jax.tree.map(lambda p: 0.5 * g.normal(size=p.shape).astype(np.float32),
                        jax.eval_shape(module.init, jax.random.key(1), x))

  def found(params):
    made = jnp.stack(module.apply(params, x))
    return jnp.sum(made * jnp.arange(made.size).reshape(made.shape) ** 0.5), made
  wanted = []
  for narrow in (0, 32):
    monkeypatch.setattr(of_tokens, '_NARROW', narrow)
    program = jax.jit(lambda p: jax.grad(found, has_aux=True)(p))  # anew: a trace is remembered
    assert ('scan' in str(program.trace(params).jaxpr)) == bool(narrow)
    wanted.append(program(params))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), *wanted)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(wanted))  # NaNs would be equal
