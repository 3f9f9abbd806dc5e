"""What a zoo reads before it compares: a look at every model, levels, a value a sample."""

from collections.abc import Mapping
import pathlib
import sys
import zlib

import numpy as np

from mmalign_jax.data.files import features, gaps, labels
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.studies.zoo import models, quality
from mmalign_jax.studies.zoo.models import Model, Source

SIDES = ('left', 'right')


def placed(where: str, data_dir: str) -> str:
  """A path as written, or below the folder of the data where it is there and not here."""
  if (not (where and data_dir) or '=' in where or where.startswith(models.DIGITS)
      or guard.place(where).is_absolute()):
    return where
  return str(guard.place(data_dir) / where)


def looked(at: Mapping[str, str], reading: Reading, levels: str,
            n_levels: int) -> tuple[dict[str, list[Model]], list[str]]:
  """The models of every side after a look at each, and notes."""
  sides, notes = {}, []
  for side in SIDES if at['right'] else SIDES[:1]:
    leveled = n_levels if side == 'right' else 0
    sides[side] = []
    for name, spec in models.sources(at[side], side, reading, (levels,) if leveled else ()):
      model = models.look(Source(name, spec, leveled), side, reading)
      if isinstance(model, str):
        notes.append(f'{side}: {name!r} is no model: {model}')
      else:
        sides[side].append(model)
        if model.refused:
          notes.append(f'{side}: model {name!r} is left out, its row is marked: {model.refused}')
        elif model.zeros and reading.missing == 'refuse':
          notes.append(f'{side}: {model.zeros} of {model.n} rows of model {name!r} are 0 in every '
                       'feature: if they are missing samples, missing=drop leaves them out')
    if not any(not model.refused for model in sides[side]):
      raise ValueError(f'{side}={at[side]!r}: no model that can be compared; {notes[-1]}')
  usable = [model.name for model in sides['left'] if not model.refused]
  if not at['right'] and len(usable) < 2:
    raise ValueError(f'left={at["left"]!r}: {usable[0]!r} is the only model that can be compared, '
                     'and there is no right side to compare it with')
  return sides, notes


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


def column(name: str, at: Mapping[str, str], n: int, reading: Reading) -> np.ndarray | None:
  """A value a sample, from a file or a key of the sides' files; None where not asked for."""
  if not at[name]:
    return None
  opened, values = Opened(reading), None
  where = f'{name}={at[name]!r}'
  try:
    values = (next(iter(models.find(at[name], name, opened).arrays.values()))
              if at[name].startswith(models.DIGITS) else
              features.single(at[name], name, 'label', opened)[0])
  except OSError:
    for side in filter(None, (at['left'], at['right'])):
      path = guard.place(side)
      values = opened.column(path, pathlib.PurePath(at[name]).name) if (
          path.is_file() and values is None) else values
    if values is None:
      raise
  values = np.ravel(values) if 1 in np.shape(values) else np.asarray(values)
  if values.shape != (n,):
    raise ValueError(f'{where}: shape {values.shape}; the models have N={n} samples')
  return values


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
  read = labels.read_label(values[kept][known], 'auto', where)
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
