"""The regimes of two views, align, predict, both or neither, from linear models of them.

Kamai et al. (arXiv 2606.11190, "When to align, when to predict"; code IlayMalinyak/mm_align_vs_pred)
analyse both objectives where they are linear. Alignment sees the singular values of the whitened
cross-covariance Sxx^-1/2 Sxy Syy^-1/2, the canonical correlations; prediction of y from x those of
Syx Sxx^-1/2, whitened on the side of the source only. Each recovers the signal where the weakest
singular value of the signal is above the strongest of all else. So alignment is led astray by
whatever else correlates across the views, however small, and prediction by what has a large
variance in the target.

What is ours: 'all else' is, beside directions that do not carry the label, what chance gives in
this many samples; without a label, every shared direction above chance counts as signal, for
nothing in the pairs tells signal from a nuisance that both views share. And half of the signal
suffices, where the paper asks for all of it.
"""

import dataclasses

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.diagnosis import directions as spans
from mmalign_jax.diagnosis import spectra
from mmalign_jax.diagnosis.directions import ALPHA, Directions
from mmalign_jax.diagnosis.spectra import Spectrum, View

LEAST = 20               # samples
OBJECTIVES = ('align', 'predict_12', 'predict_21')
WAYS = {'1->2': 'predict_12', '2->1': 'predict_21'}
_OF_HALVES = 59          # permutations within each half


@dataclasses.dataclass(frozen=True, eq=False)
class Objective:
  """What one objective sees.

  strengths [K]: canonical correlations; of a prediction, roots of the shares of the target's
  variance that each direction predicts. floors, p_values [K]: chance, see `directions`. carries
  [K] bool: counts as signal. signal: how many directions are above chance and signal; recovered: of
  them, those among the first q, where q is the most signal that an objective has. separation: of
  the ceil(q/2)-th signal from what could take its place, above 1 where `works`. p_value: of the
  strongest direction. variance: of views 1 and 2, the share in the signal of this objective;
  strong: that share beside the one of as many principal components, 1 if these are the strongest.
  """
  strengths: np.ndarray
  floors: np.ndarray
  p_values: np.ndarray
  carries: np.ndarray
  signal: int
  recovered: int
  separation: float
  p_value: float
  works: bool
  variance: tuple[float, float]
  strong: tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
  """The answer of `diagnose`.

  n: samples given; used: of which everything here is. views: spectra of 1 and 2. objectives: by
  OBJECTIVES. shared: q. predicted: share of the variance of views 1 and 2 that a linear model of the
  other explains, less chance. regimes: 'align', 'predict', 'both' or 'neither' by WAYS. agreement:
  in which share of random halves the regime is the same, None without halves. labelled: whether a
  label told signal from nuisance. permutations: P. groups: G or None.
  """
  n: int
  used: int
  views: tuple[Spectrum, Spectrum]
  objectives: dict[str, Objective]
  shared: int
  predicted: tuple[float, float]
  regimes: dict[str, str]
  agreement: dict[str, float] | None
  labelled: bool
  permutations: int
  groups: int | None


