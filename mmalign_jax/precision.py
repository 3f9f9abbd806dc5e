"""Which numbers float32 holds as they are; NumPy only."""

import numpy as np

SAFE = (2.0**-50, 2.0**50)  # largest entries between which squares of products stay in float32


def needs_float64(array: np.ndarray) -> bool:
  """Whether float32 would round a number of a real array [...], or its powers leave its range."""
  array = np.asarray(array)
  if not array.size or array.dtype.kind not in 'biuf':
    return False
  low, high = array.min(), array.max()
  largest = max(float(high), -float(low))
  if not np.isfinite(largest):
    return False
  if largest and not SAFE[0] <= largest <= SAFE[1]:
    return True
  if array.dtype.kind in 'biu':
    return array.dtype.itemsize > 2 and largest > 2**24
  return array.dtype.itemsize > 4 and not np.array_equal(array.astype(np.float32), array)


def beyond_float64(array: np.ndarray) -> bool:
  """Whether float64 would round a number of a real array [...]: a long integer or double."""
  if not array.size or array.dtype.kind not in 'iuf' or array.dtype.itemsize < 8:
    return False
  if array.dtype.kind == 'f':
    return array.dtype.itemsize > 8 and not np.array_equal(array.astype(np.float64), array)
  return max(int(array.max()), -int(array.min())) > 2**53


def doubles(array: np.ndarray) -> np.ndarray:
  """f64 of columns of numbers [N, ...] whose shift is not noticed."""
  array = np.asarray(array)
  return shifted(array) if beyond_float64(array) else array.astype(np.float64)


def shifted(array: np.ndarray) -> np.ndarray:
  """Columns of numbers [N, ...] less a row, f64: exact before it is rounded.

  Differences of 64-bit integers need 65 bits, and those of long doubles more than a double has.
  """
  array = np.asarray(array)
  if array.dtype.kind not in 'iu':
    return np.asarray(array - array[:1], np.float64)
  least = array.min(axis=0, keepdims=True)
  return (array.astype(np.uint64) - least.astype(np.uint64)).astype(np.float64)  # modulo 2^64
