"""Atoms from samples, honest about chance: bias correction, null, interval and verdict for each.

The plug-in atoms of n samples are far too large: with 20 x 20 cells, two classes and n = 138
independent samples the plug-in finds 0.5 nats of synergy. Here every atom has

* a corrected value: plug-in less its bias. The bias is that of permuted labels where the data
  cannot be told from them, and that of the fitted model (`surrogate`) where they clearly can;
* a p-value against a permutation that makes just this atom vanish and keeps what it can of the rest
  (the larger p where two such exist), exact whenever what is permuted is exchangeable;
* an interval: spread of pairs drawn with replacement, widened where the correction itself moves
  with the plug-in value;
* a verdict, with Holm's correction over the four atoms.

Where samples belong together (`groups`), all of this is of whole groups: they are permuted
(`nulls`), their residuals are what a model's draws are made of (`surrogate`), and they are drawn
with replacement.
"""

from collections.abc import Mapping, Sequence
import concurrent.futures
import dataclasses
import itertools
from typing import Any

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.information import nulls as nulls_, quantise as cells_
from mmalign_jax.information.bias import bias_of
from mmalign_jax.information.convex import broja, broja_many
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.surrogate import Sample, Shares

LEVEL = 0.05
NEGLIGIBLE = 0.05   # share of H(Y): an upper limit below it says that there is next to nothing
PRESENT, CHANCE, UNDECIDED = (
    'present', 'not distinguishable from chance', 'undecided at this n')
NULLS = {  # the permutations under which an atom vanishes
    'redundancy': ('x1', 'x2'), 'unique_1': ('x1|x2',), 'unique_2': ('x2|x1',),
    'synergy': ('x1|x2', 'x2|x1')}
TIE = 2e-5          # nats: tables of a null are solved to 1e-5
_CHUNK = 25         # tables a call: one compilation for all


@dataclasses.dataclass(frozen=True)
class Atom:
  """value, corrected; raw, plug-in; null_mean and null_q95 of the plug-in by chance, p_value;
  interval (low, high) of 95 %; verdict. Nats; None where it was not asked for."""
  value: float
  raw: float
  null_mean: float | None = None
  null_q95: float | None = None
  p_value: float | None = None
  interval: tuple[float, float] | None = None
  verdict: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
  """The atoms by name and the corrected informations, in nats; n samples in cells (n1, n2, C).

  raw_mi: plug-in I(X1;Y), I(X2;Y), I(X1,X2;Y); entropy: H(Y). gap: certificate of the plug-in
  atoms. shares: the model that the bias is of, None where labels were permuted instead. groups: how
  many belong together, None where samples are independent; then permuted, the samples that took
  part in the permutations (`grouped` says why not all), and arrangements, how many there are of the
  kind with the fewest: no p-value is below one over it.
  """
  atoms: Mapping[str, Atom]
  mi_1: float
  mi_2: float
  mi_joint: float
  raw_mi: tuple[float, float, float]
  entropy: float
  n: int
  cells: tuple[int, int, int]
  gap: float
  shares: Shares | None
  groups: int | None = None
  permuted: int | None = None
  arrangements: int | None = None
  method: str = 'broja'
  units: str = 'nats'


