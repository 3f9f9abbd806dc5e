"""Generators of paired data whose every information quantity is known exactly.

Both share one shape. A sample is 16 fair bits: 8 shared by both sides, 4 private to each; side 1
sees the 12 bits [shared, private_1], side 2 [shared, private_2]. T *task bits* are parities of some
of them, and the label is drawn from a row of a table [2**T, C] that they pick. A generator is then
two functions of the traced settings: the masks of its task bits and its label table.

`bits` is the generator of "Understanding the Emergence of Multimodal Representation Alignment"
(arXiv 2502.16282, section 4); `atoms` sets the four information atoms themselves, in nats.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlog1py
import numpy as np

from mmalign_jax import struct
from mmalign_jax.types import Array, Draws, Hyper, Key, Range, Spec

SHARED, PRIVATE = 8, 4
WIDTH = SHARED + PRIVATE          # features of one side
ROWS = 1 << WIDTH                 # distinct inputs of one side
MAX_REDUNDANCY = 8                # task bits of `bits`
LEVELS = 10
MAX_DEPTH = 10                    # of the random transform
N_UNIQUE = 8                      # most of the dial `unique`
MAX_ATOM = math.log(2)            # nats: each part of the label of `atoms` is one bit
_ONLY_1 = np.uint32(0x0F00)       # the 16 bits of a sample: shared 0..7, private_1 8..11,
_ONLY_2 = np.uint32(0xF000)       # private_2 12..15
_SHARED = np.uint32(0x00FF)


@struct.dataclass
class Tables:
  """Constants of a generator: x1, x2 [depth + 1, M, 12] inputs by transform depth and row,
  masks [9, T] u32 by redundancy and labels [10, 2**T, C] by level (None where computed)."""
  x1: Array
  x2: Array
  masks: Array | None = None
  labels: Array | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Generator:
  """All that a generator is: a row of GENERATORS suffices for every study and command.

  settings: the fields of Hyper that it reads. tables(spec) -> Tables; task(tables, hyper) ->
  (masks [T], labels [2**T, C]). ranges: of its settings, where `checks.RANGES` is too wide. words:
  {setting: (long name, units)} for reports. start: values of `mmalign generator` that are not those
  of Hyper. unique(u [R] in 0..8) -> fields of Hyper [R], the dial of the emergence study from
  everything shared to nothing; None where there is none. shares(redundancy, side): part of the
  task bits of a side that is shared, for trends; None where that means nothing.
  """
  settings: tuple[str, ...]
  tables: Callable[[Spec], Tables]
  task: Callable[[Tables, Hyper], tuple[Array, Array]]
  ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
  words: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  start: Mapping[str, float] = dataclasses.field(default_factory=dict)
  unique: Callable[[np.ndarray], dict[str, np.ndarray]] | None = None
  shares: Callable[[float, int], float] | None = None


# -- the two generators ------------------------------------------------------------------------


def bits_task(tables: Tables, hyper: Hyper) -> tuple[Array, Array]:
  """Masks [8] and labels [256, 4]: redundancy picks a row of one table, level of the other."""
  row = jnp.asarray(hyper.redundancy).astype(jnp.int32)
  assert tables.masks is not None and tables.labels is not None  # as `bits_tables` makes them
  return tables.masks[row], tables.labels[jnp.asarray(hyper.level).astype(jnp.int32)]


def atoms_task(tables: Tables, hyper: Hyper) -> tuple[Array, Array]:
  """Masks [4] and labels [16, 16]: y is four bits, each its source through its own noise.

  The sources are one shared bit, one private bit of each side, and the XOR of one private bit of
  each; they are independent, so by additivity the atoms are exactly the four capacities.
  """
  del tables
  atoms = [hyper.redundancy, hyper.unique_1, hyper.unique_2, hyper.synergy]
  keep = 1 - flip_probability(jnp.stack([jnp.asarray(a, jnp.float32) for a in atoms]))  # [4]
  value = jnp.arange(16)
  differ = (value[:, None, None] ^ value[None, :, None]) >> jnp.arange(4)[None, None] & 1
  keep = keep[None, None]
  labels = jnp.prod(jnp.where(differ == 0, keep, 1 - keep), axis=-1)
  return jnp.array([1 << 0, 1 << 8, 1 << 12, (1 << 9) | (1 << 13)], jnp.uint32), labels


def flip_probability(nats: Array) -> Array:
  """Flip probability e in [0, 1/2] at which a fair bit keeps `nats` = ln 2 - H(e) of information.

  Solved by bisection on 1 - 2e, elementwise; `nats` in 0..ln 2.
  """
  def kept(delta):
    return 0.5 * (xlog1py(1 + delta, delta) + xlog1py(1 - delta, -delta))

  def halve(_, bounds):
    low, high = bounds
    middle = (low + high) / 2
    above = kept(middle) > nats
    return jnp.where(above, low, middle), jnp.where(above, middle, high)

  low, high = jax.lax.fori_loop(0, 30, halve, (jnp.zeros_like(nats), jnp.ones_like(nats)))
  delta = jnp.where(nats <= 0, 0., jnp.where(nats >= MAX_ATOM - 1e-6, 1., (low + high) / 2))
  return (1 - delta) / 2


@functools.lru_cache(maxsize=1)
def _bits_constants() -> tuple[np.ndarray, np.ndarray]:
  """Masks [9, 8] and labels [10, 256, 4] of the published generator, in float64 on the host."""
  masks = np.zeros((MAX_REDUNDANCY + 1, MAX_REDUNDANCY), np.uint32)
  for redundancy in range(MAX_REDUNDANCY + 1):
    rng = np.random.RandomState(1)  # re-seeded for each redundancy, as published
    n_1 = (MAX_REDUNDANCY - redundancy) // 2
    n_2 = MAX_REDUNDANCY - redundancy - n_1
    positions = np.concatenate([
        rng.choice(SHARED, redundancy, replace=False),
        SHARED + rng.choice(PRIVATE, n_1, replace=False),
        WIDTH + rng.choice(PRIVATE, n_2, replace=False)])
    masks[redundancy] = np.uint32(1) << positions.astype(np.uint32)
  weights = np.random.RandomState(2).uniform(size=(MAX_REDUNDANCY, 4))
  weights /= np.linalg.norm(weights, axis=1, keepdims=True)
  pattern = (np.arange(256)[:, None] >> np.arange(8)) & 1
  temperature = 0.05 * np.exp(np.linspace(0, 2, LEVELS))
  return masks, np.stack([_balanced_softmax(pattern @ weights / t) for t in temperature])


def _balanced_softmax(logits: np.ndarray) -> np.ndarray:
  """softmax(logits) [M, C], reweighted until every class has probability 1/C within 0.01."""
  p = np.exp(logits - logits.max(axis=1, keepdims=True))
  p /= p.sum(axis=1, keepdims=True)
  target = 1 / p.shape[1]
  while np.abs(p.mean(axis=0) - target).max() > 0.01:
    p = p * (target / p.mean(axis=0))
    p /= p.sum(axis=1, keepdims=True)
  return p


def bits_tables(spec: Spec) -> Tables:
  masks, labels = _bits_constants()
  x1, x2 = input_tables(spec)
  return Tables(x1, x2, jnp.asarray(masks), jnp.asarray(labels, jnp.float32))


def atoms_tables(spec: Spec) -> Tables:
  return Tables(*input_tables(spec))


def input_tables(spec: Spec) -> tuple[Array, Array]:
  """Inputs x1, x2 [MAX_DEPTH + 1, 4096, 12], standardised, by transform depth and row.

  Row r holds the bits of r as -1 or 1 at depth 0. At depth d > 0 they have gone through
  Linear(12, 12) and then d times [tanh, Linear(12, 12)], PyTorch's default initialisation, drawn
  from spec.transform_seed; side 1 is left alone unless spec.transform is 'both'.
  """
  plain = (((np.arange(ROWS)[:, None] >> np.arange(WIDTH)) & 1) * 2 - 1).astype(np.float32)
  untouched = np.broadcast_to(plain, (MAX_DEPTH + 1, ROWS, WIDTH))
  side = lambda s: _transformed(plain, np.random.default_rng([spec.transform_seed, s]))
  x1 = side(1) if spec.transform == 'both' else untouched
  return jnp.asarray(x1), jnp.asarray(side(2))


def _transformed(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """x [M, 12] at every transform depth, each depth its own random network: [depths, M, 12]."""
  linear = lambda h: h @ rng.uniform(-1, 1, (WIDTH, WIDTH)) / math.sqrt(WIDTH) + (
      rng.uniform(-1, 1, WIDTH) / math.sqrt(WIDTH))
  table = [x]
  for depth in range(1, MAX_DEPTH + 1):
    h = linear(x.astype(np.float64))
    for _ in range(depth):
      h = linear(np.tanh(h))
    table.append((h - h.mean(0)) / h.std(0))
  return np.stack(table).astype(np.float32)


# -- what they share ---------------------------------------------------------------------------


def draw(generator: Generator, tables: Tables, hyper: Hyper, key: Key, n: int) -> Draws:
  """n independent samples of the joint distribution, as rows of the tables of inputs.

  With probability hyper.mismatched x2 is that of an unrelated sample (y stays with x1); each shared
  bit of x2 is flipped with probability hyper.flipped.
  """
  masks, labels = generator.task(tables, hyper)
  word, *noise = jax.random.bits(key, (SHARED + 3, n), jnp.uint32)  # one draw compiles fastest
  noise = uniform(jnp.stack(noise))
  sample = word & 0xFFFF  # the 12 highest bits of the word are an unrelated x2
  row_1, row_2 = sample & 0xFFF, row_of_2(sample, word >> 20, noise, hyper)
  cumulative = jnp.cumsum(labels, axis=1)[task_pattern(sample, masks)]  # [n, C]
  y = jnp.sum(noise[SHARED + 1][:, None] > cumulative[:, :-1], axis=1)
  return Draws((row_1.astype(jnp.int32), row_2.astype(jnp.int32)), y.astype(jnp.int32))


def uniform(bits: Array) -> Array:
  """u32 as f32, uniform in [0, 1)."""
  return (bits >> 8).astype(jnp.float32) / 2**24


def row_of_2(sample: Array, unrelated: Array, noise: Array, hyper: Hyper) -> Array:
  """Rows [N] u32 of side 2 of 16-bit samples [N], by noise [SHARED + 1, N] uniform in [0, 1): each
  shared bit may be flipped, and all may be that of an `unrelated` row [N]."""
  flips = jnp.sum((noise[:SHARED] < hyper.flipped).astype(jnp.uint32)
                  << jnp.arange(SHARED, dtype=jnp.uint32)[:, None], axis=0)
  genuine = ((sample & _SHARED) ^ flips) | ((sample >> WIDTH) << SHARED)
  return jnp.where(noise[SHARED] < hyper.mismatched, unrelated, genuine)


def task_pattern(sample: Array, masks: Array) -> Array:
  """Value [N] i32 in 0..2**T-1 of the task bits [T] of each 16-bit sample [N]."""
  parity = jax.lax.population_count(sample.astype(jnp.uint32)[:, None] & masks[None]) & 1
  place = jnp.arange(masks.shape[0], dtype=jnp.uint32)
  return jnp.sum(parity << place[None], axis=1).astype(jnp.int32)


def side_sample(row: Array, side: int) -> Array:
  """16-bit sample that a row of one side stands for, the other side's private bits zero."""
  row = row.astype(jnp.uint32)
  return row if side == 1 else (row & _SHARED) | ((row >> SHARED) << WIDTH)


