"""Runs the emergence study of real pairs in a folder: tunes, trains, measures.

Files are those of `emergence.run`, an encoder a file. What encoders are similar to is the best of
the other side, so nothing is measured before all of them are trained: the last shard does it.
"""

import functools
import json
import os
import pathlib
from typing import TYPE_CHECKING

from mmalign_jax.runs import folder, shards
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.studies.emergence import run as shared
from mmalign_jax.studies.emergence.plan import TRAINED, cells, shard_of
from mmalign_jax.studies.emergence.real import similar
from mmalign_jax.studies.emergence.real.dataset import to_dataset
from mmalign_jax.studies.emergence.real.plan import Real
from mmalign_jax.studies.emergence.unit import Unit, unit_name

if TYPE_CHECKING:
  import xarray as xr


def run_real(plan: Real, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
             progress: bool = True) -> 'xr.Dataset | None':
  """Trains and measures what `workdir` does not hold yet and writes workdir/results.zarr.

  Args, returns and raises: as `emergence.run.run_emergence`.
  """
  workdir = pathlib.Path(workdir)
  i, n = shard
  lock = folder.claim(workdir, plan.record, f'.lock{shards.suffix(shard)}', dict(TRAINED))
  try:
    folder.write_whole(workdir / shards.LATEST, json.dumps(
        _settings(plan) | plan.measured | plan.run, indent=1).encode())
    chosen = shared.tuned(plan, workdir, progress)
    shared.train(plan, workdir, units_of(plan, chosen, shard_of(plan, i, n)), progress)
    with folder.finishing(workdir):
      units = units_of(plan, chosen, cells(plan))
      if not all(similar.encoder_path(workdir, unit).exists() for unit in units):
        return None
      best = similar.best_of(workdir, units)
      jobs, total = similar.jobs(plan, workdir, units, best)
      shared.run_jobs(plan, jobs, progress, total=total, title=f'{plan.name}: similarity')
      dataset = to_dataset(plan, workdir, functools.partial(shared.unit, plan, chosen), best)
      write_dataset(dataset, workdir / 'results.zarr')
      return dataset
  finally:
    lock.close()


def _settings(plan: Real) -> dict:
  return {name: value for name, value in plan.record.items() if name != 'data_fingerprint'}


def units_of(plan: Real, chosen: shared.Chosen, mine: list[shared.Cell]) -> list[Unit]:
  """The encoders of both sides of the cells `mine`."""
  return [shared.unit(plan, chosen, side, *cell) for cell in mine for side in (1, 2)]


def wanted(plan: Real) -> list[str]:
  """Names of all cells."""
  return [_words(cell) for cell in cells(plan)]


def held(plan: Real, workdir: str | os.PathLike) -> list[str]:
  """Names of the cells of which a folder holds both encoders; nothing in it is touched."""
  place = pathlib.Path(workdir) / 'encoders'
  return [_words(cell) for cell in cells(plan) if all(
      shards.read(place / f'{unit_name(side, *cell)}.npz') is not None for side in (1, 2))]


def _words(cell: shared.Cell) -> str:
  return 'depth={}, seed={}'.format(*cell[1:])
