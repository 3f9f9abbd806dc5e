"""Which objective and how strongly, as a row of STUDIES (`protocol.Study`)."""

import pathlib
from typing import Any

from mmalign_jax.studies.objectives.plan import Plan, defaults, from_settings
from mmalign_jax.studies.objectives.run import run

__all__ = ['LAUNCHER', 'answer', 'defaults', 'from_settings', 'run']

LAUNCHER = 'sweep'


def answer(plan: Plan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.objectives import report  # its libraries are slow to import
  return report.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)
