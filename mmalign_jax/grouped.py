"""Samples that belong together: whole groups are moved, drawn, and kept on one side of a split.

The repeats of one subject, the frames of one film, the sentences of one speaker are not
independent: a permutation of single samples takes them for it, and its p-values are then too small.
Groups are codes [N]; the rows of a group keep the order in which they stand.

**What may be exchanged.** Where the two sides of a group are independent of each other, and groups
are drawn alike, the sides of *whole groups of equal size* can be exchanged: that is exact, whatever
the dependence within a group, in time too. Groups of unequal size are put into classes of at least
LEAST groups, by size, so that the fewest samples are lost, and each is cut to its first samples, as
many as the shortest of its class has (very small groups may be left out altogether): the statistic
of the samples left against that of their permutations is as exact as with equal sizes. Thinned
evenly, long groups would depend less on time than short ones, and p be too small. A side that is
constant within every group (the label of a speaker) has one value a group, which can go to any
other group: nothing is cut. All this supposes that the size of a group tells nothing of the other
side.

With few groups there are few arrangements, and no p-value is below one over their number; where
they are not more than the permutations asked for, each is taken once.
"""

import dataclasses
import itertools
import math

import numpy as np

LEAST = 5     # groups that exchange places, where there are so many: the fewer, the less is lost
FEW = 20      # groups, below which an interval is said to be rough


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
  """Groups that can exchange places.

  kept [M]: the samples that take part, in their order. classes: of groups with equally many of
  them, each [k, m] positions in `kept`, a row a group.
  """
  kept: np.ndarray
  classes: tuple[np.ndarray, ...]

  @property
  def count(self) -> int:
    """Arrangements, the one at hand among them."""
    return math.prod(math.factorial(len(rows)) for rows in self.classes)

  def permuted(self, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Positions in `kept` [P, M]: sample i of a side becomes its sample at [p, i].

    P is `draws`, or all arrangements but the one at hand where these are not more.
    """
    orders = _orders([len(rows) for rows in self.classes], draws, rng)
    made = np.empty((len(orders[0]), len(self.kept)), np.int64)
    for rows, order in zip(self.classes, orders):
      made[:, rows.ravel()] = rows[order].reshape(len(order), -1)
    return made


def checked(groups: np.ndarray, n: int) -> np.ndarray:
  """Codes [N] in 0..G-1 of groups [N].

  Raises:
    ValueError: not one entry a sample, or a single group.
  """
  groups = np.asarray(groups)
  if groups.shape != (n,):
    raise ValueError(f'groups has shape {groups.shape}, and there are n={n} samples: one each')
  names, codes = np.unique(groups, return_inverse=True)
  if len(names) < 2:
    raise ValueError(f'groups has one group only, {names[0]}: two at least can be exchanged')
  return codes


def constant(groups: np.ndarray, values: np.ndarray) -> bool:
  """Whether values [N] are equal within each group."""
  first = np.unique(groups, return_index=True)[1]
  return bool((values == values[first[groups]]).all())


def blocks(groups: np.ndarray, whole: bool = False) -> Blocks:
  """How groups [N], codes 0..G-1, can exchange places.

  Args:
    groups: as `checked` gives them.
    whole: what is moved is constant within groups: one class, `kept` a sample of each group in
      the order of their codes; p = permuted(...)[:, groups] brings it back to all samples.
  """
  size = np.bincount(groups)
  members = np.split(np.argsort(groups, kind='stable'), np.cumsum(size)[:-1])
  if whole:
    return Blocks(np.array([rows[0] for rows in members]), (np.arange(len(size))[:, None],))
  cut = [(members[g][:m], m) for chunk, m in _chunks(size) for g in chunk]
  kept = np.sort(np.concatenate([rows for rows, _ in cut]))
  classes = {}
  for rows, m in cut:
    classes.setdefault(m, []).append(np.searchsorted(kept, rows))
  return Blocks(kept, tuple(np.array(rows) for rows in classes.values()))


def _chunks(size: np.ndarray) -> list[tuple[np.ndarray, int]]:
  """Groups that are to have one length, and that length; those left out are in none.

  By size, in chunks of LEAST groups or more, so that the fewest samples are lost: a chunk of twice
  as many can be cut in two at no loss, so none is longer.
  """
  order = np.argsort(size, kind='stable')
  ordered, count = size[order], len(size)
  if count <= LEAST:
    return [(order, int(ordered[0]))]
  total = np.concatenate([[0], np.cumsum(ordered)])
  # lost[j]: of the j smallest groups; they may all be left out, if enough others are there
  lost = [float(total[j]) if j + LEAST <= count else math.inf for j in range(count + 1)]
  start = [-1] * (count + 1)
  for j in range(LEAST, count + 1):
    for i in range(max(0, j - 2 * LEAST + 1), j - LEAST + 1):
      cost = lost[i] + total[j] - total[i] - (j - i) * ordered[i]
      if cost < lost[j]:
        lost[j], start[j] = cost, i
  made, j = [], count
  while j > 0 and start[j] >= 0:
    made.append((order[start[j]:j], int(ordered[start[j]])))
    j = start[j]
  return made[::-1]


def _orders(lengths: list[int], draws: int, rng: np.random.Generator) -> list[np.ndarray]:
  """For each class an order [P, k] of its groups."""
  count = math.prod(math.factorial(k) for k in lengths)
  if count - 1 > draws:
    return [rng.permuted(np.tile(np.arange(k), (draws, 1)), axis=1) for k in lengths]
  every = list(itertools.product(*(itertools.permutations(range(k)) for k in lengths)))[1:]
  return [np.array([row[i] for row in every], np.int64).reshape(-1, k)
          for i, k in enumerate(lengths)]


def drawn(count: int, draws: int, rng: np.random.Generator) -> np.ndarray:
  """How often each group [B, G] is in a resample of G = count groups, with replacement."""
  pick = rng.integers(0, count, (draws, count)) + count * np.arange(draws)[:, None]
  return np.bincount(pick.ravel(), minlength=draws * count).reshape(draws, count)


def fewest(codes: np.ndarray, n: int) -> int:
  """The fewest groups that n samples can be of.

  Examples:
    >>> fewest(np.array([0, 0, 0, 1, 1, 2]), 4)
    2
  """
  sizes = np.sort(np.unique(codes, return_counts=True)[1])[::-1]
  return int(np.searchsorted(np.cumsum(sizes), n)) + 1


def folds(groups: np.ndarray, codes: np.ndarray, count: int,
          rng: np.random.Generator) -> np.ndarray:
  """The fold [N] in 0..count-1 of each sample, whole groups in one, classes and sizes spread.

  The largest groups first, in random order where equal: each to the fold that then has the least
  of what the group holds. With fewer groups than `count`, one group a fold.
  """
  held = np.zeros((int(groups.max()) + 1, int(codes.max()) + 1))
  np.add.at(held, (groups, codes), 1)
  share = held / np.maximum(held.sum(axis=0), 1)  # a class that occurs nowhere is nowhere
  size = held.sum(axis=1)
  order = rng.permutation(len(held))
  order = order[np.argsort(-size[order], kind='stable')]
  count = min(count, len(held))
  inside, fold = np.zeros((count, held.shape[1])), np.empty(len(held), int)
  filled = np.zeros(count)
  for g in order:
    best = np.lexsort((rng.random(count), filled, inside @ share[g]))[0]
    fold[g] = best
    inside[best] += share[g]
    filled[best] += size[g]
  return fold[groups]
