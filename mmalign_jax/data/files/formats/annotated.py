""".h5ad and .h5mu files, read by anndata (extra `bio`): matrices, columns of obs, names of rows."""

import pathlib

import numpy as np

from mmalign_jax.data.files.formats import guard, hdf5, sparse
from mmalign_jax.data.files.formats.store import Store, plain

_MATRICES = ('X', 'raw/X')
_MAPPINGS = ('obsm', 'layers')
NAMES = 'obs:index'  # the key of the names of the rows


def h5ad(path: pathlib.Path) -> Store:
  """X (read where no key is given), raw:X, obsm:KEY, layers:KEY, obs:COLUMN and obs:index.

  Sparse matrices are filled in; categories are text or numbers, as they are named.
  """
  return _store(path, {'': ''})


def h5mu(path: pathlib.Path) -> Store:
  """The same of each modality, as MOD:X and so on, and obs:COLUMN of all.

  Rows of a modality are put in the order of the whole; a modality that lacks some is refused.
  """
  return _store(path, None)


def _store(path: pathlib.Path, places: dict[str, str] | None) -> Store:
  """places: where modalities are in the file, by prefix of their keys; None: under mod."""
  try:
    import anndata.io
  except ImportError as error:
    raise ValueError(f'{path}: reading it needs anndata (and mudata), which are not installed: '
                     "pip install 'mmalign_jax[bio]'") from error
  size, remarks = path.stat().st_size, []
  def where(file) -> dict[str, str]:
    return places or {'': '', **{f'{mod}:': f'mod/{mod}/' for mod in _inside(file, 'mod')}}
  def keys(file) -> dict[str, tuple[str, str]]:
    """(modality, path in the file) by key."""
    return {f'{prefix}{key}': (place, inner) for prefix, place in where(file).items()
            for key, inner in _keys(file, place, whole=not (places or place))}
  def read(key: str) -> np.ndarray:
    with guard.reading(f'{path}: {key!r}'), hdf5.opened(path) as file:
      place, inner = keys(file)[key]
      array = _dense(anndata.io.read_elem(_checked(_inside(file, inner), size)), size)
      return plain(array if places or not place else array[_order(file, place, size)], remarks)
  with guard.reading(path), hdf5.opened(path) as file:
    found = tuple(keys(file))
  return Store(str(path), found, read, 'X' if 'X' in found else '', remarks)


def _inside(file, path: str):
  return hdf5.inside(file, path)


def _keys(file, place: str, whole: bool):
  """(key, path) of all that has one row a sample; of the whole of a .h5mu file, obs alone."""
  import h5py
  obs = _inside(file, f'{place}obs')
  if not isinstance(obs, h5py.Group):
    raise ValueError('obs is in the form of anndata before 0.7; read it and write it again')
  if not whole:
    for name in _MATRICES:
      if name.split('/')[0] in (_inside(file, place) if place else file):
        yield name.replace('/', ':'), f'{place}{name}'
  for name in (() if whole else _MAPPINGS):
    if name in (_inside(file, place) if place else file):
      mapping = _inside(file, f'{place}{name}')
      if not isinstance(mapping, h5py.Group):
        raise ValueError(f'{name} is not a group of matrices')
      yield from ((f'{name}:{key}', f'{place}{name}/{key}') for key in mapping)
  index = _text(obs.attrs.get('_index', '_index'))
  yield NAMES, f'{place}obs/{index}'
  yield from ((f'obs:{key}', f'{place}obs/{key}') for key in obs
              if key not in (index, '__categories'))


def _text(value) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _checked(item, size: int):
  """An item all of whose datasets are checked, so that anndata may read it."""
  import h5py
  if isinstance(item, h5py.Dataset):
    return hdf5.checked(item, size)
  for name in item:
    _checked(hdf5.inside(item, name), size)
  return item


def _dense(value, size: int) -> np.ndarray:
  """What anndata read, as numbers or text; a missing text is ''."""
  if hasattr(value, 'toarray'):
    return sparse.filled(value, size)
  if hasattr(value, 'columns'):  # a table in obsm
    return value.to_numpy()
  import pandas
  if isinstance(value, (pandas.Categorical, pandas.api.extensions.ExtensionArray)):
    value = np.asarray(value.astype(object))
  value = np.asarray(value)
  if value.dtype.kind != 'O':
    return value
  missing = pandas.isna(value)
  if all(isinstance(v, (int, float, np.number)) for v in value[~missing]):
    return np.where(missing, np.nan, value).astype(np.float64) if missing.any() else np.array(
        value.tolist())
  return guard.texts(['' if gone else str(v) for v, gone in zip(value, missing)], 'a column')


def _order(file, place: str, size: int) -> np.ndarray:
  """Rows of a modality in the order of the whole.

  Raises:
    ValueError: a name that occurs twice, or samples that one of them lacks.
  """
  import anndata.io
  names = [np.asarray(anndata.io.read_elem(_checked(_inside(
      file, dict(_keys(file, at, whole=True))[NAMES]), size))).astype(str) for at in ('', place)]
  whole, own = names
  mod = place.split('/')[1]
  if len(np.unique(own)) < len(own) or len(np.unique(whole)) < len(whole):
    raise ValueError(f'names of rows occur twice in obs or in obs of {mod!r}')
  if set(own.tolist()) != set(whole.tolist()):
    raise ValueError(f'modality {mod!r} has {len(own)} samples and the file {len(whole)}: rows of '
                     'two modalities would not be the same sample; keep those that all have '
                     '(mudata.pp.intersect_obs) and write it again')
  at = {name: i for i, name in enumerate(own.tolist())}
  return np.array([at[name] for name in whole.tolist()], np.int64)
