"""Cross-modal retrieval: how often, and how far down, a sample finds its own other side.

By cosine in one common space, over all N candidates; a block of queries at a time. Several samples
may be of one item, as the captions of one image: any of them counts as found, the one that is
placed best, and candidates of one item that are exactly equal take one place together, as if the
image stood in the gallery once.

Products are made in float32; where their rounding could decide, by a bound that holds for any order
of summation, the query is compared with all candidates in float64.
"""

import functools

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity import exact
from mmalign_jax.similarity.blocks import row_blocks, settled
from mmalign_jax.similarity.exact import squares
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.prepared import plain
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array, Numeric

_ROWS = 64  # queries that are compared with all candidates at a time, in float64


@struct.dataclass
class Side:
  """Rows z [N, D] f64 of norm 1, and the number of candidates that count as found. items [N]: whose
  partner a sample is, and counted [N] bool: not a copy of an earlier sample of its item; None where
  every sample is an item of its own."""
  z: Array
  at: int = struct.field(pytree_node=False)
  items: Array | None = None
  counted: Array | None = None

  def take(self, order: Array) -> 'Side':
    z, items, counted = jax.tree.map(lambda leaf: leaf[order], (self.z, self.items, self.counted))
    return Side(z, self.at, items, counted)


def prepare(z: Array, *, at: int = 1, items: Array | None = None) -> Side:
  """The side z [N, D]."""
  at = plain(at)
  if not 1 <= at <= z.shape[0]:
    raise ValueError(f'at={at} is outside 1..N, and N={z.shape[0]}')
  with jax.enable_x64(True):
    unit = exact.points(z, 'cosine')[0]
  if items is None:
    return Side(unit, at)
  items = jnp.asarray(items, jnp.int32)
  return Side(unit, at, items, first_copies(z, items))


def first_copies(z: Array, items: Array) -> Array:
  """[N] bool: no earlier sample of the same item has exactly the same row of z [N, D]."""
  words = jax.lax.bitcast_convert_type(z + 0, jnp.uint32).reshape(len(z), -1)  # no -0
  column = jnp.arange(words.shape[1], dtype=jnp.uint32)[None] * jnp.uint32(0x9E3779B9)
  def mixed(h):
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
      h = (h ^ (h >> shift)) * jnp.uint32(factor)
    return h ^ (h >> 16)
  prints = [mixed(mixed(words ^ (column + jnp.uint32(seed))) + column).sum(axis=1)
            for seed in (1, 0x5BD1E995)]  # 64 bits of a row, by sums of integers: exact
  order = jnp.lexsort((*prints, items))  # stable: of equal ones the earliest first
  again = [jnp.diff(key[order]) == 0 for key in (*prints, items)]
  new = jnp.concatenate([jnp.ones(1, bool), ~(again[0] & again[1] & again[2])])
  return jnp.zeros(len(z), bool).at[order].set(new)


def ranks(x: Side, y: Side) -> Array:
  """[N] i32: the place, from 1, of y_i among all y for the query x_i; ties by index.

  With items, that of the best of its partners, the samples of y in places of the item of x_i.
  """
  with jax.enable_x64(True):
    return _ranks(x, y)


@jax.jit  # see `blocks`; within float64, which vmap of a program would not know of
def _ranks(x: Side, y: Side) -> Array:
  low, high = _bounds(x, y)
  return 1 + _settled(x, y, low, low < high)


