"""Hostile HDF5, .h5ad and .h5mu: links and storage elsewhere, sizes that lie, pickles."""

from collections.abc import Callable
import functools
import pathlib
import random
import zlib

import h5py
import numpy as np

from fuzzing import valid
from fuzzing.crafted.archives import sparse_parts
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs

Make = Callable[[h5py.File, str, np.ndarray, random.Random, Harm], None]  # in place of a key


def _in_place(make: Make, suffix: str = '.h5'):
  """A file of three datasets, one of which `make` has made."""
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    specs = valid.FORMATS['mat 7.3' if suffix == '.mat' else 'h5'].write(folder, arrays)
    role = r.choice(('x1', 'x1', 'x2', 'y'))
    with h5py.File(folder / f'd{suffix}', 'r+') as file:
      del file[role]
      make(file, role, arrays[role], r, evil)
    return specs
  return write


def _link(file, key, array, r, evil):
  """To another file, to nothing, to itself, to what is above."""
  outside = str(evil.outside / 'secret.h5')
  links = [h5py.ExternalLink(outside, '/x1'), h5py.ExternalLink('../outside/secret.h5', '/x1'),
           h5py.ExternalLink(outside, '/'), h5py.ExternalLink('/dev/zero', '/x1'),
           h5py.SoftLink('/nothing'), h5py.SoftLink(f'/{key}'), h5py.SoftLink('/'),
           h5py.SoftLink('/x2'), h5py.SoftLink('../x2'), h5py.ExternalLink(' ', '/x1'),
           h5py.ExternalLink('d.h5', '/x2')]
  if r.random() < 0.3:
    group = file.create_group(f'g/{key}')
    group[key] = r.choice(links)
    file[key] = h5py.SoftLink(f'/g/{key}/{key}')
  else:
    file[key] = r.choice(links)


def _external_storage(file, key, array, r, evil):
  file.create_dataset(key, (24, 4), 'f4', external=[(
      r.choice((str(evil.outside / 'secret.bin'), '../outside/secret.bin', '/proc/self/environ')),
      0, r.choice((384, h5py.h5f.UNLIMITED)))])


def _virtual(file, key, array, r, evil):
  layout = h5py.VirtualLayout(shape=(24, 4), dtype='f4')
  layout[:] = h5py.VirtualSource(r.choice((str(evil.outside / 'secret.h5'), '../outside/secret.h5',
                                           '.', 'd.h5')), r.choice(('x1', 'x2', key)), shape=(24,
                                                                                              4))
  file.create_virtual_dataset(key, layout, fillvalue=1)


def _huge(file, key, array, r, evil):
  """2^40 values in a few bytes: chunks that were never written, or space that is not there yet."""
  shape = r.choice(((2**40,), (2**40, 4), (24, 2**40), (2**20, 2**20), (2**28, 4), (2**55, 1),
                    (2**25, 4)))
  options = r.choice(({'chunks': True}, {'chunks': True, 'compression': 'gzip'}, {}, {
      'chunks': (1,) * len(shape)}, {'chunks': True, 'maxshape': (None,) * len(shape)}))
  file.create_dataset(key, shape, r.choice(('f4', 'f8', 'i1', 'S100')), **options)


def _bomb(file, key, array, r, evil):
  """One packed chunk of 16 MiB, again and again."""
  n = r.choice((4, 20, 100))
  dataset = file.create_dataset(key, (n * 2**20, 4), 'f4', chunks=(2**20, 4), compression='gzip')
  chunk = _zeros(2**24)
  for i in range(n):
    dataset.id.write_direct_chunk((i * 2**20, 0), chunk)


@functools.cache
def _zeros(size: int) -> bytes:
  return zlib.compress(bytes(size), 1)


def _chunk_lies(file, key, array, r, evil):
  """A chunk that unpacks to less, or to much more, than a chunk."""
  dataset = file.create_dataset(key, (24, 4), 'f4', chunks=(24, 4), compression='gzip')
  dataset.id.write_direct_chunk((0, 0), _zeros(r.choice((0, 8, 383, 2**28))))


