"""Valid files of every format: two views, a label and groups of the same 24 samples."""

from collections.abc import Callable
import gzip
import importlib.util
import io
import json
import pathlib
from typing import NamedTuple
import warnings

import numpy as np

Arrays = dict[str, np.ndarray]
Specs = dict[str, str]  # by role, as the command line names them; 'whole' for all in one
ROLES = ('x1', 'x2', 'y', 'group')
N = 24


class Format(NamedTuple):
  """write(folder, arrays) puts the arrays into files and says how a command names them; needs: a
  module without which it cannot be written."""
  write: Callable[[pathlib.Path, Arrays], Specs]
  needs: str = ''


def arrays() -> Arrays:
  """x1 [24, 4] f32, x2 [24, 3] f32, y [24] i64 of 3 classes, group [24] i64."""
  g = np.random.default_rng(0)
  y = np.arange(N) % 3
  return {'x1': (y[:, None] + g.normal(size=(N, 4))).astype(np.float32),
          'x2': g.normal(size=(N, 3)).astype(np.float32), 'y': y, 'group': np.arange(N) // 2}


def table() -> np.ndarray:
  """p [2, 3, 2] f64, sum 1."""
  p = np.random.default_rng(1).random((2, 3, 2))
  return p / p.sum()


def available() -> list[str]:
  """Formats that can be written here."""
  return [name for name, row in FORMATS.items()
          if not row.needs or importlib.util.find_spec(row.needs)]


# -- one array a file ------------------------------------------------------------------------------


def _npy(folder: pathlib.Path, arrays: Arrays) -> Specs:
  for role, array in arrays.items():
    np.save(folder / f'{role}.npy', array, allow_pickle=False)
  return {role: f'{role}.npy' for role in arrays} | {'whole': '.'}


def _packed(write: Callable) -> Callable:
  """The files of `write`, each through gzip."""
  def packed(folder: pathlib.Path, arrays: Arrays) -> Specs:
    specs = write(folder, arrays)
    names = [path.name for path in folder.iterdir() if path.is_file()]
    for name in names:
      (folder / f'{name}.gz').write_bytes(gzip.compress((folder / name).read_bytes(), 1))
      (folder / name).unlink()
    for name in names:
      specs = {role: spec.replace(name, f'{name}.gz') for role, spec in specs.items()}
    return specs
  return packed


def lines(array: np.ndarray, prefix: str = 'f', sep: str = ',') -> str:
  """A table with a header."""
  array = np.asarray(array)
  flat = array.reshape(len(array), -1)
  head = sep.join(f'{prefix}{j}' for j in range(flat.shape[1]))
  return '\n'.join([head, *(sep.join(map(str, row)) for row in flat.tolist())]) + '\n'


def _text(suffix: str, sep: str, decimal: str = '.') -> Callable:
  def write(folder: pathlib.Path, arrays: Arrays) -> Specs:
    for role, array in arrays.items():
      text = lines(array, f'{role}_', sep)
      text = text.replace('.', decimal) if decimal != '.' else text
      (folder / f'{role}{suffix}').write_text(text, encoding='utf-8', errors='surrogateescape')
    return {role: f'{role}{suffix}' for role in arrays} | {'whole': '.'}
  return write


# -- all in one file -------------------------------------------------------------------------------


def _keyed(suffix: str, save: Callable[[pathlib.Path, Arrays], None], form: str = '{}') -> Callable:
  """A writer of one file, whose arrays are FILE:KEY with KEY of `form`."""
  def write(folder: pathlib.Path, arrays: Arrays) -> Specs:
    save(folder / f'd{suffix}', arrays)
    return {role: f'd{suffix}:{form.format(role)}' for role in arrays} | {'whole': f'd{suffix}'}
  return write


def frame(arrays: Arrays):
  """One table: a column x1_0, ... of every feature, y and group."""
  import pandas
  columns = {}
  for role, array in arrays.items():
    flat = np.asarray(array).reshape(len(array), -1)
    names = [role] if np.ndim(array) == 1 else [f'{role}_{j}' for j in range(flat.shape[1])]
    columns |= dict(zip(names, flat.T))
  return pandas.DataFrame(columns)


def _one_table(suffix: str, save: Callable) -> Callable:
  """A table of all columns for --data, and one of each role beside it."""
  def write(folder: pathlib.Path, arrays: Arrays) -> Specs:
    save(frame(arrays), folder / f'all{suffix}')
    for role, array in arrays.items():
      save(frame({role: array}), folder / f'{role}{suffix}')
    return {role: f'{role}{suffix}' for role in arrays} | {'whole': f'all{suffix}'}
  return write


def _h5(path: pathlib.Path, arrays: Arrays) -> None:
  import h5py
  with h5py.File(path, 'w') as file:
    for role, array in arrays.items():
      file[role] = h5_text(array)


def h5_text(array: np.ndarray):
  """Text as HDF5 can hold it."""
  return array.astype('S') if np.asarray(array).dtype.kind == 'U' else array


def _h5_packed(path: pathlib.Path, arrays: Arrays) -> None:
  import h5py
  with h5py.File(path, 'w') as file:
    for role, array in arrays.items():
      file.create_dataset(f'deep/{role}', data=h5_text(array), chunks=True, compression='gzip',
                          shuffle=True)


def _h5_sparse(path: pathlib.Path, arrays: Arrays) -> None:
  import h5py
  import scipy.sparse
  with h5py.File(path, 'w') as file:
    for role, array in arrays.items():
      if role in ('x1', 'x2'):
        matrix, group = scipy.sparse.csr_array(array), file.create_group(role)
        for name in ('data', 'indices', 'indptr'):
          group[name] = getattr(matrix, name)
        group.attrs['shape'] = matrix.shape
      else:
        file[role] = h5_text(array)


def _mat(path: pathlib.Path, arrays: Arrays, **options) -> None:
  import scipy.io
  scipy.io.savemat(path, arrays, **options)


def _mat_cell(path: pathlib.Path, arrays: Arrays) -> None:
  import scipy.io
  cell = np.empty(2, object)
  cell[:] = [arrays['x1'], arrays['x2']]
  scipy.io.savemat(path, {'X': cell, 'y': arrays['y']}, do_compression=True)


def _mat_cells(folder: pathlib.Path, arrays: Arrays) -> Specs:
  _mat_cell(folder / 'd.mat', arrays)
  return {'x1': 'd.mat:X{1}', 'x2': 'd.mat:X{2}', 'y': 'd.mat:y', 'whole': 'd.mat'}


def _safetensors(path: pathlib.Path, arrays: Arrays) -> None:
  names = {'float64': 'F64', 'float32': 'F32', 'float16': 'F16', 'int64': 'I64', 'int32': 'I32',
           'int8': 'I8', 'uint8': 'U8', 'uint64': 'U64', 'bool': 'BOOL'}
  head, body = {}, b''
  for role, array in arrays.items():
    array = np.ascontiguousarray(array)
    start, body = len(body), body + array.tobytes()
    head[role] = {'dtype': names[array.dtype.name], 'shape': list(array.shape),
                  'data_offsets': [start, len(body)]}
  text = json.dumps(head).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + body)


