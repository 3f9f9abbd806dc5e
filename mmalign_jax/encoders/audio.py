"""Encoders of frames, as of a spectrogram: x [B, T, F], or `Frames` with a mask of the valid ones.

Each gives every layer as [B, width_i], the last one last, and what masked frames hold, or how many
of them follow the valid ones, does not change it. A sample without a valid frame is no error.
"""

from flax import linen as nn
import jax
import jax.numpy as jnp

from mmalign_jax.encoders.layers import (
  Block,
  Conv,
  Drawn,
  Linear,
  Tokens,
  max_pool,
  parameter,
  product,
  with_class_token,
)
from mmalign_jax.types import Array, Frames, PyTree

HEADS = 2


def frames(x: PyTree, encoder: str, dtype: str) -> tuple[Array, Array]:
  """(x [B, T, F] in `dtype`, 0 where masked; mask [B, T] bool, all true where there is none).

  Raises:
    ValueError: where x is not [B, T, F], or its mask not [B, T].
  """
  given = x if isinstance(x, Frames) else Frames(x)
  if given.x.ndim != 3:
    raise ValueError(f'encoder {encoder!r} takes frames [B, T, F], not shape {given.x.shape}')
  x, mask = given.x.astype(dtype), given.mask
  if mask is None:
    return x, jnp.ones(x.shape[:2], bool)
  if mask.shape != x.shape[:2]:
    raise ValueError(f'encoder {encoder!r}: a mask of shape {mask.shape} for frames {x.shape}')
  mask = mask.astype(bool)
  return jnp.where(mask[..., None], x, 0), mask  # even a NaN there has no effect


class AudioCNN(Drawn, nn.Module):
  """Convolutional stages over time, or over time and features: x -> layers.

  Stage i convolves to width * 2**i channels, windows of 3, with a ReLU, and halves the map by
  maxima; its layer is the mean over the map's valid part. Masked frames are the zeros beyond an
  edge.

  axes: 1 (the features are channels) or 2 (the features are an axis of the map).
  """
  axes: int
  depth: int
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x, mask = frames(x, f'audio_cnn{self.axes}d', self.dtype)
    x = x if self.axes == 1 else x[..., None]
    valid = mask[..., None].astype(self.dtype)  # [B, T, 1]
    layers = []
    for i in range(self.depth):
      x = Conv(self.width * 2**i, (3,) * self.axes, self.dtype, name=f'conv_{i}')(x)
      x, valid = max_pool(over_frames(x, valid)), max_pool(valid)
      layers.append(valid_mean(x, valid))
    return tuple(layers)


def over_frames(x: Array, valid: Array) -> Array:
  """x [B, T, ..., C] times valid [B, T, 1]."""
  return x * jnp.broadcast_to(valid.reshape(valid.shape[:2] + (1,) * (x.ndim - 2)), x.shape)


def valid_mean(x: Array, valid: Array) -> Array:
  """Mean [B, C] in float32 of x [B, T, ..., C], which is 0 where valid [B, T, 1] is."""
  per_frame = jnp.mean(x.reshape(*x.shape[:2], -1, x.shape[-1]), axis=2, dtype=jnp.float32)
  count = jnp.sum(valid, axis=1, dtype=jnp.float32)  # [B, 1]
  return jnp.sum(per_frame, axis=1) / jnp.broadcast_to(
      jnp.maximum(count, 1), (x.shape[0], x.shape[-1]))


class AudioTransformer(Drawn, nn.Module):
  """Transformer (Vaswani et al. 2017): x -> the class token after every block [B, width].

  Learned positions, norm after each sum. As many frames at most as it was initialised with.
  """
  depth: int
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x, mask = frames(x, 'transformer', self.dtype)
    x = Linear(self.width, self.dtype, name='embed')(x)
    at = Tokens(self.width, 'frames', name='positions')(x.shape[1])
    x = x + jnp.broadcast_to(at.astype(self.dtype), x.shape)
    x = with_class_token(self, x, self.dtype)
    mask = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
    layers = []
    for i in range(self.depth):
      x = Block(HEADS, False, self.dtype, name=f'block_{i}')(x, mask, i + 1 == self.depth)
      layers.append(x[:, 0])
    return tuple(layers)


class GRU(Drawn, nn.Module):
  """Gated recurrent layers, each over the states of the one before: x -> last states [B, width]."""
  depth: int
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x, mask = frames(x, 'gru', self.dtype)
    layers = []
    for i in range(self.depth):
      last, x = GRULayer(self.width, self.dtype, name=f'layer_{i}')(x, mask)
      layers.append(last)
    return tuple(layers)


class GRULayer(nn.Module):
  """Cho et al. 2014, in the form of cuDNN: x [B, T, in], mask [B, T] -> (last state [B, width] f32,
  every state [B, T, width]). A masked frame leaves the state as it is."""
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array, mask: Array) -> tuple[Array, Array]:
    inputs = Linear(3 * self.width, self.dtype, name='inputs')(x)  # of all frames at once
    kernel = parameter(self, 'kernel', (self.width, 3 * self.width))
    bias = parameter(self, 'bias', (self.width,))

    def step(h, frame):
      gates, valid = frame
      new = gru_step(h, gates, kernel, bias, self.dtype)
      h = jnp.where(valid[:, None], new, h)
      return h, h.astype(self.dtype)

    # The state is float32: it is carried through all frames, and its rounding would add up.
    start = jnp.zeros((x.shape[0], self.width), jnp.float32)
    last, states = jax.lax.scan(step, start, (inputs.swapaxes(0, 1), mask.T))
    return last, states.swapaxes(0, 1)


def gru_step(h: Array, inputs: Array, kernel: Array, bias: Array,
             dtype: str) -> Array:
  """The next state [B, width], float32.

  Args:
    h: state [B, width]. inputs: [B, 3 width], what the frame gives to reset, update and candidate.
    kernel: [width, 3 width], bias: [width], of the state's part in them.
  """
  of_state = jnp.split(product(h, kernel, dtype).astype(jnp.float32), 3, axis=1)
  of_input = jnp.split(inputs.astype(jnp.float32), 3, axis=1)
  reset, update = (nn.sigmoid(of_input[i] + of_state[i]) for i in (0, 1))
  new = jnp.tanh(of_input[2] + reset * (of_state[2] + jnp.broadcast_to(bias, h.shape)))
  return (1 - update) * new + update * h
