"""Rows of a nested cross-validation as tables of one shape: nothing is compiled twice.

Every labelled row is tested on once (the outer folds), and what is used for that is chosen on inner
folds of the other rows. Rows of one unit (a group, or copies of one row) are on one side. Rows that
must not be seen keep their place in the tables, but have no modality, no label and no part in what
is aligned; centres, deviations and principal components are those of the outer training rows.
"""

import dataclasses
import warnings

import numpy as np

from mmalign_jax.data import components
from mmalign_jax.data.files import labels
from mmalign_jax.data.pair_source import PairTables
from mmalign_jax.data.pairs import Pairs

MOST_COMPONENTS = 100
JUDGED = 2000   # rows of a fold that are judged at most
BLOCKS = 250    # units of the rows judged in one fold, at most


@dataclasses.dataclass(frozen=True)
class Shape:
  """What all tables of one set of pairs share: components of every side, and how many rows are
  judged at once, in how many blocks."""
  components: tuple[int, ...]
  judged: int
  blocks: int


@dataclasses.dataclass(frozen=True, eq=False)
class Round:
  """One outer round: x of every side [N, C] f32, spread of every side [C], y [N] (0 where no label
  is known to this round), train, test: numbers of labelled rows; use [N] bool: rows that may be
  aligned."""
  x: tuple[np.ndarray, ...]
  spread: tuple[np.ndarray, ...]
  has: tuple[np.ndarray, ...]
  y: np.ndarray
  train: np.ndarray
  test: np.ndarray
  use: np.ndarray
  unit: np.ndarray
  n_outputs: int


