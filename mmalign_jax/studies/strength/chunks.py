"""Results on disk: finished chunks that survive any interruption, and the data set made of them."""

from collections.abc import Callable, Iterable
import functools
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax.data.sources import SOURCES
from mmalign_jax.losses import task_of
from mmalign_jax.runs import folder
from mmalign_jax.runs.damage import note
from mmalign_jax.runs.dataset import with_encoders
from mmalign_jax.studies.strength.plan import RUN, UNSET, Study, defaults as study_defaults
from mmalign_jax.training.evaluate import Cell, Fused, pairs

if TYPE_CHECKING:  # slow to import: launch/sweep.py does so while XLA compiles
  import xarray as xr

_OF_SIDE = (  # name, where in Score or Bounds, long name, units
    ('accuracy', lambda score, _: score.accuracy, 'test accuracy of encoder {}', '1'),
    ('accuracy_by_fold', lambda score, _: score.accuracy_by_fold,
     'test accuracy by fold of the test set of encoder {}', '1'),
    ('cross_entropy', lambda score, _: score.task_loss, 'test cross-entropy of encoder {}', 'nats'),
    ('information', lambda score, _: score.information,
     'mutual information of prediction and label of encoder {}', 'nats'),
    ('ceiling', lambda _, known: known.accuracy, 'Bayes accuracy of encoder {} (NaN if unknown)',
     '1'),
    ('mi', lambda _, known: known.mi, 'I(X{};Y) (NaN if unknown)', 'nats'))
_OF_FILES = {  # by whether the task is a regression, in the same form
    False: ('balanced_accuracy', lambda score, _: score.balanced_accuracy,
            'mean share of every class that encoder {} finds, test rows', '1'),
    True: ('correlation', lambda score, _: score.correlation,
           'Pearson correlation of prediction of encoder {} and label, test rows', '1')}
_OF_PAIR = (('cka', 'debiased linear CKA of the last hidden layers'),
            ('mutual_knn', 'mutual kNN of the last hidden layers'))
_AXES = {  # name: (long name, units)
    'lam': ('strength of alignment', '1'), 'seed': ('random seed', '1'),
    'n_train': ('training samples', 'samples'),
    'learning_rate': ('learning rate', '1'), 'temperature': ('temperature', '1'),
}


Variable = tuple[Callable[[Cell], Any], str, str]  # where in Cell, long name, units


@functools.cache
def variables(n_sides: int) -> dict[str, Variable]:
  """What a file holds of S sides, by name; of pairs, where there are several, NAME_I_J."""
  sides = {f'{name}_{i + 1}': (lambda cell, i=i, get=get: get(cell.sides[i], cell.bounds[i]),
                               text.format(i + 1), units)
           for i in range(n_sides) for name, get, text, units in _OF_SIDE}
  of_pairs = {
      f'{name}_{i}_{j}' if n_sides > 2 else name: (
          lambda cell, at=at, name=name: getattr(cell, name)[at],
          f'{text}, sides {i} and {j}' if n_sides > 2 else text, '1')
      for name, text in _OF_PAIR for at, (i, j) in enumerate(pairs(n_sides))}
  return sides | of_pairs | {
      'diverged': (lambda cell: cell.diverged, 'a parameter became infinite or NaN', '1')}


def _variables_of(study: Study) -> dict[str, Variable]:
  """`variables`, those of a head on all sides where there is one, further scores of data from
  files, accuracies on rows that choose settings where the data have them, and what probes read
  where they are asked for."""
  known = variables(study.n_sides) | (
      {} if study.spec.fusion == 'none' else _fused_variables(study.n_sides))
  for i in range(study.n_sides):
    if SOURCES[study.spec.generator].tables is None:
      name, get, text, units = _OF_FILES[task_of(study.spec.task).regression]
      known[f'{name}_{i + 1}'] = (lambda cell, i=i, get=get: get(cell.sides[i], None),
                                  text.format(i + 1), units)
    if SOURCES[study.spec.generator].validation is not None:
      known[f'validation_{i + 1}'] = (lambda cell, i=i: cell.validation[i],
                                      f'validation accuracy of encoder {i + 1}', '1')
    if study.spec.probes:
      known |= {f'retention_{i + 1}': (lambda cell, i=i: cell.retention[i].accuracy, '', '1'),
                f'chance_{i + 1}': (lambda cell, i=i: cell.retention[i].chance, '', '1')}
  return known


