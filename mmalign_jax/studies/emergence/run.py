"""Runs the emergence study in a folder: tunes, trains, measures; what is finished stays.

DIR/tuning/ and DIR/encoders/ hold one file a unit, DIR/similarity/MEASURE/ one a transformed unit,
all written whole or not at all. A unit is always the same program on the same arrays, so a run that
was killed ends with the same numbers as an undisturbed one.
"""

from concurrent.futures import ThreadPoolExecutor
import functools
import itertools
import json
import os
import pathlib
import threading
from typing import TYPE_CHECKING, Callable, Sequence

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mmalign_jax.runs import devices, folder, shards
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.studies.emergence import agreement, dataset as emergence_data
from mmalign_jax.studies.emergence.plan import TRAINED, Emergence, cells, shard_of
from mmalign_jax.studies.emergence.programs import group_size, grouped, train_group
from mmalign_jax.studies.emergence.unit import Unit, unit_name
from mmalign_jax.training import alone

if TYPE_CHECKING:
  import xarray as xr

Cell = tuple[int, int, int]  # transform_depth, depth, seed: every `unique` of a transformed encoder
Chosen = dict[tuple[int, tuple[int, int]], tuple[float, float]]  # (side, band): (rate, decay)
Job = tuple[float, Callable[[], None]]  # how long, in any unit, and what to do


def run_emergence(plan: Emergence, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
                  progress: bool = True) -> 'xr.Dataset | None':
  """Trains and measures what `workdir` does not hold yet and writes workdir/results.zarr.

  Args:
    plan: what to run.
    workdir: made if missing. Several shards may share it, or have one each and be merged.
    shard: (i, n), part i from 1 of n.
    progress: a bar for each stage, with time left, on standard error.

  Returns:
    the data set, or None where other shards' cells are still missing.

  Raises:
    ValueError: the folder holds another configuration, or is in use by the same shard.
    OSError: a file cannot be written; those before it are safe.
  """
  workdir = pathlib.Path(workdir)
  i, n = shard
  lock = folder.claim(workdir, plan.record, f'.lock{shards.suffix(shard)}', dict(TRAINED))
  try:
    folder.write_whole(workdir / shards.LATEST, json.dumps(
        plan.record | plan.measured | plan.run, indent=1).encode())
    chosen = tuned(plan, workdir, progress)
    mine = shard_of(plan, i, n)
    train(plan, workdir, units_of(plan, chosen, mine, whole=i == 1), progress)
    measure(plan, workdir, chosen, mine, progress)
    with folder.finishing(workdir):
      if missing(plan, workdir, chosen):
        return None
      dataset = emergence_data.to_dataset(plan, workdir, functools.partial(unit, plan, chosen))
      write_dataset(dataset, workdir / 'results.zarr')
      return dataset
  finally:
    lock.close()


def wanted(plan: Emergence) -> list[str]:
  """Names of all cells, those of every `unique` in one."""
  return [_words(cell) for cell in cells(plan)]


def held(plan: Emergence, workdir: str | os.PathLike) -> list[str]:
  """Names of the cells whose transformed encoders a folder holds; nothing in it is touched."""
  place = pathlib.Path(workdir) / 'encoders'
  return [_words(cell) for cell in cells(plan)
          if shards.read(place / f'{unit_name(2, *cell)}.npz') is not None]


def _words(cell: Cell) -> str:
  return 'transform_depth={}, depth={}, seed={}'.format(*cell)


def unit(plan: Emergence, chosen: Chosen, side: int, transform: int, depth: int, seed: int) -> Unit:
  """An encoder's unit, at the learning rate and decay chosen for its side and band of depths."""
  band = next((low, high) for low, high in plan.bands() if low <= depth <= high)
  return Unit(side, depth, transform, seed, plan.settings[f'epochs_{side}'], *chosen[side, band])


