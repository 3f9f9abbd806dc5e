"""How similar encoders trained alone are to the best encoder of the other side, and to chance."""

from collections.abc import Callable, Mapping
import functools
import pathlib
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import rng, similarity
from mmalign_jax.runs import folder
from mmalign_jax.similarity import arrangements
from mmalign_jax.studies.emergence import agreement, dataset as emergence_data
from mmalign_jax.studies.emergence.real.plan import Real
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training import alone
from mmalign_jax.types import Array, Key

Groups = tuple[int, ...] | None
Job = tuple[float, Callable[[], None]]


@functools.lru_cache(maxsize=64)
def prepared(name: str, neighbors: int, clip: float):
  """jit of a layer [N, D] -> what the measure makes of it alone.

  Values are held within +- their quantile `clip` (1: they are not), as the code of arXiv 2502.16282
  does, and rows are L2-normalised.
  """
  measure = similarity.MEASURES[name]
  settings = {**measure.settings, **agreement.settings_of(measure, neighbors)}
  return jax.jit(lambda z: measure.prepare(_changed(z, clip), **settings))


def _changed(z: Array, clip: float) -> Array:
  return similarity.normalize(similarity.clip(z, quantile=clip) if clip < 1 else z)


@functools.lru_cache(maxsize=64)
def compared(name: str, permutations: int, groups: Groups, n: int):
  """jit of (one layer, L layers), as `prepared`, of N samples -> scores [L] and nulls [L, P].

  The permutations are always the same, of whole groups where there are any, so nulls of several
  layers belong together entry by entry. The same as `similarity.calibrate`, with every layer
  prepared once.
  """
  measure, units = similarity.MEASURES[name], units_of(groups, n)

  def pair(x, y):
    draws, order = arrangements.pairings(_key(), permutations, n, units)
    return measure.compare(x, y), jax.lax.map(
        lambda draw: measure.compare(x, y.take(order(draw))), draws)

  return jax.jit(jax.vmap(pair, in_axes=(None, 0)))


@functools.lru_cache(maxsize=64)
def calibrated(name: str, neighbors: int, permutations: int, clip: float, groups: Groups):
  """jit of (x [N, D], y [L, N, D']) -> scores [L], those of the samples that can change places [L],
  and nulls [L, P]; for any measure and groups of any sizes."""
  measure = similarity.MEASURES[name]
  own = None if groups is None else np.array(groups)

  def pair(x, y):
    found = similarity.calibrate(
        measure, _changed(x, clip), _changed(y, clip), key=_key(), permutations=permutations,
        groups=own, **agreement.settings_of(measure, neighbors))
    return found.score, found.tested, found.null

  return jax.jit(jax.vmap(pair, in_axes=(None, 0)))


def _key() -> Key:
  return rng.stream(np.uint32(0), 'null')


def units_of(groups: Groups, n: int) -> arrangements.Units | None:
  return arrangements.units(n, None if groups is None else np.array(groups))


def compare(plan: Real, name: str, x: Array, y: Array) -> folder.Arrays:
  """One measure of all pairs of the layers x [L1, N, D] and y [L2, N, D'], by quantile i of
  clip_quantile: scores_i and tested_i [L1, L2], and null_i [P] of the best of them."""
  measured, measure = plan.measured, similarity.MEASURES[name]
  best = np.maximum if measure.higher else np.minimum
  groups = None if plan.group is None else tuple(plan.group.tolist())
  arrays = {}
  for i, clip in enumerate(measured['clip_quantile']):
    rows = _rows(measured, name, x, y, clip, groups)
    arrays |= {f'scores_{i}': np.stack([row[0] for row in rows]),
               f'tested_{i}': np.stack([row[1] for row in rows]),
               f'null_{i}': functools.reduce(best, [v for row in rows for v in row[2]])}
  return arrays


def _rows(measured: Mapping[str, Any], name: str, x: Array, y: Array, clip: float,
          groups: Groups) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Of every layer of x the scores [L2], those of the samples that can change places, and nulls."""
  neighbors, permutations, n = measured['neighbors'], measured['permutations'], x.shape[1]
  units = units_of(groups, n)
  if similarity.MEASURES[name].null == 'sides' or (units is not None and units.kept is not None):
    whole = calibrated(name, neighbors, permutations, clip, groups)
    return [jax.device_get(whole(layer, y)) for layer in x]
  prepare, pair = prepared(name, neighbors, clip), compared(name, permutations, groups, n)
  others = jax.tree.map(lambda *v: jnp.stack(v), *[prepare(layer) for layer in y])
  rows = [jax.device_get(pair(prepare(layer), others)) for layer in x]
  return [(score, score, null) for score, null in rows]


def representations(plan: Real, workdir: pathlib.Path, unit: Unit) -> Array:
  """Hidden layers [L, N, width] of a trained encoder on the test pairs."""
  arrays = emergence_data.read(encoder_path(workdir, unit), unit)
  params = traverse_util.unflatten_dict(
      {k.removeprefix('params/'): v for k, v in arrays.items() if k.startswith('params/')}, sep='/')
  return alone.compiled_layers(plan.protocol(unit))(
      params, jax.tree.map(jnp.asarray, plan.hyper(unit)), plan.tables)[0]


def encoder_path(workdir: pathlib.Path, unit: Unit) -> pathlib.Path:
  return workdir / 'encoders' / f'{unit.name}.npz'


def best_of(workdir: pathlib.Path, units: list[Unit]) -> dict[int, Unit]:
  """{side: its unit of best validation}, the first of equals: shallow before deep."""
  found = {}
  for unit in sorted(units):
    validation = emergence_data.read(encoder_path(workdir, unit), unit)['validation']
    value = float(np.max(validation))
    if unit.side not in found or value > found[unit.side][0]:
      found[unit.side] = value, unit
  return {side: unit for side, (_, unit) in found.items()}


def jobs(plan: Real, workdir: pathlib.Path, units: list[Unit],
         best: Mapping[int, Unit]) -> tuple[list[Job], float]:
  """What is still to be measured of the encoders `units`, a file each; and how much that is in
  all."""
  other = {side: representations(plan, workdir, best[3 - side]) for side in (1, 2)}
  found, total = [], 0.0
  for unit in units:
    for name in plan.measured['measures']:
      path = measured_path(plan, workdir, name, unit)
      total += unit.depth
      if folder.load(path) is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        found.append((float(unit.depth), functools.partial(
            _measure, plan, workdir, name, unit, other[unit.side], path)))
  return found, total


def measured_path(plan: Real, workdir: pathlib.Path, name: str, unit: Unit) -> pathlib.Path:
  return emergence_data.measure_folder(plan, workdir, name) / f'{unit.name}.npz'


def _measure(plan: Real, workdir: pathlib.Path, name: str, unit: Unit, other: Array,
             path: pathlib.Path) -> None:
  folder.save(path, compare(plan, name, representations(plan, workdir, unit), other))
