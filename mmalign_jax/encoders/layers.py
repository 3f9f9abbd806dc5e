"""Layers that the encoders of images and audio share, batch-first with the features last.

Parameters are float32 always; `dtype` names what products are computed in. Softmaxes, the
statistics of a norm and means are float32 whatever it is.
"""

from collections.abc import Callable
import itertools
import math

from flax import linen as nn
import jax
import jax.numpy as jnp

from mmalign_jax.types import Array, Key, PyTree

_NARROW = 32  # features, above which a loop over blocks runs 1.15 to 1.3 times as long
TOKEN = 0.02  # standard deviation of learned tokens and positions at the start, as in BERT and ViT


def initial(name: str, noise: Array) -> Array:
  """First value of the parameter `name` from noise uniform in -1..1, of the parameter's shape.

  kernel [in, out]: LeCun, variance 1 / in. filters [in, out], before a ReLU: He, 2 / in. tokens:
  variance TOKEN**2. bias: 0. scale: 1. Named, so that `encoders.init` can cut all from one draw.
  """
  if name in ('bias', 'scale'):
    return jnp.full_like(noise, name == 'scale')
  variance = {'kernel': 1 / noise.shape[0], 'filters': 2 / noise.shape[0], 'tokens': TOKEN**2}[name]
  return noise * math.sqrt(3 * variance)


class Drawn:
  """Of an encoder that starts as `initial` says: `encoders.init` cuts all from one draw."""

  @staticmethod
  def initial(path: tuple[str, ...], noise: Array, shapes: dict) -> Array:
    """First value of the parameter at `path` from noise uniform in -1..1 of its shape."""
    del shapes
    return initial(path[-1], noise)


def parameter(module: nn.Module, name: str, shape: tuple[int, ...]) -> Array:
  """The parameter `name` of a module, float32, started as `initial` says."""
  def start(key: Key, shape: tuple[int, ...]) -> Array:
    return initial(name, jax.random.uniform(key, shape, minval=-1.0, maxval=1.0))
  return module.param(name, start, shape)


def product(x: Array, kernel: Array, dtype: str) -> Array:
  """x [..., in] @ kernel [in, out] in `dtype`, in full precision where that is float32."""
  precision = 'highest' if dtype == 'float32' else None
  return jnp.dot(x.astype(dtype), kernel.astype(dtype), precision=precision)


class Linear(nn.Module):
  """x [..., in] -> [..., features] in `dtype`; weights: the parameter's name (see `initial`).

  columns: of the features, where not all are wanted; of one without a bias.
  """
  features: int
  dtype: str
  weights: str = 'kernel'
  use_bias: bool = True

  @nn.compact
  def __call__(self, x: Array, columns: slice = slice(None)) -> Array:
    kernel = parameter(self, self.weights, (x.shape[-1], self.features))
    y = product(x, kernel[:, columns], self.dtype)
    if not self.use_bias:
      return y
    bias = parameter(self, 'bias', (self.features,)).astype(self.dtype)
    return y + jnp.broadcast_to(bias, y.shape)


