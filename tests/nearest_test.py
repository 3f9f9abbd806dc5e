"""Information from samples: closed forms, scikit-learn, ties, independence, classifiers."""

import time
import warnings

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

from mmalign_jax.information import counts
from mmalign_jax.information.classifier import held_out
from mmalign_jax.information.nearest import ksg, ross

LN2 = np.log(2)


def rng(seed=0):
  return np.random.default_rng(seed)


def normals(n, rho, d=1, seed=0):
  """x, y [n, d], column by column of correlation rho."""
  x, e = rng(seed).normal(size=(2, n, d))
  return x, rho * x + (1 - rho**2)**.5 * e


def clusters(n, means, seed=0):
  """x [n, D] around the mean [C, D] of its class y [n]."""
  g, means = rng(seed), np.asarray(means, float)
  y = g.integers(0, len(means), n)
  return means[y] + g.normal(size=(n, means.shape[1])), y


def of_clusters(means, n=200_000):
  """I(X;Y) of `clusters` by sampling: H(Y) + E log p(y|x)."""
  means = np.asarray(means, float)
  x, y = clusters(n, means, seed=99)
  log_p = -((x[:, None] - means[None])**2).sum(axis=2) / 2
  log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
  return np.log(len(means)) + log_p[np.arange(n), y].mean()


# -- ksg -------------------------------------------------------------------------------------------


def ksg_in_words(x, y, k):
  d_x, d_y = cdist(x, x, 'chebyshev'), cdist(y, y, 'chebyshev')
  d, n, total = np.maximum(d_x, d_y), len(x), 0.0
  for i in range(n):
    others = np.arange(n) != i
    e = np.sort(d[i][others])[k - 1]
    n_x, n_y = np.sum(d_x[i][others] < e), np.sum(d_y[i][others] < e)
    total += digamma(n_x + 1) + digamma(n_y + 1)
  return digamma(k) + digamma(n) - total / n


@pytest.mark.parametrize('k', [1, 3, 10, 59])
def test_ksg_by_its_definition(k):
  x, y = normals(60, 0.5, 2)
  assert ksg(x, y[:, :1], k) == pytest.approx(ksg_in_words(x, y[:, :1], k), abs=1e-12)


@pytest.mark.parametrize('rho', [0.0, 0.5, 0.75, 0.95])
def test_ksg_of_normals(rho):
  found = ksg(*normals(4000, rho), k=4)
  assert found == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.035)  # spread .013 at N = 4000


def test_ksg_of_four_normals_a_side():
  found = ksg(*normals(4000, 0.3, 4))
  assert found == pytest.approx(-2 * np.log(1 - 0.3**2), abs=0.05)


def test_ksg_of_many_columns_is_far_too_low():  # as documented
  assert ksg(*normals(400, 0.3, 32)) < 0.3 * -16 * np.log(1 - 0.3**2)


def test_ksg_as_scikit_learn():
  x, y = normals(500, 0.6)  # scikit-learn scales both, and adds noise of 1e-10
  for k in (3, 7):
    theirs = mutual_info_regression(x, y[:, 0], n_neighbors=k, random_state=0)[0]
    assert ksg(x / x.std(), y / y.std(), k) == pytest.approx(theirs, abs=1e-9)


def test_ksg_of_independent_samples_is_centred_and_can_be_negative():
  found = np.array([ksg(*normals(200, 0.0, seed=seed)) for seed in range(60)])
  assert abs(found.mean()) < 4 * found.std() / 60**.5 + 0.005
  assert found.min() < -0.01  # returned as it is


def test_ksg_is_symmetric_and_does_not_mind_order_and_shift():
  x, y = normals(300, 0.7, 2)
  order = rng(5).permutation(300)
  assert ksg(x, y) == pytest.approx(ksg(y, x), abs=1e-12)
  assert ksg(x, y) == pytest.approx(ksg(8 * x[order] + 64, 8 * y[order] - 32), abs=1e-12)


def test_group_g_labels_in_ksg_are_warned_of():
  """Mixed data: the warning is there, the value is not below 0."""
  x, y = clusters(1000, [[0], [2]])
  with pytest.warns(UserWarning, match='y: 100% of the samples have an equal one'):
    found = ksg(x, y[:, None])
  assert found == pytest.approx(ross(x, y), abs=0.03)


def test_ksg_of_rounded_values_is_not_twice_too_high():
  x, y = normals(1000, 0.75)
  with pytest.warns(UserWarning, match='the samples have an equal one'):
    found = ksg(x.round(1), y.round(1))
    independent = ksg(x.round(1), rng(3).normal(size=(1000, 1)).round(1))
  assert found == pytest.approx(-0.5 * np.log(1 - 0.75**2), abs=0.12)
  assert abs(independent) < 0.1


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('estimate', [ksg, lambda x, y: ross(x, y[:, 0])], ids=['ksg', 'ross'])
def test_values_that_all_repeat_give_the_information_of_their_table(estimate):
  x = rng().integers(0, 4, (2000, 1))
  y = np.where(rng(1).uniform(size=(2000, 1)) < 0.6, x, rng(2).integers(0, 4, (2000, 1)))
  table = np.histogram2d(x[:, 0], y[:, 0], bins=4)[0]
  assert estimate(x, y) == pytest.approx(counts.mutual_information(table), abs=1e-3)
  apart = rng(3).integers(0, 3, (2000, 1))
  assert abs(estimate(x, apart)) < 0.01


