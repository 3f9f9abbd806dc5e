"""Runs every objective in a folder of its own; what is finished stays, and the same call goes on.

DIR/[SET/]unaligned holds strength 0, which all share; DIR/[SET/]tuning the choice of settings for
it, where they are tuned: every objective is judged with the settings that are best without it.
DIR/config.json says what the folder is of.
"""

import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

from mmalign_jax.runs import folder, shards
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.studies.objectives import atoms
from mmalign_jax.studies.objectives.plan import KIND, Case, Plan
from mmalign_jax.studies.strength import references, run as strength, tuning

if TYPE_CHECKING:  # slow to import
  import xarray as xr

SET = 'set'  # attribute of a data set: what its case is called


def run(plan: Plan, workdir: str | os.PathLike, *, shard: tuple[int, int] = (1, 1),
        progress: bool = True) -> 'dict[str, xr.Dataset] | None':
  """Trains what `workdir` does not hold yet and writes results.zarr, of every set in its folder.

  Args:
    plan: what to run. workdir, shard, progress: as of `strength.run.run_study`; shards share one
      folder.

  Returns:
    {set: data set with the dimension `objective`}, or None where cells of other shards are missing.

  Raises:
    ValueError: a folder holds another configuration, or is in use. OSError: one line that says what
      is safe.
  """
  _begin(plan, pathlib.Path(workdir))
  found = {}
  for label, case in plan.cases.items():
    place = pathlib.Path(workdir) / label.replace(' ', '_')
    parts = _parts(case, place, shard, progress)
    if parts is None:
      continue
    with folder.finishing(place):  # shards may come here together
      found[label] = _whole(case, place, *parts).assign_attrs({SET: label, 'name': plan.name})
      write_dataset(found[label], place / 'results.zarr')
  return found if len(found) == len(plan.cases) else None


def _begin(plan: Plan, workdir: pathlib.Path) -> None:
  """Says in `workdir` what it is of, by which it is reported. Nothing is claimed here: every part
  claims its own folder, and objectives may be added later.

  Raises:
    ValueError: it is of another study.
  """
  path = workdir / 'config.json'
  there = folder.read_json(path) if path.exists() else {'study': KIND}
  study = there.get('study', 'strength') if isinstance(there, dict) else None
  if study != KIND:
    raise ValueError(f'{workdir} holds another configuration (study: {study!r} there, {KIND!r} '
                     'now); choose another workdir')
  workdir.mkdir(parents=True, exist_ok=True)
  names = list(next(iter(plan.cases.values())).parts)
  for place, held in ((path, {'study': KIND, 'name': plan.name, 'objectives': names}),
                      (workdir / shards.LATEST, {**plan.settings, **plan.run})):
    folder.write_whole(place, json.dumps(held, indent=1, default=float).encode())


def _parts(case: Case, place: pathlib.Path, shard: tuple[int, int],
           progress: bool) -> 'tuple[list[xr.Dataset], tuning.Choices] | None':
  """Strength 0 and every objective on one data set, and the settings that all of them use; None
  where cells are missing."""
  choices: tuning.Choices = {}
  if case.unaligned.tuned:
    stage = tuning.baseline(case.unaligned)
    place.mkdir(parents=True, exist_ok=True)
    with folder.choosing(place):  # the first shard of a folder, while the others wait
      dataset = strength.run_study(stage, _tuning(place), progress=progress)
    assert dataset is not None  # of one shard it is whole
    choices = tuning.choose(dataset, case.unaligned)
  made = [strength.run_study(_chosen(study, choices), place / name, shard=shard, progress=progress)
          for name, study in {'unaligned': case.unaligned, **case.parts}.items()]
  whole = [one for one in made if one is not None]
  return (whole, choices) if len(whole) == len(made) else None


def _tuning(place: pathlib.Path) -> pathlib.Path:
  """Folder of the tuning; of a version before, in which every shard had its own, one that is
  done."""
  older = sorted(place.glob('tuning_*_of_*/results.zarr'))
  return older[0].parent if older and not (place / 'tuning').exists() else place / 'tuning'


def _whole(case: Case, place: pathlib.Path, whole: 'list[xr.Dataset]',
           choices: tuning.Choices) -> 'xr.Dataset':
  """One data set of `_parts`, with linear references."""
  joined = _joined(whole[0], dict(zip(case.parts, whole[1:])))
  return joined.assign_attrs({
      'tuning': json.dumps(_rows(choices)),
      references.LINEAR: json.dumps(references.in_folder(
          case.loaded, case.unaligned.axes,
          case.unaligned.settings.get('data_fingerprint', ''), place)),
      atoms.ATTRIBUTE: json.dumps(_atoms(case, place))})


def _chosen(study: Any, choices: tuning.Choices) -> Any:
  if not choices:
    return study
  plain = {str(budget): dict(choice) for budget, choice in choices.items()}
  with_them = {budget: {k: v for k, v in choice.items() if k != 'validation'}
               for budget, choice in choices.items()}
  return tuning.part(study, study.axes, with_them,
                     settings=study.settings | {'choices': plain})


def _rows(choices: tuning.Choices) -> list[dict[str, float]]:
  return [{tuning.BUDGET: budget, **choice} for budget, choice in choices.items()]


def _joined(zero: 'xr.Dataset', others: 'dict[str, xr.Dataset]') -> 'xr.Dataset':
  """Strength 0 before the strengths of every objective, with the dimension `objective`."""
  import xarray as xr
  made = []
  for one in others.values():
    whole = xr.concat([_like(zero, one), one], 'lam', data_vars='all', coords='minimal',
                      compat='override', combine_attrs='override', join='override')
    made.append(whole.assign_attrs(one.attrs))
  joined = xr.concat(made, 'objective', data_vars='all', coords='minimal', compat='override',
                     combine_attrs='override', join='override')
  names = ('objective', list(others), {'long_name': 'objective', 'units': '1'})
  first = next(iter(others.values()))
  joined = joined.assign_coords(objective=names).transpose(
      'objective', *map(str, first['accuracy_1'].dims), ...)
  for name in first.dims:
    joined[name].attrs |= first[name].attrs
  return joined


def _like(zero: 'xr.Dataset', one: 'xr.Dataset') -> 'xr.Dataset':
  """Strength 0 over the dimensions of the others: guard and lam_mode say nothing there."""
  more = {name: one[name] for name in one.dims if name not in zero.dims}
  return zero.expand_dims({name: value.values for name, value in more.items()}) if more else zero


def _atoms(case: Case, place: pathlib.Path) -> dict[str, Any]:
  """The information atoms of the pair, kept beside the rest; {} where none are asked for."""
  read = case.read
  if not case.atoms or read is None:
    return {}
  asked = {'draws': case.atoms, 'data': case.unaligned.settings['data_fingerprint']}
  return references.kept(place / 'information.json', asked, 'atoms',
                         lambda: atoms.estimate(read(), case.atoms))
