"""What the predictor is worth on settings that nothing was fitted or calibrated to.

regret: accuracy at the best strength of the grid less accuracy at the one advised, in points. `best`
is the strength with the highest mean over the seeds that are judged, which flatters the grid by
their noise; `fitted`: every seed at the strength that the other seeds choose, which any strength can
beat. `other seeds` is the regret of those choices: what one who trains the whole grid on all seeds
but one gets.
"""

import numpy as np

from predictor_fit import by_others

from mmalign_jax.advice import predictor
from mmalign_jax.advice.predictor import Prediction, Table
from mmalign_jax.reports.statistics import median

ALWAYS = {'never': 0.0, 'always 0.4': 0.4, 'always 1': 1.0}
WORTH, HARM = 1.0, 0.5      # points
NOTHING = 0.25              # points: a true gain below is none
SHARES = np.linspace(0, 3, 31)


def predictions(table: Table, rows: list[dict]) -> tuple[list[Prediction], list[int]]:
  """Of every encoder, and the index of the strength that the interval of the gain is of."""
  given = [(row['features'] | {'encoder_depth': row['depth']}, encoder)
           for row in rows for encoder in (1, 2)]
  found = [predictor.of_table(table, *one) for one in given]
  x = np.array([predictor.inputs(*one, table.names) for one in given])
  curve, _ = predictor.curves(table, predictor.scaled(table, x))
  return found, [predictor.told_of(one, nearest(table.lam, p.lam)) for one, p in zip(curve, found)]


def share(row: dict, encoder: int) -> float:
  """Redundancy as a share of what the view tells of the label."""
  found = row['features']
  return found['redundancy'] / max(found[f'information_{encoder}'], 1e-9)


def nearest(lam: np.ndarray, value: float) -> int:
  return int(np.abs(lam - value).argmin())


def slope(rows: list[dict], gain: np.ndarray, weight: np.ndarray, lam: np.ndarray) -> float:
  """c of the rule lam = c * share with the highest mean gain [N, L] over training settings."""
  shares = np.array([share(row, encoder) for row in rows for encoder in (1, 2)])
  mean = [float(weight @ gain[np.arange(len(gain)), [nearest(lam, c * s) for s in shares]])
          for c in SHARES]
  return float(SHARES[int(np.argmax(mean))])


def regrets(gain: list[np.ndarray], policies: dict[str, np.ndarray]) -> dict[str, dict]:
  """{policy: what its regret is}: gain [L, S] of every encoder in points, the index of the strength
  that a policy advises [N]."""
  mean = np.array([one.mean(axis=1) for one in gain])
  best, each = mean.max(axis=1), np.arange(len(gain))
  fitted = np.array([by_others(one).mean() for one in gain])
  found = {name: {'best': best - mean[each, at], 'fitted': fitted - mean[each, at]}
           for name, at in policies.items()}
  found['other seeds'] = {'best': best - fitted, 'fitted': np.zeros(len(gain))}
  return {name: {of: summary(values) for of, values in both.items()}
          for name, both in found.items()}


def summary(values: np.ndarray) -> dict:
  of = median(values)
  return {'median': of.value, 'interval': of.interval, 'p90': float(np.percentile(values, 90)),
          'mean': float(values.mean()), 'worst': float(values.max())}


def covered(gain: list[np.ndarray], lam: np.ndarray, found: list[Prediction],
            told: list[int]) -> dict[str, float]:
  """Shares of encoders: best strength within the interval, gain at the strength it is of (`told`,
  an index) within its own, and how wide both are."""
  mean = np.array([one.mean(axis=1) for one in gain])
  best = lam[mean.argmax(axis=1)]
  inside = [low <= at <= high for at, (low, high) in zip(best, (p.interval for p in found))]
  near = [100 * p.gain_interval[0] <= one[at] <= 100 * p.gain_interval[1]
          for one, at, p in zip(mean, told, found)]
  return {'lam': float(np.mean(inside)), 'gain': float(np.mean(near)),
          'lam_width': float(np.median([p.interval[1] - p.interval[0] for p in found])),
          'gain_width': float(np.median([100 * np.ptp(p.gain_interval) for p in found])),
          'inside': float(np.mean([p.inside for p in found]))}


def decisions(gain: list[np.ndarray], table: Table, found: list[Prediction]) -> dict[str, dict]:
  """Shares of 'align', 'do not' and 'cannot tell' where there is a gain, where there is none, and
  over all; harm: 'align' where aligning at that strength loses. The true gain of an encoder is that
  of every seed at the strength that the other seeds choose."""
  true = np.array([by_others(one).mean() for one in gain])
  at = np.array([one.mean(axis=1)[nearest(table.lam, p.lam)] for one, p in zip(gain, found)])
  said = np.array([predictor.advice(p, table) for p in found])
  of = lambda rows: {'encoders': int(rows.sum()), **{
      word: float((said[rows] == word).mean()) if rows.any() else float('nan')
      for word in ('align', 'do not', 'cannot tell')}}
  every, aligned = np.ones(len(true), bool), said == 'align'
  of_align = float((at[aligned] < -HARM).mean()) if aligned.any() else 0.0
  return {'gain above 1': of(true > WORTH), 'gain below 0.25': of(true < NOTHING),
          'all': of(every), 'harm': {'share': float(((said == 'align') & (at < -HARM)).mean()),
                                     'of align': of_align}}
