"""Is it more than chance? Layer pairs, permutation nulls and calibrated scores (arXiv 2602.14486).

Raw similarity grows with the width of the features, with k / N, and with a maximum over layers even
where nothing is shared. A permutation of the samples of one side keeps all of that and destroys the
pairing. `prepare` runs once a layer; a permutation costs a comparison.
"""

from collections.abc import Sequence

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity.measure import Measure, paired

Layers = chex.Array | Sequence[chex.Array]  # [N, D], [L, N, D], or one [N, D] a layer
QUANTILES = (0.05, 0.5, 0.95)


@struct.dataclass
class Pairs:
  """matrix [L1, L2] of all pairs of layers, the best [] of them and where it is: index [2] i32."""
  matrix: chex.Array
  best: chex.Array
  index: chex.Array


@struct.dataclass
class Calibration:
  """A score beside what chance gives.

  score []: the measure, or its best value over all pairs of layers; pairs: those. null [P]: the
  same with the samples of one side permuted, the best over layers taken inside each permutation.
  null_mean [], null_quantiles [3] at QUANTILES. calibrated []: (score - null_mean) / (best possible
  - null_mean), 0 at chance and 1 for equal sides, higher always more similar; score - null_mean
  where no value is best. p_value []: (1 + number of permutations at least as good) / (1 + P).
  """
  score: chex.Array
  pairs: Pairs
  null: chex.Array
  null_mean: chex.Array
  null_quantiles: chex.Array
  calibrated: chex.Array
  p_value: chex.Array


def layer_pairs(measure: Measure, x: Layers, y: Layers, **settings) -> Pairs:
  """`measure` of every layer of x [N, D] with every layer of y [N, D'], each prepared once.

  Args:
    measure: an entry of MEASURES.
    x, y: one array or a sequence of them, all of the same N samples; widths may differ.
    **settings: of the measure.

  Raises:
    ValueError: as the measure itself.
  """
  x, y = as_layers(measure, x, y)
  return _compared(measure, _prepared(measure, x, settings), _prepared(measure, y, settings))


def calibrate(measure: Measure, x: Layers, y: Layers, *, key: chex.PRNGKey,
              permutations: int = 1000, groups: np.ndarray | None = None,
              items: np.ndarray | None = None, **settings) -> Calibration:
  """The best value over layers beside its permutation null.

  The null permutes the samples of y ('pairs'), or for measures of where the two sides lie exchanges
  x_i and y_i at random ('sides'); the same permutation serves all layers.

  Args:
    measure: an entry of MEASURES.
    x, y: [N, D], or a sequence of such layers; D may differ.
    key: of the permutations.
    permutations: P, at least 1.
    groups: codes [N] of samples that belong together, and are moved together.
    items: codes [N]; samples of one item are each other's partners, and are moved together.
    **settings: of the measure.

  Raises:
    ValueError: as the measure itself, or where permutations < 1.
  """
  if groups is not None or items is not None:
    raise ValueError('groups and items are not moved yet')
  if permutations < 1:
    raise ValueError(f'permutations={permutations} must be at least 1')
  x, y = as_layers(measure, x, y)
  side_x, side_y = (_prepared(measure, side, settings) for side in (x, y))
  pairs = _compared(measure, side_x, side_y)
  keys, n = jax.random.split(key, permutations), len(x[0])
  if measure.null == 'sides':
    def chance(key):
      swap = jax.random.bernoulli(key, shape=(n, 1))
      sides = [[jnp.where(swap, a, b) for a, b in zip(one, other)]
               for one, other in ((y, x), (x, y))]
      return layer_pairs(measure, *sides, **settings).best
  else:
    def chance(key):
      order = jax.random.permutation(key, n)
      return _compared(measure, side_x, [state.take(order) for state in side_y]).best
  return calibration(measure, pairs.matrix, jax.lax.map(chance, keys), **settings)


def calibration(measure: Measure, matrix: chex.Array, null: chex.Array, **settings) -> Calibration:
  """Joins the values of all pairs of layers with a null of their best.

  `calibrate` of single pairs of layers under one key, joined here, equals `calibrate` of all of
  them: the best over pairs is taken within each permutation.

  Args:
    measure: an entry of MEASURES.
    matrix: [L1, L2] of scores.
    null: [P] best values over pairs under permutation, or [L1, L2, P] those of every pair.
    **settings: of the measure.
  """
  if null.ndim == 3:
    null = (jnp.max if measure.higher else jnp.min)(null, axis=(0, 1))
  pairs = _best(measure, matrix)
  score, mean = pairs.best, null.mean()
  larger = measure.higher or measure.null == 'sides'
  near = 8 * jnp.finfo(null.dtype).eps * jnp.abs(score)  # equal but for rounding
  # not null < score, rather than null >= score: a score that is not a number is never significant
  extreme = ~(null < score - near) if larger else ~(null > score + near)
  calibrated, best = score - mean, measure.best_value(**settings)
  if best is not None:
    room = best - mean
    some = jnp.abs(room) > 1e-4 * max(abs(best), 1)
    calibrated = jnp.where(some, calibrated / jnp.where(some, room, 1), 0.0)
  return Calibration(score, pairs, null, mean, jnp.quantile(null, jnp.array(QUANTILES, null.dtype)),
                     calibrated, (1 + extreme.sum()) / (1 + null.shape[0]))


def as_layers(measure: Measure, x: Layers, y: Layers) -> tuple[list, list]:
  """Both sides as lists of layers [N, D], checked as the measure asks.

  Raises:
    ValueError: no entry of MEASURES, no layers, or arrays that do not fit (see `paired`).
  """
  if not isinstance(measure, Measure):
    raise ValueError(f'measure={measure!r} must be an entry of similarity.MEASURES')
  x, y = (list(side) if isinstance(side, Sequence) or np.ndim(side) == 3 else [side]
          for side in (x, y))
  if not x or not y:
    raise ValueError(f'x has {len(x)} layers and y has {len(y)}; both need at least one')
  check = lambda a, b: paired(a, b, least=measure.least, same_width=measure.same_width)
  return [check(a, y[0])[0] for a in x], [check(x[0], b)[1] for b in y]


def _alike(states: list) -> bool:
  shapes = [jax.tree.map(jnp.shape, state) for state in states]
  return all(shape == shapes[0] for shape in shapes)


def _prepared(measure: Measure, layers: list, settings: dict) -> list:
  return [measure.prepare(z, **{**measure.settings, **settings}) for z in layers]


def _compared(measure: Measure, x: list, y: list) -> Pairs:
  if len(x) > 1 and _alike(x) and _alike(y):  # one vectorised comparison
    stack = lambda states: jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    rows = jax.vmap(measure.compare, (None, 0))
    matrix = jax.vmap(rows, (0, None))(stack(x), stack(y))
  else:
    matrix = jnp.stack([jnp.stack([measure.compare(a, b) for b in y]) for a in x])
  return _best(measure, matrix)


def _best(measure: Measure, matrix: chex.Array) -> Pairs:
  flat = jnp.argmax(matrix) if measure.higher else jnp.argmin(matrix)
  index = jnp.stack(jnp.unravel_index(flat, matrix.shape)).astype(jnp.int32)
  return Pairs(matrix, matrix.ravel()[flat], index)
