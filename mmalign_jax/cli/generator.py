"""mmalign generator: what is exactly known of a generator's setting, its atoms included."""

from collections.abc import Mapping
import json

import jax
import numpy as np

from mmalign_jax import checks
from mmalign_jax.cli import Parser
from mmalign_jax.generators import exact, joint, synthetic
from mmalign_jax.information import ATOMS
from mmalign_jax.named import traced_fields
from mmalign_jax.types import Hyper, Spec, lookup

_NOT_ASKED = ('transform_depth', 'n_train')  # of samples: they change nothing that is known
_WORDS = {'mismatched': 'share of pairs whose x2 is unrelated', 'level': 'difficulty',
          'flipped': 'probability that a shared bit of x2 is flipped'}


def run(argv: list[str]) -> None:
  """Prints the exact information and atoms (nats) and Bayes accuracies of a generator's setting."""
  args = _arguments(argv)
  name, as_json = args.pop('name'), args.pop('json')
  made = lookup(synthetic.GENERATORS, name, 'generator')
  given = {k: v for k, v in args.items() if v is not None}
  for field in given:
    if field not in made.settings:
      raise ValueError(f'--{field}={given[field]:g} is not a setting of generator {name!r}, '
                       f'which reads {", ".join(made.settings)}')
  if 'redundancy' in made.settings:
    given.setdefault('redundancy', made.start.get('redundancy', Hyper.redundancy))
  given = {k: v for k, v in made.start.items() if k not in given} | given
  for field, value in given.items():
    checks.check_field(field, np.asarray(value, np.float64), *checks.range_of(field, made.ranges))
  hyper, tables = Hyper(**given), made.tables(Spec(generator=name))
  compiled = jax.jit(lambda hyper: exact.information(made, tables, hyper))  # or each step alone
  known = {k: v.item() for k, v in vars(compiled(hyper)).items()}
  atoms = joint.decomposition(made, tables, hyper).atoms()
  known |= {f'pid_{atom}': value.item() for atom, value in zip(ATOMS, atoms)}
  print(json.dumps(known) if as_json else _table(name, given, known))


def _arguments(argv: list[str]) -> dict:
  parser = Parser(prog='mmalign generator', description=run.__doc__, allow_abbrev=False)
  parser.add_argument('--name', default='bits', help=', '.join(synthetic.GENERATORS))
  for field in traced_fields():
    readers = {name: row for name, row in synthetic.GENERATORS.items() if field in row.settings}
    if readers and field not in _NOT_ASKED:
      parser.add_argument(f'--{field}', type=float, help=_help(field, readers))
  parser.add_argument('--json', action='store_true', help='one JSON object')
  return vars(parser.parse_args(argv))


def _help(field: str, readers: Mapping[str, synthetic.Generator]) -> str:
  """What a setting is to each generator that reads it."""
  def of(row: synthetic.Generator) -> str:
    low, high, _ = checks.range_of(field, row.ranges)
    said, units = row.words.get(field, (_WORDS.get(field, ''), ''))
    bounds = f'at least {low:g}' if np.isinf(high) else f'{low:g}..{high:.3g}'
    return ' '.join(f'{said} {bounds} {units}'.split())
  said = {name: of(row) for name, row in readers.items()}
  return next(iter(said.values())) if len({*said.values()}) == 1 and len(said) > 1 else '; '.join(
      f'{name}: {words}' for name, words in said.items())


def _table(name: str, given: dict, known: dict) -> str:
  setting = ', '.join(f'{k} {v:g}' for k, v in given.items())
  rows = [(k, f'{v:.5f} nats' if k.startswith(('mi', 'pid')) else f'{v:.5f}' if 'accuracy' in k
           else f'{v} task bits') for k, v in known.items()]
  return '\n'.join([f'{name}: {setting}', *(f'  {k:<18}{v}' for k, v in rows)])
