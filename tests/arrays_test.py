"""One side from a file: every format, layers, types, and one line for every mistake."""

import pathlib
import pickle

import h5py
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

from mmalign_jax.data.files import features, views

Z = np.random.default_rng(0).normal(size=(6, 3))


def write(path: pathlib.Path, **named) -> str:
  """A file of the format of its suffix."""
  if path.suffix == '.npz':
    np.savez(path, **named)
  elif path.suffix in ('.h5', '.hdf5'):
    with h5py.File(path, 'w') as file:
      for name, array in named.items():
        file[name] = array
  elif path.suffix == '.mat':
    scipy.io.savemat(path, named)
  else:
    safetensors.numpy.save_file(named, path)
  return str(path)


def npy(path: pathlib.Path, array) -> str:
  np.save(path, array)
  return str(path)


def fails(match: str, spec: str, error=ValueError) -> None:
  """Reading raises `error` in one line that names argument and value, and matches."""
  with pytest.raises(error, match=match) as info:
    features.read(spec, 'X')
  assert '\n' not in str(info.value) and str(info.value).startswith(f'X={spec!r}: ')


# -- formats ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('suffix', ['.npz', '.h5', '.hdf5', '.mat', '.safetensors'])
def test_stores_need_a_key_only_to_choose(tmp_path, suffix):
  one = write(tmp_path / f'one{suffix}', z=Z)
  two = write(tmp_path / f'two{suffix}', z=Z, other=Z + 1)
  for spec, expected in ((one, Z), (f'{one}:z', Z), (f'{two}:other', Z + 1)):
    found = features.read(spec)
    np.testing.assert_array_equal(found.layers, [expected])
    assert found.layers[0].dtype == np.float64 and found.where == spec
  fails("which array\\? add :KEY; it has '(other|z)', '(other|z)'", two)
  fails("no key 'Z'; it has '(other|z)', '(other|z)'", f'{two}:Z')
  fails("no key ''", f'{two}:')


def test_keys_of_groups_in_hdf5(tmp_path):
  path = write(tmp_path / 'z.h5', **{'encoder/2': Z, 'encoder/10': Z + 1, 'y': Z + 2})
  assert features.read(f'{path}:encoder/*').names == ('encoder/2', 'encoder/10')
  np.testing.assert_array_equal(features.read(f'{path}:encoder/10').layers, [Z + 1])


def test_npy_and_csv(tmp_path):
  np.testing.assert_array_equal(features.read(npy(tmp_path / 'z.npy', Z)).layers, [Z])
  path = tmp_path / 'z.csv'
  for header in ('', 'a,b,c\n'):
    path.write_text(header + '\n'.join(','.join(map(repr, row)) for row in Z.tolist()) + '\n')
    found = features.read(str(path))
    np.testing.assert_array_equal(found.layers, [Z])
    read_as = 'a header' if header else 'data: no header'
    assert found.notes == (f'z.csv: first line read as {read_as}; 6 rows',)


@pytest.mark.parametrize('dtype, expected', [
    (np.float64, np.float64), (np.float32, np.float32), (np.float16, np.float32),
    (np.int64, np.float32), (np.uint8, np.float32), (bool, np.float32),
    (ml_dtypes.bfloat16, np.float32)])
def test_types(tmp_path, dtype, expected):
  z = (4 * Z).astype(dtype)
  path = write(tmp_path / 'z.safetensors', z=z)
  found = features.read(path).layers[0]
  assert found.dtype == expected
  np.testing.assert_array_equal(found, z.astype(expected))


def test_paired_data_reads_safetensors_too(tmp_path):
  path = write(tmp_path / 'd.safetensors', x1=np.tile(Z, (10, 1)).astype(ml_dtypes.bfloat16),
               x2=np.tile(Z, (10, 1)), y=np.arange(60) % 2)
  assert views.load_paired(path).x1_train.shape == (45, 3)


@pytest.mark.parametrize('name', ['a:b.npy', 'a:b/c.npy', 'z.npy:1', '0:1.npy'])
def test_paths_with_colons(tmp_path, name):
  path = tmp_path / name
  path.parent.mkdir(exist_ok=True)
  with open(path, 'wb') as file:
    np.save(file, Z)
  if path.suffix == '.npy':
    np.testing.assert_array_equal(features.read(str(path)).layers, [Z])
  else:  # a file of that very name comes before an index
    fails("unknown format '.npy:1'", str(path))
  store = write(tmp_path / 'a:b.npz', **{'k:1': Z})
  np.testing.assert_array_equal(features.read(f'{store}:k:1').layers, [Z])


# -- layers ----------------------------------------------------------------------------------------


