"""Cells, permutations and models: what each keeps, and what it destroys."""

import dataclasses

import numpy as np
import pytest

from mmalign_jax.information import discrete, nulls, quantise, surrogate
from mmalign_jax.information.surrogate import NONE, Pull, Sample, Shares


def sample(n=400, shape=(4, 5, 3), seed=0) -> Sample:
  """Dependent codes with every state present."""
  g = np.random.default_rng(seed)
  i, j = g.integers(0, shape[0], n), g.integers(0, shape[1], n)
  y = (i + j * (g.random(n) < 0.5) + g.integers(0, 2, n)) % shape[2]
  return Sample(i, j, y, shape)


# -- cells -----------------------------------------------------------------------------------------


def test_the_rule_for_cells():
  assert quantise.cells_for(2000, 10) == 14  # 14 * 14 * 10 = 1960
  assert quantise.cells_for(300, 2) == 12
  assert quantise.cells_for(10**6, 2) == 20 and quantise.cells_for(30, 10) == 2
  assert quantise.cells_for(1000, 10, other=10) == 10
  assert quantise.samples_needed(20, 8, 10) == 100


def test_quantiles_are_even_and_keep_order():
  x = np.random.default_rng(0).normal(size=1000)
  codes = quantise.quantiles(x, 5)
  assert np.abs(np.bincount(codes) - 200).max() <= 1
  assert (np.diff(codes[np.argsort(x)]) >= 0).all()
  for zeros in (10, 90):
    assert len(np.unique(quantise.quantiles(1.0 * (np.arange(100) >= zeros), 4))) == 2


def test_categories_are_the_distinct_rows():
  x = np.array([[0., 1], [1, 0], [0, 1], [0, 0]])
  assert quantise.categories(x).tolist() == [1, 2, 1, 0]


def test_kmeans_finds_clusters_whatever_the_scale_of_a_column():
  g = np.random.default_rng(0)
  truth = g.integers(0, 4, 300)
  centre = np.array([[-5, -5], [-5, 5], [5, -5], [5, 5]])[truth]
  x = (centre + g.normal(size=(300, 2)) * 0.3) * [1e-3, 1e4]
  codes, how = quantise.quantise(x, 4, seed=1)
  assert how == 'kmeans'
  table = np.zeros((4, 4))
  np.add.at(table, (truth, codes), 1)
  assert (np.sort(table, axis=1)[:, :-1] == 0).all()
  assert (quantise.quantise(x, 4, seed=1)[0] == codes).all()


@pytest.mark.parametrize('x, how', [
    (np.arange(100.) % 7, 'categories'), (np.arange(100.), 'quantiles'),
    (np.random.default_rng(0).normal(size=(100, 3)), 'kmeans')])
def test_what_auto_chooses(x, how):
  assert quantise.quantise(x, 5)[1] == how


def test_quantise_mistakes():
  with pytest.raises(ValueError, match="how='bins' is unknown; known: auto, kmeans"):
    quantise.quantise(np.zeros((5, 2)), 2, how='bins')
  with pytest.raises(ValueError, match='a single column, and there are 2'):
    quantise.quantise(np.zeros((5, 2)), 2, how='quantiles')


# -- tables ----------------------------------------------------------------------------------------


def test_tables_and_informations_against_the_library():
  s = sample()
  p = s.table()
  assert p.sum() == pytest.approx(1) and p[2, 3, 1] == np.mean((s.i == 2) & (s.j == 3) & (s.y == 1))
  expected = [float(v) for v in discrete.three(p)]
  np.testing.assert_allclose(surrogate.informations(p[None])[0], expected, atol=1e-6)


@pytest.mark.parametrize('which, kept', [
    ('y', ((0, 1),)), ('x1', ((1, 2),)), ('x2', ((0, 2),)),
    ('x1|x2', ((0, 1), (1, 2))), ('x2|x1', ((0, 1), (0, 2)))])
def test_a_permutation_keeps_the_pairs_it_should(which, kept):
  s = sample()
  made, part = nulls.permuted(s, which, 3, np.random.default_rng(1))
  assert part is None
  assert made.shape == (3, *s.shape) and not np.allclose(made[0], made[1])
  for pair in ((0, 1), (0, 2), (1, 2)):
    out = ({0, 1, 2} - set(pair)).pop()
    same = np.allclose(made.sum(axis=1 + out), s.table().sum(axis=out)[None])
    assert same == (pair in kept), pair


def test_permuting_within_strata_leaves_no_conditional_information():
  s = sample(20000)
  p = nulls.permuted(s, 'x1|x2', 1, np.random.default_rng(0))[0][0]
  assert float(discrete.conditional_mutual_information(p, 0, 2, given=1)) < 0.003
  assert float(discrete.conditional_mutual_information(s.table(), 0, 2, given=1)) > 0.15


# -- models ----------------------------------------------------------------------------------------


def test_models_run_from_independence_to_the_sample():
  s = sample()
  p = s.table()
  none = surrogate.population(s, Shares(NONE, NONE, 0, NONE))
  np.testing.assert_allclose(none, np.einsum(
      'i,j,y->ijy', *(p.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1)))), atol=1e-12)
  np.testing.assert_allclose(surrogate.population(s, Shares(Pull(), Pull(), 1)), p, atol=1e-3)


def test_without_interaction_log_odds_are_additive():
  s = sample(20000)
  q = surrogate.population(s, Shares(Pull(), Pull(), 0))
  for axis in range(3):
    np.testing.assert_allclose(q.sum(axis=axis), s.table().sum(axis=axis), atol=1e-6)
  model = np.log(q)
  odds = model[..., 1] - model[..., 0]
  mixed = odds[1:, 1:] - odds[:1, 1:] - odds[1:, :1] + odds[:1, :1]
  np.testing.assert_allclose(mixed, 0, atol=1e-6)