def _short(path: pathlib.Path, arrays: Arrays) -> None:
  """bfloat16 and float8 in .safetensors."""
  import ml_dtypes
  head, body = {}, b''
  kinds = {'x1': ('BF16', ml_dtypes.bfloat16), 'x2': ('F8_E4M3', ml_dtypes.float8_e4m3fn)}
  for role, array in arrays.items():
    name, kind = kinds.get(role, ('I64', np.int64))
    data = np.asarray(array).astype(kind).tobytes()
    head[role] = {'dtype': name, 'shape': list(np.shape(array)),
                  'data_offsets': [len(body), len(body) + len(data)]}
    body += data
  text = json.dumps(head).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text + body)


def _sparse_npz(folder: pathlib.Path, arrays: Arrays) -> Specs:
  import scipy.sparse
  for i, (role, form) in enumerate({'x1': 'csr', 'x2': 'coo'}.items()):
    if role in arrays:
      flat = np.asarray(arrays[role]).reshape(len(arrays[role]), -1)  # a sequence has no such form
      scipy.sparse.save_npz(folder / f'{role}.npz', scipy.sparse.coo_array(flat).asformat(form),
                            compressed=bool(i))
  specs = _npy(folder, {role: a for role, a in arrays.items() if role not in ('x1', 'x2')})
  return {'x1': 'x1.npz', 'x2': 'x2.npz'} | {k: v for k, v in specs.items() if k != 'whole'}


