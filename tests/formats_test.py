"""Every format gives back what was written, whatever it is packed in."""

import builtins
import gzip
import pathlib

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import scipy.sparse
import written

from mmalign_jax.data.files import features, stores
from mmalign_jax.data.files.formats import guard

Z = np.random.default_rng(0).normal(size=(6, 3))
SPARSE = scipy.sparse.random(6, 5, 0.4, 'csr', random_state=0)


def read(spec) -> np.ndarray:
  layer, = features.read(str(spec), 'X').layers
  return layer


def store(path: pathlib.Path) -> stores.Store:
  return stores.STORES[path.suffix](path)


def one_line(call, match: str) -> None:
  with pytest.raises((ValueError, OSError), match=match) as info:
    call()
  assert '\n' not in str(info.value)


# -- packed and sparse -----------------------------------------------------------------------------


def write(path: pathlib.Path) -> pathlib.Path:
  """Z in a file of the format of the suffix, under the key z where there are keys."""
  if path.suffix == '.npy':
    np.save(path, Z)
  elif path.suffix == '.npz':
    np.savez_compressed(path, z=Z)
  elif path.suffix == '.h5':
    with h5py.File(path, 'w') as file:
      file.create_dataset('z', data=Z, compression='gzip', shuffle=True, fletcher32=True)
  elif path.suffix == '.mat':
    scipy.io.savemat(path, {'z': Z}, do_compression=True)
  else:
    safetensors.numpy.save_file({'z': Z}, path)
  return path


@pytest.mark.parametrize('suffix', ['.npy', '.npz', '.h5', '.mat', '.safetensors'])
def test_gz_of_every_format(tmp_path, suffix):
  path = write(tmp_path / f'z{suffix}')
  packed = tmp_path / f'p{suffix}.gz'
  packed.write_bytes(gzip.compress(path.read_bytes()))
  np.testing.assert_array_equal(read(packed), Z)
  np.testing.assert_array_equal(read(path), Z)
  packed.write_bytes(packed.read_bytes()[:60])
  one_line(lambda: read(packed), 'cannot be read')
  packed.write_bytes(b'no gzip at all')
  one_line(lambda: read(packed), 'cannot be read')
  assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, packed.name])


@pytest.mark.parametrize('form', ['csr', 'csc', 'coo', 'bsr', 'dia'])
def test_sparse_npz(tmp_path, form):
  scipy.sparse.save_npz(tmp_path / 's.npz', SPARSE.asformat(form))
  np.testing.assert_array_equal(read(tmp_path / 's.npz'), SPARSE.toarray())


def test_sparse_groups_of_hdf5_are_one_key(tmp_path):
  path, columns = tmp_path / 's.h5', scipy.sparse.csc_array(SPARSE.T)
  with h5py.File(path, 'w') as file:
    for part in ('data', 'indices', 'indptr'):
      file[f'plain/{part}'] = getattr(SPARSE, part)
      file[f'in/csc/{part}'] = getattr(columns, part)
      file[f'matrix/{part}'] = getattr(columns, part)  # 10x Genomics: [features, barcodes]
    file['plain'].attrs['shape'] = SPARSE.shape
    file['in/csc'].attrs.update({'encoding-type': 'csc_matrix', 'shape': columns.shape})
    file['matrix/shape'], file['matrix/features/name'] = columns.shape, ['a'] * 5
  assert set(store(path).keys) == {'plain', 'in/csc', 'matrix'}
  np.testing.assert_array_equal(read(f'{path}:plain'), SPARSE.toarray())
  np.testing.assert_array_equal(read(f'{path}:in/csc'), SPARSE.toarray().T)
  found = features.read(f'{path}:matrix', 'X')
  np.testing.assert_array_equal(found.layers[0], SPARSE.toarray())
  assert any('barcodes are the samples' in note for note in found.notes)


# -- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [
    ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.float16])
def test_short_floats_of_safetensors_keep_every_value(tmp_path, dtype):
  z = (4 * Z).astype(dtype)
  safetensors.numpy.save_file({'z': z}, tmp_path / 'z.safetensors')
  np.testing.assert_array_equal(read(tmp_path / 'z.safetensors'), z.astype(np.float64))


def test_npy_cannot_name_short_floats(tmp_path):
  np.save(tmp_path / 'b.npy', Z.astype(ml_dtypes.bfloat16))
  found = features.read(str(tmp_path / 'b.npy'), 'X')
  np.testing.assert_array_equal(found.layers[0], Z.astype(ml_dtypes.bfloat16).astype(np.float32))
  assert found.notes == ('dtype V2 read as bfloat16, which .npy files cannot name',)
  for dtype in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2):
    np.save(tmp_path / 'f.npy', Z.astype(dtype))
    one_line(lambda: read(tmp_path / 'f.npy'), 'float8.*save float16, or .safetensors')


