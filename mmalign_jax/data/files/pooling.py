"""Sequences pooled to one row a sample: mean, last or largest of the steps that are no padding, or
STEPS of them in line; or kept, as they are or in even steps. `HOW-centred`: of every feature its
mean over the steps of the sample is taken away before, and with it who or what was recorded, where
the change tells (in speech: cepstral mean normalisation, Atal 1974)."""

import dataclasses

import numpy as np

PLAIN = ('mean', 'last', 'max', 'resample', 'even', 'none')
CENTRED = '-centred'
POOLS = (*PLAIN, *(how + CENTRED for how in PLAIN if how != 'mean'))
STEPS = 50  # of a sequence that is resampled


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
  """Which steps of an array are no padding. name: of the array; length [N]: how many come first;
  mask [N, T]: which; None where there is no such array beside it."""
  name: str
  length: np.ndarray | None = None
  mask: np.ndarray | None = None

  def __bool__(self) -> bool:
    return self.length is not None or self.mask is not None

  @property
  def source(self) -> str:
    """The array that says it."""
    return f'{self.name}_{"mask" if self.length is None else "length"}'


def is_ragged(array: np.ndarray, steps: Steps | None) -> bool:
  """Whether an array is [sum of the lengths, F]."""
  if steps is None or steps.length is None or array.ndim != 2:
    return False
  length = np.asarray(steps.length)
  return (length.size != len(array) and length.dtype.kind in 'iuf'
          and float(length.sum(dtype=np.float64)) == len(array))


def pooled(array: np.ndarray, how: str, steps: Steps, where: str) -> tuple[np.ndarray, str]:
  """Steps pooled to one row a sample; padding never enters.

  Args:
    array: [N, T, F], or ragged [sum of the lengths, F].
    how: 'mean' (in f64), 'last' or 'max' of the steps; 'resample', STEPS values of every feature,
      read off in equal distances between the first step and the last; 'even', the same as a
      sequence of STEPS steps; 'none', all of them. All but 'mean' also as 'HOW-centred', after each
      sample's own mean over its steps (in f64) has been taken from every feature.
    steps: which of them count; all where nothing is said.
    where: how an error message begins.

  Returns:
    [N, F] (or [N, STEPS * F], [N, STEPS, F], or [N, T, F] with NaN where a step does not count),
    and a note on what was done.

  Raises:
    ValueError: lengths or masks that do not fit the array, by name.
  """
  if array.dtype.kind not in 'biuf':
    raise ValueError(f'{where}: not real numbers but {array.dtype}, shape {array.shape}')
  if is_ragged(array, steps):
    length = lengths(steps, None, len(array), where)
    return _pooled_ragged(_centred_ragged(array, how, length), _plain(how), length), (
        f'{_said(how)} the steps of {len(length)} samples, {_span(length)} each by {steps.source}')
  if array.ndim != 3:
    held = (f'; {steps.name}_length has {np.size(steps.length)} values of sum '
            f'{np.sum(steps.length)}' if steps.length is not None else '')
    raise ValueError(f'{where}: shape {array.shape} is not [samples, steps, features]{held}')
  if 0 in array.shape:
    raise ValueError(f'{where}: empty, shape {array.shape}')
  if not steps:
    mask = np.ones(array.shape[:2], bool)
    note = _padding_note(array, how, steps.name or 'NAME')
    return _pooled(_centred(array, how, mask), _plain(how), mask), note
  n, t, _ = array.shape
  mask = valid(steps, n, t, where)
  return _pooled(_centred(array, how, mask), _plain(how), mask), (
      f'{_said(how)} {_span(mask.sum(axis=1))} of {array.shape[1]} steps by {steps.source}')


def lengths(steps: Steps, n: int | None, most: int, where: str) -> np.ndarray:
  """NAME_length as [N] i64, each whole and in 1..most."""
  name, length = f'{steps.name}_length', np.asarray(steps.length)
  length = length.ravel() if length.ndim == 2 and 1 in length.shape else length
  if length.ndim != 1 or length.dtype.kind not in 'iuf' or n is not None and len(length) != n:
    raise ValueError(f'{where}: {name} has shape {length.shape} and type {length.dtype}; one whole '
                     f'number a sample{f" ({n})" if n is not None else ""} is needed')
  bad = np.flatnonzero(~((length == np.round(length)) & (length >= 1) & (length <= most)))
  if len(bad):
    raise ValueError(f'{where}: {name} is {length[bad[0]].item()} at sample {bad[0]} (from 0); a '
                     f'whole number in 1..{most} is needed')
  return length.astype(np.int64)


