"""Encoders of images and audio: one suite over the registry, and their parts against numpy."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax import named, objective
from mmalign_jax.encoders import audio, layers, sides, vision
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.types import Batch, Frames, Hyper, Spec

B, CLASSES, T = 4, 3, 6
IMAGES, FRAMES = ('lenet', 'vit'), (
    'audio_cnn1d', 'audio_cnn2d', 'transformer', 'gru', 'sequence_transformer')
NAMES = sorted(sides.ENCODERS)
SHAPES = {'mlp': (3, 3), **dict.fromkeys(IMAGES, (8, 8, 1)), **dict.fromkeys(FRAMES, (T, 5))}
FAST = {'xla_backend_optimization_level': 0}  # to compile
fast = functools.partial(jax.jit, compiler_options=FAST)
initialise = fast(sides.init, static_argnums=(1, 2))


@functools.lru_cache
def made(name: str, seed: int = 0, **settings):
  """(side, its parameters, x [B, ...])."""
  spec = Spec(encoder=name, depth=2, projection_width=5, **{'width': 4} | settings)
  side = sides.Side(spec, CLASSES)
  plain = sides.Side(dataclasses.replace(spec, compute_dtype='float32'), CLASSES)
  params = initialise(jax.random.key(seed), (plain,), SHAPES[name])['side_1']
  return side, jax.device_get(params), normal(B, *SHAPES[name])


def normal(*shape, seed: int = 0) -> np.ndarray:
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.lru_cache
def compiled(name: str, **settings):
  """jit of apply, shared by the tests; its arrays are NumPy's, so that no cut is a program."""
  apply = fast(made(name, **settings)[0].apply)
  return lambda *given: jax.device_get(apply(*given))


def assert_close(got, expected, atol=1e-5):
  for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
    np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)


# -- the whole registry ----------------------------------------------------------------------------


def test_every_encoder_has_a_shape_here():
  assert set(NAMES) == set(SHAPES)


@pytest.mark.parametrize('name', NAMES)
def test_outputs_are_batch_first_float32_and_of_unit_norm(name):
  _, params, x = made(name)
  out = compiled(name)(params, x)
  widths = {'lenet': [4, 8, 8], 'audio_cnn1d': [4, 8], 'audio_cnn2d': [4, 8],
            'sequence_transformer': [5, 5]}.get(name, [4, 4])
  assert [h.shape for h in out.layers] == [(B, w) for w in widths]
  assert out.z.shape == (B, 5) and out.prediction.shape == (B, CLASSES)
  assert {v.dtype for v in jax.tree.leaves((out, params))} == {np.dtype('float32')}
  np.testing.assert_allclose(np.linalg.norm(out.z, axis=1), np.ones(B), atol=1e-5)


@pytest.mark.parametrize('name', NAMES)
def test_samples_are_treated_independently(name):
  _, params, x = made(name)
  out, order = compiled(name)(params, x), np.array([2, 0, 3, 1])
  assert_close(compiled(name)(params, x[order]), jax.tree.map(lambda v: v[order], out))
  assert min(np.ptp(h, axis=0).max() for h in out.layers) > 1e-4  # they do see x


@pytest.mark.parametrize('name', NAMES)
def test_an_ensemble_equals_its_members(name):
  side, _, x = made(name)
  members = [made(name, seed=seed)[1] for seed in (0, 1)]
  both = jax.device_get(fast(jax.vmap(side.apply, (0, None)))(
      jax.tree.map(lambda *p: np.stack(p), *members), x))
  for i, params in enumerate(members):
    assert_close(jax.tree.map(lambda v: v[i], both), compiled(name)(params, x))


@pytest.mark.parametrize('name, dtype', [
    *((name, 'float32') for name in NAMES), ('lenet', 'bfloat16'), ('vit', 'bfloat16')])
def test_every_parameter_has_a_finite_gradient_that_is_not_zero(name, dtype):
  side, params, x = made(name, compute_dtype=dtype)

  def loss(params):
    out = side.apply(params, x)
    return sum(jnp.sum(jnp.cos(jnp.arange(v.size).reshape(v.shape)) * v)
               for v in (out.z, out.prediction))

  for path, g in jax.tree_util.tree_leaves_with_path(fast(jax.grad(loss))(params)):
    assert g.dtype == jnp.float32 and np.isfinite(g).all(), jax.tree_util.keystr(path)
    assert np.abs(g).max() > 1e-7, jax.tree_util.keystr(path)


