"""The interior-point method behind BROJA: min I_Q(X1,X2;Y) over Q with the pair marginals of P.

With m1 = P(x1, y) and m2 = P(x2, y) the problem, and its Lagrange dual, are

  min  sum q log (q / q(x1, x2))            s.t.  sum_x2 q = m1,  sum_x1 q = m2,  q >= 0
  max  sum m1 a + sum m2 b                  s.t.  logsumexp_y (a(x1, y) + b(x2, y)) <= 0

A primal-dual method moves q, a, b and z >= 0 along log (q / q(x1, x2)) = a + b + z, q z = mu: the
logarithms of the entropy are tame under a barrier on q (Nesterov and Nemirovskii 1994), while as
functions of a and b alone they are exponentials, where Newton's steps overshoot. A Newton step is
one C x C block a cell; eliminating the blocks of x1 leaves one matrix of size n2 C. Any a, b of the
dual bound the optimum from below and any feasible q from above: the difference is the certificate.
Float64 is needed.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from mmalign_jax import struct
from mmalign_jax.information.discrete import xlogx
from mmalign_jax.types import Array, Numeric

FLOOR = 0.1          # share of the tolerance below which q z in all need not go
BOUNDARY = 0.99      # share of the way to the boundary that a step may go
RIDGE = 1e-14        # on the scaled diagonal; grows a hundredfold where a factorisation fails
TINY = 1e-30         # a marginal below it is left out of the steps, not out of the certificate
NEVER = -200.0       # and its multiplier
STEPS = 300


@struct.dataclass
class Solution:
  """q [n1, n2, C], the best found; value = -H_Q(Y|X1,X2) [] of it and bound [] below, in nats;
  a [n1, C], b [n2, C]: the multipliers of the bound, d value / d m1 and d m2."""
  q: Array
  value: Array
  bound: Array
  a: Array
  b: Array


class _Problem(NamedTuple):
  m1: Array   # [n1, C]
  m2: Array   # [n2, C]
  on: Array   # [n1, n2, C]: entries that move
  free_1: Array  # [n1, C]: multipliers that move
  free_2: Array  # [n2, C]: the same, less one for each y, since a + c(y), b - c(y) are one


class _State(NamedTuple):
  step: Array
  q: Array
  z: Array
  a: Array
  b: Array
  ridge: Array
  length: Array
  best: Solution


def solve(p: Array, tol: Numeric, steps: int = STEPS) -> Solution:
  """The optimum for a table p [n1, n2, C], to value - bound <= tol or until `steps` are spent."""
  chex.assert_rank(p, 3)
  problem, start = _start(p)
  unfinished = lambda s: (s.step < steps) & (s.best.value - s.best.bound > tol)
  return jax.lax.while_loop(unfinished, lambda s: _step(problem, s, tol), start).best


def objective(q: Array) -> Array:
  """-H_Q(Y|X1,X2) = sum q log q(y|x1,x2) [] in nats of q [..., C]."""
  return jnp.sum(xlogx(q)) - jnp.sum(xlogx(q.sum(axis=-1)))


# -- start -----------------------------------------------------------------------------------------


def _start(p: Array) -> tuple[_Problem, _State]:
  """q = p(x1|y) p(x2|y) p(y), strictly inside, and a = log p(y|x1) / 2, b = log p(y|x2) / 2."""
  m1, m2 = p.sum(axis=1), p.sum(axis=0)
  on = (m1[:, None] > TINY) & (m2[None] > TINY)
  pinned = jnp.arange(m2.shape[0])[:, None] == jnp.argmax(m2, axis=0)[None]
  problem = _Problem(m1, m2, on, on.any(axis=1), on.any(axis=0) & ~pinned)
  given_1, given_2 = (_log(m) - _log(m.sum(axis=1))[:, None] for m in (m1, m2))
  a = jnp.where(m1 > TINY, given_1 / 2 - 0.5, NEVER)
  b = jnp.where(m2 > TINY, given_2 / 2, NEVER)
  q = jnp.where(on, m1[:, None] * _share(m2, m1.sum(axis=0)[None])[None], 0)
  # Two bounds need no work: -H(Y|X1) and -H(Y|X2). They, and P itself, often are the optimum.
  by_1, by_2 = objective(m1), objective(m2)
  first = by_1 > by_2
  best = Solution(p, objective(p), jnp.maximum(by_1, by_2),
                  jnp.where(first, given_1, 0), jnp.where(first, 0, given_2))
  mu = (best.value - best.bound) / jnp.sum(on)
  one = jnp.ones((), p.dtype)
  return problem, _State(jnp.zeros((), jnp.int32), q, jnp.where(on, mu / _safe(q), 0), a, b,
                         RIDGE * one, 0.0 * one, best)


def _log(x: Array) -> Array:
  return jnp.log(_safe(x))


def _safe(x: Array) -> Array:
  return jnp.where(x > 0, x, 1)


def _share(part: Array, whole: Array) -> Array:
  return jnp.where(whole > 0, part / _safe(whole), 0)


# -- one Newton step -------------------------------------------------------------------------------


def _step(problem: _Problem, s: _State, tol: Numeric) -> _State:
  count = jnp.sum(problem.on)
  centring = jnp.clip(1 - s.length, 0.02, 0.8)  # a short step asks for a better centred point
  mu = jnp.maximum(centring * jnp.sum(s.q * s.z), FLOOR * tol) / count
  da, db, dq, dz = _direction(problem, s, mu)
  failed = ~(jnp.isfinite(da).all() & jnp.isfinite(db).all() & jnp.isfinite(dq).all())
  length = jnp.where(failed, 0, jnp.minimum(_longest(s.q, dq), _longest(s.z, dz)))
  moved = lambda x, d: jnp.where(failed, x, x + length * d)
  a, b = moved(s.a, da), moved(s.b, db)
  q = feasible(moved(s.q, dq), problem.m1, problem.m2)
  best = _better(problem, s.best, a, b, q)
  ridge = jnp.where(failed, 100 * s.ridge, s.ridge)
  return _State(s.step + 1, jnp.where(problem.on, q, 0), moved(s.z, dz), a, b, ridge, length, best)


def _longest(x: Array, d: Array) -> Array:
  """How far to go [] in 0..1 such that x stays above zero."""
  shrinking = d < 0
  return jnp.minimum(1, BOUNDARY * jnp.min(jnp.where(shrinking, x / jnp.where(shrinking, -d, 1),
                                                     jnp.inf)))


def _direction(problem: _Problem, s: _State, mu: Array):
  """da [n1, C], db [n2, C], dq, dz [n1, n2, C]: Newton's step towards q z = mu.

  The inverse Hessian of a cell is diag d + d d^T / rest, d = q / (1 + z), rest = sum q z / (1 + z).
  Rows are scaled to a unit diagonal.
  """
  n1, n2, c = s.q.shape
  eye = jnp.eye(c, dtype=s.q.dtype)
  d = s.q / (1 + s.z)
  rest = _safe(jnp.sum(d * s.z, axis=-1, keepdims=True))
  through = lambda v: d * (v + jnp.sum(d * v, axis=-1, keepdims=True) / rest)
  block = d[..., None] * eye[None, None] + (d / rest)[..., None] * d[..., None, :]
  side_1, scale_1 = _scaled(block.sum(axis=1), problem.free_1, s.ridge)
  side_2, scale_2 = _scaled(block.sum(axis=0), problem.free_2, s.ridge)
  cross = block * scale_1[:, None, :, None] * scale_2[None, :, None, :]  # [n1, n2, C, C]
  root = _inverse_cholesky(side_1)  # [n1, C, C]
  half = jnp.matmul(root, cross.transpose(0, 2, 1, 3).reshape(n1, c, n2 * c), precision='highest')
  half = half.reshape(n1 * c, n2 * c)
  diagonal = jnp.eye(n2, dtype=d.dtype)[:, None, :, None] * side_2[:, :, None, :]
  schur = diagonal.reshape(n2 * c, n2 * c) - jnp.dot(half.T, half, precision='highest')
  error = _log(s.q) - _log(s.q.sum(axis=-1))[..., None] - s.a[:, None] - s.b[None]
  error = jnp.where(problem.on, error - mu / _safe(s.q), 0)
  first = s.q - through(error)
  lack_1 = (problem.m1 - first.sum(axis=1)) * scale_1
  lack_2 = (problem.m2 - first.sum(axis=0)) * scale_2
  u = jnp.matmul(root, lack_1[..., None], precision='highest').reshape(-1)
  db = cho_solve((jnp.linalg.cholesky(schur), True), lack_2.reshape(-1) - half.T @ u)
  da = jnp.matmul(root.mT, (u - half @ db).reshape(n1, c, 1), precision='highest')[..., 0]
  da, db = da * scale_1, db.reshape(n2, c) * scale_2
  dq = through(jnp.where(problem.on, da[:, None] + db[None], 0) - error)
  return da, db, dq, jnp.where(problem.on, (mu - s.z * dq) / _safe(s.q) - s.z, 0)


def _scaled(blocks: Array, free: Array, ridge: Array):
  """Blocks [n, C, C] with diagonal 1 + ridge, and the scale [n, C]; identity where not free."""
  diagonal = jnp.einsum('iyy->iy', blocks)
  scale = jnp.where(free, jax.lax.rsqrt(jnp.where(free, diagonal, 1)), 0)
  eye = jnp.eye(blocks.shape[-1], dtype=bool)[None]
  return jnp.where(eye, 1 + ridge, blocks * scale[:, :, None] * scale[:, None, :]), scale


def _inverse_cholesky(m: Array) -> Array:
  """L^-1 [n, C, C] of m = L L^T [n, C, C], by elimination.

  Small blocks are faster in XLA than by a call of LAPACK for each, and two threads that call
  jaxlib's batched LAPACK at once can wait for each other for ever.
  """
  c = m.shape[-1]
  row_index = jnp.arange(c)[None]
  def eliminate(k, pair):
    root = jnp.sqrt(pair[:, k, k])[:, None]
    row = pair[:, k] / root
    below = jnp.where(row_index > k, pair[:, :, k] / root, 0)
    return (pair - below[:, :, None] * row[:, None]).at[:, k].set(row)
  pair = jnp.concatenate([m, jnp.broadcast_to(jnp.eye(c, dtype=m.dtype), m.shape)], axis=-1)
  return jax.lax.fori_loop(0, c, eliminate, pair)[..., c:]


# -- the certificate -------------------------------------------------------------------------------


def _better(problem: _Problem, best: Solution, a, b, q) -> Solution:
  """The tighter of the old and the new bounds; q is feasible."""
  some_1, some_2 = problem.m1 > 0, problem.m2 > 0
  v = jnp.where(some_1[:, None] & some_2[None], a[:, None] + b[None], -jnp.inf)
  top = jnp.max(v, axis=-1)
  cell = jnp.isfinite(top)
  slack = -top - jnp.log(jnp.sum(jnp.exp(v - jnp.where(cell, top, 0)[..., None]), axis=-1))
  tight = jnp.min(jnp.where(cell, slack, jnp.inf), axis=1)
  a = a + jnp.where(jnp.isfinite(tight), tight, 0)[:, None]
  bound = jnp.sum(jnp.where(some_1, problem.m1 * a, 0)) + jnp.sum(
      jnp.where(some_2, problem.m2 * b, 0))
  value = objective(q)
  higher, lower = bound > best.bound, value < best.value
  return Solution(jnp.where(lower, q, best.q), jnp.where(lower, value, best.value),
                  jnp.where(higher, bound, best.bound), jnp.where(higher, a, best.a),
                  jnp.where(higher, b, best.b))


def feasible(q: Array, m1: Array, m2: Array) -> Array:
  """q [n1, n2, C] moved to the marginals m1 [n1, C], m2 [n2, C] to rounding.

  Two sweeps of proportional fitting, then the rounding of Altschuler, Weed and Rigollet (2017,
  arXiv 1705.09634): scale down what is too much and spread what lacks.
  """
  for most in (jnp.inf, jnp.inf, 1.0):
    q = q * jnp.minimum(most, _share(m1, q.sum(axis=1)))[:, None]
    q = q * jnp.minimum(most, _share(m2, q.sum(axis=0)))[None]
  lack_1 = jnp.maximum(m1 - q.sum(axis=1), 0)
  lack_2 = jnp.maximum(m2 - q.sum(axis=0), 0)
  return q + lack_1[:, None] * _share(lack_2, lack_2.sum(axis=0)[None])[None]
