"""mmalign generator: its options, whose errors and help do not wait for JAX."""

from collections.abc import Mapping
import importlib
import json
import math
import sys

import numpy as np

from mmalign_jax import names, settings
from mmalign_jax.cli import Parser
from mmalign_jax.names import Described
from mmalign_jax.ranges import lookup


def run(argv: list[str]) -> None:
  """Prints the exact information and atoms (nats) and Bayes accuracies of a generator's setting."""
  rows = _rows()
  args = _arguments(argv, rows)
  name, as_json = args.pop('name'), args.pop('json')
  row: Described = lookup(rows, name, 'generator')
  given = {field: value for field, value in args.items() if value is not None}
  for field in given:
    if field not in row.reads:
      raise ValueError(f'--{field}={given[field]:g} is not a setting of generator {name!r}, '
                       f'which reads {", ".join(row.reads)}')
  given = {field: value for field, value in row.start.items() if field not in given} | given
  for field, value in given.items():
    if field in row.settings:  # or it is of a row's own start, and asked of no one
      settings.check_field(field, np.asarray(value, np.float64), *row.settings[field].range)
  known = _slow().known(name, given)
  print(json.dumps(known) if as_json else _table(name, given, known))


def _rows() -> Mapping[str, Described]:
  """Of the registry, where it is loaded: it may have rows of the user's own."""
  loaded = 'mmalign_jax.generators.synthetic' in sys.modules
  return _slow().described() if loaded else names.GENERATORS


def _slow():
  return importlib.import_module('mmalign_jax.cli.generator.known')


def _arguments(argv: list[str], rows: Mapping[str, Described]) -> dict:
  parser = Parser(prog='mmalign generator', description=run.__doc__, allow_abbrev=False)
  parser.add_argument('--name', default='bits', help=', '.join(rows))
  for field in dict.fromkeys(field for row in rows.values() for field in row.settings):
    parser.add_argument(f'--{field}', type=float, help=_help(field, rows))
  parser.add_argument('--json', action='store_true', help='one JSON object')
  return vars(parser.parse_args(argv))


def _help(field: str, rows: Mapping[str, Described]) -> str:
  """What a setting is to each generator that reads it."""
  def of(row: Described) -> str:
    (low, high, _), words, units = row.settings[field]
    bounds = f'at least {low:g}' if math.isinf(high) else f'{low:g}..{high:.3g}'
    return ' '.join(f'{words} {bounds} {units}'.split())
  said = {name: of(row) for name, row in rows.items() if field in row.settings}
  return next(iter(said.values())) if len({*said.values()}) == 1 and len(said) > 1 else '; '.join(
      f'{name}: {words}' for name, words in said.items())


def _table(name: str, given: dict, known: dict) -> str:
  setting = ', '.join(f'{k} {v:g}' for k, v in given.items())
  rows = [(k, f'{_five(v)} nats' if k.startswith(('mi', 'pid')) else _five(v) if 'accuracy' in k
           else f'{v} task bits') for k, v in known.items()]
  return '\n'.join([f'{name}: {setting}', *(f'  {k:<18}{v}' for k, v in rows)])


def _five(value: float) -> str:
  return f'{round(value, 5) + 0.0:.5f}'  # no -0
