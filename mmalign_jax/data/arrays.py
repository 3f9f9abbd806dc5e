"""Features of one side from a file: `FILE`, `FILE:KEY`, `FILE:PATTERN*` or `FILE:INDEX`.

One array [N, D], or several layers of the same N samples: an array [L, N, D], or the keys that fit
a pattern. Nothing in a file is ever executed: pickled objects are refused.
"""

import contextlib
import dataclasses
import fnmatch
import pathlib
import re

import numpy as np

from mmalign_jax.data import files, tables
from mmalign_jax.data.formats import guard

FORMATS = ('.npy', '.csv', *files.STORES)


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
  """layers: an [N, D] f32 or f64 each, N shared, D their own; names of them; notes for the user."""
  where: str
  names: tuple[str, ...]
  layers: tuple[np.ndarray, ...]
  notes: tuple[str, ...] = ()


def read(spec: str, argument: str = 'x') -> Features:
  """Features of one side, finite; f64 stays, every other real number becomes f32.

  Args:
    spec: path of an .npy or .csv file, or of an .npz, .h5, .hdf5, .mat or .safetensors file with
      :KEY (not needed for the only array). A KEY with * or ? names layers, in natural order. An
      array [L, N, D] holds L layers; :INDEX (:KEY:INDEX) picks one, from the end if negative.
    argument: what an error message calls this side.

  Raises:
    OSError: no such file.
    ValueError: one line that names the argument and its value, for anything else that does not fit.
  """
  with named(argument, spec):
    path, key = _parts(spec)
    found, notes = _arrays(path, key)
    every = [(name, _numbers(array)) for name, array in found.items()]
    layers = every if len(every) > 1 else _layers(*every[0])
    _check_layers(layers)
    if len(every) == 1 and every[0][1].ndim == 3:
      notes += (f'{argument} has shape {every[0][1].shape}, read as {len(layers)} layers of '
                f'{len(layers[0][1])} samples; if it is [samples, steps, features], average over '
                'the steps first',)
  return Features(spec, tuple(name for name, _ in layers), tuple(z for _, z in layers), notes)


def single(spec: str, argument: str, kind: str = 'numbers') -> tuple[np.ndarray, tuple[str, ...]]:
  """One array of any shape as it is in the file, and notes for the user.

  Args:
    spec: as in `read`, without layers.
    argument: what an error message calls it.
    kind: 'label' takes the only column of a csv file as text.

  Raises:
    OSError, ValueError: as `read`; more than one array.
  """
  with named(argument, spec):
    path, key = _parts(spec)
    if kind == 'label' and path.suffix.lower() == '.csv':
      array, note = tables.column(path)
      return array, (note,)
    found, notes = _arrays(path, key)
    if len(found) > 1:
      raise ValueError(f'{len(found)} arrays fit: {files.listing(found)}; one is needed')
    return next(iter(found.values())), notes


@contextlib.contextmanager
def named(argument: str, spec: str):
  """ValueErrors and OSErrors within, in one line that names the argument and its value."""
  try:
    yield
  except (ValueError, OSError) as error:
    kind = OSError if isinstance(error, OSError) else ValueError
    raise kind(f'{argument}={spec!r}: {" ".join(str(error).split())}') from error


# -- files -----------------------------------------------------------------------------------------


def _parts(spec: str) -> tuple[pathlib.Path, str | None]:
  """The file and what follows it; a path may itself hold colons."""
  ends = [len(spec), *(i for i in range(len(spec) - 1, 0, -1) if spec[i] == ':')]
  for end in ends:
    path = pathlib.Path(spec[:end]).expanduser()
    if path.is_file():
      return path, spec[end + 1:] if end < len(spec) else None
  raise FileNotFoundError('a folder; a file is needed' if pathlib.Path(spec).expanduser().is_dir()
                          else 'no such file')


def _arrays(path: pathlib.Path, key: str | None) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
  """Arrays by name, and notes."""
  suffix = guard.kind(path)
  if suffix in files.STORES:
    store = files.STORES[suffix](path)
    return _stored(store, key), tuple(dict.fromkeys(store.remarks))
  if suffix == '.npy':
    array = files.npy(path)
    return {'': array} if key is None else _picked('', array, key), ()
  if suffix != '.csv':
    raise ValueError(f'unknown format {path.suffix!r}; known: {", ".join(FORMATS)}')
  if key is not None:
    raise ValueError(f'a csv file has no key {key!r}')
  array, note = tables.numbers(path)
  return {'': array}, (note,)


