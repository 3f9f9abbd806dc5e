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

from mmalign_jax.data import files, sequences, tables
from mmalign_jax.data.formats import guard, numpy_files

FORMATS = ('.npy', '.csv', *files.STORES)


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
  """layers: an [N, D] f32 or f64 each, N shared, D their own; names of them; notes for the user."""
  where: str
  names: tuple[str, ...]
  layers: tuple[np.ndarray, ...]
  notes: tuple[str, ...] = ()


def read(spec: str, argument: str = 'x', layers: str = 'auto', pool: str = '') -> Features:
  """Features of one side alone, finite: `read_sides` of one."""
  return read_sides({argument: spec}, layers, pool)[argument]


def read_sides(specs: dict[str, str], layers: str = 'auto', pool: str = '') -> dict[str, Features]:
  """Features of every side, finite; f64 stays, every other real number becomes f32.

  Args:
    specs: by what an error message calls the side: path of an .npy or .csv file, or of one of
      `files.STORES`, with :KEY (not needed for the only array). A KEY with * or ? names layers, in
      natural order; :INDEX (:KEY:INDEX) picks one of an array [L, N, D], from the end if negative.
    layers, pool: how an array of three axes is read; see `sequences.settled`.

  Raises:
    OSError: no such file.
    ValueError: one line that names the argument and its value, for anything else that does not fit.
  """
  found = {argument: find(spec, argument) for argument, spec in specs.items()}
  return {argument: _features(argument, side)
          for argument, side in sequences.settled(found, layers, pool).items()}


def _features(argument: str, side: sequences.Found) -> Features:
  with named(argument, side.where):
    every = [(name, _numbers(array)) for name, array in side.arrays.items()]
    _check_layers(every)
  return Features(side.where, tuple(name for name, _ in every), tuple(z for _, z in every),
                  side.notes)


def find(spec: str, argument: str) -> sequences.Found:
  """What a side names, as it is in the file; arguments and errors as in `read_sides`."""
  with named(argument, spec):
    return _found(spec, *_parts(spec))


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
    if kind == 'label' and guard.kind(path) == '.csv':
      array, note = tables.column(path)
      return array, (note,)
    found = _found(spec, path, key)
    if len(found.arrays) > 1:
      raise ValueError(f'{len(found.arrays)} arrays fit: {files.listing(found.arrays)}; one is '
                       'needed')
    return next(iter(found.arrays.values())), found.notes


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


def _found(spec: str, path: pathlib.Path, key: str | None) -> sequences.Found:
  suffix = guard.kind(path)
  if suffix == '.npy':
    return _of_store(spec, numpy_files.npy(path), key, files.steps_of_file(path))
  if suffix in files.STORES:
    return _of_store(spec, files.STORES[suffix](path), key, None)
  if suffix != '.csv':
    raise ValueError(f'unknown format {suffix!r}; known: {", ".join(FORMATS)}')
  if key is not None:
    raise ValueError(f'a csv file has no key {key!r}')
  array, note = tables.numbers(path)
  return sequences.Found(spec, {'': array}, notes=(note,))


def _of_store(spec: str, store: files.Store, key: str | None,
              more: sequences.Steps | None) -> sequences.Found:
  """The array of a key, the main or only one, or all that fit a pattern, layer2 before layer10."""
  if key is None and len(store.keys) != 1 and not store.main:
    key = _lone_with_steps(store.keys)
    if key is None:
      raise ValueError(f'which array? add :KEY; it has {files.listing(store.keys)}')
  elif key is None:
    key = store.main or store.keys[0]
  keys, picked = [key], None
  if key not in store.keys:
    keys = sorted((name for name in store.keys if fnmatch.fnmatchcase(name, key)), key=_natural)
    steps = {step for name in keys for step in sequences.beside(name, store.keys).values()}
    keys = [name for name in keys if name not in steps]
  if not keys:
    name, colon, picked = key.rpartition(':')
    if not (colon or store.keys == ('',)) or name not in store.keys:
      raise ValueError(f'no key {key!r}; it has {files.listing(store.keys)}' if store.keys != ('',)
                       else f'an .npy file has no key {key!r}')
    keys = [name]
  arrays = {name: store.read(name) for name in keys}
  steps = {name: sequences.Steps(name, **{
      ending: store.read(at) for ending, at in sequences.beside(name, store.keys).items()})
      for name in keys}
  steps |= {'': more} if more else {}
  if picked is not None:
    arrays = _picked(keys[0], arrays[keys[0]], picked)
    steps = dict(zip(arrays, steps.values()))
  return sequences.Found(spec, arrays, {name: s for name, s in steps.items() if s},
                         picked is not None, tuple(dict.fromkeys(store.remarks)))


def _lone_with_steps(keys: tuple[str, ...]) -> str | None:
  """The only array beside those that describe its steps."""
  steps = {step for name in keys for step in sequences.beside(name, keys).values()}
  left = [name for name in keys if name not in steps]
  return left[0] if len(left) == 1 else None


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
