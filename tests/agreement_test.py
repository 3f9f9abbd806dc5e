"""Similarity over pairs of layers, one pair at a time, against all of them at once."""

import jax
import numpy as np
import pytest

from mmalign_jax import rng, similarity
from mmalign_jax.similarity import knn, neighbors
from mmalign_jax.studies.emergence import agreement

N, P = 40, 30


@pytest.fixture(scope='module')
def sides():
  random = np.random.default_rng(0)
  x = random.standard_normal((2, 2, N, 5)).astype(np.float32)
  y = random.standard_normal((2, 3, N, 4)).astype(np.float32)
  y[0, 1, :, :2] += 1.5 * x[0, 1, :, :2]
  return x, y


@pytest.mark.parametrize('name', ['debiased_linear_cka', 'mutual_knn', 'procrustes'])
def test_layer_by_layer_equals_all_at_once(sides, name):
  x, y = sides
  measure, settings = similarity.MEASURES[name], agreement.settings_of(similarity.MEASURES[name], 6)
  if measure.same_width:
    x = x[..., :4]
  scores, null = agreement.agreement(x, y, name=name, neighbors=6, permutations=P, seed=7)
  best, layer = agreement.best_layers(name, scores)
  found = agreement.calibrated(name, 6, best, null)
  for i in range(2):
    rows = lambda side: [similarity.normalize(z) for z in side[i]]
    whole = similarity.calibrate(
        measure, rows(x), rows(y), key=rng.stream(7, 'null'), permutations=P, **settings)
    np.testing.assert_allclose(scores[i], whole.pairs.matrix, atol=1e-5)
    np.testing.assert_allclose(null[i], whole.null, atol=1e-5)
    np.testing.assert_array_equal(layer[i], whole.pairs.index)
    for field in ('score', 'null_mean', 'calibrated', 'p_value'):
      np.testing.assert_allclose(
          getattr(found, field)[i], getattr(whole, field), atol=1e-5, err_msg=field)
  assert tuple(layer[0]) == (1, 1)  # where a relation was put in


def test_only_measures_that_count_neighbours_are_given_a_number():
  assert agreement.settings_of(similarity.MEASURES['mutual_knn'], 100) == {'k': 100}
  assert agreement.settings_of(similarity.MEASURES['debiased_linear_cka'], 100) == {}


@pytest.mark.parametrize('k', [knn.LONG - 1, knn.LONG])
def test_table_and_lists_find_the_same_neighbours(k):
  x, y = (jax.random.normal(jax.random.key(i), (60, 3)) for i in (0, 1))
  a, b = neighbors.search(x, k=k), neighbors.search(y, k=k)
  expected = [[j in set(np.asarray(b.lists)[:, i]) for i, j in enumerate(row)]
              for row in np.asarray(a.lists)]
  np.testing.assert_array_equal(knn.matches(a, b), expected)
  np.testing.assert_allclose(knn.mutual(a, b), np.mean(expected), atol=1e-6)