def _bounds(x: Side, y: Side) -> tuple[Array, Array]:
  """[N] i32 each: how many candidates are before y_i at least and at most, by float32 products."""
  whole = functools.reduce(jnp.logical_and, (jnp.all(z == jnp.round(z)) for z in (x.z, y.z)))
  mean = jnp.where(whole, 0, y.z.mean(axis=0, keepdims=True))
  a, b = x.z - mean, y.z - mean
  terms = b @ mean[0]  # x_i y_j is a_i b_j + mean b_j, and what all y_j have alike
  norms = [jnp.sqrt(squares(z)) for z in (a, b)]
  error = 1.1 * 2.0**-24 * ((a.shape[1] + 4) * norms[0] * jnp.max(norms[1])
                            + 4 * jnp.max(jnp.abs(terms)))
  apart = (2 * jnp.where(whole, 0, error)).astype(jnp.float32)  # of two products, at most
  a, b, terms = (z.astype(jnp.float32) for z in (a, b, terms))
  def block(rows, index):
    near = jnp.dot(b, rows.T, precision='highest') + terms[:, None]
    own, place, other = _own(near, index, x, y, 0)
    apart_, every = apart[index][None], jnp.arange(near.shape[0], dtype=jnp.int32)[:, None]
    tied = jnp.where(apart_ > 0, near >= own - apart_, (near == own) & (every < place))
    ahead = near > own + apart_
    return _counts(ahead & other, (ahead | tied) & other)
  return row_blocks(block, a)


def _counts(one: Array, two: Array) -> tuple[Array, Array]:
  """[B] i32 each: how many of [N, B] are true. Both from one sum, where it holds two counts; along
  the first axis, which vectorises on a CPU."""
  if one.shape[0] >= 1 << 15:
    return jnp.sum(one, axis=0, dtype=jnp.int32), jnp.sum(two, axis=0, dtype=jnp.int32)
  both = jnp.sum(jnp.where(one, 1 << 16, 0) + jnp.where(two, 1, 0), axis=0, dtype=jnp.int32)
  return both >> 16, both & 0xFFFF


def _own(near: Array, index: Array, x: Side, y: Side, tolerance: Numeric):
  """The nearness own [1, B] of the best partner of the queries index [B], its place [1, B], and
  which candidates other [N, B] compete with it; near [N, B]."""
  every = jnp.arange(near.shape[0], dtype=jnp.int32)[:, None]
  if x.items is None or y.counted is None:
    place = index[None].astype(jnp.int32)
    return jnp.take_along_axis(near, place, axis=0), place, every != place
  partner = x.items[index][None] == x.items[:, None]
  theirs = jnp.where(partner, near, -jnp.inf)
  own = theirs.max(axis=0, keepdims=True)
  place = jax.lax.argmax(theirs >= own - tolerance, 0, jnp.int32)[None]  # jnp's has 64 bits here
  return own, place, ~partner & y.counted[:, None]


def _settled(x: Side, y: Side, before: Array, needed: Array) -> Array:
  """before [N] i32, by float64 for the queries that are `needed` [N]."""
  n, features = y.z.shape
  every = jnp.arange(n, dtype=jnp.int32)[:, None]
  def exactly(index):
    near, error = exact.nearness_to_all(x.z[index], y.z, 'cosine')
    near = near.T
    tolerance = exact.slack(near, 'cosine', 1, features) + error
    own, place, other = _own(near, index, x, y, tolerance)
    tolerance = jnp.maximum(tolerance, exact.slack(own, 'cosine', 1, features))
    ahead = (near > own + tolerance) | ((near >= own - tolerance) & (every < place))
    return (jnp.sum(ahead & other, axis=0, dtype=jnp.int32),)
  return settled(exactly, (before,), needed, _ROWS)[0]


def found_xy(x: Side, y: Side) -> Array:
  """Share of the queries x whose own y is among the first."""
  with jax.enable_x64(True):
    before = _first(x, y)
  return jnp.mean(before < x.at, dtype=_float())


@jax.jit
def _first(x: Side, y: Side) -> Array:
  """How many candidates are before y_i, where that decides whether it is among the first."""
  low, high = _bounds(x, y)
  return _settled(x, y, low, (low < x.at) & (high >= x.at))


def found_yx(x: Side, y: Side) -> Array:
  """Share of the queries y whose own x is among the first."""
  return found_xy(y, x)


def middle_xy(x: Side, y: Side) -> Array:
  """Median place of a query's own y."""
  with jax.enable_x64(True):
    before = _middle(x, y)
  return 1 + jnp.median(before.astype(_float()))


