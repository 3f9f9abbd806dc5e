"""Formats, sequences, and files that would do harm: read rightly, or refused in one line."""

import gzip
import io
import os
import pathlib
import pickle
import zipfile
import zlib

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import scipy.sparse
import written

from cases.table import Row
from mmalign_jax.data.files import features, opened
from mmalign_jax.data.files.reading import Reading

Z = np.random.default_rng(0).normal(size=(6, 3))
SEQUENCES = np.random.default_rng(1).normal(size=(60, 12, 7))
OTHER = np.random.default_rng(2).normal(size=(60, 4))


def refused(folder: pathlib.Path, spec, match: str) -> None:
  """Reading ends in one line, and leaves no file that was not there."""
  before = sorted(folder.rglob('*'))
  with pytest.raises((ValueError, OSError), match=match) as info:
    features.read(str(spec), 'X')
  assert '\n' not in str(info.value)
  assert sorted(folder.rglob('*')) == before


def equal(spec, expected) -> None:
  np.testing.assert_array_equal(features.single(str(spec), 'X')[0], expected)


def pair(folder: pathlib.Path, x: np.ndarray, y: np.ndarray, **options):
  """Both sides as files, read as measure does."""
  np.save(folder / 'x.npy', x)
  np.save(folder / 'y.npy', y)
  return features.read_sides({'X': f'{folder}/x.npy', 'Y': f'{folder}/y.npy'},
                             opened.Opened(Reading(**options)))


def undecided(folder: pathlib.Path, x, y, match: str) -> None:
  with pytest.raises(ValueError, match=match) as info:
    pair(folder, x, y)
  assert '\n' not in str(info.value) and '--pool' in str(info.value)


# -- section 4 -------------------------------------------------------------------------------------


def matlab_object(kind: str, match: str):
  def check(folder):
    with written.Mat73(folder / 'm.mat') as mat:
      mat.instance('y', kind)
      mat.cell('cells', [mat.instance('#refs#/a', kind)])
    refused(folder, folder / 'm.mat:y', match)
    refused(folder, folder / 'm.mat:cells{1}', match)
  return check


def matlab_text(folder):
  with written.Mat73(folder / 'm.mat') as mat:
    mat.cell('y', [mat.char(f'#refs#/{i}', text) for i, text in enumerate(('neg', 'pos', 'neg'))])
    mat.char('lines', 'neg', 'pos')
  equal(folder / 'm.mat:y', ['neg', 'pos', 'neg'])
  equal(folder / 'm.mat:lines', ['neg', 'pos'])


def matlab_views(folder):
  with written.Mat73(folder / 'new.mat') as mat:
    mat.cell('X', [mat.numbers('#refs#/a', Z), mat.numbers('#refs#/b', Z[:, :2])], (1, 2))
  views = np.empty(2, object)
  views[:] = [Z, Z[:, :2]]
  scipy.io.savemat(folder / 'old.mat', {'X': views})
  for name in ('new.mat', 'old.mat'):
    equal(f'{folder}/{name}:X{{1}}', Z)
    equal(f'{folder}/{name}:X{{2}}', Z[:, :2])


def short_floats(dtype):
  def check(folder):
    z = Z.astype(dtype)
    safetensors.numpy.save_file({'z': z}, folder / 'z.safetensors')
    equal(folder / 'z.safetensors', z.astype(np.float64))
  return check


def bfloat16_of_numpy(folder):
  z = Z.astype(ml_dtypes.bfloat16)
  np.save(folder / 'z.npy', z)
  np.savez(folder / 'z.npz', z=z)
  for name in ('z.npy', 'z.npz'):
    equal(folder / name, z.astype(np.float64))
    assert any('bfloat16' in note for note in features.read(f'{folder}/{name}', 'X').notes)


def float8_of_numpy(folder):
  for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3b11fnuz):
    np.save(folder / 'z.npy', Z.astype(dtype))
    refused(folder, folder / 'z.npy', 'float8.*.safetensors')


