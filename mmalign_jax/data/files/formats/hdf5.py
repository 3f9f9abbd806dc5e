"""HDF5 files: datasets by path, and groups that hold the parts of a sparse matrix.

No other file is touched: links that lead elsewhere, virtual datasets and external storage are
refused before HDF5 follows them, and so are filters that it would load as plugins.
"""

from collections.abc import Iterator
import contextlib
import io
import mmap
import os
import pathlib
import zlib

import numpy as np

from mmalign_jax.data.files.formats import guard, sparse
from mmalign_jax.data.files.formats.store import Store, plain

_FILTERS = {1: 'deflate', 2: 'shuffle', 3: 'fletcher32', 4: 'szip', 5: 'nbit', 6: 'scaleoffset',
            32000: 'lzf'}  # what HDF5 and h5py carry themselves
_DEFLATE, _SHUFFLE = 1, 2
_TEXT = 16       # bytes that say how long a text is, and where
_PACKING = (1, 4, 32000)
_PARTS = ('data', 'indices', 'indptr')
_MOST_ITEMS = 100_000
_HEAP = b'GCOL\x01\0\0\0'
_SCANNED = 2**30  # bytes


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator:
  """A file of h5py whose heaps of text HDF5 can walk; in memory what a .gz file unpacks to."""
  import h5py  # slow to import, and seldom needed
  with guard.opened(path) as raw:
    _check_heaps(raw)
  with guard.source(path) as source, h5py.File(source, 'r') as file:
    yield file


def _check_heaps(raw: guard.File) -> None:
  """Every heap of text and references is a chain of objects that ends.

  HDF5 follows the sizes in it without end where one is 0. Beyond _SCANNED bytes nothing is checked.
  """
  if isinstance(raw, io.BytesIO):
    data = raw.getvalue()
  elif guard.length(raw):
    data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
  else:
    return
  whole = lambda at, count: int.from_bytes(data[at:at + count], 'little')
  start = data.find(_HEAP, 0, _SCANNED)
  while start >= 0:
    end = start + whole(start + 8, 8)
    at = start + 16
    if end > len(data):
      raise ValueError('damaged: a heap of text longer than the file')
    while at + 16 <= end:
      index, count = whole(at, 2), whole(at + 8, 8)
      at += count if index == 0 else 16 + count + -count % 8
      if index == 0 and count < 16 or at > end:
        raise ValueError('damaged: a heap of text that does not end')
    start = data.find(_HEAP, start + 8, _SCANNED)


def h5(path: pathlib.Path) -> Store:
  """The datasets of a file by path; a sparse group is one array, by the path of the group."""
  import h5py
  size, remarks = path.stat().st_size, []
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'), opened(path) as file:
      item = inside(file, key)
      if isinstance(item, h5py.Group):
        return plain(matrix(item, size, remarks), remarks)
      return plain(values(item, size), remarks)
  with guard.reading(path), opened(path) as file:
    return Store(str(path), tuple(_keys(file)), read, remarks=remarks)


def recognised(raw: guard.File) -> bool:
  """Whether this is HDF5: its signature begins the file, or stands at 512, 1024, 2048, ..."""
  at, end = 0, raw.seek(0, 2)
  while at < end:
    raw.seek(at)
    if raw.read(8) == b'\x89HDF\r\n\x1a\n':
      return True
    at = 2 * at or 512
  return False


def _keys(file) -> list[str]:
  """Paths of datasets and sparse groups; and of links, which cannot be read."""
  import h5py
  found, groups = [], []
  def visit(key, item):
    if len(found) > _MOST_ITEMS:
      raise ValueError(f'more than {_MOST_ITEMS} datasets')
    if isinstance(item, h5py.Group) and form(item):
      groups.append(key)
    if isinstance(item, h5py.Group) and not form(item):
      found.extend(f'{key}/{name}' for name in item.keys() if _link(item, name))
    elif not any(key.startswith(f'{group}/') for group in groups):
      found.append(key)
  found.extend(name for name in file if _link(file, name))
  if form(file):
    raise ValueError('the file is itself the group of a sparse matrix; put it into a group')
  file.visititems(visit)
  return found


def _link(group, name: str) -> str:
  """What a link that is not a plain one leads to; '' for a plain one."""
  import h5py
  link = group.get(name, getlink=True)
  if isinstance(link, h5py.HardLink):
    return ''
  return (f'{link.filename}:{link.path}' if isinstance(link, h5py.ExternalLink)
          else str(getattr(link, 'path', 'elsewhere')))


def inside(file, key: str):
  """The dataset or group of a path all of whose links are plain.

  Raises:
    ValueError: a link to another file or place, or no such item.
  """
  item = file
  for name in key.strip('/').split('/'):
    if name not in item.keys() and item.get(name, getlink=True, default=None) is None:
      raise ValueError(f'no {key!r}')
    if to := _link(item, name):
      raise ValueError(f'{name!r} is a link to {to!r}; no other file or place is read: copy the '
                       'data into the file')
    item = item[name]
  return item


def checked(dataset, size: int):
  """A dataset whose data lie in the file, and are no more than it can hold or unpack.

  Args:
    dataset: of h5py.
    size: bytes of the file.

  Raises:
    ValueError: it is virtual, stored outside, filtered by a plugin, or too large.
  """
  import h5py
  plan = dataset.id.get_create_plist()
  if plan.get_layout() == h5py.h5d.VIRTUAL:
    raise ValueError('a virtual dataset, whose data are in other files; copy them into one')
  if plan.get_external_count():
    raise ValueError('its data are stored in another file; no other file is read: copy them')
  filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
  unknown = [code for code in filters if code not in _FILTERS]
  if unknown:
    raise ValueError(f'compressed by filter {unknown[0]}, which HDF5 itself does not have; repack '
                     'it with gzip')
  if dataset.shape is None:
    raise ValueError('an empty dataset without a shape')
  itemsize = dataset.dtype.itemsize
  if plan.get_layout() == h5py.h5d.CHUNKED:
    guard.sized(plan.get_chunk(), itemsize, size=size)
    guard.sized(dataset.shape, itemsize, size=size)
    _check_chunks(dataset, filters, itemsize * int(np.prod(plan.get_chunk())), size)
  elif dataset.id.get_storage_size():
    guard.sized(dataset.shape, itemsize, held=min(dataset.id.get_storage_size(), size))
  else:
    guard.sized(dataset.shape, itemsize, size=size)  # never written: all fill values
  _check_texts(dataset, size)
  return dataset


