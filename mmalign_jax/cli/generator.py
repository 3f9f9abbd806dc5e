"""mmalign generator: what is exactly known of a generator's setting, its atoms included."""

import json

from mmalign_jax import checks
from mmalign_jax.cli import Parser
from mmalign_jax.data import exact, joint, synthetic
from mmalign_jax.information import ATOMS
from mmalign_jax.types import Hyper, Spec, lookup


def run(argv: list[str]) -> None:
  """Prints the exact information and atoms (nats) and Bayes accuracies of a generator's setting."""
  args = _arguments(argv)
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
  tables = made.tables(Spec())
  known = {k: v.item() for k, v in vars(exact.information(made, tables, hyper)).items()}
  atoms = joint.decomposition(made, tables, hyper).atoms()
  known |= {f'pid_{atom}': value.item() for atom, value in zip(ATOMS, atoms)}
  print(json.dumps(known) if as_json else _table(name, given, known))


def _arguments(argv: list[str]) -> dict:
  parser = Parser(prog='mmalign generator', description=run.__doc__, allow_abbrev=False)
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


def _table(name: str, given: dict, known: dict) -> str:
  setting = ', '.join(f'{k} {v:g}' for k, v in given.items())
  rows = [(k, f'{v:.5f} nats' if k.startswith(('mi', 'pid')) else f'{v:.5f}' if 'accuracy' in k
           else f'{v} task bits') for k, v in known.items()]
  return '\n'.join([f'{name}: {setting}', *(f'  {k:<18}{v}' for k, v in rows)])
