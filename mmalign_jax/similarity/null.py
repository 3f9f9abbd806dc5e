"""Is it more than chance? Layer pairs, permutation nulls and calibrated scores (arXiv 2602.14486).

Raw similarity grows with the width of the features, with k / N, and with a maximum over layers even
where nothing is shared. A permutation of the samples of one side keeps all of that and destroys the
pairing. `prepare` runs once a layer; a permutation costs a comparison. Which permutations there
are, and how groups of samples move, is in `arrangements`.
"""

from collections.abc import Callable, Mapping
import dataclasses
import functools
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.similarity import arrangements
from mmalign_jax.similarity.layers import Layers, Pairs, as_layers, best_of, compared
from mmalign_jax.similarity.measure import Measure
from mmalign_jax.similarity.own import as_measure
from mmalign_jax.similarity.prepared import Prepared, parted, prepared, serves
from mmalign_jax.types import Array, Key

QUANTILES = (0.05, 0.5, 0.95)


@struct.dataclass
class Calibration:
  """A score beside what chance gives.

  score []: the measure, or its best value over all pairs of layers; pairs: those. null [P]: the
  same with the samples of one side permuted, the best over layers taken inside each permutation.
  null_mean [], null_quantiles [3] at QUANTILES. calibrated []: (tested - null_mean) / (best
  possible - null_mean), 0 at chance and 1 for equal sides, higher always more similar; tested -
  null_mean where no value is best. p_value []: (1 + number of permutations at least as good) / (1 +
  P). tested []: score; where groups of unequal size exchange places, that of the samples that can,
  of which null, calibrated and p_value are.
  """
  score: Array
  pairs: Pairs
  null: Array
  null_mean: Array
  null_quantiles: Array
  calibrated: Array
  p_value: Array
  tested: Array


def calibrate(measure: Measure | Callable, x: Layers, y: Layers, *, key: Key,
              permutations: int = 1000, groups: np.ndarray | None = None,
              items: np.ndarray | None = None, **settings) -> Calibration:
  """The best value over layers beside its permutation null.

  The null permutes the samples of y ('pairs'), or for measures of where the two sides lie exchanges
  x_i and y_i at random ('sides'); the same permutation serves all pairs of layers, each pair
  exchanging its own two sides, so that the sides may have unequal numbers of layers.

  Samples that belong together move together, which makes p right whatever the dependence among
  them: whole groups or, without groups, whole items. Where they are of unequal size, 'pairs' cuts
  them to common sizes (`grouped`), and null, calibrated and p_value are of the samples left; an
  exchange of sides needs no cut. Few groups have few arrangements: each is then taken once, the
  given one apart, and P is their number, less than `permutations`.

  Args:
    measure: an entry of MEASURES, or any function of x and y (`own.of_function`).
    x, y: [N, D], or a sequence of such layers; D may differ.
    key: of the permutations.
    permutations: P, at least 1.
    groups: codes [N], not traced, of samples that belong together.
    items: codes [N], not traced; samples of one item are each other's partners, for measures that
      have any. With groups, an item must lie in one.
    **settings: of the measure.

  Raises:
    ValueError: as the measure itself, also for the samples left; permutations < 1; codes that are
      not one a sample, or all equal.

  Examples:
    >>> from mmalign_jax.similarity import MEASURES
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> found = calibrate(MEASURES['linear_cka'], x, x, key=jax.random.key(0), permutations=99)
    >>> round(float(found.score), 3), round(float(found.p_value), 3)
    (1.0, 0.01)
  """
  own = as_measure(measure)
  return calibrations({'': own}, x, y, key=key, permutations=permutations, groups=groups,
                      items=items, settings={'': settings})['']


