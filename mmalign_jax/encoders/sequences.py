"""The Transformer of *Emergence* (arXiv 2502.16282) on sequences of features."""

from flax import linen as nn
import jax.numpy as jnp

from mmalign_jax.encoders.audio import frames, valid_mean
from mmalign_jax.encoders.layers import Block, Drawn, Tokens, with_class_token
from mmalign_jax.types import Array, PyTree


class SequenceTransformer(Drawn, nn.Module):
  """As wide as its input, one head, learned positions, norm after each sum: x -> layers [B, F].

  A layer is the class token after a block or, with `mean`, the mean over the valid steps, as the
  paper has it for classes and for regression. Masked steps change nothing. As many steps at most
  as it was initialised with.
  """
  depth: int
  mean: bool
  dtype: str

  @nn.compact
  def __call__(self, x: PyTree) -> tuple[Array, ...]:
    x, mask = frames(x, 'sequence_transformer', self.dtype)
    at = Tokens(x.shape[2], 'frames', name='positions')(x.shape[1])
    x = x + jnp.broadcast_to(at.astype(self.dtype), x.shape)
    if not self.mean:
      x = with_class_token(self, x, self.dtype)
      mask = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)
    valid = mask[..., None].astype(self.dtype)
    layers = []
    for i in range(self.depth):
      first = not self.mean and i + 1 == self.depth
      x = Block(1, False, self.dtype, name=f'block_{i}')(x, mask, first)
      layers.append(valid_mean(x * jnp.broadcast_to(valid, x.shape), valid) if self.mean
                    else x[:, 0])
    return tuple(layers)
