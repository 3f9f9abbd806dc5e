"""Stripes of rows of a matrix of logits a b^T, one of which exists at a time."""

from jax import lax
import jax.numpy as jnp

from mmalign_jax.losses.batch import dot
from mmalign_jax.types import Array, Numeric


def cut(x: Array, block_size: int) -> Array:
  """[M, ...] -> [S, T, ...], T at most block_size, the end filled with zeros.

  The stripes are as equal as they can be, so fewer than S rows are filled, and none is all filling.
  """
  n_stripes = -(-len(x) // block_size)
  rows = -(-len(x) // n_stripes)
  filling = n_stripes * rows - len(x)
  if filling:
    x = jnp.pad(x, ((0, filling), *[(0, 0)] * (x.ndim - 1)))
  return x.reshape(n_stripes, rows, *x.shape[1:])


def joined(x: Array, n_rows: int) -> Array:
  """[S, T, ...] -> [M, ...], without the filling."""
  return x.reshape(-1, *x.shape[2:])[:n_rows]


def varying(x: Numeric, like: Array) -> Array:
  """x in the dtype of like [M, K], varying over the axes of a shard_map over which like does.

  A scan asks that of what it carries, and a custom gradient of its arguments. Both branches are x,
  which compiles to nothing; the functions of JAX for this differ between its versions.
  """
  x = jnp.asarray(x, like.dtype)
  return jnp.where(like[0, 0] == 0, x, x)


def gradients(stripe_gradient, a: Array, b: Array, of_rows: tuple,
              block_size: int) -> tuple[Array, Array, Array]:
  """Gradients to a [M, K], to b [N, K], and to a constant [] added to all of the logits a b^T.

  stripe_gradient(logits [T, N], *of_rows [T]) -> [T, N] is the gradient to a stripe of logits.
  """
  def step(carry, stripe):
    to_b, to_all = carry
    rows, *rest = stripe
    to_logits = stripe_gradient(dot(rows, b.T), *rest)
    return (to_b + dot(to_logits.T, rows), to_all + jnp.sum(to_logits)), dot(to_logits, b)

  stripes = tuple(cut(x, block_size) for x in (a, *of_rows))
  start = varying(jnp.zeros(b.shape), a), varying(0, a)
  (to_b, to_all), to_a = lax.scan(step, start, stripes)
  return joined(to_a, len(a)), to_b, to_all