def units_of(plan: Emergence, chosen: Chosen, mine: Sequence[Cell], *, whole: bool) -> list[Unit]:
  """Units behind the cells `mine`; `whole`: and the encoders of side 1 that no cell compares."""
  make = functools.partial(unit, plan, chosen)
  depths = plan.axes['depth'] if whole else plan.settings['untransformed_depth']
  behind = {(partner(plan, t), d, s) for t, _, s in (cells(plan) if whole else mine)
            for d in depths}
  return [make(1, *u) for u in sorted(behind)] + [make(2, *cell) for cell in mine]


def partner(plan: Emergence, transform: int) -> int:
  """Transform depth of the encoders of side 1 that those of side 2 are compared with."""
  return 0 if plan.spec.transform == 'one' else transform


# -- the three stages ----------------------------------------------------------------------------


def tuned(plan: Emergence, workdir: pathlib.Path, progress: bool) -> Chosen:
  """{(side, band): (learning rate, weight decay)} of best mean validation accuracy.

  The mean is over `unique`, at the middle transform depth, the band's middle depth and the first
  seed. workdir/tuning.json keeps every candidate's accuracy; a folder that has it is not tuned
  again, so that shards can share one.
  """
  path = workdir / 'tuning.json'
  groups = {(side, band): candidates(plan, side, depth)
            for band, depth in plan.bands().items() for side in (1, 2)}
  with folder.choosing(workdir):  # the first shard of a folder does, and the others wait
    if not path.exists():
      several = [u for units in groups.values() if len(units) > 1 for u in units]
      train(plan, workdir, several, progress, name=_candidate, where='tuning',
            title=f'{plan.name}: tuning')
      found = [_best(plan, workdir, band, units) for (_, band), units in groups.items()]
      folder.write_whole(path, json.dumps(found, indent=1).encode())
  chosen = {(row['side'], tuple(row['depths'])): (row['learning_rate'], row['weight_decay'])
            for row in folder.read_json(path, 'remove it, and it is made again from tuning/')}
  if set(chosen) != set(groups):
    raise ValueError(f'{path} is of other sides or bands of depths than this study; remove it')
  return chosen


