"""When alignment emerges, as a row of STUDIES (`protocol.Sharded`)."""

from collections.abc import Collection, Mapping
import os
import pathlib
from typing import TYPE_CHECKING, Any

from mmalign_jax.runs import folder as runs
from mmalign_jax.runs.dataset import read_dataset
from mmalign_jax.studies.emergence import plan as generated, run as of_generators
from mmalign_jax.studies.emergence.plan import PAIRS, TRAINED, Emergence, defaults
from mmalign_jax.studies.emergence.real import plan as real, run as of_pairs

if TYPE_CHECKING:
  import xarray as xr

__all__ = ['FILES', 'FOLDERS', 'LAUNCHER', 'answer', 'deciding', 'defaults', 'from_settings',
           'held', 'record', 'report', 'run', 'wanted']

LAUNCHER = 'sweep'
FOLDERS, FILES = ('encoders', 'similarity'), ('tuning.json',)


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> Emergence:
  """The plan of a generator, or of real pairs; see either."""
  room = real if given.get('generator') == PAIRS else generated
  return room.from_settings(given, preset=preset)


def run(plan: Emergence, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
        progress: bool = True) -> 'xr.Dataset | None':
  if isinstance(plan, real.Real):
    return of_pairs.run_real(plan, workdir, shard=shard, progress=progress)
  return of_generators.run_emergence(plan, workdir, shard=shard, progress=progress)


def wanted(plan: Emergence) -> list[str]:
  return of_pairs.wanted(plan) if isinstance(plan, real.Real) else of_generators.wanted(plan)


def held(plan: Emergence, workdir: str | os.PathLike) -> list[str]:
  return (of_pairs.held(plan, workdir) if isinstance(plan, real.Real)
          else of_generators.held(plan, workdir))


def deciding() -> dict[str, Any]:
  """Settings that decide the encoders."""
  return dict(TRAINED)


def record(plan: Emergence) -> dict[str, Any]:
  return plan.record


def answer(plan: Emergence, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  # their libraries are slow to import
  if isinstance(plan, real.Real):
    from mmalign_jax.studies.emergence.real import report as of_real
    return of_real.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)
  from mmalign_jax.studies.emergence import report
  return report.write(dataset, folder, resamples=plan.run['resamples'], figures=figures)


def report(folder: pathlib.Path, figures: pathlib.Path, *, resamples: int) -> Any:
  generator = runs.read_json(folder / 'config.json').get('generator')
  if generator == PAIRS:
    from mmalign_jax.studies.emergence.real.report import compose
  else:
    from mmalign_jax.studies.emergence.report import compose
  return compose(read_dataset(folder / 'results.zarr'), figures, resamples=resamples)[0]
