"""All models of one side against all of the other, on some samples, within a bound of memory.

The left side is held, as much of it as memory allows, and the right side goes past it: so that each
model is prepared once where the left side fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
import functools
import math
import threading
from typing import Any

import jax
import numpy as np

from mmalign_jax.runs import devices
from mmalign_jax.similarity import arrangements, preprocess
from mmalign_jax.studies.zoo import models
from mmalign_jax.studies.zoo.models import Model
from mmalign_jax.studies.zoo.plan import Plan
from mmalign_jax.zoo import (
  Best,
  Circle,
  Circles,
  Engine,
  Preparer,
  Stack,
  best,
  best_on_circle,
  circled,
  engine_of,
  stack,
)
from mmalign_jax.zoo.lists import Lists
from mmalign_jax.zoo.states import States

_OF_LEFT = 0.8  # of the memory
_AT_ONCE = 2e13  # operations between two files: a kill costs a few minutes at most


class Comparison:
  """Compares models of a plan, and keeps what it has made of the left side last."""

  def __init__(self, plan: Plan):
    self.plan = plan
    self._held: dict[tuple, Stack] = {}
    self._features: dict[tuple, list[np.ndarray]] = {}  # the oldest first
    self._engines: dict[str, Engine] = {
        name: engine_of(measure, plan.of_measure(measure), plan.n)
        for name, measure in plan.measures.items()}
    self._lock = threading.Lock()

  def __call__(self, name: str, left: Sequence[Model], right: Sequence[Model], *,
               rows: np.ndarray, level: int = 0, orders: np.ndarray | Circle | None = None,
               held: bool = False) -> Best:
    """The best pairs of layers under a measure.

    Args:
      name: of the measure.
      left, right: models that can be compared.
      rows: [m] of the samples of the plan.
      level: of the right side.
      orders: [P, m] permutations of these rows of the right side, or a circle of them.
      held: whether the same left side comes again on the same rows.
    """
    engine = self._engine(name, orders)
    with jax.enable_x64(self.plan.wide):
      blocks = list(self._blocks(engine, left, len(rows), _OF_LEFT))
      strips: dict[int, list[Best]] = {}
      key = lambda i: _key(name, engine, blocks[i], rows)
      for i in sorted(range(len(blocks)), key=lambda i: key(i) not in self._held):
        mine = self._kept(engine, key(i), blocks[i], rows) if held else self._stack(
            engine, 'left', blocks[i], rows, 0)
        strips[i] = [self._best(name, engine, mine, part, rows, level, orders)
                     for part in self._blocks(engine, right, len(rows), 1 - _OF_LEFT)]
        del mine  # or two blocks would be held while the next one is made
      return _joined([strips[i] for i in range(len(blocks))])

  def release(self) -> None:
    """Lets go what is held of the left side."""
    self._held.clear()

  def _engine(self, name: str, orders: np.ndarray | Circle | None) -> Engine | Circles:
    """What these permutations of a measure need. The lists of mutual kNN are a few numbers where a
    matrix on a circle is N^2 / 2: they stay lists where models on it are more than memory holds."""
    plain, n = self._engines[name], self.plan.n
    made = circled(plain, orders) if isinstance(orders, Circle) else None
    small = made and made.bytes_of(n) < 2 * plain.bytes_of(n)
    return made if made and (small or self._fits(made.bytes_of(n))) else plain

  def _fits(self, each: int) -> bool:
    """Whether the largest model of either side fits its share, with so many bytes a layer."""
    most = self.plan.run['memory'] * 2**30
    return all(max(len(m.layers) for m in side if not m.refused) * self._wide(each) <= share * most
               for side, share in ((self.plan.left, _OF_LEFT), (self.plan.right, 1 - _OF_LEFT)))

  def _best(self, name: str, engine: Engine | Circles, left: Stack, part: Sequence[Model], rows,
            level, orders) -> Best:
    higher = self.plan.measures[name].higher
    workers = 1 if isinstance(engine, States) else devices.cores()
    right = self._stack(engine, 'right', part, rows, level)
    if isinstance(engine, Circles):
      share = int(0.1 * self.plan.run['memory'] * 2**30)
      return best_on_circle(engine, left, right, higher=higher, workers=workers, most=share)
    orders = orders.orders() if isinstance(orders, Circle) else orders
    return best(engine, left, right, orders, higher=higher, workers=workers, wide=self.plan.wide)

  def groups(self, right: Sequence[Model],
             orders: np.ndarray | Circle | None = None) -> Iterator[list[Model]]:
    """The right side in parts that memory holds, whatever the measure, and that take minutes."""
    quick = (Circles, Lists) if isinstance(orders, Circle) else Circles
    slow = [engine for name in self._engines
            if not isinstance(engine := self._engine(name, orders), quick)]
    if not slow:  # to prepare the left side again costs more than all shifts
      yield from [list(right)] if right else []
      return
    largest = max(slow, key=lambda engine: engine.bytes_of(self.plan.n))
    each = largest.bytes_of(self.plan.n) / 2 * (1 + self.plan.settings['permutations']) * sum(
        len(m.layers) for m in self.plan.left if not m.refused)
    yield from self._blocks(largest, right, self.plan.n, 1 - _OF_LEFT, _AT_ONCE / each)

  def _wide(self, each: int) -> int:
    return each * (2 if self.plan.wide else 1)

  def _blocks(self, engine: Preparer, side: Sequence[Model], n: int, share: float,
              layers: float = math.inf) -> Iterator[list[Model]]:
    most = share * self.plan.run['memory'] * 2**30
    each = self._wide(engine.bytes_of(n))
    block: list[Model] = []
    for model in side:
      if block and sum(len(m.layers) for m in (*block, model)) > min(most / each, layers):
        yield block
        block = []
      block.append(model)
    yield block

  def _kept(self, engine: Preparer, key: tuple, block: Sequence[Model],
            rows: np.ndarray) -> Stack:
    """A block of the left side, and no other of its measure beside it; on a circle no other at all:
    that of one measure fills the memory."""
    if key not in self._held:
      alone = isinstance(engine, Circles)
      self._held = {k: v for k, v in self._held.items() if k[0] != key[0] and not alone}
      self._held[key] = self._stack(engine, 'left', block, rows, 0)
    return self._held[key]

  def _stack(self, engine: Preparer, side: str, block: Sequence[Model], rows: np.ndarray,
             level: int) -> Stack:
    return stack(engine, side, self._layers(engine, block, rows, level),
                 [len(m.layers) for m in block])

  def _layers(self, engine: Preparer, block: Sequence[Model], rows: np.ndarray,
              level: int) -> Iterator[Any]:
    """Prepared layers, a few models at a time."""
    plan = self.plan
    items = None if plan.items is None else np.unique(plan.items[rows], return_inverse=True)[1]
    def read(model: Model) -> list[Any]:
      with jax.enable_x64(plan.wide):  # of a thread: a pool's do not have that of who asks
        return [engine.layer(z[rows] if len(rows) < len(z) else z, items)
                for z in self._read(model, level)]
    workers = 1 if isinstance(engine, States) else devices.cores()
    with ThreadPoolExecutor(workers) as pool:
      for start in range(0, len(block), workers):
        for layers in pool.map(read, block[start:start + workers]):
          yield from layers

  def _read(self, model: Model, level: int) -> list[np.ndarray]:
    """Features of a model; those used last are kept, as far as a tenth of the memory holds them."""
    key = (model.source, level if model.source.levels else 0)
    with self._lock:
      made = self._features.pop(key, None)
    made = made or features_of(self.plan, model, key[1])
    size = lambda layers: sum(z.nbytes for z in layers)
    with self._lock:
      self._features[key] = made
      most, total = 0.1 * self.plan.run['memory'] * 2**30, sum(map(size, self._features.values()))
      for old in list(self._features)[:-1]:
        if total > most:
          total -= size(self._features.pop(old))
    return made


def features_of(plan: Plan, model: Model, level: int = 0) -> list[np.ndarray]:
  """Layers [N, D] of a model after preprocessing, of one type."""
  argument = 'left' if model in plan.left else 'right'
  kind = np.float64 if plan.wide else np.float32
  with jax.enable_x64(plan.wide):
    made = []
    for z in models.layers_of(model, argument, plan.reading, plan.kept, level):
      z = z.astype(kind, copy=False)
      for step in steps(plan.settings):
        z = np.asarray(step(z))
      made.append(z)
  return made


def steps(settings: Mapping[str, Any]) -> list:
  """What is done to features before they are compared, in order, on all samples."""
  clip = functools.partial(preprocess.clip, quantile=settings['clip'])
  return [*([clip] if settings['clip'] < 1 else []),
          *([preprocess.standardize] if settings['standardize'] else []),
          *([preprocess.normalize] if settings['normalize'] else [])]


def units_of(plan: Plan) -> arrangements.Units | None:
  """How samples change places."""
  return arrangements.units(plan.n, plan.groups, plan.items)


def _key(name: str, engine: Preparer, block: Sequence[Model], rows: np.ndarray) -> tuple:
  return name, type(engine), tuple(m.name for m in block), len(rows)


def _joined(strips: Sequence[Sequence[Best]]) -> Best:
  """Blocks of models as one."""
  join = lambda name, first: np.concatenate([np.concatenate(
      [getattr(one, name) for one in strip], axis=first + 1) for strip in strips], axis=first)
  return Best(join('value', 0), join('layers', 0), join('null', 1))
