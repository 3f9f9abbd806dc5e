"""Kinds of study by name: built from settings, run in a folder, merged from shards, answered."""

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
import importlib
import os
import pathlib
from typing import Any, cast

from mmalign_jax.reports.document import Document
from mmalign_jax.runs import folder as runs, shards
from mmalign_jax.runs.damage import note
from mmalign_jax.studies.protocol import Plan, Reported, Sharded, Study
from mmalign_jax.types import lookup

RESAMPLES = 2000  # of a bootstrap, where a folder does not say


class Rooms(MutableMapping[str, Study]):
  """Studies by name; one of the package's own is loaded when it is first asked for."""

  def __init__(self, *names: str):
    self._found: dict[str, Study | None] = dict.fromkeys(names)

  def __getitem__(self, name: str) -> Study:
    if (study := self._found[name]) is None:
      study = importlib.import_module(f'mmalign_jax.studies.{name}.study')
      self._found[name] = cast(Study, study)
    return cast(Study, study)

  def __setitem__(self, name: str, study: Study) -> None:
    self._found[name] = study

  def __delitem__(self, name: str) -> None:
    del self._found[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._found)

  def __len__(self) -> int:
    return len(self._found)


STUDIES = Rooms('strength', 'emergence', 'train', 'objectives', 'zoo')


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


def report(folder: pathlib.Path, figures: pathlib.Path) -> Document:
  """The report of a folder of finished results, of whatever study; pictures are drawn into
  `figures`.

  Raises:
    FileNotFoundError: no study there, or it has no results yet. ValueError: they cannot be read, or
      the study has no report.
  """
  path = folder / 'config.json'
  if not path.exists():
    raise FileNotFoundError(f'{folder}: no study there (config.json is missing)')
  settings = runs.read_json(path)
  if not isinstance(settings, dict):
    raise ValueError(f'{path}: damaged; it holds no settings')
  study = study_of(settings)
  if not isinstance(study, Reported):
    raise ValueError(f'{folder}: study {settings["study"]!r} makes no report from its folder')
  latest = folder / shards.LATEST
  run = runs.read_json(latest, 'remove it') if latest.exists() else {}
  resamples = run.get('resamples', RESAMPLES) if isinstance(run, dict) else RESAMPLES
  return study.report(folder, figures, resamples=RESAMPLES if type(resamples) is not int
                      else min(max(resamples, 20), 10**5))


def merge(folders: Sequence[str | os.PathLike], out: str | os.PathLike, *,
          figures: bool = True) -> str:
  """Joins the shards of a study into the folder `out`, and answers it.

  Raises:
    ValueError: folders of different configurations, or of data or measures that have changed since;
      the same cell in two of them, or a cell in none; names the cells. FileNotFoundError: a folder
      without a study.
  """
  folders, out = [pathlib.Path(f) for f in folders], pathlib.Path(out)
  settings = shards.settings_of(folders, lambda settings: _sharded(settings).deciding())
  study = _sharded(settings)
  known = study.defaults()
  older = {name: value for name, value in study.deciding().items()  # what was, before it was asked
           if name in known and name not in settings and known[name] != value}
  plan = study.from_settings(settings | older, preset=tuple(settings | older))  # nobody's choice
  record, held = study.record(plan), runs.read_json(folders[0] / 'config.json')
  _refuse_other_data(folders[0], held, record)
  if absent := [name for name in record if name not in settings and name not in held]:
    note(f'{folders[0]} is of another version, without {", ".join(absent)}, taken as the default')
  shards.check_cells(study.wanted(plan), {f: study.held(plan, f) for f in folders})
  shards.copy(folders, out, study.FOLDERS, study.FILES, record, study.deciding())
  return answer(study, plan, study.run(plan, out), out, figures=figures)


def _refuse_other_data(path: pathlib.Path, held: Mapping[str, Any],
                       record: Mapping[str, Any]) -> None:
  """Raises ValueError where data or measures are no longer those that a folder is of."""
  for name in shards.PRINTS:
    there, now = held.get(name), runs.plain(dict(record)).get(name)
    if name in held and there != now:
      raise ValueError(f'{path}: what it was made of has changed since ({name}: {there!r} there, '
                       f'{now!r} now); put that back, or run all shards again in other folders')


def _sharded(settings: Mapping[str, Any]) -> Sharded:
  study = study_of(settings)
  if not isinstance(study, Sharded):
    raise ValueError(f'{settings["name"]!r} is one {settings.get("study", "strength")}: it has no '
                     'shards to merge')
  return study
