"""Arrays of the files that runs keep, read by several threads at once."""

import io
import math
import re

import numpy as np

_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '([<|][a-zA-Z]\d+)', 'fortran_order': False, "
    rb"'shape': \(([\d, ]*)\), \} *\n", re.DOTALL)


def read_array(content: bytes) -> np.ndarray:
  """An array as `np.save` writes it.

  numpy reads every header by `ast`, whose depth Python 3.11 counts for all threads together: where
  two read at one moment, one may end in "SystemError: AST constructor recursion depth mismatch".
  Only what looks otherwise than our own files goes that way.

  Raises:
    ValueError: it is none, holds objects, or less than its header says.
  """
  header = _HEADER.match(content)
  shape = tuple(int(n) for n in header[3].split(b',') if n.strip()) if header else ()
  if header is None or not math.prod(shape):
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
  start = 10 + int.from_bytes(header[1], 'little')
  flat = np.frombuffer(content, np.dtype(header[2].decode()), math.prod(shape), start)
  return flat.reshape(shape).copy()
