"""The `mmalign` command: studies and exact tables from a shell, errors in one line.

  mmalign sweep --config=configs/strength.py:quick --workdir=DIR
  mmalign generator --name=bits --redundancy=4 --level=0 [--json]
"""

import argparse
import json
import pathlib
import runpy
import signal
import sys
from typing import Callable

from mmalign_jax import checks
from mmalign_jax.data import exact, synthetic
from mmalign_jax.training.study import defaults
from mmalign_jax.types import Hyper, Spec, lookup

_PACKAGE = pathlib.Path(__file__).resolve().parent
_INTERRUPTED = 'stopped; every finished chunk is safe, and the same command continues from there'


def main(argv: list[str] | None = None) -> int:
  """Entry point of `mmalign`; returns the exit status."""
  argv = sys.argv[1:] if argv is None else argv
  if not argv or argv[0] in ('-h', '--help'):
    print(__doc__)
    return 0
  if argv[0] not in COMMANDS:
    return guard(lambda: _fail(f'unknown command {argv[0]!r}; known: {", ".join(COMMANDS)}'))
  return guard(lambda: COMMANDS[argv[0]](argv[1:]))


def guard(function: Callable[[], object]) -> int:
  """Runs `function`; wrong input or an interruption ends in one line on standard error."""
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  try:
    function()
    return 0
  except KeyboardInterrupt:
    print(_INTERRUPTED, file=sys.stderr)
    return 130
  except (ValueError, OSError) as error:
    print('error: ' + ' '.join(str(error).split()), file=sys.stderr)
    return 2


def _fail(message: str) -> None:
  raise ValueError(message)


class _Parser(argparse.ArgumentParser):
  """argparse whose errors are ValueErrors, for `guard`."""

  def error(self, message: str):
    raise ValueError(f'{self.prog}: {message}')


# -- sweep ---------------------------------------------------------------------------------------


def sweep(argv: list[str]) -> None:
  """Runs launch/sweep.py, wherever it was installed."""
  sys.argv = ['mmalign sweep', *argv]
  try:
    runpy.run_path(str(locate('launch/sweep.py')), run_name='__main__')
  except SystemExit as stop:
    if stop.code:
      sys.exit(stop.code)


def locate(path: str) -> pathlib.Path:
  """A file of the project by its path from the root: here, in the checkout, or in the package."""
  for root in (pathlib.Path(), _PACKAGE.parent, _PACKAGE):
    if (root / path).is_file():
      return root / path
  raise FileNotFoundError(f'{path}: no such file')


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
    found.append(prefix + str(locate(path)) + colon + rest)
  return found


def flag_error(error: Exception, argv: list[str]) -> str:
  """One line for what absl or ml_collections says; an unknown setting lists the known ones."""
  text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
  lines = text.strip().splitlines() or [type(error).__name__]
  # A config file that raises comes with its whole traceback: what it said is the last line.
  text = lines[-1].removeprefix('ValueError: ') if 'Traceback' in text else lines[0]
  if isinstance(error, (AttributeError, KeyError)) and any('--config.' in a for a in argv):
    asked = [a.partition('=')[0].removeprefix('--config.') for a in argv if '--config.' in a]
    unknown = [name for name in asked if name not in defaults()]
    if unknown:
      return f'--config.{unknown[0]}: unknown setting; known: {", ".join(sorted(defaults()))}'
  return text


# -- generator -----------------------------------------------------------------------------------


def generator(argv: list[str]) -> None:
  """Prints the exact information (nats) and Bayes accuracies of a generator's setting."""
  args = _generator_arguments(argv)
  made = lookup(synthetic.GENERATORS, args.pop('name'), 'generator')
  as_json, given = args.pop('json'), {k: v for k, v in args.items() if v is not None}
  name = next(n for n, g in synthetic.GENERATORS.items() if g is made)
  for field in given:
    if field not in made.settings:
      raise ValueError(f'--{field}={given[field]:g} is not a setting of generator {name!r}, '
                       f'which reads {", ".join(made.settings)}')
  given.setdefault('redundancy', 4 if name == 'bits' else 0.3)
  hyper = Hyper(**given)
  checks.check(Spec(generator=name), hyper)
  known = {k: v.item() for k, v in
           vars(exact.information(made, made.tables(Spec()), hyper)).items()}
  print(json.dumps(known) if as_json else _generator_table(name, given, known))


def _generator_arguments(argv: list[str]) -> dict:
  parser = _Parser(prog='mmalign generator', description=generator.__doc__, allow_abbrev=False)
  parser.add_argument('--name', default='bits', help='bits or atoms')
  for field, text in (
      ('redundancy', 'bits: shared task bits 0..8; atoms: nats'),
      ('level', 'bits: difficulty 0..9'),
      ('unique_1', 'atoms: nats'), ('unique_2', 'atoms: nats'), ('synergy', 'atoms: nats'),
      ('mismatched', 'share of pairs whose x2 is unrelated'),
      ('flipped', 'probability that a shared bit of x2 is flipped')):
    parser.add_argument(f'--{field}', type=float, help=text)
  parser.add_argument('--json', action='store_true', help='one JSON object')
  return vars(parser.parse_args(argv))


def _generator_table(name: str, given: dict, known: dict) -> str:
  setting = ', '.join(f'{k} {v:g}' for k, v in given.items())
  rows = [(k, f'{v:.5f} nats' if k.startswith('mi') else f'{v:.5f}' if 'accuracy' in k
           else f'{v} task bits') for k, v in known.items()]
  return '\n'.join([f'{name}: {setting}', *(f'  {k:<18}{v}' for k, v in rows)])


COMMANDS = {'sweep': sweep, 'generator': generator}


if __name__ == '__main__':
  sys.exit(main())
