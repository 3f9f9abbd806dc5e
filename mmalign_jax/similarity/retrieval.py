"""Cross-modal retrieval: how often, and how far down, a sample finds its own other side.

By cosine in one common space, over all N candidates; a block of queries at a time. Several samples
may be of one item, as the captions of one image: any of them counts as found, the one that is
placed best, and candidates of one item that are exactly equal take one place together, as if the
image stood in the gallery once.
"""

import chex
from flax import struct
import jax
import jax.numpy as jnp

from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import normalize


@struct.dataclass
class Side:
  """Rows z [N, D] of norm 1, and the number of candidates that count as found. items [N]: whose
  partner a sample is, and counted [N] bool: not a copy of an earlier sample of its item; None where
  every sample is an item of its own."""
  z: chex.Array
  at: int = struct.field(pytree_node=False)
  items: chex.Array | None = None
  counted: chex.Array | None = None

  def take(self, order: chex.Array) -> 'Side':
    z, items, counted = jax.tree.map(lambda leaf: leaf[order], (self.z, self.items, self.counted))
    return Side(z, self.at, items, counted)


def prepare(z: chex.Array, *, at: int = 1, items: chex.Array | None = None) -> Side:
  """The side z [N, D]."""
  if not 1 <= at <= z.shape[0]:
    raise ValueError(f'at={at} is outside 1..N, and N={z.shape[0]}')
  if items is None:
    return Side(normalize(z), at)
  items = jnp.asarray(items, jnp.int32)
  return Side(normalize(z), at, items, first_copies(z, items))


def first_copies(z: chex.Array, items: chex.Array) -> chex.Array:
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


def ranks(x: Side, y: Side) -> chex.Array:
  """[N] i32: the place, from 1, of y_i among all y for the query x_i; ties by index.

  With items, that of the best of its partners, the samples of y in places of the item of x_i.
  """
  every = jnp.arange(x.z.shape[0])
  def block(rows, index):
    near = jnp.dot(rows, y.z.T, precision='highest')  # [B, N]
    if x.items is None:
      own, place, other = jnp.take_along_axis(near, index[:, None], axis=1), index[:, None], True
    else:
      partner = x.items[index][:, None] == x.items[None]
      theirs = jnp.where(partner, near, -jnp.inf)
      own, place = theirs.max(axis=1, keepdims=True), theirs.argmax(axis=1, keepdims=True)
      other = ~partner & y.counted[None]
    ahead = (near > own) | ((near == own) & (every[None] < place))
    return 1 + jnp.sum(ahead & other, axis=1)
  return row_blocks(block, x.z)


def found_xy(x: Side, y: Side) -> chex.Array:
  """Share of the queries x whose own y is among the first."""
  return jnp.mean(ranks(x, y) <= x.at, dtype=x.z.dtype)


def found_yx(x: Side, y: Side) -> chex.Array:
  """Share of the queries y whose own x is among the first."""
  return found_xy(y, x)


def middle_xy(x: Side, y: Side) -> chex.Array:
  """Median place of a query's own y."""
  return jnp.median(ranks(x, y)).astype(x.z.dtype)


def middle_yx(x: Side, y: Side) -> chex.Array:
  """Median place of a query's own x."""
  return middle_xy(y, x)


def recall_xy(x: chex.Array, y: chex.Array, *, at: int = 1,
              items: chex.Array | None = None) -> chex.Array:
  """Recall@`at` from x [N, D] to y [N, D] by cosine: [] in 0..1, higher is more similar.

  Share of samples whose own y is among the `at` nearest to x_i of all y; `at` / N by chance, 1 for
  equal sides without duplicates; ties go to the lower index. Invariant to the length of samples,
  and to an orthogonal map of both sides together. Its gradient is 0.

  Args:
    x, y: features of the same samples, in one space.
    at: how many candidates count as found.
    items: codes [N]. Any y of the same item counts as x_i's own, and the best placed one decides;
      by chance about `at` times the samples of an item / N. Candidates of one other item that are
      exactly equal take one place, as usual for the captions of one image.

  Raises:
    ValueError: at outside 1..N, widths differ, or arrays that do not fit.
  """
  x, y = paired(x, y, same_width=True)
  return found_xy(*(prepare(z, at=at, items=items) for z in (x, y)))


def recall_yx(x: chex.Array, y: chex.Array, *, at: int = 1,
              items: chex.Array | None = None) -> chex.Array:
  """Recall@`at` from y [N, D] to x [N, D] by cosine: [] in 0..1, higher is more similar.

  Rules, invariances and errors as `recall_xy`.
  """
  x, y = paired(x, y, same_width=True)
  return found_yx(*(prepare(z, at=at, items=items) for z in (x, y)))


def median_rank_xy(x: chex.Array, y: chex.Array, *,
                   items: chex.Array | None = None) -> chex.Array:
  """Median place, from 1, of a sample's own y among all y, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.
  """
  x, y = paired(x, y, same_width=True)
  return middle_xy(*(prepare(z, items=items) for z in (x, y)))


def median_rank_yx(x: chex.Array, y: chex.Array, *,
                   items: chex.Array | None = None) -> chex.Array:
  """Median place, from 1, of a sample's own x among all x, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.
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