def calibrations(measures: Mapping[str, Measure], x: Layers, y: Layers, *, key: Key,
                 permutations: int, groups: np.ndarray | None = None,
                 items: np.ndarray | None = None,
                 settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
                 refused: dict[str, str] | None = None) -> dict[str, Calibration]:
  """`calibrate` of several measures under one key: what they share is made once.

  A layer is prepared once for all measures that prepare it alike, and one loop goes through the
  permutations, so that the program is a fraction of those of single measures.

  Args:
    measures: entries of MEASURES by name.
    x, y, key, permutations, groups, items: as of `calibrate`.
    settings: of the measures, by their names.
    refused: is given the reasons of measures that cannot be taken; None raises the first.

  Raises:
    ValueError: as `calibrate`.
  """
  if permutations < 1:
    raise ValueError(f'permutations={permutations} must be at least 1')
  made, found, layers, units = Prepared(), {}, None, None
  for name, measure in measures.items():
    try:
      checked = as_layers(measure, x, y)
      if layers is None:
        units = arrangements.units(len(checked[0][0]), groups, items)
        layers = checked  # the same arrays for all, by which states are known
      found[name] = _Held.of(measure, *layers, units, items, dict(settings.get(name, {})), made)
    except ValueError as error:
      if refused is None:
        raise
      refused[name] = str(error)
  nulls: dict[str, Array] = {}
  for kind, null in (('pairs', _null_of_pairs), ('sides', _null_of_sides)):
    of_kind = {name: held for name, held in found.items() if held.measure.null == kind}
    if of_kind:
      nulls |= null(of_kind, key, permutations, units)
  return {name: calibration(held.measure, held.matrix, nulls[name], tested=held.tested,
                            **held.settings) for name, held in found.items()}


@dataclasses.dataclass(frozen=True)
class _Held:
  """A measure with what its null needs: layers as given, states of those that change places, the
  matrix [L1, L2] of values, and `tested` [], the best value of the samples that groups leave."""
  measure: Measure
  settings: dict
  layers: tuple[list, list]
  states: tuple[list, list]
  matrix: Array
  tested: Array | None

  @classmethod
  def of(cls, measure, x, y, units, items, settings, made: Prepared) -> '_Held':
    prepare = lambda x, y, items: (made.of(measure, x, settings, items),
                                   made.of(measure, y, settings, items))
    states = prepare(x, y, items)
    matrix, tested = compared(measure, *states).matrix, None
    if measure.null == 'pairs' and units is not None and units.kept is not None:
      items = None if items is None else made.cut([items], units.kept)[0]
      states = prepare(made.cut(x, units.kept), made.cut(y, units.kept), items)
      tested = compared(measure, *states).best
    return cls(measure, settings, (x, y), states, matrix, tested)


def _null_of_pairs(held: Mapping[str, _Held], key, permutations, units) -> dict[str, Array]:
  draws, order = arrangements.pairings(key, permutations, _samples(held), units)
  states = {id(state): state for one in held.values() for side in one.states for state in side}
  place = {which: at for at, which in enumerate(states)}
  told = tuple((one.measure, *(tuple(place[id(state)] for state in side) for side in one.states))
               for one in held.values())
  chance = serves(_paired_by_chance, told, [one.measure for one in held.values()])
  return dict(zip(held, chance(draws, order, list(states.values()), told)))


@functools.partial(jax.jit, static_argnums=3)  # else compiled at every call: `blocks`
def _paired_by_chance(draws: Array, order: Callable, states: list, told: tuple) -> list[Array]:
  """Nulls [P] of measures; told: of each (measure, its states of x, its states of y)."""
  def chance(draw):
    moved = order(draw)
    taken = {at: states[at].take(moved) for at in sorted({at for *_, y in told for at in y})}
    return [compared(measure, [states[at] for at in x], [taken[at] for at in y]).best
            for measure, x, y in told]
  return jax.lax.map(chance, draws)


