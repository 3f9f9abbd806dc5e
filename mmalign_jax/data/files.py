"""Named arrays from files with keys, whose formats are in `formats`, and the digits.

Every format, those of `tables` too, becomes the same thing, a `Raw`: one array per role (x1, x2,
y, perhaps group), in one piece or as a given train and test part. Nothing in a file is ever
executed: pickled objects are refused. Values are not judged here; that is for `paired`.
"""

import dataclasses
import pathlib

import numpy as np

from mmalign_jax.data.formats import annotated, hdf5, matlab, numpy_files, tensors
from mmalign_jax.data.formats.guard import listing, reading  # noqa: F401
from mmalign_jax.data.formats.store import Store

MAX_CLASSES = 50  # distinct whole numbers that are still read as class labels

Arrays = dict[str, np.ndarray]  # by role


@dataclasses.dataclass(frozen=True)
class Raw:
  """Arrays as read. parts: {'': arrays} or {'train': arrays, 'test': arrays}, arrays by role;
  names: what each role is called in `where`; notes: remarks for the user, one line each."""
  where: str
  names: dict[str, str]
  parts: dict[str, Arrays]
  notes: tuple[str, ...] = ()


def to_numbers(values: np.ndarray) -> np.ndarray:
  """Text [N] as f64 where every entry is a number; anything else as it is."""
  if values.dtype.kind != 'U':
    return values
  try:
    return values.astype(np.float64)
  except ValueError:
    return values


def whole_numbers(values: np.ndarray) -> bool:
  """Whether `values` [N] are whole numbers, at most MAX_CLASSES distinct ones."""
  return bool(values.dtype.kind in 'iuf' and np.isfinite(values).all()
              and (values == np.round(values)).all() and len(np.unique(values)) <= MAX_CLASSES)


# -- files with keys -----------------------------------------------------------------------------


def digits() -> Store:
  """The 1,797 8x8 digits that scikit-learn carries: views [1797, 32] left, right, top, bottom."""
  from sklearn import datasets  # slow to import, and seldom needed
  bunch = datasets.load_digits()
  halves = {'left': np.s_[:, :, :4], 'right': np.s_[:, :, 4:],
            'top': np.s_[:, :4], 'bottom': np.s_[:, 4:]}
  arrays = {name: bunch.images[half].reshape(-1, 32) for name, half in halves.items()}
  return Store('digits', (*arrays, 'y'), {**arrays, 'y': bunch.target}.__getitem__)


def npy(path: pathlib.Path) -> np.ndarray:
  """The array of an .npy file; one that holds pickled objects is refused."""
  return numpy_files.npy(path).read('')


STORES = {
    '.npz': numpy_files.npz, '.h5': hdf5.h5, '.hdf5': hdf5.h5, '.mat': matlab.mat,
    '.safetensors': tensors.safetensors, '.pt': tensors.torch, '.pth': tensors.torch,
    '.h5ad': annotated.h5ad, '.h5mu': annotated.h5mu}


def from_store(store: Store, asked: dict[str, str]) -> Raw:
  """The given split where x1, x2 and y all have one, else the arrays in one piece.

  Args:
    store: the keys of one file.
    asked: key of each role x1, x2, y and group; '' for y is 'y', for group 'group' if it exists.

  Raises:
    ValueError: a missing key, a damaged file or a pickled array.
  """
  names = {**asked, 'y': asked['y'] or 'y'}
  def halves(role: str) -> list[str]:
    return [f'{names[role]}_{part}' for part in ('train', 'test')]
  split = all(key in store.keys for role in ('x1', 'x2', 'y') for key in halves(role))
  keys = {role: dict(zip(('train', 'test'), halves(role))) if split else {'': name}
          for role, name in names.items()}
  if not asked['group']:  # the name 'group' needs no asking
    keys['group'] = ({'train': 'group_train', 'test': 'group_test'} if split else {'': 'group'})
    if not set(keys['group'].values()) <= set(store.keys):
      del keys['group']
    names['group'] = 'group'
  for role, wanted in keys.items():
    for key in wanted.values():
      if key not in store.keys:
        raise ValueError(f'{store.where}: no key {key!r} for {role} (a given split needs NAME_train'
                         f' and NAME_test for x1, x2 and y); it has {listing(store.keys)}')
  parts = {part: {role: store.read(keys[role][part]) for role in keys} for part in keys['x1']}
  return Raw(store.where, {role: names[role] for role in keys}, parts,
             tuple(dict.fromkeys(store.remarks)))
