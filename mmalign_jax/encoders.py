"""Encoders, heads and their parameters: linen modules whose init and apply are pure functions.

Inside the modules of this file features come first ([D, B], weights [out, in]): with the batch in
the last axis a vmapped ensemble of narrow layers is markedly faster on CPU. Arrays cross the border
batch-first, as they go through the encoders of images and audio (`perception`).
"""

import math

import chex
from flax import linen as nn
from flax import struct
from flax import traverse_util
import jax
import jax.numpy as jnp

from mmalign_jax import perception
from mmalign_jax.perception.layers import initial
from mmalign_jax.types import Frames, Key, PyTree, Shape, Spec, lookup

EPS = 1e-12  # keeps the gradient of a norm finite at zero


@struct.dataclass
class Outputs:
  """layers: every hidden representation, each [B, width], last one what similarity is measured on;
  z [B, K] unit-norm embedding that is aligned; prediction [B, C] logits, or [B] for regression."""
  layers: tuple[chex.Array, ...]
  z: chex.Array
  prediction: chex.Array


class Dense(nn.Module):
  """x [in, B] -> kernel @ x + bias [features, B] in `dtype`."""
  features: int
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: chex.Array) -> chex.Array:
    kernel = self.param('kernel', nn.initializers.zeros, (self.features, x.shape[0]))
    bias = self.param('bias', nn.initializers.zeros, (self.features,))
    precision = 'highest' if self.dtype == 'float32' else None
    kernel, x, bias = (v.astype(self.dtype) for v in (kernel, x, bias))
    return jnp.dot(kernel, x, precision=precision) + bias[:, None]


class MLP(nn.Module):
  """`depth` layers of Dense and LeakyReLU(0.1), as in arXiv 2502.16282: x [D, B] -> every layer."""
  depth: int
  width: int
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x: chex.Array) -> tuple[chex.Array, ...]:
    layers = []
    for _ in range(self.depth):
      x = nn.leaky_relu(Dense(self.width, self.dtype)(x), 0.1)
      layers.append(x)
    return tuple(layers)


class Projection(nn.Module):
  """h [width, B] -> what is aligned [K, B]: h itself, one linear layer, or two with a LeakyReLU."""
  kind: str
  width: int
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, h: chex.Array) -> chex.Array:
    if self.kind == 'mlp':
      h = nn.leaky_relu(Dense(self.width, self.dtype, name='hidden')(h), 0.1)
    return h if self.kind == 'none' else Dense(self.width, self.dtype, name='out')(h)


class Side(nn.Module):
  """One modality's encoder with its projection and its task head: x -> Outputs, all float32.

  x: [B, D], images [B, H, W, C], frames [B, T, F] or `Frames`, as the encoder takes it; the MLP
  flattens what has more than one axis. n_outputs: C classes, or 1 for regression.

  Raises:
    ValueError: for an unknown encoder, or an x that it does not take.
  """
  spec: Spec
  n_outputs: int

  @nn.compact
  def __call__(self, x: PyTree) -> Outputs:
    spec, dtype = self.spec, self.spec.compute_dtype
    encoder = lookup(ENCODERS, spec.encoder, 'encoder')(spec, name='encoder')
    if spec.encoder in FEATURES_FIRST:
      layers = encoder(flat(x, spec.encoder).T)
    else:
      layers = tuple(h.T for h in encoder(x))
    z = Projection(spec.projection, spec.projection_width, dtype, name='projection')(layers[-1])
    prediction = Dense(self.n_outputs, dtype, name='head')(layers[-1])
    layers, z, prediction = jax.tree.map(
        lambda v: v.astype(jnp.float32), (layers, z, prediction))
    return Outputs(
        layers=tuple(h.T for h in layers), z=unit_norm(z.T),
        prediction=prediction[0] if spec.task == 'l1' else prediction.T)


def flat(x: PyTree, encoder: str) -> chex.Array:
  """x [B, ...] -> [B, D]."""
  if isinstance(x, Frames):
    raise ValueError(f'encoder {encoder!r} takes no mask of frames')
  if x.ndim > 2:
    x = x.reshape(x.shape[0], -1)
  chex.assert_rank(x, 2)
  return x


def unit_norm(z: chex.Array) -> chex.Array:
  """z [B, K] with rows of Euclidean norm 1; a zero row stays zero, with a finite gradient."""
  z = z.T
  return (z * jax.lax.rsqrt(jnp.sum(z * z, axis=0, keepdims=True) + EPS)).T


def init(key: Key, modules: tuple[Side, ...], *shapes: Shape) -> PyTree:
  """Parameters of one side or both.

  PyTorch's default, uniform within 1 / sqrt(fan in), biases too, but for the encoders of images and
  audio, which start as `perception.layers.initial` says. All are cut from one draw, since each draw
  of its own adds a third of a second to the compilation.

  Args:
    shapes: of one sample of each module's input (of x, for `Frames`), an int where it has one axis.

  Returns:
    {'side_1': params, 'side_2': params} for `modules[i].apply`.
  """
  sides = {f'side_{i + 1}': module for i, module in enumerate(modules)}
  leaves = traverse_util.flatten_dict({
      side: jax.eval_shape(module.init, key, example(shape))
      for (side, module), shape in zip(sides.items(), shapes, strict=True)})
  noise = jax.random.uniform(
      key, (sum(math.prod(s.shape) for s in leaves.values()),), minval=-1.0, maxval=1.0)
  params, start = {}, 0
  for path, shape in leaves.items():
    size = math.prod(shape.shape)
    own = noise[start:start + size].reshape(shape.shape)
    if path[2] == 'encoder' and sides[path[0]].spec.encoder not in FEATURES_FIRST:
      params[path] = initial(path[-1], own)
    else:
      params[path] = own / math.sqrt(leaves[(*path[:-1], 'kernel')].shape[-1])
    start += size
  return traverse_util.unflatten_dict(params)


def example(shape: Shape) -> jax.ShapeDtypeStruct:
  """Two samples of a shape."""
  return jax.ShapeDtypeStruct((2, *((shape,) if isinstance(shape, int) else shape)), jnp.float32)


ENCODERS = {
    'mlp': lambda spec, name: MLP(spec.depth, spec.width, spec.compute_dtype, name=name),
    'lenet': lambda spec, name: perception.LeNet(
        spec.depth, spec.width, spec.compute_dtype, name=name),
    'vit': lambda spec, name: perception.ViT(spec.depth, spec.width, spec.compute_dtype, name=name),
    'audio_cnn1d': lambda spec, name: perception.AudioCNN(
        1, spec.depth, spec.width, spec.compute_dtype, name=name),
    'audio_cnn2d': lambda spec, name: perception.AudioCNN(
        2, spec.depth, spec.width, spec.compute_dtype, name=name),
    'transformer': lambda spec, name: perception.AudioTransformer(
        spec.depth, spec.width, spec.compute_dtype, name=name),
    'gru': lambda spec, name: perception.GRU(spec.depth, spec.width, spec.compute_dtype, name=name),
}
FEATURES_FIRST = ('mlp',)  # encoders of [D, B]; the others are batch-first
PROJECTIONS = ('none', 'linear', 'mlp')
