"""What a study of strength says first: a sentence for every encoder, its numbers, its curves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.document import Section, Words
from mmalign_jax.reports.statistics import half_width
from mmalign_jax.reports.text import bracket, plain, points
from mmalign_jax.studies.strength.curves import Curve, curves

MOST_CHARTS = 6
_HELPS = ('rising', 'inverted_u')


def sentences(summary: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> list[str]:
  """One for every encoder."""
  return [_sentence(number, [row for row in summary if row['encoder'] == number], settings)
          for number in sorted({row['encoder'] for row in summary})]


def _sentence(number: int, rows: Sequence[Mapping[str, Any]], settings: Sequence[str]) -> str:
  """What to do about an encoder, over its settings."""
  judged = [row for row in rows if row['gain'] is not None]
  if not judged:
    return f'Encoder {number}: nothing can be said.'
  best = max(judged, key=lambda row: row['gain'])
  helped = [row for row in judged if row['shape'] in _HELPS]
  hurt = sum(row['shape'] == 'falling' for row in judged)
  if len(rows) == 1:
    words = 'align' if helped else 'do not align strongly: it hurts' if hurt else (
        'no difference shows')
    at = f', at about {plain(best["best_lam"])}' if helped else ''
    return f'Encoder {number}: {words}{at} ({_gain(best)}).'
  if not helped:
    return (f'Encoder {number}: aligning helps in none of {len(rows)} settings'
            + (f', and strong alignment hurts in {hurt}' if hurt else '') + '.')
  most = max(helped, key=lambda row: row['gain'])
  where = ', '.join(f'{name} {plain(most[name])}' for name in settings if name in most
                    and len({row[name] for row in rows}) > 1)
  return (f'Encoder {number}: aligning helps in {len(helped)} of {len(rows)} settings, most at '
          f'{where}, strength {plain(most["best_lam"])} ({_gain(most)})'
          + (f'; strong alignment hurts in {hurt}' if hurt else '') + '.')


def _gain(row: Mapping[str, Any]) -> str:
  return f'{points(row["gain"])} points, 95 % {bracket(row["gain_interval"], "+.1f", 100)}'


def numbers(summary: Sequence[Mapping[str, Any]], dataset: xr.Dataset) -> dict[str, str]:
  """The numbers in which several studies are compared."""
  found: dict[str, str] = {}
  for number in sorted({row['encoder'] for row in summary}):
    judged = [row for row in summary if row['encoder'] == number and row['gain'] is not None]
    if judged:
      best = max(judged, key=lambda row: row['gain'])
      found[f'encoder {number}: largest gain (points)'] = (
          f'{points(best["gain"])} {bracket(best["gain_interval"], "+.1f", 100)}')
      found[f'encoder {number}: at strength'] = plain(best['best_lam'])
  diverged = dataset['diverged']
  return found | {'trainings': f'{diverged.size:,}', 'diverged': str(int(diverged.sum()))}


def charts(dataset: xr.Dataset) -> list[Section]:
  """Accuracy against strength, a picture for each of the first settings."""
  groups: dict[str, list[Curve]] = {}
  for curve in curves(dataset):
    name = ', '.join(f'{key} {plain(value)}' for key, value in curve.setting.items()
                     if dataset.sizes[key] > 1)
    groups.setdefault(f'{name}|{curve.axis}', []).append(curve)
  made = list(_pictures(groups))
  if not made:
    return []
  shown, more = made[:MOST_CHARTS], len(made) - MOST_CHARTS
  rest = [Words(f'{more} more settings are in the table.')] if more > 0 else []
  return [Section('Accuracy against strength', [*shown, *rest])]


def _pictures(groups: Mapping[str, Sequence[Curve]]) -> Iterator[Chart]:
  for name, group in groups.items():
    setting, _, axis = name.rpartition('|')
    if len(group[0].lam) > 1:
      words = 'Test accuracy in percent against the strength of alignment, means over seeds' + (
          f'; {setting}' if setting else '')
      yield Chart(words, axis, 'test accuracy, %', [_series(curve) for curve in group], '.1f')


def _series(curve: Curve) -> Series:
  """Means over seeds that did not diverge, with 95 % t intervals over them."""
  flat = 100 * curve.accuracy.mean(axis=2)
  n = flat.shape[1]
  half = np.full(len(flat), np.nan) if n < 2 else half_width(flat.std(axis=1, ddof=1), n)
  mean = 100 * curve.mean
  return Series(f'encoder {curve.encoder}', curve.lam.tolist(), mean.tolist(),
                (mean - half).tolist(), (mean + half).tolist())
