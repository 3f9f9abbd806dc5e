"""Nearest neighbours of one side: exact, symmetric, and one tile of products at a time.

By cosine, inner product or Euclidean distance; the sample itself is left out; ties go to the lower
index. The products of all pairs are made in float32, in tiles of at most TILE x TILE, each once: a
tile serves its rows, and turned its columns. A few more candidates than neighbours are kept. Where
rounding of the products could decide their order, by a bound that holds for any order of summation,
float64 distances of the given rows decide; where it could have kept a neighbour out, the sample is
compared with all others in float64. Memory: the features in float64, O(k N) and a few tiles of 16
MiB.
"""

import functools

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.similarity import exact, item_neighbors
from mmalign_jax.similarity.blocks import settled
from mmalign_jax.similarity.exact import METRICS
from mmalign_jax.similarity.prepared import plain
from mmalign_jax.similarity.preprocess import normalize, power
from mmalign_jax.types import Array

TILE = 2048
MORE = 4  # candidates beyond k
FEW = 200  # samples up to which all is done in float64 at once: sooner compiled, and no slower

Found = tuple[Array, Array]  # values and indices [..., k], best first


@struct.dataclass
class Neighbors:
  """lists [k, N] i32: the neighbours of every sample, nearest first; values [k, N]: how near, by
  the product, or -|a - b|^2 for 'euclidean'. first [N] i32: the first sample of every sample's
  item, None where each is an item of its own; see `item_neighbors`."""
  lists: Array
  values: Array
  first: Array | None = None

  @property
  def names(self) -> Array:
    """[k, N] i32: which neighbours these are, equal for samples of one item."""
    return self.lists if self.first is None else self.first[self.lists]

  @property
  def own(self) -> Array:
    """[N] i32: the name of every sample itself."""
    n = self.lists.shape[1]
    return jnp.arange(n, dtype=self.lists.dtype) if self.first is None else self.first

  def take(self, order: Array) -> 'Neighbors':
    every = jnp.arange(order.shape[0], dtype=order.dtype)
    place = jnp.zeros_like(order).at[order].set(every)
    first = self.first
    if first is not None:
      first = jnp.full_like(first, len(first)).at[first[order]].min(
          every.astype(first.dtype))[first[order]]
    return Neighbors(place[self.lists[:, order]], self.values[:, order], first)


def search(z: Array, *, k: int = 10, metric: str = 'cosine',
           with_self: bool = False, items: Array | None = None) -> Neighbors:
  """The k nearest neighbours of every row of z [N, D], by float64 whatever the type of z.

  Raises:
    ValueError: k outside 1..N-1 (1..N with_self), or not below the number of items, codes [N];
      an unknown metric.
  """
  n, k = z.shape[0], plain(k)
  if not 1 <= k < n + with_self:
    raise ValueError(f'k={k} neighbours need 1 <= k < N, and N={n}')
  if metric not in METRICS:
    raise ValueError(f'metric={metric!r} is unknown; known: {", ".join(METRICS)}')
  if items is not None:
    if not isinstance(items, Tracer) and k >= (count := len(np.unique(items))):
      raise ValueError(f'k={k} neighbours, each of an item of its own, need k < the number of '
                       f'items, {count}')
    codes = jnp.unique(jnp.asarray(items), return_inverse=True, size=n)[1].astype(jnp.int32)
    return Neighbors(*item_neighbors.search(z, codes, k, metric), item_neighbors.firsts(codes))
  return Neighbors(*_search(z, k, metric, with_self))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _search(z: Array, k: int, metric: str, with_self: bool) -> Found:
  """lists [k, N] i32 and values [k, N] of the type of z."""
  with jax.enable_x64(True):
    return _in_double(z, k, metric, with_self)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _in_double(z: Array, k: int, metric: str, with_self: bool) -> Found:
  p, scale = jax.lax.optimization_barrier(exact.points(z, metric))
  near, lists = _nearest(p, k, metric, with_self)
  if z.dtype == jnp.float64:  # those that were clear from products in float32 have its digits
    near = jax.lax.map(lambda one: exact.nearness(p, p[one], metric), lists.T).T
  values = near + 1 if metric == 'cosine' else near * scale**2
  return lists.T, values.T.astype(z.dtype)


