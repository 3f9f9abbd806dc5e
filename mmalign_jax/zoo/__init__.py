"""Many models against many: every model prepared once, all pairs of layers at a stroke."""

from mmalign_jax.similarity import Measure
from mmalign_jax.zoo import grams, lists
from mmalign_jax.zoo.circles import Circle, Circles, best_on_circle
from mmalign_jax.zoo.stacks import Best, Engine, Preparer, Stack, best, stack
from mmalign_jax.zoo.states import States

__all__ = ['Best', 'Circle', 'Circles', 'Engine', 'Preparer', 'Stack', 'best', 'best_on_circle',
           'circled', 'engine_of', 'stack']


def circled(engine: Engine, circle: Circle) -> Circles | None:
  """What takes the shifts of a circle all at once; None where a measure has no such."""
  if not isinstance(engine, (grams.Grams, lists.Lists)) or len(circle.order) > grams.MOST:
    return None
  return Circles(engine, circle)


def engine_of(measure: Measure, settings: dict, n: int = 0) -> Engine:
  """The fastest engine for a measure, under its settings, of N samples."""
  if grams.fits(measure) and n <= grams.MOST:
    return grams.Grams(measure, settings)
  if lists.fits(measure) and n <= lists.MOST:
    return lists.Lists(measure, settings)
  return States(measure, settings)
