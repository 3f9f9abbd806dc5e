"""What an alignment loss is, and what it may ask for: a row of LOSSES."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import inspect
from typing import Any

from mmalign_jax.types import Array, Batch, Outputs, Range

OPTIONS = ('temperature', 'axis_name', 'valid')  # what a loss of two embeddings gets if it asks
_OWN = 'loss_'                                   # before the names of its own settings


@functools.lru_cache
def _parameters(function: Callable[..., Array]) -> tuple[inspect.Parameter, ...]:
  """Asked for at every setting of every loss; a millisecond for all, if not kept."""
  return tuple(inspect.signature(function).parameters.values())


@dataclasses.dataclass(frozen=True)
class Loss:
  """A row of LOSSES. A plain function (z1, z2, **options) stands for `Loss(function, True)`.

  of_pairs: function(z1, z2, **options) of two embeddings [B, K], for every pair of sides, with
  those of OPTIONS that its signature names; of: 'z' unit-norm embeddings, 'raw' the same before
  they are normalised, 'outputs' the whole `Outputs` of both. Otherwise function(outputs, batch,
  **options), of the `Outputs` of all sides and the `Batch`, with temperature and axis_name if it
  names them. predicts: whether every side has a predictor, two layers on raw; augments: whether
  it asks for `Outputs.noisy`, by its settings `noise` and `masked` (`losses.augment.copy`).

  Every other keyword-only argument whose default is a float is a setting of the loss: traced, so
  that it can be an axis of a grid, and called loss_NAME. ranges: {NAME: Range}. name: of the row.

  It returns a value per example [B], 0 where not valid, or one value [] for the batch. With
  axis_name the batch is one device's part and the value that of the global batch: the mean over
  devices of its gradients (`lax.pmean`) must be the gradient of the loss of the whole batch.
  """
  function: Callable[..., Array]
  of_pairs: bool = False
  ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
  name: str = ''
  of: str = 'z'
  predicts: bool = False
  augments: bool = False

  @property
  def options(self) -> tuple[str, ...]:
    """Those of OPTIONS that it takes."""
    taken = _parameters(self.function)
    if any(p.kind is p.VAR_KEYWORD for p in taken):
      return OPTIONS
    return tuple(option for option in OPTIONS if option in {p.name for p in taken})

  @property
  def settings(self) -> dict[str, float]:
    """Its own settings, with their defaults."""
    return {p.name: p.default for p in _parameters(self.function)
            if p.kind is p.KEYWORD_ONLY and isinstance(p.default, float)
            and p.name not in OPTIONS}

  def __call__(self, outputs: Sequence[Outputs], batch: Batch, *, own: Mapping[str, Any],
               **options: Any) -> Array:
    """The loss of the outputs of two sides (of_pairs), or of all.

    Args:
      own: values of its `settings`; names that are not among them are left out.
      options: of OPTIONS; None is not given.

    Raises:
      ValueError: a batch spread over devices, or filled up, and a loss that knows nothing of it.
    """
    own = {name: value for name, value in own.items() if name in self.settings}
    if self.of_pairs:
      taken = self.taken(valid=batch.valid, **options)
      read = outputs if self.of == 'outputs' else [getattr(out, self.of) for out in outputs]
      return self.function(*read, **taken, **own)
    return self.function(tuple(outputs), batch, **self.taken(**options), **own)

  def taken(self, **options: Any) -> dict[str, Any]:
    """Those of the options that are given and that it takes; see `__call__`."""
    given = {name: value for name, value in options.items() if value is not None}
    for option, what in (('axis_name', 'a batch spread over devices'),
                         ('valid', 'a batch that is filled up (drop_last=False)')):
      if option in given and option not in self.options:
        raise ValueError(f'loss={self.name!r} takes no {option}, which {what} needs')
    return {name: value for name, value in given.items() if name in self.options}


def own_settings(traced: Mapping[str, Any]) -> dict[str, Any]:
  """The settings of the loss among traced ones, without `loss_` before their names."""
  return {name.removeprefix(_OWN): value for name, value in traced.items()
          if name.startswith(_OWN)}
