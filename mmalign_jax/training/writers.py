"""Results on disk: finished chunks that survive any interruption, and the data set made of them."""

import json
import os
import pathlib
import shutil
from typing import TYPE_CHECKING

import numpy as np

from mmalign_jax.training import folder
from mmalign_jax.training.evaluate import Cell
from mmalign_jax.training.study import Study

if TYPE_CHECKING:  # slow to import: launch/sweep.py does so while XLA compiles
  import xarray as xr

_VARIABLES = {  # name: (where in Cell, long name, units)
    **{f'{name}_{i}': (lambda cell, i=i, key=key: getattr(getattr(cell, f'side_{i}'), key),
                       f'{text} of encoder {i}', units)
       for i in (1, 2) for name, key, text, units in (
           ('accuracy', 'accuracy', 'test accuracy', '1'),
           ('accuracy_by_fold', 'accuracy_by_fold', 'test accuracy by fold of the test set', '1'),
           ('cross_entropy', 'task_loss', 'test cross-entropy', 'nats'),
           ('information', 'information', 'mutual information of prediction and label', 'nats'))},
    'ceiling_1': (lambda c: c.ceiling_1, 'Bayes accuracy of encoder 1 (NaN if unknown)', '1'),
    'ceiling_2': (lambda c: c.ceiling_2, 'Bayes accuracy of encoder 2 (NaN if unknown)', '1'),
    'mi_1': (lambda c: c.mi_1, 'I(X1;Y) (NaN if unknown)', 'nats'),
    'mi_2': (lambda c: c.mi_2, 'I(X2;Y) (NaN if unknown)', 'nats'),
    'cka': (lambda c: c.cka, 'debiased linear CKA of the last hidden layers', '1'),
    'mutual_knn': (lambda c: c.mutual_knn, 'mutual kNN of the last hidden layers', '1'),
    'diverged': (lambda c: c.diverged, 'a parameter became infinite or NaN', '1'),
}
_AXES = {  # name: (long name, units)
    'lam': ('strength of alignment', '1'), 'lam_1': ('strength felt by encoder 1', '1'),
    'lam_2': ('strength felt by encoder 2', '1'), 'seed': ('random seed', '1'),
    'n_train': ('training samples', 'samples'),
    'unique_1': ('unique information of side 1', 'nats'),
    'unique_2': ('unique information of side 2', 'nats'), 'synergy': ('synergy', 'nats'),
    'learning_rate': ('learning rate', '1'), 'temperature': ('temperature', '1'),
}


class Chunks:
  """Finished chunks in DIR/chunks, one file each, written whole or not at all.

  Raises:
    ValueError: the folder holds results of another configuration, or another run is using it.
  """

  def __init__(self, workdir: str | os.PathLike, study: Study, lock: str = 'chunks/.lock'):
    self.folder = pathlib.Path(workdir) / 'chunks'
    self._lock = folder.claim(workdir, study.settings, lock)

  def close(self) -> None:
    """Lets another run use the folder."""
    self._lock.close()

  def read(self) -> dict[str, np.ndarray]:
    """Every cell on disk, as `read_chunks`."""
    return read_chunks(self.folder)

  def write(self, index: np.ndarray, cells: Cell) -> None:
    """Puts one chunk on disk before it returns.

    Raises:
      OSError: one line that says what is safe.
    """
    folder.save(self.folder / f'{index[0]:08d}_{index[-1]:08d}.npz',
                {'cell': index, **{name: get(cells) for name, (get, *_) in _VARIABLES.items()}})


def read_chunks(chunks: pathlib.Path) -> dict[str, np.ndarray]:
  """{'cell': [W] numbers, name: [W, ...]} of every cell in a folder; damaged files do not count."""
  loaded = (folder.load(path, ('cell', *_VARIABLES)) for path in sorted(chunks.glob('*.npz')))
  found = [part for part in loaded if part is not None]
  if not found:
    return {'cell': np.zeros(0, int)}
  joined = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
  _, first = np.unique(joined['cell'], return_index=True)
  return {name: value[first] for name, value in joined.items()}


def to_dataset(study: Study, values: dict[str, np.ndarray],
               versions: dict[str, str]) -> 'xr.Dataset':
  """All cells [R, ...] as one Dataset with a dimension per axis of the grid, in real units."""
  import xarray as xr
  dims = tuple(study.axes)
  data = {}
  for name, (_, long_name, units) in _VARIABLES.items():
    value = values[name]
    if study.spec.task == 'l1' and name.startswith('cross_entropy'):
      long_name, units = long_name.replace('cross-entropy', 'absolute error'), 'label deviation'
    if name.startswith('accuracy_by_fold') and value.shape[1] == 1:
      continue  # accuracy is exact, or the test set is a single fold
    own = ('fold',) if value.ndim == 2 else ()
    data[name] = (dims + own, value.reshape(study.shape + value.shape[1:]),
                  {'long_name': long_name, 'units': units})
  coords = {name: (name, np.asarray(axis), _axis_attributes(name, study))
            for name, axis in study.axes.items()}
  return xr.Dataset(data, coords, {
      'name': study.name, 'configuration': json.dumps(study.settings, default=float),
      'versions': json.dumps(versions), 'notes': '\n'.join(study.notes)})


def _axis_attributes(name: str, study: Study) -> dict[str, str]:
  if name == 'redundancy':
    nats = study.spec.generator == 'atoms'
    return {'long_name': 'redundancy' if nats else 'shared task bits',
            'units': 'nats' if nats else 'bits'}
  long_name, units = _AXES.get(name, (name.replace('_', ' '), '1'))
  return {'long_name': long_name, 'units': units}


def write_dataset(dataset: 'xr.Dataset', path: pathlib.Path) -> None:
  """Writes a zarr store beside `path` and moves it there."""
  part = path.with_name(path.name + '.part')
  shutil.rmtree(part, ignore_errors=True)
  dataset.to_zarr(part, mode='w', zarr_format=2)
  shutil.rmtree(path, ignore_errors=True)
  os.replace(part, path)
