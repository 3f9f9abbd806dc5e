"""Encoders that are trained together, and what their file is called."""

import dataclasses


@dataclasses.dataclass(frozen=True, order=True)
class Unit:
  """Encoders of one side that are trained together, one for each value of `unique`."""
  side: int
  depth: int
  transform_depth: int
  seed: int
  epochs: int
  learning_rate: float
  weight_decay: float

  @property
  def name(self) -> str:
    return unit_name(self.side, self.transform_depth, self.depth, self.seed)

  @property
  def words(self) -> str:
    return (f'side {self.side}, depth {self.depth}, transform {self.transform_depth}, '
            f'seed {self.seed}')

  @property
  def weight(self) -> float:
    """How long it takes, in arbitrary units: layers count, and what every step costs besides."""
    return self.epochs * (self.depth + 1)


def unit_name(side: int, transform_depth: int, depth: int, seed: int) -> str:
  """Name of a unit's file."""
  return f'side_{side}_depth_{depth:02d}_transform_{transform_depth:02d}_seed_{seed}'
