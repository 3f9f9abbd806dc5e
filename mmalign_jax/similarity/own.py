"""Measures of one's own: any function of x [N, D1], y [N, D2], and by the name module:function."""

from collections.abc import Callable
import importlib
import math
import sys

import jax
import numpy as np

from mmalign_jax.similarity.measure import Measure, Rows
from mmalign_jax.types import Array


def of_function(function: Callable[[Array, Array], Array], *, best: float | None = None,
                higher: bool = True) -> Measure:
  """A measure that knows of itself only its value.

  Args:
    function: of two arrays of the same N samples, to one number. JAX traces it where it can;
      NumPy functions are called as they are.
    best: the value of equal sides, by which a calibrated value is scaled; None leaves it value -
      chance. An attribute `best` of the function says the same, and `higher` so does.
    higher: whether a higher value is more similar.

  Raises:
    ValueError: `function` cannot be called.

  Examples:
    >>> from mmalign_jax.similarity import calibrate
    >>> def overlap(x, y): return (np.sign(x[:, 0]) == np.sign(y[:, 0])).mean()
    >>> x = np.array([[1.0], [-1.0], [2.0], [-3.0], [4.0], [-2.0]])
    >>> found = calibrate(of_function(overlap, best=1.0), x, x, key=jax.random.key(0),
    ...                   permutations=19)
    >>> float(found.score)
    1.0
  """
  if not callable(function):
    raise ValueError(f'{function!r} is no function of x and y')
  best = getattr(function, 'best', best)
  return Measure(
      function, lambda z: Rows(z), lambda x, y: _called(function, x.z, y.z),
      f'{_name(function)}: a measure of your own', '', (),
      higher=getattr(function, 'higher', higher), best=best, differentiable=False)


def as_measure(measure: Measure | Callable) -> Measure:
  """A measure as it is, a function as one.

  Raises:
    ValueError: neither.
  """
  if isinstance(measure, Measure):
    return measure
  if not callable(measure):
    raise ValueError(f'measure={measure!r} must be an entry of similarity.MEASURES, or a function '
                     'of x and y')
  return of_function(measure)


def _name(function: Callable) -> str:
  return getattr(function, '__name__', type(function).__name__)


def _called(function: Callable, x: Array, y: Array) -> Array:
  """The function traced or, where it is NumPy's, called back."""
  try:
    shape = jax.eval_shape(function, x, y)
    if shape.shape == ():
      return function(x, y)
  except Exception:  # what cannot be traced fails in ways of its own
    pass

  def back(x, y):
    value = np.asarray(function(np.asarray(x), np.asarray(y)))
    if value.shape != ():
      raise ValueError(f'{_name(function)} gave shape {value.shape}; one number is needed')
    return value.astype(x.dtype)
  result = jax.ShapeDtypeStruct((), x.dtype)
  return jax.pure_callback(back, result, x, y, vmap_method='sequential')


def resolved(name: str) -> Measure:
  """The measure that module:function names; the module is imported, and so run.

  It may lie in the folder where the command is given. What is named may be a `Measure`.

  Raises:
    ValueError: no such module, or nothing in it that can be called.
  """
  module, _, function = name.partition(':')
  sys.path.insert(0, '')
  try:
    found = getattr(importlib.import_module(module), function)
  except (ImportError, AttributeError, ValueError) as error:
    raise ValueError(f'measure {name!r}: {error}; module:function is needed, the module in this '
                     'folder or installed') from error
  finally:
    sys.path.remove('')
  if isinstance(found, Measure):
    return found
  made = of_function(found)
  if made.best is not None and not (isinstance(made.best, (int, float))
                                    and math.isfinite(made.best)):
    raise ValueError(f'measure {name!r}: its attribute best={made.best!r} is not a number')
  return made