def test_three_dimensions_are_layers(tmp_path):
  stack = np.stack([Z, Z + 1, Z + 2])
  path = npy(tmp_path / 'z.npy', stack)
  found = features.read(path, layers='first')
  assert found.names == ('0', '1', '2')
  np.testing.assert_array_equal(found.layers, stack)
  for index, at in ((1, 1), (-1, 2)):
    found = features.read(f'{path}:{index}')
    assert found.names == (str(at),)
    np.testing.assert_array_equal(found.layers, stack[[at]])
  store = write(tmp_path / 'z.npz', z=stack, y=Z)
  assert features.read(f'{store}:z', layers='first').names == ('z:0', 'z:1', 'z:2')
  np.testing.assert_array_equal(features.read(f'{store}:z:2').layers, stack[[2]])
  fails("index '3' of 3 layers; 0..2 is needed", f'{path}:3')
  fails("index 'last' of 3 layers", f'{path}:last')
  fails("index '0' of shape \\(6, 3\\)", f'{store}:y:0')


def test_a_pattern_names_layers_in_natural_order(tmp_path):
  layers = {f'layer{i}': Z[:, :1 + i % 3] + i for i in (10, 2, 0, 1)}
  path = write(tmp_path / 'z.npz', **layers, labels=np.arange(6), **{'w[0]': Z})
  found = features.read(f'{path}:layer*')
  assert found.names == ('layer0', 'layer1', 'layer2', 'layer10')
  for name, z in zip(found.names, found.layers):
    np.testing.assert_array_equal(z, layers[name])
  assert features.read(f'{path}:layer?').names == ('layer0', 'layer1', 'layer2')
  assert features.read(f'{path}:w[0]').names == ('w[0]',)  # a key before a pattern
  fails("'labels': one-dimensional, shape \\(6,\\)", f'{path}:la*')
  fails("no key 'lay_\\*'", f'{path}:lay_*')
  uneven = write(tmp_path / 'u.npz', a0=Z, a1=Z[:5])
  fails("'a1': 5 samples, but 'a0' has 6", f'{uneven}:a*')


# -- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize('array, match', [
    (np.arange(6.0), 'one-dimensional, shape \\(6,\\); \\[samples, features\\] is needed'),
    (np.float64(1), 'a single number, shape \\(\\)'),
    (np.zeros((2, 3, 4, 5)), '4-dimensional, shape'),
    (np.zeros((0, 3)), 'no samples, shape \\(0, 3\\)'),
    (np.zeros((3, 0)), 'no features, shape \\(3, 0\\)'),
    (np.zeros((0, 4, 3)), 'shape \\(0, 4, 3\\)'),
    (Z + 1j, 'not real numbers but complex128'),
    (Z.astype(str), 'not real numbers but <U'),
    (np.where(Z == Z[4, 1], np.nan, Z), '1 values not finite, first nan at sample 4, feature 1'),
    (np.zeros((2, 6, 3)), 'shape \\(2, 6, 3\\); layers, or sequences\\? --layers=first')])
def test_wrong_arrays(tmp_path, array, match):
  fails(match, npy(tmp_path / 'z.npy', array))
  fails(match, write(tmp_path / 'z.npz', z=array))


def test_wrong_files(tmp_path):
  fails('no such file', str(tmp_path / 'gone.npy'), OSError)
  fails('no such file', str(tmp_path / 'gone.npz:key'), OSError)
  fails('a folder; a file is needed', str(tmp_path), OSError)
  for name in ('z.txt', 'z'):
    (tmp_path / name).write_text('1,2\n')
    fails('unknown format .*; known: .npy, .csv, .tsv, .parquet, .npz, .h5', str(tmp_path / name))
  for suffix in ('.npy', '.npz', '.h5', '.mat', '.safetensors'):
    (tmp_path / f'bad{suffix}').write_bytes(b'not one of these\n' * 9)
    fails('cannot be read', str(tmp_path / f'bad{suffix}'))
  path = tmp_path / 'z.csv'
  for text, match in (('a,b\n1,2\n3,x\n', "row 1, column 1 .from 0.: not a number: 'x'"),
                      ('a,b\n1,2\n3\n', 'line 3 has 1 cells'), ('', 'empty file'),
                      ('a,b\n', 'no (samples|features)'), ('1,2\n3,\n', 'first nan at sample 1')):
    path.write_text(text)
    fails(match, str(path))
  path.write_text('b,c\n1,2\n')
  fails("no column 'a'; it has 'b', 'c'", f'{path}:a')


class Trap:
  """Unpickling it would write a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


def test_nothing_is_unpickled(tmp_path):
  trap = np.array([[Trap(tmp_path / 'sprung')]], dtype=object)
  fails('cannot be read', npy(tmp_path / 'z.npy', trap))
  fails('cannot be read', write(tmp_path / 'z.npz', z=trap))
  (tmp_path / 'p.npy').write_bytes(pickle.dumps(Trap(tmp_path / 'sprung')))
  fails('cannot be read', str(tmp_path / 'p.npy'))
  assert not (tmp_path / 'sprung').exists()
