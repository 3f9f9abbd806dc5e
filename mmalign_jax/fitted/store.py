"""Fitted encoders on disk: DIR/encoders/ holds encoders.json, a .safetensors file a view, and one
of the head on all views where there is one.

Nothing of it is executed when it is read. What was predicted of the file that was fitted on lies
beside them, in predictions.npz.
"""

from collections.abc import Mapping
import dataclasses
import math
import os
import pathlib
import tempfile
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import objective
from mmalign_jax.data.components import Reduction
from mmalign_jax.data.files.formats.tensors import safetensors
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Rows
from mmalign_jax.encoders import fusion
from mmalign_jax.fitted import chosen
from mmalign_jax.fitted.calibrate import Calibration
from mmalign_jax.fitted.model import Fitted, View, components_of, outputs, said, together
from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import folder
from mmalign_jax.runs.versions import versions
from mmalign_jax.settings import shown
from mmalign_jax.types import PyTree

FOLDER, MAIN, PREDICTIONS = 'encoders', 'encoders.json', 'predictions.npz'
HEAD = 'head.safetensors'
FORMAT = 1
_ADVICE = 'fit the encoders again'
_FIELDS = {'format': int, 'settings': dict, 'views': list, 'classes': list, 'center': float,
           'scale': float, 'together': dict, 'notes': list, 'n_train': int, 'n_labelled': int}
_OF_VIEW = {'name': str, 'file': str, 'columns': list, 'shape': list, 'calibration': dict}


# -- writing ---------------------------------------------------------------------------------------


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
                 'shape': list(view.shape), 'calibration': dataclasses.asdict(view.calibration)}
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
  of['together'] = together(fitted, z, found) if len(found) > 1 else of['x1']
  role = np.zeros(len(pairs.y), np.int8)
  if rows is not None:
    for number, part in enumerate((rows.train, rows.validation, rows.test), start=1):
      role[part] = number
  return {name: p.value if p.probabilities is None else p.probabilities
          for name, p in of.items()} | {'role': role}


# -- reading ---------------------------------------------------------------------------------------


def load(workdir: str | os.PathLike) -> Fitted:
  """The encoders of a work folder, or of its encoders/ itself.

  Raises:
    FileNotFoundError: none are there. ValueError: one line that names the file and what is wrong
      with it. OSError: it cannot be read now.
  """
  place = pathlib.Path(workdir)
  place = place if (place / MAIN).exists() else place / FOLDER
  path = place / MAIN
  if not path.exists():
    raise FileNotFoundError(f'{workdir}: no encoders there ({path} is missing)')
  found = folder.read_json(path, _ADVICE)
  _check(path, found, _FIELDS)
  if found['format'] != FORMAT:
    raise ValueError(f'{path}: format={shown(found["format"])}, and this version reads {FORMAT}; '
                     f'{_ADVICE}')
  if not found['views']:
    raise ValueError(f'{path}: views=[] names no encoder; {_ADVICE}')
  for view in found['views']:
    _check(path, view, _OF_VIEW)
  for name in ('classes', 'notes'):
    _check_texts(path, name, found[name])
  n = len(found['views'])
  try:
    settings = chosen.judged(found['settings'], n)
    spec, hyper = chosen.built(settings, n, n_train=found['n_train'],
                               n_labelled=found['n_labelled'])
  except ValueError as error:
    raise ValueError(f'{path}: {error}') from error
  hyper = dataclasses.replace(hyper, n_labelled=0)
  made = Fitted(settings, spec, hyper, (), tuple(found['classes']), _finite(path, found, 'center'),
                _finite(path, found, 'scale'), _calibration(path, found['together']),
                tuple(found['notes']))
  views = tuple(_view(path, made, i, view) for i, view in enumerate(found['views']))
  if len({view.name for view in views}) < n:
    raise ValueError(f'{path}: two views are called {views[0].name!r}; {_ADVICE}')
  made = dataclasses.replace(made, views=views)
  if spec.fusion == 'none':
    return made
  _check(path, found, {'head': dict})
  return dataclasses.replace(made, head=_head(path.parent / HEAD, made),
                             joint=_calibration(path, found['head']))


def _head(path: pathlib.Path, made: Fitted) -> PyTree:
  """The head on all views, of the shapes that the settings ask for."""
  if not path.exists():
    raise FileNotFoundError(f'{path}: missing; {_ADVICE}')
  held = safetensors(path)
  arrays = {name: held.read(name) for name in held.keys}
  z = [jax.ShapeDtypeStruct((1, made.width_of(i)), jnp.float32) for i in range(len(made.views))]
  wanted: dict[str, Any] = traverse_util.flatten_dict(jax.eval_shape(
      fusion.Fusion(made.spec, made.n_outputs).init, jax.random.key(0), z), sep='/')
  if more := [name for name in arrays if name not in wanted]:
    raise ValueError(f'{path}: {more[0]!r} is no parameter of a head on all views; {_ADVICE}')
  return traverse_util.unflatten_dict(
      {name: _array(path, arrays, name, tuple(leaf.shape), np.dtype(leaf.dtype))
       for name, leaf in wanted.items()}, sep='/')


