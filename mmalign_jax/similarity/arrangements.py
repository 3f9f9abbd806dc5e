"""By which arrangements of the samples chance is made: of single samples, or of whole groups.

Samples of a group are not independent of each other, so only whole groups change places, the
samples within each in their order (`grouped`): exact whatever the dependence within a group, and in
time. Where there are no more arrangements than permutations asked for, each is taken once: p is
then a multiple of one over their number.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
import numpy as np

from mmalign_jax import grouped
from mmalign_jax.types import Array, Key


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
  """Which samples move as one, and how (see `grouped.Blocks`).

  codes [N] in 0..G-1. kept [M]: the samples that take part, in their order; None for all.
  first [B], slot [M], within [M], kind [B]: the sample `place[i]` of those kept is the within[i]-th
  of block slot[i]; blocks of a kind change places. count: of arrangements, the given one included.
  """
  codes: np.ndarray
  kept: np.ndarray | None
  place: np.ndarray
  first: np.ndarray
  slot: np.ndarray
  within: np.ndarray
  kind: np.ndarray
  count: int


def units(n: int, groups: np.ndarray | None = None,
          items: np.ndarray | None = None) -> Units | None:
  """How groups [N] or, without them, items [N] change places; None where single samples do.

  Where items lie inside groups, each is cut to one number of samples, so that a group that takes
  the place of another brings as many partners for every sample.

  Raises:
    ValueError: not one code a sample, one group only, or an item in two groups.
  """
  codes = items if groups is None else groups
  if codes is None:
    return None
  codes = grouped.checked(codes, n)
  kept = np.arange(n)
  if groups is not None and items is not None:
    kept, best = _even_items(codes, checked_items(items, n))
    if len(np.unique(codes[kept])) < 2:
      raise ValueError(f'groups: less than two of {codes.max() + 1} hold items of {best} samples')
  blocks = grouped.blocks(np.unique(codes[kept], return_inverse=True)[1])
  rows = [row for rows in blocks.classes for row in rows]
  used = kept[blocks.kept]
  lengths = np.array([len(row) for row in rows])
  flat = used[np.concatenate(rows)]  # of all samples, block after block
  used = np.sort(used)
  return Units(
      codes, None if len(used) == n else used, np.searchsorted(used, flat),
      np.cumsum(lengths) - lengths, np.repeat(np.arange(len(rows)), lengths),
      np.concatenate([np.arange(m) for m in lengths]),
      np.repeat(np.arange(len(blocks.classes)), [len(c) for c in blocks.classes]), blocks.count)


def checked_items(items: np.ndarray, n: int) -> np.ndarray:
  """Codes [N] in 0..I-1 of items [N].

  Raises:
    ValueError: not one entry a sample.
  """
  items = np.asarray(items)
  if items.shape != (n,):
    raise ValueError(f'items has shape {items.shape}, and there are N={n} samples: one each')
  return np.unique(items, return_inverse=True)[1]


def _even_items(groups: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, int]:
  """Samples [M] by group and item, and b: the first b of every item that has b; b keeps the most.

  Raises:
    ValueError: an item in two groups.
  """
  order = np.argsort(items, kind='stable')
  size = np.bincount(items)
  start = np.cumsum(size) - size
  of_item = groups[order][start]
  if (groups != of_item[items]).any():
    i = int(np.argmax(groups != of_item[items]))
    raise ValueError(f'items: sample {i} (from 0) is of an item that another group has too; an '
                     'item must lie in one group')
  lengths = np.unique(size)
  best = lengths[np.argmax([b * (size >= b).sum() for b in lengths])]
  within = np.arange(len(items)) - np.repeat(start, size)
  kept = order[(within < best) & (np.repeat(size, size) >= best)]
  return kept[np.argsort(groups[kept], kind='stable')], int(best)


# -- what a null goes through ----------------------------------------------------------------------


def pairings(key: Key, draws: int, n: int, of: Units | None) -> tuple[Array, Partial]:
  """Orders of the samples of one side: (arguments [P, ...], argument -> positions [M]).

  The function is a pytree, so that a program that is given it serves others of its kind.
  """
  if of is None:
    return jax.random.split(key, draws), Partial(_shuffled, jnp.arange(n))
  held = of.place, of.first, of.slot, of.within
  order = Partial(_order, *(jnp.asarray(index, jnp.int32) for index in held))
  if of.count - 1 <= draws:
    return jnp.asarray(_every(of.kind)), order
  return jax.random.split(key, draws), Partial(_drawn, order, jnp.asarray(of.kind))


def _shuffled(every: Array, key: Key) -> Array:
  return jax.random.permutation(key, every)


def _order(place: Array, first: Array, slot: Array, within: Array, moved: Array) -> Array:
  """Positions [M]: the sample there takes its side from this one; moved [B]: whose place a block
  takes."""
  return jnp.zeros_like(place).at[place].set(place[first[moved][slot] + within])


def _drawn(order: Partial, kind: Array, key: Key) -> Array:
  """Blocks of a kind stand together: by chance within each."""
  chance = jax.random.uniform(key, kind.shape, jnp.float32)
  return order(jnp.lexsort((chance, kind)))


def _every(kind: np.ndarray) -> np.ndarray:
  """All orders [A - 1, B] of blocks within their kinds, but the given one."""
  parts = [np.flatnonzero(kind == k) for k in range(kind.max() + 1)]
  found = itertools.product(*(itertools.permutations(part) for part in parts))
  return np.array([np.concatenate(row) for row in found], np.int32)[1:].reshape(-1, len(kind))


def exchanges(key: Key, draws: int, n: int, codes: np.ndarray | None) -> tuple[Array, Partial]:
  """Which samples change sides: (arguments [P, ...], argument -> [N] bool); as `pairings`.

  An exchange and that of all others give the same two clouds: of few groups, codes [N], the first
  therefore stays.
  """
  if codes is None:
    return jax.random.split(key, draws), Partial(_coins, jnp.zeros(n, bool))
  count, group = int(codes.max()) + 1, jnp.asarray(codes)
  if sides_count(count) - 1 <= draws:
    bits = np.arange(1, sides_count(count))[:, None] >> np.arange(count - 1) & 1
    every = np.concatenate([np.zeros((len(bits), 1), bool), bits.astype(bool)], axis=1)
    return jnp.asarray(every), Partial(_at, group)
  return jax.random.split(key, draws), Partial(_coins_of, jnp.zeros(count, bool), group)


def _at(codes: Array, swap: Array) -> Array:
  return swap[codes]


def _coins_of(like: Array, codes: Array, key: Key) -> Array:
  return _coins(like, key)[codes]


def _coins(like: Array, key: Key) -> Array:
  """Booleans of the shape of `like`, the same ones in float32 and float64."""
  return jax.random.bernoulli(key, jnp.float32(0.5), like.shape)


def sides_count(groups: int) -> int:
  """How many ways there are to exchange the sides of groups, but for all at once."""
  return 2 ** (groups - 1)


def least_p(draws: int, count: int | None) -> float:
  """The smallest p that `draws` of `count` arrangements (None: of single samples) can give."""
  return 1 / (1 + (draws if count is None else min(draws, count - 1)))
