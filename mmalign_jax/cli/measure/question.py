"""What `mmalign measure` was asked, as the table, the picture and JSON are told of it."""

import dataclasses
import functools

import numpy as np

from mmalign_jax.similarity import arrangements
from mmalign_jax.similarity.scores import Plan, Score


@dataclasses.dataclass(frozen=True)
class Side:
  """Where features come from, the names of their layers and the width of each."""
  where: str
  names: tuple[str, ...]
  widths: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """What was compared: N samples of two sides, in which precision, after which preprocessing.

  groups, items: codes [N] of samples that belong together, and that are partners, or None.
  """
  x: Side
  y: Side
  n: int
  dtype: str
  steps: tuple[str, ...]
  plan: Plan
  groups: np.ndarray | None = None
  items: np.ndarray | None = None

  @functools.cached_property
  def units(self) -> arrangements.Units | None:
    """How samples move: whole groups or, without them, whole items; None where each on its own."""
    return arrangements.units(self.n, self.groups, self.items)

  @property
  def unit(self) -> str:
    """What moves."""
    return ('groups' if self.groups is not None else 'items' if self.items is not None else
            'samples')

  @property
  def layered(self) -> bool:
    return len(self.x.names) > 1 or len(self.y.names) > 1

  def arrangements(self, null: str) -> int | None:
    """How many arrangements of groups a null ('pairs' or 'sides') has, the given one included; None
    without groups."""
    if self.units is None:
      return None
    return self.units.count if null == 'pairs' else arrangements.sides_count(
        int(self.units.codes.max()) + 1)

  def place(self, score: Score) -> dict[str, str]:
    """Names of the layers that the score is of, by the side where there are several."""
    return {letter: side.names[i] for letter, side, i in zip('XY', (self.x, self.y), score.layers)
            if len(side.names) > 1}
