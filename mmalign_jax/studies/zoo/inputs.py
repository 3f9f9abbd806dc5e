"""What a zoo reads before it compares: a look at every model, levels, a value a sample."""

from collections.abc import Mapping, Sequence
import dataclasses
import pathlib
import sys
import zlib

import numpy as np

from mmalign_jax.data.files import features, gaps, labels, rows
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.studies.zoo import models, quality
from mmalign_jax.studies.zoo.models import Model, Source

SIDES = ('left', 'right')
OF_ROWS = ('group', 'item', 'y')  # settings that name a value a sample


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
  """models by side; notes; by the file of a model: columns by the setting that names them, as they
  are there, and ids of its rows as text, None where it has none."""
  models: dict[str, list[Model]]
  notes: list[str]
  columns: dict[pathlib.Path, dict[str, np.ndarray]]
  ids: dict[pathlib.Path, np.ndarray | None]


def placed(where: str, data_dir: str) -> str:
  """A path as written, or below the folder of the data where it is there and not here."""
  if (not (where and data_dir) or '=' in where or where.partition(':')[0] == models.DIGITS
      or guard.place(where).is_absolute()):
    return where
  return str(guard.place(data_dir) / where)


def looked(at: Mapping[str, str], reading: Reading, levels: str, n_levels: int) -> Looked:
  """The models of every side after a look at each, and what their files say of the rows.

  Raises:
    OSError, ValueError: one line: a side without a model, or files whose ids name the same rows in
      another order.
  """
  seen = Looked({}, [], {}, {})
  for side in SIDES if at['right'] else SIDES[:1]:
    leveled = n_levels if side == 'right' else 0
    sides = seen.models[side] = []
    for name, spec in models.sources(at[side], side, reading, (levels,) if leveled else ()):
      opened, path = Opened(reading), None if models.of_digits(spec) else features.parts(spec)[0]
      model = models.look(Source(name, spec, leveled, _left_out(at, path)), side, opened)
      if isinstance(model, str):
        seen.notes.append(f'{side}: {name!r} is no model: {model}')
        continue
      sides.append(model)
      if model.refused:
        seen.notes.append(
            f'{side}: model {name!r} is left out, its row is marked: {model.refused}')
      elif model.zeros and reading.missing == 'refuse':
        seen.notes.append(
            f'{side}: {model.zeros} of {model.n} rows of model {name!r} are 0 in every feature: if '
            'they are missing samples, missing=drop leaves them out')
      if path is not None and path not in seen.columns:
        seen.columns[path] = _columns(path, at, opened)
        _check_order(path, opened, seen.ids)
    seen.notes.extend(_assumed(side, sides))
    if all(model.refused for model in sides):
      raise ValueError(f'{side}={at[side]!r}: no model that can be compared; {seen.notes[-1]}')
  usable = [model.name for model in seen.models['left'] if not model.refused]
  if not at['right'] and len(usable) < 2:
    raise ValueError(f'left={at["left"]!r}: {usable[0]!r} is the only model that can be compared, '
                     'and there is no right side to compare it with')
  return seen


def _assumed(side: str, every: Sequence[Model]) -> list[str]:
  """What was assumed of files, each once, with the models it is said of."""
  found: dict[str, list[str]] = {}
  for model in every:
    for note in model.notes:
      found.setdefault(note, []).append(model.name)
  return [f'{side}: {names[0]!r}{f" and {len(names) - 1} more" if names[1:] else ""}: {note}'
          for note, names in found.items()]


# -- what belongs to the rows ----------------------------------------------------------------------


def _named(where: str) -> tuple[pathlib.Path | None, str | None]:
  """A file and what follows it; or None, and the name of a column or key of the sides' files."""
  try:
    return features.parts(where)
  except OSError:
    return None, pathlib.PurePath(where).name


def _left_out(at: Mapping[str, str], path: pathlib.Path | None) -> tuple[str, ...]:
  """Columns of a file of the sides that are the group, the item or the label."""
  found = []
  for file, key in (_named(at[name]) for name in OF_ROWS if at[name] and path):
    if key and (file is None or path and file.resolve() == path.resolve()):
      found.append(key)
  return tuple(found)


def _columns(path: pathlib.Path, at: Mapping[str, str], opened: Opened) -> dict[str, np.ndarray]:
  """What a file of the sides has of group, item and label."""
  found = {}
  for name in OF_ROWS:
    file, key = _named(at[name]) if at[name] else (None, None)
    if file is None and key:
      with features.named(name, at[name]):
        values = opened.column(path, key)
      found |= {} if values is None else {name: values}
  return found


