"""Files that no library writes: of MATLAB 7.3, and with headers that lie."""

import io
import json
import pathlib
import struct
import zlib

import h5py
import numpy as np


def npy_header(shape, descr: str = "'<f8'") -> bytes:
  """The head of an .npy file that claims `shape`, as text: nothing of it is checked."""
  text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
  text += ' ' * (63 - (len(text) + 10) % 64) + '\n'
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text)) + text.encode()


def npy_bytes(array: np.ndarray) -> bytes:
  """An .npy file in memory."""
  file = io.BytesIO()
  np.save(file, array)
  return file.getvalue()


def safetensors(header: dict | bytes, data: bytes = b'') -> bytes:
  """A .safetensors file whose header says what it is told."""
  header = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(header)) + header + data


def deflated(mebibytes: int) -> bytes:
  """Zeros, deflated without head or check: one block, over and over."""
  stream = zlib.compressobj(9, wbits=-15)
  block = stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH)
  return block * mebibytes + zlib.compressobj(9, wbits=-15).flush()


class Mat73:
  """Variables as MATLAB's save -v7.3 writes them."""

  def __init__(self, path: pathlib.Path):
    self.file = h5py.File(path, 'w', userblock_size=512)
    self.path, self.refs = path, self.file.create_group('#refs#')

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.file.close()
    with open(self.path, 'r+b') as raw:
      raw.write(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')

  def _marked(self, name, data, kind, **attributes):
    item = self.file.create_dataset(name, data=data)
    item.attrs['MATLAB_class'] = np.bytes_(kind)
    for key, value in attributes.items():
      item.attrs[key] = value
    return item

  def numbers(self, name, array, kind='double'):
    return self._marked(name, np.asarray(array).T, kind)

  def char(self, name, *lines: str):
    if not lines[0]:
      return self._marked(name, np.zeros(2, np.uint64), 'char', MATLAB_empty=np.uint8(1))
    codes = [np.frombuffer(line.encode('utf-16-le'), np.uint16) for line in lines]
    return self._marked(name, np.stack(codes).T, 'char', MATLAB_int_decode=np.int32(2))

  def cell(self, name, items, shape=None):
    """items: what `self.numbers` and so on returned, column by column; shape: MATLAB's."""
    shape = shape or (len(items), 1)
    refs = np.array([item.ref for item in items], h5py.ref_dtype).reshape(shape[::-1])
    item = self.file.create_dataset(name, shape[::-1], h5py.ref_dtype)
    item[...] = refs
    item.attrs['MATLAB_class'] = np.bytes_('cell')
    return item

  def instance(self, name, kind):
    """An object of a class: six numbers that mean nothing outside MATLAB."""
    return self._marked(name, np.array([[0xdd000000, 2, 1, 1, 1, 1]], np.uint32), kind,
                        MATLAB_object_decode=np.int32(3))

  def sparse(self, name, matrix):
    """matrix: csc of SciPy."""
    group = self.file.create_group(name)
    group.attrs['MATLAB_class'] = np.bytes_('double')
    group.attrs['MATLAB_sparse'] = np.uint64(matrix.shape[0])
    group['jc'] = matrix.indptr.astype(np.uint64)
    if matrix.nnz:
      group['ir'], group['data'] = matrix.indices.astype(np.uint64), matrix.data

  def struct(self, name, **fields):
    """fields: numbers."""
    self.file.create_group(name).attrs['MATLAB_class'] = np.bytes_('struct')
    for field, array in fields.items():
      self.numbers(f'{name}/{field}', array)
