"""Where the samples of a cell come from: one interface over generators and files."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
import dataclasses
import functools

import chex
from flax import struct
import jax
import jax.numpy as jnp

from mmalign_jax import rng
from mmalign_jax.generators import exact, synthetic
from mmalign_jax.generators.synthetic import GENERATORS, Generator
from mmalign_jax.types import Draws, Hyper, Key, PyTree, Range, Spec, Test


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """The functions a cell needs of its data; `tables` are its constants, shared by all cells.

  settings: fields of Hyper it reads. tables(spec): None where the caller must give them.
  draw(tables, hyper, key, n) -> Draws: n training samples. inputs(tables, hyper, row_1, row_2) ->
  x1 [B, D1], x2 [B, D2]. test(tables, hyper, side) -> Test. pairs(tables, hyper, key, n) -> x1, x2:
  at most n unseen pairs to measure similarity on. bounds(tables, hyper) -> the best accuracies and
  I(X;Y) in nats of either side, NaN where unknown. n_outputs(tables) -> C, or 1 for regression.
  ranges, words, unique, shares: as of `synthetic.Generator`.
  """
  settings: tuple[str, ...]
  tables: Callable[[Spec], PyTree] | None
  draw: Callable[..., Draws]
  inputs: Callable[..., tuple[chex.Array, chex.Array]]
  test: Callable[..., Test]
  pairs: Callable[..., tuple[chex.Array, chex.Array]]
  bounds: Callable[..., 'Bounds']
  n_outputs: Callable[[PyTree], int]
  ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
  words: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  unique: Callable | None = None
  shares: Callable[[float, int], float] | None = None


@struct.dataclass
class Bounds:
  """What no encoder can pass: Bayes accuracies in 0..1 and I(X1;Y), I(X2;Y) in nats, all []."""
  accuracy_1: chex.Array
  accuracy_2: chex.Array
  mi_1: chex.Array
  mi_2: chex.Array


@struct.dataclass
class ArrayTables:
  """Paired arrays: x1 [N, D1], x2 [N, D2], y [N] to train on, *_test [M, ..] held out, fold [M]."""
  x1: chex.Array
  x2: chex.Array
  y: chex.Array
  x1_test: chex.Array
  x2_test: chex.Array
  y_test: chex.Array
  fold: chex.Array
  n_folds: int = struct.field(pytree_node=False)
  n_outputs: int = struct.field(pytree_node=False)


@functools.lru_cache(maxsize=None)
def _generated(generator: Generator) -> Source:
  def pairs(tables, hyper, key, n):
    draws = synthetic.draw(generator, tables, hyper, key, n)
    return synthetic.inputs(tables, hyper, draws.row_1, draws.row_2)

  def bounds(tables, hyper):
    known = exact.information(generator, tables, hyper)
    return Bounds(known.bayes_accuracy_1, known.bayes_accuracy_2, known.mi_1, known.mi_2)

  def n_outputs(tables):
    return jax.eval_shape(generator.task, tables, Hyper())[1].shape[1]

  return Source(
      generator.settings, generator.tables, functools.partial(synthetic.draw, generator),
      synthetic.inputs, functools.partial(exact.test_set, generator), pairs, bounds, n_outputs,
      generator.ranges, generator.words, generator.unique, generator.shares)


def _draw_rows(tables: ArrayTables, hyper: Hyper, key: Key, n: int) -> Draws:
  """The first n of the training rows in an order of the seed's own; the source of x2 and y too."""
  total = tables.y.shape[0]
  row = rng.permute(key, jnp.arange(n) % total, total)
  return Draws(row, row, tables.y[row])


def _array_test(tables: ArrayTables, hyper: Hyper, side: int) -> Test:
  x = tables.x1_test if side == 1 else tables.x2_test
  y = tables.y_test
  target = jax.nn.one_hot(y, tables.n_outputs) if jnp.issubdtype(y.dtype, jnp.integer) else y
  return Test(x, target, tables.fold, tables.n_folds)


def _array_pairs(tables: ArrayTables, hyper: Hyper, key: Key, n: int):
  """n of the test rows, drawn by the seed: the first ones of a given split may be of one class."""
  total = tables.y_test.shape[0]
  if n >= total:
    return tables.x1_test, tables.x2_test
  row = rng.permute(key, jnp.arange(n), total)
  return tables.x1_test[row], tables.x2_test[row]


def _unknown(tables: ArrayTables, hyper: Hyper) -> Bounds:
  return Bounds(*[jnp.float32(jnp.nan)] * 4)


class _Sources(MutableMapping):
  """Rows of their own, and one for every row of GENERATORS, those that were added later too."""

  def __init__(self, own: dict[str, Source]):
    self._own = own

  def __getitem__(self, name: str) -> Source:
    return self._own[name] if name in self._own else _generated(GENERATORS[name])

  def __setitem__(self, name: str, source: Source) -> None:
    self._own[name] = source

  def __delitem__(self, name: str) -> None:
    del self._own[name]

  def __iter__(self) -> Iterator[str]:
    return iter({**GENERATORS, **self._own})

  def __len__(self) -> int:
    return len({**GENERATORS, **self._own})


SOURCES = _Sources({
    'paired': Source(
        ('n_train',), None, _draw_rows,
        lambda tables, hyper, row_1, row_2: (tables.x1[row_1], tables.x2[row_2]),
        _array_test, _array_pairs, _unknown, lambda tables: tables.n_outputs),
})