def _is_probed(name: str) -> bool:
  """Whether a variable is what probes read: it has axes of its own."""
  return name.startswith(('retention_', 'chance_'))


def _fused_variables(n_sides: int) -> dict[str, Variable]:
  """Of a head on all sides, and of each side on the same test rows."""
  head, rows = 'the head on all sides', 'the joint test rows'
  made: dict[str, Variable] = {
      f'fused_{name}': (lambda cell, get=get: get(_fused(cell).together, None),
                        text.format('{}').replace('encoder {}', head), units)
      for name, get, text, units in _OF_SIDE if name not in ('ceiling', 'mi')}
  made['fused_ceiling'] = (lambda cell: _fused(cell).ceiling,
                           'Bayes accuracy of all sides together (NaN if unknown)', '1')
  return made | {
      f'joint_{name}_{i + 1}': (lambda cell, i=i, get=get: get(_fused(cell).sides[i], None),
                                f'{text.format(i + 1)}, on {rows}', units)
      for i in range(n_sides) for name, get, text, units in _OF_SIDE[:2]}


def _fused(cell: Cell) -> Fused:
  assert cell.fused is not None  # of a study that has such a head
  return cell.fused


class Chunks:
  """Finished chunks in DIR/chunks, one file each, written whole or not at all.

  Raises:
    ValueError: the folder holds results of another configuration, or another run is using it.
  """

  def __init__(self, workdir: str | os.PathLike, study: Study, lock: str = 'chunks/.lock'):
    self.folder, self._study = pathlib.Path(workdir) / 'chunks', study
    self._lock = folder.claim(workdir, study.settings, lock, defaults())

  def close(self) -> None:
    """Lets another run use the folder."""
    self._lock.close()

  def read(self) -> dict[str, np.ndarray]:
    """Every cell on disk, as `read_chunks`."""
    return read_chunks(self.folder, self._study.n_cells, self._study.n_sides,
                       more=tuple(_variables_of(self._study)))

  def write(self, index: np.ndarray, cells: Cell) -> None:
    """Puts one chunk on disk before it returns.

    Raises:
      OSError: one line that says what is safe.
    """
    name, again = f'{index[0]:08d}_{index[-1]:08d}', 2
    path = self.folder / f'{name}.npz'
    while path.exists():  # of other cells with the same ends, by another shard of another size
      path, again = self.folder / f'{name}.{again}.npz', again + 1
    folder.save(path, {'cell': index, **{
        name: get(cells) for name, (get, *_) in _variables_of(self._study).items()}})


def defaults() -> dict[str, Any]:
  """Settings that decide the results of a study, with their defaults; but for those of UNSET, which
  are in a record only where they are set, and must then be the same."""
  return {name: value for name, value in study_defaults().items()
          if name not in (*RUN, *UNSET)}


def read_chunks(chunks: pathlib.Path, n_cells: int, n_sides: int,
                load: Callable[[pathlib.Path], folder.Arrays | None] = folder.load,
                more: Iterable[str] = ()) -> dict[str, np.ndarray]:
  """{'cell': [W] numbers, name: [W, ...]} of every cell in a folder; damaged files do not count.

  A variable that a file does not hold, being of another version, is NaN for its cells, and is not
  among the names where no file holds it; a note says so.

  Args:
    n_cells, n_sides: of the study.
    load: how a file is read; `folder.load` sets damaged ones aside.
    more: names of variables beside those of every study.

  Raises:
    OSError: a file cannot be read now. ValueError: one is not of this version at all.
  """
  found = {path: part for path in folder.listed(chunks, '.npz') if (part := load(path)) is not None}
  if not found:
    return {'cell': np.zeros(0, int)}
  for path, part in found.items():
    if why := _foreign(part, n_cells, n_sides):
      raise ValueError(f'{path} holds {why}, being of another version, and is kept; go on with '
                       'that version, or choose another workdir')
  known = dict.fromkeys((*variables(n_sides), *more))
  names = [name for name in ('cell', *known) if any(name in part for part in found.values())]
  lacking = {name: sum(name not in part for part in found.values()) for name in known}
  for name, count in lacking.items():
    if count:
      note(f'{count} of {len(found)} files in {chunks} are of another version, without {name!r}: '
           'NaN for their cells')
  joined = {name: np.concatenate([_column(name, part, found.values()) for part in found.values()])
            for name in names}
  _, first = np.unique(joined['cell'], return_index=True)
  return {name: value[first] for name, value in joined.items()}


