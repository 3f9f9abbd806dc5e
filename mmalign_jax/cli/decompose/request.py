"""What `mmalign decompose` is asked: its arguments, checked before anything is read."""

import argparse
import contextlib
import dataclasses
import pathlib
import warnings

from mmalign_jax import names
from mmalign_jax.cli import Parser, figure_path
from mmalign_jax.data.files import reading
from mmalign_jax.data.files.reading import Reading

QUANTISE = ('auto', 'kmeans', 'quantiles', 'categories')
_MOST = 100_000   # permutations and resamples
_MOST_CELLS = 200
_READING = ('group', 'id', 'task', 'classes', 'missing', 'layers', 'pool', *reading.OF_TABLES)
_METHODS = 'information.lattice.METHODS'
_SIDES = tuple(f'x{k}' for k in range(1, 10))
_OF_SAMPLES = ('cells', 'quantise', 'label_cells', 'null', 'bootstrap', 'no_check', 'seed')

DESCRIPTION = """\
What two sources tell of a label: what both tell (redundancy), what only one tells (unique_1,
unique_2), and what only both together tell (synergy). The decomposition is that of Bertschinger et
al. (2014), BROJA, exact to a certified gap.

Of a table of probabilities p[x1, x2, y]:
  --table=FILE.npy                        or FILE.npz:KEY, .h5, .mat, .safetensors

Of samples: features [samples, columns] of each side and a label, row i the same sample in all.
  --x1=FILE --x2=FILE --y=FILE            .npy, .csv, .npz:KEY, .pkl:KEY, ...; --x3 and more: every
                                          pair, and each side against the rest
  --data=FOLDER --x1=NAME --x2=NAME       views of one folder or file, as in `mmalign sweep`
Features become a few cells, and what that loses is seen beside: the informations by nearest
neighbours and by a held-out classifier. Every atom comes with its bias corrected, a permutation
null, an interval and a verdict. Labels that are text, or whole numbers of at most a third as many
values as samples, are classes (or say --task, --classes); other numbers are cut at quantiles.
"""
EPILOG = """\
examples:
  mmalign decompose --table=joint.npy --units=bits
  mmalign decompose --x1=image.npy --x2=text.npy --y=label.csv --figure=atoms.png
  mmalign decompose --data=mosi_utterance --x1=text --x2=audio --x3=video --json
"""


@dataclasses.dataclass(frozen=True)
class Request:
  """table, or sides by name and y (in `data` where that is given); reading: of files, group, id: of
  their rows; '' for none; the rest as asked."""
  table: str
  data: str
  sides: dict[str, str]
  y: str
  method: str
  units: str
  tol: float | None
  cells: tuple[int, ...] | None
  quantise: str
  label_cells: int
  null: int
  bootstrap: int
  check: bool
  seed: int
  reading: Reading
  group: str
  id: str
  as_json: bool
  figure: pathlib.Path | None


def parse(argv: list[str]) -> Request:
  """The request of a command line.

  Raises:
    ValueError, OSError: one line that names the argument and its value.
  """
  parser = _parser()
  args = parser.parse_args(argv)
  sides = {name: getattr(args, name) for name in _SIDES if getattr(args, name)}
  _check_sources(args, sides, parser)
  methods = names.of(_METHODS)
  if args.method not in methods:
    raise ValueError(f'--method={args.method} is unknown; known: {", ".join(methods)}')
  if args.method != 'broja' and not args.table:
    raise ValueError(f'--method={args.method} needs --table; samples are decomposed by broja')
  if args.tol is not None and not args.tol > 0:
    raise ValueError(f'--tol={args.tol:g} must be above 0')
  if args.tol is not None and not args.table:
    raise ValueError(f'--tol={args.tol:g} needs --table; samples have a gap of their own')
  for name, least, most in (('null', 1, _MOST), ('bootstrap', 20, _MOST), ('label_cells', 2, 50)):
    value = getattr(args, name)
    if value and not least <= value <= most or value < 0 or (name == 'label_cells' and not value):
      zero = '' if name == 'label_cells' else '0 or '
      raise ValueError(f'--{name}={value} must be {zero}in {least}..{most}')
  if not 0 <= args.seed < 2**32:
    raise ValueError(f'--seed={args.seed} is not in 0..2**32-1')
  return Request(args.table, args.data, sides, args.y, args.method, args.units, args.tol,
                 _cells(args.cells, len(sides)), args.quantise, args.label_cells, args.null,
                 args.bootstrap, not args.no_check, args.seed, reading.of(args), args.group,
                 args.id, args.json, figure_path(args.figure))