def _check(path: pathlib.Path, found: Any, fields: Mapping[str, type]) -> None:
  """Whether an object of JSON has the fields, each of its type."""
  if not isinstance(found, dict):
    raise ValueError(f'{path}: {shown(found)} is no object; {_ADVICE}')
  for name, kind in fields.items():
    value, allowed = found.get(name), (int, float) if kind is float else kind
    if not isinstance(value, allowed) or isinstance(value, bool):
      raise ValueError(f'{path}: {name}={shown(value)} is no {kind.__name__}; {_ADVICE}')


def _check_texts(path: pathlib.Path, name: str, values: list) -> None:
  if not all(isinstance(value, str) for value in values):
    raise ValueError(f'{path}: {name}={shown(values)} must be texts; {_ADVICE}')


def _finite(path: pathlib.Path, found: Mapping[str, Any], name: str) -> float:
  value = float(found[name])
  if not math.isfinite(value) or name == 'scale' and value <= 0:
    raise ValueError(f'{path}: {name}={value:g} cannot be; {_ADVICE}')
  return value


def _calibration(path: pathlib.Path, found: Mapping[str, Any]) -> Calibration:
  """residual: null where there is none."""
  _check(path, found, {'temperature': float, 'n': int, 'how': str})
  residual = found.get('residual')
  if not (residual is None or isinstance(residual, (int, float))) or not (
      0 < found['temperature'] < math.inf):
    raise ValueError(f'{path}: {shown(dict(found))} is no calibration; {_ADVICE}')
  return Calibration(float(found['temperature']), math.nan if residual is None else float(residual),
                     found['n'], found['how'])


def _view(path: pathlib.Path, made: Fitted, number: int, found: Mapping[str, Any]) -> View:
  """A view of encoders.json with the arrays of its file."""
  _check_texts(path, 'columns', found['columns'])
  shape = found['shape']
  if not (len(shape) in (1, 2) and all(type(n) is int and 0 < n < 2**31 for n in shape)):
    raise ValueError(f'{path}: shape={shown(shape)} is none of a sample; {_ADVICE}')
  if found['columns'] and len(found['columns']) != shape[-1]:
    raise ValueError(f'{path}: {len(found["columns"])} columns of view {found["name"]!r}, whose '
                     f'shape is {shape}; {_ADVICE}')
  if found['file'] != f'x{number + 1}.safetensors':  # no path leads out of the folder
    raise ValueError(f'{path}: file={shown(found["file"])} must be x{number + 1}.safetensors')
  at = path.parent / found['file']
  if not at.exists():
    raise FileNotFoundError(f'{at}: missing; {_ADVICE}')
  store = safetensors(at)
  arrays = {name: store.read(name) for name in store.keys}
  reduction = _reduction(at, arrays, shape)
  view = View(found['name'], tuple(found['columns']), tuple(shape), reduction, {},
              _calibration(path, found['calibration']))
  params = _params(at, arrays, made, number, view)
  return dataclasses.replace(view, params=params)


def _reduction(path: pathlib.Path, arrays: Mapping[str, np.ndarray], shape: list) -> Reduction:
  width, made = shape[-1], {}
  kept = len(arrays.get('reduction/components', np.zeros(0)))
  shapes = {name: (width,) for name in ('fill', 'mean', 'std', 'constant', 'center')} | {
      'components': (kept, width), 'spread': (kept or width,)}
  if bool(kept) == (len(shape) == 2):
    raise ValueError(f'{path}: {kept} components of samples of shape {tuple(shape)}; {_ADVICE}')
  for name, wanted in shapes.items():
    kind = {'constant': np.bool_, 'spread': np.float32}.get(name, np.float64)
    made[name] = _array(path, arrays, f'reduction/{name}', wanted, np.dtype(kind))
  if not (made['std'] > 0).all():
    raise ValueError(f'{path}: reduction/std has values that are not above 0; {_ADVICE}')
  return Reduction(**made)


def _array(path: pathlib.Path, arrays: Mapping[str, np.ndarray], name: str, shape: tuple,
           dtype: np.dtype) -> np.ndarray:
  if name not in arrays:
    raise ValueError(f'{path}: no {name!r}; {_ADVICE}')
  value = arrays[name]
  if value.shape != shape or value.dtype != dtype:
    raise ValueError(f'{path}: {name!r} is {value.dtype} {list(value.shape)}; {dtype} '
                     f'{list(shape)} is needed; {_ADVICE}')
  if value.dtype.kind == 'f' and not np.isfinite(value).all():
    raise ValueError(f'{path}: {name!r} has values that are not finite; {_ADVICE}')
  return value


def _params(path: pathlib.Path, arrays: Mapping[str, np.ndarray], made: Fitted, number: int,
            view: View) -> PyTree:
  """Parameters of the shapes that the settings ask for, and no others."""
  module = objective.modules(made.spec, made.n_outputs, number + 1)[number]
  example = jax.eval_shape(lambda: jax.tree.map(jnp.asarray, components_of(view, 1)))
  wanted: dict[str, Any] = traverse_util.flatten_dict(
      jax.eval_shape(module.init, jax.random.key(0), example), sep='/')
  params = {name: _array(path, arrays, name, tuple(leaf.shape), np.dtype(leaf.dtype))
            for name, leaf in wanted.items()}
  more = [name for name in arrays if name.startswith('params/') and name not in params]
  if more:
    raise ValueError(f'{path}: {more[0]!r} is no parameter of encoder '
                     f'{made.spec.of_side(number + 1).encoder!r}; {_ADVICE}')
  return traverse_util.unflatten_dict(params, sep='/')


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
