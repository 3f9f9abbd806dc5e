"""When alignment emerges, as a row of STUDIES (`protocol.Sharded`)."""

import pathlib
from typing import Any

from mmalign_jax.studies.emergence.plan import TRAINED, Emergence, defaults, from_settings
from mmalign_jax.studies.emergence.run import held, run_emergence, wanted

__all__ = ['FILES', 'FOLDERS', 'LAUNCHER', 'answer', 'deciding', 'defaults', 'from_settings',
           'held', 'record', 'run', 'wanted']

LAUNCHER = 'sweep'
FOLDERS, FILES = ('encoders', 'similarity'), ('tuning.json',)
run = run_emergence


def deciding() -> dict[str, Any]:
  """Settings that decide the encoders."""
  return dict(TRAINED)


def record(plan: Emergence) -> dict[str, Any]:
  return plan.record


def answer(plan: Emergence, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  from mmalign_jax.studies.emergence import report  # its libraries are slow to import
  return report.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)
