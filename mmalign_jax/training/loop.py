"""Runs a study in a folder: what is finished stays, and the same call continues."""

import os
import pathlib
import threading
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from mmalign_jax.training import parallel, writers
from mmalign_jax.training.study import Study
from mmalign_jax.training.sweep import chunk_size, run_chunks
from mmalign_jax.training.versions import versions

if TYPE_CHECKING:
  import xarray as xr


def run_study(study: Study, workdir: str | os.PathLike, *, progress: bool = True) -> 'xr.Dataset':
  """Trains the cells that `workdir` does not hold yet and writes workdir/results.zarr.

  Args:
    study: what to run.
    workdir: made if missing; holds config.json, chunks/ and results.zarr.
    progress: a bar with cells done, time left and cells/s on standard error.

  Returns:
    the whole data set.

  Raises:
    ValueError: the folder holds another configuration, or is in use.
    OSError: a chunk cannot be written; those before it are safe.
  """
  chunks = writers.Chunks(workdir, study)
  try:
    done = chunks.read()['cell']
    wanted = np.setdiff1d(np.arange(study.n_cells), done)
    _train(study, wanted, chunks, progress)
    values = chunks.read()
    missing = np.setdiff1d(np.arange(study.n_cells), values['cell'])
    if len(missing):
      raise OSError(f'{workdir}: {len(missing)} cells could not be read back; run it again')
    dataset = writers.to_dataset(study, values, versions())
    writers.write_dataset(dataset, pathlib.Path(workdir) / 'results.zarr')
    return dataset
  finally:
    chunks.close()


def _train(study: Study, wanted: np.ndarray, chunks: writers.Chunks, progress: bool) -> None:
  if not len(wanted):
    return
  plan, lock = parallel.plan(), threading.Lock()
  workers = study.run['workers'] or plan.workers
  size = study.run['chunk'] or chunk_size(
      study.spec, study.tables, len(wanted), workers, best=plan.chunk,
      budget_bytes=study.run['memory_gb'] * 1e9)
  size = -(-size // plan.multiple) * plan.multiple
  with tqdm(total=study.n_cells, initial=study.n_cells - len(wanted), unit='cell', desc=study.name,
            disable=not progress, dynamic_ncols=True) as bar:
    def done(index, cells):
      chunks.write(index, cells)
      with lock:
        bar.update(len(index))

    for _ in run_chunks(study.spec, study.hypers, study.tables, wanted, chunk=size,
                        workers=workers, place=plan.place, done=done):
      pass