@pytest.mark.parametrize('name', NAMES)
def test_bfloat16_is_near_float32_and_outputs_stay_float32(name):
  # Wide enough that a norm does not stretch the rounding of one sample.
  side, params, x = made(name, width=16, compute_dtype='bfloat16')
  exact = compiled(name, width=16)(params, x)
  coarse = compiled(name, width=16, compute_dtype='bfloat16')(params, x)
  own = jax.eval_shape(lambda key: sides.init(key, (side,), SHAPES[name]), jax.random.key(0))
  chex.assert_trees_all_equal_shapes_and_dtypes(own['side_1'], params)
  assert {v.dtype for v in jax.tree.leaves(coarse)} == {np.dtype('float32')}
  error = max(np.abs(a - b).max() / np.abs(b).max()
              for a, b in zip(jax.tree.leaves(coarse), jax.tree.leaves(exact), strict=True))
  assert 1e-4 < error < 0.03


@pytest.mark.parametrize('name, n', [
    # by hand, of the encoder alone: depth 2, width 4 and the shapes above
    ('mlp', 9 * 4 + 4 + 4 * 4 + 4),
    ('lenet', 25 * 4 + 4 + 9 * 4 * 8 + 8 + 2 * 2 * 8 * 8 + 8),
    ('vit', 16 * 4 + 4 + 4 * 4 + 4 + 2 * (3 * 16 + 16 + 4 + 16 + 64 + 16 + 64 + 4) + 8),
    ('audio_cnn1d', 3 * 5 * 4 + 4 + 3 * 4 * 8 + 8), ('audio_cnn2d', 9 * 4 + 4 + 9 * 4 * 8 + 8),
    ('transformer', 5 * 4 + 4 + T * 4 + 4 + 2 * (3 * 16 + 16 + 4 + 16 + 64 + 16 + 64 + 4)),
    ('gru', 5 * 12 + 12 + 4 * 12 + 4 + 4 * 12 + 12 + 4 * 12 + 4)])
def test_the_number_of_parameters(name, n):
  assert sum(v.size for v in jax.tree.leaves(made(name)[1]['params']['encoder'])) == n


# -- initial parameters ----------------------------------------------------------------------------


@pytest.mark.parametrize('name', IMAGES + FRAMES)
def test_initial_parameters_have_their_variance_and_none_repeats(name):
  _, params, _ = made(name, width=32)
  drawn = []
  for path, value in jax.tree_util.tree_leaves_with_path(params['params']['encoder']):
    name = path[-1].key
    if name in ('bias', 'scale'):
      np.testing.assert_array_equal(value, np.full(value.shape, name == 'scale'))
      continue
    gain = {'kernel': 1 / value.shape[0], 'filters': 2 / value.shape[0], 'tokens': 4e-4}[name]
    assert abs(np.mean(value**2) / gain - 1) < 5 / np.sqrt(value.size), path
    drawn.append(np.ravel(value))
  drawn = np.concatenate(drawn)
  assert len(np.unique(drawn)) > 0.99 * len(drawn)


def test_the_mlp_keeps_its_numbers_and_its_features_first():
  side, _, x = made('mlp')
  flat = jax.device_get(initialise(jax.random.key(0), (side,), 9)['side_1'])
  assert_close(flat, made('mlp')[1], atol=0)
  noise = jax.random.uniform(jax.random.key(0), (113,), minval=-1.0, maxval=1.0)
  np.testing.assert_array_equal(flat['params']['encoder']['Dense_0']['bias'], noise[:4] / 3)
  np.testing.assert_array_equal(
      flat['params']['encoder']['Dense_0']['kernel'], noise[4:40].reshape(4, 9) / 3)
  assert_close(compiled('mlp')(flat, x.reshape(B, 9)), compiled('mlp')(flat, x), atol=0)


# -- masks -----------------------------------------------------------------------------------------

