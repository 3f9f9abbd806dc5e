"""The interior-point method behind BROJA: min I_Q(X1,X2;Y) over Q with the pair marginals of P.

With m1 = P(x1, y) and m2 = P(x2, y) the problem, and its Lagrange dual, are

  min  sum q log (q / q(x1, x2))            s.t.  sum_x2 q = m1,  sum_x1 q = m2,  q >= 0
  max  sum m1 a + sum m2 b                  s.t.  logsumexp_y (a(x1, y) + b(x2, y)) <= 0

since a cell (x1, x2) enters through a function that is homogeneous of degree one. At the optimum
q(x1, x2, y) = s r with a mass s(x1, x2) and r = softmax_y(a + b): a primal-dual method moves a, b
and s along s t = mu, t = -logsumexp > 0. A Newton step is one C x C block a cell; eliminating the
blocks of x1 leaves one matrix of size n2 C. Any a, b with t >= 0 bound the optimum from below and
any feasible q from above: the difference is the certificate. Float64 is needed.
"""

from typing import NamedTuple

import chex
from flax import struct
import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_solve

from mmalign_jax.information.discrete import xlogx

BOUNDARY = 0.99      # share of the way to the boundary that a step may go
RIDGE = 1e-14        # on the scaled diagonal; grows where a step fails
TRIES = 40           # shortenings of a step by 15 %
KEPT = 0.1           # of a pair marginal in one step
STEPS = 300


@struct.dataclass
class Solution:
  """q [n1, n2, C], the best found; value = -H_Q(Y|X1,X2) [] of it and bound [] below, in nats;
  a [n1, C], b [n2, C]: the multipliers of the bound, d value / d m1 and d m2."""
  q: chex.Array
  value: chex.Array
  bound: chex.Array
  a: chex.Array
  b: chex.Array


class _Problem(NamedTuple):
  m1: chex.Array   # [n1, C]
  m2: chex.Array   # [n2, C]
  on: chex.Array   # [n1, n2, C]: entries that can be above zero
  cell: chex.Array  # [n1, n2]: cells with such an entry
  free_1: chex.Array  # [n1, C]: multipliers that matter
  free_2: chex.Array  # [n2, C]: the same, less one for each y, since a + c(y), b - c(y) are one


class _State(NamedTuple):
  step: chex.Array
  a: chex.Array
  b: chex.Array
  mass: chex.Array
  ridge: chex.Array
  length: chex.Array
  best: Solution


def solve(p: chex.Array, tol: chex.Numeric, steps: int = STEPS) -> Solution:
  """The optimum for a table p [n1, n2, C], to value - bound <= tol or until `steps` are spent."""
  chex.assert_rank(p, 3)
  problem, start = _start(p)
  unfinished = lambda s: (s.step < steps) & (s.best.value - s.best.bound > tol)
  return jax.lax.while_loop(unfinished, lambda s: _step(problem, s), start).best


def objective(q: chex.Array) -> chex.Array:
  """-H_Q(Y|X1,X2) = sum q log q(y|x1,x2) [] in nats of q [..., C]."""
  return jnp.sum(xlogx(q)) - jnp.sum(xlogx(q.sum(axis=-1)))


# -- start -----------------------------------------------------------------------------------------


def _start(p: chex.Array) -> tuple[_Problem, _State]:
  """a = log p(y|x1) / 2, b = log p(y|x2) / 2: feasible, by the inequality of Cauchy and Schwarz."""
  m1, m2 = p.sum(axis=1), p.sum(axis=0)
  on = (m1[:, None] > 0) & (m2[None] > 0)
  cell = on.any(axis=-1)
  pinned = jnp.arange(m2.shape[0])[:, None] == jnp.argmax(m2, axis=0)[None]
  problem = _Problem(m1, m2, on, cell, m1 > 0, (m2 > 0) & ~pinned)
  given_1, given_2 = (_log(m) - _log(m.sum(axis=1))[:, None] for m in (m1, m2))
  a, b = given_1 / 2 - 0.5, given_2 / 2
  mass = jnp.where(cell, m1.sum(axis=1)[:, None] * m2.sum(axis=1)[None], 0)
  # Two bounds need no work: -H(Y|X1) and -H(Y|X2). They, and P itself, often are the optimum.
  by_1, by_2 = objective(m1), objective(m2)
  first = by_1 > by_2
  best = Solution(p, objective(p), jnp.maximum(by_1, by_2),
                  jnp.where(first, given_1, 0), jnp.where(first, 0, given_2))
  one = jnp.ones((), p.dtype)
  return problem, _State(jnp.zeros((), jnp.int32), a, b, mass, RIDGE * one, 0.5 * one, best)


