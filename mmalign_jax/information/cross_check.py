"""Other estimators of the same informations, beside those of the cells, and where they disagree.

Cells lose information; nearest neighbours need few dimensions; a classifier gives a lower bound.
Where they agree the atoms can be trusted; where they do not, the flag says which way.
"""

from collections.abc import Callable, Mapping
import dataclasses
import warnings

import numpy as np

from mmalign_jax.information.classifier import held_out
from mmalign_jax.information.nearest import ksg, ross
from mmalign_jax.information.quantise import COMPONENTS, standardised
from mmalign_jax.precision import doubles

NAMES = ('mi_1', 'mi_2', 'mi_joint')
CLEAR = 0.05  # nats: a smaller difference is not worth a flag
NEIGHBORS = 3
MOST_ROWS = 10_000  # from which classifiers learn: a hundred fits of all would take hours


@dataclasses.dataclass(frozen=True)
class Check:
  """One information in nats: of the cells (bias-corrected), by nearest neighbours on principal
  components (None where features are categories), and the lower bound of a held-out classifier with
  its standard error; flag: what disagrees, None where nothing does. An estimator that cannot do
  with such samples is left out: None, and left_out says why."""
  cells: float
  nearest: float | None
  classifier: float | None
  classifier_error: float | None
  flag: str | None
  left_out: str | None = None


@dataclasses.dataclass(frozen=True)
class Other:
  """One information by the other estimators, as in `Check`."""
  nearest: float | None
  classifier: float | None
  classifier_error: float | None
  left_out: str | None


def cross_check(x1: np.ndarray, x2: np.ndarray, y: np.ndarray, cells: Mapping[str, float], *,
                continuous: np.ndarray | None = None, categories: bool = False,
                seed: int = 0, groups: np.ndarray | None = None) -> dict[str, Check]:
  """Checks of I(X1;Y), I(X2;Y), I(X1,X2;Y) by name.

  Args:
    x1, x2: [N, D] features; where `categories`, [N, 1] codes of them.
    y: [N] class labels, of quantiles where the label is continuous.
    cells: what the cells gave, in nats, by the names of NAMES.
    continuous: [N] the label itself where it is a number; then neighbours are those of KSG.
    categories: whether features are codes without order.
    seed: of the classifier's folds, and of the samples that it sees: MOST_ROWS at most.
    groups: [N] codes of what belongs together: whole in the classifier's folds and its error.
  """
  return beside(cells, others(x1, x2, y, continuous=continuous, categories=categories, seed=seed,
                              groups=groups))


def beside(cells: Mapping[str, float], found: Mapping[str, Other]) -> dict[str, Check]:
  """What the cells gave, beside what the other estimators found."""
  return {name: Check(float(cells[name]), one.nearest, one.classifier, one.classifier_error, _flag(
      cells[name], one.nearest, one.classifier, one.classifier_error), one.left_out)
          for name, one in found.items()}


def others(x1: np.ndarray, x2: np.ndarray, y: np.ndarray, *, continuous: np.ndarray | None = None,
           categories: bool = False, seed: int = 0,
           groups: np.ndarray | None = None) -> dict[str, Other]:
  """What does not depend on the cells; arguments as `cross_check`.

  Of more than MOST_ROWS samples the classifier sees a random part.
  """
  rows, y = _some(len(y), seed), np.asarray(y)
  part = None if groups is None else np.asarray(groups)[rows]
  sides = [_one_hot(x) if categories else doubles(x) for x in (x1, x2)]
  found = {}
  for name, x in zip(NAMES, (*sides, np.concatenate(sides, axis=1))):
    lacking: list[str] = []
    bound = _if_possible(lacking, 'a held-out classifier',
                         lambda x=x: held_out(x[rows], y[rows], seed, groups=part))
    near = None if categories else _if_possible(
        lacking, 'nearest neighbours', lambda name=name: _nearest(sides, name, y, continuous))
    bound = (None, None) if bound is None else (float(bound.value), float(bound.error))
    found[name] = Other(near, *bound, '; '.join(lacking) or None)
  return found


def _some(n: int, seed: int) -> np.ndarray:
  """Which of n samples the classifier sees, in their order."""
  if n <= MOST_ROWS:
    return np.arange(n)
  return np.sort(np.random.default_rng([seed, 0]).permutation(n)[:MOST_ROWS])


def _if_possible(lacking: list[str], name: str, estimator: Callable):
  """What the estimator gives, or None and why."""
  try:
    return estimator()
  except ValueError as error:  # too few samples of it: atoms do not need the check
    lacking.append(f'{name}: {error}')
    return None


def _one_hot(codes: np.ndarray) -> np.ndarray:
  return (codes.reshape(len(codes), 1) == np.unique(codes)[None]).astype(np.float64)


def _nearest(sides, name: str, y: np.ndarray, continuous: np.ndarray | None) -> float:
  chosen = {'mi_1': sides[:1], 'mi_2': sides[1:], 'mi_joint': sides}[name]
  z = np.concatenate([_components(x) for x in chosen], axis=1)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # of repeated values and single samples
    if continuous is None:
      return ross(z, y, k=NEIGHBORS)
    return ksg(z, standardised(continuous[:, None]), k=NEIGHBORS)


def _components(x: np.ndarray) -> np.ndarray:
  """The first principal components [N, <= 5] of standardised columns, largest of unit variance."""
  u, s, _ = np.linalg.svd(standardised(x), full_matrices=False)
  z = (u * s)[:, :COMPONENTS]
  return z / max(float(z.std(axis=0).max()), 1e-300)


def _flag(cells: float, near: float | None, bound: float | None,
          error: float | None) -> str | None:
  if bound is not None and error is not None and bound - 2 * error - cells > CLEAR:
    return f'the cells lose at least {bound - 2 * error - cells:.2f} nats that a classifier finds'
  if near is None:
    return None
  if near - cells > max(CLEAR, abs(cells) / 4):
    return f'nearest neighbours find {near - cells:.2f} nats more than the cells'
  most = near if bound is None else max(near, bound)
  if cells - most > max(CLEAR, abs(cells) / 4):
    return f'the cells claim {cells - most:.2f} nats that neither of the others finds'
  return None
