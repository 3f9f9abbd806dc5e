"""The choice of the best strength: hand-worked curves, and honesty where nothing is to be found."""

import numpy as np
import pytest

from mmalign_jax.studies.strength.optimum import (
  MIN_SEEDS,
  choices,
  cross_fit,
  interval,
  optimum,
  shape_of,
)

LAM = np.arange(6) / 5


def noisy(mean, n_seeds=10, n_folds=1, scale=0.01, seed=0):
  mean = np.asarray(mean, float)[:, None, None]
  return mean + scale * np.random.default_rng(seed).standard_normal((len(mean), n_seeds, n_folds))


@pytest.mark.parametrize('mean, shape, best', [
    ([.5, .55, .6, .65, .68, .7], 'rising', 1.0),
    ([.7, .68, .6, .5, .45, .4], 'falling', 0.0),
    ([.5, .55, .6, .57, .5, .4], 'inverted_u', 0.4),
    ([.5] * 6, 'flat', None)])
@pytest.mark.parametrize('n_folds', [1, 8])
def test_names_the_shape_of_clear_curves(mean, shape, best, n_folds):
  found = optimum(LAM, noisy(mean, n_folds=n_folds), n_boot=500)
  assert found.shape == shape
  if best is not None:
    assert found.best_lam == best
    assert found.best_lam_interval[0] <= best <= found.best_lam_interval[1]
    assert found.gain_interval[0] <= max(mean) - mean[0] <= found.gain_interval[1]


def test_cross_fit_by_hand():
  # Seeds 1 and 2 choose lam 1, seed 0 alone would choose lam 0. Without seed 0 the others choose
  # lam 1, where it loses 0.1; without seed 1 the totals are 1.2 against 1, without 2 1.1 against 1.
  accuracy = np.array([[.6, .4, .4], [.5, .6, .7]])[:, :, None]
  gain, drop, chosen = cross_fit(accuracy, np.ones((1, 3)), np.ones((1, 1)))
  np.testing.assert_allclose(gain, (-.1 + .2 + .3) / 3)
  np.testing.assert_allclose(drop, 0, atol=1e-12)  # the choice is the highest strength throughout
  assert chosen.tolist() == [1]


def test_a_seed_is_not_judged_by_its_own_choice():
  accuracy = np.array([[0., 0, 0], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])[:, :, None]
  gain, _, _ = cross_fit(accuracy, np.ones((1, 3)), np.ones((1, 1)))
  assert gain[0] <= 0  # each seed has a strength that only it likes: naively the gain would be 1


def test_weights_equal_repeated_seeds():
  rng = np.random.default_rng(0)
  accuracy = rng.random((4, 5, 3))
  weighted = cross_fit(accuracy, np.array([[2., 1, 0, 1, 1]]), np.array([[1., 2, 0]]))
  for value in weighted:
    assert np.isfinite(value).all()
  dropped = cross_fit(accuracy[:, [0, 1, 3, 4]][:, :, [0, 1]], np.array([[2., 1, 1, 1]]),
                      np.array([[1., 2]]))
  np.testing.assert_allclose(weighted, dropped)


@pytest.mark.parametrize('kind', ['independent', 'smooth in lam', 'shared test set'])
@pytest.mark.parametrize('n_seeds', [5, 10])
def test_flat_data_are_called_flat(kind, n_seeds):
  rng, trials, flat, gains = np.random.default_rng(1), 120, 0, []
  for trial in range(trials):
    accuracy = rng.standard_normal((6, n_seeds, 1))
    if kind == 'smooth in lam':
      accuracy = np.cumsum(accuracy, axis=0)
    if kind == 'shared test set':  # its chance favours some strengths for all seeds
      accuracy = 0.3 * rng.standard_normal((6, n_seeds, 8)) + rng.standard_normal((6, 1, 8))
    found = optimum(LAM, accuracy, n_boot=400, seed=trial)
    flat, gains = flat + (found.shape == 'flat'), [*gains, found.gain]
  assert flat >= 0.95 * trials - 2 * np.sqrt(0.95 * 0.05 * trials)  # two standard errors of 95 %
  assert np.mean(gains) < 3 * np.std(gains) / np.sqrt(trials)       # no inflation by the choice


@pytest.mark.parametrize('n_folds', [2, 3, 4])
def test_few_test_groups_that_favour_strengths_by_chance_are_called_flat(n_folds):
  rng = np.random.default_rng(n_folds)
  found = [optimum(LAM, .3 * rng.standard_normal((6, 5, n_folds)) + rng.standard_normal(
      (6, 1, n_folds)), n_boot=150, seed=i).shape for i in range(80)]
  assert np.mean([shape == 'flat' for shape in found]) >= 0.95 - 2 * (0.95 * 0.05 / 80)**.5


def test_diverged_cells_are_never_chosen():
  accuracy = noisy([.5, .6, .9, .6, .5, .4])
  accuracy[2, 3] = np.nan
  found = optimum(LAM, accuracy, n_boot=200)
  assert found.best_lam in (LAM[1], LAM[3])
  accuracy[0, 4] = np.nan  # nothing to compare this seed with
  assert optimum(LAM, accuracy, n_boot=200).n_seeds == 9
  assert optimum(LAM, np.full_like(accuracy, np.nan)).best_lam is None


def test_few_seeds_have_no_interval():
  found = optimum(LAM, noisy([.5, .6, .7, .6, .5, .4], n_seeds=MIN_SEEDS - 1))
  assert found.best_lam == 0.4 and found.gain_interval is None and found.shape is None


def test_one_part_of_a_finite_test_set_does_not_tell_how_uncertain_it_is():
  accuracy = noisy([.5, .55, .6, .65, .68, .7])
  assert optimum(LAM, accuracy, n_boot=50).shape == 'rising'  # exact
  found = optimum(LAM, accuracy, n_boot=50, exact=False)
  assert (found.best_lam, found.n_seeds, found.n_folds) == (1.0, 10, 1)
  assert found.best_lam_interval is found.gain_interval is found.shape is None
  assert optimum(LAM, noisy([.5] * 6, n_folds=2), n_boot=50, exact=False).shape == 'flat'


def test_interval_is_wider_for_few_units():
  values = np.random.default_rng(0).standard_normal(20_000)
  few, many = interval(values, 5), interval(values, 10_000)
  assert few[0] < many[0] < 0 < many[1] < few[1]
  np.testing.assert_allclose(many, (-1.96, 1.96), atol=0.05)


def test_shape_needs_intervals_on_one_side_of_zero():
  assert shape_of((0.1, 0.2), (-0.1, 0.2)) == 'rising'
  assert shape_of((0.0, 0.2), (-0.1, 0.2)) == 'flat'


def test_choices_are_paired_across_curves():
  accuracy = noisy([.5, .6, .7, .6, .5, .4], scale=0.2)
  np.testing.assert_array_equal(
      choices(LAM, accuracy, n_boot=50), choices(LAM, accuracy + 1, n_boot=50))


def test_wrong_shapes_are_refused():
  with pytest.raises(ValueError, match=r'\(3, 2, 1\).*L=6'):
    optimum(LAM, np.zeros((3, 2, 1)))
