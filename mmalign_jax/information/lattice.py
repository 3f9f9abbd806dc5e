"""Decompositions in closed form, to set beside `broja`: they differ in what counts as shared.

Both read the redundancy off amounts of information and do not ask whether it is the same
information: two independent bits that are both copied to the target count as one shared bit and one
of synergy.
"""

import functools

import jax
from jax.core import Tracer
import jax.numpy as jnp

from mmalign_jax.information import discrete
from mmalign_jax.information.convex import broja, staged
from mmalign_jax.information.decomposition import Decomposition, checked_table, from_redundancy
from mmalign_jax.information.discrete import xlogx
from mmalign_jax.types import Array


def imin(p: Array) -> Decomposition:
  """Redundancy sum_y p(y) min_i I(Y=y;Xi), the information that any source gives of each y.

  Williams and Beer (2010, arXiv 1004.2515). I(Y=y;X) = sum_x p(x|y) log (p(y|x) / p(y)).
  Differentiable in p, but where two sources give the same of some y.

  Args:
    p: [..., n1, n2, C], sum 1 over the last three axes, the target last. Computed in float64
      whatever the setting of JAX; vmap works, and so does jit under `jax.enable_x64(True)`.

  Returns:
    Decomposition of arrays [...] in nats, gap 0.

  Raises:
    ValueError: a table that is none, or jit without float64.

  Examples:
    >>> p = np.zeros((2, 2, 2))
    >>> p[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25  # y = x1 xor x2
    >>> found = imin(p)
    >>> {name: round(float(value), 3) + 0.0 for name, value in zip(ATOMS, found.atoms())}
    {'redundancy': 0.0, 'unique_1': 0.0, 'unique_2': 0.0, 'synergy': 0.693}
  """
  return _float64(p, 'imin')


def mmi(p: Array) -> Decomposition:
  """Redundancy min(I(X1;Y), I(X2;Y)): the largest that the three sums allow with no atom below 0.

  Minimum mutual information, Barrett (2015, arXiv 1411.2832). All else as `imin`.

  Examples:
    >>> p = np.zeros((2, 2, 2))
    >>> p[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25  # y = x1 xor x2
    >>> found = mmi(p)
    >>> {name: round(float(value), 3) + 0.0 for name, value in zip(ATOMS, found.atoms())}
    {'redundancy': 0.0, 'unique_1': 0.0, 'unique_2': 0.0, 'synergy': 0.693}
  """
  return _float64(p, 'mmi')


METHODS = {'broja': broja, 'imin': imin, 'mmi': mmi}


def _float64(p: Array, method: str) -> Decomposition:
  if staged(p) and not jax.config.read('jax_enable_x64'):
    raise ValueError(f'{method} within jax.jit needs float64: call the outer function under '
                     'jax.enable_x64(True)')
  p = checked_table(p)
  with jax.enable_x64(True):
    found = _decomposed(jnp.asarray(p, jnp.float64), method)
  if isinstance(found.gap, Tracer):
    return found
  return jax.device_get(found)  # NumPy keeps float64 whatever the setting of JAX


# jit here, and not at the edge, since the float64 of this function is its own affair.
@functools.partial(jax.jit, static_argnames='method')
def _decomposed(p: Array, method: str) -> Decomposition:
  mi_1, mi_2, mi_joint = discrete.three(p)
  most = jnp.minimum(mi_1, mi_2)
  shared = _imin(p) if method == 'imin' else most
  # What rounding may not do: no atom is negative.
  shared = jnp.clip(shared, jnp.maximum(0, mi_1 + mi_2 - mi_joint), most)
  return from_redundancy(shared, mi_1, mi_2, mi_joint, method=method, gap=jnp.zeros_like(shared))


def _imin(p: Array) -> Array:
  return jnp.sum(jnp.minimum(_specific(p.sum(axis=-2)), _specific(p.sum(axis=-3))), axis=-1)


def _specific(p: Array) -> Array:
  """p(y) I(Y=y;X) = sum_x p(x,y) log p(x,y) / (p(x) p(y)) [..., C] in nats of p [..., n, C]."""
  p_x = p.sum(axis=-1, keepdims=True)
  log_x = jnp.log(jnp.where(p_x > 0, p_x, 1))
  return jnp.sum(xlogx(p) - p * log_x, axis=-2) - xlogx(p.sum(axis=-2))
