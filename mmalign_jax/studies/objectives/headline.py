"""What a comparison of objectives says first: a sentence for every encoder, and its numbers."""

from collections.abc import Mapping, Sequence

import xarray as xr

from mmalign_jax.reports.text import plain
from mmalign_jax.studies.strength.headline import (
  Row,
  gained,
  largest,
  largest_gain,
  of_encoders,
  where,
)


def sentences(best: Sequence[Row], settings: Sequence[str]) -> list[str]:
  """One for every encoder, of entries of `report.winners`: the largest certain gain, or that there
  is none."""
  return [_sentence(number, rows, settings) for number, rows in of_encoders(best).items()]


def _sentence(number: int, rows: Sequence[Row], settings: Sequence[str]) -> str:
  most, several = largest(rows), len(rows) > 1
  if most is None:
    return f'Encoder {number}: nothing can be said.'
  sure = [row for row in rows if row['objective'] != '-' and row['gain_interval']
          and row['gain_interval'][0] > 0]
  best = largest(sure)
  if best is None:
    return f'Encoder {number}: no certain gain' + (
        f' in any of {len(rows)} settings; the largest is' if several else ':') + (
            f' {gained(most)}.')
  by = f'{best["objective"]} at strength {plain(best["best_lam"])}'
  if not several:
    return f'Encoder {number}: {by} gains {gained(best)}, which pays for choosing both.'
  return (f'Encoder {number}: a certain gain in {len(sure)} of {len(rows)} settings, each by '
          f'itself, most at {where(best, rows, settings)}, by {by}: {gained(best)}, which pays for '
          'choosing the two, but not for choosing among the settings.')


def numbers(best: Sequence[Row], found: Mapping[str, xr.Dataset],
            settings: Sequence[str]) -> dict[str, str]:
  """The numbers in which several comparisons are compared."""
  made = {}
  for number, rows in of_encoders(best).items():
    made |= largest_gain(number, rows, settings)
    if row := largest(rows):
      made[f'encoder {number}: objective'] = str(row['objective'])
  diverged = [dataset['diverged'] for dataset in found.values()]
  return made | {'trainings': f'{sum(one.size for one in diverged):,}',
                 'diverged': str(sum(int(one.sum()) for one in diverged))}
