"""The decomposition of Bertschinger, Rauh, Olbrich, Jost and Ay (2014, arXiv 1311.2852), exact.

Unique information is what no Q with the pair marginals P(x1,y), P(x2,y) can do without: with Q the
minimiser of I_Q(X1,X2;Y) among these, redundancy = I(X1;Y) + I(X2;Y) - I_Q(X1,X2;Y).
"""

import dataclasses
import functools

import chex
import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax.information import discrete, solver
from mmalign_jax.information.decomposition import Decomposition, checked_table, from_redundancy
from mmalign_jax.types import Array, Numeric

TOLERANCE = 1e-6  # nats
_AIM = 1e-2       # share of the tolerance that is aimed at: the last steps are cheap
_STEPS = 300


def broja(p: Array, *, tol: float = TOLERANCE) -> Decomposition:
  """Redundancy, unique and synergistic information of p(x1, x2, y), with a certificate.

  Computed in float64 whatever the setting of JAX. Zeros, states that never occur and labels that
  follow from the sources are allowed. Differentiable in p: the derivative of the optimum is that of
  its multipliers, and at an entry whose pair marginal is zero, where it is infinite, that of an
  entry that stays zero.

  Args:
    p: [..., n1, n2, C], sum 1 over the last three axes, the target last; the tables of a batch are
      solved one after the other. vmap works too, and so does jit under `jax.enable_x64(True)`.
    tol: the largest gap in nats that is accepted.

  Returns:
    Decomposition of arrays [...] in nats. `gap` bounds the error of every atom; all atoms are at
    least 0, and the three sums hold to rounding.

  Raises:
    ValueError: a table that is none, tol not above 0, jit without float64, or (outside jit and
      vmap) a gap above tol; inside them compare `gap` with it.

  Examples:
    >>> p = np.zeros((2, 2, 2))
    >>> p[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25  # y = x1 xor x2
    >>> found = broja(p)
    >>> {name: round(float(value), 3) + 0.0 for name, value in zip(ATOMS, found.atoms())}
    {'redundancy': 0.0, 'unique_1': 0.0, 'unique_2': 0.0, 'synergy': 0.693}
  """
  if not tol > 0:
    raise ValueError(f'tol={tol} must be above 0')
  if staged(p) and not jax.config.read('jax_enable_x64'):
    raise ValueError('broja within jax.jit needs float64: call the outer function under '
                     'jax.enable_x64(True)')
  p = checked_table(p)
  with jax.enable_x64(True):
    found = _broja(jnp.asarray(p, jnp.float64), tol * _AIM, _STEPS)
  if not isinstance(found.gap, Tracer):
    found = jax.device_get(found)  # NumPy keeps float64 whatever the setting of JAX
    gap = float(np.max(found.gap))
    if not gap <= tol:
      raise ValueError(f'p: the solver reached a gap of {gap:.2g} nats in {_STEPS} steps, not '
                       f'tol={tol:g}')
  return found


def staged(x) -> bool:
  """Whether x is being traced by jit, within whatever vmap or grad: it then stands for no array."""
  traced = isinstance(x, Tracer)
  while isinstance(x, Tracer):
    x = x.val if hasattr(x, 'val') else x.primal
  return traced and not isinstance(x, (jax.Array, np.ndarray))


# jit here, and not at the edge, since the float64 of this function is its own affair.
@functools.partial(jax.jit, static_argnames='steps')
def _broja(p: Array, tol: Numeric, steps: int) -> Decomposition:
  batch = p.shape[:-3]
  one = functools.partial(_one, tol=tol, steps=steps)
  if not batch:
    return one(p)
  found = jax.lax.map(one, p.reshape(-1, *p.shape[-3:]))
  return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), found)


def _one(p: Array, tol: Numeric, steps: int) -> Decomposition:
  m1, m2 = p.sum(axis=1), p.sum(axis=0)
  best = jax.lax.stop_gradient(solver.solve(jax.lax.stop_gradient(p), tol, steps))
  moved = lambda m, price: jnp.sum((m - jax.lax.stop_gradient(m)) * jnp.where(m > 0, price, 0))
  value = best.value + moved(m1, best.a) + moved(m2, best.b)  # by the envelope theorem
  mi_1, mi_2, mi_joint = discrete.three(p)
  mi_1, mi_2 = _above(mi_1), _above(mi_2)
  mi_joint = mi_joint + _above(jax.lax.stop_gradient(jnp.maximum(mi_1, mi_2) - mi_joint))
  least = value + discrete.entropy(p.sum(axis=(0, 1)))  # I_Q(X1,X2;Y)
  redundancy = mi_1 + mi_2 - least
  # What rounding may not do: no atom is negative.
  redundancy = jnp.clip(redundancy, jnp.maximum(0, mi_1 + mi_2 - mi_joint),
                        jnp.minimum(mi_1, mi_2))
  found = from_redundancy(redundancy, mi_1, mi_2, mi_joint, method='broja', q=best.q,
                         gap=jnp.maximum(best.value - best.bound, 0))
  return dataclasses.replace(found, synergy=_above(found.synergy))


def _above(x: Array) -> Array:
  """x, 0 where rounding made it negative, with the gradient of x."""
  return x - jnp.minimum(0, jax.lax.stop_gradient(x))


def broja_many(p: Array, *, tol: float = 1e-5) -> np.ndarray:
  """Atoms [B, 4] in nats, in the order of ATOMS, of many tables p [B, n1, n2, C], as float64.

  For nulls and resamples, whose spread is far wider than `tol`; tables are not checked.

  Raises:
    ValueError: a gap above ten times `tol`.
  """
  chex.assert_rank(p, 4)
  with jax.enable_x64(True):
    atoms, gap = jax.device_get(_atoms(jnp.asarray(p, jnp.float64), tol))
  if not gap.max() <= 10 * tol:
    raise ValueError(f'p: the solver reached a gap of {gap.max():.2g} nats for table '
                     f'{gap.argmax()}, not tol={tol:g}')
  return atoms


@jax.jit
def _atoms(p: Array, tol: Numeric) -> tuple[Array, Array]:
  def one(table):
    found = _one(table, tol, _STEPS)
    return found.atoms(), found.gap
  return jax.lax.map(one, p)
