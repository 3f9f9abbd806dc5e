"""What a partial information decomposition is: four atoms, and three sums that they must obey.

For sources X1, X2 and a target Y, in nats:

  I(X1,X2;Y) = redundancy + unique_1 + unique_2 + synergy
  I(X1;Y)    = redundancy + unique_1
  I(X2;Y)    = redundancy + unique_2

so one number fixes all four; every method here is a way to that number. Axis letters: n1, n2 states
of the sources, C of the target. A table is p(x1, x2, y) [n1, n2, C], the target last.
"""

import dataclasses
import warnings

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.types import Array

ATOMS = ('redundancy', 'unique_1', 'unique_2', 'synergy')
NEAR = 1e-3     # a sum this close to 1 is a rounded table
EXACT = 1e-6    # and this close, as in float32, needs no remark
ROUNDING = 16   # units in the last place of the largest entry, by which one may fall below 0


@struct.dataclass
class Decomposition:
  """Atoms and mutual informations [...] in nats, one each for every table.

  mi_1, mi_2, mi_joint: I(X1;Y), I(X2;Y), I(X1,X2;Y). gap [...]: how far from the optimum the
  redundancy can be, in nats (0 for closed forms). q [..., n1, n2, C]: the optimal Q of BROJA, else
  None. method, units: names.
  """
  redundancy: Array
  unique_1: Array
  unique_2: Array
  synergy: Array
  mi_1: Array
  mi_2: Array
  mi_joint: Array
  gap: Array
  q: Array | None = None
  method: str = struct.field(pytree_node=False, default='')
  units: str = struct.field(pytree_node=False, default='nats')

  def atoms(self) -> Array:
    """[..., 4] in the order of ATOMS."""
    atoms = [getattr(self, name) for name in ATOMS]
    traced = any(isinstance(atom, jax.Array) for atom in atoms)
    return jnp.stack(atoms, axis=-1) if traced else np.stack(atoms, axis=-1)

  def to_bits(self) -> 'Decomposition':
    """The same in bits."""
    if self.units == 'bits':
      return self
    scaled = {name: getattr(self, name) / np.log(2)
              for name in (*ATOMS, 'mi_1', 'mi_2', 'mi_joint', 'gap')}
    return dataclasses.replace(self, **scaled, units='bits')


def from_redundancy(redundancy: Array, mi_1: Array, mi_2: Array,
                    mi_joint: Array, **rest) -> Decomposition:
  """The other three atoms by the three sums, at least 0; all arguments [...] in nats."""
  positive = lambda atom: atom * (atom > 0)  # what is lost is rounding
  return Decomposition(
      redundancy, positive(mi_1 - redundancy), positive(mi_2 - redundancy),
      positive(mi_joint - mi_1 - mi_2 + redundancy), mi_1, mi_2, mi_joint, **rest)


def checked_table(p: Array, name: str = 'p') -> Array:
  """p [..., n1, n2, C] as floating point with sum 1 (outside jit and vmap, where it can be seen).

  Raises:
    ValueError: fewer than three axes, an empty one, an entry that is negative or not finite, or a
      sum further than 1e-3 from 1; within that it is normalised with a warning. An entry below 0 by
      16 units in the last place of the largest one, or less, is rounding and becomes 0: 4e-15 of it
      in float64, 1e-6 of it in float32 and anything shorter.
  """
  if np.ndim(p) < 3:
    raise ValueError(f'{name} has shape {np.shape(p)}; a table is [x1, x2, y], three axes')
  if 0 in np.shape(p):
    raise ValueError(f'{name} has shape {np.shape(p)}: an axis without states')
  if isinstance(p, Tracer):
    return p.astype(jnp.promote_types(p.dtype, jnp.float32))
  p = np.asarray(p)
  if p.dtype.kind not in 'biuf':
    raise ValueError(f'{name} has entries of type {p.dtype}, not real numbers')
  step = min(np.finfo(p.dtype).eps if p.dtype.kind == 'f' else 0, 1e-6 / ROUNDING)
  p = p.astype(np.float64)
  least = -ROUNDING * float(step) * np.max(np.where(np.isfinite(p), p, 0), axis=(-3, -2, -1),
                                            keepdims=True)
  bad = ~np.isfinite(p) | (p < least)
  if bad.any():
    at = tuple(np.argwhere(bad)[0].tolist())
    raise ValueError(f'{name} has {bad.sum()} entries negative or not finite, first {p[at]:g} at '
                     f'{list(at)}')
  p = np.maximum(p, 0)
  total = p.sum(axis=(-3, -2, -1), keepdims=True)
  off = total.ravel()[np.abs(total - 1).argmax()]
  if abs(off - 1) > NEAR:
    raise ValueError(f'{name} sums to {off:.6g}; probabilities sum to 1 (divide counts by their '
                     'sum)')
  if abs(off - 1) > EXACT:
    warnings.warn(f'{name} sums to {off:.9g} and was divided by it', stacklevel=3)
  return p / total