def _check_order(path: pathlib.Path, opened: Opened,
                 known: dict[pathlib.Path, np.ndarray | None]) -> None:
  """Adds the ids of a file's rows to those that are known.

  Raises:
    ValueError: they name the same rows in another order.
  """
  if path in known or opened.reading.index != 'auto':
    return
  known[path] = None
  try:
    found = opened.ids(path)
    ids = None if found is None else rows.as_ids(found, path.name)
  except ValueError:  # an index of fractions, with gaps, or objects: nothing to compare
    return
  if ids is not None and len(np.unique(ids)) < len(ids):  # of subjects or items, not of rows
    known[path] = ids = None
  if ids is None or any(other is not None and np.array_equal(ids, other)
                        for other in known.values()):
    return
  for first, other in known.items():
    if other is not None and rows.order_differs(other, ids):
      raise ValueError(f'{first} and {path} name the same rows in another order (index or ids in '
                       'both): row i of every model must be the same sample; if it is nonetheless, '
                       'index names the columns to leave out')
  known[path] = ids


def levels(where: str, key: str, reading: Reading) -> tuple[float, ...]:
  """Values of the levels of the right side, from the key of its file, or of each of its files.

  Raises:
    OSError, ValueError: no such key, no different numbers, or files that differ in them.
  """
  if not key:
    return ()
  place, _ = models.folder(where)
  every = [features.parts(where)[0]] if place is None else models.files(place)
  found: dict[tuple[float, ...], str] = {}
  for path in every:
    values, _ = features.single(f'{path}:{key}', 'levels', 'numbers', Opened(reading))
    values = np.asarray(values)
    if values.ndim != 1 or values.dtype.kind not in 'iuf' or len(np.unique(values)) < len(values):
      raise ValueError(f'levels={key!r}: shape {values.shape} of {values.dtype} in {path.name}; '
                       'different numbers [levels] are needed')
    found[tuple(float(value) for value in values)] = path.name
  if len(found) != 1:
    raise ValueError(f'levels={key!r}: {" and ".join(found.values())} differ in them' if found else
                     f'levels={key!r}: no file in {where}')
  return next(iter(found))


def column(name: str, at: Mapping[str, str], n: int, reading: Reading,
           seen: Looked) -> np.ndarray | None:
  """A value a sample, from a file or from the sides' files, all that have it; None where not asked
  for.

  Raises:
    OSError, ValueError: it is nowhere, not of n samples, or files differ in it or in their order.
  """
  if not at[name]:
    return None
  where, (path, _) = f'{name}={at[name]!r}', _named(at[name])
  if models.of_digits(at[name]):
    found = models.find(at[name], name, Opened(reading)).arrays
  elif path is not None:
    opened = Opened(reading)
    found = {str(path): features.single(at[name], name, 'label', opened)[0]}
    _check_order(path, opened, seen.ids)
  else:
    found = {str(file): own[name] for file, own in seen.columns.items() if name in own}
    if not found:
      raise FileNotFoundError(f'{where}: no such file, nor a column or key of a file of the sides')
  made = {file: _flat(values, n, where) for file, values in found.items()}
  (first, one), *others = made.items()
  for file, other in others:
    differ = np.flatnonzero(_differ(one, other))
    if len(differ):
      i = differ[0]
      raise ValueError(f'{where}: {first} and {file} differ in {len(differ)} rows, first at row '
                       f'{i} (from 0): {one[i].item()!r} and {other[i].item()!r}; row i of every '
                       'model must be the same sample')
  return one


def _flat(values: np.ndarray, n: int, where: str) -> np.ndarray:
  values = np.ravel(values) if 1 in np.shape(values) else np.asarray(values)
  if values.shape != (n,):
    raise ValueError(f'{where}: shape {values.shape}; the models have N={n} samples')
  return values


def _differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """[N] bool: where two files say something else; text that spells a number is one, and what is
  missing in both is the same, however it is written."""
  gone = [gaps.no_label(values, len(values)) for values in (one, other)]
  differ, known = gone[0] != gone[1], np.flatnonzero(~(gone[0] | gone[1]))
  both = [labels.to_numbers(values[known]) for values in (one, other)]
  if not all(values.dtype.kind in 'biuf' for values in both):
    both = [values[known].astype(str) for values in (one, other)]
  differ[known] = both[0] != both[1]
  return differ


def label(values: np.ndarray | None, kept: np.ndarray, where: str
          ) -> tuple[labels.Label | None, np.ndarray, list[str]]:
  """The label of the samples that have one, their places among those kept, and notes.

  Raises:
    ValueError: too few for the folds of a probe.
  """
  if values is None:
    return None, np.arange(len(kept)), []
  known = np.flatnonzero(~gaps.no_label(values, len(values))[kept])
  if len(known) < 2 * quality.FOLDS:
    raise ValueError(f'{where}: {len(known)} samples have a label; a probe needs '
                     f'{2 * quality.FOLDS}')
  read = labels.read_label(values[kept][known], 'auto', where, ask=False)
  notes = [*read.notes]
  if len(known) < len(kept):
    notes.append(f'{where}: {len(kept) - len(known)} of {len(kept)} samples have no label; the '
                 'probe is of the others, alignment of all')
  return read, known, notes


def code_of(name: str) -> str:
  """A checksum of the file that holds module:function: what an edited measure gave before is not
  what it gives; '' where there is no file to read."""
  path = getattr(sys.modules.get(name.partition(':')[0]), '__file__', None)
  try:
    return f'{zlib.crc32(pathlib.Path(path).read_bytes()):08x}' if path else ''
  except OSError:
    return ''