def sequences_with_lengths(folder):
  length = 1 + np.arange(60) % 12
  padded = np.where((np.arange(12) < length[:, None])[:, :, None], SEQUENCES, 1e9)
  np.save(folder / 'x_length.npy', length)
  undecided(folder, padded, padded, 'x_length')
  found = pair(folder, padded, OTHER, pool='mean')['X'].layers
  np.testing.assert_allclose(found, [[s[:n].mean(axis=0) for s, n in zip(SEQUENCES, length)]])


def sequences_pooled(folder):
  x = pair(folder, SEQUENCES, OTHER, layers='none', pool='mean')['X']
  np.testing.assert_allclose(x.layers, [SEQUENCES.mean(axis=1)])


def layers_when_told(folder):
  assert len(pair(folder, SEQUENCES, SEQUENCES, layers='first')['X'].layers) == 60


def clip_file(folder):
  np.save(folder / 'clip.npy', np.stack([Z, Z + 1]))
  for i in (0, 1):
    equal(f'{folder}/clip.npy:{i}', Z + i)


def h5ad(folder):
  anndata = pytest.importorskip('anndata')
  made = anndata.AnnData(scipy.sparse.csr_matrix(np.round(Z)))
  made.obsm['pca'], made.obs['kind'] = Z, list('aabbca')
  made.write_h5ad(folder / 'a.h5ad')
  equal(folder / 'a.h5ad', np.round(Z))
  equal(folder / 'a.h5ad:obsm:pca', Z)
  equal(folder / 'a.h5ad:obs:kind', list('aabbca'))


# -- danger ----------------------------------------------------------------------------------------


def bytes_of(name: str, data: bytes, match: str):
  """A file of these bytes is refused."""
  def check(folder):
    (folder / name).write_bytes(data)
    refused(folder, folder / name, match)
  return check


def zipped(folder, names, compression=zipfile.ZIP_STORED) -> pathlib.Path:
  with zipfile.ZipFile(folder / 'd.npz', 'w', compression) as file:
    for name, data in names:
      file.writestr(name, data)
  return folder / 'd.npz'


def paths_in_an_archive(folder):
  inner = folder / 'inner'
  inner.mkdir()
  path = zipped(inner, [('../../evil.npy', written.npy_bytes(Z)), ('/abs.npy', b'x'),
                        ('nested.npz', b'PK')])
  equal(f'{path}:../../evil', Z)  # a name is a key, and nothing is unpacked
  assert [p.name for p in folder.rglob('*')] == ['inner', 'd.npz']


def twice_in_an_archive(folder):
  for ending in ('', '.npy'):
    refused(folder, zipped(folder, [('z.npy', written.npy_bytes(Z)),
                                    ('z.npy' + ending, written.npy_bytes(Z + 1))]),
            'twice' if not ending else 'which array')


def bomb(folder):
  with zipfile.ZipFile(folder / 'd.npz', 'w', zipfile.ZIP_DEFLATED) as file:
    with file.open('z.npy', 'w') as member:
      member.write(written.npy_header((2**27, 1)))
  refused(folder, folder / 'd.npz', 'but 0 are there')
  head = b'\x1f\x8b\x08\0\0\0\0\0\0\xff'
  (folder / 'z.npy.gz').write_bytes(head + written.deflated(320) + bytes(8))
  refused(folder, folder / 'z.npy.gz', 'unpacks to more than 268435456 bytes')


def other_packing(folder):
  for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    refused(folder, zipped(folder, [('z.npy', written.npy_bytes(np.zeros((999, 9))))], method),
            'packed by zip method')