def _foreign(part: folder.Arrays, n_cells: int, n_sides: int) -> str:
  """What a file has that this version never writes; '' for nothing."""
  for name in ('cell', *(f'accuracy_{i + 1}' for i in range(n_sides)), 'diverged'):
    if name not in part:
      return f'no {name!r}'
  cell = part['cell']
  if cell.ndim != 1 or cell.dtype.kind not in 'iu' or ((cell < 0) | (cell >= n_cells)).any():
    return f'other cells than 0..{n_cells - 1}'
  for name in variables(n_sides):
    value = part.get(name, cell)
    most = 2 if name.startswith('accuracy_by_fold') else 1
    if value.dtype.kind not in 'biuf' or value.shape[:1] != cell.shape or value.ndim > most:
      return f'{value.dtype} {list(value.shape)} as {name!r} of {len(cell)} cells'
  return ''


def _column(name: str, part: folder.Arrays, others: Iterable[folder.Arrays]) -> np.ndarray:
  """A variable [W, ...] of one file, NaN where it does not hold it."""
  if name in part:
    return part[name]
  inner = next(other[name].shape[1:] for other in others if name in other)
  return np.full((len(part['cell']), *inner), np.nan)


def to_dataset(study: Study, values: dict[str, np.ndarray],
               versions: dict[str, str]) -> 'xr.Dataset':
  """All cells [R, ...] as one Dataset with a dimension per axis of the grid, in real units: every
  variable of a side by its own name (accuracy_1), and with the dimension `encoder` (accuracy)."""
  import xarray as xr
  dims = tuple(study.axes)
  data = {}
  for name, (_, long_name, units) in _variables_of(study).items():
    if _is_probed(name) or name not in values and '_by_fold' in name:
      continue  # below, or of a version that did not keep it
    value = values.get(name, np.full(study.n_cells, np.nan))
    if 'cross_entropy' in name and study.spec.task != 'cross_entropy':
      said = {'l1': 'absolute error'}.get(study.spec.task, f'{study.spec.task} loss')
      long_name, units = long_name.replace('cross-entropy', said), task_of(study.spec.task).units
    if '_by_fold' in name and value.shape[1] == 1:
      continue  # accuracy is exact, or the test set is a single fold
    fold = 'fold' if name.startswith('accuracy') else 'joint_fold'  # where rows have all sides
    own = (fold,) if value.ndim == 2 else ()
    data[name] = (dims + own, value.reshape(study.shape + value.shape[1:]),
                  {'long_name': long_name, 'units': units})
  coords = {name: (name, np.asarray(axis), _axis_attributes(name, study))
            for name, axis in study.axes.items()}
  made = with_encoders(xr.Dataset(data, coords, {
      'name': study.name, 'configuration': json.dumps(study.settings, default=float),
      'versions': json.dumps(versions), 'notes': '\n'.join(study.notes)}))
  if study.spec.probes:
    from mmalign_jax.studies.strength import retention  # xarray is slow to import
    made = made.assign(retention.variables(study, values))
  if study.spec.fusion == 'none':
    return made
  from mmalign_jax.studies.strength import together  # needs xarray
  return together.with_synergy(made)


def _axis_attributes(name: str, study: Study) -> dict[str, str]:
  words = SOURCES[study.spec.generator].words
  long_name, units = words.get(name) or _AXES.get(name) or (_of_own(name), '1')
  return {'long_name': long_name, 'units': units}


def _of_own(name: str) -> str:
  """Words for a traced setting that is a side's, a pair's or a loss's own."""
  first, *numbers = name.split('_')
  if first == 'lam':
    return f'strength felt by {"encoder" if len(numbers) == 1 else "encoders"} ' + (
        ' and '.join(numbers))
  return name.replace('_', ' ')
