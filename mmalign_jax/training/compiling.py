"""How what trains is compiled, and kept: on a CPU quickly or well, and in what parts."""

from collections.abc import Callable
import functools
from typing import Any, TypeVar

import jax

from mmalign_jax import losses
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.types import Spec

QUICK = {'xla_backend_optimization_level': 0}  # half the time to code that is several times slower
# Products of one Transformer, not vmapped, on a CPU: XLA's older library takes 0.8 times as long as
# YNN at 50 tokens of 60 features. Vmapped, or of MLPs, it is the other way. A worker a core trains
# one each: threads of their own for a product would only push the other worker aside.
_OLDER_PRODUCTS = {'xla_cpu_experimental_ynn_fusion_type': '', 'xla_cpu_multi_thread_eigen': False}
_TOKENS = ('vit', 'transformer', 'sequence_transformer')
_PART = 16  # rows of a batch of sequences whose activations stay within the cache of a core
_SHORT = 2000  # steps of all models of a program below which compiling costs more than it saves
_STEPS = 20  # of an MLP that one of a Transformer is worth


_Function = TypeVar('_Function', bound=Callable)


def kept(most: int) -> Callable[[_Function], _Function]:
  """As `functools.lru_cache`, of a function whose first argument is a Spec, or has one (`spec`).

  The rows of the registries that the Spec names are told apart, too: one that is defined anew under
  its old name, as in a notebook, is another program.
  """
  def decorate(function: _Function) -> _Function:
    @functools.lru_cache(maxsize=most)
    def of(rows: tuple[_Row, ...], *args: Any, **options: Any) -> Any:
      del rows
      return function(*args, **options)

    @functools.wraps(function)
    def call(first: Any, *args: Any, **options: Any) -> Any:
      return of(_rows(getattr(first, 'spec', first)), first, *args, **options)
    return call  # pyright: ignore[reportReturnType]
  return decorate


class _Row:
  """A row of a registry: equal to itself alone, whatever it is and however it compares itself."""

  def __init__(self, row: Any):
    self._row = row

  def __eq__(self, other: object) -> bool:
    return isinstance(other, _Row) and self._row is other._row

  def __hash__(self) -> int:
    return id(self._row)


def _rows(spec: Spec) -> tuple[_Row, ...]:
  """What a Spec names, None where nothing has that name."""
  encoders = [spec.encoder, *(side.encoder for side in spec.sides)]
  return tuple(map(_Row, (
      *map(sides.ENCODERS.get, encoders), sides.PROJECTIONS.get(spec.projection),
      losses.LOSSES.get(spec.loss), losses.TASKS.get(spec.task), SOURCES.get(spec.generator))))


def pays(spec: Spec, steps: int) -> bool:
  """Whether a program of so many steps, of all models and runs, is worth the longer compilation."""
  return steps * (_STEPS if _tokens(spec) else 1) > _SHORT


def part(spec: Spec) -> int:
  """Rows of a batch whose gradient is taken at once; 0 for all."""
  return _PART if _tokens(spec) and jax.default_backend() == 'cpu' else 0


def options(spec: Spec, *, thorough: bool = True, models: int | None = None) -> dict | None:
  """compiler_options of a program that trains `models` at once; not `thorough`: for a few steps."""
  if not thorough:
    return QUICK
  one = models == 1 and _tokens(spec) and jax.default_backend() == 'cpu'
  return _OLDER_PRODUCTS if one and _known() else None


def _tokens(spec: Spec) -> bool:
  """Whether a side's encoder is a Transformer."""
  return any(own.encoder in _TOKENS for own in (spec, *spec.sides))


@functools.lru_cache(maxsize=1)
def _known() -> bool:
  """Whether this version of XLA has the choice: its name may go as it came."""
  try:
    jax.jit(lambda: 0, compiler_options=_OLDER_PRODUCTS).lower().compile()
  except jax.errors.JaxRuntimeError:
    return False
  return True