def pickles(folder):
  class Trap:
    def __reduce__(self):
      return os.mkdir, (f'{folder}/sprung',)
  trap = np.array([[Trap()]], object)
  np.save(folder / 'z.npy', trap)
  np.savez(folder / 'z.npz', z=trap)
  refused(folder, folder / 'z.npy', 'pickled')
  refused(folder, folder / 'z.npz', 'pickled')
  (folder / 'p.npy').write_bytes(pickle.dumps(Trap()))
  refused(folder, folder / 'p.npy', 'cannot be read')
  with h5py.File(folder / 'o.h5', 'w') as file:
    file['opaque'] = np.void(pickle.dumps(Trap()))
    file.create_dataset('objects', (2,), h5py.vlen_dtype(np.uint8))
  refused(folder, folder / 'o.h5:opaque', 'opaque bytes')
  refused(folder, folder / 'o.h5:objects', 'references or objects')


def other_files(folder):
  with h5py.File(folder / 'secret.h5', 'w') as file:
    file['z'] = Z
  (folder / 'raw').write_bytes(Z.tobytes())
  with h5py.File(folder / 'a.h5', 'w') as file:
    file['link'] = h5py.ExternalLink(str(folder / 'secret.h5'), 'z')
    file['soft'] = h5py.SoftLink('/link')
    file['in/link'] = h5py.ExternalLink('/etc/passwd', '/')
    layout = h5py.VirtualLayout(Z.shape, 'f8')
    layout[:] = h5py.VirtualSource(str(folder / 'secret.h5'), 'z', Z.shape)
    file.create_virtual_dataset('virtual', layout)
    file.create_dataset('outside', Z.shape, 'f8', external=[(str(folder / 'raw'), 0, Z.nbytes)])
  for key, match in (('link', 'link to'), ('soft', 'link to'), ('in/link', 'link to'),
                     ('virtual', 'virtual dataset'), ('outside', 'stored in another file')):
    refused(folder, f'{folder}/a.h5:{key}', match)
  (folder / 'a.mat').write_bytes((folder / 'a.h5').read_bytes())
  for key in ('link', 'virtual', 'outside'):
    refused(folder, f'{folder}/a.mat:{key}', 'link to|virtual|another file')


def claims_of_hdf5(folder):
  with h5py.File(folder / 'a.h5', 'w') as file:
    file.create_dataset('z', (2**40, 3), 'f8', chunks=(1024, 3))
    file.create_dataset('unwritten', (2**30, 3), 'f8')
    file.create_dataset('chunk', (2**24, 8), 'f8', chunks=(2**22, 8), compression='gzip')
    data = file.create_dataset('grows', (128, 8), 'f8', chunks=(128, 8), compression='gzip')
    data.id.write_direct_chunk((0, 0), b'\x78\x9c' + written.deflated(640) + bytes(4))
  for key, match in (('z', 'above the bound'), ('unwritten', 'above the bound'),
                     ('chunk', 'above the bound'), ('grows', 'unpacks to more than')):
    refused(folder, f'{folder}/a.h5:{key}', match)


def heaps_without_end(folder):
  with h5py.File(folder / 'a.h5', 'w') as file:
    file['y'] = ['neg', 'pos'] * 4
  data = bytearray((folder / 'a.h5').read_bytes())
  heap = data.find(b'GCOL')
  for at, value in ((16, bytes(16)), (24, b'\xff' * 8), (8, b'\xff' * 4)):
    broken = data.copy()  # an object of no bytes, one beyond the end, a heap beyond the file
    broken[heap + at:heap + at + len(value)] = value
    (folder / 'b.h5').write_bytes(broken)
    refused(folder, folder / 'b.h5', 'damaged: a heap')
  equal(folder / 'a.h5', ['neg', 'pos'] * 4)


