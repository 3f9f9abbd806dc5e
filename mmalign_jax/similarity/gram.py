"""N x N matrices of one side: centring, and the cosine between two of them.

CKA of any kernel, representational similarity analysis and covariance similarity are all the cosine
of two matrices; they differ in what the matrix holds and how it is centred.
"""

import dataclasses

import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.types import Array, Numeric


@struct.dataclass
class Gram:
  """matrix [N, N], its norm [] = <matrix, matrix>, and the scale [] that was taken out of it."""
  matrix: Array
  norm: Array
  scale: Array

  def take(self, order: Array) -> 'Gram':
    return dataclasses.replace(self, matrix=self.matrix[order][:, order])


def gram(matrix: Array, scale: Numeric = 1.0) -> Gram:
  """The side whose centred matrix [N, N] is given."""
  norm = jnp.vdot(matrix, matrix, precision='highest')
  return Gram(matrix, norm, jnp.asarray(scale, matrix.dtype))


def cosine(x: Gram, y: Gram) -> Array:
  """<K, L> / (|K| |L|) of two sides: [], 0 where a matrix is 0."""
  return ratio(jnp.vdot(x.matrix, y.matrix, precision='highest'), x.norm, y.norm)


def ratio(xy: Array, xx: Array, yy: Array) -> Array:
  """xy / sqrt(xx yy), 0 where a side has (numerically) nothing, with a finite gradient."""
  fine = (xx > 1e-12) & (yy > 1e-12)
  root = jnp.sqrt(jnp.where(fine, xx, 1)) * jnp.sqrt(jnp.where(fine, yy, 1))
  return jnp.where(fine, xy / root, 0.0)


def centered(matrix: Array) -> Array:
  """H K H of a symmetric matrix [N, N]: rows and columns with sum 0."""
  rows = matrix.mean(axis=0, keepdims=True)
  return matrix - rows - rows.T + rows.mean()


def u_centered(matrix: Array) -> Array:
  """U-centred symmetric matrix [N, N], N >= 4: diagonal 0, rows and columns with sum 0; what
  rounding leaves of equal entries is 0.

  Szekely and Rizzo (2014); <K, L> / (n (n - 3)) is the unbiased HSIC of Song et al. (2012).
  """
  n = float(matrix.shape[0])  # n^2 does not fit an i32
  off = without_diagonal(matrix)
  rows = off.sum(axis=0, keepdims=True)
  moved = off - (rows + rows.T) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
  moved = without_diagonal(moved)
  rounding = 64 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix))
  return jnp.where(jnp.max(jnp.abs(moved)) > rounding, moved, 0)


def without_diagonal(matrix: Array) -> Array:
  """The matrix [N, N] with 0 on its diagonal."""
  return jnp.where(jnp.eye(matrix.shape[0], dtype=bool), 0, matrix)
