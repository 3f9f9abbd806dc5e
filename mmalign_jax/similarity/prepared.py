"""States of layers, each made once for all measures that prepare it alike."""

from collections.abc import Hashable, Iterable
import functools
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity.measure import Measure
from mmalign_jax.similarity.wide import INSIDE
from mmalign_jax.types import Array, PyTree


def prepared(measure: Measure, z: Array, settings: dict,
             items: Array | np.ndarray | None = None) -> PyTree:
  """The state of a layer z [N, D]."""
  return measure.prepare(z, **_arguments(measure, settings, items))


def parted(settings: dict) -> tuple[tuple, dict]:
  """Settings as what a program is made for, (name, value) each, and what it is given: numbers of
  JAX that are no whole ones."""
  given = {name: value for name, value in settings.items() if isinstance(value, jax.Array)
           and (isinstance(value, Tracer) or jnp.issubdtype(value.dtype, jnp.floating))}
  return tuple((name, plain(value)) for name, value in sorted(settings.items())
               if name not in given), given


def plain(value: Any) -> Any:
  """A number of Python for an array that holds one."""
  return value.item() if isinstance(value, (np.ndarray, jax.Array)) and not value.ndim else value


def serves(program: Any, told: Hashable, measures: Iterable[Measure]) -> Any:
  """The jitted program, which serves later calls that are told the same; its function where these
  could not know: measures of one's own may read what changes, and a list has no hash."""
  try:
    hash(told)
  except TypeError:
    return program.__wrapped__
  return program if all(measure.pure for measure in measures) else program.__wrapped__


class Prepared:
  """States that were made so far; only for as long as one program is traced."""

  def __init__(self):
    self._made: dict[Hashable, tuple[Any, PyTree]] = {}

  def of(self, measure: Measure, layers: list, settings: dict,
         items: Array | np.ndarray | None = None) -> list:
    """States of layers [N, D]."""
    how = _key(measure, _arguments(measure, settings, items))
    return [self._once((how, id(z)), z, lambda z: prepared(measure, z, settings, items))
            for z in layers]

  def cut(self, layers: list, kept: np.ndarray) -> list:
    """The samples [M] of layers [N, D]; the same arrays for every measure."""
    return [self._once(('cut', id(z)), z, lambda z: z[kept]) for z in layers]

  def _once(self, key: Hashable, z: Array, make) -> PyTree:
    if key not in self._made:
      self._made[key] = (z, make(z))  # z stays: a new array cannot have its id
    return self._made[key][1]


def _arguments(measure: Measure, settings: dict, items: Array | np.ndarray | None) -> dict:
  own = {'items': items} if measure.items and items is not None else {}
  return {**measure.settings, **settings, **own}


def _key(measure: Measure, arguments: dict) -> Hashable:
  """Equal for two measures that prepare alike."""
  function = getattr(measure.prepare, INSIDE, measure.prepare)
  if isinstance(function, functools.partial):
    function, arguments = function.func, {**function.keywords, **arguments}
  told = ((name, value if isinstance(value, (str, int, float, type(None))) else id(value))
          for name, value in arguments.items())
  return function, tuple(sorted(told))