VALID = np.array([6, 4, 1, 3])[:, None] > np.arange(T)  # lengths, one of them odd


@pytest.mark.parametrize('name', FRAMES)
def test_a_mask_of_all_frames_is_no_mask(name):
  _, params, x = made(name)
  masked = compiled(name)(params, Frames(x, np.ones((B, T), bool)))
  assert_close(masked, compiled(name)(params, x), atol=1e-6)


@pytest.mark.parametrize('name', FRAMES)
def test_what_masked_frames_hold_changes_nothing(name):
  _, params, x = made(name)
  mask = VALID.copy()
  mask[0, 2] = False  # a gap
  out = compiled(name)(params, Frames(x, mask))
  for other in (7 * normal(*x.shape, seed=1), np.full(x.shape, np.nan, np.float32)):
    changed = compiled(name)(params, Frames(np.where(mask[..., None], x, other), mask))
    assert_close(changed, out, atol=0)
  moved = compiled(name)(params, Frames(x, VALID))  # the frame in the gap does count
  assert np.abs(moved.prediction - out.prediction)[0].max() > 1e-4


@pytest.mark.parametrize('name', FRAMES)
def test_longer_padding_changes_nothing(name):
  _, params, x = made(name)
  out = compiled(name)(params, Frames(x, VALID))
  for i, n in ((1, 4), (3, 3)):
    alone = compiled(name)(params, x[i:i + 1, :n])
    assert_close(jax.tree.map(lambda v: v[i:i + 1], out), alone)


@pytest.mark.parametrize('name', FRAMES)
def test_gradients_of_masked_frames_are_zero_and_no_valid_frame_is_no_error(name):
  side, params, x = made(name)
  mask = VALID & (np.arange(B) != 3)[:, None]

  def loss(params, x):
    out = side.apply(params, Frames(x, mask))
    return jnp.sum(jnp.cos(jnp.arange(out.z.size).reshape(out.z.shape)) * out.z)

  of_params, of_x = fast(jax.grad(loss, (0, 1)))(params, x)
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(of_params))
  assert (np.abs(of_x).max(-1) > 0).tolist() == mask.tolist()


# -- what an encoder does not take -----------------------------------------------------------------


@pytest.mark.parametrize('name, x, message', [
    ('lenet', np.zeros((2, 12)), r"encoder 'lenet' takes images \[B, H, W, C\], not shape \(2, 12"),
    ('vit', Frames(np.zeros((2, 8, 8))), "encoder 'vit' takes images .* no mask"),
    ('vit', np.zeros((2, 8, 6, 1)), "encoder 'vit' cuts patches of 4x4.* 8x6"),
    ('gru', np.zeros((2, 12)), r"encoder 'gru' takes frames \[B, T, F\], not shape \(2, 12\)"),
    ('audio_cnn1d', np.zeros((2, 12)), "encoder 'audio_cnn1d' takes frames"),
    ('audio_cnn2d', np.zeros((2, 8, 8, 1)), "encoder 'audio_cnn2d' takes frames"),
    ('transformer', Frames(np.zeros((2, 6, 5)), np.ones((2, 5), bool)), r'a mask of shape \(2, 5'),
    ('mlp', Frames(np.zeros((2, 6, 5))), "encoder 'mlp' takes no mask of frames")])