@pytest.mark.parametrize('dtype', ['>f4', '>f8', '>i2', '<u8', '>f2'])
def test_any_byte_order(tmp_path, dtype):
  z = np.round(40 * np.abs(Z)).astype(dtype)
  np.save(tmp_path / 'z.npy', z)
  with h5py.File(tmp_path / 'z.h5', 'w') as file:
    file['z'] = z
  for path in (tmp_path / 'z.npy', tmp_path / 'z.h5'):
    got = read(path)
    np.testing.assert_array_equal(got, z.astype(np.float64))
    assert got.dtype.isnative


def test_long_doubles_are_rounded_aloud_or_refused(tmp_path):
  if np.dtype(np.longdouble).itemsize == 8:
    pytest.skip('longdouble is float64 here')
  np.save(tmp_path / 'z.npy', np.longdouble([[1, 2], [3, 4]]) / 3)
  found = features.read(str(tmp_path / 'z.npy'), 'X')
  np.testing.assert_array_equal(found.layers[0], np.array([[1, 2], [3, 4]]) / 3)
  assert 'rounded to float64' in found.notes[0]
  np.save(tmp_path / 'z.npy', np.full((2, 2), np.longdouble('1e400')))
  one_line(lambda: read(tmp_path / 'z.npy'), 'beyond the range of float64')


# -- MATLAB ----------------------------------------------------------------------------------------


def test_cells_structs_and_sparse_of_matlab(tmp_path):
  views, square = np.empty(2, object), np.empty((2, 2), object)
  views[:] = [Z, Z[:, :2]]
  for i in range(4):
    square[divmod(i, 2)] = Z + i
  scipy.io.savemat(tmp_path / 'm.mat', {
      'X': views, 'Q': square, 'S': {'a': Z, 'b': {'c': Z[:2]}}, 'sp': SPARSE,
      'R': np.array([(Z, 'x'), (Z + 1, 'y')], [('v', 'O'), ('w', 'O')]),
      'text': np.array(['ab', '', 'c'], object), 'numbers': np.array([1, 2.5], object),
      'mixed': np.array([1, 'a'], object), 'complex': Z + 1j})
  read_one = store(tmp_path / 'm.mat').read
  for key, expected in {'X{2}': Z[:, :2], 'Q{2,1}': Z + 2, 'S.a': Z, 'S.b.c': Z[:2],
                        'sp': SPARSE.toarray(), 'R(2).v': Z + 1, 'text': ['ab', '', 'c'],
                        'numbers': [1, 2.5]}.items():
    np.testing.assert_array_equal(read_one(key), expected)
  assert read_one('X{1}').shape == (6, 3) and read(f'{tmp_path}/m.mat:X{{2}}').shape == (6, 2)
  one_line(lambda: read_one('mixed'), 'cells of numbers and of text, mixed')
  one_line(lambda: read(f'{tmp_path}/m.mat:complex'), 'complex numbers')


def test_matlab_7_3(tmp_path):
  with written.Mat73(tmp_path / 'm.mat') as mat:
    views = [mat.numbers(f'#refs#/{i}', z) for i, z in enumerate((Z, Z[:, :2]))]
    mat.cell('X', views, (1, 2))
    said = ('ab', '', 'c\N{GRINNING FACE}')
    texts = [mat.char(f'#refs#/t{i}', text) for i, text in enumerate(said)]
    mat.cell('labels', texts)
    mat.cell('square', [views[i] for i in (0, 0, 1, 0)], (2, 2))
    mat.char('lines', 'abc', 'def')
    mat.numbers('flag', Z > 0, 'logical')
    mat.sparse('sp', scipy.sparse.csc_array(SPARSE))
    mat.sparse('zero', scipy.sparse.csc_array((4, 3)))
    mat.struct('S', a=Z)
    mat.instance('names', 'string')
    mat.cell('objects', [mat.instance('#refs#/o', 'datetime')])
    mat.numbers('complex', np.zeros((2, 2), [('real', 'f8'), ('imag', 'f8')]))
  found = store(tmp_path / 'm.mat')
  for key, expected in {
      'X{1}': Z, 'X{2}': Z[:, :2], 'labels': ['ab', '', 'c\N{GRINNING FACE}'],
      'square{1,2}': Z[:, :2], 'lines': ['abc', 'def'], 'flag': Z > 0, 'S.a': Z,
      'sp': SPARSE.toarray(), 'zero': np.zeros((4, 3))}.items():
    np.testing.assert_array_equal(found.read(key), expected)
  one_line(lambda: found.read('names'), "'names'.*MATLAB class 'string'.*cellstr")
  one_line(lambda: found.read('objects{1}'), "MATLAB class 'datetime'")
  one_line(lambda: found.read('complex'), 'complex numbers')


# -- anndata and mudata ----------------------------------------------------------------------------