def _log(x: chex.Array) -> chex.Array:
  return jnp.log(jnp.where(x > 0, x, 1))


# -- one Newton step -------------------------------------------------------------------------------


def _step(problem: _Problem, s: _State) -> _State:
  slack, r = _conditional(problem, s.a, s.b)
  centring = jnp.clip(1 - s.length, 0.05, 0.5)  # a short step asks for a better centred point
  mu = centring * jnp.sum(s.mass * slack) / jnp.sum(problem.cell)
  da, db, dmass = _direction(problem, s, slack, r, mu)
  solved = jnp.isfinite(da).all() & jnp.isfinite(db).all()
  da, db, dmass = (jnp.where(solved, d, 0) for d in (da, db, dmass))
  length = jnp.where(solved, _length(problem, s, slack, mu, da, db, dmass), 0)
  a, b, mass = s.a + length * da, s.b + length * db, s.mass + length * dmass
  slack, r = _conditional(problem, a, b)
  best = _better(problem, s.best, a, b, slack, mass[..., None] * r)
  # Where the optimal Q falls apart into blocks, multipliers may drift, and the matrix is singular.
  ridge = jnp.where(length > 0, jnp.maximum(s.ridge / 10, RIDGE), 1000 * s.ridge)
  return _State(s.step + 1, a, b, mass, ridge, length, best)


def _conditional(problem: _Problem, a: chex.Array, b: chex.Array) -> tuple[chex.Array, chex.Array]:
  """slack t = -logsumexp_y(a + b) [n1, n2] (1 where no cell) and r = softmax_y [n1, n2, C]."""
  v = jnp.where(problem.on, a[:, None] + b[None], -jnp.inf)
  top = jnp.where(problem.cell, jnp.max(v, axis=-1), 0)
  e = jnp.exp(v - top[..., None])
  total = jnp.where(problem.cell, e.sum(axis=-1), 1)
  return jnp.where(problem.cell, -top - jnp.log(total), 1.0), e / total[..., None]


def _direction(problem: _Problem, s: _State, slack, r, mu):
  """da [n1, C], db [n2, C], dmass [n1, n2]: Newton's step towards mass * slack = mu.

  Block of a cell: mass (diag r - r r^T) + mass / slack r r^T. Rows are scaled to a unit diagonal.
  """
  n1, n2, c = r.shape
  eye = jnp.eye(c, dtype=r.dtype)
  q = s.mass[..., None] * r
  curved = s.mass * (1 / slack - 1)
  block = q[..., None] * eye[None, None] + (curved[..., None] * r)[..., None] * r[..., None, :]
  side_1, scale_1 = _scaled(block.sum(axis=1), problem.free_1, s.ridge)
  side_2, scale_2 = _scaled(block.sum(axis=0), problem.free_2, s.ridge)
  cross = block * scale_1[:, None, :, None] * scale_2[None, :, None, :]  # [n1, n2, C, C]
  root = _inverse_cholesky(side_1)  # [n1, C, C]
  half = jnp.matmul(root, cross.transpose(0, 2, 1, 3).reshape(n1, c, n2 * c), precision='highest')
  half = half.reshape(n1 * c, n2 * c)
  diagonal = jnp.eye(n2, dtype=r.dtype)[:, None, :, None] * side_2[:, :, None, :]
  schur = diagonal.reshape(n2 * c, n2 * c) - jnp.dot(half.T, half, precision='highest')
  # The right-hand side: what the marginals lack.
  pull = (mu / slack)[..., None] * r
  lack_1 = (problem.m1 - pull.sum(axis=1)) * scale_1
  lack_2 = (problem.m2 - pull.sum(axis=0)) * scale_2
  u = jnp.matmul(root, lack_1[..., None], precision='highest').reshape(-1)
  db = cho_solve((jnp.linalg.cholesky(schur), True), lack_2.reshape(-1) - half.T @ u)
  da = jnp.matmul(root.mT, (u - half @ db).reshape(n1, c, 1), precision='highest')[..., 0]
  da, db = da * scale_1, db.reshape(n2, c) * scale_2
  drift = jnp.sum(r * (da[:, None] + db[None]), axis=-1)
  dmass = jnp.where(problem.cell, mu / slack - s.mass + s.mass / slack * drift, 0)
  return da, db, dmass


