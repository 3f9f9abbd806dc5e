"""What the programs in launch/ share: their flags, and the plan that a configuration asks for.

absl is imported by them alone, which have to define their flags with it.
"""

import ast
import contextlib
from typing import Any

from mmalign_jax import cache, early
from mmalign_jax.cli.sweep import flag_error, with_known_configs


def parse(flags, argv: list[str]) -> list[str]:
  """absl's parser, its errors as one line each.

  Args:
    flags: absl's FLAGS. argv: of the process, its name first.

  Raises:
    ValueError: one line that names the flag.
  """
  from absl.flags import Error
  argv = cache.taken(with_known_configs(argv))
  early.refuse(numbers(argv))  # a configuration's own defaults are slow to import
  try:
    return flags(argv)
  except (Error, AttributeError, KeyError, TypeError) as error:
    raise ValueError(flag_error(error, argv)) from error


def numbers(argv: list[str]) -> dict[str, Any]:
  """Settings by name that flags give a number or several, as --config.lam=0.5."""
  found = {}
  for flag, after in zip(argv, [*argv[1:], '']):
    name, given, value = flag.partition('=')
    if name.lstrip('-').startswith('config.') and name.startswith('-'):
      with contextlib.suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        found[name.partition('.')[2]] = ast.literal_eval(value if given else after)
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