def annotated(order=range(6)):
  anndata, pandas = pytest.importorskip('anndata'), pytest.importorskip('pandas')
  made = anndata.AnnData(
      SPARSE.astype(np.float32), obs=pandas.DataFrame({
          'kind': pandas.Categorical(['a', 'a', 'b', None, 'c', 'a']), 'batch': np.arange(6),
          'count': pandas.array([1, None, 3, 4, 5, 6], 'Int64')}, [f'cell{i}' for i in range(6)]))
  made.obsm['pca'], made.layers['twice'] = Z, scipy.sparse.csc_matrix(SPARSE) * 2
  return made[list(order)].copy()


def test_h5ad(tmp_path):
  path = tmp_path / 'a.h5ad'
  annotated().write_h5ad(path, compression='gzip')
  found = store(path)
  expected = SPARSE.toarray().astype(np.float32)
  np.testing.assert_array_equal(read(path), expected)  # X, where no key is given
  for key, value in {'X': expected, 'obsm:pca': Z, 'layers:twice': 2 * SPARSE.toarray(),
                     'obs:kind': ['a', 'a', 'b', '', 'c', 'a'], 'obs:batch': np.arange(6),
                     'obs:count': [1, np.nan, 3, 4, 5, 6],
                     'obs:index': [f'cell{i}' for i in range(6)]}.items():
    np.testing.assert_array_equal(found.read(key), value)
  one_line(lambda: read(f'{path}:obsm:umap'), "no key 'obsm:umap'; it has 'X', ")


def test_rows_of_modalities_are_the_same_cells(tmp_path):
  mudata = pytest.importorskip('mudata')
  order = [3, 1, 2, 0, 5, 4]
  made = mudata.MuData({'rna': annotated(), 'atac': annotated(order)})
  made.write(tmp_path / 'm.h5mu')
  found = store(tmp_path / 'm.h5mu')
  names = found.read('obs:index')
  for mod in ('rna', 'atac'):
    np.testing.assert_array_equal(found.read(f'{mod}:obs:index'), names)
    np.testing.assert_array_equal(found.read(f'{mod}:X'), SPARSE.toarray().astype(np.float32)[
        [int(name[4:]) for name in names]])
  mudata.MuData({'rna': annotated(), 'atac': annotated(order[:4])}).write(tmp_path / 'm.h5mu')
  one_line(lambda: found.read('atac:X'), "'atac' has 4 samples and the file 6: rows of two")


@pytest.mark.parametrize('suffix, missing, match', [
    ('.h5ad', 'anndata', r"mmalign_jax\[bio\]"), ('.h5mu', 'anndata', r"mmalign_jax\[bio\]"),
    ('.pt', 'torch', 'needs torch, which is not installed')])
def test_what_is_not_installed_is_named(tmp_path, monkeypatch, suffix, missing, match):
  real = builtins.__import__
  def without(name, *rest, **named):
    if name.split('.')[0] == missing:
      raise ImportError(name)
    return real(name, *rest, **named)
  monkeypatch.setattr(builtins, '__import__', without)
  (tmp_path / f'a{suffix}').write_bytes(b'PK')
  one_line(lambda: read(tmp_path / f'a{suffix}'), match)


# -- torch -----------------------------------------------------------------------------------------


def test_torch(tmp_path):
  torch = pytest.importorskip('torch')
  z = torch.tensor(Z)
  torch.save(z, tmp_path / 'z.pt')
  np.testing.assert_array_equal(read(tmp_path / 'z.pt'), Z)
  torch.save({'a': [z, z.bfloat16()], 's': torch.eye(3).to_sparse(), 'n': 3,
              'huge': torch.zeros(1).expand(2**40)}, tmp_path / 'z.pth')
  assert store(tmp_path / 'z.pth').keys == ('a/0', 'a/1', 's', 'huge')
  np.testing.assert_array_equal(read(f'{tmp_path}/z.pth:a/1'), z.bfloat16().float().numpy())
  np.testing.assert_array_equal(read(f'{tmp_path}/z.pth:s'), np.eye(3))
  one_line(lambda: read(f'{tmp_path}/z.pth:huge'), 'above the bound')
  torch.save({'a': np.ones(3)}, tmp_path / 'o.pt')
  one_line(lambda: read(tmp_path / 'o.pt'), 'objects other than tensors are never loaded')


# -- the guard -------------------------------------------------------------------------------------


def test_claims_are_held_against_the_file():
  assert guard.sized((3, 2), 8, held=48) == 48 and guard.sized((2**23, 2), 4, size=10) == 2**26
  for shape, how, match in (((3, 2), {'held': 47}, 'but 47 are there'),
                            ((2**24 + 1,), {'size': 10}, 'above the bound'),
                            ((2**24 + 1,), {'size': 2**22}, 'above the bound'),
                            ((-1, 2), {'held': 99}, 'negative'),
                            ((2**62, 0), {'size': 99}, 'larger than any array')):
    one_line(lambda: guard.sized(shape, 8, **how), match)
  assert guard.sized((2**24 + 1,), 1, size=2**23)  # four values for each byte of a file
