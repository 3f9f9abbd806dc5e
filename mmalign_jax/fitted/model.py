"""Fitted encoders, and what they make of rows: embeddings, calibrated probabilities, values.

Pure: files are in `store`, training in `fitting`; several views at once in `together`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from mmalign_jax import losses, objective
from mmalign_jax.data import components, pair_source
from mmalign_jax.data.components import Reduction
from mmalign_jax.encoders import sides
from mmalign_jax.fitted.calibrate import Calibration, probabilities
from mmalign_jax.settings import shown
from mmalign_jax.training import compiling
from mmalign_jax.types import Hyper, PyTree, Spec

_ROWS = 256  # go at once; always so many, so that a row comes out the same whatever is beside it


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """One encoder. columns: names of the features, () where they have none; shape: of a sample as it
  is read, (F,) or (T, F); params: for `encoders.Side.apply`; pooled: how sequences became this, ''
  for what was none."""
  name: str
  columns: tuple[str, ...]
  shape: tuple[int, ...]
  reduction: Reduction
  params: PyTree
  calibration: Calibration = Calibration()
  pooled: str = ''


@dataclasses.dataclass(frozen=True, eq=False)
class Fitted:
  """Encoders of S views. settings: of `chosen.judged`; spec, hyper: made of them. classes: names by
  code, () for a regression, whose values are scale * prediction + center. together: calibration of
  all views' predictions taken together. notes: of the fit, for the user. head: parameters of the
  one on the embeddings of all views, where settings ask for it (fusion); joint: its calibration."""
  settings: Mapping[str, Any]
  spec: Spec
  hyper: Hyper
  views: tuple[View, ...]
  classes: tuple[str, ...]
  center: float = 0.0
  scale: float = 1.0
  together: Calibration = Calibration()
  notes: tuple[str, ...] = ()
  head: PyTree | None = None
  joint: Calibration = Calibration()

  @property
  def names(self) -> tuple[str, ...]:
    return tuple(view.name for view in self.views)

  @property
  def n_outputs(self) -> int:
    return len(self.classes) or 1

  @property
  def width(self) -> int:
    """K, of an embedding."""
    return self.width_of(0)

  def width_of(self, view: int) -> int:
    """The same of a view by its place, from 0."""
    side = sides.Side(self.spec.of_side(view + 1), self.n_outputs)
    example = jax.eval_shape(lambda: components_of(self.views[view], 1))
    return jax.eval_shape(lambda p, x: objective.outputs(side, p, x),
                          self.views[view].params, example).z.shape[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
  """Of N rows, NaN where a row lacks what is predicted from: probabilities [N, C] of the classes,
  or None; value [N]: of a regression, else codes of the likeliest class; residual: root mean square
  error to expect of a regression, NaN for classes."""
  probabilities: np.ndarray | None
  value: np.ndarray
  residual: float


def embed(fitted: Fitted, view: str, x: np.ndarray) -> np.ndarray:
  """Embeddings [N, K] of norm 1, f32, of rows of one view; NaN in rows that lack it.

  Args:
    fitted: of `fit` or `load`.
    view: its name, or x1, x2, ... by its place.
    x: [N, F] as the view was fitted on, or [N, T, F] with no more steps; a row all NaN lacks it,
      other missing numbers have the means of training.

  Raises:
    ValueError: an unknown view, another number of features, or infinite values.
  """
  return outputs(fitted, view, x)[0]


def predict(fitted: Fitted, view: str, x: np.ndarray) -> Prediction:
  """What one encoder alone says of rows; arguments as `embed`."""
  number = number_of(fitted, view)
  return said(fitted, outputs(fitted, view, x)[1], fitted.views[number].calibration)


def said(fitted: Fitted, prediction: np.ndarray, calibration: Calibration) -> Prediction:
  """A `Prediction` of logits [N, C], or of standardised values [N]."""
  if not fitted.classes:
    value = fitted.scale * np.asarray(prediction, np.float64) + fitted.center
    return Prediction(None, value, calibration.residual)
  lacks = np.asarray(~np.isfinite(prediction).all(axis=1))
  p = probabilities(np.where(lacks[:, None], 0, prediction), calibration.temperature)
  return Prediction(np.where(lacks[:, None], np.nan, p),
                    np.where(lacks, np.nan, p.argmax(axis=1)), np.nan)


def outputs(fitted: Fitted, view: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Embeddings [N, K] and logits [N, C] (values [N] of a regression), f32, before calibration."""
  number = number_of(fitted, view)
  own = fitted.views[number]
  x = as_view(own, x)
  has = np.asarray(~np.isnan(x).all(axis=tuple(range(1, x.ndim))))
  made = components.apply(own.reduction, x, has, f'view {own.name!r}')
  run = _compiled(fitted.spec.of_side(number + 1), fitted.n_outputs)
  components_kept = pair_source.scaled(made, own.reduction.spread, fitted.hyper)
  z, prediction = in_parts(run, own.params, components_kept) or (
      np.zeros((0, fitted.width), np.float32),
      np.zeros((0, fitted.n_outputs) if fitted.classes else 0, np.float32))
  z[~has], prediction[~has] = np.nan, np.nan
  return z, prediction


