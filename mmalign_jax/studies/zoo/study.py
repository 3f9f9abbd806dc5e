"""Many models against many, as a row of STUDIES (`protocol.Sharded`)."""

import pathlib
from typing import Any

from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.studies.zoo.plan import DECIDING, Plan, defaults, from_settings
from mmalign_jax.studies.zoo.run import held, run, wanted

__all__ = ['FILES', 'FOLDERS', 'LAUNCHER', 'answer', 'deciding', 'defaults', 'from_settings',
           'held', 'record', 'report', 'run', 'wanted']

LAUNCHER = 'sweep'
FOLDERS, FILES = ('cells',), ()


def deciding() -> dict[str, Any]:
  return dict(DECIDING)


def record(plan: Plan) -> dict[str, Any]:
  return plan.record


def answer(plan: Plan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.zoo import report  # its libraries are slow to import
  return report.write(dataset, folder, draws=plan.run['draws'], figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  from mmalign_jax.studies.zoo.report import compose
  return compose(read_dataset(folder / 'results.zarr'), figures, draws=resamples)[0]
