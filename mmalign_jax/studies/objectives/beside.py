"""Whether linear gains (`strength.references`) tell those of an objective, over data sets."""

from collections.abc import Mapping, Sequence
import dataclasses
from typing import Any

import numpy as np

from mmalign_jax.reports.statistics import KINDS, interval, within_one
from mmalign_jax.studies.strength.references import MAPS

FEWEST = 4                # sets, below which a correlation over them has no interval
_RESAMPLES = 2000


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
