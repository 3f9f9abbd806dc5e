"""Chance by shifts along one random circle: all of them for the price of a few products.

The samples stand on a circle in random order, and a permutation moves all of them by the same s
places. Shifts are a group, so the share of them at which two sides are as alike as they are is as
exact a p-value as that of any permutations (Hemerik and Goeman, TEST 2018). For a measure that is a
product of two N x N matrices, the sum over their entries at distance d on the circle is a circular
correlation: after a Fourier transform along each of the distances, all N shifts of a pair of layers
are N / 2 numbers for each of N / 2 frequencies, where P permutations are P N^2 / 2 products.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import functools

import numpy as np
from scipy import fft
from threadpoolctl import threadpool_limits

from mmalign_jax.zoo.grams import Grams, place
from mmalign_jax.zoo.lists import Lists, Right
from mmalign_jax.zoo.stacks import Best, Stack


@dataclasses.dataclass(frozen=True, eq=False)
class Circle:
  """order [N]: the samples around the circle; shifts [P] in 1..N-1, all different."""
  order: np.ndarray
  shifts: np.ndarray

  def orders(self) -> np.ndarray:
    """[P, N]: the same as permutations: sample i takes its right side from this one.

    Examples:
      >>> Circle(np.array([0, 2, 1]), np.array([1])).orders().tolist()
      [[2, 0, 1]]
    """
    n = len(self.order)
    made = np.empty((len(self.shifts), n), np.int64)
    for row, shift in zip(made, self.shifts):
      row[self.order] = np.roll(self.order, -shift)
    return made


def draw(n: int, count: int, seed: int) -> Circle:
  """A circle of n samples and `count` of its n - 1 shifts.

  Raises:
    ValueError: there are not so many.
  """
  if not 0 < count < n:
    raise ValueError(f'{count} shifts of N={n} samples: there are {n - 1}')
  g = np.random.default_rng([seed, 9])
  return Circle(g.permutation(n), 1 + g.permutation(n - 1)[:count])


class Circles:
  """Products of two matrices with the samples on a circle (`stacks.Preparer`).

  A layer [F, D] c64, or c128 of float64: its D distances at F frequencies; stacks are [F, L, D] and
  [F, D, L].
  """

  def __init__(self, engine: Grams | Lists, circle: Circle):
    self._engine, self.circle = engine, circle
    self._unit = None if isinstance(engine, Grams) else engine.k * len(circle.order)

  def bytes_of(self, n: int) -> int:
    return 8 * (n // 2 + 1) * (n // 2 + 1 if self._unit is None else n)

  def layer(self, z: np.ndarray, items: np.ndarray | None) -> np.ndarray:
    made = self._engine.layer(z, items)
    turned = _of_lists(made, self.circle.order) if isinstance(made, Right) else _symmetric(
        made, self.circle.order)
    kind = np.complex128 if turned.dtype == np.float64 else np.complex64
    return np.asarray(fft.rfft(turned, axis=1)).astype(kind).T

  def left(self, layers: Iterable[np.ndarray], count: int) -> np.ndarray:
    return _stacked(layers, count, lambda made, i: made[:, i], np.conj)

  def right(self, layers: Iterable[np.ndarray], count: int) -> np.ndarray:
    return _stacked(layers, count, lambda made, i: made[:, :, i], lambda layer: layer, last=True)

  def at_all_shifts(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[N, L1, L2]: the measure at every shift, 0 first."""
    n = len(self.circle.order)
    made = np.asarray(fft.irfft(np.matmul(left, right), n=n, axis=0))
    return made if self._unit is None else np.rint(made) / np.float32(self._unit)  # of whole counts


def _stacked(layers: Iterable[np.ndarray], count: int, at: Callable, turn: Callable,
             last: bool = False) -> np.ndarray:
  made = None
  for i, layer in enumerate(layers):
    if made is None:
      f, d = layer.shape
      made = np.empty((f, d, count) if last else (f, count, d), layer.dtype)
    at(made, i)[...] = turn(layer)
  assert made is not None
  return made


