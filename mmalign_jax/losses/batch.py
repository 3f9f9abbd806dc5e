"""The batch that a contrastive loss is of: spread over devices, filled up at its end."""

import functools

from jax import lax
import jax.numpy as jnp

from mmalign_jax.types import Array

dot = functools.partial(jnp.dot, precision='highest')  # float32 on accelerators, too
ABSENT = -1e30  # a logit that is not there; finite, since a device may have no other


def gather(z: Array, axis_name: str | None) -> Array:
  """[B, K] of this device -> [N, K] of all, devices in order; z itself without an axis."""
  return z if axis_name is None else lax.all_gather(z, axis_name, tiled=True)


def where_valid(valid: Array | None, values: Array, otherwise: float = 0) -> Array:
  """values, and `otherwise` where not valid; all of them where valid is None."""
  return values if valid is None else jnp.where(valid, values, otherwise)


def kept(valid: Array | None, *arrays: Array) -> tuple[Array, ...]:
  """Arrays [B, K] with zeros in what is not valid: filling may hold anything, NaN too, and a
  product with 0 would not hide it from a gradient."""
  return arrays if valid is None else tuple(jnp.where(valid[:, None], z, 0) for z in arrays)


def own_columns(n_rows: int, axis_name: str | None) -> Array:
  """[B] i32: where `gather` puts the rows of this device, so the columns of the true partners."""
  first = 0 if axis_name is None else n_rows * lax.axis_index(axis_name)
  return first + jnp.arange(n_rows, dtype=jnp.int32)
