"""Kinds of study: how one is built from settings, run in a folder, merged from shards, answered."""

import dataclasses
import importlib
import importlib.util
import os
import pathlib
from types import ModuleType
from typing import Any, Sequence

from mmalign_jax.training import shards
from mmalign_jax.training.damage import note
from mmalign_jax.types import lookup


@dataclasses.dataclass(frozen=True)
class Kind:
  """Modules by name, imported when used; inside the package ('training.study') or anywhere.

  plan: from_settings(settings, preset), defaults. run: run(plan, workdir, shard, progress),
  held(plan, workdir), wanted(plan), record(plan), defaults(), FOLDERS, FILES. report:
  write(dataset, folder, figures), and resamples where the study has them. figures: its own import
  is slow, so it is loaded ahead. launcher: launch/NAME.py that runs it.
  """
  plan: str
  run: str
  report: str
  figures: str
  launcher: str = 'sweep'


STUDIES = {
    'strength': Kind('training.study', 'training.loop', 'analysis.report', 'analysis.figures'),
    'emergence': Kind('training.emergence', 'training.emergence_run', 'analysis.emergence_report',
                      'analysis.emergence_figures'),
    'train': Kind('training.train_plan', 'training.trainer', 'analysis.train_report',
                  'analysis.train_report', launcher='train'),
}


def kind_of(settings: dict[str, Any]) -> Kind:
  """The kind of study that settings ask for.

  Raises:
    ValueError: unknown; lists the known ones.
  """
  name = settings.get('study', 'strength')
  if not isinstance(name, str):
    raise ValueError(f'study={name!r} is not a name; known: {", ".join(sorted(STUDIES))}')
  return lookup(STUDIES, name, 'study')


def module(name: str) -> ModuleType:
  """A module by its name in the package, or else by its whole name."""
  own = importlib.util.find_spec(f'mmalign_jax.{name.partition(".")[0]}') is not None
  return importlib.import_module(f'mmalign_jax.{name}' if own else name)


def load_analysis(kind: Kind) -> ModuleType:
  """The module that answers a study; its libraries are slow to import."""
  module(kind.figures)
  return module(kind.report)


def answer(kind: Kind, plan: Any, dataset: Any, folder: pathlib.Path, *, figures: bool) -> str:
  """Writes summary.json and figures/ into `folder`; the answer, and where it lies, as text."""
  text = load_analysis(kind).write(
      dataset, folder, figures=figures,
      **{name: plan.run[name] for name in ('resamples',) if name in plan.run})
  places = [str(folder / 'results.zarr'), str(folder / 'summary.json')]
  return f'\n{text}\n\n' + ', '.join(places + [f'{folder / "figures"}/*.png'] * figures)


def merge(folders: Sequence[str | os.PathLike], out: str | os.PathLike, *,
          figures: bool = True) -> str:
  """Joins the shards of a study into the folder `out`, and answers it.

  Raises:
    ValueError: folders of different configurations, the same cell in two of them, or a cell in
      none; names the cells. FileNotFoundError: a folder without a study.
  """
  folders, out = [pathlib.Path(f) for f in folders], pathlib.Path(out)
  settings = shards.settings_of(folders, _defaults)
  kind = kind_of(settings)
  plan = module(kind.plan).from_settings(settings, preset=settings)  # as recorded: nobody's choice
  run = module(kind.run)
  if absent := [name for name in run.record(plan) if name not in settings]:
    note(f'{folders[0]} is of another version, without {", ".join(absent)}, taken as the default')
  shards.check_cells(run.wanted(plan), {f: run.held(plan, f) for f in folders})
  shards.copy(folders, out, run.FOLDERS, run.FILES, run.record(plan), run.defaults())
  dataset = run.run(plan, out)
  return answer(kind, plan, dataset, out, figures=figures)


def _defaults(settings: dict[str, Any]) -> dict[str, Any]:
  """Defaults of what decides the results of the study that settings ask for."""
  if kind_of(settings).launcher == 'train':
    raise ValueError(f'{settings["name"]!r} is one training: it has no shards to merge')
  return module(kind_of(settings).run).defaults()
