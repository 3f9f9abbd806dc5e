"""Arrays that runs keep: read as numpy reads them, by several threads at once."""

import ast
from concurrent.futures import ThreadPoolExecutor
import io

import ml_dtypes
import numpy as np
import pytest

from mmalign_jax.data.files.formats import numpy_files
from mmalign_jax.runs import folder, npy

ARRAYS = {
    'matrix': np.random.default_rng(0).normal(size=(3, 5)).astype('f4'), 'none': np.empty((0, 4)),
    'number': np.float32(2.5), 'vector': np.arange(7, dtype='u2'), 'one': np.ones((1,)),
    'truth': np.array([True, False]), 'words': np.array(['é', 'long']), 'bytes': np.array([b'ab']),
    'half': np.ones((2, 1, 3), 'f2'), 'big': np.arange(4, dtype='>i4'),
    'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    'dates': np.array(['2026-01-01'], 'M8[D]'), 'complex': np.array([1 + 2j]),
    'bfloat': np.ones(3, ml_dtypes.bfloat16)}


def packed(array) -> bytes:
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


@pytest.mark.parametrize('name', ARRAYS)
def test_as_numpy_reads_it(name):
  found = npy.read_array(packed(ARRAYS[name]))
  expected = np.load(io.BytesIO(packed(ARRAYS[name])))
  assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
  np.testing.assert_array_equal(found, expected)
  assert found.flags.writeable


@pytest.mark.parametrize('cut', [1, 8, 9])
def test_less_than_the_header_says(cut):
  with pytest.raises(ValueError):
    npy.read_array(packed(np.ones(4, 'f8'))[:-cut])


def test_objects_and_other_bytes_are_refused():
  for content in (packed(np.array([{}], object)), b'', b'\x93NUMPY\x01\x00', b'PK\x03\x04'):
    with pytest.raises(ValueError):
      npy.read_array(content)


def test_a_file_of_a_run_is_read_without_ast(tmp_path, monkeypatch):
  """Threads that are in `ast` together fail in Python 3.11."""
  folder.save(tmp_path / 'a.npz', {name: ARRAYS[name] for name in (
      'matrix', 'number', 'vector', 'truth', 'half')})
  def never(*_, **__):
    raise AssertionError('ast was used')
  monkeypatch.setattr(ast, 'parse', never)
  monkeypatch.setattr(ast, 'literal_eval', never)
  found = folder.load(tmp_path / 'a.npz')
  assert found is not None
  np.testing.assert_array_equal(found['matrix'], ARRAYS['matrix'])


def test_headers_of_data_are_read_by_one_thread_at_a_time(tmp_path, monkeypatch):
  np.save(tmp_path / 'a.npy', ARRAYS['matrix'])
  inside, most = [], []
  real = numpy_files._HEADERS[1, 0]
  def header(file):
    inside.append(1)
    most.append(len(inside))
    try:
      return real(file)
    finally:
      inside.pop()
  monkeypatch.setitem(numpy_files._HEADERS, (1, 0), header)
  with ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda _: numpy_files.npy(tmp_path / 'a.npy').read(''), range(64)))
  assert max(most) == 1 and len(most) == 64
  np.testing.assert_array_equal(found[-1], ARRAYS['matrix'])