def shape_of(pairs: Pairs) -> Shape:
  """The shape of all tables; components so few that the rows of every round have as many."""
  least = [max(1, int(0.6 * has.sum())) for has in pairs.present]
  judged = min(JUDGED, int(pairs.labelled.sum()) // 2 + 1)
  return Shape(tuple(min(MOST_COMPONENTS, view.shape[1], most)
                     for view, most in zip(pairs.views, least)), judged, min(BLOCKS, judged))


def parts(y: np.ndarray, of_classes: bool, unit: np.ndarray, n_folds: int,
          seed: int) -> np.ndarray:
  """Fold [L] in 0..K-1 of labelled rows: classes are spread evenly, units stay whole.

  Args:
    y: [L]. unit: [L] codes. n_folds: K, at most the number of units.
  """
  from sklearn import model_selection as ms  # slow to import
  alone = len(np.unique(unit)) == len(unit)
  enough = of_classes and np.bincount(y).max() >= n_folds
  kind = ((ms.StratifiedKFold if enough else ms.KFold) if alone else
          (ms.StratifiedGroupKFold if enough else ms.GroupKFold))
  fold = np.zeros(len(y), int)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', UserWarning)  # of classes rarer than folds: no obstacle
    splitter = kind(n_folds, shuffle=True, random_state=seed)
    for k, (_, test) in enumerate(splitter.split(y, y if enough else None, unit)):
      fold[test] = k
  return fold


def round_of(pairs: Pairs, unit: np.ndarray, test: np.ndarray, shape: Shape) -> Round:
  """The round that is judged on the rows `test` [T]; () for none: all rows are trained on.

  Args:
    unit: [N] codes of rows that belong together.
  """
  known = np.flatnonzero(pairs.labelled)
  train = np.setdiff1d(known, test)
  use = np.logical_or.reduce(pairs.present)
  use[np.isin(unit, unit[test])] = False
  made = []
  for view, has, most, name in zip(pairs.views, pairs.present, shape.components, pairs.names):
    rows = np.flatnonzero(has & use)
    where = f'{pairs.where}: {name!r}'
    known = components.fit(view, has, rows, most, where)
    made.append((components.apply(known, view, has, where), known.spread))
  y = np.where(pairs.labelled, pairs.y, 0)
  if not pairs.classes:
    center, scale = labels.units(pairs.y[train], f'{pairs.where}: y')
    y = np.where(pairs.labelled, (y - center) / scale, 0).astype(np.float32)
  x = tuple(_width(z, most) for (z, _), most in zip(made, shape.components))
  spread = tuple(np.pad(s, (0, most - len(s)), mode='edge')
                 for (_, s), most in zip(made, shape.components))
  return Round(x, spread, pairs.present, y, train, np.asarray(test, int), use, unit,
               len(pairs.classes) or 1)


def _width(z, most: int) -> np.ndarray:
  return np.pad(z, ((0, 0), (0, most - z.shape[1])))


def tables(of: Round, learn: np.ndarray, judged: np.ndarray, block: np.ndarray,
           shape: Shape) -> PairTables:
  """What one training of a round sees.

  Args:
    learn: numbers of the rows whose labels are learnt.
    judged: numbers of rows [J'] that are judged, J' <= shape.judged; they and their units are
      neither learnt nor aligned.
    block: [J'] in 0..shape.blocks-1; accuracy is given for each, and what is filled up is last.
  """
  n, rest = len(of.y), shape.judged - len(judged)
  use = of.use & ~np.isin(of.unit, of.unit[judged])
  labelled = np.isin(np.arange(n), learn) & use
  place = np.concatenate([judged, np.zeros(rest, int)]).astype(int)
  fold = np.concatenate([block, np.full(rest, shape.blocks)]).astype(np.int32)
  y = np.where(labelled, of.y, 0).astype(of.y.dtype)
  sides = [(x[place], of.y[place], np.where(has[place], fold, shape.blocks).astype(np.int32))
           for x, has in zip(of.x, of.has)]
  whole = np.logical_and.reduce(of.has)[place]
  fold_whole = np.where(whole, fold, shape.blocks).astype(np.int32)
  few = tuple((x[:1], y[:1], f[:1] * 0) for x, y, f in sides)
  return PairTables(
      of.x, tuple(has & use for has in of.has), y, labelled, of.spread, few, tuple(sides),
      tuple(x for x, *_ in sides), sides[0][1], fold_whole, shape.blocks + 1, shape.blocks + 1,
      of.n_outputs)


def outer(of: Round, shape: Shape, seed: int) -> tuple[PairTables, np.ndarray, np.ndarray]:
  """Tables that learn all labels of a round and are judged on its test rows; those rows [T], and
  the block of each."""
  rows = _some(of.test, shape.judged, seed)
  block = _blocks(of.unit[rows], shape.blocks, seed)
  return tables(of, of.train, rows, block, shape), rows, block


def inner(of: Round, n_folds: int, shape: Shape, of_classes: bool, seed: int) -> list[PairTables]:
  """Tables of every inner fold, each judged on it as one block."""
  fold = parts(of.y[of.train], of_classes, of.unit[of.train], n_folds, seed)
  made = []
  for k in range(n_folds):
    held = of.train[fold == k]
    learn = of.train[fold != k]
    rows = _some(held, shape.judged, seed)
    # what is held out but not judged is not learnt either
    made.append(tables(of, learn, rows, np.zeros(len(rows), int), shape))
  return made


def thinned(of: Round, share: float, of_classes: bool, seed: int) -> Round:
  """The same round with a share of its labels, alike of every class."""
  g = np.random.default_rng([seed, 5])
  order = g.permutation(of.train)
  group = of.y[order] if of_classes else np.zeros(len(order), int)
  kept = np.zeros(len(order), bool)
  for c in np.unique(group):
    at = np.flatnonzero(group == c)
    kept[at[:max(1, round(share * len(at)))]] = True
  return dataclasses.replace(of, train=np.sort(order[kept]))


def _some(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
  if len(rows) <= most:
    return rows
  return np.sort(np.random.default_rng([seed, 3]).permutation(rows)[:most])


def _blocks(unit: np.ndarray, most: int, seed: int) -> np.ndarray:
  """Block [T] of every row: its unit's, or where there are too many a random one of those."""
  codes = np.unique(unit, return_inverse=True)[1]
  count = int(codes.max()) + 1
  return np.random.default_rng([seed, 4]).permutation(count)[codes] % min(most, count)
