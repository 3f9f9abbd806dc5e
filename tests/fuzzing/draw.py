"""One case by its number: a command, a format, what is wrong, and the files of it."""

import pathlib
import random
import shutil
from typing import NamedTuple
import warnings

import digit_files
import numpy as np

from fuzzing import valid
from fuzzing.commands import COMMANDS, STOCK
from fuzzing.crafted import CRAFTED
from fuzzing.damage import DAMAGE
from fuzzing.harm import Harm
from fuzzing.places import PLACES
from fuzzing.values import VALUES

_KINDS = ('bytes', 'values', 'crafted', 'places')
_SLOW = ('large', '10^6 columns', '10^6 rows', '20,000 columns', 'bomb', 'cycles',
         'a cell without end', 'chunk that lies', '20,000 members', 'packed elements', 'names')
_OF_TABLES = ('npy', 'npy.gz', 'csv', 'parquet', 'npz', 'npz packed', 'h5', 'h5 packed', 'mat',
              'mat packed', 'mat 7.3', 'safetensors', 'pt')
_OTHER = {'study': 'folder of a study', 'shards': 'folders of shards', 'digits': 'idx and wav',
          'encoders': 'folder of encoders', 'results': 'folders of results'}


class Case(NamedTuple):
  """argv: after `mmalign`; command, format, kind: rows of the tables; what: of that kind."""
  number: int
  command: str
  format: str
  kind: str
  what: str
  argv: list[str]


def case(seed: int, number: int, folder: pathlib.Path, stock: pathlib.Path,
         only: tuple[str, ...] = (), quick: bool = False) -> Case:
  """Writes the files of a case into `folder`/in (beside out, home, tmp and outside).

  Args:
    seed, number: the same two make the same case.
    folder: is made.
    stock: what `prepare` made.
    only: commands to draw from; () for all, each as often as its share.
    quick: without what takes long to write.
  """
  r = random.Random(f'{seed}:{number}')
  chosen = {name: row for name, row in COMMANDS.items() if not only or name in only}
  command = r.choices(list(chosen), [row.share for row in chosen.values()])[0]
  for name in ('in', 'out', 'home', 'tmp'):
    (folder / name).mkdir(parents=True)
  evil = Harm(folder / 'outside', folder / 'MARK')
  evil.spread()
  inputs = COMMANDS[command].inputs
  if inputs != 'arrays':
    kind, what, specs = _folders(inputs, folder, stock, r, evil)
    return Case(number, command, _OTHER[inputs], kind, what, COMMANDS[command].argv(specs, r))
  if command == 'embed':
    copied(stock / 'fit', folder / 'out' / 'fit')
  table = command == 'decompose --table'
  formats = _OF_TABLES if table else valid.available()
  form = formats[number % len(formats)]
  kind = r.choices(_KINDS, (35, 20, 35, 10))[0]
  tables = {'bytes': list(DAMAGE), 'values': list(VALUES), 'places': list(PLACES), 'crafted': [
      name for name in CRAFTED.get(form, {}) if not (quick and name in _SLOW)]}
  kind = kind if tables[kind] else 'bytes'
  what = r.choice(tables[kind])
  arrays = dict.fromkeys(('x1', 'x2', 'y'), valid.table()) if table else valid.arrays()
  with warnings.catch_warnings(), np.errstate(all='ignore'):
    warnings.simplefilter('ignore')
    kind, what, specs = _written(folder / 'in', form, kind, what, arrays, r, evil)
  return Case(number, command, form, kind, what, COMMANDS[command].argv(specs, r))


def copied(source: pathlib.Path, target: pathlib.Path) -> None:
  """A copy of a file or of a folder."""
  (shutil.copytree if source.is_dir() else shutil.copy)(source, target)


def _written(folder: pathlib.Path, form: str, kind: str, what: str, arrays: valid.Arrays,
             r: random.Random, evil: Harm) -> tuple[str, str, valid.Specs]:
  """Files of one case; values that a format cannot hold become damaged bytes of a valid file."""
  if kind == 'crafted':
    return kind, what, CRAFTED[form][what](folder, arrays, r, evil)
  write = valid.FORMATS[form].write
  if kind == 'values':
    try:
      return kind, what, write(folder, VALUES[what](arrays, r))
    except Exception:  # what a writer refuses need not be read
      for path in list(folder.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
      kind, what = 'bytes', r.choice(list(DAMAGE))
  specs = write(folder, arrays)
  if kind == 'bytes':
    _damaged(folder, what, r)
  else:
    specs = PLACES[what](folder, specs, r, evil)
  return kind, what, specs


def _damaged(folder: pathlib.Path, what: str, r: random.Random) -> None:
  path = r.choice(sorted(p for p in folder.rglob('*') if p.is_file()))
  path.write_bytes(DAMAGE[what](path.read_bytes(), r))


def _folders(inputs: str, folder: pathlib.Path, stock: pathlib.Path, r: random.Random,
             evil: Harm) -> tuple[str, str, valid.Specs]:
  """Copies of finished or half finished work, or of the sources of digits; one file damaged."""
  for name, place in STOCK[inputs].items():
    copied(stock / name, folder / place)
  if inputs == 'digits':
    digit_files.write_sources(folder / 'in')
  elif inputs == 'encoders':
    np.save(folder / 'in' / 'x1.npy', valid.arrays()['x1'])
  at = folder / ('in' if inputs in ('shards', 'digits') else 'out')
  path = r.choice(sorted(p for p in at.rglob('*') if p.is_file()))
  if inputs != 'digits' and path.suffix == '.npz' and r.random() < 0.5:
    return 'crafted', _chunk(path, r, evil), {}
  kind = r.choice(('bytes', 'bytes', 'places'))
  what = r.choice(list(DAMAGE))
  if kind == 'bytes':
    path.write_bytes(DAMAGE[what](path.read_bytes(), r))
    return kind, what, {}
  what = r.choice(('gone', 'folder', 'another file', 'pickle', 'renamed'))
  other = r.choice(sorted(p for p in at.rglob('*') if p.is_file()))
  data = other.read_bytes()
  if what == 'renamed':
    path.rename(path.with_name(r.choice(('a\nb', '\x1b[2J', 'x.part', '0', '.x')) + path.suffix))
    return kind, what, {}
  path.unlink()
  if what == 'folder':
    path.mkdir()
  elif what in ('another file', 'pickle'):
    path.write_bytes(data if what == 'another file' else evil.pickled(r))
  return kind, what, {}


def _chunk(path: pathlib.Path, r: random.Random, evil: Harm) -> str:
  """Another array in a file of arrays."""
  with np.load(path) as file:
    arrays = dict(file)
  name = r.choice(list(arrays))
  what = r.choice(('renamed', 'gone', 'shape', 'type', 'objects', 'NaN', 'cells'))
  if what in ('renamed', 'gone'):
    value = arrays.pop(name)
    arrays |= {'evil': value} if what == 'renamed' else {}
  elif what == 'cells' and 'cell' in arrays:
    arrays['cell'] = r.choice((arrays['cell'] + 100, arrays['cell'] - 2**40, arrays['cell'] * 0.5))
  else:
    value = np.asarray(arrays[name])
    arrays[name] = {'shape': value[..., None], 'type': value.astype('S'),
                    'NaN': np.full(value.shape, np.nan), 'cells': value.astype(np.complex64),
                    'objects': value.astype(object)}[what]
  np.savez(path, **arrays)
  return f'{what} in a chunk'
