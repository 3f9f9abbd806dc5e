"""Sparse matrices, filled in: their parts are checked before C code follows their indices."""

import numpy as np

from mmalign_jax.data.files.formats import guard

COMPRESSED = ('csr', 'csc')


def compressed(form: str, shape, data: np.ndarray, indices: np.ndarray, indptr: np.ndarray,
               size: int) -> np.ndarray:
  """A dense [rows, columns] of the parts of a csr or csc matrix.

  Args:
    form: 'csr' or 'csc'.
    shape: (rows, columns), as claimed.
    data, indices, indptr: [nonzeros], [nonzeros], [rows or columns + 1].
    size: bytes of the file, for the bound on what is filled.

  Raises:
    ValueError: parts that do not fit each other or the shape, or too many values.
  """
  import scipy.sparse  # slow to import, and seldom needed
  shape = _shape(shape)
  for name, part in (('indices', indices), ('indptr', indptr)):
    if np.ndim(part) != 1 or np.asarray(part).dtype.kind not in 'iu':
      raise ValueError(f'{name} of a sparse matrix must be whole numbers on one axis, not '
                       f'{np.asarray(part).dtype} of shape {np.shape(part)}')
  if len(indptr) != shape[form == 'csc'] + 1:
    raise ValueError(f'indptr of a {form} matrix of shape {shape} has {len(indptr)} entries')
  make = scipy.sparse.csc_array if form == 'csc' else scipy.sparse.csr_array
  return filled(make((data, indices, indptr), shape=shape), size)


def filled(matrix, size: int) -> np.ndarray:
  """A dense [rows, columns] of a SciPy matrix; repeated entries add up, as in SciPy.

  Raises:
    ValueError: indices outside the matrix, or more values than a packed file may have.
  """
  guard.sized(_shape(matrix.shape), matrix.dtype.itemsize, size=size)
  if matrix.dtype.kind not in 'biufc':
    raise ValueError(f'a sparse matrix of {matrix.dtype}; numbers are needed')
  if matrix.format in COMPRESSED or matrix.format == 'bsr':
    matrix.check_format(full_check=True)
  return np.asarray(matrix.toarray())


def _shape(shape) -> tuple[int, int]:
  shape = np.asarray(shape)
  if shape.shape != (2,) or shape.dtype.kind not in 'iu' or (shape < 0).any():
    raise ValueError(f'shape {str(shape)[:80]} of a sparse matrix is not (rows, columns)')
  return int(shape[0]), int(shape[1])
