"""The best strength of alignment from features alone, learnt from settings of the generators.

For each encoder the whole curve of gain over strength is predicted, and its highest point is taken.
Intervals are conformal (Lei et al. 2018, "Distribution-free predictive inference for regression"):
as wide as settings that the model had not seen asked for. benchmarks/predictor.py fits the table.
"""

from collections.abc import Mapping
import dataclasses
import functools
from importlib import resources
import json
from typing import Any, NamedTuple

import numpy as np

HARM = 0.005   # loss of accuracy that matters
WORTH = 0.01   # gain of accuracy that matters
WIDER = 2.0    # margins of intervals outside what the table was fitted on
EDGE = 0.1     # of a scale, by which an input may leave its range
DEPTH = 2      # layers of the encoders, where `encoder_depth` is not given


class Prediction(NamedTuple):
  """What to expect of aligning for one encoder.

  lam: the best strength, as a weight of InfoNCE (lam_mode='weight'). interval: the lowest and the
  highest strength that may be best, at 95 %. gain: of accuracy (0..1) at lam over lam = 0.
  gain_interval: 95 % of the gain at gain_lam, which is lam, and where that is 0 the best strength
  above. inside: whether the features lie where the table was fitted; if not, they were moved to its
  edge, and the intervals, twice as wide, promise nothing.
  """
  lam: float
  interval: tuple[float, float]
  gain: float
  gain_interval: tuple[float, float]
  inside: bool
  gain_lam: float


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
  """A kernel ridge regression and its margins.

  names [D]: inputs (see `inputs`); center, scale [D] of them; low, high [D]: their range; near: how
  far, in units of scale, an input may be from the nearest of points [M, D]. lam [L], 0 first. dual
  [M, L - 1] and intercept [L - 1]: of the gains. spread [M]: how far off the curves of settings
  near each point are. width: of the kernel. caution: spreads that a gain must exceed. margin_lam,
  margin_gain: of the intervals, in spreads. align_at, leave_at: see `advice`.
  """
  names: tuple[str, ...]
  center: np.ndarray
  scale: np.ndarray
  low: np.ndarray
  high: np.ndarray
  near: float
  lam: np.ndarray
  points: np.ndarray
  dual: np.ndarray
  intercept: np.ndarray
  spread: np.ndarray
  width: float
  caution: float
  margin_lam: float
  margin_gain: float
  align_at: float
  leave_at: float


def predict(features: Mapping[str, float], encoder: int) -> Prediction:
  """The best strength for one encoder, its gain, and how sure that is.

  Args:
    features: of `features`; beside them `encoder_depth`, the layers of the encoders, 2 if absent.
    encoder: 1 or 2, the view that the encoder sees.

  Raises:
    ValueError: another encoder, or a feature that is missing or not finite.

  Examples:
    >>> z = np.random.default_rng(0).normal(size=(200, 4))
    >>> from mmalign_jax.advice import features
    >>> found = predict(features([z, z[:, ::-1]], (z[:, 0] > 0).astype(int)), 1)
    >>> found.interval[0] <= found.lam <= found.interval[1]
    True
  """
  return of_table(shipped(), features, encoder)


def advice(found: Prediction, table: 'Table | None' = None) -> str:
  """'align', 'do not' or 'cannot tell'.

  By the gain expected, in units of half its interval: 'align' from where on at most 2 % of the
  settings of calibration were told so and lost more than HARM; 'do not' up to where at most a tenth
  of those with a gain above WORTH were told so, and wherever lam is 0 and it is not above that.
  """
  table = table or shipped()
  low, high = found.gain_interval
  sure = (low + high) / max(high - low, 1e-12)
  if found.lam > 0 and sure >= table.align_at:
    return 'align'
  return 'do not' if sure <= table.leave_at else 'cannot tell'


def of_table(table: Table, features: Mapping[str, float], encoder: int) -> Prediction:
  """`predict` by a given table."""
  x = inputs(features, encoder, table.names)
  u = scaled(table, x)
  nearest = np.sqrt(apart(u[None], table.points).min())
  within = (x >= table.low - EDGE * table.scale) & (x <= table.high + EDGE * table.scale)
  inside = bool(within.all() and nearest <= table.near)
  curve, spread = curves(table, u[None])
  return decided(table, curve[0], float(spread[0]), inside)


def scaled(table: Table, x: np.ndarray) -> np.ndarray:
  """Inputs [..., D] moved into their range, in units of scale."""
  return (np.clip(x, table.low, table.high) - table.center) / table.scale


def apart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
  """Mean squared differences [N, M] of the rows of u [N, D] and v [M, D]."""
  squared = np.square(u).sum(axis=1)[:, None] + np.square(v).sum(axis=1) - 2 * u @ v.T
  return np.maximum(squared, 0) / u.shape[1]


