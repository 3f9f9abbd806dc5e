"""Kinds of study by name: built from settings, run in a folder, merged from shards, answered."""

from collections.abc import Mapping, Sequence
import os
import pathlib
from typing import Any

from mmalign_jax.runs import shards
from mmalign_jax.runs.damage import note
from mmalign_jax.studies.emergence import study as emergence
from mmalign_jax.studies.objectives import study as objectives
from mmalign_jax.studies.protocol import Plan, Sharded, Study
from mmalign_jax.studies.strength import study as strength
from mmalign_jax.studies.train import study as train
from mmalign_jax.studies.zoo import study as zoo
from mmalign_jax.types import lookup

STUDIES: dict[str, Study] = {
    'strength': strength, 'emergence': emergence, 'train': train, 'objectives': objectives,
    'zoo': zoo}


def study_of(settings: Mapping[str, Any], launcher: str = '') -> Study:
  """The kind of study that settings ask for.

  Raises:
    ValueError: unknown (lists the known ones), or one that is not run by `launcher`, if that is
      given.
  """
  name = settings.get('study', 'strength')
  if not isinstance(name, str):
    raise ValueError(f'study={name!r} is not a name; known: {", ".join(sorted(STUDIES))}')
  study = lookup(STUDIES, name, 'study')
  if launcher and study.LAUNCHER != launcher:
    raise ValueError(f'this configuration is run by mmalign {study.LAUNCHER} '
                     f'(launch/{study.LAUNCHER}.py)')
  return study


def answer(study: Study, plan: Plan, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  """Writes summary.json and, with figures, figures/ and report.html into `folder`; the answer, and
  where it lies, as text."""
  text = study.answer(plan, dataset, folder, figures=figures)
  places = ['results.zarr', 'summary.json', *['figures/*.png', 'report.html'] * figures]
  return f'\n{text}\n\n' + ', '.join(
      str(folder / name) for name in places if any(folder.glob(name)))


def merge(folders: Sequence[str | os.PathLike], out: str | os.PathLike, *,
          figures: bool = True) -> str:
  """Joins the shards of a study into the folder `out`, and answers it.

  Raises:
    ValueError: folders of different configurations, the same cell in two of them, or a cell in
      none; names the cells. FileNotFoundError: a folder without a study.
  """
  folders, out = [pathlib.Path(f) for f in folders], pathlib.Path(out)
  settings = shards.settings_of(folders, lambda settings: _sharded(settings).deciding())
  study = _sharded(settings)
  plan = study.from_settings(settings, preset=tuple(settings))  # as recorded: nobody's choice
  if absent := [name for name in study.record(plan) if name not in settings]:
    note(f'{folders[0]} is of another version, without {", ".join(absent)}, taken as the default')
  shards.check_cells(study.wanted(plan), {f: study.held(plan, f) for f in folders})
  shards.copy(folders, out, study.FOLDERS, study.FILES, study.record(plan), study.deciding())
  return answer(study, plan, study.run(plan, out), out, figures=figures)


def _sharded(settings: Mapping[str, Any]) -> Sharded:
  study = study_of(settings)
  if not isinstance(study, Sharded):
    raise ValueError(f'{settings["name"]!r} is one {settings.get("study", "strength")}: it has no '
                     'shards to merge')
  return study
