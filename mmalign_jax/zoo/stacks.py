"""Sides of many models, each prepared once, and all their layers compared at a stroke.

A stack holds the layers of several models one after another; `starts` says where a model begins. An
engine turns layers into states, states into stacks, and two stacks into the values of all pairs of
layers, also where the samples of the right side are permuted. What an engine makes is what the
measure itself makes of every pair of layers, but for rounding.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
from typing import Any, Protocol

import jax
import numpy as np
from threadpoolctl import threadpool_limits


@dataclasses.dataclass(frozen=True, eq=False)
class Stack:
  """held: what an engine keeps of all layers; starts [M]: the first layer of each model."""
  held: Any
  starts: np.ndarray


class Preparer(Protocol):
  """How a measure prepares stacks. bytes_of(n): what a layer of n samples takes."""

  def bytes_of(self, n: int) -> int: ...

  def layer(self, z: np.ndarray, items: np.ndarray | None) -> Any:
    """What the measure makes of a layer [N, D] alone."""
    ...

  def left(self, layers: Iterable[Any], count: int) -> Any:
    """What is kept of `count` layers, taken one after another."""
    ...

  def right(self, layers: Iterable[Any], count: int) -> Any: ...


class Engine(Preparer, Protocol):
  """How it compares them."""

  def compare(self, left: Any, right: Any, order: np.ndarray | None) -> np.ndarray:
    """[L1, L2]: the measure of all pairs of layers, the samples of the right taken in `order`."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class Best:
  """value [M1, M2]: the best over pairs of layers, of models; layers [M1, M2, 2]: where it is, from
  0; null [P, M1, M2]: the same under every permutation."""
  value: np.ndarray
  layers: np.ndarray
  null: np.ndarray


def stack(engine: Preparer, side: str, layers: Iterable[Any], counts: Sequence[int]) -> Stack:
  """A stack of models of counts [M] prepared layers each; side: 'left' or 'right'."""
  made = getattr(engine, side)(layers, sum(counts))
  return Stack(made, np.cumsum(counts) - np.asarray(counts))


def best(engine: Engine, left: Stack, right: Stack, orders: np.ndarray | None, *,
         higher: bool = True, workers: int = 1, wide: bool = False) -> Best:
  """The best of all pairs of layers of every pair of models, and its null.

  Args:
    engine: of the measure.
    left, right: stacks of M1 and M2 models.
    orders: [P, N] permutations of the samples of the right side, or None.
    higher: whether a higher value is more similar.
    workers: threads, each with permutations of its own. wide: whether they compute in float64.

  Examples:
    >>> from mmalign_jax.similarity import MEASURES
    >>> from mmalign_jax.zoo import engine_of
    >>> own = engine_of(MEASURES['linear_cka'], {})
    >>> x = np.arange(12.0, dtype=np.float32).reshape(6, 2) ** 2
    >>> layers = [own.layer(z, None) for z in (x[:, :1], x)]
    >>> found = best(own, stack(own, 'left', layers, [2]), stack(own, 'right', layers, [2]), None)
    >>> found.layers[0, 0].tolist(), round(float(found.value[0, 0]), 3)
    ([0, 0], 1.0)
  """
  values = engine.compare(left.held, right.held, None)
  pick = np.nanmax if higher else np.nanmin
  made = np.empty((len(left.starts), len(right.starts)), values.dtype)
  layers = np.zeros((*made.shape, 2), np.int32)
  for (i, j), part in _parts(values, left.starts, right.starts):
    made[i, j] = pick(part) if np.isfinite(part).any() else np.nan
    if np.isfinite(part).any():
      flat = (np.nanargmax if higher else np.nanargmin)(part)
      layers[i, j] = np.unravel_index(flat, part.shape)
  orders = np.empty((0, 0), np.int64) if orders is None else orders
  null = np.empty((len(orders), *made.shape), values.dtype)
  reduce = np.maximum if higher else np.minimum

  def one(p: int) -> None:
    with jax.enable_x64(wide):  # is of a thread
      found = engine.compare(left.held, right.held, orders[p])
    null[p] = reduce.reduceat(reduce.reduceat(found, left.starts, 0), right.starts, 1)
  with threadpool_limits(1, 'blas'), ThreadPoolExecutor(workers) as pool:
    for _ in pool.map(one, range(len(orders))):
      pass
  return Best(made, layers, null)


def _parts(values: np.ndarray, rows: np.ndarray,
           columns: np.ndarray) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
  """Blocks of models of all pairs of layers [L1, L2]."""
  for i, strip in enumerate(np.split(values, rows[1:])):
    for j, part in enumerate(np.split(strip, columns[1:], axis=1)):
      yield (i, j), part
