"""Features of one side from a file: `FILE`, `FILE:KEY`, `FILE:PATTERN*` or `FILE:INDEX`.

A folder of HDF5 files as published counts as one.

One array [N, D], or several layers of the same N samples: an array [L, N, D], or the keys that fit
a pattern. Of a table, KEY is a column, and a pattern several. Nothing in a file is ever executed:
pickled objects are refused.
"""

from collections.abc import Collection
import contextlib
import dataclasses
import fnmatch
import pathlib
import re

import numpy as np

from mmalign_jax.data.files import columns, steps as sequences, stores
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.precision import beyond_float64, needs_float64

MOST_LAYERS = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
  """layers: an [N, D] f32 or f64 each, N shared, D their own; names of them; notes for the user;
  columns: of a table with a header, the names of its features; pooled: as of `steps.Found`."""
  where: str
  names: tuple[str, ...]
  layers: tuple[np.ndarray, ...]
  notes: tuple[str, ...] = ()
  columns: tuple[str, ...] = ()
  pooled: str = ''


def read(spec: str, argument: str = 'x', layers: str = 'auto', pool: str = '') -> Features:
  """Features of one side alone, finite: `read_sides` of one."""
  return read_sides({argument: spec}, Opened(Reading(layers=layers, pool=pool)))[argument]


def read_sides(specs: dict[str, str], opened: Opened | None = None,
               left_out: Collection[tuple[pathlib.Path, str]] = (), gaps: bool = False,
               rows: Collection[int] = (), lone: bool = False) -> dict[str, Features]:
  """Features of every side; f64 where float32 does not hold a number, else f32.

  Args:
    specs: by what an error message calls the side: path of a table, of an .npy file, or of one of
      `files.STORES` with :KEY (not needed for the only array). A KEY with * or ? names layers, in
      natural order; :INDEX (:KEY:INDEX) picks one of an array [L, N, D], from the end if negative.
    opened: how files are read; one for all that belongs together.
    left_out: (file, column) of tables that are no features, beside its index.
    gaps: whether NaN may stay, for missing values; infinite ones are always refused.
    rows: numbers of samples that are known from elsewhere.
    lone: whether a side must be one array, which may then be [N], one feature; it becomes f64.

  Raises:
    OSError: no such file.
    ValueError: one line that names the argument and its value, for anything else that does not fit.
  """
  opened = opened or Opened()
  found = {argument: find(spec, argument, opened, left_out) for argument, spec in specs.items()}
  settle = sequences.one_each if lone else sequences.settled
  settled = settle(found, opened.reading.layers, opened.reading.pool, rows)
  return {argument: checked(argument, side, gaps, lone)
          for argument, side in settled.items()}


def checked(argument: str, side: sequences.Found, gaps: bool = False,
            lone: bool = False) -> Features:
  """A settled side, its arrays as numbers; arguments and errors as in `read_sides`."""
  with named(argument, side.where):
    if lone:
      side = side.with_arrays({name: _column_of(z) for name, z in side.arrays.items()})
    every = [(name, _numbers(array, gaps)) for name, array in side.arrays.items()]
    _check_layers(every)
  return Features(side.where, tuple(name for name, _ in every), tuple(z for _, z in every),
                  side.notes, side.columns, side.pooled)


def find(spec: str, argument: str, opened: Opened | None = None,
         left_out: Collection[tuple[pathlib.Path, str]] = ()) -> sequences.Found:
  """What a side names, as it is in the file; arguments and errors as in `read_sides`."""
  opened = opened or Opened()
  with named(argument, spec):
    path, key = parts(spec)
    source = opened.at(path)
    if isinstance(source, columns.Table):
      return _of_table(spec, source, key, [
          name for at, name in left_out if at.resolve() == path.resolve()])
    more = stores.steps_of_file(path) if guard.kind(path) == '.npy' else None
    return _of_store(spec, source, key, more)


