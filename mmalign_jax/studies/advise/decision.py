"""Decisions for an encoder: align, do not, or it cannot be told; each with its sentence.

Harmful advice is worse than none: to align is advised only where the whole interval of the gain is
above 0, on rows that chose nothing. Where the gain is below WORTH with 90 % certainty (`at_most`),
alignment is not worth it: a tenth of the encoders that would gain just that much are missed at
most. All else is not known, and then nothing is aligned until there is more to go by.
"""

import dataclasses
import math

from mmalign_jax.reports.text import bracket, points
from mmalign_jax.studies.advise.gains import Gain, at_most

WORTH = 0.01  # a gain of one point
ALIGN, LEAVE, UNKNOWN = 'align', 'do not align', 'cannot tell'


@dataclasses.dataclass(frozen=True)
class Decision:
  """kind: ALIGN, LEAVE or UNKNOWN; sentence: for people; change: what would change it."""
  kind: str
  sentence: str
  change: str


def kind_of(gain: Gain) -> str:
  """The decision that an interval allows."""
  if gain.interval is None:
    return UNKNOWN
  most = at_most(gain)
  return (ALIGN if gain.interval[0] > 0 else
          LEAVE if most is not None and most < WORTH else UNKNOWN)


def decide(name: str, gain: Gain, objective: str, lam: float,
           curve: dict[float, float] | None = None, twice: Gain | None = None) -> Decision:
  """The decision for an encoder.

  Args:
    name: what it is called. objective, lam: what is advised where it is to be aligned.
    curve: gain by share of the labels, 1 among them, where it is known; twice: that of twice as
      many, if it goes on so.
  """
  kind = kind_of(gain)
  found = f'{points(gain.gain)} points {bracket(gain.interval, "+.1f", 100)}'
  sure = '' if gain.certainty is None else (
      f', above 0 with {_percent(gain.certainty)} certainty')
  if kind == ALIGN:
    said = (f'Align {name} with {objective} at lam {lam:g}: {found} on {gain.rows:,} test rows '
            f'that chose nothing{sure}.')
  elif kind == LEAVE and gain.interval and gain.interval[1] < 0:
    said = f'Do not align {name}: it would lose, {found}.'
  elif kind == LEAVE:
    said = (f'Do not align {name}: it would gain {found}, with 90 % certainty at most '
            f'{points(at_most(gain))} points.')
  elif gain.folds < 2:
    said = (f'Cannot tell for {name}: one outer fold does not say how far what is chosen differs '
            f'(measured: {points(gain.gain)} points); do not align it on this evidence.')
  elif gain.interval is None:
    said = (f'Cannot tell for {name}: {gain.rows} labelled rows in {gain.units} units are too few '
            f'for an interval (measured: {points(gain.gain)} points); do not align it on this '
            'evidence.')
  else:
    said = (f'Cannot tell for {name}: {found}{sure}; do not align it on this evidence.')
  return Decision(kind, said, ' '.join(_changes(kind, gain, curve, twice)))


def _percent(share: float) -> str:
  return f'{100 * min(share, 0.999):.3g} %'


def _changes(kind: str, gain: Gain, curve: dict[float, float] | None, twice: Gain | None):
  """What would change a decision."""
  if kind == UNKNOWN and gain.interval is not None and abs(gain.gain) >= 0.002:
    yield _with_rows(gain)
  shares = sorted(curve or {})
  if curve and len(shares) >= 2 and shares[-1] == 1:
    said = ', '.join(f'{points(curve[s])} with {_of_labels(s)}' for s in shares)
    yield f'By labels it gains {said}.'
    yield _with_twice(twice)


def _with_rows(gain: Gain) -> str:
  """How many rows would make a gain of this size certain; none do, where choices differ by more."""
  assert gain.interval is not None
  half, most = (gain.interval[1] - gain.interval[0]) / 2, abs(gain.gain)
  if gain.certainty is None or gain.error is None:  # of rows that do not differ
    needed = gain.rows * half / most
  else:  # the rows' part of the error shrinks with them, that of what was chosen does not
    allowed = (most * gain.error / half)**2 - gain.chosen
    if allowed <= 0:
      return ('What is chosen differs too much from fold to fold for a gain of this size to be '
              'certain, however many rows it is tested on; a longer search may choose better.')
    needed = gain.rows * (gain.error**2 - gain.chosen) / allowed
  rows = math.ceil(round(needed / 10, 6)) * 10
  return f'A gain of this size would be certain with about {rows:,} labelled rows to test on.'


def _with_twice(gain: Gain | None) -> str:
  """What twice as many labels would give, where that would decide."""
  if gain is None or gain.interval is None:
    return 'What twice as many labels would give cannot be told.'
  between = f'{points(gain.gain)} {bracket(gain.interval, "+.1f", 100)}'
  if kind_of(gain) == UNKNOWN:
    return ('What twice as many labels would give cannot be told: if the gain goes on by labels as '
            f'it does, {between}.')
  return f'With twice as many labels, if that goes on, {between}.'


def _of_labels(share: float) -> str:
  return {1: 'all labels', 0.5: 'half of them', 0.25: 'a quarter'}.get(share, f'{share:g} of them')