def _pt(path: pathlib.Path, arrays: Arrays) -> None:
  """With torch a file of it, else the zip archive with a pickle in it that such a file is."""
  if importlib.util.find_spec('torch'):
    import torch
    torch.save({role: torch.from_numpy(np.array(a)) for role, a in arrays.items()}, path)
    return
  import pickle
  import zipfile
  with zipfile.ZipFile(path, 'w') as file:
    file.writestr('d/data.pkl', pickle.dumps({role: a.tolist() for role, a in arrays.items()}))
    file.writestr('d/version', '3\n')


def annotated(arrays: Arrays):
  """An AnnData: X is x1, obsm x2, obs y and group."""
  import anndata
  import pandas
  import scipy.sparse
  n = len(arrays['x1'])
  obs = pandas.DataFrame({role: arrays[role] for role in ('y', 'group') if role in arrays},
                         index=[f'c{i}' for i in range(n)])
  obs['kind'] = pandas.Categorical([f'k{i % 3}' for i in range(n)])
  return anndata.AnnData(scipy.sparse.csr_matrix(arrays['x1']), obs=obs,
                         obsm={'x2': arrays['x2']}, layers={'raw': arrays['x1']})


def _h5ad(folder: pathlib.Path, arrays: Arrays) -> Specs:
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    annotated(arrays).write_h5ad(folder / 'd.h5ad')
  return {'x1': 'd.h5ad', 'x2': 'd.h5ad:obsm:x2', 'y': 'd.h5ad:obs:y', 'group': 'd.h5ad:obs:kind',
          'whole': 'd.h5ad'}


def _h5mu(folder: pathlib.Path, arrays: Arrays) -> Specs:
  import mudata
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    one, two = annotated(arrays), annotated(arrays)
    two.var_names = [f'v{j}' for j in range(two.n_vars)]
    whole = mudata.MuData({'a': one, 'b': two})
    whole.obs['y'] = arrays['y']
    whole.write_h5mu(folder / 'd.h5mu')
  return {'x1': 'd.h5mu:a:X', 'x2': 'd.h5mu:b:obsm:x2', 'y': 'd.h5mu:obs:y', 'whole': 'd.h5mu'}


def _sequences(folder: pathlib.Path, arrays: Arrays) -> Specs:
  """x1 [24, 5, 4] padded, with its lengths."""
  long = np.repeat(arrays['x1'][:, None], 5, axis=1) if np.ndim(arrays['x1']) == 2 else arrays['x1']
  lengths = np.arange(len(long)) % 5 + 1
  np.savez(folder / 'd.npz', x1=long, x1_length=lengths,
           **{role: a for role, a in arrays.items() if role != 'x1'})
  return {role: f'd.npz:{role}' for role in arrays} | {'whole': 'd.npz'}


def _pickle(path: pathlib.Path, arrays: Arrays, protocol: int) -> None:
  import pickle
  path.write_bytes(pickle.dumps(arrays, protocol))


