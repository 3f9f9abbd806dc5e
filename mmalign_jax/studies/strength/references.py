"""Learnt accuracies beside what linear algebra gives on the same splits, labels and validation rows
(`linear`), with intervals; kept in a file, so that a study is continued without them being made
again."""

from collections.abc import Callable, Iterable, Mapping, Sequence
import json
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax.data.prepared import Prepared
from mmalign_jax.reports.statistics import over_seeds_and_folds
from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import folder
from mmalign_jax.studies.strength import linear

if TYPE_CHECKING:  # slow to import
  import xarray as xr

LINEAR = 'linear'         # attribute of a data set: rows of `references`
BASE, *MAPS = linear.METHODS
BUDGET, PAIRS = 'n_labelled', 'n_pairs'
_FILE = 'linear.json'


def possible(data: Prepared) -> bool:
  """Whether there are linear references of these data: two sides of vectors, validation rows of
  both."""
  return len(data.x) == 2 and all(isinstance(x, np.ndarray) for x in data.x) and all(
      len(of.y) for of in data.validation)


def references(data: Prepared, budgets: Iterable[int],
               seeds: Iterable[int]) -> list[dict[str, Any]]:
  """Accuracy by fold of every budget, seed, method and side (encoder, from 1)."""
  seeds, found = tuple(seeds), []
  for budget in budgets:
    for seed in seeds:
      for method, sides in linear.references(data, budget, seed).items():
        found += [{BUDGET: budget, 'seed': seed, 'method': method, 'encoder': i,
                   'accuracy': judged.accuracy.tolist()} for i, judged in enumerate(sides, start=1)]
  return found


def in_folder(data: Any, axes: Mapping[str, Sequence], fingerprint: str,
              place: pathlib.Path) -> list[dict[str, Any]]:
  """`references` of the budgets and seeds of a study, kept beside the rest, each with the number of
  its pairs; [] of other data."""
  if not isinstance(data, Prepared) or not possible(data):
    return []
  asked = {BUDGET: list(axes[BUDGET]), 'seed': list(axes['seed']), 'data': fingerprint}
  found = kept(place / _FILE, asked, 'references',
               lambda: references(data, axes[BUDGET], axes['seed']))
  return [row | {PAIRS: len(data.y)} for row in found]


def kept(path: pathlib.Path, asked: dict[str, Any], name: str, make: Callable[[], Any]) -> Any:
  """What a file holds of what is asked, made now where it does not."""
  if path.exists():
    held = folder.read_json(path)
    if held['of'] == asked:
      return held[name]
  found = make()
  write_json(path, {'of': asked, name: found})
  return found


def accuracies(dataset: 'xr.Dataset', setting: Mapping[str, Any],
               encoder: int) -> dict[str, np.ndarray]:
  """{method: accuracy [S, F]} of one budget and side; {} where there are no references, or encoders
  align fewer pairs than these, which are of all."""
  configuration = json.loads(dataset.attrs.get('configuration', '{}'))
  n_pairs = setting.get(PAIRS, configuration.get(PAIRS, [0])[0])
  rows = [row for row in json.loads(dataset.attrs.get(LINEAR, '[]'))
          if row['encoder'] == encoder and row[BUDGET] == setting.get(BUDGET)
          and n_pairs in (0, row.get(PAIRS, 0))]
  found = {method: [row['accuracy'] for row in sorted(rows, key=lambda row: row['seed'])
                    if row['method'] == method] for method in linear.METHODS}
  return {method: np.array(values) for method, values in found.items() if values}


def gains(dataset: 'xr.Dataset', setting: Mapping[str, Any],
          encoder: int) -> dict[str, dict[str, Any]]:
  """{method: accuracy, gain over principal components, its 95 % interval}."""
  made = accuracies(dataset, setting, encoder)
  return {method: {'accuracy': float(values.mean()), **more(values, made[BASE])}
          for method, values in made.items()}


def more(values: np.ndarray, base: np.ndarray, exact: bool = False) -> dict[str, Any]:
  """What values [S, F] have more than base [S, F], the mean and its 95 % interval: Student's t over
  seeds and over folds of the test rows, joined in squares; None of a single fold, which does not
  tell how uncertain it is, unless it is `exact`."""
  gain = values - base
  mean, half = float(gain.mean()), over_seeds_and_folds(gain)
  return {'gain': mean,
          'gain_interval': [mean - half, mean + half] if exact or gain.shape[1] > 1 else None}
