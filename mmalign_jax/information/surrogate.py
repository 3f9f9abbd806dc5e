"""Surrogate data: what the plug-in atoms would be by chance, and how much they flatter the truth.

Samples are codes i [N] of X1, j [N] of X2, y [N]. For nulls (`nulls`) labels or pairings are moved.
For bias they are drawn anew from a *model* p(i, j, y), a shrunken form of the sample's own: the
three pair marginals pulled towards independence, the interaction of all three pulled towards none,
each just so far that the plug-in informations of data drawn from it average the observed ones, and
that a pair's own information is the jackknife's. A pair that is not clearly dependent is
independent in the model: on average a share above 0 would give noise some dependence.

The pairs (i, j) are drawn too: their own chance association carries that of a label with one side
over to the other, and where they are kept as they are, a side of noise beside a side that tells the
label flatters itself as much in every draw as in the sample, so that no bias is seen.
"""

from collections.abc import Callable
import dataclasses
from typing import NamedTuple, Protocol

import numpy as np

FITTING_DRAWS = 16   # data sets over which a model's plug-in informations are averaged
HALVINGS = 10        # of the interval in which a share is sought
SWEEPS = 30          # of proportional fitting
GATE = (2.0, 4.0)    # standard deviations above chance: below, nothing is there; above, surely
MOST_JOINT = 0.999   # pairs that were not seen have no structure of their own to keep


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """Codes i [N], j [N], y [N] and the numbers of states shape (n1, n2, C); groups [N], codes of
  what belongs together, None where samples are independent."""
  i: np.ndarray
  j: np.ndarray
  y: np.ndarray
  shape: tuple[int, int, int]
  groups: np.ndarray | None = None

  def table(self) -> np.ndarray:
    """Relative frequencies [n1, n2, C]."""
    return tables(self.i, self.j, self.y[None], self.shape)[0]


def tables(i: np.ndarray, j: np.ndarray, y: np.ndarray, shape) -> np.ndarray:
  """Relative frequencies [B, n1, n2, C] of B data sets; i, j, y [N] or [B, N] each."""
  flat = (i * shape[1] + j) * shape[2] + y
  size = int(np.prod(shape))
  flat = np.broadcast_to(flat, np.broadcast_shapes(flat.shape, y.shape))
  rows = np.arange(len(flat))[:, None] * size
  counts = np.bincount((rows + flat).ravel(), minlength=len(flat) * size)
  return counts.reshape(len(flat), *shape) / flat.shape[1]


def informations(p: np.ndarray) -> np.ndarray:
  """I(X1;Y), I(X2;Y), I(X1,X2;Y) [B, 3] in nats of tables [B, n1, n2, C]."""
  h = lambda q: -np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0).reshape(len(q), -1).sum(1)
  h_y = h(p.sum(axis=(1, 2)))
  of = lambda q: h_y + h(q.sum(axis=-1)) - h(q)
  return np.stack([of(p.sum(axis=2)), of(p.sum(axis=1)), of(p)], axis=1)


# -- noise -----------------------------------------------------------------------------------------


class Noise(Protocol):
  """Uniform numbers [B, N] by which codes [N], with probabilities p [N, K], are drawn anew."""

  def __call__(self, p: np.ndarray, codes: np.ndarray) -> np.ndarray: ...


def noise(sample: Sample, draws: int, rng: np.random.Generator) -> Noise:
  """Independent numbers; with groups, the sample's own residuals, each group those of another.

  The residual of a code is a number u in [0, 1) at which p gives just that code (`residuals`). In
  a group, u keeps what its samples have in common beyond p. Where groups differ in size, residuals
  are stretched evenly over the samples of the group that they go to.
  """
  n = len(sample.y)
  if sample.groups is None:
    uniform = rng.random((draws, n))
    return lambda p, codes: uniform
  fraction, donors = rng.random(n), _donors(sample.groups, draws, rng)
  return lambda p, codes: residuals(p, codes, fraction)[donors]


def residuals(p: np.ndarray, codes: np.ndarray, fraction: np.ndarray) -> np.ndarray:
  """u [N], evenly spread, at which `labels` of p [N, K] gives codes [N] as far as p explains them.

  Each is a fraction [N], in [0, 1), of the room that p leaves to the code; then they are spread, by
  their ranks, since a p that is shrunken leaves those of a sharper sample in the middle.
  """
  rows = np.arange(len(codes))
  return even(np.cumsum(p, axis=1)[rows, codes] - p[rows, codes] * fraction)


