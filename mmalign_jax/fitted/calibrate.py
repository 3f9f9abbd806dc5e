"""Probabilities that mean what they say, by one temperature of rows that no encoder learnt from.

The temperature T of softmax(logits / T) (Guo et al. 2017, arXiv 1706.04599) is the mode of its
posterior: the likelihood of held-out labels times a log-normal prior about 1, so that a few rows
that are all right do not make the encoder certain. Of a regression, the residual scale.
"""

import dataclasses
import math

import numpy as np
from scipy.special import log_softmax

SPREAD = 1.0  # of log T, before any row was seen
FEWEST = 50   # validation rows from which they alone calibrate
_MOST = 6.0   # |log T|
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclasses.dataclass(frozen=True)
class Calibration:
  """temperature: of classes. residual: root mean square of held-out errors of a regression, in the
  units of the label; NaN where there were no rows. n: held-out rows; how: which they were."""
  temperature: float = 1.0
  residual: float = math.nan
  n: int = 0
  how: str = 'none'


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
  """softmax(logits / T) [N, C] f64."""
  return np.exp(log_softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def temperature(logits: np.ndarray, y: np.ndarray) -> float:
  """T of held-out logits [N, C] and classes [N]; 1 without rows.

  By golden section over log T in float64.

  Examples:
    >>> logits = np.tile([[4.0, 0.0]], (100, 1))  # certain to 98 %, and right in 73 of 100
    >>> round(temperature(logits, (np.arange(100) >= 73).astype(int)), 1)
    3.9
  """
  if not len(y):
    return 1.0
  logits = np.asarray(logits, np.float64)
  low, high = -_MOST, _MOST
  inner, outer = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
  at_inner, at_outer = loss(inner, logits, y), loss(outer, logits, y)
  while high - low > 1e-9:
    if at_inner <= at_outer:
      high, outer, at_outer = outer, inner, at_inner
      inner = high - _GOLDEN * (high - low)
      at_inner = loss(inner, logits, y)
    else:
      low, inner, at_inner = inner, outer, at_outer
      outer = low + _GOLDEN * (high - low)
      at_outer = loss(outer, logits, y)
  return math.exp((low + high) / 2)


def loss(log_temperature: float, logits: np.ndarray, y: np.ndarray) -> float:
  """What `temperature` minimises: nats over all rows, less the log prior."""
  said = log_softmax(logits * math.exp(-log_temperature), axis=1)
  return float(-said[np.arange(len(y)), y].sum() + 0.5 * (log_temperature / SPREAD) ** 2)


def of_rows(prediction: np.ndarray, y: np.ndarray, how: str, scale: float = 1.0) -> Calibration:
  """The calibration of held-out rows.

  Args:
    prediction: logits [N, C], or of a regression [N]. y: classes or values [N], in the same units.
    how: which rows they are. scale: units of the label in which residuals are given.
  """
  keep = np.isfinite(prediction).all(axis=1) if prediction.ndim == 2 else np.isfinite(prediction)
  prediction, y = prediction[keep], y[keep]
  if not len(y):
    return Calibration()
  if prediction.ndim == 2:
    return Calibration(temperature(prediction, y), n=len(y), how=how)
  error = np.asarray(prediction, np.float64) - y
  return Calibration(residual=scale * float(np.sqrt(np.mean(error ** 2))), n=len(y), how=how)


def folds(y: np.ndarray, units: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
  """Fold [N] of every row, in 0..n_folds-1: units stay whole, classes are spread.

  Args:
    y: [N] classes, all alike for a regression. units: [N] what belongs together.
    n_folds: at most; there are no more than units. seed: of the order.
  """
  g = np.random.default_rng([seed, 3])
  ids, first = np.unique(units, return_index=True)
  order = g.permutation(len(ids))
  order = order[np.argsort(y[first][order], kind='stable')]  # one class after the other
  of_unit = np.empty(len(ids), int)
  of_unit[order] = np.arange(len(ids)) % max(min(n_folds, len(ids)), 1)
  return of_unit[np.searchsorted(ids, units)]
