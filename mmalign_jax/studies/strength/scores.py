"""What data from files are scored by beside accuracy: the balanced one, or of a regression the mean
absolute error and the correlation of prediction and label; at the lowest and the best strength."""

from collections.abc import Mapping, Sequence
import json
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.losses import task_of
from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.text import plain
from mmalign_jax.studies.strength.curves import Curve

SCORES = ('balanced_accuracy', 'absolute_error', 'correlation')
_KEPT_AS = {'absolute_error': 'cross_entropy'}  # the task loss has one name, whatever it is
_READING = (
    'balanced: the mean share of every class that is found, which a majority cannot lift. Of a '
    'regression accuracy is by sign (the side of the median of the training labels); MAE is the '
    'mean absolute error in the units in which labels are learnt (deviations from that median), '
    'correlation is Pearson\'s of prediction and label. Means over seeds, at the lowest strength '
    'and at the one of the highest accuracy; test rows.')


def scores(dataset: xr.Dataset, curve: Curve,
           best: float | None) -> dict[str, list[float | None]]:
  """{score: [at the lowest strength, at the best]} of an encoder; {} of a generator."""
  task = json.loads(dataset.attrs.get('configuration', '{}')).get('task', 'cross_entropy')
  names = SCORES[1:] if task_of(task).regression else SCORES[:1]
  found = {}
  for name in names if f'{names[-1]}_{curve.encoder}' in dataset else ():
    own = dataset[f'{_KEPT_AS.get(name, name)}_{curve.encoder}'].sel(curve.setting)
    found[name] = [None if lam is None else _mean(own.sel({curve.axis: lam}))
                   for lam in (float(curve.lam[0]), best)]
  return found


def _mean(values: xr.DataArray) -> float | None:
  mean = float(values.mean(skipna=False))
  return mean if np.isfinite(mean) else None


def sections(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Section]:
  """A table of the entries that have `scores`; none where no entry has."""
  rows = [[*(plain(entry.get(name)) for name in names), str(entry['encoder']),
           *(_pair([entry['accuracy_at_lowest'], entry['accuracy_at_best']], '.3f'),
             *(_pair(entry['scores'].get(name), '.3f') for name in SCORES))]
          for entry in entries if entry.get('scores')]
  head = [*names, 'encoder', 'accuracy', 'balanced', 'MAE', 'correlation']
  empty = [i for i in range(len(head)) if rows and all(row[i] == '-' for row in rows)]
  cut = lambda row: [cell for i, cell in enumerate(row) if i not in empty]
  return [Section('Beside accuracy', [
      Table(cut(head), list(map(cut, rows)), tuple(range(len(names)))), Words(_READING)],
                  said=False)] if rows else []


def _pair(values: Sequence[float | None] | None, form: str) -> str:
  if values is None:
    return '-'
  return ' -> '.join('-' if v is None else format(v, form) for v in values)
