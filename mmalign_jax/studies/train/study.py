"""One long training over strengths, as a row of STUDIES (`protocol.Study`)."""

import os
import pathlib
from typing import Any

from mmalign_jax.runs import devices, processes
from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.studies.train.data import DATA
from mmalign_jax.studies.train.plan import TrainPlan, defaults, from_settings

__all__ = ['LAUNCHER', 'answer', 'defaults', 'from_settings', 'report', 'run']

LAUNCHER = 'train'


def run(plan: TrainPlan, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
        progress: bool = True, data_dir: str | None = None, prepared_dir: str | None = None) -> Any:
  """Reads the pairs, trains what is left, and writes the results.

  Args:
    data_dir, prepared_dir: as in `load_avmnist`; data_dir also as in `load_pairs`.

  Raises:
    ValueError: a shard: a training has none.
  """
  from mmalign_jax.studies.train.run import train
  if shard != (1, 1):
    raise ValueError(f'--shard={shard[0]}/{shard[1]}: a training has no shards')
  read = DATA[plan.given['generator']].read
  data = processes.together(lambda: read(plan.given, data_dir, prepared_dir))
  if devices.leads():
    print(*data.notes, sep='\n', end='\n' if data.notes else '')
  return train(plan, data, workdir, progress=progress)


def answer(plan: TrainPlan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.train import report  # its libraries are slow to import
  return report.write(dataset, folder, figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  from mmalign_jax.studies.train.report import compose
  return compose(read_dataset(folder / 'results.zarr'), figures)[0]
