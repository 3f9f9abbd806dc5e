"""Views and a label in files of their own, as one `Raw`: what `views.read_raw` makes of one file.

Files are read, matched by rows and refused as in `samples`, so that a command that takes pairs from
one file takes them from several, too. Values that are missing stay: `pairs` judges them.
"""

import pathlib
import re

import numpy as np

from mmalign_jax.data.files import samples, stores
from mmalign_jax.data.files.formats import guard
from mmalign_jax.data.files.reading import Reading


def read_files(sides: dict[str, str], y: str, *, group: str = '', id: str = '',
               reading: Reading | None = None) -> stores.Raw:
  """The arrays of several files.

  Args:
    sides: FILE[:KEY] by role x1, x2, ..., as in `features.read_sides`.
    y: FILE[:KEY] of the label, or a column or key of a file of the sides.
    group: of samples that belong together, named as y is; '' for none.
    id: as in `samples.read`; '' for files whose row i is the same sample.

  Raises:
    OSError: no such file. ValueError: one line that names the argument and its value.
  """
  found, _ = samples.matched({f'--{role}': spec for role, spec in sides.items()},
                             reading or Reading(), y=('--y', y), group=group, id=id, lone=True)
  read = {role: found.sides[f'--{role}'] for role in sides}
  arrays: dict[str, np.ndarray] = {role: side.layers[0] for role, side in read.items()}
  assert found.label is not None
  arrays['y'] = found.label
  if found.groups is not None:
    arrays['group'] = found.groups
  names = named(sides) | {'y': y} | ({'group': group} if group else {})
  return stores.Raw(' and '.join(pathlib.Path(spec).name for spec in sides.values()), names,
                    {'': arrays}, found.notes,
                    columns={role: side.columns for role, side in read.items() if side.columns},
                    pooled={role: side.pooled for role, side in read.items() if side.pooled})


def named(sides: dict[str, str]) -> dict[str, str]:
  """What each side is called: its key or the stem of its file, where that tells all apart.

  Examples:
    >>> named({'x1': 'a/image.npy', 'x2': 'all.npz:text'})
    {'x1': 'image', 'x2': 'text'}
    >>> named({'x1': 'a/z.npy', 'x2': 'b/z.npy'})
    {'x1': 'x1', 'x2': 'x2'}
  """
  short = {}
  for role, spec in sides.items():
    file, _, key = pathlib.Path(spec).name.partition(':')
    stem = file.removesuffix('.gz')
    short[role] = key or stem.removesuffix(guard.kind(pathlib.Path(stem))) or file
  apart = len(set(short.values())) == len(short) and 'together' not in short.values()
  other = any(re.fullmatch(r'x[1-9]\d?', name) and name != role for role, name in short.items())
  plain = all(re.fullmatch(r'[\w.-]+', name) for name in short.values())
  return short if apart and plain and not other else {role: role for role in sides}
