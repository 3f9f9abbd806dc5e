"""The bits of a generator in groups, for probes: what both sides see, what one does, and the rest.

A bit is the one that the side itself sees: where x2 is noisy (`flipped`) or of another sample
(`mismatched`) it is that of x2, so that every group but `unique_other` can be read from the input
without error.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from mmalign_jax.generators import synthetic
from mmalign_jax.generators.synthetic import PRIVATE, ROWS, SHARED, Generator, Tables
from mmalign_jax.types import Array, Factor, Hyper

WORDS = {'shared': 'task bits of both sides', 'unique': 'task bits of this side alone',
         'synergy': 'own half of task bits that need both',
         'shared_rest': 'shared bits without task', 'unique_rest': 'own bits without task',
         'unique_other': "the other side's task bits"}


def of_side(generator: Generator, tables: Tables, hyper: Hyper, side: int,
            rows: Sequence[Array] | None = None) -> tuple[Factor, ...]:
  """The groups of WORDS for one side, in that order.

  `shared`, `unique`, `synergy` and `unique_other` are task bits [T]: parities of bits that both
  sides see, that only this one sees, of which each sees a part (its own part is meant), and that
  only the other sees. `shared_rest` [8] and `unique_rest` [4] are bits that no task bit reads. They
  part all that the side sees, whatever the redundancy. `unique_other` is a control: it is
  independent of what this side sees, so no probe can be above chance.

  Args:
    generator, tables, hyper: as of `synthetic.draw`.
    side: 1 or 2.
    rows: of both sides [N] of samples; None: all 4096 inputs of the side, in order, where
      `unique_other` has probability 1/2.

  Raises:
    ValueError: another side.

  Examples:
    >>> from mmalign_jax.types import Spec
    >>> bits = synthetic.GENERATORS['bits']
    >>> groups = of_side(bits, bits.tables(Spec()), Hyper(redundancy=5), 1)
    >>> {group.name: int(group.held.sum()) for group in groups}
    {'shared': 5, 'unique': 1, 'synergy': 0, 'shared_rest': 3, 'unique_rest': 3, 'unique_other': 2}
  """
  if side not in (1, 2):
    raise ValueError(f'side={side}: the factors of a generator are of sides 1 and 2')
  masks, _ = generator.task(tables, hyper)
  every = jnp.arange(ROWS)
  own = synthetic.side_sample(every if rows is None else rows[side - 1], side)
  other = None if rows is None else synthetic.side_sample(rows[2 - side], 3 - side)
  here, there = synthetic.hidden_from(masks, 3 - side), synthetic.hidden_from(masks, side)
  read = jax.lax.reduce(masks, jnp.uint32(0), jax.lax.bitwise_or, (0,))
  first = SHARED if side == 1 else synthetic.WIDTH
  groups = (
      ('shared', masks, own, ~here & ~there), ('unique', masks, own, here & ~there),
      ('synergy', masks, own, here & there),
      ('shared_rest', *_rest(0, SHARED, own, read)),
      ('unique_rest', *_rest(first, PRIVATE, own, read)),
      ('unique_other', masks, other, there & ~here))
  return tuple(Factor(_parity(sample, of, ROWS), held, name) for name, of, sample, held in groups)


def _rest(first: int, count: int, own: Array, read: Array) -> tuple[Array, Array, Array]:
  """Single bits [count] from `first` on as masks, of which sample, and which no task bit reads."""
  masks = jnp.uint32(1) << jnp.arange(first, first + count, dtype=jnp.uint32)
  return masks, own, (masks & read) == 0


def _parity(sample: Array | None, masks: Array, n: int) -> Array:
  """Parities [N, T] of masks [T] over samples [N]; 1/2 for n that are not known."""
  if sample is None:
    return jnp.full((n, masks.shape[0]), 0.5)
  ones = jax.lax.population_count(sample[:, None] & masks[None])
  return (ones & 1).astype(jnp.float32)
