"""Log-sum-exp of logits a b^T along both of their axes, with one exponential an entry.

|a_i . b_j| is at most c = max |a_i| max |b_j|, so one shift serves all rows and columns, E = exp(a
b^T - c), and the gradient needs E again but no further exponential. Where 2 c is so large that E
could vanish along a whole row or column, each has the shift of its own largest entry. All of it is
in float32 or wider: E of a shorter type vanishes far earlier.
"""

from collections.abc import Callable

import jax
from jax import lax
from jax.custom_batching import custom_vmap
import jax.numpy as jnp

from mmalign_jax.losses.batch import ABSENT, dot
from mmalign_jax.types import Array, PyTree

WIDE = 40.0  # exp(-2 * 40) is a normal float32
NARROW = 32  # features up to which twice as many cost less than a pass over B x B


@jax.custom_vjp
def log_sums(a: Array, b: Array, real: Array | None) -> Array:
  """log sum_j exp(a_i . b_j) + log sum_j exp(a_j . b_i) [B], of a, b [B, K].

  real: [B] bool, samples that count; the others, zeros in a and b, have some finite value and no
  gradient; None for all. a, b: of one type, float32 or wider. Derivatives are of reverse mode.
  """
  return _forward(a, b, real)[0]


def both(a: Array, b: Array, real: Array | None) -> Array:
  """`log_sums` with a shift for each row and each column: two exponentials an entry, for any c."""
  logits = dot(a, b.T)
  if real is not None:
    logits = jnp.where(real[:, None] & real[None], logits, ABSENT)
  return jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)


def bound(a: Array, b: Array) -> tuple[Array, Array]:
  """The largest that |a_i . b_j| can be [], and whether that is too wide for one shift [] bool."""
  most = lax.stop_gradient(jnp.sqrt(jnp.max(_squares(a)) * jnp.max(_squares(b))))
  return most, most > WIDE  # a constant: no result depends on the shift


def unless(wide: Array, fast: Callable[[], PyTree], safe: Callable[[], PyTree]) -> PyTree:
  """fast(), or safe() where `wide`, which is not computed where no cell of a vmap is."""
  choose = lambda: jax.tree.map(lambda s, f: jnp.where(wide, s, f), safe(), fast())
  return lax.cond(_anywhere(wide), choose, fast)


def _forward(a: Array, b: Array, real: Array | None):
  most, wide = bound(a, b)
  # Where it is too wide nothing below is used: numbers without a derivative of 0 / 0 stand there.
  e = jnp.exp(jnp.where(wide, 0, dot(a, b.T) - most))
  if real is not None:
    e = jnp.where(real[:, None] & real[None], e, 0)
  rows, columns = (some(jnp.sum(e, axis=axis)) for axis in (1, 0))
  values = unless(wide, lambda: jnp.log(rows) + jnp.log(columns) + 2 * most,
                  lambda: both(a, b, real))
  return values, (a, b, real, e, rows, columns, wide)


def _backward(saved, g: Array):
  a, b, real, e, rows, columns, wide = saved
  if real is not None:
    g = jnp.where(real, g, 0)
  fast = lambda: _products(e, a, b, g / rows, g / columns)
  return *unless(wide, fast, lambda: jax.vjp(lambda a, b: both(a, b, real), a, b)[1](g)), None


def _products(e: Array, a: Array, b: Array, u: Array, v: Array) -> tuple[Array, Array]:
  """w b and w^T a [B, K] of w = e (u_i + v_j). Where K is small u and v go to the factors, so that
  no other matrix of B x B is made."""
  k = a.shape[1]
  u, v = u[:, None], v[:, None]
  if k > NARROW:
    w = e * (u + v.T)
    return dot(w, b), dot(a.T, w).T
  to_a = dot(e, jnp.concatenate([b, v * b], axis=1))                    # [B, 2 K]
  to_b = dot(jnp.concatenate([a, u * a], axis=1).T, e)                  # [2 K, B]
  return u * to_a[:, :k] + to_a[:, k:], v * to_b[:k].T + to_b[k:].T


log_sums.defvjp(_forward, _backward)


def _squares(z: Array) -> Array:
  return jnp.sum(jnp.square(z.T), axis=0)


def some(sums: Array) -> Array:
  """Sums, 1 where there is nothing: of filling, or of what is computed another way."""
  return jnp.where(sums > 0, sums, 1)


@custom_vmap
def _anywhere(flag: Array) -> Array:
  """The flag [], of all cells together under vmap: a branch is a branch there too."""
  return flag


@_anywhere.def_vmap
def _of_cells(axis_size: int, batched, flag: Array):
  del axis_size, batched
  return _anywhere(jnp.any(flag, axis=0)), False