@_search.defjvp
def _search_jvp(k, metric, with_self, primals, tangents):
  """Lists do not move; values do as the rows they are of."""
  (z,), (dz,) = primals, tangents
  lists, values = _search(z, k, metric, with_self)
  def formula(z):
    if metric == 'cosine':
      z = normalize(z)
    other = z[lists]  # [k, N, D]
    return (-jnp.sum(jnp.square(z[None] - other), axis=2) if metric == 'euclidean'
            else jnp.sum(z[None] * other, axis=2))
  return (lists, values), (np.zeros(lists.shape, jax.dtypes.float0),
                           jax.jvp(formula, (z,), (dz,))[1])


# -- in float64 ------------------------------------------------------------------------------------


def _nearest(p: Array, k: int, metric: str, with_self: bool) -> Found:
  """Nearness [N, k] f64 and lists [N, k] i32 of points p [N, D]."""
  n, features = p.shape
  size = jnp.ones(n, p.dtype)
  if metric == 'inner_product':
    size = jnp.sqrt(jnp.sum(p * p, axis=1))
    size = size * jnp.max(size)
  slack = lambda near, size: exact.slack(near, metric, size[:, None], features)
  some = exact.some(p)

  def among_all(index):
    every = jnp.arange(n, dtype=jnp.int32)[None]
    all_near, apart = exact.nearness_to_all(p[index], p, metric, index)
    if not with_self:
      all_near = jnp.where(index[:, None] == every, -jnp.inf, all_near)
    ordered = exact.ordered(all_near, jnp.broadcast_to(every, all_near.shape),
                            slack(all_near, size[index]) + apart, k)
    return *ordered, jnp.ones(len(index), bool)

  if n <= FEW:
    return among_all(jnp.arange(n, dtype=jnp.int32))[:2]
  kept = min(k + MORE, n - 1 + with_self)
  near, candidates, error = _candidates(p, kept, metric, with_self)
  steps = near[:, :k] - near[:, 1:k + 1] if kept > k else near[:, :-1] - near[:, 1:]
  needed = 2 * error[:, None] + slack(near[:, 1:steps.shape[1] + 1], size)
  clear = jnp.all(steps > needed, axis=1) | (error == 0)  # in order, beyond all rounding
  last = near[:, -1]

  def among_candidates(index):
    own = candidates[index]  # [B, kept]
    exactly = exact.nearness(p[index][:, None], p[own], metric, some[index][:, None], some[own])
    ordered = exact.ordered(exactly, own, slack(exactly, size[index]), k)
    least = ordered[0][:, -1:]
    apart = (least - slack(least, size[index]))[:, 0]
    sure = (kept == n - 1 + with_self) | (last[index] + error[index] < apart)
    return *ordered, sure

  found = near[:, :k], candidates[:, :k], clear
  for how, rows in ((among_candidates, 128), (among_all, 64)):
    found = settled(how, found, ~found[-1], rows)
  return found[:2]


def _candidates(p: Array, kept: int, metric: str, with_self: bool):
  """Who may be near, by float32 products of centred rows.

  Returns:
    near, lists [N, kept], nearest first, and error [N]: by how much any nearness of a sample may be
    wrong, 0 where all is whole numbers that products hold. f64 but for the lists.
  """
  features = p.shape[1]
  whole = _whole(p)
  mean = jnp.where(whole, 0, p.mean(axis=0, keepdims=True))
  squares = exact.squares(p - mean)
  norms = jnp.sqrt(squares)
  scale = power(jnp.max(norms))
  factor = 2 if metric == 'euclidean' else 1
  offset = jnp.zeros((), p.dtype)
  if metric == 'inner_product':
    terms = -jnp.sum(mean * (p - mean), axis=1)
    offset = -jnp.sum(mean * mean)
  else:  # a product of rows of norm 1, less 1, is -|a - b|^2 / 2; with a row of zeros it is -1
    terms = squares * (factor / 2)
    terms += 0 if metric == 'euclidean' else jnp.all(p == 0, axis=1) / 2
  norms, terms = norms / scale, terms / scale**2
  error = 1.1 * 2.0**-24 * (factor * (features + 4) * norms * jnp.max(norms)
                            + 4 * (jnp.abs(terms) + jnp.max(jnp.abs(terms))))
  error += features * 2.0**-123  # of what float32 takes for zero
  v = ((p - mean) / scale).astype(jnp.float32)
  near, lists = _tiles(v, terms.astype(jnp.float32), factor, kept, with_self)
  near = (near.astype(p.dtype) - offset / scale**2) * scale**2
  return near, lists, jnp.where(whole, 0, error * scale**2)


