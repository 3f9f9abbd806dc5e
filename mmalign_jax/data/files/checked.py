"""The arrays of a file, by role, as numbers: shapes and values checked, parts joined."""

import numpy as np

from mmalign_jax.data.files import rows, stores


def called(raw: stores.Raw, role: str, part: str = '') -> str:
  """What an error message calls a role."""
  return f'{raw.where}: {role} {raw.names[role]!r}' + (f' ({part})' if part else '')


def whole(raw: stores.Raw, sequences: bool = False) -> tuple[stores.Arrays, int | None]:
  """All rows, train before test, by role; and the number of training rows of a given split, those
  of a given validation part (`n_valid`) last among them.

  Missing numbers and labels are still there, ids of groups are text. sequences: views [N, T, F] are
  no error; all become as long as the longest, NaN where they have no step.
  """
  parts = []
  for part, arrays in raw.parts.items():
    parts.append({role: _read(role, array, called(raw, role, part), sequences)
                  for role, array in arrays.items()})
    for role, array in parts[-1].items():
      if len(array) != len(parts[-1]['x1']):
        raise ValueError(f'{called(raw, "x1", part)} has {len(parts[-1]["x1"])} rows, '
                         f'{role} {raw.names[role]!r} has {len(array)}')
  for role in stores.sides_of(parts[0]):
    widths = [part[role].shape[-1] for part in parts]
    if len({part[role].ndim for part in parts}) > 1:
      raise ValueError(f'{called(raw, role)}: sequences in one of {" and ".join(raw.parts)} only')
    if len(set(widths)) > 1:
      (first, width), *others = zip(raw.parts, widths)
      raise ValueError(f'{called(raw, role)} has {width} columns in {first}' + ''.join(
          f', {width} in {part}' for part, width in others))
  made = {role: joined([part[role] for part in parts]) for role in parts[0]}
  counts = [len(part['x1']) for part in parts]
  return made, sum(counts[:-1]) if len(parts) > 1 else None


def n_valid(raw: stores.Raw) -> int:
  """Rows of a given validation part; 0 where none is given."""
  return len(raw.parts['valid']['x1']) if 'valid' in raw.parts else 0


def _read(role: str, array: np.ndarray, where: str, sequences: bool) -> np.ndarray:
  if role in ('y', 'group'):
    return {'y': vector, 'group': rows.as_ids}[role](array, where)
  return view(array, where) if sequences else matrix(array, where)


def view(array: np.ndarray, where: str) -> np.ndarray:
  """As `matrix`, or of sequences [N, T, F]."""
  if np.ndim(array) != 3:
    return matrix(array, where)
  n, t, f = array.shape
  return matrix(array.reshape(n * t, f), where).reshape(n, t, f)


def joined(parts: list[np.ndarray]) -> np.ndarray:
  """The rows of all parts; of sequences, the shorter ones filled up with NaN."""
  if parts[0].ndim < 3:
    return np.concatenate(parts)
  longest = max(part.shape[1] for part in parts)
  return np.concatenate([np.pad(part, ((0, 0), (0, longest - part.shape[1]), (0, 0)),
                                constant_values=np.nan) for part in parts])


def matrix(array: np.ndarray, where: str) -> np.ndarray:
  """A view as f64 [N, D], NaN where missing; ValueErrors begin with `where`."""
  array = np.asarray(array)
  if array.dtype.kind not in 'biuf':
    raise ValueError(f'{where}: not real numbers but {array.dtype}')
  if array.ndim not in (1, 2):
    raise ValueError(f'{where}: shape {array.shape} is not [samples, features]; average or flatten '
                     'sequences and images first')
  array = array.astype(np.float64) if array.ndim == 2 else array.astype(np.float64)[:, None]
  if not array.size:
    raise ValueError(f'{where}: empty, shape {array.shape}')
  bad = np.argwhere(np.isinf(array))
  if len(bad):
    i, j = bad[0]
    raise ValueError(f'{where}: {len(bad)} values not finite, first {array[i, j]} at row {i}, '
                     f'column {j} (from 0)')
  return array


def vector(array: np.ndarray, where: str) -> np.ndarray:
  """Labels as numbers or text [N], some perhaps missing; ValueErrors begin with `where`."""
  array = np.asarray(array)
  if array.ndim == 2 and 1 in array.shape:
    array = array.ravel()
  if array.ndim != 1:
    raise ValueError(f'{where}: shape {array.shape} is not one value a sample')
  if not len(array):
    raise ValueError(f'{where}: empty, shape {array.shape}')
  if array.dtype.kind == 'S':
    array = np.char.decode(array, 'utf-8', 'replace')
  if array.dtype.kind not in 'biufU':
    raise ValueError(f'{where}: neither numbers nor text but {array.dtype}')
  array = np.char.strip(array) if array.dtype.kind == 'U' else array
  return array.astype(np.int64) if array.dtype.kind == 'b' else array


