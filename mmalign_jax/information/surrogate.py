"""Surrogate data: what the plug-in atoms would be by chance, and how much they flatter the truth.

Samples are codes i [N] of X1, j [N] of X2, y [N]. The pairs (i, j) are kept as they are; labels or
pairings are drawn anew. A *model* is p(y | i, j), a shrunken form of the sample's own: the pair
marginals pulled towards independence, the interaction of all three pulled towards none, each just
so far that the plug-in informations of data drawn from it average the ones that were observed.
"""

from collections.abc import Callable
import dataclasses

import numpy as np

FITTING_DRAWS = 16   # data sets over which a model's plug-in informations are averaged
HALVINGS = 10        # of the interval in which a share is sought
SWEEPS = 30          # of proportional fitting


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
  """Codes i [N], j [N], y [N] and the numbers of states shape (n1, n2, C)."""
  i: np.ndarray
  j: np.ndarray
  y: np.ndarray
  shape: tuple[int, int, int]

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


# -- nulls -----------------------------------------------------------------------------------------


def permuted(sample: Sample, which: str, draws: int, rng: np.random.Generator) -> np.ndarray:
  """Tables [B, n1, n2, C] of permuted data, exact under the hypothesis named.

  Args:
    which: 'y': labels permuted, under (X1,X2) independent of Y. 'x1', 'x2': one side permuted,
      under that side independent of all else: no redundancy. 'x1|x2', 'x2|x1': one side permuted
      among samples with the same cell of the other, under X1 independent of Y given X2: then
      unique_1 and synergy are 0, and the other way round unique_2 and synergy.
  """
  moved, _, given = which.partition('|')
  codes = {'x1': sample.i, 'x2': sample.j, 'y': sample.y}
  strata = codes[given] if given else np.zeros_like(sample.y)
  order = np.argsort(strata + rng.random((draws, len(strata))), axis=1)
  drawn = np.empty_like(order)
  drawn[:, np.argsort(strata, kind='stable')] = codes[moved][order]
  codes[moved] = drawn
  y = np.broadcast_to(codes['y'], drawn.shape)
  return tables(codes['x1'], codes['x2'], y, sample.shape)


# -- models ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shares:
  """How much of the sample's own structure a model keeps, each in 0..1: of p(y|x1), of p(y|x2), and
  of what is neither."""
  side_1: float
  side_2: float
  joint: float

  def times(self, factor: float) -> 'Shares':
    return Shares(self.side_1 * factor, self.side_2 * factor, self.joint * factor)


def conditional(sample: Sample, shares: Shares) -> np.ndarray:
  """p(y | i, j) [n1, n2, C] of a model.

  For each y a table [n1, n2] that lies between p(i, j) and p(i, j | y), fitted proportionally
  (Deming and Stephan 1940) to the shrunken pair marginals: with shares.joint = 0 the log-linear
  model without interaction of all three.
  """
  p = sample.table()
  p_y, p_12 = p.sum(axis=(0, 1)), p.sum(axis=2, keepdims=True)
  mixed = lambda share, m: share * m + (1 - share) * m.sum(axis=1, keepdims=True) * p_y
  m1, m2 = mixed(shares.side_1, p.sum(axis=1)), mixed(shares.side_2, p.sum(axis=0))
  q = shares.joint * p + (1 - shares.joint) * p_12 * p_y
  for _ in range(SWEEPS):
    q = q * _ratio(m1, q.sum(axis=1))[:, None]
    q = q * _ratio(m2, q.sum(axis=0))[None]
  total = q.sum(axis=2, keepdims=True)
  return np.where(total > 0, _ratio(q, total), p_y)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
  return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0)


def population(sample: Sample, model: np.ndarray) -> np.ndarray:
  """p(i, j) of the sample times p(y | i, j) of the model [n1, n2, C]."""
  return sample.table().sum(axis=2, keepdims=True) * model


def drawn(sample: Sample, model: np.ndarray, uniform: np.ndarray) -> np.ndarray:
  """Tables [B, n1, n2, C] with labels from the model, uniform [B, N] in [0, 1)."""
  y = _labels(model[sample.i, sample.j], uniform)
  return tables(sample.i, sample.j, y, sample.shape)


def _labels(p: np.ndarray, uniform: np.ndarray) -> np.ndarray:
  """[B, N] labels by the rows of p [N, C]."""
  y = np.zeros(uniform.shape, np.int64)
  for edge in np.cumsum(p, axis=1)[:, :-1].T:  # a class at a time: [B, N, C] would be large
    y += uniform > edge
  return y


def fitted(sample: Sample, rng: np.random.Generator) -> Shares:
  """The shares at which each plug-in information of drawn data averages the observed one."""
  observed = informations(sample.table()[None])[0]
  uniform = rng.random((FITTING_DRAWS, len(sample.y)))
  p_y = sample.table().sum(axis=(0, 1))
  def side(codes, states, goal):
    own = tables(codes, np.zeros_like(codes), sample.y[None], (states, 1, sample.shape[2]))[0, :, 0]
    own = _ratio(own, own.sum(axis=1, keepdims=True))
    def mean(share):
      y = _labels((share * own + (1 - share) * p_y)[codes], uniform)
      made = tables(codes, np.zeros_like(codes), y, (states, 1, sample.shape[2]))
      return informations(made)[:, 0].mean()
    return _matched(mean, goal)
  side_1 = side(sample.i, sample.shape[0], observed[0])
  side_2 = side(sample.j, sample.shape[1], observed[1])
  def joint(share):
    model = conditional(sample, Shares(side_1, side_2, share))
    return informations(drawn(sample, model, uniform))[:, 2].mean()
  return Shares(side_1, side_2, _matched(joint, observed[2]))


def _matched(mean: Callable[[float], float], goal: float) -> float:
  """The share in 0..1 at which the increasing function `mean` comes to `goal`."""
  low, high = 0.0, 1.0
  if mean(low) >= goal:
    return low
  if mean(high) <= goal:
    return high
  for _ in range(HALVINGS):
    middle = (low + high) / 2
    low, high = (middle, high) if mean(middle) < goal else (low, middle)
  return (low + high) / 2
