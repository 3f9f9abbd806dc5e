"""What `mmalign measure` is asked: its arguments, checked before anything is read."""

import argparse
from collections.abc import Callable
import dataclasses
import functools
import importlib
import math
import pathlib
from typing import TYPE_CHECKING, Any

from mmalign_jax import names as known
from mmalign_jax.cli import Parser, figure_path
from mmalign_jax.data.files import reading
from mmalign_jax.data.files.reading import Reading

if TYPE_CHECKING:  # JAX is slow to import, and a request is refused before
  from mmalign_jax.similarity.scores import Plan

DEFAULT = (
    'linear_cka', 'debiased_linear_cka', 'rbf_cka', 'cknna', 'mutual_knn', 'cycle_knn', 'lcs_knn',
    'edit_distance_knn', 'svcca', 'pwcca', 'procrustes', 'rsa', 'modality_gap')
_MOST = 100_000  # permutations and resamples
_SETTINGS = ('k', 'sigma', 'metric', 'at')
_READING = ('group', 'item', 'id', 'missing', 'layers', 'pool', *reading.OF_TABLES)

DESCRIPTION = """\
How similar two sets of features of the same samples are, beside what chance gives.

X and Y are files with an array [samples, features]; row i of both is the same sample.
  FILE.npy                                one array
  FILE.csv, .tsv, .parquet                every column but an index; FILE.csv:NAME* some of them
  FILE.npz:KEY, .h5, .mat, .safetensors   one of several arrays; a single one needs no KEY
  FILE.pkl:KEY, FOLDER:KEY                of a pickle, or a folder of CMU h5 files, as published
An array [layers, samples, features] holds several layers, and so does a KEY with * or ?, as in
FILE.npz:layer*; FILE.npy:INDEX (FILE.npz:KEY:INDEX) picks one, from 0. With several layers the
score is the best over all pairs of them, and so is every score by chance.

float64 arrays are computed in float64, all others in float32. Features are clipped, then
standardised, then normalised, where asked for.
"""
EPILOG = """\
examples:
  mmalign measure image.npy text.npy --normalize
  mmalign measure 'a.npz:layer*' 'b.npz:layer*' --measures=mutual_knn --figure=layers.png
  mmalign measure a.safetensors:z b.safetensors:z --measures=all --null=1000 --bootstrap=200 --json

The first time, most of a small problem is compiling, which is kept for arrays of the same size.
"""


@dataclasses.dataclass(frozen=True)
class Request:
  """x, y: where the sides are; names: of measures, `named` if the user listed them; steps:
  preprocessing in its order, by what the table calls it; reading: of the files; group, item, id: of
  their rows, '' for none; numbers, of the plan, as_json, figure: as asked."""
  x: str
  y: str
  names: tuple[str, ...]
  named: bool
  steps: dict[str, Callable]
  numbers: tuple[int, int, int, dict[str, Any]]
  reading: Reading
  group: str
  item: str
  id: str
  as_json: bool
  figure: pathlib.Path | None

  @functools.cached_property
  def plan(self) -> 'Plan':
    """What is done with every measure."""
    from mmalign_jax.similarity.scores import Plan
    return Plan(*self.numbers)


def parse(argv: list[str]) -> Request:
  """The request of a command line.

  Raises:
    ValueError, OSError: one line that names the argument and its value.
  """
  args = _arguments(argv)
  return Request(args.x, args.y, tuple(_names(args.measures)), args.measures not in (None, 'all'),
                 _steps(args), _plan(args), reading.of(args), args.group, args.item,
                 args.id, args.json, figure_path(args.figure))


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = Parser(prog='mmalign measure', description=DESCRIPTION, epilog=EPILOG,
                  allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('x', metavar='X', help='features of one side')
  parser.add_argument('y', metavar='Y', help='features of the other side')
  add = parser.add_argument
  add('--measures', metavar='A,B', help='names, or all; by default the '
      f'{len(DEFAULT)} most used: {", ".join(DEFAULT)}')
  add('--k', type=int, help='neighbours (10)')
  add('--sigma', help='bandwidth of Gaussian kernels, in units of the features, or median: the '
      'median distance of each side (the default)')
  add('--metric', choices=known.METRICS, help='of neighbours (cosine)')
  add('--at', type=int, help='candidates that count as found in recall (1)')
  add('--clip', type=float, metavar='Q',
      help="first: hold entries within the mean of the samples' Q-quantiles of absolute values")
  add('--standardize', action='store_true', help='then: columns of mean 0 and deviation 1')
  add('--normalize', action='store_true', help='then: rows of norm 1')
  add('--null', type=int, default=200, metavar='P', help='permutations (200); 0 for none')
  add('--bootstrap', type=int, default=0, metavar='B',
      help='random halves of the samples for a 95 %% interval (0: no interval)')
  add('--seed', type=int, default=0, help='of permutations and halves, 0..2**32-1 (0)')
  add('--json', action='store_true', help='one JSON object instead of the table')
  add('--figure', metavar='FILE', help='.png, .pdf or .svg: scores within their null, or the '
      'matrices of several layers')
  reading.add_arguments(parser, _READING)
  return parser.parse_args(argv)


def _plan(args: argparse.Namespace) -> tuple[int, int, int, dict[str, Any]]:
  """The numbers among the arguments, checked."""
  for name, least in (('k', 1), ('at', 1), ('null', 0), ('bootstrap', 0)):
    value = getattr(args, name)
    if value is not None and value < least:
      raise ValueError(f'--{name}={value} must be at least {least}')
  for name in ('null', 'bootstrap'):
    if getattr(args, name) > _MOST:
      raise ValueError(f'--{name}={getattr(args, name)} is above {_MOST}')
  if args.bootstrap == 1:
    raise ValueError('--bootstrap=1 must be 0 or at least 2')
  if not 0 <= args.seed < 2**32:
    raise ValueError(f'--seed={args.seed} is not in 0..2**32-1')
  given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
  if 'sigma' in given:
    given['sigma'] = _sigma(args.sigma)
  return args.null, args.bootstrap, args.seed, given


def _sigma(text: str) -> float | None:
  """None for the median."""
  if text == 'median':
    return None
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 < value < math.inf:
    raise ValueError(f'--sigma={text} is neither a number above 0 nor median')
  return value


def _names(text: str | None) -> list[str]:
  """Known measures, each once."""
  measures = known.of('similarity.MEASURES')
  if text is None:
    return [name for name in DEFAULT if name in measures]
  if text == 'all':
    return list(measures)
  names = [name.strip() for name in text.split(',')]
  for i, name in enumerate(names):
    known.check('similarity.MEASURES', name, f'--measures={text}: measure')
    if name in names[:i]:
      raise ValueError(f'--measures={text}: {name!r} occurs twice')
  return names


def _steps(args: argparse.Namespace) -> dict[str, Callable]:
  steps = {}
  if args.clip is not None:
    if not 0 < args.clip <= 1:
      raise ValueError(f'--clip={args.clip} is not in (0, 1]')
    steps[f'clipped at {args.clip:g}'] = _step('clip', quantile=args.clip)
  if args.standardize:
    steps['standardised'] = _step('standardize')
  if args.normalize:
    steps['normalised'] = _step('normalize')
  return steps


def _step(name: str, **settings: float) -> Callable:
  """A function of `similarity.preprocess`, which is loaded when it is called."""
  return lambda z: getattr(importlib.import_module(
      'mmalign_jax.similarity.preprocess'), name)(z, **settings)