def diagnose(x1: np.ndarray, x2: np.ndarray, *, y: np.ndarray | None = None,
             groups: np.ndarray | None = None, permutations: int = 200, halves: int = 20,
             components: int | None = None, seed: int = 0) -> Diagnosis:
  """Whether aligning two views, predicting one from the other, both or neither finds their signal.

  The rule. Each view is centred and cut to its first K principal components. An objective's
  directions are the singular directions of its matrix (see the module). A direction is *above
  chance* where p <= 0.05 in a stepwise permutation test of the pairing. It is *signal* if it is
  above chance and, where there is a label, tells of it: its scores (of both sides for alignment, of
  the source for prediction) explain more of the label than the best of the directions does under
  95 % of the permutations of the label, and a tenth at least of what the best one explains. q is
  the most signal directions that one of the three objectives has. An objective *works* if q > 0 and at least q/2 of its first q directions are
  signal. With q = 1 that is the condition of arXiv 2606.11190, with chance as a further nuisance.
  The regime of 1 -> 2 says which of alignment and prediction of view 2 from view 1 work.

  Args:
    x1: [N, D1] features of one side, row i the same sample in both.
    x2: [N, D2] of the other.
    y: [N] label: whole numbers, text or booleans are classes, floats (also [N, L]) are quantities;
      None for none.
    groups: [N] of samples that belong together, which are permuted and halved as a whole; None for
      none. Where they are of unequal size, all is of the samples that are left when they are cut
      (`grouped`).
    permutations: of the pairing, at least 19.
    halves: random halves of the samples in which the verdict is taken again; 0 for none. Half of
      the samples see less, so that agreement is rather too low.
    components: K at most; by default 50, and a tenth of the samples.
    seed: of permutations and halves.

  Raises:
    ValueError: views that are no matrices of finite numbers, constant, of other numbers of samples
      or fewer than 20; a label or groups that do not fit; groups with too few arrangements.

  Examples:
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=(300, 2))
    >>> x1, x2 = (np.hstack([z, rng.normal(size=(300, 4))]) for _ in range(2))
    >>> found = diagnose(x1, x2, halves=0)
    >>> found.regimes, found.shared
    ({'1->2': 'both', '2->1': 'both'}, 2)
  """
  a, b = spectra.checked(x1, 'x1'), spectra.checked(x2, 'x2')
  n = len(a)
  _check(n, len(b), permutations, halves, components)
  codes = None if groups is None else grouped.checked(groups, n)
  label = None if y is None else _label(y, n)
  rng = np.random.default_rng([seed, 0])
  kept, orders = _orders(codes, n, permutations, rng)
  if spans.allowed(len(orders)) < 0:
    raise ValueError(f'groups can be arranged in {len(orders) + 1} ways only; 20 are needed for a '
                     'p-value of 0.05')
  most = components or max(1, min(spectra.MOST, len(kept) // spectra.PER))
  views, known = zip(*(spectra.decomposed(z[kept], name, most)
                       for z, name in ((a, 'x1'), (b, 'x2'))))
  y_kept = None if label is None else label[kept]
  objectives, q, predicted = _judged(*views, y_kept, orders)
  regimes = _regimes(objectives)
  inner = None if codes is None else np.unique(codes[kept], return_inverse=True)[1]
  return Diagnosis(
      n, len(kept), known, objectives, q, predicted, regimes,
      _agreement(views, y_kept, inner, halves, regimes, np.random.default_rng([seed, 1])),
      y is not None, len(orders), None if codes is None else int(codes.max()) + 1)


# -- one verdict -----------------------------------------------------------------------------------


def _judged(one: View, two: View, y: np.ndarray | None, orders: np.ndarray):
  """({objective: what it sees}, q, predicted shares)."""
  c = one.white.T @ two.white
  null = np.stack([one.white.T @ two.white[order] for order in orders])
  couplings = {'align': (c, null), 'predict_12': (c * two.weight, null * two.weight),
               'predict_21': (c.T * one.weight, null.transpose(0, 2, 1) * one.weight)}
  seen = {name: spans.found(*pair) for name, pair in couplings.items()}
  carries = {name: _carries(name, d, one, two, y, orders) for name, d in seen.items()}
  q = max(int((carries[name] & _above(d)).sum()) for name, d in seen.items())
  predicted = tuple(_beyond_chance(*couplings[name]) for name in ('predict_21', 'predict_12'))
  return ({name: _objective(name, d, carries[name], q, one, two) for name, d in seen.items()}, q,
          predicted)


def _above(d: Directions) -> np.ndarray:
  return d.p_values <= ALPHA


def _carries(name: str, d: Directions, one: View, two: View, y: np.ndarray | None,
             orders: np.ndarray) -> np.ndarray:
  """[K] bool; with a label only directions above chance are asked."""
  if y is None:
    return np.ones(len(d.strengths), bool)
  source, other = (two, one) if name == 'predict_21' else (one, two)
  s = d.count
  scores = [(source.white @ d.left[:, :s]).T]
  if name == 'align':
    r = d.strengths[:s, None]
    rest = (other.white @ d.right[:, :s]).T - r * scores[0]
    scores.append(np.where(r**2 < 1 - 1e-9, rest / np.sqrt(np.maximum(1 - r**2, 1e-9)), 0))
  made = np.zeros(len(d.strengths), bool)
  made[:s] = spans.told(np.stack(scores, axis=1), spans.label_columns(y), orders)
  return made


def _objective(name: str, d: Directions, carries: np.ndarray, q: int, one: View,
               two: View) -> Objective:
  signal, half = np.flatnonzero(carries), (max(q, 1) + 1) // 2
  nuisance = d.strengths[~carries & _above(d)]  # strongest first
  above, separation = carries & _above(d), 0.0
  if len(signal) >= half:
    at = signal[half - 1]
    rival = nuisance[max(q, 1) - half] if len(nuisance) > max(q, 1) - half else 0.0
    separation = float(d.strengths[at] / max(d.floors[at], rival, 1e-300))
  recovered = int(above[:q].sum())
  left, right = d.left[:, above], d.right[:, above]
  spans_of = {'align': (left, right), 'predict_12': (left, two.weight[:, None] * right),
              'predict_21': (one.weight[:, None] * right, left)}[name]
  share_1, share_2 = (spectra.strongest(v, span) for v, span in zip((one, two), spans_of))
  return Objective(d.strengths, d.floors, d.p_values, carries, int(above.sum()), recovered,
                   separation, float(d.p_values[0]), q > 0 and 2 * recovered >= q,
                   (share_1[0], share_2[0]), (share_1[1], share_2[1]))


def _beyond_chance(coupling: np.ndarray, null: np.ndarray) -> float:
  """(R^2 - R^2 by chance) / (1 - R^2 by chance)."""
  chance = float(np.square(null).sum(axis=(1, 2)).mean())
  return float((np.square(coupling).sum() - chance) / max(1 - chance, 1e-12))


def _regimes(objectives: dict[str, Objective]) -> dict[str, str]:
  names = {(True, True): 'both', (True, False): 'align', (False, True): 'predict',
           (False, False): 'neither'}
  return {way: names[objectives['align'].works, objectives[name].works]
          for way, name in WAYS.items()}


# -- samples ---------------------------------------------------------------------------------------


def _orders(codes: np.ndarray | None, n: int, permutations: int,
            rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Samples that take part [M], and permutations [P, M] of them."""
  if codes is None:
    return np.arange(n), rng.permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
  blocks = grouped.blocks(codes)
  return blocks.kept, blocks.permuted(permutations, rng)


def _agreement(views: tuple[View, View], y: np.ndarray | None, codes: np.ndarray | None,
               halves: int, regimes: dict[str, str],
               rng: np.random.Generator) -> dict[str, float] | None:
  """In which share of halves each regime comes out again; None where halves are too small."""
  same = dict.fromkeys(regimes, 0)
  for _ in range(halves):
    m = len(views[0].white)
    unit = np.arange(m) if codes is None else codes
    drawn = rng.permutation(int(unit.max()) + 1)[:(int(unit.max()) + 1) // 2]
    rows = np.flatnonzero(np.isin(unit, drawn))
    inner = None if codes is None else np.unique(codes[rows], return_inverse=True)[1]
    if len(drawn) < 2:
      return None
    kept, orders = _orders(inner, len(rows), _OF_HALVES, rng)
    if spans.allowed(len(orders)) < 0 or len(kept) < LEAST // 2:
      return None
    rows = rows[kept]
    again = _regimes(_judged(*(view.of(rows) for view in views),
                             None if y is None else y[rows], orders)[0])
    same = {way: count + (again[way] == regimes[way]) for way, count in same.items()}
  return {way: count / halves for way, count in same.items()} if halves else None


# -- arguments -------------------------------------------------------------------------------------


def _check(n: int, other: int, permutations: int, halves: int, components: int | None) -> None:
  if n != other:
    raise ValueError(f'x1 has N={n} samples and x2 has N={other}; row i of both must be the same '
                     'sample')
  if n < LEAST:
    raise ValueError(f'N={n} samples are too few; at least {LEAST} are needed')
  if spans.allowed(permutations) < 0:
    raise ValueError(f'permutations={permutations} must be at least 19: fewer give no p-value of '
                     f'{ALPHA}')
  if halves < 0:
    raise ValueError(f'halves={halves} must be at least 0')
  if components is not None and components < 1:
    raise ValueError(f'components={components} must be at least 1')


def _label(y: np.ndarray, n: int) -> np.ndarray:
  y = np.asarray(y)
  if len(y) != n or y.ndim > 1 and y.dtype.kind != 'f':
    raise ValueError(f'y has shape {y.shape}, and there are N={n} samples: one label each')
  if y.dtype.kind == 'f' and not np.isfinite(y).all():
    raise ValueError(f'y has {int((~np.isfinite(y)).sum())} values not finite')
  if (y == y[:1]).all():
    raise ValueError('y has one value only; it can tell nothing apart')
  return y