@compiling.kept(32)
def _compiled(spec: Spec, n_outputs: int):
  side = sides.Side(spec, n_outputs)

  @jax.jit
  def run(params, x):
    out = objective.outputs(side, params, x)
    return out.z, out.prediction
  return run


def in_parts(run: Callable[[PyTree, PyTree], Sequence[jax.Array]], params: PyTree,
             x: PyTree) -> tuple[np.ndarray, ...]:
  """What `run` makes of x [N, ...], each [N, ...], _ROWS at a time; () of no rows."""
  n, parts = len(jax.tree.leaves(x)[0]), []
  for start in range(0, n, _ROWS):
    part = jax.tree.map(lambda v: _padded(np.asarray(v)[start:start + _ROWS]), x)
    parts.append([np.asarray(v)[:n - start] for v in run(params, part)])
  return tuple(np.concatenate(part) for part in zip(*parts))


def _padded(rows: np.ndarray) -> np.ndarray:
  return np.concatenate([rows, np.zeros((_ROWS - len(rows), *rows.shape[1:]), rows.dtype)])


def components_of(view: View, n: int) -> PyTree:
  """What the encoder takes of n rows, all zero: for shapes."""
  return components.apply(view.reduction, np.zeros((n, *view.shape)), np.ones(n, bool), view.name)


def number_of(fitted: Fitted, view: str) -> int:
  """The place of a view, from 0, by its name or as x1, x2, ...

  Raises:
    ValueError: unknown; lists the known ones.
  """
  known = {f'x{i + 1}': i for i in range(len(fitted.views))}
  known |= {name: i for i, name in enumerate(fitted.names)}
  if view not in known:
    raise ValueError(f'view {shown(view)} is unknown; known: {", ".join(known)}')
  return known[view]


def as_view(view: View, x: np.ndarray) -> np.ndarray:
  """Rows of a view as f64, sequences as long as those it was fitted on.

  Raises:
    ValueError: another number of axes, features or steps, or values that are no numbers.
  """
  x = np.asarray(x)
  if x.dtype.kind not in 'biuf':
    raise ValueError(f'view {view.name!r}: not real numbers but {x.dtype}')
  if x.ndim == 1 and view.shape == (1,):
    x = x[:, None]
  if x.ndim != 1 + len(view.shape):
    raise ValueError(f'view {view.name!r}: shape {x.shape}; [samples, '
                     f'{", ".join(map(str, view.shape))}] is needed')
  if x.shape[-1] != view.shape[-1]:
    raise ValueError(f'view {view.name!r}: {x.shape[-1]} features, but its encoder was fitted on '
                     f'{view.shape[-1]}' + _columns(view))
  if np.isinf(x).any():
    raise ValueError(f'view {view.name!r}: {np.isinf(x).sum()} infinite values')
  x = x.astype(np.float64)
  if x.ndim == 2:
    return x
  if x.shape[1] > view.shape[0]:
    raise ValueError(f'view {view.name!r}: {x.shape[1]} steps, but its encoder was fitted on '
                     f'{view.shape[0]} at most')
  return np.pad(x, ((0, 0), (0, view.shape[0] - x.shape[1]), (0, 0)), constant_values=np.nan)


def _columns(view: View) -> str:
  few = ', '.join(view.columns[:5]) + (', ...' if len(view.columns) > 5 else '')
  return f': {few}' if few else ''


def check_columns(view: View, names: tuple[str, ...], where: str) -> None:
  """Whether the columns of a file are those that a view was fitted on, in their order; nothing is
  known where either has no names.

  Raises:
    ValueError: names the first column that differs.
  """
  if not (names and view.columns) or names == view.columns:
    return
  lost = [name for name in view.columns if name not in names]
  new = [name for name in names if name not in view.columns]
  if lost or new:
    said = [f'no column {name!r}, which view {view.name!r} was fitted on' for name in lost[:1]]
    said += [f'column {name!r} was not there when view {view.name!r} was fitted'
             for name in new[:1]]
    raise ValueError(f'{where}: {"; ".join(said)}')
  i = next((i for i, pair in enumerate(zip(names, view.columns)) if pair[0] != pair[1]),
           min(len(names), len(view.columns)) - 1)
  raise ValueError(f'{where}: column {names[i]!r} stands where view {view.name!r} was fitted on '
                   f'{view.columns[i]!r}: the order has changed')


def task_of(classes: tuple[str, ...], asked: str) -> str:
  """The task of labels, where none is asked for.

  Raises:
    ValueError: the asked one does not fit them.
  """
  if asked == 'auto':
    return 'cross_entropy' if classes else 'l1'
  if losses.task_of(asked).regression == bool(classes):
    raise ValueError(f'task={asked!r} does not fit labels that are '
                     f'{"classes" if classes else "numbers"}')
  return asked


def strengths(fitted: Fitted) -> tuple[float, ...]:
  """What each encoder felt of its alignment."""
  return tuple(float(objective.strength(fitted.hyper, i + 1)) for i in range(len(fitted.views)))
