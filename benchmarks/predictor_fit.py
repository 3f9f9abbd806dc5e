"""Fits the table of the predictor to curves and features, and its margins to settings of their own.

What is chosen (width of the kernel, ridge, caution) is chosen by cross-validation over the training
settings; margins are quantiles over the calibration settings. No test setting is looked at.
"""

import dataclasses
import itertools

import numpy as np
import scipy.linalg

from mmalign_jax.advice import predictor
from mmalign_jax.advice.predictor import INPUTS, Table

LEVEL = 0.95
WIDTHS = (0.7, 1.0, 1.5, 2.0)     # of the kernel, in root mean squares of inputs
RIDGES = (0.03, 0.1, 0.3, 1.0)    # of one seed
NEVER = 1e3                       # a threshold that nothing reaches
HARMED, MISSED = 0.02, 0.1        # of `predictor.advice`
CAUTIONS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
FOLDS = 6
MOST = 1212    # points of the table: more settings are all fitted to, through the first of them
JITTER = 1e-10  # of the largest diagonal: points may lie on each other


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
  """Of every encoder: inputs x [N, D], accuracy [N, L, S] (NaN where fewer seeds were trained),
  setting [N]."""
  x: np.ndarray
  accuracy: np.ndarray
  setting: np.ndarray

  def gain(self, seeds: int | None = None) -> np.ndarray:
    """[N, L] over the first strength, the mean over the first of the seeds."""
    part = self.accuracy[:, :, :seeds]
    return np.nanmean(part - part[:, :1], axis=2)

  def seeds(self) -> np.ndarray:
    """How many there are [N]."""
    return np.isfinite(self.accuracy[:, 0]).sum(axis=1)

  def of(self, rows: np.ndarray) -> 'Curves':
    return Curves(self.x[rows], self.accuracy[rows], self.setting[rows])


def curves(rows: list[dict]) -> Curves:
  """Both encoders of every setting, one after another."""
  x = [predictor.inputs(row['features'] | {'encoder_depth': row['depth']}, encoder, INPUTS)
       for row in rows for encoder in (1, 2)]
  every = np.concatenate([_filled(np.array(row['accuracy']), rows) for row in rows])
  return Curves(np.array(x), every, np.repeat(np.arange(len(rows)), 2))


def _filled(accuracy: np.ndarray, rows: list[dict]) -> np.ndarray:
  most = max(len(row['accuracy'][0][0]) for row in rows)
  return np.pad(accuracy, [(0, 0), (0, 0), (0, most - accuracy.shape[2])],
                constant_values=np.nan)


def kernel_ridge(data: Curves, lam: np.ndarray, width: float, ridge: float,
                 relevance: np.ndarray | None = None) -> Table:
  """The table without spread and margins; a setting of more seeds weighs more. An input counts for
  as much as its standard deviation times its relevance [D], 1 where that is None."""
  center, scale = data.x.mean(axis=0), data.x.std(axis=0)
  scale = np.where(scale > 0, scale, 1) / (1 if relevance is None else relevance)
  u = (data.x - center) / scale
  gain, seeds = data.gain()[:, 1:], data.seeds()
  intercept = seeds @ gain / seeds.sum()
  kernel = kernels(u, width)
  dual = solved(kernel[:len(kernel.T)], *products(kernel, gain - intercept, seeds), ridge)
  squared = predictor.apart(u, u[:MOST])
  squared[data.setting[:, None] == data.setting[:MOST]] = np.inf
  near = float(np.quantile(np.sqrt(squared.min(axis=1)), 0.99))
  return Table(INPUTS, center, scale, data.x.min(axis=0), data.x.max(axis=0), near,
               np.asarray(lam, float), u[:MOST], dual, intercept, np.ones(len(u[:MOST])), width,
               0.0, 0.0, 0.0, NEVER, -NEVER)


def kernels(u: np.ndarray, width: float) -> np.ndarray:
  """[N, M] of all u [N, D] to the first M, which the table keeps."""
  return np.exp(-predictor.apart(u, u[:MOST]) / (2 * width**2))


def products(kernel: np.ndarray, gain: np.ndarray, seeds: np.ndarray
             ) -> tuple[np.ndarray, np.ndarray]:
  """K' S K [M, M] and K' S g [M, L], S the number of seeds."""
  weighted = kernel.T * seeds
  return weighted @ kernel, weighted @ gain


