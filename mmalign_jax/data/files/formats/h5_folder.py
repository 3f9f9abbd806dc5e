"""Folders of HDF5 files, one for each view and part: audio_train.h5, text_valid_emb.h5, y_test.h5.

So the CMU data sets (MMMO, MOSI and others of the memory fusion network) are published: dataset d1,
sequences [N, T, F], labels y_PART.
"""

import pathlib
import re

import numpy as np

from mmalign_jax.data.files.formats import guard, hdf5, parts
from mmalign_jax.data.files.formats.store import Store

_FILE = re.compile(rf'(.+?)[-_]({"|".join(parts.ENDINGS)})((?:[-_][^.]*)?)\.(?:h5|hdf5)(?:\.gz)?')
_DATASET = 'd1'
_OTHERS = ('.npy', '.csv', '.tsv', '.parquet')


def recognised(folder: pathlib.Path) -> bool:
  """Whether this is a folder of HDF5 files, some of a training and some of a test part; not where
  arrays or tables lie beside them, which are read then."""
  return (folder.is_dir() and {'train', 'test'} <= {part for _, part in _files(folder)}
          and not any(guard.kind(path) in _OTHERS for path in folder.iterdir()))


def _files(folder: pathlib.Path) -> dict[tuple[str, str], pathlib.Path]:
  """Files by (name, part).

  Raises:
    ValueError: two files of one name and part.
  """
  found: dict[tuple[str, str], pathlib.Path] = {}
  for path in sorted(folder.iterdir()):
    if match := _FILE.fullmatch(path.name):
      name, part = match[1], parts.ALIAS.get(match[2], match[2])
      if (name, part) in found:
        raise ValueError(f'{folder}: {found[name, part].name} and {path.name} are both {name!r} of '
                         f'the {part} part')
      found[name, part] = path
  return found


def store(folder: pathlib.Path) -> Store:
  """The arrays of all files, by name and part.

  Raises:
    ValueError: a file that cannot be read, or holds several arrays and none is called d1.
  """
  made: dict[str, dict[str, parts.Leaf]] = {}
  size = 0
  for (name, part), path in _files(folder).items():
    made.setdefault(part, {})[name] = _leaf(path)
    size += path.stat().st_size
  y = next((name for name in ('y', 'label', 'labels') if name in made['train']), 'y')
  return parts.store(str(folder), made, y, size)


def _leaf(path: pathlib.Path) -> parts.Leaf:
  """The array of one file, not yet read."""
  import h5py  # slow to import, and seldom needed
  found = hdf5.h5(path)
  key = _DATASET if _DATASET in found.keys else found.keys[0] if len(found.keys) == 1 else None
  if key is None:
    raise ValueError(f'{path}: no {_DATASET!r}, and not one array; it has '
                     f'{guard.listing(found.keys)}')
  with guard.reading(path), hdf5.opened(path) as file:
    item = hdf5.inside(file, key)
    if not isinstance(item, h5py.Dataset) or item.shape is None:
      raise ValueError(f'{key!r} is no plain array')
    shape = tuple(map(int, item.shape))
  def read() -> np.ndarray:
    return found.read(key)
  return parts.Leaf(shape, read)