class Conv(nn.Module):
  """x [B, *S, in] -> ReLU of its convolution [B, *S, features], zeros beyond the edges.

  Written as one product over the shifted copies: XLA turns a convolution that is vmapped over
  kernels into a grouped one, which on a CPU is about three times slower than this.

  size: of the window along each axis of S, odd.
  """
  features: int
  size: tuple[int, ...]
  dtype: str

  @nn.compact
  def __call__(self, x: Array) -> Array:
    extent = x.shape[1:-1]
    padded = jnp.pad(x, ((0, 0), *((s // 2, s // 2) for s in self.size), (0, 0)))
    windows = [
        padded[(slice(None), *(slice(i, i + n) for i, n in zip(shift, extent)))]
        for shift in itertools.product(*map(range, self.size))]
    return nn.relu(Linear(self.features, self.dtype, 'filters', name='product')(
        jnp.concatenate(windows, axis=-1)))


def max_pool(x: Array) -> Array:
  """x [B, *S, C] >= 0 -> maxima of pairs along every axis of S; a last one alone stays alone.

  A maximum over an axis of a reshape: its gradient is far faster than that of `reduce_window`.
  """
  extent = x.shape[1:-1]
  x = jnp.pad(x, ((0, 0), *((0, n % 2) for n in extent), (0, 0)))  # 0 is neutral: x >= 0
  pairs = itertools.chain.from_iterable((-(-n // 2), 2) for n in extent)
  axes = tuple(2 * i + 2 for i in range(len(extent)))
  return x.reshape(x.shape[0], *pairs, x.shape[-1]).max(axes)


class Attention(nn.Module):
  """Softmax attention among tokens (Vaswani et al. 2017): x [B, T, width], mask [B, T] -> the same.

  first: of the first token alone, [B, 1, width].

  Queries, keys and values have no bias: one of the keys moves no output, and one of the values
  moves it as the bias of the last product does.
  """
  heads: int
  dtype: str

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None, first: bool = False) -> Array:
    width = x.shape[-1]
    if width % self.heads:
      raise ValueError(f'width={width} must be divisible by the {self.heads} heads of attention')
    qkv = Linear(3 * width, self.dtype, use_bias=False, name='qkv')
    q, k, v = (
        qkv(h, slice(i * width, (i + 1) * width)).reshape(*h.shape[:2], self.heads, -1)
        for i, h in enumerate((x[:, :1] if first else x, x, x)))
    precision = 'highest' if self.dtype == 'float32' else None
    logits = jnp.einsum('bqhd,bkhd->bhqk', q, k, precision=precision,
                        preferred_element_type=jnp.float32) / math.sqrt(width // self.heads)
    if mask is not None:
      logits = jnp.where(mask[:, None, None, :], logits, -1e30)  # finite: no NaN in a gradient
    weights = nn.softmax(logits, axis=-1).astype(self.dtype)
    mixed = jnp.einsum('bhqk,bkhd->bqhd', weights, v, precision=precision)
    return Linear(width, self.dtype, name='out')(mixed.reshape(*q.shape[:2], width))


class Block(nn.Module):
  """Attention, then two layers with a GELU, each added to its input: x [B, T, width] -> the same.

  The norm is taken of what goes in (`pre_norm`) or, as in the first Transformer, of each sum.
  first: the first token alone, [B, 1, width]: all that is read of a last block that ends in a class
  token, for a seventh of the products.
  """
  heads: int
  pre_norm: bool
  dtype: str

  @nn.compact
  def __call__(self, x: Array, mask: Array | None = None, first: bool = False) -> Array:
    width = x.shape[-1]
    attend = lambda h: Attention(self.heads, self.dtype, name='attention')(h, mask, first)
    feed = lambda h: Linear(width, self.dtype, name='out')(
        nn.gelu(Linear(4 * width, self.dtype, name='hidden')(h)))
    for i, part in enumerate((attend, feed)):
      norm = layer_norm(self.dtype, f'norm_{i}')
      change = part(norm(x) if self.pre_norm else x)
      x = x[:, :change.shape[1]] + change
      x = x if self.pre_norm else norm(x)
    return x


def in_turn(module: nn.Module, block: nn.Module, count: int, x: Array, mask: Array | None,
            read: Callable[[Array], Array]) -> tuple[Array, list[Array]]:
  """x [B, T, width] after `count` blocks alike, and what is read of it after each.

  The parameters are those of block_0, block_1, ... of a module, as if each were called. Of narrow
  ones a single block and its gradient are compiled, however many there are: unrolled, the program
  of a deep encoder takes longer to compile than to train it on a few hundred samples.
  """
  names = [f'block_{i}' for i in range(count)]
  if count < 3 or x.shape[-1] > _NARROW or module.is_initializing():
    layers = []
    for name in names:
      x = block.copy(name=name, parent=module)(x, mask)
      layers.append(read(x))
    return x, layers
  known = module.variables['params']
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(known[name] for name in names))

  def one(x: Array, params: PyTree) -> tuple[Array, Array]:
    # Flax types `apply` as for a call with `mutable`, which returns a pair
    y: Array = block.apply({'params': params}, x, mask)  # pyright: ignore[reportAssignmentType]
    return y, read(y)
  x, layers = jax.lax.scan(one, x, stacked)
  return x, list(layers)


def layer_norm(dtype: str, name: str) -> nn.LayerNorm:
  """LayerNorm over features whose statistics are float32."""
  return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False, name=name)


class Tokens(nn.Module):
  """Learned vectors [length, width]; a shorter length than at initialisation takes the first ones.

  Raises:
    ValueError: for a longer one, or with `exact` any other one.
  """
  width: int
  what: str
  exact: bool = False

  @nn.compact
  def __call__(self, length: int) -> Array:
    if not self.has_variable('params', 'tokens'):
      return parameter(self, 'tokens', (length, self.width))
    known = self.get_variable('params', 'tokens')
    if length > known.shape[0] or (self.exact and length != known.shape[0]):
      raise ValueError(f'{length} {self.what}, but parameters for {known.shape[0]}')
    return known[:length]


def with_class_token(module: nn.Module, x: Array, dtype: str) -> Array:
  """x [B, T, width] -> [B, 1 + T, width] with a learned token before the others, to sum them up.

  It has no position of its own, which would only be added to it.
  """
  token = parameter(module, 'tokens', (1, x.shape[-1])).astype(dtype)
  first = jnp.broadcast_to(token, (x.shape[0], *token.shape))
  return jnp.concatenate([first, x.astype(dtype)], axis=1)
