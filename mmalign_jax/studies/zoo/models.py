"""The models of a zoo: which features are whose, looked at once, read again when they are needed.

A file with keys holds a model a key; another file is one model, named as the file; a folder holds a
model a file, or a model a key of the files that have several. FILE:PATTERN is the keys that fit,
FOLDER:PATTERN the layers of the model in every file.
"""

from collections.abc import Collection, Mapping, Sequence
import dataclasses
import fnmatch
import pathlib
import zlib

import numpy as np

from mmalign_jax.data.files import columns, features, gaps, pooling, rows, steps, stores
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import FORMATS, Opened
from mmalign_jax.data.files.reading import Reading

Layers = tuple[np.ndarray, ...]
DIGITS = 'digits'
_AS_LAYERS = ('an array of three axes, read as [layers, samples, features]; if it is [samples, '
              'steps, features], pool=mean, last or max says how to pool the steps')


@dataclasses.dataclass(frozen=True)
class Source:
  """Where a model is: its name, FILE[:KEY], how many levels its first axis has, 0 for none; and
  columns of its table that are no features: those of the group, the item and the label."""
  name: str
  spec: str
  levels: int = 0
  left_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """What is known of a model after one look. n samples; layers by name; width of the widest; wide:
  whether a number needs float64; gaps [N]: rows with missing numbers, and those of zeros where such
  are to be left out; zeros: how many are; print: of its values; refused: why it cannot be compared,
  '' if it can; notes: what was assumed of its file."""
  source: Source
  n: int
  layers: tuple[str, ...]
  width: int
  wide: bool
  gaps: np.ndarray
  print: int
  zeros: int = 0
  refused: str = ''
  notes: tuple[str, ...] = ()

  @property
  def name(self) -> str:
    return self.source.name


# -- which there are -------------------------------------------------------------------------------


def sources(where: str, argument: str, reading: Reading,
            others: Sequence[str] = ()) -> list[tuple[str, str]]:
  """(name, FILE[:KEY]) of the models of a side, in natural order.

  Args:
    where: a file, a folder, or either with :PATTERN. argument: what an error message calls it.
    reading: how files are read. others: keys that are no models.

  Raises:
    OSError, ValueError: one line that names the argument and its value.
  """
  with features.named(argument, where):
    place, pattern = folder(where)
    if of_digits(where):
      found = _of_keys(stores.digits(), DIGITS, where.partition(':')[2] or '*', others)
    elif place is None:
      path, key = features.parts(where)
      found = _of_file(path, key, Opened(reading), others)
    else:
      found = [one for path in files(place) for one in _of_folder(path, pattern, reading, others)]
    names = [name for name, _ in found]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
      raise ValueError(f'two models are named {twice[0]!r}: '
                       f'{" and ".join(spec for name, spec in found if name == twice[0])}')
    if not found:
      raise ValueError('no models')
    return found


def of_digits(where: str) -> bool:
  """Whether the digits that scikit-learn carries are meant, and no file of that name."""
  return where.partition(':')[0] == DIGITS and not guard.place(DIGITS).exists()


def folder(where: str) -> tuple[pathlib.Path | None, str]:
  """A folder of files, and what follows it; None for a file."""
  for end in [len(where), *(i for i in range(len(where) - 1, 0, -1) if where[i] == ':')]:
    path = guard.place(where[:end])
    if path.is_dir() and not stores.is_folder(path):
      return path, where[end + 1:]
  return None, ''


def files(place: pathlib.Path) -> list[pathlib.Path]:
  known = [path for path in place.iterdir() if guard.kind(path) in FORMATS and path.is_file()]
  return sorted(known, key=lambda path: features.natural(path.name))


def _of_folder(path: pathlib.Path, pattern: str, reading: Reading,
               others: Sequence[str]) -> list[tuple[str, str]]:
  stem = path.name.removesuffix('.gz').removesuffix(guard.kind(path))
  if pattern:
    return [(stem, f'{path}:{pattern}')]
  found = _of_file(path, None, Opened(reading), others)
  return ([(stem, found[0][1])] if len(found) == 1 else
          [(f'{stem}:{name}', spec) for name, spec in found])


def _of_file(path: pathlib.Path, pattern: str | None, opened: Opened,
             others: Sequence[str]) -> list[tuple[str, str]]:
  stem = path.name.removesuffix('.gz').removesuffix(guard.kind(path))
  source = opened.at(path)
  if isinstance(source, columns.Table):
    return [(stem, str(path) if pattern is None else f'{path}:{pattern}')]
  if source.keys == ('',):
    return [(stem, str(path))]
  return _of_keys(source, str(path), pattern or '*', others)


def _of_keys(source: stores.Store, where: str, pattern: str,
             others: Sequence[str]) -> list[tuple[str, str]]:
  said = {key for name in source.keys for key in steps.beside(name, source.keys).values()}
  fit = [key for key in source.keys if key not in said and key not in others
         and fnmatch.fnmatchcase(key, pattern)]
  if not fit:
    raise ValueError(f'no key fits {pattern!r}; it has {stores.listing(source.keys)}')
  return [(key, f'{where}:{key}') for key in sorted(fit, key=features.natural)]


def find(spec: str, argument: str, opened: Opened,
         left_out: Collection[str] = ()) -> steps.Found:
  """What a model names, as it is in the file, without columns that a table leaves out; digits:KEY
  is of those that scikit-learn carries."""
  if not of_digits(spec):
    return features.find(spec, argument, opened, [
        (features.parts(spec)[0], name) for name in left_out])
  store, key = stores.digits(), spec.partition(':')[2]
  if key not in store.keys:
    raise ValueError(f'{argument}={spec!r}: no key {key!r}; it has {stores.listing(store.keys)}')
  return steps.Found(spec, {key: store.read(key)})


