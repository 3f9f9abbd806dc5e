"""Runs a study in a folder: what is finished stays, and the same call continues."""

from collections.abc import Callable
import itertools
import json
import os
import pathlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from mmalign_jax.runs import devices, folder, shards
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.runs.versions import versions
from mmalign_jax.studies.strength import chunks as on_disk, references, tuning
from mmalign_jax.studies.strength.plan import Study
from mmalign_jax.training.memory import chunk_size
from mmalign_jax.training.sweep import run_chunks

if TYPE_CHECKING:
  import xarray as xr

CHOICES = 'choices.json'  # of a tuned study: the settings of each budget, for all shards
_Whole = Callable[[Study, str], 'xr.Dataset']  # (a stage, its name) -> all of it


def run_study(study: Study, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
              progress: bool = True) -> 'xr.Dataset | None':
  """Trains the cells that `workdir` does not hold yet and writes workdir/results.zarr.

  Args:
    study: what to run.
    workdir: made if missing; holds config.json, chunks/ and results.zarr. Several shards may share
      it, or have one each and be merged.
    shard: (i, n), every n-th cell from the i-th (from 1) on. The first in a folder tunes for all.
    progress: a bar with cells done, time left and cells/s on standard error.

  Returns:
    the whole data set, or None where other shards' cells are still missing.

  Raises:
    ValueError: the folder holds another configuration, or is in use.
    OSError: a chunk cannot be written; those before it are safe.
  """
  workdir = pathlib.Path(workdir)
  if not study.tuned:
    return _run(study, workdir, shard, progress)

  def whole(part: Study, stage: str) -> 'xr.Dataset':
    made = _run(part, _place(workdir, stage), (1, 1), progress)
    assert made is not None  # of one shard it is whole
    return made

  _claimed(study, workdir, shard).close()  # another configuration's is refused before any work
  choices = _chosen(study, workdir, whole)
  dataset = _run(tuning.with_choices(study, choices), workdir, shard, progress)
  if dataset is None:
    return None
  with folder.finishing(workdir):  # shards may come here together
    dataset = _beside(study, workdir, dataset, choices, whole)
    write_dataset(dataset, workdir / 'results.zarr')
    return dataset


def _chosen(study: Study, workdir: pathlib.Path, whole: _Whole) -> tuning.Choices:
  """Settings for no alignment: workdir/choices.json, which the first shard of a folder makes while
  the others wait, so that all cells have the same."""
  path = workdir / CHOICES
  with folder.choosing(workdir):
    if not path.exists():
      judged = whole(tuning.baseline(study), 'baseline')
      if folder.listed(workdir / 'chunks', '.npz') and tuning.unjudged(judged):
        raise ValueError(f'{workdir}: begun by a version that chose settings otherwise where a '
                         'side has no validation row; choose another workdir')
      found = tuning.choose(judged, study)
      folder.write_whole(path, json.dumps(_rows(found), indent=1).encode())
  rows = folder.read_json(path, 'remove it, and it is made again from tuning/')
  if not _fit(rows, study):
    raise ValueError(f'{path} is of other budgets or candidates than this study; remove it')
  return {row[tuning.BUDGET]: {name: value for name, value in row.items() if name != tuning.BUDGET}
          for row in rows}


def _fit(rows: Any, study: Study) -> bool:
  """Whether these are choices for every budget, among the candidates of the study."""
  names = {tuning.BUDGET, 'validation', *study.tuned}
  return (isinstance(rows, list)
          and all(isinstance(row, dict) and row.keys() == names for row in rows)
          and [row[tuning.BUDGET] for row in rows] == list(study.axes[tuning.BUDGET])
          and all(row[name] in known for row in rows for name, known in study.tuned.items()))


