"""A Dataset in a folder, whole or not at all; and its variables by encoder."""

import contextlib
import itertools
import os
import pathlib
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
  import xarray as xr


def with_encoders(dataset: 'xr.Dataset') -> 'xr.Dataset':
  """The data set with NAME over a dimension `encoder` beside NAME_1, NAME_2, ..., wherever these
  are there of every encoder (that has an accuracy_I) and alike in their dimensions."""
  import xarray as xr
  count = next(i for i in itertools.count() if f'accuracy_{i + 1}' not in dataset)
  stems = [str(name).removesuffix('_1') for name in dataset.data_vars if str(name).endswith('_1')]
  made = {}
  for stem in stems:
    each = [one for i in range(count) if (one := dataset.get(f'{stem}_{i + 1}')) is not None]
    if len(each) < count or any(one.dims != each[0].dims for one in each):
      continue
    said = {name: str(text).replace(' of encoder 1', ' by encoder').replace('I(X1;Y)', 'I(X;Y)')
            for name, text in each[0].attrs.items()}
    made[stem] = xr.concat(each, 'encoder', combine_attrs='drop').assign_attrs(said)
  numbers = ('encoder', [i + 1 for i in range(count)], {'long_name': 'encoder', 'units': '1'})
  return dataset.assign(made).assign_coords(encoder=numbers)


def write_dataset(dataset: 'xr.Dataset', path: pathlib.Path) -> None:
  """Writes a zarr store beside `path` and moves it there; one run at a time.

  What was there stays whole until the new one is: a call that is killed between the two moves
  leaves NAME.old, and the next begins by putting it back.

  Raises:
    OSError: one line that says what is safe.
  """
  part, old = (path.with_name(path.name + end) for end in ('.part', '.old'))
  try:
    if os.path.lexists(old) and not os.path.lexists(path):
      os.rename(old, path)
    _remove(part)
    dataset.to_zarr(part, mode='w', zarr_format=2)
    _to_disk(part)
    _remove(old)
    if os.path.lexists(path):
      os.rename(path, old)
    os.rename(part, path)
    _remove(old)
  except OSError as error:
    with contextlib.suppress(OSError):
      _remove(part)  # where the disk is full, its room is wanted
    raise OSError(f'{path}: {error.strerror or error}; what it is made of is safe, and the same '
                  'command makes it') from error


def read_dataset(path: pathlib.Path) -> 'xr.Dataset':
  """A Dataset of `write_dataset`, in memory.

  Raises:
    FileNotFoundError: it is not there. ValueError: it is damaged, or of another version.
  """
  import xarray as xr
  if not path.is_dir():
    raise FileNotFoundError(f'{path}: missing; the command that began the folder makes it')
  try:
    with xr.open_zarr(path, zarr_format=2) as found:
      return found.load()
  except Exception as error:  # whatever zarr and its codecs say
    why = next(iter(str(error).splitlines()), type(error).__name__)
    raise ValueError(f'{path}: cannot be read: {why}; the command that began the folder makes it '
                     'again') from error


def _remove(path: pathlib.Path) -> None:
  if path.is_dir() and not path.is_symlink():
    shutil.rmtree(path)
  else:
    path.unlink(missing_ok=True)


def _to_disk(store: pathlib.Path) -> None:
  for folder_name, _, names in os.walk(store):
    for name in names:
      with open(os.path.join(folder_name, name), 'rb') as file:
        os.fsync(file.fileno())