def test_a_wrong_input_names_the_encoder(name, x, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(made(name)[0].init, jax.random.key(0), x)


@pytest.mark.parametrize('name, shape, message', [
    ('transformer', (B, T + 1, 5), f'{T + 1} frames, but parameters for {T}'),
    ('vit', (B, 4, 8, 1), '2 patches, but parameters for 4')])
def test_other_positions_than_were_learnt_are_refused(name, shape, message):
  side, params, _ = made(name)
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(side.apply, params, np.zeros(shape, np.float32))


@pytest.mark.parametrize('name', ['vit', 'transformer'])
def test_a_width_that_the_heads_do_not_share_is_refused(name):
  side = sides.Side(Spec(encoder=name, width=5), CLASSES)
  with pytest.raises(ValueError, match='width=5 must be divisible by the 2 heads'):
    jax.eval_shape(side.init, jax.random.key(0), np.zeros((1, *SHAPES[name])))


# -- parts, by hand --------------------------------------------------------------------------------


def softmax(x):
  e = np.exp(x - x.max(-1, keepdims=True))
  return e / e.sum(-1, keepdims=True)


def test_attention_is_that_of_the_paper_head_by_head():
  width, heads = 6, 2
  module, x = layers.Attention(heads, 'float32'), normal(2, 5, width)
  mask = np.array([5, 3])[:, None] > np.arange(5)
  params = fast(module.init)(jax.random.key(0), x)
  qkv = np.asarray(params['params']['qkv']['kernel'], np.float64)
  out = {k: np.asarray(v, np.float64) for k, v in params['params']['out'].items()}
  got = fast(module.apply)(params, x, mask)
  for i, n in enumerate(mask.sum(1)):
    q, k, v = np.split(x[i].astype(np.float64) @ qkv, 3, axis=1)
    mixed = []
    for h in range(heads):
      part = slice(3 * h, 3 * h + 3)
      weights = softmax(q[:, part] @ k[:n, part].T / np.sqrt(3))
      mixed.append(weights @ v[:n, part])
    expected = np.concatenate(mixed, axis=1) @ out['kernel'] + out['bias']
    np.testing.assert_allclose(got[i], expected, atol=1e-5)


@pytest.mark.parametrize('pre_norm', [False, True])
def test_a_block_adds_its_parts_and_norms_where_it_says(pre_norm):
  width = 4
  module, x = layers.Block(2, pre_norm, 'float32'), normal(2, 3, width)
  params = fast(module.init)(jax.random.key(0), x)
  p = jax.tree.map(np.asarray, params['params'])
  attend = lambda h: fast(layers.Attention(2, 'float32').apply)({'params': p['attention']}, h)
  def feed(h):
    h = h @ p['hidden']['kernel'] + p['hidden']['bias'][None, None]
    return np.asarray(jax.nn.gelu(h)) @ p['out']['kernel'] + p['out']['bias'][None, None]
  def norm(h):
    return (h - h.mean(-1, keepdims=True)) / np.sqrt(h.var(-1, keepdims=True) + 1e-5)
  h = x
  for part in (attend, feed):
    h = h + part(norm(h)) if pre_norm else norm(h + part(h))
  np.testing.assert_allclose(fast(module.apply)(params, x), h, atol=1e-5)


@pytest.mark.parametrize('pre_norm', [False, True])
def test_a_first_token_alone_is_that_of_a_whole_block(pre_norm):
  """Its value, and every gradient."""
  mask = np.array([5, 3])[:, None] > np.arange(5)
  module, x, pull = layers.Block(2, pre_norm, 'float32'), normal(2, 5, 4), normal(2, 4)
  params = fast(module.init)(jax.random.key(0), x)
  def value(params, x, first):
    h = module.apply(params, x, mask, first)
    return jnp.sum(h[:, 0] * pull), h
  one, whole = (fast(jax.grad(functools.partial(value, first=first), (0, 1), has_aux=True))(
      params, x) for first in (True, False))
  assert one[1].shape == (2, 1, 4)
  np.testing.assert_allclose(one[1], whole[1][:, :1], atol=1e-6)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), one[0], whole[0])


def test_a_gru_layer_is_the_equations_of_pytorch_step_by_step():
  width, mask = 4, np.array([T, 3])[:, None] > np.arange(T)
  module, x = audio.GRULayer(width, 'float32'), normal(2, T, 5)
  params = jax.tree.map(  # biases that are not zero
      lambda v: np.cos(np.arange(v.size, dtype=np.float32)).reshape(v.shape),
      jax.eval_shape(module.init, jax.random.key(0), x, mask))
  p = jax.tree.map(lambda v: np.asarray(v, np.float64), params['params'])
  sigmoid = lambda v: 1 / (1 + np.exp(-v))
  h, states = np.zeros((2, width)), []
  for t in range(T):
    i_r, i_z, i_n = np.split(x[:, t] @ p['inputs']['kernel'] + p['inputs']['bias'], 3, axis=1)
    h_r, h_z, h_n = np.split(h @ p['kernel'], 3, axis=1)
    r, z = sigmoid(i_r + h_r), sigmoid(i_z + h_z)
    n = np.tanh(i_n + r * (h_n + p['bias']))
    h = np.where(mask[:, t, None], (1 - z) * n + z * h, h)
    states.append(h)
  last, every = fast(module.apply)(params, x, mask)
  np.testing.assert_allclose(last, h, atol=1e-5)
  np.testing.assert_allclose(every, np.stack(states, 1), atol=1e-5)


