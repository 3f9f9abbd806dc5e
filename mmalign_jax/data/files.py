"""Named arrays from files: .npz, .h5, .mat, .safetensors, and the digits of scikit-learn.

Every format, those of `tables` too, becomes the same thing, a `Raw`: one array per role (x1, x2,
y, perhaps group), in one piece or as a given train and test part. Nothing in a file is ever
executed: pickled objects are refused. Values are not judged here; that is for `paired`.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

MAX_CLASSES = 50  # distinct whole numbers that are still read as class labels
_LISTED = 20      # names in an error message

Arrays = dict[str, np.ndarray]  # by role


@dataclasses.dataclass(frozen=True)
class Raw:
  """Arrays as read. parts: {'': arrays} or {'train': arrays, 'test': arrays}, arrays by role;
  names: what each role is called in `where`; notes: remarks for the user, one line each."""
  where: str
  names: dict[str, str]
  parts: dict[str, Arrays]
  notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Store:
  """Arrays by key: read(key) loads one of `keys`."""
  where: str
  keys: tuple[str, ...]
  read: Callable[[str], np.ndarray]


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


def listing(names: Iterable[str]) -> str:
  """Names for an error message, on one line and not too many."""
  names = list(names)
  more = f', ... ({len(names)} in all)' if len(names) > _LISTED else ''
  return ', '.join(map(repr, names[:_LISTED])) + more if names else 'nothing'


@contextlib.contextmanager
def reading(what) -> Iterator[None]:
  """Any failure of a parser as one line that names the file."""
  try:
    yield
  except Exception as error:  # parsers of damaged files raise all sorts
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ValueError(f'{what}: cannot be read: {reason}') from error


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
  with reading(path), open(path, 'rb') as file:
    return np.lib.format.read_array(file, allow_pickle=False)


def _npz(path: pathlib.Path) -> Store:
  def read(key: str) -> np.ndarray:
    with reading(f'{path}: {key!r}'), np.load(path, allow_pickle=False) as file:
      return file[key]
  with reading(path), np.load(path, allow_pickle=False) as file:
    return Store(str(path), tuple(file.files), read)


def _h5(path: pathlib.Path) -> Store:
  import h5py  # this and scipy.io are slow to import, and seldom needed
  def read(key: str) -> np.ndarray:
    with reading(f'{path}: {key!r}'), h5py.File(path, 'r') as file:
      dataset = file[key]
      if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()]).astype(np.str_)
      if dataset.dtype.kind == 'O':
        raise ValueError('it holds references or objects; save numbers or plain strings')
      return dataset[()]
  keys = []
  with reading(path), h5py.File(path, 'r') as file:
    file.visititems(lambda key, item: keys.append(key) if isinstance(item, h5py.Dataset) else None)
  return Store(str(path), tuple(keys), read)


def _mat(path: pathlib.Path) -> Store:
  import h5py
  import scipy.io
  if h5py.is_hdf5(path):  # v7.3: HDF5, with the axes in MATLAB's column-major order
    store = _h5(path)
    return Store(store.where, store.keys, lambda key: np.transpose(store.read(key)))
  def read(key: str) -> np.ndarray:
    with reading(f'{path}: {key!r}'):
      return _plain(scipy.io.loadmat(path, variable_names=[key])[key])
  with reading(path):
    return Store(str(path), tuple(name for name, _, _ in scipy.io.whosmat(path)), read)


def _plain(array) -> np.ndarray:
  """A MATLAB variable as an array: cells of one value and sparse matrices filled in."""
  if hasattr(array, 'toarray'):
    return array.toarray()
  if array.dtype.kind == 'O':
    return np.array([cell.item() if np.size(cell) == 1 else cell for cell in array.ravel()])
  return array


def _safetensors(path: pathlib.Path) -> Store:
  import ml_dtypes  # gives NumPy bfloat16
  import safetensors
  def read(key: str) -> np.ndarray:
    with reading(f'{path}: {key!r}'), safetensors.safe_open(path, framework='np') as file:
      array = file.get_tensor(key)
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
  with reading(path), safetensors.safe_open(path, framework='np') as file:
    return Store(str(path), tuple(file.keys()), read)


STORES = {'.npz': _npz, '.h5': _h5, '.hdf5': _h5, '.mat': _mat, '.safetensors': _safetensors}


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
  return Raw(store.where, {role: names[role] for role in keys}, parts)
