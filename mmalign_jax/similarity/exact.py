"""Nearness of samples in float64, whatever JAX's own setting: what decides neighbours and ranks.

Everything here is called within `jax.enable_x64(True)`. Distances come from differences of rows, or
from products where those keep their digits; two that agree but for rounding are equal (`TIE`).
"""

import functools

import jax
import jax.numpy as jnp

from mmalign_jax.names import METRICS as METRICS
from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.similarity.preprocess import center, power
from mmalign_jax.types import Array, Numeric

TIE = 1e-12   # distances that differ by less, relative to themselves, are equal: far above what
# float64 sums round (1e-15 to 1e-13), far below what separates distances of different samples
UNIT = 2.0**-46  # the same for rows that were brought to norm 1, absolute: 64 roundings
_CLOSE = 2.0**-20  # squared distances below this share of the squares lose digits in products
_FEW = 32          # features up to which differences cost no more than products


def points(z: Array, metric: str) -> tuple[Array, Array]:
  """Rows p [N, D] f64 whose distances or products the metric is, and the scale [] taken out of z:
  1, but a power of two where squares would leave the range."""
  z = jax.lax.stop_gradient(z).astype(jnp.float64)
  scale = power(jnp.max(jnp.abs(z)))
  scale = jnp.where((scale > 2.0**-400) & (scale < 2.0**400), 1, scale)
  z = z / scale
  if metric != 'cosine':
    return z, scale
  square = jnp.sum(z * z, axis=1, keepdims=True)
  return z / jnp.sqrt(jnp.where(square > 0, square, 1)), scale


def squares(z: Array) -> Array:
  """|z_i|^2 [N] of rows [N, D]. As a product: XLA joins sums over the features with whatever else
  is made of z into one loop, which on a CPU takes four times as long as they do one by one."""
  return jnp.einsum('ij,ij->i', z, z, precision='highest')


def nearness(a: Array, b: Array, metric: str, *given: Array) -> Array:
  """How near rows a, b [..., D] of `points` are, higher is nearer: -|a - b|^2 for 'euclidean',
  cosine - 1 for 'cosine', where differences keep more digits than products; given: `some` of both,
  where it is known."""
  if metric == 'inner_product':
    return jnp.sum(a * b, axis=-1)
  square = jnp.sum(jnp.square(a - b), axis=-1)
  return -square if metric == 'euclidean' else _cosine(square, *(given or (some(a), some(b))))


def slack(near: Array, metric: str, size: Numeric, features: int) -> Array:
  """By how much two values of `nearness` [...] may differ and be equal; size [...]: of the largest
  product of the sample."""
  if metric == 'inner_product':
    return jnp.broadcast_to(4 * features**0.5 * 2.0**-52 * size, near.shape)
  square = jnp.abs(near)
  return 2 * TIE * square + (0 if metric == 'euclidean' else
                             2 * UNIT * jnp.sqrt(square) + UNIT**2)


def tie(distance: Array, metric: str, error: Array) -> Array:
  """By how much two distances [...], the roots of -`nearness`, may differ and be equal; error []:
  of their squares, where they come from products."""
  of_products = error / jnp.where(distance > 0, 2 * distance, 1)
  return (jnp.minimum(of_products, 100 * TIE * distance) + TIE * distance
          + (UNIT if metric == 'cosine' else 0))