@pytest.mark.parametrize('shape, size', [((5, 4), (3,)), ((6, 5, 2), (5, 3))])
def test_a_convolution_is_that_of_xla(shape, size):
  module, x = layers.Conv(3, size, 'float32'), normal(2, *shape)
  params = jax.device_get(fast(module.init)(jax.random.key(0), x))
  filters = params['params']['product']['filters'].reshape(*size, shape[-1], 3)
  spatial = 'HW'[:len(size)]
  expected = jax.lax.conv_general_dilated(
      x, filters, (1,) * len(size), 'SAME',
      dimension_numbers=(f'N{spatial}C', f'{spatial}IO', f'N{spatial}C'))
  np.testing.assert_allclose(fast(module.apply)(params, x), np.maximum(expected, 0), atol=1e-5)


def test_maxima_of_pairs_by_hand():
  x = np.array([1., 3, 2, 0, 5]).reshape(1, 5, 1)
  np.testing.assert_array_equal(layers.max_pool(x)[0, :, 0], [3, 2, 5])
  x = np.arange(6.0).reshape(1, 2, 3, 1)
  np.testing.assert_array_equal(layers.max_pool(x)[0, :, :, 0], [[4, 5]])


def test_patches_are_squares_of_the_image():
  x = normal(1, 8, 12, 2)
  np.testing.assert_array_equal(vision.patches(x)[0, 4], x[0, 4:8, 4:8].ravel())


# -- two sides of a Spec ---------------------------------------------------------------------------


def test_a_side_follows_the_common_setting_where_it_has_none():
  spec = named.spec(depth=2, width=4, encoder='lenet', encoder_2='gru', width_2=6, depth_1=3)
  one, two = (module.spec for module in objective.modules(spec, CLASSES))
  assert (one.encoder, one.depth, one.width) == ('lenet', 3, 4)
  assert (two.encoder, two.depth, two.width) == ('gru', 2, 6)
  assert one.of_side(2) == one and Spec().of_side(1) == Spec()


def test_an_image_and_masked_frames_learn_together():
  spec = named.spec(encoder_1='lenet', encoder_2='gru', depth=2, width=4, width_2=6, steps=40,
              compute_dtype='bfloat16')
  hyper = Hyper(lam=0.5, learning_rate=0.02)
  y = np.arange(16, dtype=np.int32) % CLASSES
  x1 = normal(16, 8, 8, 1) + np.float32(y)[:, None, None, None]
  frames = Frames(normal(16, T, 5) - np.float32(y)[:, None, None], np.tile(VALID, (4, 1)))
  build = functools.partial(init_state, spec=spec, n_outputs=CLASSES)
  state = fast(build, static_argnums=(2, 3))(jax.random.key(0), hyper, (8, 8, 1), (T, 5))
  step = fast(functools.partial(train_step, spec=spec, n_outputs=CLASSES))
  losses = []
  for _ in range(40):
    state, metrics = step(state, hyper, Batch((x1, frames), y))
    losses.append(float(metrics.loss))
  assert np.isfinite(losses).all() and losses[-1] < 0.7 * losses[0]


def test_unprojected_sides_of_different_widths_are_refused():
  spec = named.spec(projection='none', width_1=4, width_2=6)
  build = functools.partial(init_state, spec=spec, n_outputs=CLASSES)
  state = jax.eval_shape(lambda: build(jax.random.key(0), Hyper(), 3, 3))
  x = np.zeros((B, 3), np.float32)
  with pytest.raises(ValueError, match="projection='none' .* widths: 4 and 6"):
    jax.eval_shape(functools.partial(train_step, spec=spec, n_outputs=CLASSES), state, Hyper(),
                   Batch((x, x), np.zeros(B, np.int32)))
