"""Many models against many, as a row of STUDIES (`protocol.Sharded`)."""

import pathlib
from typing import Any

from mmalign_jax.runs import shards
from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.runs.folder import read_json
from mmalign_jax.studies.zoo.plan import OLDER, RUN, Plan, defaults, from_settings
from mmalign_jax.studies.zoo.run import held, run, wanted

__all__ = ['FILES', 'FOLDERS', 'LAUNCHER', 'answer', 'deciding', 'defaults', 'from_settings',
           'held', 'record', 'report', 'run', 'wanted']

LAUNCHER = 'sweep'
FOLDERS, FILES = ('cells',), ()


def deciding() -> dict[str, Any]:
  return OLDER


def record(plan: Plan) -> dict[str, Any]:
  return plan.record


def answer(plan: Plan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.zoo import report  # its libraries are slow to import
  return report.write(dataset, folder, draws=plan.run['draws'], figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  from mmalign_jax.studies.zoo.report import compose
  del resamples  # here halves of the samples; models are drawn as often as the study was asked to
  latest = folder / shards.LATEST
  run = read_json(latest, 'remove it') if latest.exists() else {}
  draws = run.get('draws') if isinstance(run, dict) else None
  return compose(read_dataset(folder / 'results.zarr'), figures,
                 draws=draws if type(draws) is int and draws >= 100 else RUN['draws'])[0]