def hidden_from(masks: Array, side: int) -> Array:
  """[T] bool: task bits that need a private bit of the other side."""
  return (masks & (_ONLY_2 if side == 1 else _ONLY_1)) > 0


def touches_shared(masks: Array) -> Array:
  """[T] bool: task bits that read a shared bit."""
  return (masks & _SHARED) > 0


def inputs(tables: Tables, hyper: Hyper, rows: Sequence[Array],
           ) -> tuple[Array, Array]:
  """x1 [B, 12] and x2 [B, 12] of rows [B] of both sides, at the transform depth of the cell."""
  depth = jnp.asarray(hyper.transform_depth).astype(jnp.int32)
  return tables.x1[depth, rows[0]], tables.x2[depth, rows[1]]


def bits_shares(redundancy: float, side: int) -> float:
  """Shared part of the task bits that a side sees, split as in `_bits_constants`."""
  private = MAX_REDUNDANCY - redundancy
  own = private // 2 if side == 1 else private - private // 2
  return redundancy / (redundancy + own)


def atoms_unique(unique: np.ndarray) -> dict[str, np.ndarray]:
  """Unique information of both sides for redundancy, in nats; I(X1;Y) and I(X2;Y) stay ln 2."""
  own = MAX_ATOM * unique / N_UNIQUE
  return {'redundancy': MAX_ATOM * (1 - unique / N_UNIQUE), 'unique_1': own, 'unique_2': own}