def _parser() -> argparse.ArgumentParser:
  parser = Parser(prog='mmalign decompose', description=DESCRIPTION, epilog=EPILOG,
                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('--table', default='', metavar='FILE', help='p[x1, x2, y], sum 1')
  add('--data', default='', metavar='FOLDER', help='where x1, x2, ... and y are names, not files')
  for name in _SIDES:
    add(f'--{name}', metavar='FILE', help='features of a side' if name in ('x1', 'x2', 'x3')
        else argparse.SUPPRESS)
  add('--y', default='', metavar='FILE', help='labels')
  add('--method', default='broja', help=f'of a table: {", ".join(names.of(_METHODS))} (broja)')
  add('--units', default='nats', choices=('nats', 'bits'), help='(nats)')
  add('--tol', type=float, help='largest gap of a table that is accepted (1e-6 nats)')
  add('--cells', metavar='K', help='cells of every side, or one number a side: 8,6; by default so '
      'many that the table has a sample an entry, 2 to 20')
  add('--quantise', default='auto', choices=QUANTISE, help='auto: categories where at most 20 rows '
      'are distinct, quantiles of a single column, else kmeans on 5 principal components')
  add('--label_cells', type=int, default=4, metavar='K',
      help='quantiles of a label that is no class (4)')
  add('--null', type=int, default=200, metavar='P', help='permutations of each kind (200); 0 for '
      'none')
  add('--bootstrap', type=int, default=200, metavar='B', help='resamples for 95 %% intervals '
      '(200); 0 for none')
  add('--no-check', action='store_true', help='no other estimators beside')
  add('--seed', type=int, default=0, help='0..2**32-1 (0)')
  add('--json', action='store_true', help='one JSON object instead of text')
  add('--figure', metavar='FILE', help='.png, .pdf or .svg')
  reading.add_arguments(parser, _READING)
  return parser


def _check_sources(args: argparse.Namespace, sides: dict[str, str],
                   parser: argparse.ArgumentParser) -> None:
  unread = [*(name for name in (*reading.of(args).given(), 'group', 'id') if getattr(args, name)),
            *(name for name in _OF_SAMPLES if getattr(args, name) != parser.get_default(name))]
  if args.table and unread:
    raise ValueError(f'--table={args.table}: a table needs no --'
                     f'{"no-check" if unread[0] == "no_check" else unread[0]}')
  if args.table and (sides or args.y or args.data):
    extra = next(iter([*sides, *(['y'] if args.y else []), 'data']))
    raise ValueError(f'--table={args.table}: a table needs no --{extra}')
  if args.table:
    return
  if len(sides) < 2:
    raise ValueError('--x1 and --x2 (and --y), or --table, must say what to decompose')
  if not args.y and not args.data:
    raise ValueError('--y: labels are needed')


def _cells(text: str | None, sides: int) -> tuple[int, ...] | None:
  """One number a side."""
  if text is None:
    return None
  try:
    cells = tuple(int(part) for part in text.split(','))
  except ValueError:
    cells = ()
  cells = cells * sides if len(cells) == 1 else cells
  if len(cells) != sides or not all(2 <= k <= _MOST_CELLS for k in cells):
    raise ValueError(f'--cells={text} must be a whole number in 2..{_MOST_CELLS}, or {sides} of '
                     'them with commas')
  return cells


@contextlib.contextmanager
def warnings_as(notes: list[str]):
  """Warnings as notes for the user."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', UserWarning)
    yield
  notes += [str(warning.message) for warning in caught]
