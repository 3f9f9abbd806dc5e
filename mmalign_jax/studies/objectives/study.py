"""Which objective and how strongly, as a row of STUDIES (`protocol.Study`)."""

import pathlib
from typing import Any

from mmalign_jax.runs import folder as runs
from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.studies.objectives.plan import Plan, defaults, from_settings
from mmalign_jax.studies.objectives.run import SET, run

__all__ = ['LAUNCHER', 'answer', 'defaults', 'from_settings', 'report', 'run']

LAUNCHER = 'sweep'


def answer(plan: Plan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.objectives import report  # its libraries are slow to import
  return report.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  from mmalign_jax.studies.objectives.report import compose
  whole = lambda place: (place / 'results.zarr').is_dir()
  places = [folder] if whole(folder) else [p for p in runs.listed(folder) if whole(p)]
  found = [read_dataset(place / 'results.zarr') for place in places]
  sets = {dataset.attrs[SET]: dataset for dataset in found if SET in dataset.attrs}
  if not sets:
    raise FileNotFoundError(f'{folder}: no results there; the command that began it makes them')
  return compose(sets, figures, resamples=resamples)[0]