def estimate(x1: np.ndarray, x2: np.ndarray, y: np.ndarray, *, null: int = 200,
             bootstrap: int = 200, seed: int = 0, workers: int = 1,
             groups: np.ndarray | None = None) -> Estimate:
  """BROJA atoms of samples that are already cells.

  Args:
    x1, x2, y: [N] whole numbers, codes of cells and of classes (`quantise` makes them); numbers
      that do not occur are left out.
    null: permutations of each kind, 0 for none; at least 79 for any atom to be called present.
    bootstrap: resamples, 0 for no intervals, else at least 20.
    seed: in 0..2**32-1.
    workers: threads that solve tables.
    groups: [N] codes of what belongs together, at least two; None where samples are independent.

  Raises:
    ValueError: lengths or numbers that do not fit, one class or one group only, or too few samples
      for so many cells (says how many are needed).

  Examples:
    >>> bit = np.arange(400) % 2
    >>> found = estimate(bit, bit, bit, null=20, bootstrap=20)  # all of y is in both
    >>> round(found.atoms['redundancy'].value, 2)
    0.69
  """
  sample = _checked(x1, x2, y, groups)
  for name, number, least in (('null', null, 1), ('bootstrap', bootstrap, 20)):
    if number and number < least or number < 0:
      raise ValueError(f'{name}={number} must be 0 or at least {least}')
  rng = lambda name: np.random.default_rng([seed, *name.encode()])
  p = sample.table()
  raw = broja(p)
  many = lambda made: solved(made, workers)
  bias, widening, shares = bias_of(sample, many, rng, bool(bootstrap))
  plug_in = np.asarray(raw.atoms())
  value = plug_in - bias
  intervals: list[tuple[float, float] | None] = [None] * 4
  if bootstrap:
    spread = many(nulls_.resampled(sample, bootstrap, rng('bootstrap')))
    tails = np.quantile(spread - spread.mean(axis=0), (0.975, 0.025), axis=0)
    wide = widening(spread.std(axis=0)) * _few(sample)
    intervals = [(float(low), float(high))
                 for low, high in zip(*(value - wide * tail for tail in tails))]
  nulls = _nulls(sample, many, null, rng) if null else {}
  found = {name: _against(nulls, name, k) for k, name in enumerate(ATOMS)}
  entropy = _entropy(p.sum(axis=(0, 1)))
  verdicts = _verdicts([f.get('p_value') for f in found.values()], intervals, entropy)
  atoms = {name: Atom(float(value[k]), float(plug_in[k]), **found[name], verdict=verdicts[k],
                      interval=intervals[k])
           for k, name in enumerate(ATOMS)}
  r, u1, u2, _ = value
  return Estimate(atoms, float(r + u1), float(r + u2), float(value.sum()),
                  (float(raw.mi_1), float(raw.mi_2), float(raw.mi_joint)), entropy,
                  len(sample.y), sample.shape, float(raw.gap), shares, **_grouping(sample))


def atoms_by_chance(x1: np.ndarray, x2: np.ndarray, y: np.ndarray, *, null: int = 200,
                    seed: int = 0, workers: int = 1, groups: np.ndarray | None = None) -> dict[
                        str, np.ndarray]:
  """Plug-in atoms [1 + P, 4] by kind of permutation (see NULLS), the first of what is permuted.

  That is all samples, or with groups of unequal size those that take part. Arguments as `estimate`.
  """
  sample = _checked(x1, x2, y, groups)
  rng = lambda name: np.random.default_rng([seed, *name.encode()])
  many = lambda made: solved(made, workers)
  return _nulls(sample, many, null, rng)


