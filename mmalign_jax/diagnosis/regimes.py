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
LEAST_DRAWS = 59         # permutations: three objectives share 0.05
QUARTER = 0.25           # of what the label explains of the best direction: less is a leak
OBJECTIVES = ('align', 'predict_12', 'predict_21')
WAYS = {'1->2': 'predict_12', '2->1': 'predict_21'}
_OF_HALVES = 99          # permutations within each half


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
class Diagnosis:
  """The answer of `diagnose`.

  n: samples given; used: of which everything here is. views: spectra of 1 and 2. objectives: by
  OBJECTIVES. shared: q. p_value: that nothing is shared, of all objectives together. predicted: share of the variance of views 1 and 2 that a linear model of the
  other explains, less chance. regimes: 'align', 'predict', 'both' or 'neither' by WAYS. agreement:
  in which share of random halves the regime is the same, None without halves. labelled: whether a
  label told signal from nuisance. permutations: P. groups: G or None.
  """
  n: int
  used: int
  views: tuple[Spectrum, Spectrum]
  objectives: dict[str, Objective]
  shared: int
  p_value: float
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
  chance* where p <= 0.05 in a stepwise permutation test of the pairing, and so is the smallest
  p-value of the three objectives together: views that share nothing are 'neither' in 95 %. It is *signal* if it is
  above chance and, where there is a label, tells of it: its scores (of both sides for alignment, of
  the source for prediction) are explained by it, more than the best of the directions is under 95 %
  of the permutations of the label, and a quarter at least as much as the best one of any objective.
  q is the most signal directions that one of the three objectives has. An objective *works* if q > 0 and at least q/2 of its first q directions are
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
    permutations: of the pairing, at least 59.
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
  if len(orders) < LEAST_DRAWS:
    raise ValueError(f'groups can be arranged in {len(orders) + 1} ways only; {LEAST_DRAWS + 1} are '
                     'needed: five groups of like size')
  most = components or max(1, min(spectra.MOST, len(kept) // spectra.PER))
  views, known = zip(*(spectra.decomposed(z[kept], name, most)
                       for z, name in ((a, 'x1'), (b, 'x2'))))
  y_kept = None if label is None else label[kept]
  objectives, q, predicted, p = _judged(*views, y_kept, orders)
  regimes = _regimes(objectives)
  inner = None if codes is None else np.unique(codes[kept], return_inverse=True)[1]
  return Diagnosis(
      n, len(kept), known, objectives, q, p, predicted, regimes,
      _agreement(views, y_kept, inner, halves, regimes, np.random.default_rng([seed, 1])),
      y is not None, len(orders), None if codes is None else int(codes.max()) + 1)


# -- one verdict -----------------------------------------------------------------------------------


def _judged(one: View, two: View, y: np.ndarray | None, orders: np.ndarray):
  """({objective: what it sees}, q, predicted shares, p of anything shared)."""
  c = one.white.T @ two.white
  null = np.stack([one.white.T @ two.white[order] for order in orders])
  couplings = {'align': (c, null), 'predict_12': (c * two.weight, null * two.weight),
               'predict_21': (c.T * one.weight, null.transpose(0, 2, 1) * one.weight)}
  seen = {name: spans.found(*pair) for name, pair in couplings.items()}
  p = spans.joint_p(seen.values())
  above = {name: d.above & (p <= ALPHA) for name, d in seen.items()}
  signal = above if y is None else _telling(seen, above, one, two, y, orders)
  q = max(int(carries.sum()) for carries in signal.values())
  predicted = tuple(_beyond_chance(*couplings[name]) for name in ('predict_21', 'predict_12'))
  return ({name: _objective(name, d, above[name], signal[name], q, one, two, y is not None)
           for name, d in seen.items()}, q, predicted, p)


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
    if len(orders) < LEAST_DRAWS or len(kept) < LEAST // 2:
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
  if permutations < LEAST_DRAWS:
    raise ValueError(f'permutations={permutations} must be at least {LEAST_DRAWS}')
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
