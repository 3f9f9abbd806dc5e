"""CKA of data that come in batches: running sums, exact or averaged.

Exact (linear kernel): `start` with a first batch, `update` with each further one, `cka` of the sums
at the end. It equals the value on all samples at once, whatever the batches, and holds D1 x D1 + D2
x D2 + D1 x D2 numbers. Averaged (Nguyen et al. 2021): the ratio of sums over batches of the
unbiased HSIC. Each of the three is unbiased whatever the batch size, so the ratio tends to the
debiased CKA of all samples as batches are added, and equals it for one batch.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity import linear
from mmalign_jax.similarity.gram import ratio
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.prepared import plain
from mmalign_jax.similarity.preprocess import scaled, without_constants
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array


@struct.dataclass
class Moments:
  """Sums over samples of a pair of sides a [D1], b [D2]: a b^T, |b|^2 a, |a|^2 b, |a|^2 |b|^2."""
  product: Array  # [D1, D2]
  a_weighted: Array  # [D1]
  b_weighted: Array  # [D2]
  squares: Array  # []


@struct.dataclass
class Sums:
  """n [], the shift that is taken off every sample, sums over samples, and moments of the pairs."""
  n: Array
  shift_x: Array  # [D1]
  shift_y: Array  # [D2]
  x: Array  # [D1]
  y: Array  # [D2]
  square_x: Array  # []
  square_y: Array  # []
  xy: Moments
  xx: Moments
  yy: Moments


@functools.partial(wide, state=True)
def start(x: Array, y: Array) -> Sums:
  """Sums of a first batch x [B, D1], y [B, D2]; later samples are shifted by its means.

  Raises:
    ValueError: for arrays that do not fit.
  """
  x, y = paired(x, y, least=1)
  return _sums(x, y, x.mean(axis=0), y.mean(axis=0))


@functools.partial(wide, state=True)
def update(sums: Sums, x: Array, y: Array) -> Sums:
  """Adds a batch x [B, D1], y [B, D2] of any size.

  Raises:
    ValueError: for arrays that do not fit.
  """
  x, y = paired(x, y, least=1)
  for name, z, shift in (('x', x, sums.shift_x), ('y', y, sums.shift_y)):
    if z.shape[1:] != shift.shape:
      raise ValueError(f'{name} has {z.shape[1]} features; the first batch had {shift.shape[0]}')
  more = _sums(x, y, sums.shift_x, sums.shift_y)
  added = jax.tree.map(jnp.add, sums, more)
  return dataclasses.replace(added, shift_x=sums.shift_x, shift_y=sums.shift_y)


@wide
def cka(sums: Sums, *, debiased: bool = True) -> Array:
  """Linear CKA [] of all samples that were added; 0 where a side is constant."""
  s = sums
  sides = {'xy': (s.xy, s.x, s.y, s.square_x, s.square_y),
           'xx': (s.xx, s.x, s.x, s.square_x, s.square_x),
           'yy': (s.yy, s.y, s.y, s.square_y, s.square_y)}
  inner = _debiased if debiased else _biased
  products = {name: inner(s.n, *side) for name, side in sides.items()}
  scale_x, scale_y = (jnp.where(q > 0, q, 1) for q in (s.square_x, s.square_y))
  return ratio(products['xy'] / scale_x / scale_y, products['xx'] / scale_x**2,
               products['yy'] / scale_y**2)


def _sums(x, y, shift_x, shift_y) -> Sums:
  a, b = x - shift_x[None], y - shift_y[None]
  p, q = jnp.sum(a * a, axis=1), jnp.sum(b * b, axis=1)
  return Sums(jnp.asarray(len(x), x.dtype), shift_x, shift_y, a.sum(axis=0), b.sum(axis=0), p.sum(),
              q.sum(), _moments(a, b, p, q), _moments(a, a, p, p), _moments(b, b, q, q))


def _moments(a, b, p, q) -> Moments:
  dot = lambda one, two: jnp.dot(one, two, precision='highest')
  return Moments(dot(a.T, b), dot(q, a), dot(p, b), dot(p, q))


def _biased(n, m: Moments, a, b, p, q):
  """|| a^T b ||^2 of centred features."""
  return jnp.sum(jnp.square(m.product - a[:, None] * b[None] / n))


def _debiased(n, m: Moments, a, b, p, q):
  """n (n - 3) HSIC of Song et al. (2012), equation 5, from the sums."""
  dot = lambda one, two: jnp.dot(one, two, precision='highest')
  ones_k = dot(a, a) - p
  ones_l = dot(b, b) - q
  through = dot(dot(a, m.product), b) - dot(a, m.a_weighted) - dot(b, m.b_weighted) + m.squares
  return (jnp.sum(jnp.square(m.product)) - m.squares + ones_k * ones_l / ((n - 1) * (n - 2))
          - 2 / (n - 2) * through)


# -- averaged over batches -----------------------------------------------------------------------


@struct.dataclass
class Side:
  """Centred features z [N, D] and the batch size."""
  z: Array
  batch_size: int = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Side':
    return dataclasses.replace(self, z=self.z[order])


def prepare(z: Array, *, batch_size: int = 256) -> Side:
  """The side z [N, D]."""
  batch_size = plain(batch_size)
  if batch_size < 4:
    raise ValueError(f'batch_size={batch_size} must be at least 4: debiased HSIC needs 4 samples')
  return Side(scaled(without_constants(z))[0], min(batch_size, z.shape[0]))


@jax.jit
def compare(x: Side, y: Side) -> Array:
  """Ratio of the sums over batches; samples beyond the last full batch are left out."""
  size, count = x.batch_size, x.z.shape[0] // x.batch_size
  batches = [z[:count * size].reshape(count, size, -1) for z in (x.z, y.z)]
  def products(batch):
    a, b = (linear.prepare(z, debiased=True) for z in batch)
    return linear.inner(a, b) * a.scale * b.scale, a.norm * a.scale**2, b.norm * b.scale**2
  xy, xx, yy = (terms.sum() for terms in jax.lax.map(products, tuple(batches)))
  return ratio(xy, xx, yy)


@wide
def minibatch_cka(x: Array, y: Array, *, batch_size: int = 256) -> Array:
  """Debiased linear CKA averaged over batches (Nguyen et al. 2021), x [N, D1], y [N, D2]: [] <= 1.

  Sums of the unbiased HSIC over batches of `batch_size` samples in their order, then their ratio.
  Equals `debiased_linear_cka` where batch_size >= N, and tends to it as batches are added: choose
  it for comparison with published values; `start`, `update` and `cka` give the full value from
  batches without this error. Higher is more similar; invariances as `debiased_linear_cka`.

  Precision: as `linear_cka`.

  Raises:
    ValueError: batch_size < 4, N < 4, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(minibatch_cka(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 1.0, 0.851]
  """
  x, y = paired(x, y, least=4, shift=True)
  return compare(prepare(x, batch_size=batch_size), prepare(y, batch_size=batch_size))


MEASURES = {
    'minibatch_cka': Measure(
        minibatch_cka, prepare, compare, 'debiased linear CKA averaged over batches of 256', '..1',
        ('orthogonal', 'scaling', 'translation'), {'batch_size': 256}, least=4),
}
