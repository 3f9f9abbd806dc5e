"""Hostile names and places: keys, paths, and what is no file."""

import os
import pathlib
import random
import shutil

from fuzzing.harm import Harm
from fuzzing.valid import ROLES, Specs

_KEYS = ('', ':', '::', ':0', '0', '-1', '9' * 30, '../x', '/x1', 'x1/', '/', '*', '?', '[', '[!',
         '**',
         '*' * 60, '?' * 3000, '\n', 'x1\n', '\x1b[2J', '../../outside/secret.npy', 'x1:0',
         'x1:0:0',
         'x1:-1', 'x1:x', '{1}', 'X{0}', 'X{99}', 'X{-1}', 'X{1,1,1}', 'X{', '$(touch x)', '`id`',
         '%s%n', '\u202e', '\udce9', 'x' * 100_000, 'x1,x2', "'", '"', '\\', 'x1 ', ' x1', 'X',
         'obs',
         'obsm:', 'layers:x:y', 'mod/a', '__class__', 'x1.npy', '٣', '(' * 5000)
_PATHS = ('', ' ', '.', '..', '/', '~', '~root/x', '~nobody', '-', '--', '-x', '--null=3',
          '/dev/zero', '/dev/stdin', '/dev/null', '/proc/self/environ', '/proc/self/mem', 'nothing',
          'nothing.npy', 'nothing.h5:x1', 'in/..', '*.npy', '[a]', 'http://127.0.0.1:9/x.csv',
          'file:///etc/passwd', 's3://bucket/x.parquet', 'ftp://127.0.0.1/x.npy', 'x' * 5000,
          'a/' * 3000, '\n', '\x1b[2J.npy', '\udcff.npy', 'C:\\x.npy', '$HOME/x.npy', '|ls', ';ls',
          'gs://b/x.h5', 'memory://x.csv', 'zip://x.csv::x1.zip', '/etc/hostname:x', ':', ':x1')
_NAMES = ('a b', 'a\nb', 'a:b', 'a:0', '-a', '*', '[a]', '\x1b[2J', '\u202e', 'x' * 240, '\udcff',
          '.a',
          '..a', "'", '"', '$(id)', '%s', 'é', '~a', '{}', '{1}', 'a,b', 'a=b', ' ', '\\', '#',
          '\t')


def _role(specs: Specs, r: random.Random) -> str:
  return r.choice([role for role in ('x1', 'x2', 'y', 'whole') if role in specs])


def _key(folder: pathlib.Path, specs: Specs, r: random.Random, evil: Harm) -> Specs:
  role = _role(specs, r)
  return specs | {role: specs[role].partition(':')[0] + ':' + r.choice(_KEYS)}


def _path(folder, specs, r, evil):
  return specs | {_role(specs, r): r.choice(_PATHS)}


def _name(folder, specs, r, evil):
  """A file by a name that is hard to say."""
  role = r.choice([role for role in ('x1', 'x2', 'y') if role in specs])
  file, colon, key = specs[role].partition(':')
  suffixes = ''.join(pathlib.Path(file).suffixes)
  name = r.choice(_NAMES) + suffixes
  os.rename(os.fsencode(folder / file), os.fsencode(folder) + b'/' + os.fsencode(name))
  return {k: s.replace(file, name) if k != 'whole' else s for k, s in specs.items()}


def _suffix(folder, specs, r, evil):
  """A file by the name of another format."""
  role = r.choice([role for role in ROLES if role in specs])
  file = specs[role].partition(':')[0]
  suffix = r.choice(('.npy', '.npz', '.csv', '.tsv', '.parquet', '.h5', '.hdf5', '.mat', '.pt',
                     '.pth',
                     '.safetensors', '.h5ad', '.h5mu', '.gz', '.npy.gz', '.csv.gz', '.mat.gz', '',
                     '.pkl', '.zip', '.NPY', '.Csv', '.json', '.txt', '.arrow', '.zarr'))
  new = 'other' + suffix
  (folder / file).rename(folder / new)
  key = r.choice(('', ':x1', ':0'))
  return {k: new + key if s.partition(':')[0] == file and k != 'whole' else
          new if s == file else s for k, s in specs.items()}


def _no_file(folder, specs, r, evil):
  """A folder, a pipe, a device or a loop of links in place of a file."""
  role = _role({k: s for k, s in specs.items() if k != 'whole'}, r)
  path = folder / specs[role].partition(':')[0]
  shutil.rmtree(path) if path.is_dir() else path.unlink()
  kind = r.choice(('folder', 'pipe', 'loop', 'zero', 'dangling', 'socket', 'link to a folder'))
  if kind == 'folder':
    path.mkdir()
  elif kind == 'pipe':
    os.mkfifo(path)
  elif kind == 'socket':
    import socket
    with socket.socket(socket.AF_UNIX) as made:
      here = os.getcwd()
      os.chdir(folder)  # the path of a socket is short
      made.bind(path.name)
      os.chdir(here)
  else:
    path.symlink_to({'loop': path.name, 'zero': '/dev/zero', 'dangling': 'nothing',
                     'link to a folder': '.'}[kind])
  return specs


def _same(folder, specs, r, evil):
  """Sides of one file."""
  one = _role(specs, r)
  return specs | {r.choice(('x1', 'x2', 'y')): specs[one]}


def _folder(folder, specs, r, evil):
  """More in the folder of the data than data."""
  (folder / 'deep').mkdir()
  for name in r.sample(('x1.npy', 'x1.csv', 'x1_train.npy', 'x2-x1.csv', 'y.csv', 'x1_test.npy',
                        'group.npy', 'a\nb.csv', '\x1b.npy'), 4):
    if not (folder / name).exists():
      (folder / name).write_bytes(r.choice((b'', b'1\n', evil.pickled(r))))
  (folder / 'loop').symlink_to('.')
  return specs | {'whole': '.'}


PLACES = {'keys': _key, 'paths': _path, 'names of files': _name, 'suffix of another': _suffix,
          'no file': _no_file, 'one file': _same, 'strange folder': _folder}