def solved(made: np.ndarray, workers: int = 1) -> np.ndarray:
  """Atoms [B, 4] of tables [B, n1, n2, C], in `workers` threads."""
  count = -(-len(made) // _CHUNK)
  padded = np.concatenate([made, np.repeat(made[-1:], count * _CHUNK - len(made), axis=0)])
  with concurrent.futures.ThreadPoolExecutor(max(1, workers)) as pool:
    return np.concatenate(list(pool.map(broja_many, np.split(padded, count))))[:len(made)]


# -- samples ---------------------------------------------------------------------------------------


def _checked(x1, x2, y, groups) -> Sample:
  codes = {}
  for name, values in (('x1', x1), ('x2', x2), ('y', y)):
    values = np.asarray(values)
    if values.ndim != 1:
      raise ValueError(f'{name} has shape {values.shape}; codes [N] are needed')
    if values.dtype.kind not in 'iub' and not (
        values.dtype.kind == 'f' and (values == np.round(values)).all()):
      raise ValueError(f'{name} has values of type {values.dtype} that are no whole numbers')
    if len(values) != len(np.asarray(y)):
      raise ValueError(f'{name} has {len(values)} samples and y has {len(np.asarray(y))}')
    codes[name] = np.unique(values, return_inverse=True)[1]
  if not len(codes['y']):
    raise ValueError('y is empty: no samples')
  n1, n2, classes = (int(code.max()) + 1 for code in codes.values())
  check_size(len(codes['y']), (n1, n2, classes))
  if groups is not None:
    groups = grouped.checked(groups, len(codes['y']))
  return Sample(codes['x1'], codes['x2'], codes['y'], (n1, n2, classes), groups)


def check_size(n: int, shape: Sequence[int]) -> None:
  """Whether n samples can fill a table with `shape` states.

  Raises:
    ValueError: one class only, or fewer samples than five a state; says the n that is needed.
  """
  if shape[2] < 2:
    raise ValueError('y has one class only: there is no information about it')
  needed = cells_.samples_needed(*shape)
  if n < needed:
    raise ValueError(f'n={n} samples are too few for {shape[0]} x {shape[1]} cells and {shape[2]} '
                     f'classes: at least {needed} are needed')


# -- intervals -------------------------------------------------------------------------------------


def _few(sample: Sample) -> float:
  """By how much an interval from resampled groups is too short: of their variance, and of t."""
  if sample.groups is None:
    return 1.0
  from scipy import stats  # here, since importing the package stays fast
  rest = int(sample.groups.max())
  return float(stats.t.ppf(0.975, rest) / stats.norm.ppf(0.975) * np.sqrt(1 + 1 / rest))


# -- chance ----------------------------------------------------------------------------------------


def _nulls(sample: Sample, many, draws: int, rng) -> dict[str, np.ndarray]:
  """Plug-in atoms [1 + P, 4] of the samples that are permuted and under each permutation, solved in
  one call: equal tables have equal atoms."""
  def of(kind):
    made, own = nulls_.permuted(sample, kind, draws, rng(kind))
    return many(np.concatenate([(sample.table() if own is None else own)[None], made]))
  return {kind: of(kind) for kind in dict.fromkeys(itertools.chain(*NULLS.values()))}


def _grouping(sample: Sample) -> dict[str, Any]:
  """What Estimate says of groups."""
  if sample.groups is None:
    return {}
  made = [nulls_.blocks_of(sample.groups, codes) for codes in (sample.i, sample.j, sample.y)]
  return {'groups': int(sample.groups.max()) + 1,
          'permuted': min(len(sample.y) if whole else len(b.kept) for b, whole in made),
          'arrangements': min(b.count for b, _ in made)}


def _against(nulls: Mapping[str, np.ndarray], name: str, k: int) -> dict[str, float]:
  """p-value, mean and 95 % quantile of the null that explains the plug-in value best."""
  rows = []
  for raw, *values in (nulls[kind][:, k] for kind in NULLS[name] if kind in nulls):
    values = np.array(values)
    as_large = np.sum(values >= raw - TIE)
    rows.append(((1 + as_large) / (1 + len(values)), values.mean(), np.quantile(values, 0.95)))
  if not rows:
    return {}
  p_value, mean, high = max(rows)
  return {'p_value': float(p_value), 'null_mean': float(mean), 'null_q95': float(high)}


def _verdicts(p_values: Sequence[float | None], intervals: Sequence, entropy: float) -> list:
  """A verdict for each atom; None without p-values."""
  known = [p for p in p_values if p is not None]
  if len(known) < len(p_values):
    return [None] * len(p_values)
  return [_verdict(p, q, interval, entropy)
          for p, q, interval in zip(known, holm(known), intervals)]


def _verdict(p: float, adjusted: float, interval, entropy: float) -> str:
  if adjusted <= LEVEL and (interval is None or interval[0] > 0):
    return PRESENT
  if p > LEVEL and interval is not None and interval[1] <= NEGLIGIBLE * entropy:
    return CHANCE
  return UNDECIDED


def holm(p_values: Sequence[float]) -> np.ndarray:
  """Adjusted p-values by which one false finding among them all has the level (Holm 1979)."""
  p = np.asarray(p_values, float)
  order = np.argsort(p)
  stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
  adjusted = np.empty_like(p)
  adjusted[order] = np.minimum(stepped, 1)
  return adjusted


def _entropy(p: np.ndarray) -> float:
  return float(-np.sum(p[p > 0] * np.log(p[p > 0])))
