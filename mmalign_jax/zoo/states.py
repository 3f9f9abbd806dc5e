"""Any other measure: `compare` of two prepared sides, a pair of layers at a time."""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from mmalign_jax.similarity import Measure


class States:
  """The engine of any measure whose chance is a permutation of the samples (`stacks.Engine`)."""

  def __init__(self, measure: Measure, settings: dict):
    self._items = measure.items
    own = {**measure.settings, **settings}
    self._prepare = jax.jit(lambda z, **more: measure.prepare(z, **own, **more))
    self._compare = jax.jit(measure.compare)
    self._moved = jax.jit(lambda x, y, order: measure.compare(x, y.take(order)))

  def bytes_of(self, n: int) -> int:
    return 4 * n * n

  def layer(self, z: np.ndarray, items: np.ndarray | None) -> Any:
    return self._prepare(z, **({'items': items} if self._items and items is not None else {}))

  def left(self, layers: Iterable[Any], count: int) -> list:
    return list(layers)

  right = left

  def compare(self, left: list, right: list, order: np.ndarray | None) -> np.ndarray:
    one = self._compare if order is None else lambda x, y: self._moved(x, y, order)
    return np.array([[one(x, y) for y in right] for x in left])