def _scaled(blocks: chex.Array, free: chex.Array, ridge: chex.Array):
  """Blocks [n, C, C] with diagonal 1 + ridge, and the scale [n, C]; identity where not free."""
  diagonal = jnp.einsum('iyy->iy', blocks)
  scale = jnp.where(free, jax.lax.rsqrt(jnp.where(free, diagonal, 1)), 0)
  eye = jnp.eye(blocks.shape[-1], dtype=bool)[None]
  return jnp.where(eye, 1 + ridge, blocks * scale[:, :, None] * scale[:, None, :]), scale


def _inverse_cholesky(m: chex.Array) -> chex.Array:
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


def _length(problem: _Problem, s: _State, slack, mu, da, db, dmass) -> chex.Array:
  """How far to go [] in 0..1, 0 where nothing helps.

  Mass and slack stay above zero, no pair marginal falls to nothing (from where a Newton step in
  logarithms would leap), and the residual, relative to what is asked for, does not grow.
  """
  chi = lambda q, m: jnp.sum(jnp.where(m > 0, (q - m)**2 / jnp.where(m > 0, m, 1), 0))
  kept = lambda q, m, old: jnp.all(q >= KEPT * jnp.minimum(m, old))
  def at(length):
    t, r = _conditional(problem, s.a + length * da, s.b + length * db)
    mass = s.mass + length * dmass
    q = mass[..., None] * r
    return t, mass, q.sum(axis=1), q.sum(axis=0)
  def residual(t, mass, q_1, q_2):
    return chi(q_1, problem.m1) + chi(q_2, problem.m2) + jnp.sum(
        jnp.where(problem.cell, mass * t - mu, 0)**2) / mu
  shrinking = dmass < 0
  longest = jnp.min(jnp.where(shrinking, s.mass / jnp.where(shrinking, -dmass, 1), jnp.inf))
  now = at(jnp.zeros_like(longest))
  before = residual(*now)
  def too_long(carry):
    length, tries = carry
    t, _, q_1, q_2 = there = at(length)
    inside = (jnp.all((t > (1 - BOUNDARY) * slack) | ~problem.cell)
              & kept(q_1, problem.m1, now[2]) & kept(q_2, problem.m2, now[3]))
    better = residual(*there) <= before * (1 - 0.01 * length)
    return ~(inside & better) & (tries < TRIES)
  start = (jnp.minimum(1.0, BOUNDARY * longest), jnp.zeros((), jnp.int32))
  length, tries = jax.lax.while_loop(
      too_long, lambda carry: (0.85 * carry[0], carry[1] + 1), start)
  return jnp.where(tries < TRIES, length, 0)


# -- the certificate -------------------------------------------------------------------------------


def _better(problem: _Problem, best: Solution, a, b, slack, q) -> Solution:
  """The tighter of the old and the new bounds."""
  tight = jnp.min(jnp.where(problem.cell, slack, jnp.inf), axis=1)
  a = a + jnp.where(jnp.isfinite(tight), tight, 0)[:, None]
  bound = jnp.sum(jnp.where(problem.m1 > 0, problem.m1 * a, 0)) + jnp.sum(
      jnp.where(problem.m2 > 0, problem.m2 * b, 0))
  q = feasible(q, problem.m1, problem.m2)
  value = objective(q)
  higher, lower = bound > best.bound, value < best.value
  return Solution(jnp.where(lower, q, best.q), jnp.where(lower, value, best.value),
                  jnp.where(higher, bound, best.bound), jnp.where(higher, a, best.a),
                  jnp.where(higher, b, best.b))


def feasible(q: chex.Array, m1: chex.Array, m2: chex.Array) -> chex.Array:
  """q [n1, n2, C] moved to the marginals m1 [n1, C], m2 [n2, C] to rounding.

  Two sweeps of proportional fitting, then the rounding of Altschuler, Weed and Rigollet (2017,
  arXiv 1705.09634): scale down what is too much and spread what lacks.
  """
  share = lambda part, whole: jnp.where(whole > 0, part / jnp.where(whole > 0, whole, 1), 0)
  for most in (jnp.inf, jnp.inf, 1.0):
    q = q * jnp.minimum(most, share(m1, q.sum(axis=1)))[:, None]
    q = q * jnp.minimum(most, share(m2, q.sum(axis=0)))[None]
  lack_1 = jnp.maximum(m1 - q.sum(axis=1), 0)
  lack_2 = jnp.maximum(m2 - q.sum(axis=0), 0)
  return q + lack_1[:, None] * share(lack_2, lack_2.sum(axis=0)[None])[None]