def valid(steps: Steps, n: int, t: int, where: str) -> np.ndarray:
  """[N, T] bool: the steps that count, at least one of every sample."""
  counted = np.ones((n, t), bool) if steps.length is None else (
      np.arange(t) < lengths(steps, n, t, where)[:, None])
  if steps.mask is None:
    return counted
  name, mask = f'{steps.name}_mask', np.asarray(steps.mask)
  if mask.shape != (n, t) or mask.dtype.kind not in 'biuf' or not np.isin(mask, (0, 1)).all():
    raise ValueError(f'{where}: {name} has shape {mask.shape} and type {mask.dtype}; 0 or 1 for '
                     f'each of [{n}, {t}] steps is needed')
  mask = mask == 1
  empty = np.flatnonzero(~mask.any(axis=1))
  if len(empty):
    raise ValueError(f'{where}: {name} leaves no step of sample {empty[0]} (from 0), and of '
                     f'{len(empty)} samples in all')
  if steps.length is not None and (mask.sum(axis=1) != counted.sum(axis=1)).any():
    i = np.flatnonzero(mask.sum(axis=1) != counted.sum(axis=1))[0]
    raise ValueError(f'{where}: {name} has {mask[i].sum()} steps of sample {i} (from 0), and '
                     f'{steps.name}_length {counted[i].sum()}')
  return mask


def _plain(how: str) -> str:
  return how.removesuffix(CENTRED)


def _centred(array: np.ndarray, how: str, mask: np.ndarray) -> np.ndarray:
  """Steps [N, T, F] less their mean over those that count, f64; as they are, if not asked for."""
  if not how.endswith(CENTRED):
    return array
  mean = _pooled(array, 'mean', mask)
  return np.where(mask[:, :, None], array - mean[:, None], 0)


def _centred_ragged(array: np.ndarray, how: str, length: np.ndarray) -> np.ndarray:
  if not how.endswith(CENTRED):
    return array
  return array - np.repeat(_pooled_ragged(array, 'mean', length), length, axis=0)


def _said(how: str) -> str:
  if how.endswith(CENTRED):
    return f'own mean taken away, then {_said(_plain(how))}'
  return {'none': 'kept', 'resample': f'{STEPS} values in line of',
          'even': f'{STEPS} even steps of'}.get(how, f'{how} over')


def _pooled(array: np.ndarray, how: str, mask: np.ndarray) -> np.ndarray:
  if how == 'none':
    wide = np.float32 if array.dtype == np.float32 else np.float64
    return np.where(mask[:, :, None], array.astype(wide), wide(np.nan))
  if how in ('resample', 'even'):
    even = np.stack([_resampled(x[valid]) for x, valid in zip(array, mask)])
    return even if how == 'even' else even.reshape(len(even), -1)
  if how == 'last':
    last = array.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
    return array[np.arange(len(array)), last]
  where = mask[:, :, None]
  if how == 'max':
    kind = array.dtype.kind
    least = -np.inf if kind == 'f' else False if kind == 'b' else np.iinfo(array.dtype).min
    return np.max(array, axis=1, where=where, initial=least)
  return np.sum(array, axis=1, where=where, dtype=np.float64) / mask.sum(axis=1)[:, None]


def _resampled(x: np.ndarray) -> np.ndarray:
  """Steps [T, F] at STEPS places from the first to the last: [STEPS, F], f64."""
  at = np.linspace(0, len(x) - 1, STEPS)
  return np.stack([np.interp(at, np.arange(len(x)), column) for column in x.T], axis=1)


def _pooled_ragged(array: np.ndarray, how: str, length: np.ndarray) -> np.ndarray:
  ends = np.cumsum(length)
  if how in ('none', 'resample', 'even'):
    padded = np.zeros((len(length), length.max(), array.shape[1]), array.dtype)
    mask = np.arange(length.max()) < length[:, None]
    padded[mask] = array
    return _pooled(padded, how, mask)
  if how == 'last':
    return array[ends - 1]
  if how == 'max':
    return np.maximum.reduceat(array, ends - length, axis=0)
  return np.add.reduceat(array, ends - length, axis=0, dtype=np.float64) / length[:, None]


def _span(length: np.ndarray) -> str:
  least, most = int(length.min()), int(length.max())
  return f'{least} to {most}' if least < most else str(most)


def _padding_note(array: np.ndarray, how: str, name: str) -> str:
  """What was pooled where nothing says how long the sequences are, and whether it looks padded."""
  edge = [(~array[:, at].astype(bool)).all(axis=1) for at in (0, -1)]
  zero = int((edge[0] | edge[1]).sum())
  padded = (f'; {zero} of {len(array)} samples begin or end in a step of zeros: if that is '
            f'padding, put {name}_length or {name}_mask beside it' if zero else '')
  return f'{_said(how)} all {array.shape[1]} steps of every sample{padded}'
