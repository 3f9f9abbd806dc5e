"""Every layer of one side against every layer of the other, each prepared once."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.own import as_measure
from mmalign_jax.similarity.prepared import Prepared
from mmalign_jax.similarity.wide import is_wide
from mmalign_jax.types import Array

Layers = Array | Sequence[Array]  # [N, D], [L, N, D], or one [N, D] a layer


@struct.dataclass
class Pairs:
  """matrix [L1, L2] of all pairs of layers, the best [] of them and where it is: index [2] i32."""
  matrix: Array
  best: Array
  index: Array


def layer_pairs(measure: Measure | Callable, x: Layers, y: Layers, *, items: Array | None = None,
                **settings) -> Pairs:
  """`measure` of every layer of x [N, D] with every layer of y [N, D'], each prepared once.

  Args:
    measure: an entry of MEASURES, or any function of x and y (`own.of_function`).
    x, y: one array or a sequence of them, all of the same N samples; widths may differ.
    items: codes [N]; samples of one item are each other's partners, for measures that have any.
    **settings: of the measure.

  Raises:
    ValueError: as the measure itself.

  Examples:
    >>> from mmalign_jax.similarity import MEASURES
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> found = layer_pairs(MEASURES['linear_cka'], [x[:, :1], x], x)
    >>> round(float(found.best), 3), found.index.tolist()
    (1.0, [1, 0])
  """
  measure = as_measure(measure)
  x, y = as_layers(measure, x, y)
  made = Prepared()
  return compared(measure, *(made.of(measure, side, settings, items) for side in (x, y)))


def as_layers(measure: Measure, x: Layers, y: Layers) -> tuple[list, list]:
  """Both sides as lists of layers [N, D], checked as the measure asks.

  Raises:
    ValueError: no layers, or arrays that do not fit (see `paired`).
  """
  x, y = (list(side) if isinstance(side, Sequence) or np.ndim(side) == 3 else [side]
          for side in (x, y))
  if not x or not y:
    raise ValueError(f'x has {len(x)} layers and y has {len(y)}; both need at least one')
  check = lambda a, b: paired(a, b, least=measure.least, same_width=measure.same_width)
  double = jax.config.read('jax_enable_x64') or any(map(is_wide, (*x, *y)))
  with jax.enable_x64(double):
    x, y = [check(a, y[0])[0] for a in x], [check(x[0], b)[1] for b in y]
    dtype = jnp.result_type(*x, *y)
    return [z.astype(dtype) for z in x], [z.astype(dtype) for z in y]


# -- prepared layers -------------------------------------------------------------------------------


def compared(measure: Measure, x: list, y: list) -> Pairs:
  """`measure` of all pairs of prepared layers."""
  if len(x) > 1 and _alike(x) and _alike(y):  # one vectorised comparison
    stack = lambda states: jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    rows = jax.vmap(measure.compare, (None, 0))
    matrix = jax.vmap(rows, (0, None))(stack(x), stack(y))
  else:
    matrix = jnp.stack([jnp.stack([measure.compare(a, b) for b in y]) for a in x])
  return best_of(measure, matrix)


def best_of(measure: Measure, matrix: Array) -> Pairs:
  """Where a matrix [L1, L2] of values is the most similar, the first of equal ones."""
  flat = jnp.argmax(matrix) if measure.higher else jnp.argmin(matrix)
  index = jnp.stack(jnp.unravel_index(flat, matrix.shape)).astype(jnp.int32)
  return Pairs(matrix, matrix.ravel()[flat], index)


def _alike(states: list) -> bool:
  shapes = [jax.tree.map(jnp.shape, state) for state in states]
  return all(shape == shapes[0] for shape in shapes)
