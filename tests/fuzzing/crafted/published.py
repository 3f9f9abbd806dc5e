"""Hostile pickles, and hostile files among the HDF5 files of a published folder."""

import gzip
import io
import pathlib
import pickletools
import random

import h5py
import pickles

from fuzzing import harm, valid
from fuzzing.crafted.hdf5 import MAKERS
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs


def _put(folder: pathlib.Path, data: bytes, name: str = 'd.pkl') -> Specs:
  (folder / name).write_bytes(data)
  return {role: f'{name}:{role}' for role in valid.ROLES} | {'whole': name}


def _opcodes(folder, arrays, r: random.Random, evil: Harm) -> Specs:
  """Every hostile pickle of the tests."""
  rows = pickles.hostile(str(evil.mark))
  return _put(folder, rows[r.choice(list(rows))][0])


def _call(folder, arrays, r, evil):
  return _put(folder, evil.pickled(r))


def _steps(form: str, folder: pathlib.Path, arrays: Arrays) -> list[bytes]:
  """The opcodes of a valid pickle with their arguments."""
  valid.FORMATS[form].write(folder, arrays)
  data = (folder / 'd.pkl').read_bytes()
  at = [place for _, _, place in pickletools.genops(io.BytesIO(data)) if place is not None]
  return [data[a:b] for a, b in zip(at, [*at[1:], len(data)])]


def _other_order(folder, arrays, r, evil):
  """Opcodes of a valid pickle left out, repeated, swapped, or in place of others."""
  steps = _steps(r.choice(('pkl', 'pkl published', 'pkl python 2')), folder, arrays)
  for _ in range(r.choice((1, 1, 2, 5, 30))):
    i, j = r.randrange(len(steps)), r.randrange(len(steps))
    what = r.choice(('out', 'twice', 'swap', 'other', 'one'))
    if what == 'out' and len(steps) > 1:
      del steps[i]
    elif what == 'twice':
      steps.insert(i, steps[j])
    elif what == 'swap':
      steps[i], steps[j] = steps[j], steps[i]
    elif what == 'other':
      steps[i] = steps[j]
    else:
      steps.insert(i, bytes([r.randrange(256)]))
  return _put(folder, b''.join(steps))


def _bomb(folder, arrays, r, evil):
  head = b'\x80\x02B\xff\xff\xff\x7f'
  if r.random() < 0.5:
    return _put(folder, gzip.compress(pickles.array(), 1)[:40])
  return _put(folder, harm.gzip_bomb(1024, head, r.choice((b'\0', b'(', b'N', b']'))), 'd.pkl.gz')


def _in_folder(make):
  """A folder one of whose files `make` has made."""
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    specs = valid.FORMATS['h5 folder'].write(folder, arrays)
    role = r.choice(('x1', 'x1', 'x2', 'y'))
    part = r.choice(('train', 'valid', 'test'))
    with h5py.File(folder / 'd' / f'{role}_{part}.h5', 'r+') as file:
      del file['d1']
      make(file, 'd1', arrays[role], r, evil)
    return specs
  return write


_PICKLES = {'hostile opcodes': _opcodes, 'pickled call': _call, 'another order': _other_order}
CRAFTED = {'pkl': _PICKLES | {'bomb': _bomb}, 'pkl published': _PICKLES, 'pkl python 2': _PICKLES,
           'h5 folder': {name: _in_folder(make) for name, make in MAKERS.items()}}
