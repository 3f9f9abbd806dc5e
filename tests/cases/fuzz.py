"""What malformed inputs (benchmarks/fuzz.py) have found, each in its smallest form."""

import contextlib
import gzip
import io
import json
import os
import pathlib
import warnings

import numpy as np
import pytest

from cases.table import Row
from mmalign_jax import cli
from mmalign_jax.data.files import features, opened, views
from mmalign_jax.data.files.formats import guard
from mmalign_jax.information import quantise
from mmalign_jax.studies.strength import plan as study, run as loop


def refusal(*argv: str) -> str:
  """The one line that a command ends with."""
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    assert cli.main(list(argv)) == 2
  assert not out.getvalue() and err.getvalue().count('\n') == 1
  return err.getvalue()


def _error(spec: str, **options) -> str:
  try:
    features.read(spec, 'X', **options)
  except ValueError as error:
    return str(error)
  raise AssertionError('read')


def _mapping_is_a_matrix(folder: pathlib.Path) -> None:
  """Its rows were read one by one for names: minutes."""
  import h5py
  with h5py.File(folder / 'd.h5ad', 'w') as file:
    file['X'] = np.ones((3, 2))
    file.create_group('obs').attrs['_index'] = '_index'
    file['obs/_index'] = ['a', 'b', 'c']
    file.create_dataset('obsm', (2**22, 4), 'f4', chunks=True)
  assert 'obsm' in _error(f'{folder}/d.h5ad')


def tensors(path: pathlib.Path, names: list[str]) -> None:
  """A .safetensors file of ones [3, 1]."""
  head = json.dumps({name: {'dtype': 'F32', 'shape': [3, 1], 'data_offsets': [0, 12]}
                     for name in names}).encode()
  path.write_bytes(len(head).to_bytes(8, 'little') + head + np.ones(3, np.float32).tobytes())


def _many_keys(folder: pathlib.Path) -> None:
  """Every name was looked for among all the others."""
  tensors(folder / 'd.safetensors', [f'k{i}' for i in range(20_000)])
  assert '20000 in all' in _error(f'{folder}/d.safetensors')
  assert 'at most 1000 layers' in _error(f'{folder}/d.safetensors:k*')


def _terminal(folder: pathlib.Path) -> None:
  """A name in a file that a terminal would obey."""
  tensors(folder / 'd.safetensors', ['\x1b[2J', '\x9b31m', '\u202e'])
  for spec in ('d.safetensors', 'd.safetensors:\x1b[2J*', '\x1b[2J.npy', 'd.safetensors:\udcff'):
    line = refusal('measure', f'{folder}/{spec}', f'{folder}/{spec}')
    assert line[:-1].isprintable(), line


def _long_cell(folder: pathlib.Path) -> None:
  (folder / 'x.csv').write_text('a,b\n1,' + 'x' * 100_000 + '\n2,3\n')
  assert len(refusal('measure', f'{folder}/x.csv', f'{folder}/x.csv')) < 2 * cli.LONGEST


def _signalling(folder: pathlib.Path) -> None:
  """A NaN whose bits raise a flag when it is cast; warnings are errors in tests."""
  x = np.ones((4, 2), np.float32)
  x.view(np.uint32)[1, 1] = 0x7F800001
  np.save(folder / 'x.npy', x)
  assert 'not finite' in refusal('decompose', f'--x1={folder}/x.npy', f'--x2={folder}/x.npy',
                                 f'--y={folder}/x.npy')
  assert 'not finite' in _error(f'{folder}/x.npy')


def _largest(folder: pathlib.Path) -> None:
  """Numbers whose squares overflow have the cells of the same numbers in another unit."""
  x = np.random.default_rng(0).normal(size=(60, 3))
  for columns in (x, x[:, :1]):
    codes, how = quantise.quantise(columns, 4)
    for factor in (2.0**1020, 2.0**-900):
      np.testing.assert_array_equal(codes, quantise.quantise(columns * factor, 4)[0], how)