def candidates(plan: Emergence, side: int, depth: int) -> list[Unit]:
  """One unit for each learning rate and weight decay of the grid."""
  middle = plan.transforms(side)[len(plan.transforms(side)) // 2]
  rates, decays = plan.settings['learning_rate'], plan.settings['weight_decay']
  return [Unit(side, depth, middle, plan.axes['seed'][0], plan.settings[f'tune_epochs_{side}'],
               rate, decay) for rate, decay in itertools.product(rates, decays)]


def _candidate(unit: Unit) -> str:
  return f'{unit.name}_rate_{unit.learning_rate:g}_decay_{unit.weight_decay:g}'


def _best(plan: Emergence, workdir: pathlib.Path, band: tuple[int, int],
          units: Sequence[Unit]) -> dict:
  """What is kept of a band's candidates; of equals the first, a lone one needs no training."""
  rows = [{'learning_rate': u.learning_rate, 'weight_decay': u.weight_decay,
           plan.merit: None} for u in units]
  for u, row in zip(units, rows if len(units) > 1 else ()):
    history = emergence_data.read(workdir / 'tuning' / f'{_candidate(u)}.npz', u)['validation']
    row[plan.merit] = float(np.mean(history.max(axis=1)))
  best = rows[0] if len(rows) == 1 else max(rows, key=lambda row: row[plan.merit])
  return {'side': units[0].side, 'depths': band, 'depth': units[0].depth, **best,
          'candidates': rows}


def train(plan: Emergence, workdir: pathlib.Path, units: Sequence[Unit], progress: bool, *,
          name: Callable[[Unit], str] = lambda u: u.name, where: str = 'encoders',
          title: str = '') -> None:
  """Trains the units that have no file in workdir/where yet."""
  target = workdir / where
  target.mkdir(exist_ok=True)
  missing_units = [
      u for u in units if emergence_data.load(target / f'{name(u)}.npz', u) is None]
  machine = devices.plan()
  size = group_size(machine, len(plan.axes['unique']))

  def job(group: Sequence[Unit]) -> Job:
    def work():
      for u, trained in zip(group, train_group(plan, group, size, machine)):
        folder.save(target / f'{name(u)}.npz', emergence_data.to_arrays(trained, u))
    return sum(u.weight for u in group), work

  run_jobs(plan, [job(g) for g in grouped(plan, missing_units, size)], progress,
           total=sum(u.weight for u in units), title=title or f'{plan.name}: training')


def measure(plan: Emergence, workdir: pathlib.Path, chosen: Chosen, mine: Sequence[Cell],
            progress: bool) -> None:
  """Measures every pair of the cells `mine` that has no file yet."""
  jobs, total = [], 0.0
  for cell in mine:  # measures side by side: two workers then compile two programs, not one twice
    for name in plan.measured['measures']:
      target = emergence_data.measure_folder(plan, workdir, name)
      target.mkdir(parents=True, exist_ok=True)
      total += cell[1]
      path = target / f'{unit(plan, chosen, 2, *cell).name}.npz'
      if folder.load(path) is None:
        jobs.append((float(cell[1]), functools.partial(
            _measure, plan, workdir, chosen, cell, name, path)))
  run_jobs(plan, jobs, progress, total=total, title=f'{plan.name}: similarity')


def _measure(plan: Emergence, workdir: pathlib.Path, chosen: Chosen, cell: Cell, name: str,
             path: pathlib.Path) -> None:
  """One measure of the pairs of a cell, for every `unique`, into `path`."""
  transform, depth, seed = cell
  y = representations(plan, workdir, unit(plan, chosen, 2, *cell))
  arrays = {}
  for own in plan.settings['untransformed_depth']:
    x = representations(
        plan, workdir, unit(plan, chosen, 1, partner(plan, transform), own, seed))
    scores, null = agreement.agreement(
        x, y, name=name, neighbors=plan.measured['neighbors'],
        permutations=plan.measured['permutations'], seed=seed)
    arrays |= {f'scores_{own}': scores, f'null_{own}': null}
  folder.save(path, arrays)


def representations(plan: Emergence, workdir: pathlib.Path, u: Unit) -> jax.Array:
  """Hidden layers [R, L, N, width] of a trained unit on the seed's test pairs."""
  arrays = emergence_data.read(workdir / 'encoders' / f'{u.name}.npz', u)
  params = traverse_util.unflatten_dict(
      {k.removeprefix('params/'): v for k, v in arrays.items() if k.startswith('params/')}, sep='/')
  return alone.compiled_layers(plan.protocol(u))(
      params, jax.tree.map(jnp.asarray, plan.hyper(u)), plan.tables)


def missing(plan: Emergence, workdir: pathlib.Path, chosen: Chosen) -> list[Unit]:
  """Units of the whole study that are not trained, or not measured."""
  folders = [workdir / 'encoders', *(
      emergence_data.measure_folder(plan, workdir, m) for m in plan.measured['measures'])]
  return [u for u in units_of(plan, chosen, cells(plan), whole=True)
          for place in (folders if u.side == 2 else folders[:1])
          if not (place / f'{u.name}.npz').exists()]


def run_jobs(plan: Emergence, jobs: Sequence[Job], progress: bool, *, total: float,
             title: str) -> None:
  """Runs jobs in the study's worker threads under a bar of their weights."""
  if not jobs:
    return
  workers = plan.run['workers'] or devices.plan().workers
  done, lock = len(jobs), threading.Lock()
  with tqdm(total=total, initial=total - sum(weight for weight, _ in jobs), desc=title,
            disable=not progress, dynamic_ncols=True, bar_format=(
                '{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}{postfix}]')) as bar:
    def work(job):
      nonlocal done
      job[1]()
      with lock:
        done -= 1
        bar.set_postfix_str(f'{done} units left', refresh=False)
        bar.update(job[0])

    pool = ThreadPoolExecutor(workers)
    try:
      for _ in pool.map(work, jobs):
        pass
    finally:  # an interruption waits for no job: what it would have written is whole or not there
      pool.shutdown(wait=False, cancel_futures=True)
