"""Float64 for sides that need it, whatever JAX is set to.

A side needs it where float32 would round one of its numbers (float64, 32-bit and 64-bit integers,
unless float32 holds them all), or where squares of its numbers leave the range of float32. So an
array of JAX or NumPy is never cut to float32 before what a measure does not notice is out. Traced
arrays show their type only: of integers of 32 bits and more, and float64 where JAX is set to it.
"""

from collections.abc import Callable
import functools

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax.precision import needs_float64
from mmalign_jax.types import Array, PyTree

INSIDE = '_inside'  # of what `wide` makes: the function it was made of


def wide(function: Callable, *, state: bool = False) -> Callable:
  """`function` of sides in float64 where one of them needs it, also if JAX is set to float32.

  Its results are then rounded to float32, unless they are a `state`, or JAX is set to float64.
  """
  @functools.wraps(function)
  def call(*sides, **settings):
    if jax.config.read('jax_enable_x64'):
      return function(*sides, **settings)
    sides = [np.asarray(z) if isinstance(z, (list, tuple)) else z for z in sides]
    if not any(map(is_wide, sides)):
      return function(*sides, **settings)
    with jax.enable_x64(True):
      made = function(*sides, **settings)
      return made if state else jax.tree.map(_narrow, made)
  setattr(call, INSIDE, function)
  return call


def kept_wide(function: Callable) -> Callable:
  """`function` of one side that gives another: float64, of NumPy, where the side needs it."""
  made = wide(function, state=True)
  @functools.wraps(function)
  def call(z, **settings):
    z = z if hasattr(z, 'dtype') else np.asarray(z)
    if not isinstance(z, Tracer) and is_wide(z):
      z = np.asarray(z).astype(np.float64)
    elif not jnp.issubdtype(z.dtype, jnp.inexact) and not is_wide(z):
      z = jnp.asarray(z, jnp.float32)
    found = made(z, **settings)
    same = jax.config.read('jax_enable_x64') or isinstance(found, Tracer)
    return found if same or found.dtype != np.float64 else np.asarray(found)
  return call


def is_wide(side: PyTree) -> bool:
  """Whether features [N, D], or a state, need float64."""
  if not hasattr(side, 'dtype'):
    return any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(side))
  if isinstance(side, Tracer):  # its values are not seen
    return side.dtype == jnp.float64 or is_long(side)
  return needs_float64(side)


def is_long(z: Array) -> bool:
  """Integers of 32 bits or more."""
  return jnp.issubdtype(z.dtype, jnp.integer) and z.dtype.itemsize > 2


def _narrow(z: Array) -> Array:
  return z.astype(jnp.float32) if z.dtype == jnp.float64 else z
