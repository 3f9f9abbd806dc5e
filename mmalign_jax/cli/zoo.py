"""mmalign zoo: many models of one modality against many of another."""

import argparse
import json
import pathlib
import sys

from mmalign_jax.cli import Parser, printable
from mmalign_jax.data.files import reading
from mmalign_jax.runs import damage, shards

DESCRIPTION = """\
Many models of one modality against many of another, or of one among themselves: who is alike,
whether better models agree more, and how much of it is chance, width or the number of samples.

LEFT and RIGHT are files or folders of features of the same samples, in the same order:
  FILE.npz, .h5, .safetensors, ...   a model a key; FILE:PATTERN* the keys that fit
  FOLDER                             a model a file; FOLDER:PATTERN* the layers in every file
Arrays are [samples, features] or [layers, samples, features]; the value of two models is that of
their best pair of layers, and so is every value by chance. Without --right all models of LEFT are
compared with each other.

Everything lies in --workdir: pairs.csv, summary.json, results.zarr, report.html, figures/. The same
command continues there; `mmalign merge` joins folders of shards.
"""
EPILOG = """\
examples:
  mmalign zoo --left=vision.npz --right=language.npz --workdir=zoo
  mmalign zoo --left=vision.npz --right=language.npz --workdir=zoo --score-left=top1.csv --y=y.npy
  mmalign zoo --left=models/ --measure=mutual_knn,my_module:my_function --null=1000 --workdir=own
"""
_READING = ('group', 'item', 'missing', 'pool', *reading.OF_TABLES)
_PLAIN = ('left', 'right', 'levels', 'y', 'k', 'metric', 'sigma', 'clip', 'standardize',
          'normalize', 'permute', 'seed', 'memory', 'score_left', 'score_right', *_READING)


def run(argv: list[str]) -> None:
  """Compares what the folder does not hold yet, and prints the answer."""
  asked = _parser().parse_args(argv)
  if not asked.left or not asked.workdir:
    raise ValueError(f'--{"left" if not asked.left else "workdir"} is missing; for example '
                     'mmalign zoo --left=vision.npz --right=language.npz --workdir=zoo')
  settings = _settings(asked)
  from mmalign_jax.studies import registry  # slow to import
  study = registry.study_of(settings, 'sweep')
  folder = pathlib.Path(asked.workdir)
  with damage.at_the_end():
    plan = study.from_settings(settings)
    for note in plan.notes:
      damage.note(printable(note))
    dataset = study.run(plan, folder, shard=shards.parse(asked.shard),
                        progress=sys.stderr.isatty())
    if dataset is None:
      print(f'shard {asked.shard} is done; the shards that are missing finish the zoo in {folder}, '
            'or mmalign merge DIR... joins folders')
      return
    answer = registry.answer(study, plan, dataset, folder, figures=not asked.nofigures)
  if asked.json:
    print(json.dumps(json.loads((folder / 'summary.json').read_text()), allow_nan=False))
  else:
    print(printable(answer))


def _settings(asked: argparse.Namespace) -> dict:
  """Settings of a study from options, those that were given."""
  given = {name: getattr(asked, name) for name in _PLAIN if getattr(asked, name) is not None}
  given |= {'study': 'zoo', 'name': asked.name or pathlib.Path(asked.workdir).name or 'zoo',
            'permutations': asked.null, 'resamples': asked.bootstrap, 'map': not asked.nomap}
  if asked.measures:
    given['measures'] = tuple(name.strip() for name in asked.measures.split(','))
  if asked.sizes:
    given['sizes'] = tuple(map(_whole, asked.sizes.split(',')))
  for option, value, least in (('null', asked.null, 0), ('bootstrap', asked.bootstrap, 0),
                               ('repeats', asked.repeats, 1)):
    if value is not None and value < least or (option, value) == ('bootstrap', 1):
      raise ValueError(f'--{option}={value} must be {"0, or 2" if option == "bootstrap" else least}'
                       ' or more')
  if asked.repeats is not None:
    if not asked.sizes:
      raise ValueError(f'--repeats={asked.repeats} has no effect without --sizes')
    given['repeats'] = asked.repeats
  return given


def _whole(text: str) -> int:
  if not text.strip().isdecimal():
    raise ValueError(f'--sizes: {text!r} is no whole number')
  return int(text)


def _parser() -> Parser:
  parser = Parser(prog='mmalign zoo', description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                  formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('--left', metavar='PATH', help='models of one side')
  add('--right', metavar='PATH', help='models of the other; without it LEFT against itself')
  add('--workdir', metavar='DIR', help='folder of the results')
  add('--measures', '--measure', metavar='A,B', help='names, or module:function of your own, of '
      'x [N, D1] and y [N, D2] (mutual_knn,debiased_linear_cka)')
  add('--score-left', metavar='CSV', help='what the models of LEFT are worth: lines of a name and '
      'a number, or NAME=NUMBER,...')
  add('--score-right', metavar='CSV', help='of RIGHT')
  add('--y', metavar='FILE', help='a label, NaN or empty where it is not known: a side without '
      'any score is scored by a linear probe of it')
  add('--levels', metavar='KEY', help='the arrays of RIGHT are [levels, samples, features], and '
      'KEY of its file holds a number a level, as how unlike the captions are')
  add('--sizes', metavar='N,N', help='also on nested subsamples of so many samples')
  add('--repeats', type=int, metavar='R', help='subsamples of each size (10)')
  add('--k', type=int, help='neighbours (10)')
  add('--metric', help='of neighbours: cosine, inner_product, euclidean (cosine)')
  add('--sigma', type=float, help='bandwidth of Gaussian kernels (the median distance)')
  add('--clip', type=float, metavar='Q', help='as of mmalign measure')
  add('--standardize', action='store_true', default=None, help='as of mmalign measure')
  add('--normalize', action='store_true', default=None, help='as of mmalign measure')
  add('--null', type=int, default=200, metavar='P', help='permutations (200); 0 for none')
  add('--permute', metavar='WAY', help='random: any permutations, as of mmalign measure; shifts: '
      'along one random circle, N times as quick (auto: shifts of large zoos)')
  add('--bootstrap', type=int, default=100, metavar='B', help='random halves of the samples for '
      'intervals (100); 0 for none: intervals are then over models alone')
  add('--nomap', action='store_true', help='no map: it compares each side with itself, too')
  add('--seed', type=int, default=0, help='of permutations, halves and subsamples (0)')
  add('--memory', type=float, metavar='GIB', help='for prepared models (2)')
  add('--shard', default='1/1', metavar='I/N', help='part i of n, in one folder or one each')
  add('--name', help='of the report (the folder)')
  add('--json', action='store_true', help='summary.json instead of tables')
  add('--nofigures', action='store_true', help='draw no pictures')
  reading.add_arguments(parser, _READING)
  return parser