@jax.jit
def _middle(x: Side, y: Side) -> Array:
  """How many candidates are before y_i, where that decides the median."""
  low, high = _bounds(x, y)
  n = low.shape[0]
  least, most = jnp.sort(low)[(n - 1) // 2], jnp.sort(high)[n // 2]  # the middle ones are between
  return _settled(x, y, low, (low < high) & (low <= most) & (high >= least))


def middle_yx(x: Side, y: Side) -> Array:
  """Median place of a query's own x."""
  return middle_xy(y, x)


def _float():
  return jnp.float64 if jax.config.read('jax_enable_x64') else jnp.float32


@wide
def recall_xy(x: Array, y: Array, *, at: int = 1,
              items: Array | None = None) -> Array:
  """Recall@`at` from x [N, D] to y [N, D] by cosine: [] in 0..1, higher is more similar.

  Share of samples whose own y is among the `at` nearest to x_i of all y; `at` / N by chance, 1 for
  equal sides without duplicates; ties go to the lower index. Invariant to the length of samples,
  and to an orthogonal map of both sides together. Its gradient is 0.

  Precision: places are those of float64 cosines of the given rows, whatever their type; cosines
  of rows whose distances are within 1e-12 of each other tie.

  Args:
    x, y: features of the same samples, in one space.
    at: how many candidates count as found.
    items: codes [N]. Any y of the same item counts as x_i's own, and the best placed one decides;
      by chance about `at` times the samples of an item / N. Candidates of one other item that are
      exactly equal take one place, as usual for the captions of one image.

  Raises:
    ValueError: at outside 1..N, widths differ, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(recall_xy(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 0.167, 0.0]
  """
  x, y = paired(x, y, same_width=True)
  return found_xy(*(prepare(z, at=at, items=items) for z in (x, y)))


@wide
def recall_yx(x: Array, y: Array, *, at: int = 1,
              items: Array | None = None) -> Array:
  """Recall@`at` from y [N, D] to x [N, D] by cosine: [] in 0..1, higher is more similar.

  Rules, invariances and errors as `recall_xy`.

  Precision: as `recall_xy`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(recall_yx(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 0.0, 0.0]
  """
  x, y = paired(x, y, same_width=True)
  return found_yx(*(prepare(z, at=at, items=items) for z in (x, y)))


@wide
def median_rank_xy(x: Array, y: Array, *,
                   items: Array | None = None) -> Array:
  """Median place, from 1, of a sample's own y among all y, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.

  Precision: as `recall_xy`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(median_rank_xy(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 6.0, 4.5]
  """
  x, y = paired(x, y, same_width=True)
  return middle_xy(*(prepare(z, items=items) for z in (x, y)))


@wide
def median_rank_yx(x: Array, y: Array, *,
                   items: Array | None = None) -> Array:
  """Median place, from 1, of a sample's own x among all x, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.

  Precision: as `recall_xy`.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(median_rank_yx(x, y)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, 6.0, 4.5]
  """
  x, y = paired(x, y, same_width=True)
  return middle_yx(*(prepare(z, items=items) for z in (x, y)))


def _entry(function, compare, meaning, range, **rest) -> Measure:
  return Measure(function, prepare, compare, meaning, range, ('rows', 'scaling', 'common'),
                 same_width=True, differentiable=False, symmetric=False, slow=True, items=True,
                 **rest)


_AT = {'at': 1}
MEASURES = {
    'recall_xy': _entry(recall_xy, found_xy, 'samples of x that find their own y', '0..1',
                        settings=_AT),
    'recall_yx': _entry(recall_yx, found_yx, 'samples of y that find their own x', '0..1',
                        settings=_AT),
    'median_rank_xy': _entry(median_rank_xy, middle_xy, "median place of a sample's own y", '1..N',
                             higher=False),
    'median_rank_yx': _entry(median_rank_yx, middle_yx, "median place of a sample's own x", '1..N',
                             higher=False),
}
