"""What was chosen on validation rows, and what alignment gains once both sides are tuned."""

import json
from typing import Any

import xarray as xr

from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.text import bracket, percent, points

_WORDS = (
    'Settings were chosen on validation rows, whose labels are beside the budget: for no '
    'alignment, which all strengths above then use, and again for the strength of the highest '
    'validation accuracy. The gain is that of the second over the first on test rows, which chose '
    'nothing; intervals are of 95 %, by Student\'s t over seeds and over folds of the test rows.')


def sections(dataset: xr.Dataset) -> list[Section]:
  """The tables of a study that was tuned; none of another."""
  if 'tuning' not in dataset.attrs:
    return []
  made = json.loads(dataset.attrs['tuning'])
  return [Section('With settings tuned for both', [
      _gains(made), Words(_WORDS), Words('chosen at lam = 0:'), _choices(made['at_0']),
      Words('chosen at the best strength:'), _choices(made['at_best'])])]


def entries(dataset: xr.Dataset) -> dict[str, Any] | None:
  """The same for summary files, or None."""
  return json.loads(dataset.attrs['tuning']) if 'tuning' in dataset.attrs else None


def _gains(made: dict[str, Any]) -> Table:
  lam = {row['n_labelled']: row['lam'] for row in made['at_best']}
  rows = [[_budget(row['n_labelled']), str(row['encoder']), percent(row['accuracy_at_0']),
           f'{lam[row["n_labelled"]]:g}', percent(row['accuracy']), points(row['gain']),
           bracket(row['gain_interval'], '+.1f', 100)] for row in made['gains']]
  return Table(['labels', 'encoder', 'at lam 0', 'best lam', 'there', 'gain', '95 %'], rows)


def _choices(chosen: list[dict[str, float]]) -> Table:
  names = [name for name in chosen[0] if name not in ('n_labelled', 'validation', 'lam')]
  rows = [[_budget(row['n_labelled']), *(f'{row[name]:g}' for name in names),
           percent(row['validation'])] for row in chosen]
  return Table(['labels', *(name.replace('_', ' ') for name in names), 'validation'], rows)


def _budget(count: float) -> str:
  return f'{count:g}' if count else 'all'