def _symmetric(vector: np.ndarray, order: np.ndarray) -> np.ndarray:
  """[N // 2 + 1, N] of a `Grams` layer: its entry of the samples a and a + d of the circle."""
  n = len(order)
  made = vector[_around(n, order.tobytes())]
  if n % 2 == 0:
    made[-1] *= np.sqrt(np.asarray(0.5, made.dtype))  # opposite samples meet there twice
  return made


@functools.lru_cache(maxsize=2)
def _around(n: int, order_bytes: bytes) -> np.ndarray:
  """[N // 2 + 1, N]: where in a `Grams` layer the pairs of samples stand."""
  order = np.frombuffer(order_bytes, np.int64)
  d, a = np.ogrid[:n // 2 + 1, :n]
  return place(n)[order[a], order[(a + d) % n]]


def _of_lists(side: Right, order: np.ndarray) -> np.ndarray:
  """[N, N] of neighbours: 1 where the sample at a has the one at a + d."""
  n, at = len(order), np.empty(len(order), np.int64)
  at[order] = np.arange(n)
  made = np.zeros((n, n), np.float32)
  k = side.lists.shape[0]
  distance = (at[side.lists] - at[None, np.arange(n)]) % n
  made[distance.ravel(), np.tile(at, k)] = 1
  return made


def best_on_circle(engine: Circles, left: Stack, right: Stack, *, higher: bool = True,
                   workers: int = 1, most: int = 2**27) -> Best:
  """`stacks.best` with the shifts of the engine's circle as permutations; arguments as there. most:
  bytes of the products of all workers, of at least one model of the left each."""
  n, shifts = len(engine.circle.order), engine.circle.shifts
  pick, reduce = (np.argmax, np.maximum) if higher else (np.argmin, np.minimum)
  ends = [*left.starts[1:], left.held.shape[1]]
  shape = len(left.starts), len(right.starts)
  kind = left.held.real.dtype
  value, layers = np.empty(shape, kind), np.zeros((*shape, 2), np.int32)
  null = np.empty((len(shifts), *shape), kind)
  columns = [slice(a, b) for a, b in zip(right.starts, [*right.starts[1:], right.held.shape[2]])]

  def some(models: range) -> None:
    first = left.starts[models[0]]
    found = engine.at_all_shifts(left.held[:, first:ends[models[-1]]], right.held)
    starts = left.starts[models[0]:models[-1] + 1] - first
    null[:, models[0]:models[-1] + 1] = reduce.reduceat(
        reduce.reduceat(found[shifts], starts, 1), right.starts, 2)
    for i, start, end in zip(models, starts, [ends[i] - first for i in models]):
      for j, columns_j in enumerate(columns):
        part = found[0, start:end, columns_j]
        at = np.unravel_index(pick(part), part.shape)
        value[i, j], layers[i, j] = part[at], at

  one = 2 * left.held.itemsize * n * right.held.shape[2]  # bytes of a layer of the left
  largest = max(end - start for start, end in zip(left.starts, ends))
  workers = max(1, min(workers, most // (one * largest)))
  each = max(1, most // (workers * one))  # layers of the left
  with threadpool_limits(1, 'blas'), ThreadPoolExecutor(workers) as pool:
    for _ in pool.map(some, _together(left.starts, ends, each)):
      pass
  return Best(value, layers, null)


def _together(starts: np.ndarray, ends: list[int], most: int) -> list[range]:
  """Models in runs of at most so many layers, or single ones."""
  runs: list[range] = []
  for i in range(len(starts)):
    if runs and ends[i] - starts[runs[-1][0]] <= most:
      runs[-1] = range(runs[-1][0], i + 1)
    else:
      runs.append(range(i, i + 1))
  return runs
