"""The Transformer of *Emergence* (arXiv 2502.16282) on sequences of features."""

from flax import linen as nn
import jax.numpy as jnp

from mmalign_jax.encoders.audio import frames, valid_mean
from mmalign_jax.encoders.layers import Block, Drawn, Tokens, in_turn, with_class_token
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
    read = lambda x: (valid_mean(x * jnp.broadcast_to(valid, x.shape), valid) if self.mean
                      else x[:, 0])
    block = Block(1, False, self.dtype, parent=None)
    if self.mean:
      return tuple(in_turn(self, block, self.depth, x, mask, read)[1])
    x, layers = in_turn(self, block, self.depth - 1, x, mask, read)
    last = block.copy(name=f'block_{self.depth - 1}', parent=self)
    return (*layers, read(last(x, mask, True)))