def _filter(file, key, array, r, evil):
  """A filter that nobody has, or one with absurd settings."""
  plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
  plist.set_chunk((24, 4))
  plist.set_filter(r.choice((32015, 32001, 305, 65535)), h5py.h5z.FLAG_OPTIONAL, (2**31,) * 3)
  space = h5py.h5s.create_simple((24, 4))
  h5py.h5d.create(file.id, key.encode(), h5py.h5t.IEEE_F32LE, space, plist)


def _types(file, key, array, r, evil):
  """Types that are no numbers, or not the ones that one thinks of."""
  make = r.choice((
      lambda: file.create_dataset(key, data=np.void(evil.pickled(r))),
      lambda: file.create_dataset(key, data=np.array([np.void(evil.pickled(r))] * 24)),
      lambda: file.create_dataset(key, (24,), h5py.ref_dtype),
      lambda: file.create_dataset(key, data=[file.file['/'].ref] * 24,
                                  dtype=h5py.ref_dtype),
      lambda: file.create_dataset(key, (24,), h5py.regionref_dtype),
      lambda: file.create_dataset(key, (24,), h5py.vlen_dtype(np.float32)),
      lambda: file.create_dataset(key, (24, 4), np.dtype([('a', 'f4'), ('b', 'S3')])),
      lambda: file.create_dataset(key, (24, 4), h5py.enum_dtype({'A': 1, 'B': 2}, 'i')),
      lambda: file.create_dataset(key, (24,), np.dtype(('f4', (4,)))),
      lambda: file.create_dataset(key, (24, 4), 'c8'), lambda: file.create_dataset(key, (24, 4),
                                                                                   '?'),
      lambda: file.create_dataset(key, data=h5py.Empty('f4')),
      lambda: file.create_dataset(key, data=3.0), lambda: file.create_dataset(key, (0, 4), 'f4'),
      lambda: file.create_dataset(key, data=['a\n\x1b[2J', 'b'] * 12, dtype=h5py.string_dtype()),
      lambda: file.create_dataset(key, data=[b'\xff\xfe'] * 24, dtype=h5py.string_dtype('utf-8')),
      lambda: file.create_dataset(key, data=['1', '2'] * 12, dtype=h5py.string_dtype()),
      lambda: file.create_dataset(key, (24, 4), '>f8'), lambda: file.create_dataset(key, (24, 4),
                                                                                    'f2'),
      lambda: file.create_dataset(key, (24, 4), np.longdouble),
      lambda: file.__setitem__(key, np.dtype('f4')), lambda: file.create_group(key),
      lambda: file.create_dataset(key, data=np.array(['M'] * 24, 'S'))))
  make()


def _names(file, key, array, r, evil):
  """Names of the keys."""
  for name in ('a\nb', '\x1b[2J', ' ', '*', '..', '\u202e', 'x' * 20_000, '[x]', 'x1:0', '-x',
               '{1}'):
    if name not in file:
      file[name] = array
  file.create_group('deep/' + '/'.join('d' * 1 for _ in range(r.choice((3, 500)))))
  if r.random() < 0.5:
    file[key] = array


def _cycle(file, key, array, r, evil):
  """Groups that hold each other, and very many of them."""
  group = file.create_group(key)
  group['again'] = file['/']
  group['self'] = group
  for i in range(r.choice((3, 5000))):
    group.create_group(f'g{i}')


def _attributes(file, key, array, r, evil):
  dataset = file.create_dataset(key, data=array)
  for name, value in (('MATLAB_class', np.bytes_(b'evil')), ('shape', [2**40, 4]),
                      ('encoding-type', 'csr_matrix'), ('pickle', np.void(evil.pickled(r))),
                      ('\x1b', 'x' * 60_000)):
    dataset.attrs[name] = value


def _sparse(file, key, array, r, evil):
  """A group whose parts do not fit."""
  group, parts = file.create_group(key), sparse_parts(r)
  shape = parts.pop('shape')
  for name, part in parts.items():
    group[name] = valid.h5_text(part)
  where = r.choice(('shape', 'h5sparse_shape', 'dataset'))
  if where == 'dataset':
    group['shape'] = valid.h5_text(shape)
  else:
    group.attrs[where] = valid.h5_text(shape)
  group.attrs[r.choice(('encoding-type', 'h5sparse_format', 'none'))] = r.choice((
      'csr_matrix', 'csc_matrix', 'csr', 'evil', 7))
  if r.random() < 0.3:
    del group['data']
    r.choice((_link, _virtual, _external_storage, _huge))(group, 'data', array, r, evil)


