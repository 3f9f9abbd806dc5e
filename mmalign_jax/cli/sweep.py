"""mmalign sweep, mmalign train: a study, run by launch/sweep.py or launch/train.py."""

import pathlib
import runpy
import sys

from mmalign_jax.data.files.formats import guard
from mmalign_jax.ranges import listed
from mmalign_jax.runs.damage import note

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
# Where launch/ and configs/ lie: inside the package once installed, beside it in a checkout.
HOME = _PACKAGE if (_PACKAGE / 'launch').is_dir() else _PACKAGE.parent


def run(argv: list[str], name: str = 'sweep') -> None:
  """Runs launch/NAME.py of the package, never one of the folder that one stands in."""
  sys.argv = [f'mmalign {name}', *argv]
  try:
    runpy.run_path(str(HOME / 'launch' / f'{name}.py'), run_name='__main__')
  except SystemExit as stop:
    if stop.code:
      sys.exit(stop.code)


def config(path: str) -> pathlib.Path:
  """The file of settings that --config names; it is code, and is run.

  A lone name, as strength, is one of the package's. A path that begins with /, ./ or ../ is the
  user's own. Any other is the package's where it has such a file, so that nothing is run by
  surprise that lies in the folder one stands in.

  Raises:
    FileNotFoundError: neither has it.
  """
  if path.isidentifier() and (HOME / 'configs' / f'{path}.py').is_file():
    return HOME / 'configs' / f'{path}.py'
  own, known = guard.place(path), HOME / path
  bare = known.parent == HOME / 'configs' and not path.startswith('./')
  if not (bare and known.is_file()):
    if own.is_file():
      return own
    names = sorted(file.stem for file in (HOME / 'configs').glob('[!_]*.py'))
    raise FileNotFoundError(f'--config={path}: no such file; {listed(own.stem, names)}')
  if own.is_file() and own.read_bytes() != known.read_bytes():
    note(f'--config={path} is that of the package; ./{path} is the one in this folder')
  return known


def with_known_configs(argv: list[str]) -> list[str]:
  """The arguments with the path of --config made to exist wherever the command is run."""
  found = []
  for i, argument in enumerate(argv):
    prefix, value = '', argument
    if argument.startswith(('--config=', '-config=')):
      prefix, _, value = argument.partition('=')
      prefix += '='
    elif not (i and argv[i - 1] in ('--config', '-config')):
      found.append(argument)
      continue
    path, colon, rest = value.partition(':')
    found.append(prefix + str(config(path)) + colon + rest)
  return found


def values(argv: list[str], flag: str) -> list[str]:
  """What --FLAG=VALUE and --FLAG VALUE give, in that order."""
  found = []
  for given, after in zip(argv, [*argv[1:], '']):
    name, equals, value = given.partition('=')
    if name in (f'-{flag}', f'--{flag}'):
      found.append(value if equals else after)
  return found


def flag_error(error: Exception, argv: list[str]) -> str:
  """One line for what absl or ml_collections says; an unknown setting lists the known ones."""
  text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
  lines = text.strip().splitlines() or [type(error).__name__]
  # A config file that raises comes with its whole traceback: what it said is the last line.
  text = lines[-1].removeprefix('ValueError: ') if 'Traceback' in text else lines[0]
  asked = [a.partition('=')[0].removeprefix('--config.') for a in argv if '--config.' in a]
  if isinstance(error, (AttributeError, KeyError)) and asked:
    known = _settings(with_known_configs(argv))
    unknown = [name for name in asked if name not in known]
    if unknown:
      return f'--config.{unknown[0]}: unknown setting; {listed(unknown[0], sorted(known))}'
  for said, meant in _MEANT.items():
    flag, found, _ = text.removeprefix('flag ').partition(f': {said}')
    if found:
      return f'{flag} {meant}'
  return text


_MEANT = {  # what the flags say of a value that they cannot read: what they need
    'invalid literal for int()': 'must be a whole number',
    'could not convert string to float': 'must be a number',
    "('Non-boolean argument to boolean flag'": 'must be True or False',
    'Error while parsing string': "must be values in parentheses, as in '(0, 0.5)'"}


def _settings(argv: list[str]) -> list[str]:
  """The names in the configuration that `argv` asks for."""
  path, _, rest = values(argv, 'config')[0].partition(':')
  return list(runpy.run_path(path)['get_config'](*[rest] if rest else []))