def _parted(arrays: Arrays) -> dict[str, Arrays]:
  """A training, a validation and a test part; of x1 [24, 4] sequences of 5 steps, in front of which
  are zeros."""
  if np.ndim(arrays['x1']) == 2:
    first = np.arange(len(arrays['x1']))[:, None, None] % 5 <= np.arange(5)[:, None]
    arrays = arrays | {'x1': np.where(first, np.repeat(arrays['x1'][:, None], 5, axis=1), 0)}
  cut = {'train': slice(14), 'valid': slice(14, 18), 'test': slice(18, None)}
  return {part: {role: array[rows] for role, array in arrays.items()}
          for part, rows in cut.items()}


def _pickle_parted(path: pathlib.Path, arrays: Arrays) -> None:
  _pickle(path, _parted(arrays), 4)


def _python_2(path: pathlib.Path, arrays: Arrays) -> None:
  import pickles
  path.write_bytes(pickles.python_2({role: np.asarray(a) for role, a in arrays.items()}))


def _h5_folder(folder: pathlib.Path, arrays: Arrays) -> Specs:
  import h5py
  (folder / 'd').mkdir()
  for part, held in _parted(arrays).items():
    for role, array in held.items():
      with h5py.File(folder / 'd' / f'{role}_{part}.h5', 'w') as file:
        file['d1'] = h5_text(array)
  return {role: f'd:{role}' for role in arrays} | {'whole': 'd'}


def save_npz(path: pathlib.Path, arrays: Arrays) -> None:
  np.savez(path, **arrays)


def _npz_packed(path: pathlib.Path, arrays: Arrays) -> None:
  np.savez_compressed(path, **arrays)


FORMATS = {
    'npy': Format(_npy),
    'npy.gz': Format(_packed(_npy)),
    'csv': Format(_text('.csv', ',')),
    'csv semicolon': Format(_text('.csv', ';', ',')),
    'csv.gz': Format(_packed(_text('.csv', ','))),
    'tsv': Format(_text('.tsv', '\t')),
    'csv one table': Format(_one_table('.csv', lambda t, path: t.to_csv(path, index=False))),
    'csv with index': Format(_one_table('.csv', lambda t, path: t.to_csv(path))),
    'parquet': Format(_one_table('.parquet', lambda t, path: t.to_parquet(path))),
    'npz': Format(_keyed('.npz', save_npz)),
    'npz packed': Format(_keyed('.npz', _npz_packed)),
    'npz sparse': Format(_sparse_npz),
    'npz sequences': Format(_sequences),
    'h5': Format(_keyed('.h5', _h5)),
    'h5 packed': Format(_keyed('.hdf5', _h5_packed, 'deep/{}')),
    'h5 sparse': Format(_keyed('.h5', _h5_sparse)),
    'h5.gz': Format(_packed(_keyed('.h5', _h5))),
    'mat': Format(_keyed('.mat', _mat)),
    'mat packed': Format(_keyed('.mat', lambda p, a: _mat(p, a, do_compression=True))),
    'mat 4': Format(_keyed('.mat', lambda p, a: _mat(
        p, {k: np.asarray(v, np.float64) for k, v in a.items()}, format='4'))),
    'mat 7.3': Format(_keyed('.mat', lambda p, a: _h5(
        p, {k: np.transpose(v) for k, v in a.items()}))),
    'mat cells': Format(_mat_cells),
    'safetensors': Format(_keyed('.safetensors', _safetensors)),
    'safetensors short': Format(_keyed('.safetensors', _short)),
    'pkl': Format(_keyed('.pkl', lambda path, arrays: _pickle(path, arrays, 2))),
    'pkl published': Format(_keyed('.pkl', _pickle_parted)),
    'pkl python 2': Format(_keyed('.pkl', _python_2)),
    'h5 folder': Format(_h5_folder),
    'pt': Format(_keyed('.pt', _pt)),
    'h5ad': Format(_h5ad, 'anndata'),
    'h5mu': Format(_h5mu, 'mudata'),
}


def header(array: np.ndarray) -> bytes:
  """The bytes of an .npy file."""
  out = io.BytesIO()
  np.save(out, array, allow_pickle=False)
  return out.getvalue()
