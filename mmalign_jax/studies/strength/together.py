"""What all sides say together: the head on all of them against the best side alone.

The *synergy* of a cell is the accuracy of that head minus the accuracy of the best side, on the
same test rows, which have all sides. Which side is best is decided by the mean over the seeds of a
cell: the better one of each seed by itself would be chosen for its luck.
"""

from collections.abc import Sequence
import itertools
import json
import math
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.statistics import over_seeds_and_folds
from mmalign_jax.reports.text import bracket, percent, points
from mmalign_jax.studies.strength.curves import is_exact, is_strength, with_rows
from mmalign_jax.studies.strength.optimum import MIN_SEEDS

MOST_ROWS = 40  # of the table; beyond, the lowest and the highest strengths alone
_SO = {'more': 'more together', 'less': 'less than the best side alone',
       'none': 'no difference shows'}
_WORDS = (
    'fused: a head on the embeddings of all sides, {how}. synergy: its accuracy minus that of the '
    'best side (by the mean over seeds) on the same test rows, in percentage points; intervals are '
    'of 95 %, of each row by itself.')
_HOW = {'frozen': 'whose gradient stops at them', 'trained': 'whose gradient reaches the encoders'}


def best_side(dataset: xr.Dataset) -> xr.DataArray:
  """Number of the side that is most accurate on the joint test rows, for every cell: the mean over
  its seeds decides, those that diverged left out."""
  mean = dataset['joint_accuracy'].mean('seed', skipna=True).fillna(-1)
  return (mean.argmax('encoder') + 1).assign_attrs(
      long_name='side of the highest accuracy on the joint test rows, mean over seeds', units='1')


def with_synergy(dataset: xr.Dataset) -> xr.Dataset:
  """The data set with `best_side` and `synergy`, and `synergy_by_fold` where there are folds."""
  best = best_side(dataset)
  made = {'best_side': best}
  for end in ('', '_by_fold'):
    if f'fused_accuracy{end}' in dataset:
      gain = dataset[f'fused_accuracy{end}'] - dataset[f'joint_accuracy{end}'].sel(encoder=best)
      made[f'synergy{end}'] = gain.drop_vars('encoder').transpose(
          *dataset[f'fused_accuracy{end}'].dims).assign_attrs(
              long_name='accuracy of the head on all sides minus that of the best side, on the '
                        'joint test rows' + end.replace('_', ' '), units='1')
  return dataset.assign(made)


def entries(dataset: xr.Dataset) -> list[dict[str, Any]]:
  """One entry per data setting and strength, JSON-ready; none of a study without such a head.

  The interval is Student's t over seeds and over folds of the test rows, joined in squares; where
  the test is exact, over seeds alone. A single fold of a finite test set has none. Seeds that
  diverged are left out.
  """
  if 'synergy' not in dataset:
    return []
  dims = [str(d) for d in dataset['best_side'].dims]
  points = itertools.product(*(dataset[d].values.tolist() for d in dims))
  exact, name = is_exact(dataset), 'synergy_by_fold'
  by_fold = with_rows(dataset[name], 'joint_fold') if name in dataset else (
      dataset['synergy'].expand_dims('joint_fold', -1))
  return [_entry(dataset.sel(at), by_fold.sel(at), at, exact)
          for at in (dict(zip(dims, point)) for point in points)]


def _entry(cell: xr.Dataset, folds: xr.DataArray, at: dict[str, Any],
           exact: bool) -> dict[str, Any]:
  cell = cell.transpose('seed', ..., 'encoder', missing_dims='ignore')
  fine = np.isfinite(cell['synergy'].values)
  gain = cell['synergy'].values[fine]
  by_fold = folds.transpose('seed', 'joint_fold').values[fine]
  told = len(gain) >= MIN_SEEDS and (exact or by_fold.shape[1] > 1)
  half = over_seeds_and_folds(by_fold) if told else math.nan
  mean = float(gain.mean()) if len(gain) else None
  ends = [mean - half, mean + half] if mean is not None and math.isfinite(half) else None
  best = int(cell['best_side'])
  alone = cell['joint_accuracy'].values[fine]
  of = lambda values: float(values.mean()) if len(gain) else None
  return {
      **at, 'encoder': 'fused', 'fused_accuracy': of(cell['fused_accuracy'].values[fine]),
      'best_side': best, 'accuracy_of_best_side': of(alone[:, best - 1]),
      'accuracy_of_sides': [of(alone[:, i]) for i in range(alone.shape[1])],
      'synergy': mean, 'synergy_interval': ends, 'verdict': verdict(ends),
      'ceiling': _ceiling(cell), 'seeds': len(gain), 'folds': by_fold.shape[1],
      'diverged': int((~fine).sum())}


def verdict(ends: list[float] | None) -> str | None:
  """'more', 'less' or 'none' by which side of 0 an interval lies on; None without one.

  Examples:
    >>> verdict([0.01, 0.03]), verdict([-0.02, 0.01]), verdict(None)
    ('more', 'none', None)
  """
  if ends is None:
    return None
  return 'more' if ends[0] > 0 else 'less' if ends[1] < 0 else 'none'


def _ceiling(cell: xr.Dataset) -> float | None:
  known = cell['fused_ceiling'].values
  known = known[np.isfinite(known)]
  return float(known.mean()) if len(known) else None


def sections(dataset: xr.Dataset, found: Sequence[dict[str, Any]]) -> list[Section]:
  """The table of `entries`; none where there are none."""
  if not found:
    return []
  how = _HOW[json.loads(dataset.attrs['configuration'])['fusion']]
  dims = [str(d) for d in dataset['best_side'].dims]
  shown, more = found, ''
  if len(found) > MOST_ROWS:
    ends = {d: (dataset[d].values.min(), dataset[d].values.max()) for d in dims if is_strength(d)}
    shown = [row for row in found if all(row[d] in known for d, known in ends.items())]
    more = ' The lowest and the highest strengths are shown; summary.json has all.'
  head = [*dims, 'fused', 'best side', 'it alone', 'synergy', '95 %', 'ceiling', 'so']
  parts = [Table(head, [_cells(row, dims) for row in shown], (len(head) - 1,)),
           Words(_WORDS.format(how=how) + more)]
  lost = sum(row['diverged'] for row in found) - int(dataset['diverged'].sum())
  if lost > 0:
    parts.append(Words(f'in {lost} further cells the head on all sides alone diverged'))
  return [Section('All sides together', parts)]


def _cells(row: dict[str, Any], dims: list[str]) -> list[str]:
  return [*(f'{row[d]:.4g}' if isinstance(row[d], float) else str(row[d]) for d in dims),
          percent(row['fused_accuracy']), str(row['best_side']),
          percent(row['accuracy_of_best_side']),
          points(row['synergy']),
          bracket(row['synergy_interval'], '+.1f', 100), percent(row['ceiling']),
          _so(row)]


def _so(row: dict[str, Any]) -> str:
  """The verdict in words, or why there is none."""
  if row['verdict']:
    return _SO[row['verdict']]
  return ('all diverged' if not row['seeds'] else
          f'under {MIN_SEEDS} seeds: no verdict' if row['seeds'] < MIN_SEEDS else
          'one independent part of the test rows: no verdict')