def texts_longer_than_their_file(folder):
  for name, options in (('a.h5', {}), ('b.h5', {'chunks': (8,)}),
                        ('c.h5', {'chunks': (8,), 'compression': 'gzip', 'shuffle': True})):
    with h5py.File(folder / name, 'w') as file:
      made = file.create_dataset('y', data=['neg', 'pos'] * 4, **options)
      if 'compression' in options:
        raw = np.frombuffer(zlib.decompress(made.id.read_direct_chunk((0,))[1]), np.uint8)
        raw = raw.reshape(16, 8).T.copy()
        raw[3, :4] = 255
        wild = zlib.compress(raw.T.tobytes())
      else:
        at = made.id.get_offset() or made.id.get_chunk_info(0).byte_offset
    equal(folder / name, ['neg', 'pos'] * 4)
    if 'compression' in options:
      with h5py.File(folder / name, 'r+') as file:
        file['y'].id.write_direct_chunk((0,), wild)
    else:
      with open(folder / name, 'r+b') as file:
        file.seek(at + 3 * 16)
        file.write(b'\xff' * 4)
    refused(folder, folder / name, 'damaged: a text of 4294967295 bytes')


def wild_sparse(folder):
  for shape, indices, indptr, match in (
      ((2, 3), [0, 10**6], [0, 1, 2], 'cannot be read'), ((2, 3), [0, -5], [0, 1, 2], 'cannot be'),
      ((2, 3), [0, 1], [0, 5, 2], 'cannot be'), ((2, 2**40), [0, 1], [0, 1, 2], 'above the bound'),
      ((2**40, 3), [0, 1], [0, 1, 2], 'indptr of a csr'), ((2.5, 3), [0, 1], [0, 1, 2], 'shape')):
    with h5py.File(folder / 'a.h5', 'w') as file:
      file['m/data'], file['m/indices'], file['m/indptr'] = [1.0, 2], indices, indptr
      file['m'].attrs['shape'] = shape
    refused(folder, folder / 'a.h5', match)
    if isinstance(shape[0], int):
      np.savez(folder / 'a.npz', format='csr', shape=shape, data=[1.0, 2], indices=indices,
               indptr=indptr)
      refused(folder, folder / 'a.npz', match)
  scipy.io.savemat(folder / 'a.mat', {'z': scipy.sparse.csc_matrix((2**31 - 9, 3))})
  refused(folder, folder / 'a.mat', 'above the bound')


def claims_of_npy(folder):
  data = bytes(48)
  for shape, descr, match in (
      ((2**40, 3), "'<f8'", 'but 48 are there'), ((2**62, 2**62), "'<f8'", 'larger than any array'),
      ((-1, 3), "'<f8'", 'negative axis'), ((2**40,), "'<U0'", 'values of no bytes'),
      ((3, 2), "'|O'", 'pickled'), ((3, 2), "[('a', '<f8')]", 'not real numbers'),
      ((2**40, 0), "'<f8'", 'no features'), ((3.5, 2), "'<f8'", 'not valid')):
    head = written.npy_header(shape, descr)
    (folder / 'z.npy').write_bytes(head + data)
    refused(folder, folder / 'z.npy', match)
    refused(folder, zipped(folder, [('z.npy', head + data)], zipfile.ZIP_DEFLATED), match)


def nan_payloads(folder):
  z = Z.copy()
  z.view(np.uint64)[2, 1] = 0x7ff4dead00000001  # a signalling NaN
  np.save(folder / 'z.npy', z)
  with h5py.File(folder / 'z.h5', 'w') as file:
    file['z'] = z
  for name in ('z.npy', 'z.h5'):
    refused(folder, folder / name, '1 values not finite, first nan at sample 2, feature 1')


def damaged_text_and_truth(folder):
  (folder / 'z.npy').write_bytes(written.npy_header((2,), "'<U1'") + b'\xff' * 8)
  refused(folder, folder / 'z.npy', 'no characters')
  (folder / 'z.npy').write_bytes(written.npy_header((2, 2), "'|b1'") + bytes([0, 7, 255, 1]))
  equal(folder / 'z.npy', [[False, True], [True, True]])
  assert features.read(f'{folder}/z.npy', 'X').layers[0].sum() == 3


