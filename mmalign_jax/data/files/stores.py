"""Named arrays from files with keys, whose formats are in `formats`, and the digits.

Every format, those of `tables` too, becomes the same thing, a `Raw`: one array per role (x1, x2,
..., y, perhaps group), in one piece or as a given train and test part. Nothing in a file is ever
executed: pickled objects are refused, and of pickles data alone are read. Values are not judged
here; that is for `paired`.
"""

from collections.abc import Iterable
import dataclasses
import pathlib
import re
from typing import Any

import numpy as np

from mmalign_jax.data.files import steps as sequences
from mmalign_jax.data.files.formats import (
  annotated,
  h5_folder,
  hdf5,
  matlab,
  numpy_files,
  pickles,
  tensors,
)
from mmalign_jax.data.files.formats.guard import listing
from mmalign_jax.data.files.formats.parts import ALIAS, ENDINGS
from mmalign_jax.data.files.formats.store import Store
from mmalign_jax.data.files.reading import Reading

Arrays = dict[str, np.ndarray]  # by role


@dataclasses.dataclass(frozen=True)
class Raw:
  """Arrays as read. parts: {'': arrays}, or {'train': arrays, 'test': arrays}, perhaps with 'valid'
  between them, arrays by role;
  names: what each role is called in `where`; notes: remarks for the user, one line each; used: the
  options of tables that had something to act on; columns: of roles of a table, the names of their
  columns; pooled: of roles that were sequences, how they were pooled."""
  where: str
  names: dict[str, str]
  parts: dict[str, Arrays]
  notes: tuple[str, ...] = ()
  used: frozenset[str] = frozenset()
  columns: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
  pooled: dict[str, str] = dataclasses.field(default_factory=dict)


def sides_of(roles: Iterable[str]) -> tuple[str, ...]:
  """x1, x2, ... among the roles of arrays, in order."""
  return tuple(sorted((role for role in roles if re.fullmatch(r'x[1-9]\d?', role)),
                      key=lambda role: int(role[1:])))


def steps_of_file(path: pathlib.Path) -> sequences.Steps:
  """What NAME_length.npy and NAME_mask.npy beside NAME.npy say of its steps."""
  name = path.name.removesuffix('.gz').removesuffix('.npy')
  beside = sequences.beside(name, {at.stem for at in path.parent.glob('*.npy')})
  return sequences.Steps(name, **{ending: npy(path.with_name(f'{at}.npy'))
                                  for ending, at in beside.items()})


def beside_file(path: pathlib.Path | None, array: np.ndarray) -> sequences.Found:
  """An array of a file, and what files beside an .npy file say of its steps."""
  steps = steps_of_file(path) if path and path.suffix == '.npy' else sequences.Steps('')
  return sequences.Found(str(path), {'': array}, {'': steps} if steps else {})


# -- files with keys -----------------------------------------------------------------------------


def digits() -> Store:
  """The 1,797 8x8 digits that scikit-learn carries: views [1797, 32] left, right, top, bottom."""
  from sklearn import datasets  # slow to import, and seldom needed
  bunch: Any = datasets.load_digits()
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
    '.h5ad': annotated.h5ad, '.h5mu': annotated.h5mu,
    **dict.fromkeys(('.pkl', '.pickle', '.p'), pickles.pickled)}


def from_store(store: Store, asked: dict[str, str], reading: Reading) -> Raw:
  """The given split where all sides and y have one, else the arrays in one piece.

  Args:
    store: the keys of one file.
    asked: key of each role x1, x2, ..., y and group; '' for y is that of the store, for group
      'group' if it is there.
    reading: its layers and pool say how a view of three axes is read.

  Raises:
    ValueError: a missing key, a damaged file or a pickled object.
  """
  names = {**asked, 'y': asked['y'] or store.y}
  group = asked['group'] or 'group'
  grouped = all(f'{group}_{part}' in store.keys for part in ('train', 'test'))
  parts, notes = _parts(store, [*(names[role] for role in (*sides_of(names), 'y')),
                                *[group] * grouped])
  keys: dict[str, dict[str, str]] = {
      role: {part: f'{name}{ending}' for part, ending in parts.items()}
      for role, name in names.items()}
  if not asked['group']:  # the name 'group' needs no asking
    keys['group'] = {part: f'group{ending}' for part, ending in parts.items()}
    lacking = sorted(set(keys['group'].values()) - set(store.keys))
    if 0 < len(lacking) < len(parts):
      notes.append(f'{store.where}: groups are not read, there is no {lacking[0]!r}')
    if lacking:
      del keys['group']
    names['group'] = 'group'
  for role, wanted in keys.items():
    for key in wanted.values():
      if key not in store.keys:
        raise ValueError(f'{store.where}: no key {key!r} for {role} (a given split needs NAME_train'
                         f' and NAME_test for every side and y); it has {listing(store.keys)}')
  made, pooled = {}, {}
  for part in parts:
    found = {role: find(store, wanted[part]) for role, wanted in keys.items()}
    made[part] = settled(found, reading, notes, pooled)
  return Raw(store.where, {role: names[role] for role in keys}, made,
             tuple(dict.fromkeys((*store.remarks, *notes))), pooled=pooled)


def _parts(store: Store, names: list[str]) -> tuple[dict[str, str], list[str]]:
  """How keys end in train, valid (val, dev, validation) and test, as far as the store has all names
  in them, {'': ''} for no split; notes on a validation part that is passed over.

  Raises:
    ValueError: two validation parts.
  """
  has = lambda ending: [f'{name}_{ending}' in store.keys for name in names]
  if not all((*has('train'), *has('test'))):
    return {'': ''}, []
  some = [ending for ending in ENDINGS[1:-1] if any(has(ending))]
  given = [ending for ending in some if all(has(ending))]
  if len(given) > 1:
    raise ValueError(f'{store.where}: {" and ".join(given)} are both a validation part; leave one')
  notes = [f'{store.where}: the {ending} part is not read, as only some of {", ".join(names)} have '
           'it' for ending in some if ending not in given]
  return {ALIAS.get(ending, ending): f'_{ending}' for ending in ('train', *given, 'test')}, notes


is_folder = h5_folder.recognised  # of HDF5 files as published
folder = h5_folder.store


def find(store: Store, key: str) -> sequences.Found:
  """The array of a key, and what the store says of its steps."""
  steps = sequences.Steps(key, **{ending: store.read(at) for ending, at
                                  in sequences.beside(key, store.keys).items()})
  return sequences.Found(f'{store.where}: {key}', {key: store.read(key)},
                         {key: steps} if steps else {})


def settled(found: dict[str, sequences.Found], reading: Reading, notes: list[str],
            pooled: dict[str, str]) -> Arrays:
  """Arrays by role, the views among them pooled where they are sequences; adds to `notes`, and to
  `pooled` how."""
  arrays = {role: next(iter(side.arrays.values())) for role, side in found.items()}
  views = sequences.one_each({role: found[role] for role in sides_of(found)}, reading.layers,
                             reading.pool, [len(np.ravel(arrays['y']))])
  for role, side in views.items():
    arrays[role], = side.arrays.values()
    notes += side.notes
    pooled |= {role: side.pooled} if side.pooled else {}
  return arrays
