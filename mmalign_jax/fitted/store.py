"""Fitted encoders are written: DIR/encoders/ holds encoders.json, a .safetensors file a view, and
one of the head on all views where there is one (`reading` reads them).

What was predicted of the file that was fitted on lies beside them, in predictions.npz.
"""

from collections.abc import Mapping
import dataclasses
import os
import pathlib
import tempfile
from typing import Any

from flax import traverse_util
import numpy as np

from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Rows
from mmalign_jax.fitted import together
from mmalign_jax.fitted.model import Fitted, View, outputs, said
from mmalign_jax.fitted.reading import FOLDER, FORMAT, HEAD, MAIN
from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import folder
from mmalign_jax.runs.versions import versions
from mmalign_jax.types import PyTree

PREDICTIONS = 'predictions.npz'  # of the file that was fitted on


def save(fitted: Fitted, workdir: str | os.PathLike, pairs: Pairs | None = None,
         rows: Rows | None = None) -> pathlib.Path:
  """Writes workdir/encoders/, the whole folder or nothing of it; returns its path.

  Args:
    fitted: the encoders; those that lie there are replaced.
    pairs: what they were fitted on: `predict` of each of its rows is kept, too.
    rows: as in `fit`, to say in predictions.npz which rows were for what.

  Raises:
    OSError: it cannot be written; what was there stays.
  """
  place = pathlib.Path(workdir) / FOLDER
  place.parent.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix=f'{FOLDER}.', suffix='.part', dir=place.parent) as made:
    for i, view in enumerate(fitted.views):
      _write_tensors(pathlib.Path(made) / f'x{i + 1}.safetensors', tensors(view))
    if fitted.head is not None:
      _write_tensors(pathlib.Path(made) / HEAD, _flat(fitted.head))
    if pairs is not None:
      folder.save(pathlib.Path(made) / PREDICTIONS, predictions(fitted, pairs, rows))
    write_json(pathlib.Path(made) / MAIN, content(fitted))
    os.chmod(made, 0o755)
    _swap(pathlib.Path(made), place)
  return place


def _swap(made: pathlib.Path, place: pathlib.Path) -> None:
  """Puts a folder in the place of another, which goes where the first was, to be removed."""
  if not place.exists():
    os.rename(made, place)
    made.mkdir()  # for its keeper to remove
    return
  aside = made.with_name(f'{made.name}.old')
  os.rename(place, aside)
  try:
    os.rename(made, place)
  except BaseException:
    os.rename(aside, place)
    raise
  os.rename(aside, made)


def _write_tensors(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  from safetensors.numpy import save as as_bytes
  folder.write_whole(path, as_bytes({name: np.ascontiguousarray(value)
                                     for name, value in arrays.items()}))


def tensors(view: View) -> dict[str, np.ndarray]:
  """Arrays of a view by name: params/..., reduction/..."""
  return _flat(view.params) | {
      f'reduction/{name}': value for name, value in vars(view.reduction).items()}


def _flat(params: PyTree) -> dict[str, np.ndarray]:
  return {name: np.asarray(value)
          for name, value in traverse_util.flatten_dict(params, sep='/').items()}


def content(fitted: Fitted) -> dict[str, Any]:
  """What encoders.json says."""
  return {
      'format': FORMAT, 'versions': versions(), 'settings': {
          name: value for name, value in fitted.settings.items() if value is not None},
      'views': [{'name': view.name, 'file': f'x{i + 1}.safetensors', 'columns': list(view.columns),
                 'shape': list(view.shape), 'calibration': dataclasses.asdict(view.calibration),
                 **({'pooled': view.pooled} if view.pooled else {})}
                for i, view in enumerate(fitted.views)],
      'classes': list(fitted.classes), 'center': fitted.center, 'scale': fitted.scale,
      'together': dataclasses.asdict(fitted.together), 'notes': list(fitted.notes),
      'n_train': fitted.spec.max_train, 'n_labelled': fitted.spec.labelled_batch} | (
          {} if fitted.head is None else {'head': dataclasses.asdict(fitted.joint)})


def predictions(fitted: Fitted, pairs: Pairs, rows: Rows | None = None) -> dict[str, np.ndarray]:
  """What is predicted of every row of the file, by place: x1, ..., and together [N, C] of
  probabilities (f64), or [N] values; role [N] of rows: 1 train, 2 validation, 3 test, 0 none."""
  made = {name: outputs(fitted, name, view) for name, view in zip(pairs.names, pairs.views)}
  z, found = ({name: one[i] for name, one in made.items()} for i in (0, 1))
  of = {f'x{i + 1}': said(fitted, found[view.name], view.calibration)
        for i, view in enumerate(fitted.views)}
  of['together'] = together.of_outputs(fitted, z, found) if len(found) > 1 else of['x1']
  role = np.zeros(len(pairs.y), np.int8)
  if rows is not None:
    for number, part in enumerate((rows.train, rows.validation, rows.test), start=1):
      role[part] = number
  return {name: p.value if p.probabilities is None else p.probabilities
          for name, p in of.items()} | {'role': role}


def stored(workdir: str | os.PathLike) -> dict[str, np.ndarray]:
  """What `save` kept of the file that was fitted on, as of `predictions`.

  Raises:
    FileNotFoundError: nothing was kept. ValueError: damaged.
  """
  path = pathlib.Path(workdir) / FOLDER / PREDICTIONS
  found = folder.read(path)
  if found is None:
    raise FileNotFoundError(f'{path}: missing; save(fitted, workdir, pairs) keeps predictions')
  return dict(found)