def _null_of_sides(held: Mapping[str, _Held], key, permutations, units) -> dict[str, Array]:
  draws, swapped = arrangements.exchanges(key, permutations, _samples(held),
                                          units and units.codes)
  layers = next(iter(held.values())).layers  # the same for all
  parts = [parted(one.settings) for one in held.values()]
  told = tuple((one.measure, fixed) for one, (fixed, _) in zip(held.values(), parts))
  chance = serves(_exchanged_by_chance, told, [one.measure for one in held.values()])
  return dict(zip(held, chance(draws, swapped, layers, [given for _, given in parts], told)))


@functools.partial(jax.jit, static_argnums=4)
def _exchanged_by_chance(draws: Array, swapped: Callable, layers: tuple[list, list], traced: list,
                         told: tuple) -> list[Array]:
  """Nulls [P] of measures; told: of each (measure, settings), and traced, as `parted`."""
  def chance(draw):
    swap = swapped(draw)
    return [_exchanged(measure, *layers, swap, dict(fixed) | more)
            for (measure, fixed), more in zip(told, traced)]
  return jax.lax.map(chance, draws)


def calibration(measure: Measure, matrix: Array, null: Array, *,
                tested: Array | None = None, **settings) -> Calibration:
  """Joins the values of all pairs of layers with a null of their best.

  `calibrate` of single pairs of layers under one key, joined here, equals `calibrate` of all of
  them: the best over pairs is taken within each permutation.

  Args:
    measure: an entry of MEASURES.
    matrix: [L1, L2] of scores.
    null: [P] best values over pairs under permutation, or [L1, L2, P] those of every pair.
    tested: [] what the null is held against, where it is of other samples than the matrix.
    **settings: of the measure.

  Examples:
    >>> from mmalign_jax.similarity import MEASURES
    >>> null = np.linspace(0, 0.99, 99)
    >>> found = calibration(MEASURES['linear_cka'], np.array([[1.0]]), null[:, None, None])
    >>> round(float(found.p_value), 3)
    0.5
  """
  if null.ndim == 3:
    null = (jnp.max if measure.higher else jnp.min)(null, axis=(0, 1))
  pairs = best_of(measure, matrix)
  score, mean = pairs.best if tested is None else tested, null.mean()
  larger = measure.higher or measure.null == 'sides'
  # equal but for rounding, that of sums of the size of the largest value
  near = 16 * jnp.finfo(null.dtype).eps * jnp.maximum(jnp.abs(score), jnp.abs(null).max())
  # not null < score, rather than null >= score: a score that is not a number is never significant
  extreme = ~(null < score - near) if larger else ~(null > score + near)
  calibrated, best = score - mean, measure.best_value(**settings)
  if best is not None:
    some = has_room(best, mean)
    calibrated = jnp.where(some, calibrated / jnp.where(some, best - mean, 1), 0.0)
  quantiles = jnp.quantile(null, jnp.array(QUANTILES, null.dtype))
  return Calibration(pairs.best, pairs, null, mean, quantiles, calibrated,
                     (1 + extreme.sum()) / (1 + null.shape[0]), score)


def has_room(best: float, mean: Array | np.ndarray) -> Array | np.ndarray:
  """Whether chance is so far from the best value that a share of the way says anything.

  For a distance, whose best value is 0, that is more than 64 roundings of 1.
  """
  least = 1e-4 * abs(best) if best else 64 * float(jnp.finfo(mean.dtype).eps)
  return abs(best - mean) > least


def _samples(held: Mapping[str, _Held]) -> int:
  """N."""
  return len(next(iter(held.values())).layers[0][0])


def _exchanged(measure: Measure, x: list, y: list, swap: Array, settings: dict) -> Array:
  """The best over pairs of layers, x_i and y_i of each pair exchanged where swap [N] says so."""
  swap, layers = swap[:, None], jnp.stack(y)
  def pair(a, b):
    sides = jnp.where(swap, b, a), jnp.where(swap, a, b)
    return measure.compare(*(prepared(measure, z, settings) for z in sides))
  rows = lambda a: jax.vmap(lambda b: pair(a, b))(layers)
  return best_of(measure, jax.lax.map(rows, jnp.stack(x))).best
