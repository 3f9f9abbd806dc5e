"""One side: encoder, projection and head, linen modules whose init and apply are pure functions.

Arrays cross the border batch-first, as they go through the encoders of images and audio; inside
`mlp` features come first.
"""

from collections.abc import Callable
import math
from typing import Any

import chex
from flax import linen as nn, traverse_util
import jax
import jax.numpy as jnp

from mmalign_jax import losses
from mmalign_jax.encoders.audio import GRU, AudioCNN, AudioTransformer
from mmalign_jax.encoders.mlp import MLP, Dense, Projection, fan_in
from mmalign_jax.encoders.sequences import SequenceTransformer
from mmalign_jax.encoders.vision import LeNet, ViT
from mmalign_jax.types import Array, Frames, Key, Outputs, PyTree, Shape, Spec, lookup

EPS = 1e-12  # keeps the gradient of a norm finite at zero


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
    encoder, projection = parts(spec)
    if features_first(encoder):
      layers = encoder(flat(x, spec.encoder).T)
    else:
      layers = tuple(h.T for h in encoder(x))
    z = projection(layers[-1]) if features_first(projection) else projection(layers[-1].T).T
    prediction = Dense(self.n_outputs, dtype, name='head')(layers[-1])
    predicted = predictor(spec, z.shape[0])(z) if predicts(spec) else None
    layers, z, prediction, predicted = jax.tree.map(
        lambda v: v.astype(jnp.float32), (layers, z, prediction, predicted))
    return Outputs(
        layers=tuple(h.T for h in layers), z=unit_norm(z.T), raw=z.T,
        prediction=prediction[0] if losses.task_of(spec.task).regression else prediction.T,
        predicted=None if predicted is None else predicted.T)


def parts(spec: Spec) -> tuple[nn.Module, nn.Module]:
  """The encoder and the projection of one side, as the registries make them."""
  return (lookup(ENCODERS, spec.encoder, 'encoder')(spec, name='encoder'),
          lookup(PROJECTIONS, spec.projection, 'projection')(spec, name='projection'))


def predicts(spec: Spec) -> bool:
  """Whether the loss asks for a predictor on the embedding."""
  return bool(spec.loss) and losses.loss_of(spec.loss).predicts


def predictor(spec: Spec, width: int) -> Projection:
  """Two layers of the width of the embedding."""
  return Projection(width, True, spec.compute_dtype, name='predictor')


def features_first(module: nn.Module) -> bool:
  """Whether a module takes and gives [D, B]; one that does not say so is batch-first."""
  return getattr(module, 'features_first', False)


def flat(x: PyTree, encoder: str) -> Array:
  """x [B, ...] -> [B, D]."""
  if isinstance(x, Frames):
    raise ValueError(f'encoder {encoder!r} takes no mask of frames')
  if x.ndim > 2:
    x = x.reshape(x.shape[0], -1)
  chex.assert_rank(x, 2)
  return x


def unit_norm(z: Array) -> Array:
  """z [B, K] with rows of Euclidean norm 1; a zero row stays zero, with a finite gradient."""
  z = z.T
  return (z * jax.lax.rsqrt(jnp.sum(z * z, axis=0, keepdims=True) + EPS)).T


