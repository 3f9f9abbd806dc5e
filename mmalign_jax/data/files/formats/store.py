"""Arrays by key, whatever the format, and their values as NumPy knows them."""

from collections.abc import Callable
import dataclasses
import sys

import numpy as np

BFLOAT16 = 'dtype V2 read as bfloat16, which .npy files cannot name'


@dataclasses.dataclass(frozen=True)
class Store:
  """Arrays by key: read(key) loads one of `keys`; main: the key where none is asked for, '' for
  the only one; remarks: for the user, one line each, of what has been read so far; y: the label
  where none is asked for."""
  where: str
  keys: tuple[str, ...]
  read: Callable[[str], np.ndarray]
  main: str = ''
  remarks: list[str] = dataclasses.field(default_factory=list)
  y: str = 'y'


def plain(array: np.ndarray, remarks: list[str]) -> np.ndarray:
  """An array of the machine's byte order, in types that all of NumPy computes with.

  float8 and bfloat16 become f32, which holds each of their values. Longer floats than f64 become
  f64, rounded, which `remarks` then say; a void of two bytes is bfloat16; NaNs are those of NumPy,
  whatever its bits.

  Raises:
    ValueError: float8 that does not say of which kind, a float beyond the range of f64, or text
      with codes that are no characters.
  """
  import ml_dtypes
  array = np.asarray(array)
  if array.dtype == np.dtype('V2'):
    remarks.append(BFLOAT16)
    array = array.view(ml_dtypes.bfloat16)
  elif array.dtype == np.dtype('V1'):
    raise ValueError('values of one byte without a type (float8?); save float16, or .safetensors, '
                     'which names the type')
  if array.dtype.type.__module__ == 'ml_dtypes':
    with np.errstate(invalid='ignore'):
      array = array.astype(np.float32)
  if array.dtype.kind == 'f' and array.dtype.itemsize > 8:
    array = _rounded(array, remarks)
  array = array.astype(array.dtype.newbyteorder('='), copy=False)
  if array.dtype.kind == 'b':
    return np.asarray(array.view(np.uint8) != 0)  # a damaged file has truths other than 1
  if array.dtype.kind == 'U' and array.size and (
      np.ascontiguousarray(array).reshape(-1).view(np.uint32).max() > sys.maxunicode):
    raise ValueError('text with codes that are no characters')
  if array.dtype.kind == 'f' and (missing := np.isnan(array)).any():
    return np.where(missing, array.dtype.type(np.nan), array)  # no NaN that signals on a cast
  return array


def _rounded(array: np.ndarray, remarks: list[str]) -> np.ndarray:
  """A longdouble as f64."""
  with np.errstate(over='ignore', invalid='ignore'):
    short = array.astype(np.float64)
  if (np.isinf(short) & ~np.isinf(array)).any():
    raise ValueError(f'{array.dtype} with values beyond the range of float64; rescale it first')
  lost = int((~np.isnan(array) & (short != array)).sum())
  if lost:
    remarks.append(f'{lost} of {array.size} values of {array.dtype} rounded to float64')
  return short