_COMMON = ('redundancy', 'transform_depth', 'mismatched', 'flipped', 'n_train')
_DEPTH = {'transform_depth': Range(0, MAX_DEPTH, True)}
_ATOM = Range(0, MAX_ATOM + 1e-6)  # of a one-bit source: 0..ln 2 nats, and float32's rounding
GENERATORS = {
    'bits': Generator(
        (*_COMMON, 'level'), bits_tables, bits_task,
        {'redundancy': Range(0, MAX_REDUNDANCY, True), 'level': Range(0, LEVELS - 1, True),
         **_DEPTH},
        {'redundancy': ('shared task bits', 'bits')},
        unique=lambda u: {'redundancy': MAX_REDUNDANCY - u}, shares=bits_shares),
    'atoms': Generator(
        (*_COMMON, 'unique_1', 'unique_2', 'synergy'), atoms_tables, atoms_task,
        {**dict.fromkeys(('redundancy', 'unique_1', 'unique_2', 'synergy'), _ATOM), **_DEPTH},
        {'redundancy': ('redundancy', 'nats'),
         'unique_1': ('unique information of side 1', 'nats'),
         'unique_2': ('unique information of side 2', 'nats'), 'synergy': ('synergy', 'nats')},
        {'redundancy': 0.3}, unique=atoms_unique),
}
