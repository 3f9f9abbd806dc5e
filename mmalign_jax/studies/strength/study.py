"""How strongly to align, as a row of STUDIES (`protocol.Sharded`, `protocol.Reported`)."""

from collections.abc import Collection, Mapping
import pathlib
from typing import Any

from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.studies.strength import chunks, plan, tuning
from mmalign_jax.studies.strength.plan import Study, defaults
from mmalign_jax.studies.strength.run import CHOICES, held, run_study, wanted

__all__ = ['FILES', 'FOLDERS', 'LAUNCHER', 'answer', 'deciding', 'defaults', 'from_settings',
           'held', 'record', 'report', 'run', 'wanted']

LAUNCHER = 'sweep'
FOLDERS, FILES = ('chunks',), (CHOICES,)
deciding, run = chunks.defaults, run_study


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Study:
  """As `plan.from_settings`; a tuned study has no further axes (`tuning.check`)."""
  made = plan.from_settings(given, preset=preset)
  tuning.check(made)
  return made


def record(plan: Study) -> dict[str, Any]:
  return plan.settings


def answer(plan: Study, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.strength import report  # its libraries are slow to import
  return report.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  from mmalign_jax.studies.strength.report import compose
  return compose(read_dataset(folder / 'results.zarr'), figures, resamples=resamples)[0]
