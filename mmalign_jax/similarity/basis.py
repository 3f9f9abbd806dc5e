"""Orthonormal bases of the column space of features, with a derivative that is always finite."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity.preprocess import scaled, without_constants
from mmalign_jax.types import Array


@struct.dataclass
class Basis:
  """q [N, r]: orthonormal columns, 0 where a direction is left out; loadings [r, D] = q^T z of the
  centred features z; rank [] of q."""
  q: Array
  loadings: Array
  rank: Array

  def take(self, order: Array) -> 'Basis':
    return dataclasses.replace(self, q=self.q[order])


def prepare(z: Array, *, components: int | None = None, variance: float = 1.0) -> Basis:
  """The leading principal directions of z [N, D]: `components` of them, or the fewest that keep the
  share `variance` of the total variance; never one that is numerically absent.

  Raises:
    ValueError: components < 1 or variance outside (0, 1].
  """
  if components is not None and components < 1:
    raise ValueError(f'components={components} must be at least 1')
  if not 0 < variance <= 1:
    raise ValueError(f'variance={variance} is not in (0, 1]')
  z, _ = scaled(without_constants(z))
  q = _orthonormal(z, components, variance)
  loadings = jnp.dot(q.T, z, precision='highest')
  return Basis(q, loadings, jnp.round(jax.lax.stop_gradient(jnp.sum(q * q))))


def thin_svd(z: Array) -> tuple[Array, Array, Array]:
  """u [N, r], s [r], vt [r, D] of z [N, D], r = min(N, D)."""
  if z.shape[0] <= z.shape[1]:
    return jnp.linalg.svd(z, full_matrices=False, compute_uv=True)
  q, triangle = jnp.linalg.qr(z)
  u, s, vt = jnp.linalg.svd(triangle, full_matrices=False)
  return jnp.dot(q, u, precision='highest'), s, vt


def compact(z: Array) -> Array:
  """z [N, D] as [N, min(N, D)] with the same products of samples and the same singular values.

  The basis is a constant to derivatives: that of a nuclear norm lies within it anyhow.
  """
  if z.shape[1] <= z.shape[0]:
    return z
  q, _ = jnp.linalg.qr(jax.lax.stop_gradient(z).T)
  return jnp.dot(z, q, precision='highest')


def nuclear(matrix: Array) -> Array:
  """Sum of the singular values of a matrix: []."""
  return jnp.linalg.svd(matrix, compute_uv=False).sum()


def _kept(s: Array, components: int | None, variance: float) -> Array:
  """[r] bool: which directions are kept, by their singular values in falling order."""
  present = s > 4 * s.shape[0] * jnp.finfo(s.dtype).eps * s[0]
  if components is not None:
    return present & (jnp.arange(s.shape[0]) < components)
  share = s * s / jnp.maximum(jnp.sum(s * s), jnp.finfo(s.dtype).tiny)
  before = jnp.cumsum(share) - share
  return present & ((variance >= 1) | (before < variance))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _orthonormal(z: Array, components: int | None, variance: float) -> Array:
  u, s, _ = thin_svd(z)
  return u * _kept(s, components, variance)[None]


@_orthonormal.defjvp
def _orthonormal_jvp(components, variance, primals, tangents):
  """How the kept *space* turns; turning the basis within it changes no measure, and is left out.

  That part would divide by differences of singular values of kept directions, which vanish for
  equal ones; what is left divides by the gap to the directions that are not kept.
  """
  (z,), (dz,) = primals, tangents
  u, s, vt = thin_svd(z)
  kept = _kept(s, components, variance)
  dot = functools.partial(jnp.dot, precision='highest')
  turned = dot(dz, vt.T)  # [N, r]
  inside = dot(u.T, turned)  # [r, r]
  gap = (s * s)[None] - (s * s)[:, None]
  clear = (~kept[:, None] & kept[None]
           & (jnp.abs(gap) > s.shape[0] * jnp.finfo(s.dtype).eps * s[0]**2))
  across = jnp.where(clear, (s[None] * inside + s[:, None] * inside.T)
                     / jnp.where(clear, gap, 1), 0)
  outside = (turned - dot(u, inside)) / jnp.where(kept, s, 1)[None]
  return u * kept[None], (dot(u, across) + outside) * kept[None]