def squared_distances(rows: Array, z: Array, own: Array | None = None,
                      ) -> tuple[Array, Array]:
  """|row_i - z_j|^2 [B, N] of rows [B, D] and z [N, D], f64; and its error [].

  From products of centred rows where those keep enough digits, else from differences, whose error
  is relative and well below TIE. own [B]: which of z a row is, whose distance is then 0.
  """
  def by_differences(_):
    square = jax.lax.map(lambda row: jnp.sum(jnp.square(z - row[None]), axis=1), rows)
    return square, jnp.zeros((), z.dtype)
  n, features = z.shape
  if features <= _FEW:
    return by_differences(None)
  mean = z.mean(axis=0, keepdims=True)
  a, b = rows - mean, z - mean
  sizes = jnp.sum(a * a, axis=1)[:, None] + jnp.sum(b * b, axis=1)[None]
  square = sizes - 2 * jnp.dot(a, b.T, precision='highest')
  close = square <= _CLOSE * sizes
  if own is not None:
    itself = own[:, None] == jnp.arange(n)[None]
    square, close = jnp.where(itself, 0, square), close & ~itself
  error = 4 * features**0.5 * 2.0**-52 * jnp.max(sizes)
  room, entries = 16 * len(rows), len(rows) * n
  def some_by_differences(_):  # as of copies: a few pairs of every sample
    at = jnp.nonzero(close.ravel(), size=room, fill_value=entries)[0]
    i, j = jnp.minimum(at // n, len(rows) - 1), at % n
    new = jnp.sum(jnp.square(rows[i] - z[j]), axis=1)
    return square.ravel().at[at].set(new, mode='drop').reshape(square.shape), error
  count = jnp.sum(close)
  return jax.lax.switch((count > 0).astype(jnp.int32) + (count > room),
                        [lambda _: (square, error), some_by_differences, by_differences], None)


def nearness_to_all(rows: Array, p: Array, metric: str, own: Array | None = None,
                    ) -> tuple[Array, Array]:
  """`nearness` [B, N] of rows [B, D] to all p [N, D], both of `points`; and its error []."""
  if metric == 'inner_product':
    return jnp.dot(rows, p.T, precision='highest'), jnp.zeros((), p.dtype)
  square, error = squared_distances(rows, p, own)
  if metric == 'euclidean':
    return -square, error
  return _cosine(square, some(rows)[:, None], some(p)[None]), error / 2


@functools.partial(jax.jit, static_argnums=1)
def all_nearness(p: Array, metric: str) -> tuple[Array, Array]:
  """`nearness` [N, N] of all pairs of `points` [N, D], and its largest error []."""
  near, error = row_blocks(lambda rows, index: _spread(*nearness_to_all(rows, p, metric, index)), p,
                           entries=1 << 20)
  return near, jnp.max(error)


def _spread(near: Array, error: Array) -> tuple[Array, Array]:
  return near, jnp.broadcast_to(error, near.shape[:1])


@jax.custom_jvp
def all_squared_distances(z: Array) -> Array:
  """|z_i - z_j|^2 [N, N] of z [N, D], from float64, in the type of z; so is its derivative."""
  with jax.enable_x64(True):
    p, scale = points(z, 'euclidean')
    return jnp.maximum(-all_nearness(p, 'euclidean')[0] * scale**2, 0).astype(z.dtype)


@all_squared_distances.defjvp
def _all_squared_distances_jvp(primals, tangents):
  (z,), (dz,) = primals, tangents
  def products(z):
    z = center(z)
    squares = jnp.sum(z * z, axis=1)
    return squares[:, None] + squares[None] - 2 * jnp.dot(z, z.T, precision='highest')
  return all_squared_distances(z), jax.jvp(products, (z,), (dz,))[1]


def ordered(near: Array, index: Array, tolerance: Array, k: int,
            ) -> tuple[Array, Array]:
  """The k nearest, nearest first: near and index [B, C] -> [B, k] of each.

  Values that follow each other within `tolerance` [B, C] (of the farther one) are equal, and of
  equal ones the lower index comes first.
  """
  far, index, tolerance = jax.lax.sort(
      [jnp.asarray(value) for value in (-near, index, tolerance)], num_keys=1)
  step = jnp.diff(far, axis=1, prepend=far[:, :1])
  step = jnp.where(jnp.isnan(step), 0, step)  # inf - inf: what is not allowed, equal to nothing
  tolerance = jnp.where(jnp.isinf(far), 0, tolerance)
  group = jnp.cumsum(step > tolerance, axis=1, dtype=jnp.int32)
  _, index, far = jax.lax.sort((group, index, far), num_keys=2)
  return -far[:, :k], index[:, :k]


def some(p: Array) -> Array:
  """Which rows [...] of p [..., D] are not of zeros."""
  return jnp.any(p != 0, axis=-1)


def _cosine(square: Array, a: Array, b: Array) -> Array:
  """cosine - 1 from the squared distance of rows of norm 1, or of zeros: those have cosine 0."""
  return jnp.where(a & b, -square / 2, -1.0)
