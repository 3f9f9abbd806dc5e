"""Measures that are the cosine of two centred N x N matrices: CKA of any kernel.

The matrix of a layer is symmetric, so it is held as the entries on and above its diagonal, those
above times sqrt 2, as a vector of norm 1: the measure is the product of two vectors, and that of
all pairs of layers one product of two matrices. A permutation of samples moves entries about.
"""

from collections.abc import Iterable
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity import Measure, linear, rbf
from mmalign_jax.similarity.gram import Gram, gram, u_centered

MOST = 8192   # samples, above which N x N numbers a layer are too many
_CHUNK = 4096  # entries that are moved and multiplied at a time: they stay in the cache


def fits(measure: Measure) -> bool:
  """Whether a measure is such a cosine."""
  return getattr(measure.compare, '__wrapped__', None) in (linear.compare, rbf.compare)


class Grams:
  """The engine of such a measure (`stacks.Engine`)."""

  def __init__(self, measure: Measure, settings: dict):
    own = {**measure.settings, **settings}
    self._matrix = jax.jit(lambda z: _unit(measure.prepare(z, **own)))

  def bytes_of(self, n: int) -> int:
    return 4 * n * (n + 1) // 2

  def layer(self, z: np.ndarray, items: np.ndarray | None) -> np.ndarray:
    """[N (N + 1) / 2] of z [N, D]."""
    matrix = np.asarray(self._matrix(padded(z)))
    i, j = _above(len(z))
    vector = matrix[i, j]
    vector[i != j] *= np.asarray(np.sqrt(2), vector.dtype)
    return vector

  def left(self, layers: Iterable[np.ndarray], count: int) -> np.ndarray:
    made = None
    for i, layer in enumerate(layers):  # one at a time: they are large
      made = np.empty((count, len(layer)), layer.dtype) if made is None else made
      made[i] = layer
    assert made is not None
    return made

  def right(self, layers: Iterable[np.ndarray], count: int) -> np.ndarray:
    """[entries, L]: an entry of all layers lies in one piece, and is moved in one."""
    made = None
    for i, layer in enumerate(layers):
      made = np.empty((len(layer), count), layer.dtype) if made is None else made
      made[:, i] = layer
    assert made is not None
    return made

  def compare(self, left: np.ndarray, right: np.ndarray,
              order: np.ndarray | None) -> np.ndarray:
    if order is None:
      return left @ right
    moved_to = np.take(np.take(place(len(order)), order, 0), order, 1).ravel()
    every = _flat(len(order))
    total = np.zeros((len(left), right.shape[1]), left.dtype)
    moved = np.empty((_CHUNK, right.shape[1]), right.dtype)
    for start in range(0, len(right), _CHUNK):
      part = slice(start, min(start + _CHUNK, len(right)))
      source = np.take(moved_to, every[part])
      rows = np.take(right, source, axis=0, out=moved[:len(source)], mode='clip')
      total += left[:, part] @ rows
    return total


def _unit(side) -> jax.Array:
  """The centred matrix [N, N] of a side, of norm 1; 0 where the side is constant."""
  if not isinstance(side, Gram):
    matrix = jnp.dot(side.z, side.z.T, precision='highest')
    side = gram(u_centered(matrix) if side.debiased else matrix)
  some = side.norm > 1e-12
  return jnp.where(some, side.matrix / jnp.sqrt(jnp.where(some, side.norm, 1)), 0)


@functools.lru_cache(maxsize=4)
def _above(n: int) -> tuple[np.ndarray, np.ndarray]:
  """Rows and columns of the entries on and above the diagonal, i32."""
  i, j = np.triu_indices(n)
  return i.astype(np.int32), j.astype(np.int32)


@functools.lru_cache(maxsize=4)
def place(n: int) -> np.ndarray:
  """[N, N] i32: where an entry of a symmetric matrix stands in the vector."""
  i, j = _above(n)
  made = np.empty((n, n), np.int32)
  made[i, j] = made[j, i] = np.arange(len(i), dtype=np.int32)
  return made


@functools.lru_cache(maxsize=4)
def _flat(n: int) -> np.ndarray:
  """[entries] i64: where in a matrix [N, N] the entries of the vector stand."""
  i, j = np.triu_indices(n)
  return i * n + j


def padded(z: np.ndarray) -> np.ndarray:
  """z [N, D] with columns of zeros up to a round width, which products do not notice: models of
  many widths then need few programs."""
  width = max(32, 1 << (z.shape[1] - 1).bit_length())
  step = max(width // 4, 32)
  return np.pad(z, ((0, 0), (0, -z.shape[1] % step)))
