"""Encoders of images [B, H, W, C]. Each gives every layer as [B, width_i], the last one last."""

from flax import linen as nn
import jax.numpy as jnp

from mmalign_jax.encoders.layers import (
  Block,
  Conv,
  Drawn,
  Linear,
  Tokens,
  layer_norm,
  max_pool,
  with_class_token,
)
from mmalign_jax.types import Array, Frames, PyTree

PATCH = 4
HEADS = 2


def images(x: PyTree, encoder: str) -> Array:
  """x itself.

  Raises:
    ValueError: where it is not [B, H, W, C].
  """
  if isinstance(x, Frames):
    raise ValueError(f'encoder {encoder!r} takes images [B, H, W, C] and no mask of frames')
  if x.ndim != 4:
    raise ValueError(f'encoder {encoder!r} takes images [B, H, W, C], not shape {x.shape}')
  return x


class LeNet(Drawn, nn.Module):
  """Convolutional stages and a dense layer, after LeCun et al. 1998: x [B, H, W, C] -> layers.

  Stage i convolves to width * 2**i channels, 5x5 at first and then 3x3, with a ReLU, and halves the
  map by maxima; its layer is the mean over the map. The dense layer is as wide as the last stage.
  """
  depth: int
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x = images(x, 'lenet').astype(self.dtype)
    layers = []
    for i in range(self.depth):
      size = 3 if i else 5
      x = max_pool(Conv(self.width * 2**i, (size, size), self.dtype, name=f'conv_{i}')(x))
      layers.append(jnp.mean(x, axis=(1, 2), dtype=jnp.float32))
    dense = Linear(x.shape[-1], self.dtype, 'filters', name='dense')
    return (*layers, nn.relu(dense(x.reshape(x.shape[0], -1))))


class ViT(Drawn, nn.Module):
  """Vision Transformer (Dosovitskiy et al. 2021): x [B, H, W, C] -> the class token after every
  block [B, width], after the last one normalised. Patches of 4x4, learned positions, norm first."""
  depth: int
  width: int
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x = Linear(self.width, self.dtype, name='embed')(patches(images(x, 'vit')))
    at = Tokens(self.width, 'patches', exact=True, name='positions')(x.shape[1])
    x = x + jnp.broadcast_to(at.astype(self.dtype), x.shape)
    x = with_class_token(self, x, self.dtype)
    layers = []
    for i in range(self.depth):
      x = Block(HEADS, True, self.dtype, name=f'block_{i}')(x, first=i + 1 == self.depth)
      layers.append(x[:, 0])
    return (*layers[:-1], layer_norm(self.dtype, 'norm')(layers[-1]))


def patches(x: Array) -> Array:
  """x [B, H, W, C] -> [B, H/4 * W/4, 16 C].

  Raises:
    ValueError: where 4 does not divide H and W.
  """
  batch, height, width, channels = x.shape
  if height % PATCH or width % PATCH:
    raise ValueError(f"encoder 'vit' cuts patches of {PATCH}x{PATCH}, which do not fill images of "
                     f'{height}x{width}')
  x = x.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
  return x.swapaxes(2, 3).reshape(batch, -1, PATCH * PATCH * channels)
