"""Linear references: against scikit-learn, on the labels that encoders of the seed learn from."""

import dataclasses

import jax
import numpy as np
import pytest
from sklearn.cross_decomposition import CCA, PLSSVD
from sklearn.linear_model import Ridge

from mmalign_jax import rng
from mmalign_jax.data import pair_source, pairs, prepared
from mmalign_jax.studies.strength import linear
from mmalign_jax.types import Hyper


def made(n: int = 240) -> prepared.Prepared:
  """Three classes that shift what both views share, beneath louder noise of each view's own."""
  g = np.random.default_rng(0)
  y = (np.arange(n) % 3).astype(np.int32)
  common = g.normal(size=(n, 2)) + 3 * np.eye(3)[y][:, :2]
  views = []
  for _ in range(2):
    z = np.concatenate([common, 8 * g.normal(size=(n, 10))], axis=1)
    views.append(z @ np.linalg.qr(g.normal(size=(12, 12)))[0])
  return prepared.prepare(pairs.Pairs(
      'made', ('one', 'two'), tuple(views), (np.ones(n, bool),) * 2, y, np.ones(n, bool),
      ('a', 'b', 'c')))


def test_canonical_correlations_are_those_of_scikit_learn(monkeypatch):
  monkeypatch.setattr(linear, '_SHRUNK', 0.0)
  g = np.random.default_rng(1)
  x = g.normal(size=(300, 4))
  y = x @ g.normal(size=(4, 5)) + g.normal(size=(300, 5))
  x, y = x - x.mean(0), y - y.mean(0)
  w, found = linear.canonical(x, y, True)
  of = CCA(4, scale=False, max_iter=5000, tol=1e-12).fit(x, y)
  theirs = [np.corrcoef(a, b)[0, 1] for a, b in zip(*(v.T for v in of.transform(x, y)))]
  np.testing.assert_allclose(found, theirs, atol=1e-4)
  np.testing.assert_allclose((x @ w).T @ (x @ w) / 300, np.eye(4), atol=1e-8)
  w, _ = linear.canonical(x, y, False)
  theirs = PLSSVD(4, scale=False).fit(x, y).x_weights_
  np.testing.assert_allclose(abs((w * theirs).sum(0)), 1, atol=1e-6)


def test_ridge_is_that_of_scikit_learn():
  data = made()
  x, y = np.asarray(data.x[0][:30], np.float64), data.y[:30]
  found = list(linear._ridge([x, x, data.test[0].x], y, data))
  unit = np.square(x - x.mean(0)).sum() / x.shape[1]
  for ridge, (_, predicted) in zip(linear.RIDGES, found):
    want = Ridge(ridge * unit).fit(x, np.eye(3)[y]).predict(data.test[0].x)
    np.testing.assert_allclose(predicted, want, atol=1e-6)


@pytest.mark.parametrize('n_labelled', [2, 0])
def test_labels_are_those_that_an_encoder_of_the_seed_learns_from(n_labelled):
  data = made()
  draws = pair_source.draw(prepared.tables(data), Hyper(n_labelled=n_labelled),
                           rng.stream(np.uint32(3), 'data'), len(data.y))
  rows = np.asarray(jax.device_get(draws.rows[0]))[:int(draws.n_labelled)]
  np.testing.assert_array_equal(linear.budget(data, n_labelled, 3), rows)


def test_directions_that_go_together_help_where_labels_are_few():
  found = [linear.references(made(), 3, seed) for seed in range(6)]
  mean = {method: np.mean([one[method][0].accuracy.mean() for one in found])
          for method in linear.METHODS}
  assert mean['cca'] > mean['pca'] + 0.1 and set(mean) == {'pca', 'cca', 'pls'}


def test_test_rows_choose_nothing():
  data = made()
  before = linear.references(data, 3, 0)
  other = tuple(dataclasses.replace(one, y=(one.y + 1) % 3) for one in data.test)
  after = linear.references(dataclasses.replace(data, test=other), 3, 0)
  for method, sides in before.items():
    for one, two in zip(sides, after[method]):
      assert (one.components, one.directions, one.ridge) == (
          two.components, two.directions, two.ridge)


def test_a_regression_is_judged_by_sign():
  g = np.random.default_rng(2)
  y = g.normal(size=200)
  views = tuple(y[:, None] + 0.3 * g.normal(size=(200, 5)) for _ in range(2))
  data = prepared.prepare(pairs.Pairs(
      'made', ('one', 'two'), views, (np.ones(200, bool),) * 2, y, np.ones(200, bool), ()))
  assert linear.references(data, 30, 0)['pca'][1].accuracy.mean() > 0.85


def test_what_cannot_be_is_one_line():
  data = made()
  with pytest.raises(ValueError, match='two sides of vectors'):
    linear.references(dataclasses.replace(data, x=data.x[:1]), 3, 0)
  first, second = data.validation
  with pytest.raises(ValueError, match='need validation rows of both sides'):
    linear.references(dataclasses.replace(
        data, validation=(first, dataclasses.replace(second, y=second.y[:0]))), 3, 0)