def _pipe_in_a_folder(folder: pathlib.Path) -> None:
  """Opening it waited for a writer, without end."""
  for name in ('x1', 'x2'):
    np.savetxt(folder / f'{name}.csv', np.random.default_rng(0).normal(size=(24, 2)), '%.3f', ',')
  os.mkfifo(folder / 'y.csv')
  assert 'not a file but a pipe' in refusal(
      'decompose', f'--data={folder}', '--x1=x1', '--x2=x2', '--y=y')


def _merged(folder: pathlib.Path, change) -> str:
  """What a merge says of two shards, the file of the first changed."""
  for i in (1, 2):
    plan = study.from_settings(dict(lam=(0.0, 1.0), seed=(0,), redundancy=(4,), steps=1,
                                    batch_size=8, n_train=(16,), n_align=16))
    loop.run_study(plan, folder / str(i), shard=(i, 2), progress=False)
  change(next((folder / '1' / 'chunks').glob('*.npz')))
  return refusal('merge', str(folder / '1'), str(folder / '2'), '--nofigures')


def _foreign(change):
  """Arrays that no version writes: an index out of range, by a traceback."""
  def check(folder: pathlib.Path) -> None:
    def rewrite(path):
      with np.load(path) as file:
        found = dict(file)
      np.savez(path, **found | change(found))
    assert 'of another version, and is kept' in _merged(folder, rewrite)
  return check


def _damaged_in_a_merge(folder: pathlib.Path) -> None:
  """The note on the file came on a line of its own, before the error."""
  said = _merged(folder, lambda path: path.write_bytes(path.read_bytes()[:-40]))
  assert 'cells are missing' in said and 'is damaged' in said and 'version' not in said


def _one_text_a_million_times(folder: pathlib.Path) -> None:
  """Each was unpacked: a small file took gigabytes."""
  import pyarrow
  import pyarrow.parquet
  for kind in (pyarrow.string(), pyarrow.large_string()):
    column = pyarrow.array(['x' * 4000] * 100_000, kind)
    pyarrow.parquet.write_table(pyarrow.table({'a': column}), folder / 'd.parquet')
    del column
    pool = pyarrow.default_memory_pool()
    before = pool.bytes_allocated()
    table = opened.Opened().at(folder / 'd.parquet')
    assert pool.bytes_allocated() - before < 2**24
    with pytest.raises(ValueError, match='4000 characters in 100000 rows is no label'):
      table.text(0)
    assert 'not numbers but' in _error(f'{folder}/d.parquet')


def _fill_text(folder: pathlib.Path) -> None:
  """Texts that were never written were all made, from one in the file."""
  import h5py
  with h5py.File(folder / 'd.h5', 'w') as file:
    file.create_dataset('s', (2**20,), h5py.string_dtype(), fillvalue='x' * 1000, chunks=True)
    file['t'] = np.array(['x' * 1000] + ['y'] * 2**18, h5py.string_dtype())
  for key in 'st':
    with pytest.raises(ValueError, match='of up to 1000 characters in .* rows is no label'):
      opened.Opened().column(folder / 'd.h5', key)


def _long_category(folder: pathlib.Path) -> None:
  """One long category of many samples was padded to as many texts."""
  anndata = pytest.importorskip('anndata')
  import pandas
  codes = pandas.Categorical.from_codes(np.zeros(2**17, int), ['x' * 2000])
  anndata.AnnData(np.ones((2**17, 1), np.float32),
                  pandas.DataFrame({'c': codes}, index=list(map(str, range(2**17))))
                  ).write_h5ad(folder / 'd.h5ad')
  with pytest.raises(ValueError, match='of up to 2000 characters in 131072 rows is no label'):
    opened.Opened().column(folder / 'd.h5ad', 'c')


def _nobodys_home(folder: pathlib.Path) -> None:
  """A traceback."""
  assert 'nobody here has that home' in _error('~nobody-of-that-name/x.npy')
  assert 'nobody here' in refusal('measure', '~nobody-of-that-name/x.h5:a', 'y.npy')
  for call in (cli.sweep.config, cli.register.load, cli.figure_path, views.load_paired):
    with pytest.raises(ValueError, match='nobody here has that home'):
      call('~nobody-of-that-name/d.npz')