def test_constant_columns_and_copies():
  x, y = normals(200, 0.8)
  assert ksg(np.c_[x, np.ones(200)], y) == pytest.approx(ksg(x, y), abs=1e-12)
  with pytest.warns(UserWarning):
    assert ksg(np.ones((50, 1)), np.ones((50, 1))) == pytest.approx(0, abs=1e-12)
    assert np.isfinite(ksg(np.repeat(x, 10, axis=0), np.repeat(y, 10, axis=0)))


# -- ross ------------------------------------------------------------------------------------------


def ross_in_words(x, y, k):
  d, total = cdist(x, x), 0.0
  for i in range(len(x)):
    others = np.arange(len(x)) != i
    mine = others & (y == y[i])
    nearest = min(k, mine.sum())
    e = np.sort(d[i][mine])[nearest - 1]
    total += digamma(nearest) - digamma(np.sum(d[i][others] <= e)) - digamma(mine.sum() + 1)
  return digamma(len(x)) + total / len(x)


@pytest.mark.parametrize('k', [1, 3, 10])
def test_ross_by_its_definition(k):
  x, y = clusters(60, [[0, 0], [1, 1], [3, 0]])
  y[:3] = [7, 7, 7]  # a class of three
  assert ross(x, y, k) == pytest.approx(ross_in_words(x, y, k), abs=1e-12)


def test_ross_as_scikit_learn():
  x, y = clusters(500, [[0], [1], [2]])
  y[0:2], y[2] = 8, 9  # too few for k, and a single one
  for k in (1, 3, 7):
    theirs = mutual_info_classif(x, y, n_neighbors=k, random_state=0)[0]
    with pytest.warns(UserWarning, match='y has 1 classes of one sample, which are left out'):
      assert ross(x, y, k) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize('means', [[[0], [1]], [[0, 0], [2, 0], [0, 2]], [[0] * 4, [0.7] * 4]])
def test_ross_of_clusters(means):
  assert ross(*clusters(4000, means), k=5) == pytest.approx(of_clusters(means), abs=0.035)


def test_ross_of_independent_samples():
  found = np.array([ross(rng(seed).normal(size=(150, 2)), rng(seed + 500).integers(0, 3, 150))
                    for seed in range(100)])
  assert abs(found.mean()) < 4 * found.std() / 10 + 0.003
  assert found.min() < -0.01  # returned as it is


def test_group_g_ross_is_never_above_the_entropy_of_the_labels():
  x, y = clusters(600, 100 * np.eye(3))
  h = counts.plug_in(np.bincount(y))
  assert h < ross(x, y) < h + 2 / 600
  for seed in range(10):
    x, y = clusters(60, [[0], [3]], seed=seed)
    size = np.bincount(y)[y]
    assert ross(x.round(1), y) <= digamma(60) - digamma(size).mean() + 1e-12


def test_copies_of_samples():
  x, y = clusters(100, [[0, 0], [1, 1]])
  twice = ross(np.repeat(x, 5, axis=0), np.repeat(y, 5), 3)
  assert np.isfinite(twice) and twice < LN2 + 0.01
  assert ross(np.ones((90, 1)), np.arange(90) % 3) == pytest.approx(0, abs=0.02)
  half = np.maximum(rng().normal(size=(2000, 1)), 0)  # a mixed column, and labels that ignore it
  assert abs(ross(half, rng(1).integers(0, 2, 2000))) < 0.03


def test_labels_may_be_names():
  x, y = clusters(100, [[0], [2]])
  assert ross(x, np.array(['no', 'yes'])[y]) == ross(x, y == 1) == ross(x, -3.0 * y)


# -- classifiers -----------------------------------------------------------------------------------


@pytest.mark.parametrize('means', [[[0, 0], [3, 0]], [[0] * 5, [1] * 5, [0, 2, 0, -2, 0]]])
def test_bound_of_clusters_is_below_and_near_the_truth(means):
  found, truth = held_out(*clusters(1500, means), seed=0), of_clusters(means)
  assert 0.8 * truth < found.value < truth + 2 * found.error
  assert 0 < found.error < 0.05 and len(found.chosen) == 5


def test_bound_below_the_truth_on_average():
  means = [[0, 0], [1.5, 0]]
  found = [held_out(*clusters(150, means, seed), seed, 3).value for seed in range(12)]
  assert np.mean(found) < of_clusters(means) + 2 * np.std(found) / 12**.5


def test_bound_of_independent_samples():
  found = [held_out(rng(seed).normal(size=(200, 5)), rng(seed + 99).integers(0, 3, 200), seed, 3)
           for seed in range(10)]
  assert np.mean([one.value for one in found]) < 0.005
  assert min(one.value for one in found) > -0.1  # a classifier that has learnt nothing is not used