@pytest.mark.parametrize('count', [None, 40])
def test_a_fitted_model_explains_what_is_clear_of_the_observed_informations(count):
  s = sample(320)
  if count:
    s = dataclasses.replace(s, groups=np.arange(320) % count)
  shares = surrogate.fitted(s, np.random.default_rng(0))
  model = surrogate.population(s, shares)
  noises = [surrogate.noise(s, 200, np.random.default_rng(k)) for k in (1, 2)]
  found = surrogate.informations(surrogate.drawn(s, model, *noises))
  error = found.std(axis=0) / np.sqrt(len(found)) + found.std(axis=0) / 4  # of the fitting draws
  observed = surrogate.informations(s.table()[None])[0]
  own = surrogate.informations(model[None])[0]
  assert (own <= observed + 1e-9).all()  # what the plug-in adds
  assert shares.clear[0] == 1 and shares.clear[1] < 1  # by 0.7 of chance only
  near = np.abs(found.mean(axis=0) - observed) < 3 * error
  assert near[0] and near[2] and (near[1] or own[1] < observed[1] / 4)


def test_the_jackknife_is_nearly_unbiased_and_takes_groups():
  g = np.random.default_rng(0)
  p = g.dirichlet(np.full(12, 0.5)).reshape(4, 3)
  truth = surrogate.informations(p[None, :, None])[0, 0]
  flat = np.array([np.repeat(np.arange(12), g.multinomial(90, p.ravel())) for _ in range(300)])
  made = np.array([surrogate.jackknife(row // 3, row % 3) for row in flat])
  assert abs(made.mean() - truth) < 3 * made.std() / np.sqrt(len(made)) + 1e-3
  x, y = flat[0] // 3, flat[0] % 3
  alone = surrogate.jackknife(x, y, np.arange(90))  # groups of one
  np.testing.assert_allclose(alone, surrogate.jackknife(x, y), rtol=1e-9)


def test_a_side_of_noise_flatters_itself_as_much_as_permutations_say():
  """Cells of x1 tell the label; where pairs are kept the bias of I(X2;Y) seems half of what it is.
  """
  g = np.random.default_rng(0)
  y, j = g.integers(0, 3, 300), g.integers(0, 10, 300)
  s = Sample(2 * y + g.integers(0, 2, 300), j, y, (6, 10, 3))
  made = surrogate.drawn(s, surrogate.population(s, Shares(Pull(), NONE, 0, NONE)),
                         *(surrogate.noise(s, 200, g) for _ in range(2)))
  chance = nulls.permuted(s, 'x2', 200, g)[0]
  found, expected = (surrogate.informations(p)[:, 1].mean() for p in (made, chance))
  assert found == pytest.approx(expected, rel=0.1)
  assert expected == pytest.approx(9 * 2 / 600, rel=0.1)  # Miller and Madow


def test_labels_follow_the_model_and_residuals_give_them_back():
  s = sample(50)
  model = np.zeros(s.shape)
  model[..., 2] = 1 / 20
  noises = [surrogate.noise(s, 4, np.random.default_rng(k)) for k in range(2)]
  drawn = surrogate.drawn(s, model, *noises)
  assert np.allclose(drawn[..., 2].sum(axis=(1, 2)), 1)
  g = np.random.default_rng(0)
  p_y = s.table().sum(axis=(0, 1))
  u = surrogate.residuals(np.broadcast_to(p_y, (50, 3)), s.y, g.random(50))
  assert (surrogate.labels(p_y, u[None])[0] == s.y).all()


# -- groups ----------------------------------------------------------------------------------------


def test_noise_of_groups_is_that_of_other_groups():
  groups = np.repeat(np.arange(4), (2, 3, 4, 6))
  s = dataclasses.replace(sample(15), groups=groups)
  flat = np.broadcast_to(np.bincount(groups % 3) / 15, (15, 3))
  made = surrogate.noise(s, 50, np.random.default_rng(0))(flat, groups % 3)
  for row in made:
    labels = surrogate.labels(np.bincount(groups % 3) / 15, row[None])[0]
    assert all(len(set(labels[groups == g])) == 1 for g in range(4))
  assert made.shape == (50, 15) and (0 < made).all() and (made < 1).all()


@pytest.mark.parametrize('which', ['y', 'x1', 'x2', 'x1|x2', 'x2|x1'])
def test_permutations_move_whole_groups(which):
  g = np.random.default_rng(0)
  groups = np.repeat(np.arange(12), 10)
  i, j, y = (np.repeat(g.integers(0, k, 12), 10) for k in (3, 3, 2))
  s = Sample(i, j, y, (3, 3, 2), groups)
  made, part = nulls.permuted(s, which, 20, g)
  assert part is None
  np.testing.assert_allclose(made * 12, np.round(made * 12), atol=1e-9)  # ten samples at once


def test_groups_of_unequal_size_are_thinned_and_few_arrangements_taken_once():
  g = np.random.default_rng(0)
  groups = np.repeat(np.arange(3), (5, 5, 8))
  s = Sample(*(g.integers(0, 2, 18) for _ in range(3)), (2, 2, 2), groups)
  made, part = nulls.permuted(s, 'y', 100, g)
  assert len(made) == 5 and part is not None
  np.testing.assert_allclose(made.sum(axis=(1, 2)), np.broadcast_to(part.sum(axis=(0, 1)), (5, 2)))
  assert (nulls.resampled(s, 30, g).sum(axis=(1, 2, 3)) == pytest.approx(1))
