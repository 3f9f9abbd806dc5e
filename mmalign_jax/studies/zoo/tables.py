"""Tables of a zoo, and its pairs as csv."""

from collections.abc import Mapping, Sequence
import csv
import io
import math
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports.document import Table
from mmalign_jax.reports.text import bracket, number, p_value
from mmalign_jax.studies.zoo import trends
from mmalign_jax.studies.zoo.summary import KINDS


def matrix_table(dataset: xr.Dataset, name: str) -> Table:
  """Values, and calibrated ones, at the first level."""
  one = dataset.sel(measure=name).isel(level=0)
  def cell(i: int, j: int) -> str:
    value = float(one['value'][i, j])
    if not math.isfinite(value):
      return '-'
    more = f' ({number(float(one["calibrated"][i, j]), ".3f")})' if 'calibrated' in one else ''
    return f'{value:.3f}{more}'
  return Table([name, *map(str, dataset['right'].values)], [
      [str(model), *(cell(i, j) for j in range(dataset.sizes['right']))]
      for i, model in enumerate(dataset['left'].values)], (0,))


def pairs_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """How many pairs are above chance."""
  rows = [[*([f'{one["level"]:g}'] if leveled else []), one['measure'], str(one['pairs']),
           f'{one["lowest"]:.3f} to {one["highest"]:.3f}',
           *([f'{one["chance"]:.4f}', f'{one["above_chance"]}', f'{one["highest_p"]:.2g}']
             if 'chance' in one else [])] for one in summary['pairs']]
  head = [*([leveled] if leveled else []), 'measure', 'pairs', 'value', 'chance', 'p <= 0.05',
          'highest p']
  return Table(head[:len(rows[0])], rows, (0, 1) if leveled else (0,))


def trend_table(rows: Sequence[Mapping[str, Any]], leveled: str) -> Table:
  """Trends with quality."""
  head = [*([leveled] if leveled else []), 'measure', 'of', 'side', 'models', 'Spearman', '95 %',
          'p', 'slope', '95 %', 'without width', '95 %']
  return Table(head, [
      [*([f'{row["level"]:g}'] if leveled else []), row['measure'], row['kind'], row['side'],
       str(row['m']), number(row['spearman']), bracket(row['spearman_interval']),
       p_of(row), number(row['slope'], '+.2g'),
       bracket(row['slope_interval'], '+.2g'), number(row['partial']),
       bracket(row['partial_interval'])]
      for row in rows], tuple(range(bool(leveled), 3 + bool(leveled))))


def p_of(row: Mapping[str, Any]) -> str:
  """p of a trend, at most the least that drawn orders of scores can tell."""
  return p_value(row['p'], trends.least(row['m'])) if math.isfinite(row['p']) else '-'


def level_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """By level the highest and mean alignment, and the slope on quality."""
  slopes = {(r['measure'], r['kind'], r['level']): r for r in summary['trends']
            if r['side'] == 'right'}
  rows = []
  for one in summary['levels']:
    for row in one['rows']:
      found = slopes.get((one['measure'], one['kind'], row['level']))
      rows.append([one['measure'], one['kind'], f'{row["level"]:g}', f'{row["highest"]:.3f}',
                   f'{row["mean"]:.3f}', *([number(found['slope'], '+.3g'),
                                           bracket(found['slope_interval'], '+.2g')]
                                          if found else ['-', '-'])])
  return Table(['measure', 'of', leveled, 'highest', 'mean', 'slope', '95 %'], rows, (0, 1))


def fall_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """Trend of alignment with the level."""
  return Table(['measure', 'of', f'Spearman with {leveled}', '95 %', 'pairs that fall'], [
      [one['measure'], one['kind'], number(one['spearman']), bracket(one['interval']),
       f'{100 * one["share"]:.0f} %'] for one in summary['levels']], (0, 1))


def size_table(rows: Sequence[Mapping[str, Any]]) -> Table:
  """By number of samples."""
  said = [f'{kind}_spearman_{side}' for kind in KINDS for side in ('left', 'right')
          if f'{kind}_spearman_{side}' in rows[0]]
  head = ['measure', 'samples', 'value', 'calibrated',
          *(f'Spearman {name.rpartition("_")[2]}, {name.partition("_")[0]}' for name in said)]
  return Table(head, [[
      row['measure'], _samples(row),
      *(_with_deviation(row[kind], row[f'{kind}_deviation']) for kind in KINDS),
      *(number(row[name]) for name in said)] for row in rows], (0,))


def _with_deviation(value: float, deviation: float) -> str:
  more = f' ± {deviation:.3f}' if math.isfinite(value) and math.isfinite(deviation) else ''
  return number(value, '.3f') + more


def _samples(row: Mapping[str, Any]) -> str:
  used = round(row.get('used', row['samples']))
  return str(row['samples']) if used == row['samples'] else f'{row["samples"]} ({used} used)'


def nearest_table(rows: Sequence[Mapping[str, Any]]) -> Table:
  """The nearest model of each."""
  kind = next((k for k in reversed(KINDS) if rows and k in rows[0]), 'value')
  return Table(['measure', 'side', 'model', 'nearest', kind], [
      [row['measure'], row['side'], row['model'], row['nearest'], f'{row[kind]:.3f}']
      for row in rows], (0, 1, 2, 3))


def as_csv(dataset: xr.Dataset) -> str:
  """A line a measure, level and pair of models."""
  names = [name for name in ('value', 'null_mean', 'calibrated', 'p_value', 'low', 'high',
                             'layer_left', 'layer_right') if name in dataset]
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(['measure', 'level', 'left', 'right', *names])
  arrays = [dataset[name].values for name in names]
  for at in np.ndindex(arrays[0].shape):
    where = [dataset[axis].values[i] for axis, i in zip(('measure', 'level', 'left', 'right'), at)]
    writer.writerow([*where, *(f'{a[at]:.9g}' if np.isfinite(a[at]) else '' for a in arrays)])
  return out.getvalue()
