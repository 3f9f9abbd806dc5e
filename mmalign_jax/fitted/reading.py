"""Fitted encoders are read: DIR/encoders/ as `store` writes it, judged before anything is made of
it. Nothing of it is executed.
"""

from collections.abc import Mapping
import dataclasses
import math
import os
import pathlib
from typing import Any

from flax import traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import objective
from mmalign_jax.data.components import Reduction
from mmalign_jax.data.files import pooling
from mmalign_jax.data.files.formats.tensors import safetensors
from mmalign_jax.encoders import fusion
from mmalign_jax.fitted import chosen
from mmalign_jax.fitted.calibrate import Calibration
from mmalign_jax.fitted.model import Fitted, View, components_of
from mmalign_jax.runs import folder
from mmalign_jax.settings import shown
from mmalign_jax.types import PyTree

FOLDER, MAIN, HEAD = 'encoders', 'encoders.json', 'head.safetensors'
FORMAT = 1
_ADVICE = 'fit the encoders again'
_FIELDS = {'format': int, 'settings': dict, 'views': list, 'classes': list, 'center': float,
           'scale': float, 'together': dict, 'notes': list, 'n_train': int, 'n_labelled': int}
_OF_VIEW = {'name': str, 'file': str, 'columns': list, 'shape': list, 'calibration': dict}


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
                               n_labelled=found['n_labelled'], to_train=False)
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
  if (pooled := found.get('pooled', '')) not in ('', *pooling.POOLS):
    raise ValueError(f'{path}: pooled={shown(pooled)} is unknown; known: '
                     f'{", ".join(pooling.POOLS)}')
  store = safetensors(at)
  arrays = {name: store.read(name) for name in store.keys}
  reduction = _reduction(at, arrays, shape)
  view = View(found['name'], tuple(found['columns']), tuple(shape), reduction, {},
              _calibration(path, found['calibration']), pooled)
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