def single(spec: str, argument: str, kind: str = 'numbers',
           opened: Opened | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
  """One array of any shape as it is in the file, and notes for the user.

  Args:
    spec: as in `read_sides`, without layers.
    argument: what an error message calls it.
    kind: 'label' takes a column of a table as text: the one named, or the only one that is no
      index.
    opened: as in `read_sides`.

  Raises:
    OSError, ValueError: as `read_sides`; more than one array.
  """
  opened = opened or Opened()
  with named(argument, spec):
    path, key = parts(spec)
    source = opened.at(path)
    if kind == 'label' and isinstance(source, columns.Table):
      return source.text(_lone_column(source, key)), source.notes
  found = find(spec, argument, opened)
  if len(found.arrays) > 1:
    raise ValueError(f'{argument}={spec!r}: {len(found.arrays)} arrays fit: '
                     f'{stores.listing(found.arrays)}; one is needed')
  return next(iter(found.arrays.values())), found.notes


@contextlib.contextmanager
def named(argument: str, spec: str):
  """ValueErrors and OSErrors within, in one line that names the argument and its value."""
  try:
    yield
  except (ValueError, OSError) as error:
    kind = OSError if isinstance(error, OSError) else ValueError
    begins, said = f'{argument}={spec!r}: ', ' '.join(str(error).split())
    raise kind(said if said.startswith(begins) else begins + said) from error


# -- files -----------------------------------------------------------------------------------------


def parts(spec: str) -> tuple[pathlib.Path, str | None]:
  """The file and what follows it; a path may itself hold colons."""
  ends = [len(spec), *(i for i in range(len(spec) - 1, 0, -1) if spec[i] == ':')]
  for end in ends:
    path = guard.place(spec[:end])
    if path.is_file() or stores.is_folder(path):
      return path, spec[end + 1:] if end < len(spec) else None
  whole = guard.place(spec)
  raise FileNotFoundError('a folder; a file is needed' if whole.is_dir() else
                          'a pipe or a device; a file is needed' if whole.exists() else
                          'no such file')


def _of_table(spec: str, table: columns.Table, key: str | None,
              left_out: Collection[str]) -> sequences.Found:
  """Columns of a table as one array [N, D]: those of a name or pattern, or all features."""
  if not table.names:
    raise ValueError('no columns')
  j = None if key is None else table.place(key)
  chosen = [j] if j is not None else table.features(left_out, key or '')
  if not chosen:
    raise ValueError(f'no column {key!r}; it has {stores.listing(table.names)}' if key is not None
                     else 'no features: every column is an index, an id or a label')
  names = tuple(table.names[j] for j in chosen) if table.named else ()
  return sequences.Found(spec, {'': table.numbers(chosen)}, notes=table.notes, columns=names)


def _lone_column(table: columns.Table, key: str | None) -> int:
  """The place of a column by its name, or of the only one that is no index."""
  j = None if key is None else table.place(key)
  chosen = [j] if j is not None else table.features() if key is None else []
  if key is not None and not chosen:
    raise ValueError(f'no column {key!r}; it has {stores.listing(table.names)}')
  if len(chosen) != 1:
    raise ValueError(f'{len(chosen)} columns; one is needed: add :COLUMN, one of '
                     f'{stores.listing(table.names)}')
  return chosen[0]


def _of_store(spec: str, store: stores.Store, key: str | None,
              more: sequences.Steps | None) -> sequences.Found:
  """The array of a key, the main or only one, or all that fit a pattern, layer2 before layer10."""
  if key is None and len(store.keys) != 1 and not store.main:
    key = _lone_with_steps(store.keys)
    if key is None:
      raise ValueError(f'which array? add :KEY; it has {stores.listing(store.keys)}')
  elif key is None:
    key = store.main or store.keys[0]
  keys, picked = [key], None
  if key not in store.keys:
    keys = sorted((name for name in store.keys if fnmatch.fnmatchcase(name, key)), key=natural)
    if len(keys) > MOST_LAYERS:
      raise ValueError(f'{len(keys)} arrays fit {key!r}; at most {MOST_LAYERS} layers are compared')
    steps = {step for name in keys for step in sequences.beside(name, store.keys).values()}
    keys = [name for name in keys if name not in steps]
  if not keys:
    name, colon, picked = key.rpartition(':')
    if not (colon or store.keys == ('',)) or name not in store.keys:
      raise ValueError(f'no key {key!r}; it has {stores.listing(store.keys)}' if store.keys != ('',)
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
  known = frozenset(keys)
  steps = {step for name in keys for step in sequences.beside(name, known).values()}
  left = [name for name in keys if name not in steps]
  return left[0] if len(left) == 1 else None


def natural(name: str) -> list[tuple[int, str]]:
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


def _numbers(array: np.ndarray, gaps: bool) -> np.ndarray:
  """Finite (but for NaN, if gaps): f64 where it was, or where float32 would round or not hold a
  number, else f32. What float64 does not hold either stays as it is."""
  array = np.asarray(array)
  if array.dtype.kind not in 'biuf':
    raise ValueError(f'not real numbers but {array.dtype}, shape {array.shape}')
  if array.dtype.kind == 'f' and (np.isinf(array).any() if gaps else
                                  not np.isfinite(array).all()):
    bad = np.argwhere(np.isinf(array) if gaps else ~np.isfinite(array))
    axes = ('layer', 'sample', 'feature')[-array.ndim:] if array.ndim in (2, 3) else ('axis',) * 9
    at = ', '.join(f'{axis} {i}' for axis, i in zip(axes, bad[0]))
    raise ValueError(f'{len(bad)} values not finite, first {array[tuple(bad[0])]} at {at} (from 0)')
  if beyond_float64(array):
    return array
  wide = array.dtype.kind == 'f' and array.dtype.itemsize >= 8 or needs_float64(array)
  return array.astype(np.float64 if wide else np.float32, copy=False)


def _column_of(array: np.ndarray) -> np.ndarray:
  """Numbers as f64, [N] as one feature [N, 1]."""
  array = array[:, None] if np.ndim(array) == 1 else array
  plain = array.dtype.kind in 'biuf' and not beyond_float64(array)
  return array.astype(np.float64) if plain else array


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
