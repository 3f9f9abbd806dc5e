"""Where the samples of a cell come from: one interface over generators and files."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
import dataclasses
import functools

import jax
import jax.numpy as jnp

from mmalign_jax import rng, struct
from mmalign_jax.data import pair_source
from mmalign_jax.generators import exact, factors, synthetic
from mmalign_jax.generators.synthetic import GENERATORS, Generator
from mmalign_jax.types import Array, Draws, Factor, Hyper, Joint, Key, PyTree, Range, Spec, Test


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
  """The functions a cell needs of its data; `tables` are its constants, shared by all cells.

  settings: fields of Hyper it reads. tables(spec): None where the caller must give them.
  draw(tables, hyper, key, n) -> Draws: n training samples. inputs(tables, hyper, rows), rows of
  every side [B] -> x of every side [B, D]. test(tables, hyper, side) -> Test, sides from 1.
  pairs(tables, hyper, key, n) -> x of every side: at most n unseen samples to measure similarity
  on. bounds(tables, hyper) -> Bounds of every side. n_outputs(tables) -> C, or 1 for regression.
  sides: how many, or a function of the tables. present(tables, rows) -> of every side [B] bool, and
  validation(tables, hyper, side) -> Test, of rows to choose settings by; None where there are none.
  joint(tables, hyper, key) -> Joint: unseen samples with all sides, for a head on all; key: of what
  is drawn of them; None where there are none.
  factors(tables, hyper, side, rows) -> groups of bits for probes, (Factor, ...), always the same
  names of a side: of samples, rows of every side [N], their bits as 0 and 1; where rows is None, of
  the inputs of `test`, each of which must be as likely; None where the data name no factors.
  factor_words: {name of a factor: words for reports}.
  ranges, words, unique, shares: as of `synthetic.Generator`.
  """
  settings: tuple[str, ...]
  tables: Callable[[Spec], PyTree] | None
  draw: Callable[..., Draws]
  inputs: Callable[..., tuple[Array, ...]]
  test: Callable[..., Test]
  pairs: Callable[..., tuple[Array, ...]]
  bounds: Callable[..., tuple['Bounds', ...]]
  n_outputs: Callable[[PyTree], int]
  ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
  words: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
  unique: Callable | None = None
  shares: Callable[[float, int], float] | None = None
  sides: int | Callable[[PyTree], int] = 2
  present: Callable[..., tuple[Array, ...]] | None = None
  validation: Callable[..., Test] | None = None
  joint: Callable[..., Joint] | None = None
  factors: Callable[..., tuple[Factor, ...]] | None = None
  factor_words: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def n_sides(self, tables: PyTree) -> int:
    return self.sides(tables) if callable(self.sides) else self.sides


@struct.dataclass
class Bounds:
  """What the encoder of a side cannot pass: Bayes accuracy [] in 0..1, and mi [], I(X;Y) in nats;
  NaN where unknown."""
  accuracy: Array
  mi: Array


@struct.dataclass
class ArrayTables:
  """Paired arrays: x of every side [N, D] and y [N] to train on, *_test held out [M, ..], fold [M].
  """
  x: tuple[Array, ...]
  y: Array
  x_test: tuple[Array, ...]
  y_test: Array
  fold: Array
  n_folds: int = struct.field(pytree_node=False)
  n_outputs: int = struct.field(pytree_node=False)


@functools.lru_cache(maxsize=None)
def _generated(generator: Generator) -> Source:
  def pairs(tables, hyper, key, n):
    draws = synthetic.draw(generator, tables, hyper, key, n)
    return synthetic.inputs(tables, hyper, draws.rows)

  def bounds(tables, hyper):
    known = exact.information(generator, tables, hyper)
    return (Bounds(known.bayes_accuracy_1, known.mi_1),
            Bounds(known.bayes_accuracy_2, known.mi_2))

  def n_outputs(tables):
    return jax.eval_shape(generator.task, tables, Hyper())[1].shape[1]

  return Source(
      generator.settings, generator.tables, functools.partial(synthetic.draw, generator),
      synthetic.inputs, functools.partial(exact.test_set, generator), pairs, bounds, n_outputs,
      generator.ranges, generator.words, generator.unique, generator.shares,
      joint=functools.partial(exact.joint_test, generator),
      factors=functools.partial(factors.of_side, generator), factor_words=factors.WORDS)


def _few(generator: Generator) -> Source:
  """The same generator with a label for few of its samples."""
  full = _generated(generator)
  named = ('n_labelled', 'align_on')

  def draw(tables: PyTree, hyper: Hyper, key: Key, n: int) -> Draws:
    return pair_source.few(full.draw(tables, hyper, key, n), hyper, jax.random.fold_in(key, 1))

  return dataclasses.replace(
      full, settings=(*full.settings, *named), draw=draw, unique=None,
      ranges={**full.ranges, **{name: pair_source.RANGES[name] for name in named}},
      words={**full.words, **{name: pair_source.WORDS[name] for name in named}})


def draw_rows(tables: ArrayTables, hyper: Hyper, key: Key, n: int) -> Draws:
  """The first n of the training rows in an order of the seed's own; the source of all sides, y."""
  total = tables.y.shape[0]
  row = rng.permute(key, jnp.arange(n) % total, total)
  return Draws((row,) * len(tables.x), tables.y[row])


def _array_test(tables: ArrayTables, hyper: Hyper, side: int) -> Test:
  x, y = tables.x_test[side - 1], tables.y_test
  target = jax.nn.one_hot(y, tables.n_outputs) if jnp.issubdtype(y.dtype, jnp.integer) else y
  return Test(x, target, tables.fold, tables.n_folds)


def _array_joint(tables: ArrayTables, hyper: Hyper, key: Key) -> Joint:
  """All test rows: in paired arrays each has all sides."""
  test = _array_test(tables, hyper, 1)
  return Joint(tables.x_test, None, test.target, test.fold, jnp.float32(jnp.nan), test.n_folds)


def _array_pairs(tables: ArrayTables, hyper: Hyper, key: Key, n: int):
  """n of the test rows, drawn by the seed: the first ones of a given split may be of one class."""
  total = tables.y_test.shape[0]
  if n >= total:
    return tables.x_test
  row = rng.permute(key, jnp.arange(n), total)
  return tuple(x[row] for x in tables.x_test)


def _unknown(tables: ArrayTables, hyper: Hyper) -> tuple[Bounds, ...]:
  return (Bounds(jnp.float32(jnp.nan), jnp.float32(jnp.nan)),) * len(tables.x)


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
        ('n_train',), None, draw_rows,
        lambda tables, hyper, rows: tuple(x[row] for x, row in zip(tables.x, rows)),
        _array_test, _array_pairs, _unknown, lambda tables: tables.n_outputs,
        sides=lambda tables: len(tables.x), joint=_array_joint),
    'pairs': Source(
        pair_source.SETTINGS, None, pair_source.draw, pair_source.inputs, pair_source.test,
        pair_source.unseen, _unknown, lambda tables: tables.n_outputs, pair_source.RANGES,
        pair_source.WORDS, sides=lambda tables: len(tables.x), present=pair_source.present,
        validation=pair_source.validation, joint=pair_source.joint),
    'few_bits': _few(GENERATORS['bits']),
})
