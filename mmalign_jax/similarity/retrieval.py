"""Cross-modal retrieval: how often, and how far down, a sample finds its own other side.

By cosine in one common space, over all N candidates; a block of queries at a time.
"""

import chex
from flax import struct
import jax.numpy as jnp

from mmalign_jax.similarity.blocks import row_blocks
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.preprocess import normalize


@struct.dataclass
class Side:
  """Rows z [N, D] of norm 1, and the number of candidates that count as found."""
  z: chex.Array
  at: int = struct.field(pytree_node=False)

  def take(self, order: chex.Array) -> 'Side':
    return self.replace(z=self.z[order])


def prepare(z: chex.Array, *, at: int = 1) -> Side:
  """The side z [N, D]."""
  if not 1 <= at <= z.shape[0]:
    raise ValueError(f'at={at} is outside 1..N, and N={z.shape[0]}')
  return Side(normalize(z), at)


def ranks(x: Side, y: Side) -> chex.Array:
  """[N] i32: the place, from 1, of y_i among all y for the query x_i; ties by index."""
  every = jnp.arange(x.z.shape[0])
  def block(rows, index):
    near = jnp.dot(rows, y.z.T, precision='highest')  # [B, N]
    own = jnp.take_along_axis(near, index[:, None], axis=1)
    ahead = (near > own) | ((near == own) & (every[None] < index[:, None]))
    return 1 + jnp.sum(ahead, axis=1)
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


def recall_xy(x: chex.Array, y: chex.Array, *, at: int = 1) -> chex.Array:
  """Recall@`at` from x [N, D] to y [N, D] by cosine: [] in 0..1, higher is more similar.

  Share of samples whose own y is among the `at` nearest to x_i of all y; `at` / N by chance, 1 for
  equal sides without duplicates; ties go to the lower index. Invariant to the length of samples,
  and to an orthogonal map of both sides together. Its gradient is 0.

  Raises:
    ValueError: at outside 1..N, widths differ, or arrays that do not fit.
  """
  x, y = paired(x, y, same_width=True)
  return found_xy(prepare(x, at=at), prepare(y, at=at))


def recall_yx(x: chex.Array, y: chex.Array, *, at: int = 1) -> chex.Array:
  """Recall@`at` from y [N, D] to x [N, D] by cosine: [] in 0..1, higher is more similar.

  Rules, invariances and errors as `recall_xy`.
  """
  x, y = paired(x, y, same_width=True)
  return found_yx(prepare(x, at=at), prepare(y, at=at))


def median_rank_xy(x: chex.Array, y: chex.Array) -> chex.Array:
  """Median place, from 1, of a sample's own y among all y, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.
  """
  x, y = paired(x, y, same_width=True)
  return middle_xy(prepare(x), prepare(y))


def median_rank_yx(x: chex.Array, y: chex.Array) -> chex.Array:
  """Median place, from 1, of a sample's own x among all x, x [N, D], y [N, D]: [] in 1..N.

  Lower is more similar, about N / 2 by chance. Rules, invariances and errors as `recall_xy`.
  """
  x, y = paired(x, y, same_width=True)
  return middle_yx(prepare(x), prepare(y))


def _entry(function, compare, meaning, range, **rest) -> Measure:
  return Measure(function, prepare, compare, meaning, range, ('rows', 'scaling', 'common'),
                 same_width=True, differentiable=False, symmetric=False, slow=True, **rest)


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