def even(u: np.ndarray) -> np.ndarray:
  """Mean ranks of u [N] as numbers in (0, 1); equal ones stay equal."""
  _, which, count = np.unique(u, return_inverse=True, return_counts=True)
  return ((np.cumsum(count) - count / 2) / len(u))[which]


def _donors(groups: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
  """For each sample [B, N] one of another group, at the like place in it; no group gives twice."""
  size = np.bincount(groups)
  order = np.argsort(groups, kind='stable')
  first = np.cumsum(size) - size
  place = np.empty(len(groups), np.int64)
  place[order] = np.arange(len(groups)) - np.repeat(first, size)
  ring = rng.permuted(np.tile(np.arange(len(size)), (draws, 1)), axis=1)
  giver = np.empty_like(ring)
  np.put_along_axis(giver, ring, np.roll(ring, 1, axis=1), axis=1)
  giver = giver[:, groups]
  return order[first[giver] + place * size[giver] // size[groups]]


# -- models ----------------------------------------------------------------------------------------


class Pull(NamedTuple):
  """A model of a pair: `share` of the logarithm of its own odds against independence, and for what
  was never seen together odds of `unseen`, both in 0..1; the table itself by default."""
  share: float = 1.0
  unseen: float = 0.0

  def times(self, factor: float) -> 'Pull':
    """Less structure: at 0 independence."""
    return Pull(self.share * factor, 1 - factor * (1 - self.unseen))


NONE = Pull(0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Shares:
  """How much of the sample's own structure a model keeps: of p(y|x1), of p(y|x2), of what is of all
  three (a share in 0..1), and of p(x1,x2). clear: how surely each side tells of the label, 0..1."""
  side_1: Pull
  side_2: Pull
  joint: float
  pair: Pull = Pull()
  clear: tuple[float, float] = (1.0, 1.0)

  def times(self, factor: float) -> 'Shares':
    """Less of what concerns the label."""
    return dataclasses.replace(self, side_1=self.side_1.times(factor),
                               side_2=self.side_2.times(factor), joint=self.joint * factor)


def population(sample: Sample, shares: Shares) -> np.ndarray:
  """p(i, j, y) [n1, n2, C] of a model.

  A table between the sample's own and one without structure, fitted proportionally (Deming and
  Stephan 1940) to the three shrunken pair marginals: with shares.joint = 0 the log-linear model
  without interaction of all three. That of i and j holds exactly, the others as far as some table
  has all three.
  """
  p = sample.table()
  m1, m2, m12 = (shrunk(p.sum(axis=axis), pull) for axis, pull in (
      (1, shares.side_1), (0, shares.side_2), (2, shares.pair)))
  joint = min(shares.joint, MOST_JOINT)
  q = joint * p + (1 - joint) * m12[..., None] * p.sum(axis=(0, 1))
  for _ in range(SWEEPS):
    q = q * _ratio(m1, q.sum(axis=1))[:, None]
    q = q * _ratio(m2, q.sum(axis=0))[None]
    q = q * _ratio(m12, q.sum(axis=2))[..., None]
  return q / q.sum()


def shrunk(m: np.ndarray, pull: Pull) -> np.ndarray:
  """A table m [n, k] pulled to one with its rows independent of its columns; the probabilities of
  both stay, by proportional fitting."""
  rows, columns = m.sum(axis=1, keepdims=True), m.sum(axis=0, keepdims=True)
  flat = rows * columns
  q = flat * np.where(m > 0, np.where(m > 0, _ratio(m, flat), 1)**pull.share, pull.unseen)
  for _ in range(SWEEPS):
    q = q * _ratio(columns, q.sum(axis=0, keepdims=True))
    q = q * _ratio(rows, q.sum(axis=1, keepdims=True))
  return q


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0)


def given(m: np.ndarray) -> np.ndarray:
  """p(last | others) of a table m [..., K]; even where the others never occur."""
  total = m.sum(axis=-1, keepdims=True)
  return np.where(total > 0, _ratio(m, total), 1 / m.shape[-1])


def drawn(sample: Sample, model: np.ndarray, *noises: Noise) -> np.ndarray:
  """Tables [B, n1, n2, C] of the model's draws: i of the sample, j given i, y given both.

  Args:
    model: p(i, j, y) [n1, n2, C].
    noises: of j and of y.
  """
  of_j, of_y = given(model.sum(axis=2)), given(model)
  j = labels(of_j, noises[0](of_j[sample.i], sample.j), sample.i)
  y = labels(of_y, noises[1](of_y[sample.i, sample.j], sample.y), sample.i, j)
  return tables(sample.i, j, y, sample.shape)


def labels(p: np.ndarray, uniform: np.ndarray, *at: np.ndarray) -> np.ndarray:
  """Codes [B, N] by p [..., K] at the codes `at`, [N] or [B, N] each; uniform [B, N] in [0, 1)."""
  found = np.zeros(uniform.shape, np.int64)
  edges = np.cumsum(p, axis=-1)
  for k in range(p.shape[-1] - 1):  # a code at a time: [B, N, K] would be large
    found += uniform > edges[..., k][at]
  return found


def fitted(sample: Sample, rng: np.random.Generator) -> Shares:
  """The shares at which each plug-in information of drawn data averages the observed one."""
  observed = informations(sample.table()[None])[0]
  noises = [noise(sample, FITTING_DRAWS, rng) for _ in range(2)]
  side_1, clear_1 = fitted_pair(sample.i, sample.y, noises[1], sample.groups)
  side_2, clear_2 = fitted_pair(sample.j, sample.y, noises[1], sample.groups)
  pair, _ = fitted_pair(sample.i, sample.j, noises[0], sample.groups)
  def joint(share):
    model = population(sample, Shares(side_1, side_2, share, pair))
    return informations(drawn(sample, model, *noises))[:, 2].mean()
  return Shares(side_1, side_2, _matched(joint, observed[2]), pair, (clear_1, clear_2))


def fitted_pair(x: np.ndarray, y: np.ndarray, of_y: Noise,
                groups: np.ndarray | None = None) -> tuple[Pull, float]:
  """The model of p(y|x), of codes x, y [N], whose draws look like the sample; how clear it is.

  Its share is that at which I(X;Y) of x and labels drawn anew averages the observed one, and its
  `unseen` that at which its own I(X;Y) is the jackknife's: where a sharp p(y|x) never gives most
  labels, a model that gives them all would take far more for luck than is.

  All is independence where the observed I(X;Y) is not clearly above that of it (GATE): with a share
  that can only be above 0, a model of noise would on average have some dependence.
  """
  shape = (int(x.max()) + 1, 1, int(y.max()) + 1)
  table = lambda y: tables(x, np.zeros_like(x), y, shape)
  own = table(y[None])
  observed, m = informations(own)[0, 0], own[0, :, 0]
  def drawn(pull):
    p = given(shrunk(m, pull))
    return informations(table(labels(p, of_y(p[x], y), x)))[:, 0]
  weight = above(observed, drawn(NONE))
  if not weight:
    return NONE, 0.0
  share = lambda unseen: _matched(lambda share: drawn(Pull(share, unseen)).mean(), observed)
  less = lambda root: -informations(
      shrunk(m, Pull(share(root**2), root**2))[None, :, None])[0, 0]
  unseen = _matched(less, -jackknife(x, y, groups), HALVINGS // 2)**2  # mostly near 0
  return Pull(share(unseen), unseen).times(weight), weight


def jackknife(x: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> float:
  """I(X;Y) of codes x, y [N] less its bias of first order: plug-in values without a sample, or
  without a group, tell how it falls with their number (Quenouille 1956)."""
  shape = (int(x.max()) + 1, int(y.max()) + 1)
  flat, size = x * shape[1] + y, shape[0] * shape[1]
  counts = np.bincount(flat, minlength=size)
  if groups is None:  # all samples of a state (x, y) are alike
    kinds = np.flatnonzero(counts)
    left, often = counts - np.eye(size, dtype=np.int64)[kinds], counts[kinds]
  else:
    count = int(groups.max()) + 1
    left = counts - np.bincount(groups * size + flat, minlength=count * size).reshape(count, size)
    often = np.ones(count)
  of = lambda c: informations((c / c.sum(axis=1, keepdims=True)).reshape(
      -1, shape[0], 1, shape[1]))[:, 0]
  number = often.sum()
  return float(number * of(counts[None])[0] - (number - 1) * np.average(of(left), weights=often))


def above(observed: float, by_chance: np.ndarray) -> float:
  """0..1: how surely a value is above those by chance [B]."""
  deviations = (observed - by_chance.mean()) / max(by_chance.std(ddof=1), 1e-12)
  return float(np.clip((deviations - GATE[0]) / (GATE[1] - GATE[0]), 0, 1))


def _matched(mean: Callable[[float], float], goal: float, halvings: int = HALVINGS) -> float:
  """The share in 0..1 at which the increasing function `mean` comes to `goal`."""
  low, high = 0.0, 1.0
  if mean(low) >= goal:
    return low
  if mean(high) <= goal:
    return high
  for _ in range(halvings):
    middle = (low + high) / 2
    low, high = (middle, high) if mean(middle) < goal else (low, middle)
  return (low + high) / 2