def curves(table: Table, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Gains [N, L] at each strength, 0 at the first, and how far off they may be [N]; u [N, D] in
  units of scale."""
  squared = apart(u, table.points)
  kernel = np.exp(-squared / (2 * table.width**2))
  gain = kernel @ table.dual + table.intercept
  weight = np.exp(-(squared - squared.min(axis=1, keepdims=True)) / (2 * table.width**2 / 16))
  return (np.hstack([np.zeros((len(u), 1)), gain]),
          weight @ table.spread / weight.sum(axis=1))


def decided(table: Table, curve: np.ndarray, spread: float, inside: bool) -> Prediction:
  """Strength and intervals of a predicted curve [L]."""
  wider = 1.0 if inside else WIDER
  at = chosen(table, curve, spread)
  may = np.flatnonzero(curve >= curve.max() - wider * table.margin_lam * spread)
  low, high = table.lam[min(at, may[0])], table.lam[max(at, may[-1])]
  told = told_of(curve, at)
  margin = wider * table.margin_gain * spread
  return Prediction(float(table.lam[at]), (float(low), float(high)), float(curve[at]),
                    (float(curve[told] - margin), float(curve[told] + margin)),
                    inside, float(table.lam[told]))


def chosen(table: Table, curve: np.ndarray, spread: float) -> int:
  """Index of the strength with the highest gain; 0 where that is within `caution` of nothing."""
  best = int(curve.argmax())
  return best if curve[best] > table.caution * spread else 0


def told_of(curve: np.ndarray, at: int) -> int:
  """Index of the strength that the interval of the gain is of: `at`; the best above 0, if 0."""
  return at or 1 + int(curve[1:].argmax())


# -- what the model sees of the features ----------------------------------------------------------


def inputs(features: Mapping[str, float], encoder: int, names: tuple[str, ...]) -> np.ndarray:
  """Inputs [D] of the model: of the own view and the other, in units that do not depend on the
  number of classes.

  Raises:
    ValueError: encoder, or a feature that is missing or not finite.
  """
  if encoder not in (1, 2):
    raise ValueError(f'encoder={encoder!r:.80} must be 1 or 2')
  own, other = encoder, 3 - encoder

  def of(name: str) -> float:
    if name not in features:
      raise ValueError(f'feature {name!r} is missing; advice.features makes it')
    if not np.isfinite(features[name]):
      raise ValueError(f'feature {name!r} is {features[name]}; a finite number is needed')
    return float(features[name])

  made = {
      'log_labelled': of('log_labelled'), 'log_per_class': of('log_per_class'),
      'unlabelled': of('log_pairs') - of('log_labelled'), 'both': of(
          'information_both') / of('entropy'),
      'similarity': of('similarity'), 'canonical_top': of('canonical_top'),
      'canonical_mean': of('canonical_mean'),
      'depth': float(features.get('encoder_depth', DEPTH))}
  for which, view in (('own', own), ('other', other)):
    made |= {f'{name}_{which}': of(f'{name}_{view}') / of('entropy')
             for name in ('information', 'kernel', 'shared')}
    made |= {f'{name}_{which}': of(f'{name}_{view}')
             for name in ('slope', 'gain', 'canonical_share')}
    made |= {
        f'accuracy_{which}': (of(f'accuracy_{view}') - of('majority')) / (1 - of('majority')),
        f'rank_{which}': of(f'rank_{view}') / of(f'width_{view}')}
  return np.array([made[name] for name in names])


INPUTS = (
    'log_labelled', 'log_per_class', 'unlabelled', 'both', 'similarity', 'canonical_top',
    'canonical_mean', 'depth', *(f'{name}_{which}' for which in ('own', 'other') for name in (
        'information', 'kernel', 'shared', 'slope', 'gain', 'canonical_share', 'accuracy', 'rank')))


# -- the table ------------------------------------------------------------------------------------


def load(text: str) -> Table:
  """A table from its JSON."""
  held: dict[str, Any] = json.loads(text)
  arrays = {name: np.array(value, np.float64) for name, value in held.items()
            if isinstance(value, list) and name != 'names'}
  return Table(**{**held, 'names': tuple(held['names']), **arrays})


def dump(table: Table) -> str:
  """JSON of a table, numbers with five digits."""
  def plain(value):
    if isinstance(value, np.ndarray):
      return [plain(v) for v in value]
    if isinstance(value, tuple):
      return list(value)
    return float(f'{value:.5g}')
  return json.dumps({name: plain(value) for name, value in vars(table).items()}) + '\n'


@functools.lru_cache(maxsize=1)
def shipped() -> Table:
  """The table of the package."""
  return load((resources.files('mmalign_jax.advice') / 'table.json').read_text())
