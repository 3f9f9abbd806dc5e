"""Tables of a comparison of objectives."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmalign_jax.reports.document import Table
from mmalign_jax.reports.text import bracket, number, percent, plain, points
from mmalign_jax.studies.objectives import beside
from mmalign_jax.studies.strength.linear import METHODS
from mmalign_jax.studies.strength.references import MAPS

OBJECTIVE = 'objective'


def best_table(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
  """The best of each objective."""
  linear = any(entry['linear'] for entry in entries)
  head = [*names, 'encoder', 'objective', 'at 0', 'best lam', 'gain', '95 %', 'all at once', 'CKA',
          *(['CCA', 'PLS'] if linear else [])]
  rows = [[*_points_of(entry, names), str(entry['encoder']), entry[OBJECTIVE],
           percent(entry['accuracy_at_lowest']), plain(entry['best_lam']),
           points(entry['gain']), bracket(entry['gain_interval'], '+.1f', 100),
           bracket(entry['gain_interval_of_all'], '+.1f', 100),
           '-' if entry['cka'] is None else f'{entry["cka"]:.2f}',
           *((points(entry['linear'].get(method, {}).get('gain')) for method in MAPS)
             if linear else ())] for entry in entries]
  return Table(head, rows, (*range(len(names)), len(names) + 1))


def winner_table(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
  """Who wins where."""
  linear = any(entry['over'] for entry in entries)
  head = [*names, 'encoder', 'at 0', 'best of all', 'lam', 'gain', '95 %',
          *([f'over {method.upper()}' for method in METHODS] if linear else [])]
  rows = [[*_points_of(entry, names), str(entry['encoder']), percent(entry['accuracy_at_lowest']),
           entry['objective'], plain(entry['best_lam']), points(entry['gain']),
           bracket(entry['gain_interval'], '+.1f', 100),
           *((_with_interval(entry['over'].get(method)) for method in METHODS)
             if linear else ())] for entry in entries]
  return Table(head, rows, (*range(len(names)), len(names) + 2))


def erased_table(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Table:
  """Change of every factor in the last hidden layer, by objective."""
  factors = list(dict.fromkeys(row['factor'] for entry in entries for row in last(entry)))
  rows = []
  for entry in entries:
    found = {row['factor']: row for row in last(entry)}
    rows.append([*_points_of(entry, names), str(entry['encoder']), entry[OBJECTIVE],
                 *(_change(found.get(factor)) for factor in factors)])
  return Table([*names, 'encoder', 'objective', *factors], rows,
               (*range(len(names)), len(names) + 1))


def last(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Rows of the last hidden layer; none without probes."""
  rows = entry.get('retention', [])
  layers = [row['layer'] for row in rows if row['layer'] != 'z']
  return [row for row in rows if row['layer'] == layers[-1]] if layers else []


def prediction_table(found: Sequence[beside.Prediction]) -> Table:
  """Linear gains against learnt ones."""
  rows = [[one.objective, one.method.upper(), str(len(one.x)),
           *(cell for kind in ('pearson', 'spearman') for cell in (
               number(one.correlation[kind]), bracket(one.interval[kind]))),
           f'{100 * one.same_sign:.0f} %'] for one in found]
  return Table(['objective', 'linear', 'points', 'Pearson', '95 %', 'Spearman', '95 %',
                'same sign'], rows, (0, 1))


def _change(row: Mapping[str, Any] | None) -> str:
  if row is None or row['change'][-1] is None:
    return '-'
  half = row['change_half_width'][-1]
  return f'{100 * row["change"][-1]:+.1f}' + ('' if half is None else f' ± {100 * half:.1f}')


def _with_interval(of: Mapping[str, Any] | None) -> str:
  return '-' if of is None else (
      f'{100 * of["gain"]:+.1f} {bracket(of["gain_interval"], "+.1f", 100)}')


def _points_of(entry: Mapping[str, Any], names: Sequence[str]) -> list[str]:
  return [plain(entry.get(name)) for name in names]
