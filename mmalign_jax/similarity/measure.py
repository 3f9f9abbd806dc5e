"""What a measure of similarity is: two halves, and what its number means.

A measure of x [N, D1] and y [N, D2] is `compare(prepare(x), prepare(y))`. `prepare` holds all that
one side alone decides (norms, neighbour lists, Gram matrices, bases): with it all pairs of layers,
and thousands of permutations of the samples, cost only the comparison. Its result is a pytree, the
*state* of a side, whose method `take(order)` gives the state of z[order] without computing it anew.
"""

from collections.abc import Callable, Mapping
import dataclasses
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.precision import beyond_float64, needs_float64, shifted
from mmalign_jax.similarity.wide import is_long, wide
from mmalign_jax.types import Array, PyTree

# What a measure may not notice. 'orthogonal': x -> x Q of one side; 'scaling': x -> c x, c > 0;
# 'translation': x -> x + row; 'linear': x -> x A, A invertible; 'rows': every sample scaled by a
# factor of its own; 'common': one orthogonal map of both sides. Sample order is never noticed.
INVARIANCES = ('orthogonal', 'scaling', 'translation', 'linear', 'rows', 'common')


@dataclasses.dataclass(frozen=True, eq=False)
class Measure:
  """A measure with what its number means; calling it calls `function`.

  function(x, y, **settings) -> []; prepare(z, **settings) -> state; compare(state_x, state_y) ->
  []. settings: names and defaults of its keyword arguments. higher: whether a higher value is more
  similar. best: the best value there is, that of equal sides, None where there is none. range,
  meaning: for people. invariant: which of INVARIANCES it has. null: what happens by chance, 'pairs'
  (samples of one side permuted) or 'sides' (x_i and y_i exchanged at random). dense: holds N x N
  entries at any N. slow: where N is large, a comparison goes through all pairs of samples.
  subspace: compares spans, so that D >= N features fit anything. items: `prepare` also takes
  items, codes [N], and counts samples of one item as partners. pure: reads nothing that may change
  between two calls, so that a program made for one serves the next; `merged` says so of those of
  the package.
  """
  function: Callable[..., Array]
  prepare: Callable[..., PyTree]
  compare: Callable[..., Array]
  meaning: str
  range: str
  invariant: tuple[str, ...]
  settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  higher: bool = True
  best: float | Callable[..., float] | None = 1.0
  least: int = 2
  symmetric: bool = True
  differentiable: bool = True
  same_width: bool = False
  dense: bool = False
  slow: bool = False
  subspace: bool = False
  null: str = 'pairs'
  items: bool = False
  pure: bool = False

  def __post_init__(self):
    object.__setattr__(self, 'prepare', wide(self.prepare, state=True))
    object.__setattr__(self, 'compare', wide(self.compare))

  def __call__(self, x: Array, y: Array, **settings) -> Array:
    return self.function(x, y, **settings)

  def best_value(self, **settings) -> float | None:
    """The best value there is under these settings."""
    return self.best(**{**self.settings, **settings}) if callable(self.best) else self.best


@struct.dataclass
class Rows:
  """The plain state: prepared features z [N, ...], a sample a row."""
  z: Array

  def take(self, order: Array) -> 'Rows':
    return Rows(self.z[order])


def paired(x: Array, y: Array, *, least: int = 2, same_width: bool = False,
           shift: bool = False) -> tuple[Array, Array]:
  """x [N, D1] and y [N, D2] as floating-point arrays of one type, checked.

  In a measure, which is `wide`, no number is rounded that float64 holds.

  Args:
    x, y: real numbers.
    least: samples that are needed.
    same_width: whether D1 = D2 is needed.
    shift: whether the measure does not notice a translation of a side: columns of integers and
      long doubles that float64 does not hold are then shifted before they are rounded.

  Raises:
    ValueError: not two-dimensional, N differs or is below `least`, widths differ where they must
      not, not real numbers, or (outside jit and vmap, where values can be seen) an entry that is
      not finite.
  """
  x, y = (z if hasattr(z, 'dtype') else np.asarray(z) for z in (x, y))
  for name, z in (('x', x), ('y', y)):
    if np.ndim(z) != 2:
      raise ValueError(f'{name} has shape {np.shape(z)}; [samples, features] is needed')
    if not np.shape(z)[1]:
      raise ValueError(f'{name} has shape {np.shape(z)}: no features')
  n = len(x)
  if n != len(y):
    raise ValueError(f'x has N={n} samples and y has N={len(y)}; both must be of the same samples')
  if n < least:
    raise ValueError(f'x and y have N={n} samples; this measure needs at least {least}')
  if same_width and x.shape[1] != y.shape[1]:
    raise ValueError(f'x has {x.shape[1]} features and y has {y.shape[1]}; this measure needs both '
                     'in one space, of equal width')
  for name, z in (('x', x), ('y', y)):
    if not jnp.issubdtype(z.dtype, jnp.number) and z.dtype != bool or jnp.iscomplexobj(z):
      raise ValueError(f'{name} has entries of type {z.dtype}, not real numbers')
    if not isinstance(z, Tracer) and not np.isfinite(z).all():
      i, j = np.argwhere(~np.isfinite(np.asarray(z)))[0]
      raise ValueError(f'{name} is not finite: {z[i, j]} at sample {i}, feature {j} (from 0)')
  dtype = jnp.promote_types(jnp.result_type(*map(_float_type, (x, y))), jnp.float32)
  x, y = (jnp.asarray(_in_double(z, shift), dtype) for z in (x, y))
  return x, y


def _float_type(z: Array):
  """The type that holds z, where JAX may use it."""
  double = jax.config.read('jax_enable_x64')
  if isinstance(z, Tracer):
    return jnp.float64 if is_long(z) and double else z.dtype
  if needs_float64(np.asarray(z)):
    return jnp.float64 if double else jnp.float32
  return jnp.float64 if z.dtype == jnp.float64 and double else jnp.float32


def _in_double(z: Array, shift: bool) -> Array:
  """Numbers that float64 does not hold, less a row of them where that is not noticed."""
  if not isinstance(z, np.ndarray) or not beyond_float64(z):
    return z.astype(np.float64) if isinstance(z, np.ndarray) and z.dtype.itemsize > 8 else z
  return shifted(z) if shift else z.astype(np.float64)


def merged(*registries: Mapping[str, Measure]) -> dict[str, Measure]:
  """One dict of all measures of the package, which are pure; a name may occur once."""
  found: dict[str, Measure] = {}
  for registry in registries:
    twice = found.keys() & registry.keys()
    if twice:
      raise ValueError(f'measure {sorted(twice)[0]!r} is registered twice')
    found |= registry
  for measure in found.values():
    object.__setattr__(measure, 'pure', True)
  return found
