"""What was chosen on validation rows, and what alignment gains once both sides are tuned, beside
linear algebra."""

import json
from typing import Any

import xarray as xr

from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.text import bracket, percent, points
from mmalign_jax.studies.strength.linear import METHODS
from mmalign_jax.studies.strength.references import BASE, LINEAR, MAPS

_WORDS = (
    'Settings were chosen on validation rows, whose labels are beside the budget: for no '
    'alignment, which all strengths above then use, and again for the strength of the highest '
    'validation accuracy. The gain is that of the second over the first on test rows, which chose '
    'nothing; intervals are of 95 %, by Student\'s t over seeds and over folds of the test rows.')


_LINEAR = (
    'PCA, CCA, PLS: a ridge regression on principal components, on canonical directions, or on '
    'directions of largest covariance of all pairs; same splits, labels and validation rows, on '
    'which components, directions and ridge were chosen. CCA and PLS gain over PCA, as alignment '
    '(first gain) over none. Intervals of the same kind; every row by itself.')


def sections(dataset: xr.Dataset) -> list[Section]:
  """The tables of a study that was tuned; none of another."""
  if 'tuning' not in dataset.attrs:
    return []
  made = json.loads(dataset.attrs['tuning'])
  return [Section('With settings tuned for both', [
      _gains(made), Words(_WORDS), Words('chosen at lam = 0:'), _choices(made['at_0']),
      Words('chosen at the best strength:'), _choices(made['at_best']), *_unjudged(made)]),
          *_linear(made)]


def _unjudged(made: dict[str, Any]) -> list[Words]:
  if all(row['validation'] is not None for row in (*made['at_0'], *made['at_best'])):
    return []
  return [Words('validation -: every candidate diverged on some seed, and the first was taken')]


def _linear(made: dict[str, Any]) -> list[Section]:
  """What linear algebra gives, where there are references (of two sides of vectors)."""
  entries, gains = made.get(LINEAR, ()), {_key(row): row for row in made['gains']}
  if not entries:
    return []
  rows, over = [], []
  for entry in entries:
    of, own = entry['linear'], gains[_key(entry)]
    place = [_budget(entry['n_labelled']), str(entry['encoder'])]
    rows.append([*place, *_shown(own), percent(of[BASE]['accuracy']), *(
        cell for method in MAPS for cell in _shown(of[method]))])
    over.append([*place, percent(own['accuracy']), *_shown(of[BASE]['at_0']), *(
        cell for method in METHODS for cell in _shown(of[method]['at_best']))])
  head, upper = ['labels', 'encoder'], [method.upper() for method in METHODS]
  pairs = lambda names: [cell for name in names for cell in (name, '95 %')]
  return [Section('Beside linear algebra', [
      Words('what alignment gains, and what linear features of all pairs do (points):'),
      Table([*head, *pairs(['gain']), f'{upper[0]} + ridge',
             *pairs(f'{name} gains' for name in upper[1:])], rows),
      Words('aligned encoders, and those at lam 0, over a ridge on linear features (points):'),
      Table([*head, 'aligned', *pairs([f'lam 0 over {upper[0]}']),
             *pairs(f'aligned over {name}' for name in upper)], over), Words(_LINEAR)])]


def _key(row: dict[str, Any]) -> tuple[float, int]:
  return row['n_labelled'], row['encoder']


def _shown(of: dict[str, Any]) -> tuple[str, str]:
  return points(of['gain']), bracket(of['gain_interval'], '+.1f', 100)


def entries(dataset: xr.Dataset) -> dict[str, Any] | None:
  """The same for summary files, or None."""
  return json.loads(dataset.attrs['tuning']) if 'tuning' in dataset.attrs else None


def _gains(made: dict[str, Any]) -> Table:
  lam = {row['n_labelled']: row['lam'] for row in made['at_best']}
  rows = [[_budget(row['n_labelled']), str(row['encoder']), percent(row['accuracy_at_0']),
           f'{lam[row["n_labelled"]]:g}', percent(row['accuracy']), *_shown(row)]
          for row in made['gains']]
  return Table(['labels', 'encoder', 'at lam 0', 'best lam', 'there', 'gain', '95 %'], rows)


def _choices(chosen: list[dict[str, float]]) -> Table:
  names = [name for name in chosen[0] if name not in ('n_labelled', 'validation', 'lam')]
  rows = [[_budget(row['n_labelled']), *(f'{row[name]:g}' for name in names),
           percent(row['validation'])] for row in chosen]
  return Table(['labels', *(name.replace('_', ' ') for name in names), 'validation'], rows)


def _budget(count: float) -> str:
  return f'{count:g}' if count else 'all'
