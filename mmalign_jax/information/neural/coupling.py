"""Couplings of a minibatch: two nets, Sinkhorn's scaling and an exact projection give q(x1, x2, y).

m samples of either side with p(y|x1_i), p(y|x2_j) make a problem of BROJA with pair marginals
m1 [m, C], m2 [m, C]. Its optimum depends on a sample through p(y|x) alone (samples that share it
can be merged and split again at no cost), so that is all the nets get to see: they are small, and
cannot learn the training rows by heart.
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from mmalign_jax.information import discrete, solver
from mmalign_jax.information.neural import nets
from mmalign_jax.types import Array, Key

FLOOR, UNIT = -10.0, 3.0  # of log p(y|x) as a net's input; marginals keep the value itself
Pair = tuple[nets.Layers, nets.Layers]


def init(key: Key, n_classes: int, width: int, depth: int, embedding: int) -> Pair:
  """f1, f2: log p(y|x) [m, C] -> [m, C K], K the `embedding`."""
  sizes = (n_classes, *(width,) * depth, n_classes * embedding)
  one, two = jax.random.split(key)
  return nets.init(one, sizes), nets.init(two, sizes)


def marginals(log_p1: Array, log_p2: Array) -> tuple[Array, Array]:
  """m1, m2 [m, C] of log p(y|x1), log p(y|x2) [m, C], with equal class totals and sum 1.

  The two discriminators disagree a little on how often a class occurs in the minibatch, and then no
  q has both marginals. Each is p(y|x) / m, its classes rescaled to the average of both totals.
  """
  chex.assert_equal_shape([log_p1, log_p2])
  one, two = jnp.exp(log_p1) / len(log_p1), jnp.exp(log_p2) / len(log_p2)
  totals = [side.sum(axis=0, keepdims=True) for side in (one, two)]
  average = (totals[0] + totals[1]) / 2
  average = average / average.sum()
  return one * (average / totals[0]), two * (average / totals[1])


def log_kernel(pair: Pair, log_p1: Array, log_p2: Array) -> Array:
  """<f1(x1_i, y), f2(x2_j, y)> [C, m, m] of log p(y|x1), log p(y|x2) [m, C]."""
  def embed(net, log_p):
    seen = jnp.maximum(log_p, FLOOR)
    seen = (seen - seen.mean(axis=1, keepdims=True)) / UNIT
    return nets.apply(net, seen).reshape(*log_p.shape, -1)
  return jnp.einsum('iyk,jyk->yij', embed(pair[0], log_p1), embed(pair[1], log_p2),
                    precision='highest')


def couple(log_a: Array, m1: Array, m2: Array, sweeps: int) -> Array:
  """q [m, m, C] with marginals m1, m2 to rounding: exp(log_a) scaled for each y, then projected.

  Args:
    log_a: [C, m, m].
    m1, m2: [m, C], above 0, with equal class totals.
    sweeps: of Sinkhorn, on logarithms.
  """
  chex.assert_rank([log_a, m1, m2], [3, 2, 2])
  log_1, log_2 = jnp.log(m1).T, jnp.log(m2).T
  def rows(v):
    return log_1 - jax.nn.logsumexp(log_a + v[:, None], axis=2)
  def sweep(v, _):
    return log_2 - jax.nn.logsumexp(log_a + rows(v)[:, :, None], axis=1), None
  v, _ = jax.lax.scan(sweep, jnp.zeros_like(log_2), length=sweeps)
  q = jnp.exp(log_a + rows(v)[:, :, None] + v[:, None])
  # With its derivative: nets that do not see the projection learn kernels that it has to undo.
  return solver.feasible(q.transpose(1, 2, 0), m1, m2)


def coupled(pair: Pair, log_p1: Array, log_p2: Array, sweeps: int) -> Array:
  """q [m, m, C] of log p(y|x1), log p(y|x2) [m, C]."""
  return couple(log_kernel(pair, log_p1, log_p2), *marginals(log_p1, log_p2), sweeps)


def information(q: Array) -> Array:
  """I_Q(X1,X2;Y) [] in nats of q [m, m, C]: what the nets minimise."""
  total = q.sum(axis=(0, 1))
  # Entropies skip what is not above 0, NaN too; the last term does not, so that nets which went
  # astray are never the best.
  return solver.objective(q) + discrete.entropy(total) + 0 * total.sum()


def score(pair: Pair, log_p1: Array, log_p2: Array, y: Array,
          sweeps: int) -> tuple[Array, Array]:
  """-H_Q(Y|X1,X2) by labels: a(x1_i, y_i) + b(x2_i, y_i), a and b its multipliers; and q itself.

  A log score of p(y|x) is what the plug-in -H(Y|X) becomes when its derivative is weighed by labels
  in place of p(y|x): right on average even where p is off, to first order. Here the same is done to
  the optimum in q. It is homogeneous of degree one in the marginals, with a = d / d m1 and
  b = d / d m2, so the sum of these over labels needs no remainder.

  Args:
    pair: f1, f2.
    log_p1, log_p2: [m, C] log p(y|x), not below -16 or so: projections divide by squares.
    y: [m] i32, labels of the rows.
    sweeps: of Sinkhorn.

  Returns:
    The score [m], and I_Q(X1;Y), I_Q(X2;Y), I_Q(X1,X2;Y) [3] of q, all in nats.
  """
  log_a = log_kernel(pair, log_p1, log_p2)
  def value(m1, m2):
    q = couple(log_a, m1, m2, sweeps)
    return solver.objective(q), q
  (a, b), q = jax.grad(value, (0, 1), has_aux=True)(*marginals(log_p1, log_p2))
  return (jnp.take_along_axis(a + b, y[:, None], axis=1)[:, 0], jnp.stack(discrete.three(q)))


def over_blocks(of: Callable, size: int, *rows: Array):
  """`of` minibatches [size, ...] of each of `rows` [n, ...], one after the other, stacked."""
  count = len(rows[0]) // size
  cut = lambda values: values[:count * size].reshape(count, size, *values.shape[1:])
  return jax.lax.map(lambda parts: of(*parts), tuple(map(cut, rows)))


def against_exact(pair: Pair, log_p1: Array, log_p2: Array, size: int, sweeps: int,
                  tol: float = 1e-9) -> tuple[Array, Array]:
  """I_Q of the nets and the least there is, both [n // size] in nats, of minibatches of [n, C].

  The least by the interior-point method on the same marginals. Needs float64.
  """
  def one(log_p1, log_p2):
    q = coupled(pair, log_p1, log_p2, sweeps)
    return information(q), information(q) - solver.objective(q) + solver.solve(q, tol).value
  return over_blocks(one, size, log_p1, log_p2)
