"""What a study of strength says first: a sentence for every encoder, its numbers, its curves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.document import Section, Words
from mmalign_jax.reports.statistics import mean_band
from mmalign_jax.reports.text import bracket, plain, points
from mmalign_jax.studies.strength.curves import Curve, curves, is_exact

MOST_CHARTS = 6
_HELPS = ('rising', 'inverted_u')


Row = Mapping[str, Any]  # an entry of a summary: of one setting and encoder


def sentences(summary: Sequence[Row], settings: Sequence[str]) -> list[str]:
  """One for every encoder."""
  return [_sentence(number, rows, settings) for number, rows in of_encoders(summary).items()]


def _sentence(number: int, rows: Sequence[Row], settings: Sequence[str]) -> str:
  """What to do about an encoder, over its settings."""
  best = largest(rows)
  if best is None:
    return f'Encoder {number}: nothing can be said.'
  helped = [row for row in rows if row['shape'] in _HELPS]
  hurt = sum(row['shape'] == 'falling' for row in rows)
  if len(rows) == 1:
    words = 'align' if helped else 'do not align strongly: it hurts' if hurt else (
        'no difference shows')
    at = f', at about {plain(best["best_lam"])}' if helped else ''
    return f'Encoder {number}: {words}{at} ({gained(best)}).'
  most = largest(helped)
  if most is None:
    return (f'Encoder {number}: aligning helps in none of {len(rows)} settings'
            + (f', and strong alignment hurts in {hurt}' if hurt else '') + '.')
  return (f'Encoder {number}: aligning helps in {len(helped)} of {len(rows)} settings, most at '
          f'{where(most, rows, settings)}, strength {plain(most["best_lam"])} ({gained(most)}, '
          'which does not pay for choosing among the settings)'
          + (f'; strong alignment hurts in {hurt}' if hurt else '') + '.')


def numbers(summary: Sequence[Row], dataset: xr.Dataset) -> dict[str, str]:
  """The numbers in which several studies are compared."""
  names, found = list(map(str, dataset['accuracy_1'].dims)), {}
  for number, rows in of_encoders(summary).items():
    found |= largest_gain(number, rows, names)
  diverged = dataset['diverged']
  return found | {'trainings': f'{diverged.size:,}', 'diverged': str(int(diverged.sum()))}


# -- of any study with gains -----------------------------------------------------------------------


def of_encoders(rows: Sequence[Row]) -> dict[int, list[Row]]:
  """The rows of every encoder, in order."""
  return {number: [row for row in rows if row['encoder'] == number]
          for number in sorted({row['encoder'] for row in rows})}


def largest(rows: Sequence[Row]) -> Row | None:
  """The row of the largest gain; None where none is known."""
  return max((row for row in rows if row['gain'] is not None), key=lambda row: row['gain'],
             default=None)


def gained(row: Row) -> str:
  """Its gain with its interval."""
  return f'{points(row["gain"])} points, 95 % {bracket(row["gain_interval"], "+.1f", 100)}'


def where(row: Row, rows: Sequence[Row], settings: Sequence[str]) -> str:
  """The setting of a row, by what differs among `rows`."""
  return ', '.join(f'{name} {plain(row[name])}' for name in settings if name in row
                   and len({other.get(name) for other in rows}) > 1)


def largest_gain(number: int, rows: Sequence[Row], settings: Sequence[str]) -> dict[str, str]:
  """The largest gain of an encoder for a headline, with the setting that it is of, where there are
  several; {} where none is known."""
  best = largest(rows)
  if best is None:
    return {}
  found = {f'encoder {number}: largest gain (points)':
           f'{points(best["gain"])} {bracket(best["gain_interval"], "+.1f", 100)}',
           f'encoder {number}: at strength': plain(best['best_lam'])}
  if len(rows) > 1:
    found[f'encoder {number}: at setting'] = (
        f'{where(best, rows, settings)}: the largest of {len(rows)}, and its interval does not pay '
        'for choosing it')
  return found


def charts(dataset: xr.Dataset) -> list[Section]:
  """Accuracy against strength, a picture for each of the first settings."""
  groups: dict[str, list[Curve]] = {}
  for curve in curves(dataset):
    name = ', '.join(f'{key} {plain(value)}' for key, value in curve.setting.items()
                     if dataset.sizes[key] > 1)
    groups.setdefault(f'{name}|{curve.axis}', []).append(curve)
  made = list(_pictures(groups, is_exact(dataset)))
  if not made:
    return []
  shown, more = made[:MOST_CHARTS], len(made) - MOST_CHARTS
  rest = [Words(f'{more} more settings are in the table.')] if more > 0 else []
  return [Section('Accuracy against strength', [*shown, *rest])]


def _pictures(groups: Mapping[str, Sequence[Curve]], exact: bool) -> Iterator[Chart]:
  for name, group in groups.items():
    setting, _, axis = name.rpartition('|')
    if len(group[0].lam) > 1:
      words = ('Test accuracy in percent against the strength of alignment, means over seeds and '
               '95 % intervals' + (f'; {setting}' if setting else ''))
      yield Chart(words, axis, 'test accuracy, %', [_series(curve, exact) for curve in group],
                  '.1f')


def _series(curve: Curve, exact: bool) -> Series:
  """Means over seeds that did not diverge, with 95 % t intervals over them; none of a finite test
  set of one part."""
  flat = 100 * curve.accuracy.mean(axis=2)
  mean, half = mean_band(flat)
  told = exact or curve.accuracy.shape[2] > 1
  half = np.where(told & (np.isfinite(flat).sum(axis=1) > 1), half, np.nan)  # nor of one seed
  return Series(f'encoder {curve.encoder}', curve.lam.tolist(), mean.tolist(),
                (mean - half).tolist(), (mean + half).tolist())