def _whole(p: Array) -> Array:
  """Whether p [N, D] are whole numbers whose products float32 holds: asked of a row, then all."""
  are = lambda p: jnp.all(p == jnp.round(p))
  small = lambda p: 4 * p.shape[1] * jnp.max(jnp.abs(p))**2 < 2**24
  return jax.lax.cond(are(p[0]), lambda p: are(p) & small(p), lambda _: False, p)


# -- in float32 ------------------------------------------------------------------------------------


def _tiles(z: Array, terms: Array, factor: int, k: int, with_self: bool) -> Found:
  """The k largest of factor z_i z_j - (terms_i + terms_j), [N, k] f32 and i32, of z [N, D]."""
  n = z.shape[0]
  count = -(-n // TILE)
  size = -(-n // count)
  filled = jnp.pad(z, ((0, count * size - n), (0, 0))).reshape(count, size, -1)
  terms = jnp.pad(terms, (0, count * size - n)).reshape(count, size)
  place = jnp.arange(count * size, dtype=jnp.int32).reshape(count, size)

  def nearness(i, j, product):  # [size, size] of strips i and j, symmetric in them
    near = factor * product - (terms[i][:, None] + terms[j][None])
    row, column = place[i][:, None], place[j][None]
    allowed = (row < n) & (column < n) & (with_self | (row != column))
    return jnp.where(allowed, near, -jnp.inf)

  values, lists = _tiled(filled, nearness, k)
  return values.reshape(-1, k)[:n], lists.reshape(-1, k)[:n]


def _tiled(strips: Array, nearness, k: int) -> Found:
  """The k best of every row [count, size, k], from tiles (i, j), i <= j, by rising columns."""
  count, size, _ = strips.shape
  if count == 1:
    return best(nearness(0, 0, _square(strips[0])), k)
  kept = min(k, size)
  def add(found: tuple[jax.Array, jax.Array], row, tile, first):
    values, index = best(tile, kept)
    index = index + first * size
    old = jax.tree.map(lambda leaf: leaf[row], found)
    values, index = (jnp.concatenate(both, axis=1) for both in zip(old, (values, index)))
    values, order = best(values, k)  # earlier columns come first, and win a tie
    index = jnp.take_along_axis(index, order, axis=1)
    return found[0].at[row].set(values), found[1].at[row].set(index)
  def step(found, pair):
    i, j = pair
    def diagonal(found):
      return add(found, i, nearness(i, i, _square(strips[i])), i)
    def other(found):
      tile = nearness(i, j, jnp.dot(strips[i], strips[j].T, precision='highest'))
      return add(add(found, i, tile, j), j, tile.T, i)
    return jax.lax.cond(i == j, diagonal, other, found), None
  start = (jnp.full((count, size, k), -jnp.inf, strips.dtype),
           jnp.zeros((count, size, k), jnp.int32))
  pairs = np.stack(np.triu_indices(count), axis=1).astype(np.int32)
  return jax.lax.scan(step, start, pairs)[0]


def best(values: Array, k: int) -> Found:
  """The k largest of every row and where they are, the first of equal ones first. Behind a barrier:
  where XLA sees that a part of them is taken it sorts whole rows, 20 times as slow on a CPU."""
  return jax.lax.optimization_barrier(jax.lax.top_k(values, k))


def _square(z: Array) -> Array:
  """z z^T [N, N]; of a large one three quarters are computed, and one is turned."""
  dot = lambda a, b: jnp.dot(a, b.T, precision='highest')
  half = z.shape[0] // 2
  if half < 512:
    return dot(z, z)
  a, b = z[:half], z[half:]
  across = dot(a, b)
  return jnp.concatenate([jnp.concatenate([dot(a, a), across], axis=1),
                          jnp.concatenate([across.T, dot(b, b)], axis=1)])
