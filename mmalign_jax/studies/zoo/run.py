"""Runs a zoo in a folder: a file a cell, whole or not at all; the same call goes on.

cells/pairs_LEVEL_MODEL.npz: a model of the right side against all of the left, with its null.
cells/halves_LEVEL_PART.npz: values of random halves of the samples. cells/nested_N.npz: of nested
subsamples. cells/probe_SIDE_LEVEL_MODEL.npz: what a linear probe reads. cells/map.npz: all models
of both sides against each other, values alone.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import json
import os
import pathlib
import time
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from tqdm import tqdm

from mmalign_jax import rng
from mmalign_jax.runs import folder, shards
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.similarity import interval
from mmalign_jax.studies.zoo import chance, nested, quality
from mmalign_jax.studies.zoo.compared import Comparison, features_of, units_of
from mmalign_jax.studies.zoo.models import Model
from mmalign_jax.studies.zoo.plan import OLDER, Plan

if TYPE_CHECKING:  # slow to import
  import xarray as xr

PART = 10  # halves a file


@dataclasses.dataclass(frozen=True)
class Cell:
  """kind: 'pairs', 'probe', 'halves', 'nested' or 'map'; at: what of it, as numbers."""
  kind: str
  at: tuple[int, ...]

  @property
  def name(self) -> str:
    return '_'.join([self.kind, *map(str, self.at)])


def cells(plan: Plan) -> list[Cell]:
  """All cells, those that say most first."""
  every_level = range(max(len(plan.levels), 1))
  right = [j for j, model in enumerate(plan.right) if not model.refused]
  found = [Cell('pairs', (level, j)) for level in every_level for j in right]
  if plan.y is not None:
    found += [Cell('probe', (0, 0, i)) for i, m in enumerate(plan.left)
              if not m.refused and not plan.scores['left']]
    found += [Cell('probe', (1, level, j)) for level in every_level for j in right
              if not plan.within and not plan.scores['right']]
  if plan.settings['map'] and not plan.within:
    found.append(Cell('map', ()))
  found += [Cell('halves', (level, part)) for level in every_level
            for part in range(-(-plan.settings['resamples'] // PART))]
  return found + [Cell('nested', (size,)) for size in plan.settings['sizes']]


def run(plan: Plan, workdir: str | os.PathLike, /, *, shard: tuple[int, int] = (1, 1),
        progress: bool = True) -> 'xr.Dataset | None':
  """Compares what `workdir` does not hold yet and writes workdir/results.zarr.

  Args, returns and raises: as of `studies.protocol.Study.run`.
  """
  workdir = pathlib.Path(workdir)
  i, n = shard
  lock = folder.claim(workdir, plan.record, f'.lock{shards.suffix(shard)}',
                      OLDER)
  try:
    folder.write_whole(workdir / shards.LATEST, json.dumps(
        {**plan.record, **plan.run}, indent=1).encode())
    (workdir / 'cells').mkdir(exist_ok=True)
    _make(plan, workdir, cells(plan)[i - 1::n], progress)
    with folder.finishing(workdir):
      if not all(path_of(workdir, cell).exists() for cell in cells(plan)):
        return None
      from mmalign_jax.studies.zoo.dataset import to_dataset  # xarray is slow to import
      dataset = to_dataset(plan, workdir)
      write_dataset(dataset, workdir / 'results.zarr')
      return dataset
  finally:
    lock.close()


def path_of(workdir: pathlib.Path, cell: Cell) -> pathlib.Path:
  return workdir / 'cells' / f'{cell.name}.npz'


def wanted(plan: Plan) -> list[str]:
  """Names of all cells."""
  return [cell.name for cell in cells(plan)]


def held(plan: Plan, workdir: str | os.PathLike) -> list[str]:
  """Names of the cells that a folder holds; nothing in it is touched."""
  return [cell.name for cell in cells(plan)
          if shards.read(path_of(pathlib.Path(workdir), cell)) is not None]


# -- work ------------------------------------------------------------------------------------------


def _make(plan: Plan, workdir: pathlib.Path, mine: Sequence[Cell], progress: bool) -> None:
  missing = [cell for cell in mine if folder.load(path_of(workdir, cell)) is None]
  if not missing:
    return
  made, compare = _MADE, Comparison(plan)
  with tqdm(total=len(mine), initial=len(mine) - len(missing), unit='cell', desc=plan.name,
            disable=not progress, dynamic_ncols=True) as bar:
    for kind in dict.fromkeys(cell.kind for cell in missing):
      own = [cell for cell in missing if cell.kind == kind]
      for cell, arrays in made[kind](plan, compare, own):
        folder.save(path_of(workdir, cell), arrays)
        bar.update()
      compare.release()  # other cells are of other samples


def able(models: Sequence[Model]) -> list[Model]:
  """Those that can be compared."""
  return [model for model in models if not model.refused]


Made = Iterator[tuple[Cell, folder.Arrays]]


def _pairs(plan: Plan, compare: Comparison, own: Sequence[Cell]) -> Made:
  """value, layers, tested [models of the left] and null [P, models] of every measure."""
  units, key = units_of(plan), jax.random.key(plan.settings['seed'])
  every = np.arange(plan.n)
  kept = every if units is None or units.kept is None else units.kept
  moved = chance.moved(plan, plan.n, units, plan.settings['permutations'], key, circle=True)
  lefts = able(plan.left)
  for level in dict.fromkeys(cell.at[0] for cell in own):
    rest = {plan.right[cell.at[1]].name: cell for cell in own if cell.at[0] == level}
    for group in compare.groups([m for m in able(plan.right) if m.name in rest], moved):
      arrays: dict[str, folder.Arrays] = {m.name: {} for m in group}
      for name in plan.measures:
        start = time.perf_counter()
        whole = len(kept) == plan.n
        found = compare(name, lefts, group, rows=every, level=level,
                        orders=moved if whole else None, held=True)
        tested = found if whole or moved is None else compare(
            name, lefts, group, rows=kept, level=level, orders=moved)
        for j, model in enumerate(group):
          arrays[model.name] |= {
              f'{name}/value': found.value[:, j], f'{name}/layers': found.layers[:, j],
              f'{name}/tested': tested.value[:, j], f'{name}/null': tested.null[:, :, j],
              f'{name}/seconds': np.array((time.perf_counter() - start) / len(group))}
      for model in group:
        yield rest[model.name], arrays[model.name]


def _probe(plan: Plan, compare: Comparison, own: Sequence[Cell]) -> Made:
  assert plan.y is not None
  for cell in own:
    side, level, i = cell.at
    model = (plan.left, plan.right)[side][i]
    layers = features_of(plan, model, level)
    codes = plan.groups if plan.groups is not None else plan.items
    codes = None if codes is None else np.unique(codes[plan.labelled], return_inverse=True)[1]
    score, layer = quality.probe([z[plan.labelled] for z in layers], plan.y, codes,
                                 plan.settings['seed'])
    yield cell, {'score': np.array(score), 'layer': np.array(layer)}


def _halves(plan: Plan, compare: Comparison, own: Sequence[Cell]) -> Made:
  """values [h, models, models] of every measure, on the halves of `mmalign measure`."""
  codes = plan.groups if plan.groups is not None else plan.items
  keys = jax.random.split(rng.stream(plan.settings['seed'], 'bootstrap'),
                          plan.settings['resamples'])
  half = jax.jit(lambda key: interval.half_of(key, plan.n, codes))
  for cell in own:
    level, part = cell.at
    found: dict[str, list] = {name: [] for name in plan.measures}
    for key in keys[part * PART:(part + 1) * PART]:
      rows = np.asarray(half(key))
      for name in plan.measures:
        found[name].append(compare(name, able(plan.left), able(plan.right), rows=rows,
                                   level=level).value)
    yield cell, {f'{name}/value': np.stack(values) for name, values in found.items()}


def _size(plan: Plan, compare: Comparison, own: Sequence[Cell]) -> Made:
  """value and chance [repeats, models, models] of nested subsamples: repeat r of every size begins
  with the same samples."""
  for cell in own:
    size, = cell.at
    found: dict[str, list] = {f'{name}/{what}': [] for name in plan.measures
                              for what in ('value', 'chance')}
    used = nested.subsamples(plan, size)
    for r, every in enumerate(used):
      rows, units = nested.movable(plan, every)
      moved = chance.moved(plan, len(rows), units, plan.settings['size_permutations'],
                     jax.random.fold_in(jax.random.key(plan.settings['seed']), r))
      for name in plan.measures:
        best = compare(name, able(plan.left), able(plan.right), rows=rows, orders=moved)
        found[f'{name}/value'].append(best.value)
        found[f'{name}/chance'].append(best.null.mean(axis=0))
    yield cell, {'used': np.array(list(map(len, used)))} | {
        name: np.stack(values) for name, values in found.items()}


def _map(plan: Plan, compare: Comparison, own: Sequence[Cell]) -> Made:
  """values of all models of both sides, at the first level, against each other."""
  every, models = np.arange(plan.n), [*able(plan.left), *able(plan.right)]
  yield own[0], {f'{name}/value': compare(name, models, models, rows=every).value
                 for name in plan.measures}


_MADE: dict[str, Callable[[Plan, Comparison, Sequence[Cell]], Any]] = {
    'pairs': _pairs, 'probe': _probe, 'halves': _halves, 'nested': _size, 'map': _map}
