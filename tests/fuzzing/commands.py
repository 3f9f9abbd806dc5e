"""Every command that reads, on the files of a case."""

from collections.abc import Callable
import random
from typing import NamedTuple

from fuzzing.valid import Specs

_SMALL = {'steps': 2, 'lam': '(0.0,)', 'seed': '(0, 1)', 'batch_size': 8, 'depth': 1, 'width': 4,
          'projection_width': 2, 'n_align': 6, 'neighbors': 2, 'workers': 1, 'chunk': 1,
          'resamples': 20}
_SETTINGS = [f'--config.{name}={value}' for name, value in _SMALL.items()]
_TRAIN = ['--config=configs/avmnist.py:tiny', '--nofigures', '--config.train_size=40',
         '--config.test_size=24', '--config.batch_size=20', '--config.n_align=16',
         '--config.lam=(0.0,)', '--config.tensorboard=False', '--config.resamples=20']


class Command(NamedTuple):
  """argv(specs, r): after `mmalign`; share of all cases; inputs: 'arrays', or a row of STOCK."""
  argv: Callable[[Specs, random.Random], list[str]]
  share: int
  inputs: str = 'arrays'


def _reading(specs: Specs, r: random.Random) -> dict[str, str]:
  """Now and then a choice of how files are read; it may fit them or not."""
  given = {'sep': (';', ',', 'tab', '\x1b', 'ab', 'comma'), 'decimal': ('comma', 'point', '٫'),
           'header': ('yes', 'no'), 'index': ('none', 'auto', '0', '99', '-1', 'x1_0', 'nothing',
                                              ','),
           'missing': ('drop', 'mean', 'refuse'), 'layers': ('first', 'none'),
           'pool': ('mean', 'last', 'max'), 'task': ('l1', 'cross_entropy'),
           'classes': ('3', '2', '0', '-1', '9' * 30)}
  rows = {name: (specs.get('group', 'group'), specs.get('y', 'y'), specs['x1'], 'group', 'y', 'x',
                 'obs:kind', '', '\x1b', '*') for name in ('group', 'item', 'id')}
  given |= {name: (*values, *values, f'{values[0]},{values[1]}') for name, values in rows.items()}
  chosen = r.sample(list(given), r.choice((0, 0, 0, 1, 1, 2)))
  return {name: r.choice(given[name]) for name in chosen}


def _flags(specs: Specs, r: random.Random, *without: str) -> list[str]:
  return [f'--{name}={value}' for name, value in _reading(specs, r).items() if name not in without]


def _measure(specs: Specs, r: random.Random) -> list[str]:
  y = specs.get('x2', specs['x1']) if r.random() < 0.8 else specs.get('y', specs['x1'])
  return ['measure', specs['x1'], y, '--null=0', *r.choice((
      ['--measures=debiased_linear_cka'], ['--measures=debiased_linear_cka', '--json'],
      ['--measures=debiased_linear_cka', '--json'],
      ['--measures=mutual_knn,linear_cka', '--k=1']))] + _flags(specs, r, 'task', 'classes')


def _decompose(specs: Specs, r: random.Random) -> list[str]:
  return ['decompose', *(f'--{role}={specs[role]}' for role in ('x1', 'x2', 'y') if role in specs),
          '--null=0', '--bootstrap=0', '--no-check', *r.choice(([], ['--json']))] + _flags(specs, r,
                                                                                           'item')


def _diagnose(specs: Specs, r: random.Random) -> list[str]:
  return ['diagnose', *(f'--{role}={specs[role]}' for role in ('x1', 'x2') if role in specs),
          *([f'--y={specs["y"]}'] if 'y' in specs and r.random() < 0.5 else []), '--null=59',
          '--halves=0', *r.choice(([], ['--json'], ['--standardize']))] + _flags(specs, r, 'item')


def names(specs: Specs) -> dict[str, str]:
  """What the arrays are called within the whole."""
  found = {}
  for role in ('x1', 'x2', 'y'):
    file, _, key = specs.get(role, role).partition(':')
    found[role] = (key or 'X') if file == specs.get('whole') else role
  return found


def _data(specs: Specs, r: random.Random) -> list[str]:
  called = names(specs)
  return ['decompose', f'--data={specs.get("whole", ".")}', f'--x1={called["x1"]}',
          f'--x2={called["x2"]}', *([f'--y={called["y"]}'] if r.random() < 0.8 else []),
          '--null=0', '--bootstrap=0', '--no-check', '--json', *_flags(specs, r, 'item')]


def _table(specs: Specs, r: random.Random) -> list[str]:
  return ['decompose', f'--table={specs["x1"]}', *r.choice(([], ['--json'], ['--method=mmi']))]


