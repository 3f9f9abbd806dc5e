"""Whole groups: how they are moved, drawn and split."""

import numpy as np
import pytest

from mmalign_jax import grouped


@pytest.mark.parametrize('sizes, kept, classes', [
    ((3, 3, 3), 9, {3: 3}),                                # equal: all of them
    ((1,) + (50,) * 6, 300, {50: 6}),                      # the small one is left out
    (tuple(range(1, 11)), 5 * 1 + 5 * 6, {1: 5, 6: 5}),    # two classes of five
    ((4, 9), 8, {4: 2})])                                  # two groups work
def test_classes_lose_the_fewest_samples(sizes, kept, classes):
  g = np.random.default_rng(0)
  groups = g.permutation(np.repeat(np.arange(len(sizes)), sizes))
  found = grouped.blocks(groups)
  assert len(found.kept) == kept
  assert {rows.shape[1]: rows.shape[0] for rows in found.classes} == classes
  for row in found.permuted(20, g):
    assert sorted(row) == list(range(kept))
    pairs = set(zip(groups[found.kept], groups[found.kept][row]))
    assert len(pairs) == sum(classes.values())             # whole groups to whole groups


def test_order_within_groups_is_kept_and_long_ones_are_cut():
  groups = np.tile([0, 1], 4)
  found = grouped.blocks(groups)
  assert found.permuted(9, np.random.default_rng(0)).tolist() == [[1, 0, 3, 2, 5, 4, 7, 6]]
  cut = grouped.blocks(np.array([0] * 6 + [1] * 3))
  assert cut.kept.tolist() == [0, 1, 2, 6, 7, 8]


def test_few_arrangements_are_enumerated_without_the_one_at_hand():
  found = grouped.blocks(np.repeat(np.arange(4), 2))
  assert found.count == 24
  rows = found.permuted(100, np.random.default_rng(0))
  assert len(rows) == len(np.unique(rows, axis=0)) == 23
  assert not (rows == np.arange(8)).all(axis=1).any()
  assert len(found.permuted(22, np.random.default_rng(0))) == 22


def test_a_side_that_is_constant_in_groups_goes_anywhere():
  groups = np.array([0, 0, 1, 2, 2, 2])
  values = np.array([5, 5, 6, 7, 7, 7])
  assert grouped.constant(groups, values) and not grouped.constant(groups, np.arange(6))
  found = grouped.blocks(groups, whole=True)
  moved = values[found.kept][found.permuted(99, np.random.default_rng(0))[:, groups]]
  assert len(moved) == 5 and [5, 5, 7, 6, 6, 6] in moved.tolist()


def test_resamples_draw_as_many_groups():
  often = grouped.drawn(7, 50, np.random.default_rng(0))
  assert often.shape == (50, 7) and (often.sum(axis=1) == 7).all() and often.max() > 1


def test_folds_keep_groups_whole_and_spread_classes():
  g = np.random.default_rng(0)
  groups = np.repeat(np.arange(20), g.integers(5, 30, 20))
  codes = groups % 2
  fold = grouped.folds(groups, codes, 5, g)
  assert all(len(set(fold[groups == k])) == 1 for k in range(20))
  share = [codes[fold == k].mean() for k in range(5)]
  assert max(share) - min(share) < 0.35 and np.bincount(fold).min() > 0.1 * len(fold)
  assert set(grouped.folds(groups % 2, codes, 5, g)) == {0, 1}   # fewer groups than folds


@pytest.mark.parametrize('groups, message', [
    (np.zeros(4, int), 'one group only, 0'), (np.arange(3), r'shape \(3,\), and there are n=4')])
def test_mistakes(groups, message):
  with pytest.raises(ValueError, match=message):
    grouped.checked(groups, 4)


def test_a_class_that_occurs_nowhere_moves_no_fold():
  groups, codes = np.repeat(np.arange(4), 3), np.repeat([0, 2, 0, 2], 3)  # nothing is of class 1
  with np.errstate(all='raise'):
    fold = grouped.folds(groups, codes, 2, np.random.default_rng(0))
  for k in range(2):  # each fold has a group of either class
    assert set(codes[fold == k]) == {0, 2}


def test_the_fewest_groups_of_some_samples():
  codes = np.array([5, 5, 5, 7, 7, 9])
  assert [grouped.fewest(codes, n) for n in (1, 3, 4, 5, 6)] == [1, 1, 2, 2, 3]
