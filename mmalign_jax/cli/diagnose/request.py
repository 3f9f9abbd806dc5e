"""What `mmalign diagnose` is asked: its arguments, checked before anything is read."""

import argparse
import dataclasses

from mmalign_jax.cli import Parser
from mmalign_jax.data.files import reading
from mmalign_jax.data.files.reading import Reading

LEAST, _MOST = 59, 10_000   # permutations; halves have the same upper bound
_READING = ('group', 'id', 'task', 'classes', 'missing', 'layers', 'pool', *reading.OF_TABLES)

DESCRIPTION = """\
Before any training: of two views of the same samples, would aligning them find what they share,
would predicting one from the other, both, or neither? Seconds, by linear models (Kamai et al.,
arXiv 2606.11190), beside what chance gives.

  --x1=FILE --x2=FILE                     features [samples, columns], row i the same sample: .npy,
                                          .csv, .npz:KEY, .pkl:KEY, ...
  FILE --x1=NAME --x2=NAME                arrays or columns of one file

Without --y every direction that both views share counts as wanted, for nothing in the pairs tells
a signal from a nuisance that both sides have. With --y only those that tell of the label do.
"""
EPILOG = """\
examples:
  mmalign diagnose --x1=image.npy --x2=text.npy
  mmalign diagnose features.npz --x1=image --x2=text --y=y --json
"""


@dataclasses.dataclass(frozen=True)
class Request:
  """x1, x2, y: FILE[:KEY], '' for no label; standardize: columns to deviation 1; reading: of files;
  group, id: of their rows, '' for none; the rest as asked."""
  x1: str
  x2: str
  y: str
  standardize: bool
  components: int | None
  permutations: int
  halves: int
  seed: int
  reading: Reading
  group: str
  id: str
  as_json: bool


def parse(argv: list[str]) -> Request:
  """The request of a command line.

  Raises:
    ValueError, OSError: one line that names the argument and its value.
  """
  args = _arguments(argv)
  if not args.file and not (args.x1 and args.x2):
    raise ValueError('--x1 and --x2 must say which files to look at, or FILE where they are')
  for name, least in (('permutations', LEAST), ('halves', 0), ('components', 1)):
    value = getattr(args, name)
    if value is not None and not least <= value <= _MOST:
      raise ValueError(f'--{name}={value} is not in {least}..{_MOST}')
  if not 0 <= args.seed < 2**32:
    raise ValueError(f'--seed={args.seed} is not in 0..2**32-1')
  if not args.y and (args.task != 'auto' or args.classes):
    raise ValueError(f'--{"classes" if args.classes else "task"} has no effect without --y')
  x1, x2 = (f'{args.file}:{name}' if args.file else name
            for name in (args.x1 or 'x1', args.x2 or 'x2'))
  return Request(x1, x2, args.y, args.standardize, args.components, args.permutations, args.halves,
                 args.seed, reading.of(args), args.group, args.id, args.json)


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = Parser(prog='mmalign diagnose', description=DESCRIPTION, epilog=EPILOG,
                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('file', metavar='FILE', nargs='?', default='', help='where x1 and x2 are names in it')
  add('--x1', default='', metavar='FILE', help='features of a side; of FILE, their name (x1)')
  add('--x2', default='', metavar='FILE', help='of the other (x2)')
  add('--y', default='', metavar='FILE', help='a label: a file, or a column or key of one of '
      'the sides')
  add('--standardize', action='store_true', help='columns of mean 0 and deviation 1: where their '
      'units differ')
  add('--components', type=int, metavar='K', help='principal components of each view (50, and a '
      'tenth of the samples, at most)')
  add('--null', '--permutations', dest='permutations', type=int, default=200, metavar='P',
      help='permutations of the pairing (200)')
  add('--halves', type=int, default=20, metavar='H', help='random halves of the samples in which '
      'the verdict is taken again (20); 0 for none')
  add('--seed', type=int, default=0, help='of permutations and halves, 0..2**32-1 (0)')
  add('--json', action='store_true', help='one JSON object instead of text')
  reading.add_arguments(parser, _READING)
  return parser.parse_args(argv)
