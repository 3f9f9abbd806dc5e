"""The regimes of two views, align, predict, both or neither, from linear models of them.

Kamai et al. ("When to align, when to predict", arXiv 2606.11190; code IlayMalinyak/mm_align_vs_pred
on GitHub) analyse both objectives where they are linear. Alignment sees the singular values of the
whitened cross-covariance Sxx^-1/2 Sxy Syy^-1/2, the canonical correlations; prediction of y from x
those of Syx Sxx^-1/2, whitened on the side of the source only. Each recovers the signal where the
weakest singular value of the signal is above the strongest of all else. So alignment is led astray
by whatever else correlates across the views, however small, and prediction by what has a large
variance in the target.

What is ours: 'all else' is, beside directions that do not carry the label, what chance gives in
this many samples; without a label, every shared direction above chance counts as signal, for
nothing in the pairs tells signal from a nuisance that both views share. And half of the signal
suffices, where the paper asks for all of it.
"""

import dataclasses

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.diagnosis import spectra
from mmalign_jax.diagnosis.spectra import Spectrum, View
from mmalign_jax.diagnosis.verdict import Objective, judged

LEAST = 20               # samples
LEAST_DRAWS = 59         # permutations: three objectives share 0.05
_OF_HALVES = 99          # permutations within each half


@dataclasses.dataclass(frozen=True, eq=False)
class Diagnosis:
  """The answer of `diagnose`.

  n: samples given; used: of which everything here is. views: spectra of 1 and 2. objectives: by
  'align', 'predict_12', 'predict_21'. shared: q. p_value: that nothing is shared, of all objectives
  together. predicted: share of the variance of views 1 and 2 that a linear model of the other
  explains, less chance. regimes: 'align', 'predict', 'both' or 'neither' of '1->2' and '2->1'.
  agreement: in which share of random halves the regime is the same, None without halves. labelled:
  whether a label told signal from nuisance. permutations: P. groups: G or None.
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
  p-value of the three objectives together: views that share nothing are 'neither' in 95 %. It is
  *signal* if it is above chance and, where there is a label, tells of it: of its scores (of both
  sides for alignment, of the source for prediction) the label explains more than it does of the
  best direction under 95 % of the permutations of the label, and at least a quarter of what it
  explains of the best one of any objective. q is the most signal directions that one of the three
  objectives has. An objective *works* if q > 0 and at least q/2 of its first q directions are
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
    components: K at most; by default 50, and a tenth of the samples. There are no halves where both
      views together keep about half as many as there are samples, or more.
    seed: of permutations and halves.

  Raises:
    ValueError: views that are no matrices of finite numbers, constant, of other numbers of samples
      or fewer than 20; a label or groups that do not fit; groups with too few arrangements; so
      many components that those of both views always have a direction in common.

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
  kept, orders = _enough_orders(codes, n, permutations, np.random.default_rng([seed, 0]))
  most = components or max(1, min(spectra.MOST, len(kept) // spectra.PER))
  one, known_1 = spectra.decomposed(a[kept], 'x1', most)
  two, known_2 = spectra.decomposed(b[kept], 'x2', most)
  _check_room(known_1, known_2, len(kept), most)
  y_kept = None if label is None else label[kept]
  verdict = judged(one, two, y_kept, orders)
  inner = None if codes is None else np.unique(codes[kept], return_inverse=True)[1]
  return Diagnosis(
      n, len(kept), (known_1, known_2), verdict.objectives, verdict.q, verdict.p_value,
      verdict.predicted, verdict.regimes,
      _agreement((one, two), y_kept, inner, halves, verdict.regimes,
                 np.random.default_rng([seed, 1])),
      y is not None, len(orders), None if codes is None else int(codes.max()) + 1)


# -- samples ---------------------------------------------------------------------------------------


def _orders(codes: np.ndarray | None, n: int, permutations: int,
            rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """Samples that take part [M], and permutations [P, M] of them."""
  if codes is None:
    return np.arange(n), rng.permuted(np.tile(np.arange(n), (permutations, 1)), axis=1)
  blocks = grouped.blocks(codes)
  return blocks.kept, blocks.permuted(permutations, rng)


def _enough_orders(codes: np.ndarray | None, n: int, permutations: int,
                   rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
  """`_orders`; ValueError where groups have too few of them for a p-value of 0.05."""
  kept, orders = _orders(codes, n, permutations, rng)
  if len(orders) < LEAST_DRAWS:
    raise ValueError(f'groups can be arranged in {len(orders) + 1} ways only; {LEAST_DRAWS + 1} '
                     'are needed: five groups of like size')
  return kept, orders


def _agreement(views: tuple[View, View], y: np.ndarray | None, codes: np.ndarray | None,
               halves: int, regimes: dict[str, str],
               rng: np.random.Generator) -> dict[str, float] | None:
  """In which share of halves each regime comes out again; None where halves are too small, also
  for so many components."""
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
    one, two = (view.of(rows) for view in views)
    if _crowded(one.white.shape[1], two.white.shape[1], len(rows)):
      return None
    again = judged(one, two, None if y is None else y[rows], orders).regimes
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


def _crowded(kept_1: int, kept_2: int, samples: int) -> bool:
  """Whether so many components of two centred views always have a direction in common, also where
  the pairing is permuted: what is shared cannot be told from chance then."""
  return kept_1 + kept_2 > samples - 1


def _check_room(one: Spectrum, two: Spectrum, samples: int, most: int) -> None:
  if _crowded(one.kept, two.kept, samples):
    known = max((samples - 1) // 2, samples - 1 - min(one.rank, two.rank))
    raise ValueError(f'components={most}: {one.kept} of x1 and {two.kept} of x2 correlate '
                     f'perfectly in {samples} samples whatever they hold; take {known} at most')


def _label(y: np.ndarray, n: int) -> np.ndarray:
  y = np.asarray(y)
  if len(y) != n or y.ndim > 1 and y.dtype.kind != 'f':
    raise ValueError(f'y has shape {y.shape}, and there are N={n} samples: one label each')
  if y.dtype.kind == 'f' and not np.isfinite(y).all():
    raise ValueError(f'y has {int((~np.isfinite(y)).sum())} values not finite')
  if (y == y[:1]).all():
    raise ValueError('y has one value only; it can tell nothing apart')
  return y
