"""Learnt gains beside what linear algebra gives on the same splits (`strength.linear`)."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax.data.prepared import Prepared
from mmalign_jax.reports.statistics import KINDS, interval, over_seeds_and_folds, within_one
from mmalign_jax.studies.strength import linear

if TYPE_CHECKING:  # slow to import
  import xarray as xr

LINEAR = 'linear'         # attribute of a data set: rows of `references`
BASE, *MAPS = linear.METHODS
FEWEST = 4                # sets, below which a correlation over them has no interval
_RESAMPLES = 2000


def possible(data: Prepared) -> bool:
  """Whether there are linear references of these data: two sides of vectors, validation rows."""
  return len(data.x) == 2 and all(isinstance(x, np.ndarray) for x in data.x) and (
      len(data.validation[0].y) > 0)


def references(data: Prepared, budgets: Iterable[int],
               seeds: Iterable[int]) -> list[dict[str, Any]]:
  """Accuracy by fold of every budget, seed, method and side (encoder, from 1)."""
  seeds, found = tuple(seeds), []
  for budget in budgets:
    for seed in seeds:
      for method, sides in linear.references(data, budget, seed).items():
        found += [{'n_labelled': budget, 'seed': seed, 'method': method, 'encoder': i,
                   'accuracy': judged.accuracy.tolist()} for i, judged in enumerate(sides, start=1)]
  return found


def accuracies(dataset: 'xr.Dataset', setting: Mapping[str, Any],
               encoder: int) -> dict[str, np.ndarray]:
  """{method: accuracy [S, F]} of one budget and side; {} where there are no references."""
  rows = [row for row in json.loads(dataset.attrs.get(LINEAR, '[]'))
          if row['encoder'] == encoder and row['n_labelled'] == setting.get('n_labelled')]
  found = {method: [row['accuracy'] for row in sorted(rows, key=lambda row: row['seed'])
                    if row['method'] == method] for method in linear.METHODS}
  return {method: np.array(values) for method, values in found.items() if values}


def gains(dataset: 'xr.Dataset', setting: Mapping[str, Any],
          encoder: int) -> dict[str, dict[str, Any]]:
  """{method: accuracy, gain over principal components, its 95 % interval}."""
  made, found = accuracies(dataset, setting, encoder), {}
  for method, values in made.items():
    gain = values - made[BASE]
    mean, half = float(gain.mean()), over_seeds_and_folds(gain)
    found[method] = {'accuracy': float(values.mean()), 'gain': mean,
                     'gain_interval': [mean - half, mean + half]}
  return found


@dataclasses.dataclass(frozen=True)
class Prediction:
  """How well a linear gain tells that of an objective, over P points of G data sets.

  x, y [P] in points of accuracy; correlation {kind: value} and its 95 % interval over data sets
  drawn anew, all points of a set together (None below 4 sets); same_sign: share of points.
  """
  objective: str
  method: str
  x: np.ndarray
  y: np.ndarray
  correlation: Mapping[str, float]
  interval: Mapping[str, tuple[float, float] | None]
  same_sign: float


def predictions(entries: Sequence[Mapping[str, Any]]) -> list[Prediction]:
  """Of every objective and linear method.

  Args:
    entries: of `report.summarise`, with `set`, `objective`, `gain` and `linear`.
  """
  found = []
  for objective in dict.fromkeys(entry['objective'] for entry in entries):
    own = [entry for entry in entries if entry['objective'] == objective
           and entry['gain'] is not None and entry.get('linear')]
    for method in MAPS if len(own) > 2 else ():
      found.append(_prediction(objective, method, own))
  return found


def _prediction(objective: str, method: str, own: Sequence[Mapping[str, Any]]) -> Prediction:
  x = 100 * np.array([entry['linear'][method]['gain'] for entry in own])
  y = 100 * np.array([entry['gain'] for entry in own])
  _, of = np.unique([entry.get('set', '') for entry in own], return_inverse=True)
  n, ends = of.max() + 1, dict.fromkeys(KINDS)
  if n >= FEWEST:
    g, drawn = np.random.default_rng(0), {kind: [] for kind in KINDS}
    members = [np.flatnonzero(of == i) for i in range(n)]
    for _ in range(_RESAMPLES):
      rows = np.concatenate([members[i] for i in g.integers(n, size=n)])
      for kind, measure in KINDS.items():
        drawn[kind].append(float(measure(x[rows], y[rows])))
    ends = {kind: within_one(interval(np.array(values), n)) for kind, values in drawn.items()}
  return Prediction(
      objective, method, x, y, {kind: float(measure(x, y)) for kind, measure in KINDS.items()},
      ends, float((np.sign(x) == np.sign(y)).mean()))
