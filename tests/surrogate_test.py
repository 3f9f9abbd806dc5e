"""Cells, permutations and models: what each keeps, and what it destroys."""

import numpy as np
import pytest

from mmalign_jax.information import discrete, quantise, surrogate
from mmalign_jax.information.surrogate import Sample, Shares


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
  made = surrogate.permuted(s, which, 3, np.random.default_rng(1))
  assert made.shape == (3, *s.shape) and not np.allclose(made[0], made[1])
  for pair in ((0, 1), (0, 2), (1, 2)):
    out = ({0, 1, 2} - set(pair)).pop()
    same = np.allclose(made.sum(axis=1 + out), s.table().sum(axis=out)[None])
    assert same == (pair in kept), pair


def test_permuting_within_strata_leaves_no_conditional_information():
  s = sample(20000)
  p = surrogate.permuted(s, 'x1|x2', 1, np.random.default_rng(0))[0]
  assert float(discrete.conditional_mutual_information(p, 0, 2, given=1)) < 0.003
  assert float(discrete.conditional_mutual_information(s.table(), 0, 2, given=1)) > 0.15


# -- models ----------------------------------------------------------------------------------------


def test_models_run_from_independence_to_the_sample():
  s = sample()
  p_y = s.table().sum(axis=(0, 1))
  seen = s.table().sum(axis=2) > 0
  none = surrogate.conditional(s, Shares(0, 0, 0))
  np.testing.assert_allclose(none[seen], np.broadcast_to(p_y, none[seen].shape), atol=1e-12)
  whole = surrogate.population(s, surrogate.conditional(s, Shares(1, 1, 1)))
  np.testing.assert_allclose(whole, s.table(), atol=1e-12)


def test_without_interaction_log_odds_are_additive():
  s = sample(20000)
  q = surrogate.population(s, surrogate.conditional(s, Shares(1, 1, 0)))
  np.testing.assert_allclose(q.sum(axis=1), s.table().sum(axis=1), atol=1e-3)
  model = np.log(surrogate.conditional(s, Shares(1, 1, 0)))
  odds = model[..., 1] - model[..., 0]
  mixed = odds[1:, 1:] - odds[:1, 1:] - odds[1:, :1] + odds[:1, :1]
  np.testing.assert_allclose(mixed, 0, atol=1e-6)


def test_a_fitted_model_explains_the_observed_informations():
  s = sample(300)
  shares = surrogate.fitted(s, np.random.default_rng(0))
  model = surrogate.conditional(s, shares)
  drawn = surrogate.drawn(s, model, np.random.default_rng(1).random((200, 300)))
  found = surrogate.informations(drawn)
  error = found.std(axis=0) / np.sqrt(len(found)) + found.std(axis=0) / 4  # of the fitting draws
  observed = surrogate.informations(s.table()[None])[0]
  assert (np.abs(found.mean(axis=0) - observed) < 3 * error).all()
  own = surrogate.informations(surrogate.population(s, model)[None])[0]
  assert (own < observed).all()  # what the plug-in adds


def test_labels_follow_the_model():
  s = sample(50)
  model = np.zeros(s.shape)
  model[..., 2] = 1
  drawn = surrogate.drawn(s, model, np.random.default_rng(0).random((4, 50)))
  assert np.allclose(drawn[..., 2].sum(axis=(1, 2)), 1)
