"""What the programs in launch/ share: their flags, and the plan that a configuration asks for.

absl is imported by them alone, which have to define their flags with it.
"""

import contextlib
import pathlib
from typing import Any

from mmalign_jax import cache, early
from mmalign_jax.cli import register
from mmalign_jax.cli.sweep import HOME, flag_error, values, with_known_configs


def parse(flags, argv: list[str]) -> list[str]:
  """absl's parser, its errors as one line each; leading --register=FILE.py are run first.

  Args:
    flags: absl's FLAGS. argv: of the process, its name first.

  Raises:
    ValueError: one line that names the flag, or of `register.taken`.
  """
  from absl.flags import Error
  argv = cache.taken(with_known_configs([*argv[:1], *register.taken(argv[1:])]))
  if of_package(argv):
    early.refuse(numbers(argv))  # a configuration's own defaults are slow to import
  try:
    return flags(argv)
  except (Error, AttributeError, KeyError, TypeError) as error:
    raise ValueError(flag_error(error, argv)) from error


def of_package(argv: list[str]) -> bool:
  """Whether --config is one of the package's, and no study is registered that takes its place."""
  paths = [path.partition(':')[0] for path in values(argv, 'config')]
  return bool(paths) and not register.loaded and all(
      pathlib.Path(path).resolve().parent == (HOME / 'configs').resolve() for path in paths)


def numbers(argv: list[str]) -> dict[str, tuple[float, ...]]:
  """Numbers by name of the settings that `early` judges, as --config.lam=0.5 gives them."""
  found = {}
  names = (flag.lstrip('-').partition('=')[0].removeprefix('config.') for flag in argv)
  for name in filter(early.rule_of, dict.fromkeys(names)):  # in their order: the first is refused
    for value in values(argv, f'config.{name}'):
      with contextlib.suppress(ValueError):
        found[name] = tuple(map(float, filter(None, value.strip('() ').split(','))))
  return found


def check_given(flags, doc: str | None) -> None:
  """Whether there is a --config and a --workdir; doc: of the program, "what it does: an example".

  Raises:
    ValueError: one of them is missing.
  """
  for name in ('config', 'workdir'):
    if flags[name].value is None:
      raise ValueError(f'--{name} is missing; for example {(doc or "").partition(": ")[2]}')


def planned(flags, command: str) -> tuple[Any, Any]:
  """The kind of study that --config names, and its plan, whose notes are printed.

  Raises:
    ValueError: one line that names the setting, or that it is of another command.
  """
  from mmalign_jax.cli import preset
  from mmalign_jax.studies import registry  # slow to import: what is refused comes first
  settings = flags.config.to_dict()
  if flags.data_dir:
    settings['data_dir'] = flags.data_dir
  study = registry.study_of(settings, command)
  plan = study.from_settings(settings, preset=preset.names(flags['config']))
  print(*plan.notes, sep='\n', end='\n' if plan.notes else '')
  return study, plan