def _check_chunks(dataset, filters: list[int], chunk: int, size: int) -> None:
  """No chunk unpacks to more than it holds: HDF5 would take memory for whatever comes out."""
  if sum(code in _PACKING for code in filters) > 1:
    raise ValueError('packed twice; repack it with gzip alone')
  if _DEFLATE not in filters or not guard.inflates(size, size):
    return
  def check(info):
    if info.size <= size and guard.inflates(info.size, size):
      _, packed = dataset.id.read_direct_chunk(info.chunk_offset)
      try:
        guard.inflated([packed], 2 * chunk + 1024)
      except zlib.error:
        pass  # damaged, and HDF5 says so
  dataset.id.chunk_iter(check)


def _check_texts(dataset, size: int) -> None:
  """No text claims more bytes than its file has, nor all together too many, each padded to the
  longest: HDF5 would take memory for them first.

  What lies in memory, within a header, or is packed in another way than gzip, is not checked.
  """
  import h5py
  plan = dataset.id.get_create_plist()
  kind = dataset.id.get_type()
  if not (isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()):
    return
  longest = 0
  if plan.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
    longest = len(dataset.fillvalue or b'')
    guard.check_padded(longest, dataset.size, dataset.name)
  if dataset.file.driver == 'fileobj':
    return
  if plan.get_layout() == h5py.h5d.CHUNKED:
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    found = []
    dataset.id.chunk_iter(lambda info: found.append(info.chunk_offset))
    blocks = (_unpacked(dataset.id.read_direct_chunk(at), filters,
                        _TEXT * int(np.prod(plan.get_chunk()))) for at in found)
  else:
    at, count = dataset.id.get_offset(), dataset.id.get_storage_size()
    blocks = () if at is None else (os.pread(dataset.file.id.get_vfd_handle(), count, at),)
  for block in blocks:
    lengths = np.frombuffer(block[:len(block) // _TEXT * _TEXT], '<u4')[::_TEXT // 4]
    if len(lengths) and int(lengths.max()) > size:
      raise ValueError(f'damaged: a text of {lengths.max()} bytes in a file of {size}')
    longest = max(longest, int(lengths.max(initial=0)))
    guard.check_padded(longest, dataset.size, dataset.name)


def _unpacked(chunk: tuple[int, bytes], filters: list[int], count: int) -> bytes:
  """The `count` bytes of a raw chunk; none where it is packed in another way than gzip."""
  skipped, data = chunk
  if skipped or set(filters) - {_DEFLATE, _SHUFFLE}:
    return b''
  data = zlib.decompressobj().decompress(data, count) if _DEFLATE in filters else data
  if _SHUFFLE in filters and len(data) == count:
    data = np.frombuffer(data, np.uint8).reshape(_TEXT, -1).T.tobytes()
  return data


def values(dataset, size: int) -> np.ndarray:
  """A checked dataset: numbers, or text as str.

  Raises:
    ValueError: see `checked`; references and objects.
  """
  import h5py
  checked(dataset, size)
  if h5py.check_string_dtype(dataset.dtype):
    found = np.asarray(dataset.asstr()[()])
    return guard.texts(found.ravel().tolist(), dataset.name).reshape(found.shape)
  if dataset.dtype.kind == 'O':
    raise ValueError('it holds references or objects; save numbers or plain strings')
  if dataset.dtype.kind == 'V':
    raise ValueError('it holds records or opaque bytes; save numbers or plain strings')
  return dataset[()]


def form(group) -> str:
  """'csr' or 'csc' where a group holds a sparse matrix, else ''; '10x' by the shape dataset."""
  if not all(part in group for part in _PARTS):
    return ''
  if 'shape' in group and 'shape' not in group.attrs:
    return '10x'
  said = group.attrs.get('encoding-type', group.attrs.get('h5sparse_format', ''))
  said = said.decode() if isinstance(said, bytes) else str(said)
  if said.removesuffix('_matrix') in sparse.COMPRESSED:
    return said.removesuffix('_matrix')
  return 'csr' if 'shape' in group.attrs or 'h5sparse_shape' in group.attrs else ''


def matrix(group, size: int, remarks: list[str]) -> np.ndarray:
  """The sparse matrix of a group, filled in.

  The forms of anndata (attributes encoding-type and shape), of h5sparse (h5sparse_format and
  h5sparse_shape), and of 10x Genomics (csc [features, barcodes] with a dataset `shape`: turned, so
  that barcodes are the samples). With a shape alone it is csr.
  """
  how = form(group)
  data, indices, indptr = (values(inside(group, part), size) for part in _PARTS)
  if how == '10x':
    shape = values(inside(group, 'shape'), size)
    remarks.append(f'{group.name}: a 10x matrix {shape[::-1].tolist()}: barcodes are the samples')
    return sparse.compressed('csr', shape[::-1], data, indices, indptr, size)
  shape = group.attrs['shape'] if 'shape' in group.attrs else group.attrs['h5sparse_shape']
  return sparse.compressed(how, shape, data, indices, indptr, size)