def solved(among: np.ndarray, left: np.ndarray, right: np.ndarray, ridge: float) -> np.ndarray:
  """Coefficients [M, L] of the points: kernel ridge regression where these are all settings, its
  projection on them where they are not (subset of regressors; Rasmussen and Williams 2006, 8.3)."""
  matrix = left + ridge * among
  matrix[np.diag_indices(len(matrix))] += JITTER * matrix.diagonal().max()
  return scipy.linalg.solve(matrix, right, assume_a='pos')


def unseen(data: Curves, width: float, ridge: float,
           relevance: np.ndarray | None = None) -> np.ndarray:
  """Predicted gains [N, L] of every setting by tables that were fitted without its gains."""
  u = (data.x - data.x.mean(axis=0)) / np.maximum(data.x.std(axis=0), 1e-12)
  kernel = kernels(u * (1 if relevance is None else relevance), width)
  gain, seeds = data.gain(), data.seeds()
  one = np.hstack([gain, np.ones((len(gain), 1))])  # the last column: of the mean
  tests = [data.setting % FOLDS == f for f in range(FOLDS)]
  parts = [products(kernel[test], one[test], seeds[test]) for test in tests]
  left, right = (sum(part[i] for part in parts) for i in (0, 1))
  found = np.empty(gain.shape)
  for test, (own_left, own_right) in zip(tests, parts):
    mean = seeds[~test] @ gain[~test] / seeds[~test].sum()
    others = right - own_right
    dual = solved(kernel[:len(kernel.T)], left - own_left,
                  others[:, :-1] - others[:, -1:] * mean, ridge)
    found[test] = kernel[test] @ dual + mean
  return found


def error(data: Curves, *shape) -> float:
  """Mean squared error of predicted gains, in points, of settings that were not fitted to."""
  off = 100 * (unseen(data, *shape) - data.gain())
  return float(data.seeds() @ np.square(off).mean(axis=1) / data.seeds().sum())


def shaped(data: Curves) -> tuple[tuple, dict]:
  """Width, ridge and relevance with the least error: first all inputs alike, then each in turn with
  a half or twice of its relevance, once; and what was tried."""
  tried = {one: error(data, *one) for one in itertools.product(WIDTHS, RIDGES)}
  best = min(tried, key=lambda one: tried[one])
  relevance, least = np.ones(data.x.shape[1]), tried[best]
  for i, factor in itertools.product(range(len(relevance)), (0.5, 2.0)):
    changed = np.where(np.arange(len(relevance)) == i, relevance * factor, relevance)
    found = error(data, *best, changed)
    if found < least:
      relevance, least = changed, found
  shape = (*min(((w, r) for w, r in tried), key=lambda one: error(data, *one, relevance)),
           relevance)
  return shape, {'error': {f'{w:g}, {r:g}': value for (w, r), value in tried.items()},
                 'least': error(data, *shape), 'relevance': dict(zip(INPUTS, relevance))}


def fitted(data: Curves, lam: np.ndarray) -> tuple[Table, tuple, dict]:
  """The table without margins, its shape (see `shaped`), and what chose it."""
  shape, chosen = shaped(data)
  made, gain = unseen(data, *shape), data.gain()
  off = np.abs(made - data.gain(1))[:, 1:].mean(axis=1)  # of as many seeds for all
  table = kernel_ridge(data, lam, *shape)
  u = (data.x - table.center) / table.scale
  table = dataclasses.replace(table, spread=around(table, u, off))
  spread = predictor.curves(table, u)[1]
  weight, of_caution = data.seeds() / data.seeds().sum(), {}
  for caution in CAUTIONS:
    careful = dataclasses.replace(table, caution=caution)
    at = [predictor.chosen(careful, *one) for one in zip(made, spread)]
    of_caution[caution] = 100 * float(weight @ gain[np.arange(len(gain)), at])
  caution = max(of_caution, key=lambda c: of_caution[c])
  return (dataclasses.replace(table, caution=caution), shape,
          chosen | {'gain by caution': of_caution})


def around(table: Table, u: np.ndarray, off: np.ndarray) -> np.ndarray:
  """Mean [M] of off [N] over the u [N, D] that no other point of the table is nearer to."""
  nearest = predictor.apart(u, table.points).argmin(axis=1)
  nearest[:len(table.points)] = np.arange(len(table.points))  # they are these
  return np.bincount(nearest, off) / np.bincount(nearest)