def _sweep(specs: Specs, r: random.Random) -> list[str]:
  fields = {'data': specs.get('whole', '.'), **names(specs)}
  fields |= {k: v for k, v in _reading(specs, r).items() if ',' not in v}
  return ['sweep', '--config=configs/paired.py:' + ','.join(f'{k}={v}' for k, v in fields.items()),
          '--workdir=../out/w', '--nofigures', *_SETTINGS]


def sweep_digits(workdir: str, shard: str = '1/1') -> list[str]:
  """A study that needs no files."""
  return ['sweep', '--config=configs/paired.py:digits', f'--workdir={workdir}', '--nofigures',
          f'--shard={shard}', *_SETTINGS]


def _merge(specs: Specs, r: random.Random) -> list[str]:
  return ['merge', 'one', 'two', '--workdir=../out/m', '--nofigures']


def _resume(specs: Specs, r: random.Random) -> list[str]:
  return sweep_digits('../out/one')


def _train(specs: Specs, r: random.Random) -> list[str]:
  return ['train', *_TRAIN, '--data_dir=.', '--prepared_dir=../out/p', '--workdir=../out/w']


def _zoo(specs: Specs, r: random.Random) -> list[str]:
  other = specs.get('x2', specs['x1'])
  more = ([], [], [f'--y={specs.get("y", "y")}'], ['--sizes=12,18', '--repeats=2'],
          [f'--score-left={specs.get("y", "y")}'], ['--score-left=x1=3,x1_0=1'],
          ['--levels=y'], ['--sizes=1,99'])
  return ['zoo', f'--left={specs["x1"]}', *([f'--right={other}'] if r.random() < 0.8 else []),
          '--workdir=../out/z', '--null=0', '--bootstrap=0', '--nomap', '--nofigures', '--k=2',
          *r.choice(more), *r.choice(([], ['--json'])),
          *_flags(specs, r, 'task', 'classes', 'layers', 'id')]


def _advise(specs: Specs, r: random.Random) -> list[str]:
  """Reads, tells what the data are, and at most how alike the views are."""
  called = names(specs)
  if 'whole' in specs and r.random() < 0.6:
    views = [specs['whole'], *(f'--{role}={called[role]}' for role in ('x1', 'x2', 'y'))]
  else:
    views = [f'--{role}={specs[role]}' for role in ('x1', 'x2', 'y') if role in specs]
  skipped = ['atoms', 'linear', 'regime', 'predicted', 'trial', 'encoders']
  return ['advise', *views, '--workdir=../out/a', '--effort=0',
          '--skip=' + ','.join(r.choice((skipped, ['alike', *skipped]))),
          *r.choice(([], ['--json'])), *_flags(specs, r, 'item')]


def _embed(specs: Specs, r: random.Random) -> list[str]:
  """New rows for good encoders."""
  rows = r.choice(([specs['x1'], '--view=x1'], [specs.get('x2', specs['x1']), '--view=x2'],
                   [specs.get('whole', specs['x1']), '--view=together'],
                   [f'--x1={specs["x1"]}', f'--x2={specs.get("x2", specs["x1"])}']))
  return ['embed', '../out/fit', *rows, *r.choice((
      ['--out=../out/z.npy'], ['--predictions=../out/said.csv'],
      ['--out=../out/z.csv', '--predictions=../out/said.csv'])),
          *_flags(specs, r, 'task', 'classes', 'group', 'item', 'id')]


def _embed_again(specs: Specs, r: random.Random) -> list[str]:
  """Good rows for encoders that something happened to."""
  return ['embed', '../out/fit', 'x1.npy', '--view=x1', '--out=../out/z.npy', *r.choice((
      [], ['--predictions=../out/said.csv']))]


def _report(specs: Specs, r: random.Random) -> list[str]:
  return ['report', *r.choice((['../out/one'], ['../out/fit'], ['../out/said.json'],
                               ['../out/one', '../out/fit', '../out/said.json'])),
          '--out=../out/page.html']


COMMANDS = {
    'measure': Command(_measure, 40), 'diagnose': Command(_diagnose, 10),
    'decompose': Command(_decompose, 22),
    'decompose --data': Command(_data, 14), 'decompose --table': Command(_table, 8),
    'sweep': Command(_sweep, 10), 'sweep again': Command(_resume, 2, 'study'),
    'merge': Command(_merge, 3, 'shards'), 'train': Command(_train, 1, 'digits'),
    'zoo': Command(_zoo, 8), 'advise': Command(_advise, 6), 'embed': Command(_embed, 6),
    'embed again': Command(_embed_again, 4, 'encoders'), 'report': Command(_report, 4, 'results')}
STOCK = {  # inputs: folders that a case has copies of, each under the name that commands know
    'study': {'one': 'out/one'}, 'shards': {'one': 'in/one', 'two': 'in/two'}, 'digits': {},
    'encoders': {'fit': 'out/fit'}, 'results': {'whole': 'out/one', 'fit': 'out/fit',
                                                'said.json': 'out/said.json'}}