def init(key: Key, modules: tuple[Side, ...], *shapes: Shape) -> PyTree:
  """Parameters of one side or both.

  PyTorch's default (`fan_in`), but for the encoders of images and audio, which start as
  `layers.initial` says. All are cut from one draw, since each draw of its own adds a
  third of a second to the compilation. A module of a registry that has no `initial` of its own,
  (path, noise uniform in -1..1, shapes) -> value, starts as its own initialisers say.

  Args:
    shapes: of one sample of each module's input (of x, for `Frames`), an int where it has one axis.

  Returns:
    {'side_1': params, ...} for `modules[i].apply`.

  Raises:
    ValueError: a module with variables other than parameters.
  """
  sides = {f'side_{i + 1}': module for i, module in enumerate(modules)}
  leaves = _flattened({
      side: jax.eval_shape(module.init, key, example(shape))
      for (side, module), shape in zip(sides.items(), shapes, strict=True)})
  rules = {side: _initials(module) for side, module in sides.items()}
  drawn = {path: (shape, rule) for path, shape in leaves.items()
           if (rule := rules[path[0]][path[2]]) is not None}
  own = leaves.keys() - drawn.keys()
  params, start = {}, 0
  for number, ((side, module), shape) in enumerate(zip(sides.items(), shapes), start=1):
    _check_collections(module, {path[1] for path in leaves if path[0] == side})
    if any(path[0] == side for path in own):
      made = _flattened({side: module.init(
          jax.random.fold_in(key, number), jnp.zeros(example(shape).shape))})
      params |= {path: made[path] for path in own if path[0] == side}
  noise = jax.random.uniform(
      key, (sum(math.prod(s.shape) for s, _ in drawn.values()),), minval=-1.0, maxval=1.0)
  for path, (shape, rule) in drawn.items():
    size = math.prod(shape.shape)
    params[path] = rule(path, noise[start:start + size].reshape(shape.shape), leaves)
    start += size
  return traverse_util.unflatten_dict(params)


def _flattened(tree: PyTree) -> dict[tuple[str, ...], Any]:
  """{path: leaf} of nested dicts."""
  return traverse_util.flatten_dict(tree)


def _initials(side: Side) -> dict[str | None, Callable | None]:
  """{part of a side: how its parameters start from noise, None as its own initialisers say}."""
  own = (*parts(side.spec), *([predictor(side.spec, 1)] if predicts(side.spec) else []))
  return {'head': fan_in, **{module.name: getattr(module, 'initial', None) for module in own}}


def _check_collections(side: Side, collections: set[str]) -> None:
  other = sorted(collections - {'params'})
  if other:
    raise ValueError(f'encoder={side.spec.encoder!r} or projection={side.spec.projection!r} keeps '
                     f'variables {", ".join(other)}; only parameters are trained')


def example(shape: Shape) -> jax.ShapeDtypeStruct:
  """Two samples of a shape."""
  return jax.ShapeDtypeStruct((2, *((shape,) if isinstance(shape, int) else shape)), jnp.float32)


# A row: (spec, name) -> a linen module, x -> every layer. It takes and gives the batch first and
# starts as its own initialisers say, unless `features_first` or `initial` in its class says other.
ENCODERS = {
    'mlp': lambda spec, name: MLP(spec.depth, spec.width, spec.compute_dtype, name=name),
    'lenet': lambda spec, name: LeNet(
        spec.depth, spec.width, spec.compute_dtype, name=name),
    'vit': lambda spec, name: ViT(spec.depth, spec.width, spec.compute_dtype, name=name),
    'audio_cnn1d': lambda spec, name: AudioCNN(
        1, spec.depth, spec.width, spec.compute_dtype, name=name),
    'audio_cnn2d': lambda spec, name: AudioCNN(
        2, spec.depth, spec.width, spec.compute_dtype, name=name),
    'transformer': lambda spec, name: AudioTransformer(
        spec.depth, spec.width, spec.compute_dtype, name=name),
    'gru': lambda spec, name: GRU(spec.depth, spec.width, spec.compute_dtype, name=name),
    'sequence_transformer': lambda spec, name: SequenceTransformer(
        spec.depth, losses.task_of(spec.task).regression, spec.compute_dtype, name=name),
}
# A row: (spec, name) -> a linen module, the last layer -> what is aligned; the rest as above.
PROJECTIONS = {
    'none': lambda spec, name: Projection(None, name=name),
    'linear': lambda spec, name: Projection(
        spec.projection_width, dtype=spec.compute_dtype, name=name),
    'mlp': lambda spec, name: Projection(
        spec.projection_width, True, spec.compute_dtype, name=name),
}