def _cut(data: bytes) -> bytes:
  return data[:len(data) // 2]


def _mat(**variables) -> bytes:
  file = io.BytesIO()
  scipy.io.savemat(file, variables)
  return file.getvalue()


TENSOR = {'dtype': 'F64', 'shape': [2, 1], 'data_offsets': [0, 16]}

ROWS = [
    Row('4', 'a v7.3 string object', matlab_object('string', "class 'string'.*cellstr")),
    Row('4', 'a v7.3 table', matlab_object('table', "class 'table'.*table2array")),
    Row('4', 'a v7.3 datetime', matlab_object('datetime', "class 'datetime'")),
    Row('4', 'a v7.3 categorical', matlab_object('categorical', "class 'categorical'")),
    Row('4', 'v7.3 text', matlab_text), Row('4', 'views in a MATLAB cell', matlab_views),
    Row('4', 'float8 e4m3 in safetensors', short_floats(ml_dtypes.float8_e4m3fn)),
    Row('4', 'float8 e5m2 in safetensors', short_floats(ml_dtypes.float8_e5m2)),
    Row('4', 'bfloat16 in safetensors', short_floats(ml_dtypes.bfloat16)),
    Row('4', 'bfloat16 in npy and npz', bfloat16_of_numpy),
    Row('4', 'float8 in npy', float8_of_numpy),
    Row('4', 'sequences against rows', lambda folder: undecided(
        folder, SEQUENCES, OTHER, r'\(60, 12, 7\); the number of samples fits its first axis')),
    Row('4', 'sequences against sequences', lambda folder: undecided(
        folder, SEQUENCES, SEQUENCES + 1, 'layers, or sequences')),
    Row('4', 'sequences of as many steps as samples', lambda folder: undecided(
        folder, SEQUENCES[:12], OTHER[:12], 'layers, or sequences')),
    Row('4', 'sequences with their lengths', sequences_with_lengths),
    Row('4', 'sequences pooled', sequences_pooled), Row('4', 'layers when told', layers_when_told),
    Row('4', 'two sides in one file', clip_file),
    Row('4', '.h5ad', h5ad),
    Row('danger', 'names and archives in an archive', paths_in_an_archive),
    Row('danger', 'one name twice', twice_in_an_archive), Row('danger', 'bombs', bomb),
    Row('danger', 'other packing', other_packing), Row('danger', 'pickles', pickles),
    Row('danger', 'other files by HDF5', other_files),
    Row('danger', 'heaps without end', heaps_without_end),
    Row('danger', 'texts longer than their file', texts_longer_than_their_file),
    Row('danger', 'claims of HDF5', claims_of_hdf5), Row('danger', 'wild sparse', wild_sparse),
    Row('danger', 'claims of npy', claims_of_npy), Row('danger', 'NaN payloads', nan_payloads),
    Row('danger', 'text and truth', damaged_text_and_truth),
    Row('danger', 'safetensors of 2^40', bytes_of('z.safetensors', written.safetensors(
        {'z': {**TENSOR, 'shape': [2**40]}}, bytes(16)), 'but 16 are there')),
    Row('danger', 'safetensors beyond its end', bytes_of('z.safetensors', written.safetensors(
        {'z': {**TENSOR, 'data_offsets': [0, 2**45]}}, bytes(16)), 'data_offsets')),
    Row('danger', 'safetensors twice', bytes_of('z.safetensors', written.safetensors(
        b'{"z":{},"z":{}}'), 'twice')),
    Row('danger', 'safetensors that nest', bytes_of('z.safetensors', written.safetensors(
        b'[' * 100_000), 'cannot be read')),
    Row('danger', 'safetensors of another type', bytes_of('z.safetensors', written.safetensors(
        {'z': {**TENSOR, 'dtype': 'F4'}}, bytes(16)), "dtype 'F4' is unknown; known: F64")),
    Row('danger', 'half a mat file', bytes_of('z.mat', _cut(_mat(z=Z)), 'cannot be read')),
    Row('danger', 'half an npz file', bytes_of(
        'z.npz.gz', _cut(gzip.compress(written.npy_bytes(Z))), 'cannot be read')),
]