def _beside(study: Study, workdir: pathlib.Path, dataset: 'xr.Dataset', choices: tuning.Choices,
            whole: _Whole) -> 'xr.Dataset':
  """The data set with what alignment gains over a baseline that is tuned as hard, and with linear
  references."""
  strengths = tuning.strongest(dataset, study)
  again = tuning.choose(whole(tuning.aligned(
      study, {b: {'lam': lam} for b, lam in strengths.items()}), 'aligned'), study)
  best = {b: {**choice, 'lam': strengths[b]} for b, choice in again.items()}
  final = whole(tuning.final(study, best), 'final')
  dataset.attrs[references.LINEAR] = json.dumps(references.in_folder(
      study.loaded, study.axes, study.settings.get('data_fingerprint', ''), workdir))
  dataset.attrs['tuning'] = json.dumps({
      'at_0': _rows(choices), 'at_best': _rows(best), 'gains': tuning.gains(dataset, final, study),
      references.LINEAR: tuning.over_linear(dataset, final, study)})
  return dataset


def _place(workdir: pathlib.Path, stage: str) -> pathlib.Path:
  """Folder of a stage; of a version before, in which every shard had its own, one that is done."""
  place = workdir / tuning.FOLDERS[stage]
  older = sorted(place.parent.glob(f'{place.name}_*_of_*/results.zarr'))
  return older[0].parent if older and not place.exists() else place


def _claimed(study: Study, workdir: pathlib.Path, shard: tuple[int, int]) -> on_disk.Chunks:
  return on_disk.Chunks(workdir, study, f'chunks/.lock{shards.suffix(shard)}')


def _rows(choices: tuning.Choices) -> list[dict]:
  return [{tuning.BUDGET: budget, **choice} for budget, choice in choices.items()]


def _run(study: Study, workdir: pathlib.Path, shard: tuple[int, int],
         progress: bool) -> 'xr.Dataset | None':
  i, n = shard
  chunks = _claimed(study, workdir, shard)
  try:
    folder.write_whole(workdir / shards.LATEST, _all_settings(study))
    mine = np.arange(study.n_cells)[i - 1::n]
    wanted = np.setdiff1d(mine, chunks.read()['cell'])
    _train(study, wanted, len(mine), chunks, progress)
    with folder.finishing(workdir):
      values = chunks.read()
      missing = np.setdiff1d(np.arange(study.n_cells), values['cell'])
      if len(np.intersect1d(missing, mine)):
        raise OSError(f'{workdir}: {len(missing)} cells could not be read back; run it again')
      if len(missing):
        return None
      dataset = on_disk.to_dataset(study, values, versions())
      write_dataset(dataset, workdir / 'results.zarr')
      return dataset
  finally:
    chunks.close()


run = run_study


def _all_settings(study: Study) -> bytes:
  settings = {k: v for k, v in study.settings.items() if k != 'data_fingerprint'} | study.run
  return json.dumps(settings, indent=1, default=float).encode()


def wanted(study: Study) -> list[str]:
  """Names of all cells, in order."""
  points = itertools.product(*study.axes.values())
  return [', '.join(f'{name}={value:g}' if isinstance(value, float) else f'{name}={value}'
                    for name, value in zip(study.axes, point)) for point in points]


def held(study: Study, workdir: str | os.PathLike) -> list[str]:
  """Names of the cells that a folder holds; nothing in it is touched."""
  names = wanted(study)
  chunks = pathlib.Path(workdir) / 'chunks'
  return [names[cell] for cell in on_disk.read_chunks(
      chunks, len(names), study.n_sides, shards.read)['cell']]


def _train(study: Study, wanted: np.ndarray, total: int, chunks: on_disk.Chunks,
           progress: bool) -> None:
  if not len(wanted):
    return
  plan, lock = devices.plan(), threading.Lock()
  workers = study.run['workers'] or plan.workers
  # of all cells, not of the missing ones: continued, they fall into the same chunks
  size = min(study.run['chunk'], total) or chunk_size(
      study.spec, study.tables, total, workers, best=plan.chunk,
      budget_bytes=study.run['memory_gb'] * 1e9)
  size = -(-size // plan.multiple) * plan.multiple
  with tqdm(total=total, initial=total - len(wanted), unit='cell', desc=study.name,
            disable=not progress, dynamic_ncols=True) as bar:
    def done(index, cells):
      chunks.write(index, cells)
      with lock:
        bar.update(len(index))

    with devices.few_threads():
      for _ in run_chunks(study.spec, study.hypers, study.tables, wanted, chunk=size,
                          workers=workers, place=plan.place, done=done):
        pass