def _reader_warns(folder: pathlib.Path) -> None:
  """A line of its own before the error."""
  with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter('always')
    with pytest.raises(ValueError, match='cannot be read: no numbers'), guard.reading('d.h5'):
      warnings.warn('indices have a non-integer type', stacklevel=1)
      raise TypeError('no numbers')
  assert not heard


def _packed_table(folder: pathlib.Path) -> None:
  """A table takes some thirty times its text: 300 kB that unpacked to 200 MB took gigabytes."""
  with gzip.open(folder / 'd.csv.gz', 'wb', 1) as file:
    file.write(b'a,b\n' + b'1.5,2.5\n' * 2**21 + b'1\n')
  assert 'more than 16777216 bytes, the bound for a .gz file' in _error(f'{folder}/d.csv.gz')


def _signalling_short(folder: pathlib.Path) -> None:
  """A warning of the cast, from where the short float had become a longer one."""
  head = json.dumps({'x': {'dtype': 'BF16', 'shape': [3, 1], 'data_offsets': [0, 6]}}).encode()
  (folder / 'd.safetensors').write_bytes(
      len(head).to_bytes(8, 'little') + head + np.uint16([0x3F80, 0x7F81, 0x4000]).tobytes())
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert '1 values not finite' in _error(f'{folder}/d.safetensors')


def _index_of_no_kind(folder: pathlib.Path) -> None:
  """A traceback: what pandas says of itself in the file was believed."""
  import pyarrow
  import pyarrow.parquet
  plain = pyarrow.table({'a': [1.5, 2.5, 4.5], 'b': [3.5, 1.5, 2.5]})
  for said in (b'{"index_columns": 0}', b'{"index_columns": {"a": 1}}', b'[1]', b'7'):
    pyarrow.parquet.write_table(plain.replace_schema_metadata({b'pandas': said}),
                                folder / 'd.parquet')
    values, = features.read(str(folder / 'd.parquet'), 'X').layers
    assert values.shape == (3, 2)
  pyarrow.parquet.write_table(plain.replace_schema_metadata({b'pandas': b'{"index'}),
                              folder / 'd.parquet')
  assert 'cannot be read' in _error(f'{folder}/d.parquet')


ROWS = [
    Row('found', 'the home of somebody unknown', _nobodys_home),
    Row('found', 'a parser that warns', _reader_warns),
    Row('found', 'a small .gz of a large table', _packed_table),
    Row('found', 'one long text in a million rows of parquet', _one_text_a_million_times),
    Row('found', 'long texts of HDF5 that were never written', _fill_text),
    Row('found', 'a long category', _long_category),
    Row('found', 'a pipe among the files of a folder', _pipe_in_a_folder),
    *(Row('found', f'merge of a chunk with {what}', _foreign(change)) for what, change in (
        ('cells out of range', lambda a: {'cell': a['cell'] + 100}),
        ('cells below 0', lambda a: {'cell': a['cell'] - 2**40}),
        ('broken cells', lambda a: {'cell': a['cell'] * 0.5}),
        ('one axis too many', lambda a: {'accuracy_1': a['accuracy_1'][:, None]}),
        ('text for numbers', lambda a: {'cka': a['cka'].astype('S')}),
        ('fewer values than cells', lambda a: {'cka': a['cka'][:0]}))),
    Row('found', 'merge of a damaged chunk', _damaged_in_a_merge),
    Row('found', 'obsm of an .h5ad is a matrix', _mapping_is_a_matrix),
    Row('found', 'very many keys', _many_keys),
    Row('found', 'names that a terminal obeys', _terminal),
    Row('found', 'a cell without end', _long_cell),
    Row('found', 'a signalling NaN', _signalling),
    Row('found', 'a signalling NaN of a short type', _signalling_short),
    Row('found', 'an index that is of no kind', _index_of_no_kind),
    Row('found', 'the largest numbers', _largest)]