def test_an_xor_is_seen():
  a, b = rng().integers(0, 2, (2, 500))
  exact = held_out(np.c_[a, b], a ^ b, seed=0)
  assert 0.97 * LN2 < exact.value < LN2 and set(exact.chosen) == {'kernel'}
  noisy = np.c_[a, b, a] + rng(1).normal(size=(500, 3)) * [0.2, 0.2, 3]
  assert held_out(noisy, a ^ b, seed=0).value > 0.7 * LN2


def test_a_wrong_label_does_not_dominate():
  x, y = clusters(400, [[-20, 0], [20, 0]])
  wrong = y.copy()
  wrong[:4] = 1 - wrong[:4]
  clean, found = held_out(x, y, 0), held_out(x, wrong, 0)
  assert clean.value > LN2 - 0.02
  # the truth for flips of 1 %: log 2 - .056; a mistake costs at most 6 nats and -log p(y)
  assert LN2 - 0.056 - 0.05 < found.value < LN2 - 0.02


def test_scale_shift_and_constant_columns_do_not_matter():
  x, y = clusters(200, [[0, 0], [2, 1]])
  expected = held_out(x, y, 3, 3)
  moved = held_out(np.c_[1e6 * x[:, 0] - 1e7, x[:, 1] / 1e4, np.full(200, 5.0)], y, 3, 3)
  assert moved.value == pytest.approx(expected.value, abs=1e-4)
  assert held_out(x, y, 3, 3) == expected and held_out(x, y, 4, 3) != expected


def test_rare_classes_and_few_samples():
  x, y = clusters(80, [[0], [3]])
  y[0] = 5  # in no training fold but the others
  assert np.isfinite(held_out(x, y, 0).value)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    assert np.isfinite(held_out(x[:4], [0, 1, 1, 1], 0, 2).value)


def test_wide_features_take_seconds():
  x, y = clusters(1000, 0.4 * rng(7).normal(size=(10, 300)))
  start = time.process_time()
  found = held_out(x, y, 0)
  assert time.process_time() - start < 40  # about 3 on a free core
  assert 0.8 * np.log(10) < found.value < np.log(10)


# -- errors ----------------------------------------------------------------------------------------


X, Y = normals(20, 0.5)
LABELS = np.arange(20) % 2
NAN = np.where(np.arange(20)[:, None] == 3, np.nan, X)


@pytest.mark.parametrize('estimate', [ross, lambda x, y: held_out(x, y, 0)], ids=['ross', 'bound'])
@pytest.mark.parametrize('x, y, message', [
    (X, LABELS[1:], 'x has N=20 samples and y has N=19'),
    (X[:, 0], LABELS, r'x has shape \(20,\); samples are \[N, D\]'),
    (X[:, :0], LABELS, r'x has shape \(20, 0\); samples are \[N, D\]'),
    (NAN, LABELS, r'x has 1 entries that are not finite, first nan at \[3, 0\]'),
    (X, LABELS[:, None], r'y has shape \(20, 1\); labels are \[N\]'),
    (X, np.zeros(20, int), 'y has one class, 0'), (X, Y[:, 0], 'labels are whole numbers'),
    (X, NAN[:, 0] * 0, 'y has nan; labels are whole numbers'),
    (X, np.array([None, 1] * 10), 'y has labels of type object'),
    (X.astype(str), LABELS, 'x has entries of type')])
def test_wrong_features_and_labels(estimate, x, y, message):
  with pytest.raises(ValueError, match=message) as raised:
    estimate(x, y)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('x, y, message', [
    (X, Y[1:], 'x has N=20 samples and y has N=19'), (X, NAN, 'y has 1 entries that are not'),
    (X, Y[:, 0], r'y has shape \(20,\)'), (X * np.inf, Y, 'x has 20 entries that are not finite')])
def test_wrong_arguments_of_ksg(x, y, message):
  with np.errstate(invalid='ignore'), pytest.raises(ValueError, match=message):
    ksg(x, y)


@pytest.mark.parametrize('estimate', [lambda k: ross(X, LABELS, k), lambda k: ksg(X, Y, k)],
                         ids=['ross', 'ksg'])
@pytest.mark.parametrize('k', [0, 20, 2.5])
def test_wrong_k(estimate, k):
  with pytest.raises(ValueError, match=f'k={k} neighbours must be a whole number, 1 <= k < N=20'):
    estimate(k)


def test_classes_of_single_samples_alone_are_refused():
  with pytest.raises(ValueError, match='y has 0 classes with two samples or more'):
    ross(X, np.arange(20))


def test_wrong_folds():
  for folds in (1, 21):
    with pytest.raises(ValueError, match=f'folds={folds} must be in 2..N=20'):
      held_out(X, LABELS, 0, folds)
  with pytest.raises(ValueError, match='x has N=3 samples; at least 4 are needed'):
    held_out(X[:3], LABELS[:3], 0, 2)