def _stored(store: files.Store, key: str | None) -> dict[str, np.ndarray]:
  """The array of a key, the only one, or all that fit a pattern, layer2 before layer10."""
  if key is None:
    if len(store.keys) != 1 and not store.main:
      raise ValueError(f'which array? add :KEY; it has {files.listing(store.keys)}')
    key = store.main or store.keys[0]
  if key in store.keys:
    return {key: store.read(key)}
  fitting = [name for name in store.keys if fnmatch.fnmatchcase(name, key)]
  if fitting:
    return {name: store.read(name) for name in sorted(fitting, key=_natural)}
  name, colon, index = key.rpartition(':')
  if colon and name in store.keys:
    return _picked(name, store.read(name), index)
  raise ValueError(f'no key {key!r}; it has {files.listing(store.keys)}')


def _natural(name: str) -> list[tuple[int, str]]:
  """Sorts digits by the number they spell."""
  return [(int(part), '') if part.isdigit() else (-1, part)
          for part in re.split(r'([0-9]+)', name)]


def _picked(name: str, array: np.ndarray, index: str) -> dict[str, np.ndarray]:
  """One layer of an array [L, N, D]."""
  if array.ndim != 3:
    raise ValueError(f'index {index!r} of shape {array.shape}, which is not [layers, samples, '
                     'features]')
  if not re.fullmatch(r'-?[0-9]+', index) or not -len(array) <= int(index) < len(array):
    raise ValueError(f'index {index!r} of {len(array)} layers; 0..{len(array) - 1} is needed')
  at = int(index) % len(array)
  return {f'{name}:{at}' if name else str(at): array[at]}


# -- values ----------------------------------------------------------------------------------------


def _numbers(array: np.ndarray) -> np.ndarray:
  """Finite f64 (where it was 64 bits or more) or f32."""
  array = np.asarray(array)
  if array.dtype.kind not in 'biuf':
    raise ValueError(f'not real numbers but {array.dtype}, shape {array.shape}')
  wide = array.dtype.kind == 'f' and array.dtype.itemsize >= 8
  if array.dtype.kind == 'f' and not np.isfinite(array).all():
    bad = np.argwhere(~np.isfinite(array))
    axes = ('layer', 'sample', 'feature')[-array.ndim:] if array.ndim in (2, 3) else ('axis',) * 9
    at = ', '.join(f'{axis} {i}' for axis, i in zip(axes, bad[0]))
    raise ValueError(f'{len(bad)} values not finite, first {array[tuple(bad[0])]} at {at} (from 0)')
  return array.astype(np.float64 if wide else np.float32, copy=False)


def _layers(name: str, array: np.ndarray) -> list[tuple[str, np.ndarray]]:
  """An array [N, D], or [L, N, D] as its layers."""
  if array.ndim == 3 and len(array):
    return [(f'{name}:{i}' if name else str(i), layer) for i, layer in enumerate(array)]
  return [(name, array)]


def _check_layers(layers: list[tuple[str, np.ndarray]]) -> None:
  """Every layer is [N, D], not empty, of the N of the first."""
  for name, z in layers:
    which = f'{name!r}: ' if len(layers) > 1 else ''
    if z.ndim != 2:
      hint = ('; a single feature is an array [samples, 1]' if z.ndim == 1 else
              '; average or flatten sequences and images first')
      raise ValueError(f'{which}{_DIMENSIONS.get(z.ndim, f"{z.ndim}-dimensional")}, shape '
                       f'{z.shape}; [samples, features] is needed{hint}')
    if not z.size:
      raise ValueError(f'{which}no {"features" if len(z) else "samples"}, shape {z.shape}')
    if len(z) != len(layers[0][1]):
      raise ValueError(f'{which}{len(z)} samples, but {layers[0][0]!r} has {len(layers[0][1])}; '
                       'layers must be of the same samples')


_DIMENSIONS = {0: 'a single number', 1: 'one-dimensional', 3: 'three-dimensional'}
