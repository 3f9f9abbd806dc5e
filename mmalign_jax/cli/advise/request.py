"""What `mmalign advise` is asked: its arguments, checked before anything is read."""

import argparse
import dataclasses
import pathlib

from mmalign_jax import names
from mmalign_jax.cli import Parser
from mmalign_jax.data.files import reading
from mmalign_jax.data.files.formats.guard import place
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.data.published import DATASETS
from mmalign_jax.ranges import listed

_READING = ('group', 'id', 'task', 'classes', 'missing', 'layers', 'pool', *reading.OF_TABLES)
NEEDED = ('data', 'decision')  # take no time, or are the answer
MOST_MINUTES = 7 * 24 * 60

DESCRIPTION = """\
Should these pairs be aligned, with which objective, and how strongly? A decision for each encoder,
with the gain on rows that chose nothing, in about --minutes.

  FILE                      views x1, x2 (x3) and label y in it, row i the same sample; rows without
                            a label (NaN, empty; -1 beside the classes of --classes=N) are aligned,
                            too
  FILE --x1=NAME --x2=NAME  where they are called otherwise
  --x1=FILE --x2=FILE --y=FILE  each in a file of its own (.npy, .csv, .npz:KEY, ...), row i of all
                            the same sample, or --id=NAME joins them; y and group may be columns or
                            keys of one of them
  --dataset=NAME            a data set as it is published, in --data_dir

What is finished is kept in --workdir; the same command goes on from there, and an interruption
reports what is known so far. DIR/report.html and DIR/summary.json hold the answer.
"""
EPILOG = """\
examples:
  mmalign advise features.npz --x1=image --x2=text --y=label --workdir=DIR
  mmalign advise --x1=image.npy --x2=text.npy --y=label.csv --group=patient.npy --workdir=DIR
  mmalign advise --dataset=digits --workdir=DIR --minutes=2
"""


@dataclasses.dataclass(frozen=True)
class Request:
  """data: a path, or a name in DATASETS (`published`), in data_dir; x1, x2, x3, y, group, id: names
  in it, '' for the usual ones; where data is '', files of their own; workdir; seconds that it may
  take, or effort, whatever it takes; skip: steps that are left out."""
  data: str
  published: bool
  data_dir: str
  x1: str
  x2: str
  x3: str
  y: str
  group: str
  id: str
  reading: Reading
  workdir: pathlib.Path
  seconds: float
  effort: int | None
  skip: tuple[str, ...]
  seed: int
  as_json: bool


def parse(argv: list[str]) -> Request:
  """The request of a command line.

  Raises:
    ValueError, OSError: one line that names the argument and its value.
  """
  args = _arguments(argv)
  if args.file and args.dataset:
    raise ValueError('give FILE or --dataset=NAME, one of the two')
  if not (args.file or args.dataset):
    _refuse_too_few(args)
  if args.dataset and args.dataset not in DATASETS:
    raise ValueError(f'--dataset={args.dataset} is unknown; {listed(args.dataset, DATASETS)}')
  if args.data_dir and not args.dataset:
    raise ValueError(f'--data_dir={args.data_dir} has no effect without --dataset')
  if not args.workdir:
    raise ValueError('--workdir=DIR must say where results are kept')
  if not 0 < args.minutes <= MOST_MINUTES:
    raise ValueError(f'--minutes={args.minutes:g} is not above 0 and at most {MOST_MINUTES}')
  if args.effort is not None and not 0 <= args.effort < names.EFFORTS:
    raise ValueError(f'--effort={args.effort} is not in 0..{names.EFFORTS - 1}')
  if not 0 <= args.seed < 2**32:
    raise ValueError(f'--seed={args.seed} is not in 0..2**32-1')
  skip = tuple(name.strip() for name in args.skip.split(',') if name.strip())
  for name in skip:
    if name not in _optional():
      known = ', '.join(_optional())
      raise ValueError(f'--skip={args.skip}: {name!r} is no step that can be left out; {known} are')
  return Request(args.file or args.dataset, bool(args.dataset), args.data_dir, args.x1, args.x2,
                 args.x3, args.y, args.group, args.id, reading.of(args), place(args.workdir),
                 60 * args.minutes, args.effort, skip, args.seed, args.json)


def _refuse_too_few(args: argparse.Namespace) -> None:
  """Raises ValueError where views in files of their own lack one."""
  lacking = [f'--{name}' for name in ('x1', 'x2', 'y') if not getattr(args, name)]
  if len(lacking) == 3:
    raise ValueError('give FILE or --dataset=NAME, or --x1=FILE --x2=FILE --y=FILE')
  if lacking:
    raise ValueError(f'{" and ".join(lacking)} must say which file, where no FILE holds all')


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = Parser(prog='mmalign advise', description=DESCRIPTION, epilog=EPILOG,
                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('file', metavar='FILE', nargs='?', default='', help='a file or folder of views and a label')
  for name, what in (('x1', 'one view (x1)'), ('x2', 'the other (x2)'),
                     ('x3', 'a third, if there is one'), ('y', 'the label (y)')):
    add(f'--{name}', default='', metavar='NAME', help=f'name of {what}, or its own FILE')
  add('--dataset', default='', metavar='NAME', help=f'{", ".join(DATASETS)}')
  add('--data_dir', default='', metavar='DATA', help='the folder of the published data sets')
  add('--workdir', default='', metavar='DIR', help='where results are kept')
  add('--minutes', type=float, default=5.0, metavar='M', help='how long it may take (5)')
  add('--effort', type=int, metavar='N', help=f'how much is searched, 0..{names.EFFORTS - 1}, '
      'however long it takes, so that the answer is the same on any machine; by default as much as '
      '--minutes allow')
  add('--skip', default='', metavar='STEPS', help='steps to leave out, with commas: '
      + ', '.join(_optional()))
  add('--seed', type=int, default=0, help='of folds, settings and trainings, 0..2**32-1 (0)')
  add('--json', action='store_true', help='summary.json on standard output instead of text')
  reading.add_arguments(parser, _READING)
  return parser.parse_args(argv)


def _optional() -> list[str]:
  """Steps that can be left out."""
  return [step for step in names.of('studies.advise.steps.STEPS') if step not in NEEDED]
