"""One verdict: what each objective sees in two views, and whether that is enough."""

import dataclasses

import numpy as np

from mmalign_jax.diagnosis import directions as spans, spectra
from mmalign_jax.diagnosis.directions import ALPHA, Directions
from mmalign_jax.diagnosis.spectra import View

OBJECTIVES = ('align', 'predict_12', 'predict_21')
WAYS = {'1->2': 'predict_12', '2->1': 'predict_21'}
QUARTER = 0.25   # of what the label explains of the best direction: less is a leak


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """What one objective sees.

  strengths [K]: canonical correlations; of a prediction, roots of the shares of the target's
  variance that each direction predicts. floors, p_values [K]: chance, see `directions`. above [K]
  bool: above chance; signal [K] bool: and signal. recovered: of the signal, what is among the first
  q, where q is the most signal that an objective has. separation: the ceil(q/2)-th signal over the
  strongest that could take its place, chance or nuisance, above 1 where it `works`; 0 without so
  much signal. variance: of views 1 and 2, the share in the signal of this objective; strong: that
  share beside the one of as many principal components, 1 if these are the strongest.
  """
  strengths: np.ndarray
  floors: np.ndarray
  p_values: np.ndarray
  above: np.ndarray
  signal: np.ndarray
  recovered: int
  separation: float
  works: bool
  variance: tuple[float, float]
  strong: tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Verdict:
  """objectives: what each sees. q, predicted, p_value: as of a `Diagnosis`."""
  objectives: dict[str, Objective]
  q: int
  predicted: tuple[float, float]
  p_value: float

  @property
  def regimes(self) -> dict[str, str]:
    """By WAYS."""
    names = {(True, True): 'both', (True, False): 'align', (False, True): 'predict',
             (False, False): 'neither'}
    return {way: names[self.objectives['align'].works, self.objectives[name].works]
            for way, name in WAYS.items()}


def judged(one: View, two: View, y: np.ndarray | None, orders: np.ndarray) -> Verdict:
  """The verdict on two views of M samples, a label [M] of them, and permutations [P, M]."""
  c = one.white.T @ two.white
  null = np.stack([one.white.T @ two.white[order] for order in orders])
  couplings = {'align': (c, null), 'predict_12': (c * two.weight, null * two.weight),
               'predict_21': (c.T * one.weight, null.transpose(0, 2, 1) * one.weight)}
  seen = {name: spans.found(*pair) for name, pair in couplings.items()}
  p = spans.joint_p(seen.values())
  above = {name: d.above & (p <= ALPHA) for name, d in seen.items()}
  signal = above if y is None else _telling(seen, above, one, two, y, orders)
  q = max(int(carries.sum()) for carries in signal.values())
  objectives = {name: _objective(name, d, above[name], signal[name], q, one, two, y is not None)
                for name, d in seen.items()}
  return Verdict(objectives, q, (_beyond_chance(*couplings['predict_21']),
                                 _beyond_chance(*couplings['predict_12'])), p)


def _telling(seen: dict[str, Directions], above: dict[str, np.ndarray], one: View, two: View,
             y: np.ndarray, orders: np.ndarray) -> dict[str, np.ndarray]:
  """[K] bool of every objective: directions above chance that tell of the label."""
  basis, sure, share = spans.label_basis(y), {}, {}
  for name, d in seen.items():
    source, other = (two, one) if name == 'predict_21' else (one, two)
    scores = [source.white @ d.left, *([other.white @ d.right] if name == 'align' else [])]
    sure[name], share[name] = spans.told(np.stack(scores).transpose(2, 0, 1)[above[name]], basis,
                                         orders)
  best = max((float(s.max()) for s in share.values() if len(s)), default=0.0)
  made = {name: np.zeros(len(d.strengths), bool) for name, d in seen.items()}
  for name in made:
    made[name][above[name]] = sure[name] & (share[name] >= QUARTER * best)
  return made


def _objective(name: str, d: Directions, above: np.ndarray, signal: np.ndarray, q: int, one: View,
               two: View, labelled: bool) -> Objective:
  most, half = max(q, 1), (max(q, 1) + 1) // 2
  rivals = d.strengths[above & ~signal]  # strongest first
  rival = rivals[most - half] if len(rivals) > most - half else 0.0
  hits = np.flatnonzero(signal) if labelled else np.arange(len(signal))  # how near to chance
  separation = (float(d.strengths[hits[half - 1]] / max(d.floors[hits[half - 1]], rival, 1e-300))
                if len(hits) >= half else 0.0)
  recovered = int(signal[:q].sum())
  left, right = d.left[:, signal], d.right[:, signal]
  if name == 'predict_12':
    right = two.weight[:, None] * right
  elif name == 'predict_21':
    left, right = one.weight[:, None] * right, left
  shares = [spectra.strongest(v, span) for v, span in zip((one, two), (left, right))]
  return Objective(d.strengths, d.floors, d.p_values, above, signal, recovered, separation,
                   q > 0 and 2 * recovered >= q, (shares[0][0], shares[1][0]),
                   (shares[0][1], shares[1][1]))


def _beyond_chance(coupling: np.ndarray, null: np.ndarray) -> float:
  """(R^2 - R^2 by chance) / (1 - R^2 by chance)."""
  chance = float(np.square(null).sum(axis=(1, 2)).mean())
  return float((np.square(coupling).sum() - chance) / max(1 - chance, 1e-12))
