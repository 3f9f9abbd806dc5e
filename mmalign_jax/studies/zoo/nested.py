"""Nested subsamples of a zoo: the smaller lies in the larger, whole groups, and can be permuted."""

from typing import TYPE_CHECKING

import numpy as np

from mmalign_jax.similarity import Measure, arrangements, scores

if TYPE_CHECKING:  # it asks here
  from mmalign_jax.studies.zoo.plan import Plan


def sequence(codes: np.ndarray | None, n: int, seed: int, repeat: int) -> np.ndarray:
  """The samples [N] in the order in which subsamples of a repeat take them, groups whole."""
  generator = np.random.default_rng([seed, repeat])
  if codes is None:
    return generator.permutation(n)
  place = generator.permutation(int(codes.max()) + 1)
  return np.argsort(place[codes], kind='stable')


def first(order: np.ndarray, size: int, codes: np.ndarray | None) -> np.ndarray:
  """The first `size` of an order, in their own order; of groups [N] those that fit as a whole.

  Examples:
    >>> first(np.array([3, 4, 5, 0, 1, 2]), 5, np.array([0, 0, 0, 1, 1, 1])).tolist()
    [3, 4, 5]
  """
  rows = order[:size]
  if codes is not None and size < len(order) and codes[order[size]] == codes[rows[-1]]:
    rows = rows[codes[rows] != codes[order[size]]]
  return np.sort(rows)


def subsamples(plan: 'Plan', size: int) -> list[np.ndarray]:
  """The samples of every repeat, before those that cannot be permuted are left out."""
  codes = plan.groups if plan.groups is not None else plan.items
  return [first(sequence(codes, plan.n, plan.settings['seed'], repeat), size, codes)
          for repeat in range(plan.settings['repeats'])]


def movable(plan: 'Plan', rows: np.ndarray) -> tuple[np.ndarray, arrangements.Units | None]:
  """Those of some samples that can change places, and how.

  Raises:
    ValueError: fewer than two groups are among them.
  """
  own = [None if codes is None else np.unique(codes[rows], return_inverse=True)[1]
         for codes in (plan.groups, plan.items)]
  units = arrangements.units(len(rows), *own)
  if units is None or units.kept is None:
    return rows, units
  return movable(plan, rows[units.kept])


def obstacle(plan: 'Plan', measure: Measure, widths: list[int], own: scores.Plan) -> str:
  """Why a measure cannot be had of a subsample, '' if it can of all."""
  for size in sorted(plan.settings['sizes']):
    if size > plan.n:
      return f'sizes={size} is more than the N={plan.n} samples'
    for rows in subsamples(plan, size):
      if reason := _lacks(plan, measure, rows, widths, own):
        held = '' if len(rows) == size else f', {len(rows)} of them in groups that fit as a whole'
        return f'sizes={size} samples are too few{held}: {reason}'
      if plan.groups is None and plan.items is None:
        break  # all repeats are alike
  return ''


def _lacks(plan: 'Plan', measure: Measure, rows: np.ndarray, widths: list[int],
           own: scores.Plan) -> str:
  if not len(rows):
    return 'the first group drawn is larger'
  try:
    kept, _ = movable(plan, rows)
    codes = [None if z is None else np.unique(z[kept], return_inverse=True)[1]
             for z in (plan.groups, plan.items)]
    return scores.obstacle(measure, len(kept), widths, own, *codes) or ''
  except ValueError as error:
    return str(error)
