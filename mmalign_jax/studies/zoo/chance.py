"""By which permutations the chance of a zoo is made: any, or shifts along one random circle."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from mmalign_jax.similarity import Measure, arrangements
from mmalign_jax.studies.zoo.models import Model
from mmalign_jax.zoo import circles, grams
from mmalign_jax.zoo.circles import Circle

if TYPE_CHECKING:
  from mmalign_jax.studies.zoo.plan import Plan

WAYS = ('auto', 'random', 'shifts')
_MUCH = 2e13  # operations of one measure, minutes of two cores, above which auto takes shifts


def way(settings: Mapping[str, Any], measures: Mapping[str, Measure],
        sides: Mapping[str, Sequence[Model]], n: int) -> str:
  """'random' or 'shifts', of a zoo of n samples.

  Raises:
    ValueError: shifts are asked for, of groups or items, or more of them than there are.
  """
  asked, count = settings['permute'], settings['permutations']
  reason = next((f'{name}={settings[name]!r} says what changes places' for name in (
      'group', 'item') if settings[name]), '')
  reason = reason or (f'{count} shifts of N={n} samples: there are {n - 1}' if count >= n else '')
  if asked == 'shifts' and (reason or not count):
    raise ValueError(f'permute=shifts: {reason or "permutations=0"}')
  if asked != 'auto':
    return asked
  layers = [sum(len(m.layers) for m in every if not m.refused) for every in sides.values()]
  much = layers[0] * layers[-1] * n * (n + 1.0) * count > _MUCH
  fits = any(grams.fits(measure) for measure in measures.values()) and n <= grams.MOST
  return 'shifts' if much and fits and not reason else 'random'


def moved(plan: 'Plan', n: int, units: arrangements.Units | None, count: int,
          key: jax.Array, circle: bool = False) -> np.ndarray | Circle | None:
  """[P, n] permutations, those of `mmalign measure` under the same key; None for none. circle: or a
  circle, where the plan says so."""
  if not count:
    return None
  if circle and plan.settings['permute'] == 'shifts':
    return circles.draw(n, count, plan.settings['seed'])
  draws, order = arrangements.pairings(key, count, n, units)
  return np.asarray(jax.jit(lambda draws: jax.lax.map(order, draws))(draws))