# -- what they hold --------------------------------------------------------------------------------


def read(source: Source, argument: str, opened: Opened, level: int = 0) -> features.Features:
  """Layers [N, D] of a model, NaN where numbers are missing.

  Raises:
    OSError, ValueError: one line that names the argument and the model.
  """
  where, pool = f'{argument}: model {source.name!r}', opened.reading.pool
  found = find(source.spec, where, opened, source.left_out)
  if source.levels:
    for array in found.arrays.values():
      if array.ndim not in (3, 4) or len(array) != source.levels:
        raise ValueError(f'{where}: shape {array.shape}; [{source.levels} levels, samples, '
                         'features] is needed')
    found = dataclasses.replace(
        found, arrays={name: array[level] for name, array in found.arrays.items()})
  deep = any(array.ndim == 3 or pooling.is_ragged(array, found.steps.get(name))
             for name, array in found.arrays.items())
  # what NAME_length or NAME_mask says is a sequence is none of layers
  as_layers = deep and not pool and len(found.arrays) == 1 and not found.steps
  found = dataclasses.replace(
      found, arrays={name: _finite(array) for name, array in found.arrays.items()})
  settled = steps.settled({where: found}, 'first' if as_layers else 'auto',
                          pool if deep else '')[where]
  if as_layers:  # in words of a zoo
    settled = dataclasses.replace(settled, notes=(*found.notes, _AS_LAYERS))
  return features.checked(where, settled, gaps=True)


def _finite(array: np.ndarray) -> np.ndarray:
  """Infinite numbers count as missing here: `look` has refused their model."""
  return np.where(np.isinf(array), np.nan, array).astype(array.dtype) if (
      array.dtype.kind == 'f' and np.isinf(array).any()) else array


def look(source: Source, argument: str, opened: Opened) -> Model | str:
  """A model after one look at all its levels; or why its key is no features at all."""
  if _only_left_out(source, opened):
    return 'it has no column beside ' + ', '.join(map(repr, source.left_out))
  first = find(source.spec, argument, opened, source.left_out)
  if reason := _no_features(list(first.arrays.values())):
    return reason
  infinite = sum(int(np.isinf(z).sum()) for z in first.arrays.values() if z.dtype.kind == 'f')
  refused, crc, found = f'{infinite} values infinite' if infinite else '', 0, None
  missing, zero = np.zeros(0, bool), np.zeros(0, bool)
  how = opened.reading.missing
  for level in range(source.levels or 1):
    found = read(source, argument, opened, level)
    gone, empty = rows.with_gaps(found.layers), gaps.zeros(found.layers)
    missing, zero = (missing | gone, zero | empty) if level else (gone, empty)
    for label, z in zip(found.names, found.layers):
      crc = zlib.crc32(np.ascontiguousarray(z).tobytes(), crc)
      rest = z if how == 'refuse' else z[~(empty | gone & (how == 'drop'))]
      if not len(rest):
        refused = 'no row is without missing numbers'
      elif not (np.fmax.reduce(rest) > np.fmin.reduce(rest)).any():  # beside what is missing
        refused = f'constant features{f" in layer {label}" if len(found.layers) > 1 else ""}'
  assert found is not None
  if missing.any() and how == 'refuse' and not infinite:
    count, row, column = rows.first_gap(found.layers) if rows.with_gaps(
        found.layers).any() else (int(missing.sum()), int(missing.argmax()), 0)
    refused = f'{count} values not finite, first at row {row}, column {column} (from 0)'
  gone = missing | zero if how == 'drop' else missing
  own = [note.removeprefix(f'{argument}: model {source.name!r}: ') for note in found.notes]
  return Model(source, len(missing), found.names, max(z.shape[1] for z in found.layers),
               any(z.dtype != np.float32 for z in found.layers), gone, crc, int(zero.sum()),
               refused, tuple(own))


def _only_left_out(source: Source, opened: Opened) -> bool:
  """Whether a table has nothing but the group, the item or the label."""
  if not source.left_out:
    return False
  path, key = features.parts(source.spec)
  table = opened.at(path)
  if not isinstance(table, columns.Table):
    return False
  fit = {table.names[j] for j in table.features(pattern=key or '')}
  return bool(fit) and fit <= set(source.left_out)


def _no_features(arrays: Sequence[np.ndarray]) -> str:
  """Why none of these arrays is features, '' if one is: labels and scores have one column."""
  numbers = [array for array in arrays if array.ndim >= 2 and array.dtype.kind in 'biuf']
  if not numbers:
    return 'it is no [samples, features]'
  return '' if any(array.shape[-1] != 1 for array in numbers) else (
      'it has one column, as labels and scores have')


def layers_of(model: Model, argument: str, reading: Reading, kept: np.ndarray,
              level: int = 0) -> Layers:
  """Layers [M, D] of the rows `kept`, without gaps."""
  found = read(model.source, argument, Opened(reading), level)
  whole = gaps.filled(found.layers, reading.missing, f'{argument}: model {model.name!r}')
  return tuple(z[kept] if len(kept) < len(z) else z for z in whole)


def same_samples(sides: Mapping[str, Sequence[Model]]) -> int:
  """N of all models.

  Raises:
    ValueError: models of different N, with their names.
  """
  every = [(argument, model) for argument, models in sides.items() for model in models]
  counts: dict[int, list[str]] = {}
  for argument, model in every:
    counts.setdefault(model.n, []).append(f'{model.name!r} of {argument}')
  if len(counts) > 1:
    most = max(counts, key=lambda n: len(counts[n]))
    odd = next(n for n in counts if n != most)
    raise ValueError(f'{counts[odd][0]} has N={odd} samples and {counts[most][0]} has N={most}; '
                     'row i of every model must be the same sample')
  return every[0][1].n