def calibrated(table: Table, data: Curves, train: Curves, shape: tuple) -> Table:
  """The table with margins: split conformal, in spreads (Lei et al. 2018, section 5.2).

  The threshold of 'align' is that of the calibration settings alone: harm is controlled exactly.
  For that of 'do not' there are too few with a gain among these; training settings of several seeds
  as they are predicted without their own gains are beside them (width, ridge and relevance have
  seen those: the risk is controlled all but exactly).

  Args:
    shape: width, ridge and relevance of the table, as `shaped` has chosen them.
  """
  curve, spread = predictor.curves(table, predictor.scaled(table, data.x))
  gain, each = data.gain(), np.arange(len(data.x))
  of_lam = (curve.max(axis=1) - curve[each, gain.argmax(axis=1)]) / spread
  told = told_by(table, curve, spread)[1]
  of_gain = conformal(np.abs(gain[each, told] - curve[each, told]) / spread)
  several = train.seeds() > 1
  parts = [_judged(table, data, curve, spread)]
  if several.any():
    parts.append(_judged(table, train.of(several), unseen(train, *shape)[several],
                         spread_of_others(table, train)[several]))
  sure, up, lost, _ = parts[0]
  every, missed = (np.concatenate([part[i] for part in parts]) for i in (0, 3))
  return dataclasses.replace(
      table, margin_lam=conformal(of_lam), margin_gain=of_gain,
      align_at=threshold(sure[up] / of_gain, lost[up], HARMED * len(sure)),
      leave_at=-threshold(-every / of_gain, missed, MISSED * missed.sum()))


def told_by(table: Table, curve: np.ndarray, spread: np.ndarray) -> tuple[list[int], list[int]]:
  """Indices of the strength that is chosen and of the one that the interval is of, of curves."""
  at = [predictor.chosen(table, *one) for one in zip(curve, spread)]
  return at, [predictor.told_of(*one) for one in zip(curve, at)]


def _judged(table: Table, data: Curves, curve: np.ndarray, spread: np.ndarray):
  """Of every encoder: the gain expected in spreads, whether it is to be aligned, whether that loses
  more than HARM, whether it truly has more than WORTH to gain."""
  curve = np.hstack([np.zeros((len(curve), 1)), curve[:, 1:]])
  at, told = map(np.array, told_by(table, curve, spread))
  each = np.arange(len(curve))
  return (curve[each, told] / spread, at > 0,
          (data.gain()[each, at] < -predictor.HARM) & (at > 0),
          true_gain(data) > predictor.WORTH)


def spread_of_others(table: Table, data: Curves) -> np.ndarray:
  """How far off the curves of settings near each are, without its own; [N]."""
  squared = predictor.apart((data.x - table.center) / table.scale, table.points)
  squared[data.setting[:, None] == data.setting[:len(table.points)]] = np.inf
  near = squared - squared.min(axis=1, keepdims=True)
  weight = np.exp(-near / (2 * table.width**2 / 16))
  return weight @ table.spread / weight.sum(axis=1)


def true_gain(data: Curves) -> np.ndarray:
  """Gain [N] of every encoder, each seed at the strength that its other seeds choose."""
  every = data.accuracy - data.accuracy[:, :1]
  return np.array([by_others(one[:, np.isfinite(one[0])]).mean() for one in every])


def by_others(gain: np.ndarray) -> np.ndarray:
  """Of gain [L, S]: that of every seed [S] at the strength that is best by all others."""
  at = (gain.sum(axis=1, keepdims=True) - gain).argmax(axis=0)
  return gain[at, np.arange(gain.shape[1])]


def threshold(score: np.ndarray, bad: np.ndarray, most: float) -> float:
  """The lowest threshold that at most `most` - 1 of the bad reach: conformal risk control
  (Angelopoulos et al. 2022, arXiv 2208.02814), whose expected loss is then at most `most` / N."""
  allowed = max(0, int(most - 1))
  reached = np.sort(score[bad])[::-1]
  if len(reached) <= allowed:
    return float(score.min(initial=NEVER))
  return float(np.nextafter(reached[allowed], np.inf))


def conformal(score: np.ndarray, level: float = LEVEL) -> float:
  """The value that a further score is not above with probability `level`: the ceil((n + 1)
  level)-th of n, the highest where there are too few."""
  at = min(len(score), int(np.ceil((len(score) + 1) * level)))
  return float(np.sort(score)[at - 1])
