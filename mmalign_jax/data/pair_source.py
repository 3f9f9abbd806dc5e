"""Prepared pairs as the source of a cell: which labels it may learn from, and what it aligns.

A budget of labels is drawn by the seed, alike for all strengths: in a random order of each class
the first `n_labelled`, so that a smaller budget is part of a larger one.
"""

import jax
import jax.numpy as jnp

from mmalign_jax import rng, struct
from mmalign_jax.losses import augment
from mmalign_jax.types import ALIGN_ON, Array, Draws, Frames, Hyper, Joint, Key, PyTree, Range, Test

SETTINGS = ('n_labelled', 'n_pairs', 'align_on', 'components', 'train_steps')
RANGES = {**{name: Range(0, 2**24, whole=True) for name in SETTINGS},
          'align_on': Range(0, len(ALIGN_ON) - 1, whole=True)}
WORDS = {'n_labelled': ('labels a class', 'labels'),
         'n_pairs': ('pairs', 'samples'),
         'align_on': ('aligned:', '1'),
         'components': ('principal components', '1'),
         'train_steps': ('training steps', 'steps')}


@struct.dataclass
class PairTables:
  """Arrays of `prepared.Prepared`: x of every side [N, C] or Frames, present of every side [N], y
  [N] (0 where there is none), labelled [N] bool, spread of every side [C]; validation, test: (x
  [M, C], y [M], fold [M]) of every side; unseen of every side [U, C], test rows with all sides,
  their labels y_unseen [U], and fold_unseen [U] of n_unseen folds, each of which has rows."""
  x: tuple[PyTree, ...]
  present: tuple[Array, ...]
  y: Array
  labelled: Array
  spread: tuple[Array, ...]
  validation: tuple[tuple[PyTree, Array, Array], ...]
  test: tuple[tuple[PyTree, Array, Array], ...]
  unseen: tuple[PyTree, ...]
  y_unseen: Array
  fold_unseen: Array
  n_folds: int = struct.field(pytree_node=False)
  n_unseen: int = struct.field(pytree_node=False)
  n_outputs: int = struct.field(pytree_node=False)


def order(key: Key, y: Array, labelled: Array, n_labelled: Array,
          usable: Array | None = None) -> tuple[Array, Array]:
  """Rows [N] of which the first L are those of a budget; and L [], traced.

  Args:
    y: [N] classes; all alike, where a budget is not of each class.
    labelled: [N] bool. n_labelled: [] of each class; 0 for all.
    usable: [N] bool, rows that come before the others; None for all.
  """
  n = len(y)
  u = jax.random.uniform(key, (n,))
  group = jnp.where(labelled, y, jnp.iinfo(jnp.int32).max).astype(jnp.int32)
  group, _, at = jax.lax.sort((group, u, jnp.arange(n)), num_keys=2)
  rank = jnp.arange(n) - jnp.searchsorted(group, group, method='sort')
  rank = jnp.zeros(n, jnp.int32).at[at].set(rank.astype(jnp.int32))
  allowed = jnp.where(n_labelled > 0, n_labelled, n)
  inside = labelled & (rank < allowed)
  place = jnp.where(inside, rank, n if usable is None else jnp.where(usable, n, n + 1))
  return jax.lax.sort((place, u, jnp.arange(n)), num_keys=2)[2], inside.sum()


def draw(tables: PairTables, hyper: Hyper, key: Key, n: int) -> Draws:
  """The training rows, the labelled ones of the budget first, then the others at random; last, and
  never aligned, those that have no side at all."""
  total = len(tables.y)
  of_classes = jnp.issubdtype(tables.y.dtype, jnp.integer)
  y = tables.y if of_classes else jnp.zeros(total, jnp.int32)
  usable = jnp.stack(tables.present).any(axis=0)
  row, n_labelled = order(key, y, tables.labelled, jnp.asarray(hyper.n_labelled), usable)
  total = usable.sum().astype(jnp.int32)
  asked = jnp.where(jnp.asarray(hyper.n_pairs) > 0, hyper.n_pairs, total).astype(jnp.int32)
  aligned = jnp.where(jnp.asarray(hyper.align_on) == ALIGN_ON.index('labelled'), n_labelled,
                      jnp.clip(asked, n_labelled, total))
  row = row[:n]
  return Draws((row,) * len(tables.x), tables.y[row], n_labelled, aligned)


def few(drawn: Draws, hyper: Hyper, key: Key) -> Draws:
  """Samples of a generator, `n_train` of which are aligned and few have a label: as `draw`."""
  usable = jnp.arange(len(drawn.y)) < hyper.n_train
  row, n_labelled = order(key, drawn.y, usable, jnp.asarray(hyper.n_labelled), usable)
  on_labelled = jnp.asarray(hyper.align_on) == ALIGN_ON.index('labelled')
  aligned = jnp.where(on_labelled, n_labelled, jnp.asarray(hyper.n_train).astype(jnp.int32))
  return Draws(tuple(of[row] for of in drawn.rows), drawn.y[row], n_labelled, aligned)


def inputs(tables: PairTables, hyper: Hyper, rows: tuple[Array, ...]) -> tuple[PyTree, ...]:
  """Components of the rows [B] of every side, in the units of as many as are kept."""
  return tuple(scaled(taken(x, row), spread, hyper)
               for x, row, spread in zip(tables.x, rows, tables.spread))


def present(tables: PairTables, rows: tuple[Array, ...]) -> tuple[Array, ...]:
  """Which of the rows [B] have every side."""
  return tuple(has[row] for has, row in zip(tables.present, rows))


def taken(x: PyTree, row: Array) -> PyTree:
  """Rows of a view."""
  return jax.tree.map(lambda v: v[row], x)


def scaled(x: PyTree, spread: Array, hyper: Hyper) -> PyTree:
  """x [B, C] with the first `components` columns alone, such that the mean square over all C is 1,
  as if an encoder of so many inputs had been initialised for them; sequences as they are."""
  if isinstance(x, Frames):
    return x
  width = x.shape[1]
  kept = augment.kept(width, hyper.components)
  factor = jnp.sqrt(width / kept) / jnp.maximum(spread[kept - 1], 1e-12)
  return jnp.where(jnp.arange(width) < kept, x * factor, 0)


def _judged(of: str):
  def test(tables: PairTables, hyper: Hyper, side: int) -> Test:
    x, y, fold = getattr(tables, of)[side - 1]
    return Test(scaled(x, tables.spread[side - 1], hyper), _target(tables, y), fold,
                tables.n_folds if of == 'test' else 1)
  return test


test, validation = _judged('test'), _judged('validation')


def _target(tables: PairTables, y: Array) -> Array:
  return jax.nn.one_hot(y, tables.n_outputs) if jnp.issubdtype(y.dtype, jnp.integer) else y


def joint(tables: PairTables, hyper: Hyper, key: Key) -> Joint:
  """All test rows that have all sides."""
  x = tuple(scaled(x, spread, hyper) for x, spread in zip(tables.unseen, tables.spread))
  return Joint(x, None, _target(tables, tables.y_unseen), tables.fold_unseen, jnp.float32(jnp.nan),
               tables.n_unseen)


def unseen(tables: PairTables, hyper: Hyper, key: Key, n: int) -> tuple[PyTree, ...]:
  """n of the test rows that have all sides, drawn by the seed; all where there are fewer."""
  total = len(jax.tree.leaves(tables.unseen[0])[0])
  row = jnp.arange(total) if n >= total else rng.permute(key, jnp.arange(n), total)
  return tuple(scaled(taken(x, row), spread, hyper)
               for x, spread in zip(tables.unseen, tables.spread))