# -- anndata and mudata ----------------------------------------------------------------------------


def _in_annotated(form: str):
  """A valid file, one of whose places is made wrong."""
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    specs = valid.FORMATS[form].write(folder, arrays)
    with h5py.File(folder / f'd.{form}', 'r+') as file:
      for _ in range(r.choice((1, 1, 2))):
        _wrong(file if form == 'h5ad' or r.random() < 0.2 else _first_of(file), arrays, r, evil)
    return specs
  return write


def _has(at: h5py.Group, place: str) -> bool:
  try:
    return place in at
  except RuntimeError:  # a link to nowhere on the way
    return False


def _first_of(file: h5py.File):
  """The first modality, or the whole where the change before took it away."""
  try:
    found = file['mod/a']
  except (KeyError, OSError):  # a link to nowhere
    return file
  return found if isinstance(found, h5py.Group) else file


def _wrong(at, arrays: Arrays, r: random.Random, evil: Harm) -> None:
  place = r.choice([p for p in ('X', 'X', 'X/indptr', 'X/indices', 'X/data', 'obs', 'obs/y',
                                'obs/kind', 'obs/kind', 'obs/kind/codes', 'obs/kind/categories',
                                'obs/_index', 'obsm/x2', 'layers/raw', 'obsm', 'var', 'uns',
                                'obsm/x2', 'obsmap/a', 'obsmap', 'mod/a', 'mod/a/obs')
                    if _has(at, p)] or ['X'])
  group, _, key = place.rpartition('/')
  parent = at[group] if group else at
  if not isinstance(parent, h5py.Group) or not isinstance(
      parent.get(key, getlink=True), h5py.HardLink):
    return  # the change before took its place
  what = r.choice(('attribute', 'attribute', 'values', 'gone', 'made', 'made', 'made'))
  if what == 'attribute':
    item = parent[key]
    item.attrs[r.choice((*item.attrs, 'shape', 'encoding-type', 'encoding-version'))] = r.choice((
        'csr_matrix', 'csc_matrix', 'dataframe', 'dict', 'awkward-array', 'categorical', 'string',
        'nullable-integer', 'null', 'evil', '0.1.0', '99.0', 7, [2**40, 4], [-1, 4], [24],
        '\x1b[2J',
        '../../outside', 'x1', ['a', 'b'], evil.pickled(r).replace(b'\0', b' ')))
  elif what == 'values' and isinstance(parent[key], h5py.Dataset) and parent[key].shape and (
      parent[key].dtype.kind in 'iuf'):
    parent[key][r.randrange(len(parent[key]))] = r.choice((-1, -128, 100, 127, 3))
  elif what == 'made':
    del parent[key]
    make = r.choice((_link, _external_storage, _virtual, _huge, _types, _cycle, _sparse, _bomb,
                     _chunk_lies))
    make(parent, key, arrays['x1'], r, evil)
  else:
    del parent[key]


def _renamed(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
  """A plain HDF5 file by the name of another kind, and the reverse."""
  name = r.choice(('d.h5ad', 'd.h5mu', 'd.mat'))
  valid.FORMATS['h5'].write(folder, arrays)
  (folder / 'd.h5').rename(folder / name)
  return {role: f'{name}:{role}' for role in valid.ROLES} | {'whole': name}


MAKERS: dict[str, Make] = {
    'links': _link, 'storage outside': _external_storage, 'virtual': _virtual, 'huge': _huge,
    'bomb': _bomb, 'chunk that lies': _chunk_lies, 'filters': _filter, 'types': _types,
    'names': _names, 'cycles': _cycle, 'attributes': _attributes}
CRAFTED = {
    'h5': {name: _in_place(make) for name, make in MAKERS.items()},
    'h5 sparse': {'parts that lie': _in_place(_sparse)},
    'mat 7.3': {name: _in_place(MAKERS[name], '.mat') for name in (
        'links', 'storage outside', 'virtual', 'huge', 'types', 'cycles', 'attributes')},
    'h5ad': {'wrong places': _in_annotated('h5ad'), 'another kind of HDF5': _renamed},
    'h5mu': {'wrong places': _in_annotated('h5mu')}}
