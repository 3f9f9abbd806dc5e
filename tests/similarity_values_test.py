"""Values of measures: published fixtures, independent software, hand-worked numbers, known bugs."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance, procrustes as scipy_procrustes
from sklearn import cross_decomposition, decomposition, linear_model, neighbors

from mmalign_jax import similarity
from mmalign_jax.similarity import (
  MEASURES,
  basis,
  blocks,
  dissimilarity,
  gap,
  linear,
  minibatch,
  neighbors as ours,
  rbf,
  retrieval,
)

SHARED = pathlib.Path(__file__).resolve().parents[2] / 'shared'
FAST = {'xla_backend_optimization_level': 0}


@pytest.fixture(autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


@functools.cache
def jitted(name, settings):
  return jax.jit(functools.partial(MEASURES[name], **dict(settings)), compiler_options=FAST)


search = jax.jit(ours.search, static_argnames=('k', 'metric', 'with_self'), compiler_options=FAST)
ranked = jax.jit(dissimilarity.ranked, compiler_options=FAST)
gap_parts = jax.jit(similarity.modality_gap_parts, compiler_options=FAST)


def value(name, x, y, **settings):
  return float(jitted(name, tuple(settings.items()))(x, y))


def unit(z):
  return z / np.linalg.norm(z, axis=1, keepdims=True)


def golden() -> tuple[np.ndarray, np.ndarray]:
  """X [200, 20], Y [200, 30], noisy views of the same six factors, as in golden.md."""
  g, n = np.random.default_rng(0), 200
  z = g.standard_normal((n, 6))
  x = z @ g.standard_normal((6, 20)) + .5 * g.standard_normal((n, 20))
  return x, z @ g.standard_normal((6, 30)) + .5 * g.standard_normal((n, 30))


def views(seed: int, n: int = 60, d1: int = 5, d2: int = 4) -> tuple[np.ndarray, np.ndarray]:
  g = np.random.default_rng(seed)
  z = g.normal(size=(n, 2))
  return tuple(z @ g.normal(size=(2, d)) + g.normal(size=(n, d)) for d in (d1, d2))


# -- published fixtures ----------------------------------------------------------------------------


@pytest.mark.parametrize('name, settings, expected, digits', [
    ('linear_cka', {}, .79181783, 8), ('debiased_linear_cka', {}, .78646484, 8),
    ('rv_coefficient', {}, .79181783, 8), ('rbf_cka', {}, .81618499, 8),
    ('rbf_cka', {'sigma': 1.0}, .99999851, 8), ('bures', {}, .91079053, 8),
    ('angular', {'alpha': .5}, .43408709, 8), ('angular', {'alpha': 0.}, 1.12411731, 8),
    ('cca', {}, .52905644, 8), ('cca_squared', {}, .38241504, 8),
    ('rsa', {}, .82020001, 8), ('rsa', {'comparison': 'pearson'}, .82231439, 8),
    ('rsa', {'comparison': 'pearson', 'dissimilarity': 'squared_euclidean'}, .79391479, 8),
    ('rsa', {'comparison': 'cosine', 'dissimilarity': 'squared_euclidean'}, .93749152, 8),
    ('mutual_knn', {}, .5855, 6), ('mutual_knn', {'metric': 'inner_product'}, .5415, 6),
    ('mutual_knn', {'metric': 'euclidean'}, .5715, 6), ('jaccard_knn', {}, .426986, 6),
    ('cycle_knn', {}, 1.0, 6), ('cycle_knn', {'metric': 'inner_product'}, .620, 6),
    ('lcs_knn', {}, 3.545, 6), ('lcs_knn', {'metric': 'inner_product'}, 3.310, 6),
    ('edit_distance_knn', {}, .1435, 6),
    ('edit_distance_knn', {'metric': 'inner_product'}, .1265, 6),
    ('cknna', {}, .608022, 4), ('cknna', {'metric': 'inner_product'}, .543128, 4)])
def test_golden_fixture(name, settings, expected, digits):
  # cknna: the published value has 1e-6 in its denominator; values.json below has it without
  assert value(name, *golden(), **settings) == pytest.approx(expected, abs=6 * 10.0**-(digits + 1))


@pytest.mark.parametrize('case', [0, 1])
def test_values_of_the_metric_code_of_the_field(case):
  path = SHARED / 'oracles/values.json'
  if not path.is_file():
    pytest.skip(f'no reference values at {path}')
  entry = json.loads(path.read_text())['similarity'][case]
  r = np.random.default_rng(entry['seed'])
  x = r.standard_normal((entry['n'], entry['d1']))
  w = r.standard_normal((entry['d1'], entry['d2']))
  y = np.tanh(x @ w / np.sqrt(entry['d1']))
  y = y + entry['noise'] * r.standard_normal((entry['n'], entry['d2']))
  for key, expected in entry['values'].items():
    name = key.removesuffix('_sigma1')
    settings = {'sigma': 1.0} if name != key else {}
    settings |= {'k': entry['k']} if 'k' in MEASURES[name].settings else {}
    assert value(name, unit(x), unit(y), **settings) == pytest.approx(expected, abs=1e-6), key


def real_pair(name):
  if name.startswith(('clip', 'videoclip')):
    path = SHARED / 'data/clip_features' / f'features_{name}.npy'
    if not path.is_file():
      pytest.skip(f'no real features at {path}')
    return np.load(path).astype(np.float64)
  first, second = (SHARED / f'data/uci_mfeat/mfeat-{view}.csv' for view in name.split(','))
  if not first.is_file():
    pytest.skip(f'no real features at {first}')
  return [np.loadtxt(path, delimiter=',', skiprows=1)[:, :-1] for path in (first, second)]


@pytest.mark.parametrize('pair, cka, debiased, mutual, cknna', [
    ('clip', .636196, .604465, .249400, .258658),
    ('clip_random', .044970, .025707, .029000, .021434),
    ('videoclip', .640196, .434000, .312000, .337869),
    ('fou,pix', .268837, .261228, .121600, .114935),
    ('kar,pix', .765742, .763275, .564100, .583014)])
def test_real_pairs(pair, cka, debiased, mutual, cknna):
  x, y = real_pair(pair)
  if 'clip' not in pair:  # those are of norm 1 as they come
    x, y = (stats.zscore(z) for z in (x, y))
  x, y = unit(x), unit(y)
  found = [value(name, x, y) for name in ('linear_cka', 'mutual_knn', 'cknna')]
  np.testing.assert_allclose(found[:2], [cka, mutual], atol=6e-7)
  # The published debiased CKA and CKNNA have 1e-6 added to a denominator that is near 0.01 here.
  xy, xx, yy = (value('hsic', *pair) for pair in ((x, y), (x, x), (y, y)))
  assert xy / (np.sqrt(xx * yy) + 1e-6) == pytest.approx(debiased, abs=1e-6)
  assert value('debiased_linear_cka', x, y) == pytest.approx(xy / np.sqrt(xx * yy), abs=1e-12)
  assert dense_cknna(x, y, 10, epsilon=1e-6) == pytest.approx(cknna, abs=1e-6)
  assert found[2] == pytest.approx(dense_cknna(x, y, 10), abs=1e-9)


def test_clip_retrieves_and_its_gap():
  x, y = real_pair('clip')
  assert value('recall_xy', x, y) == pytest.approx(.552, abs=1e-6)
  assert value('modality_gap', x, y) == pytest.approx(.851, abs=5e-4)
  x, y = real_pair('clip_random')
  assert value('recall_xy', x, y) == pytest.approx(.002, abs=1e-6)
  assert value('modality_gap', x, y) == pytest.approx(1.136, abs=5e-4)


# -- independent software --------------------------------------------------------------------------


@pytest.mark.parametrize('seed', range(3))
class TestAgainstOtherSoftware:

  def test_svcca_is_cca_of_principal_components(self, seed):
    x, y = views(seed)
    a, b = (decomposition.PCA(2).fit_transform(z) for z in (x, y))
    cca = cross_decomposition.CCA(2, max_iter=20000, tol=1e-12).fit(a, b)
    scores = cca.transform(a, b)
    rho = [np.corrcoef(scores[0][:, i], scores[1][:, i])[0, 1] for i in range(2)]
    assert value('svcca', x, y, components=2) == pytest.approx(np.mean(rho), abs=1e-6)

  def test_pls_is_that_of_scikit_learn(self, seed):
    x, y = views(seed)
    t, u = cross_decomposition.PLSSVD(2, scale=False).fit_transform(x, y)
    rho = [np.corrcoef(t[:, i], u[:, i])[0, 1] for i in range(2)]
    assert value('pls', x, y, components=2) == pytest.approx(np.mean(rho), abs=1e-9)

  def test_linear_regression_is_r2(self, seed):
    x, y = views(seed)
    predicted = linear_model.LinearRegression().fit(x, y).predict(x)
    expected = 1 - ((y - predicted)**2).sum() / ((y - y.mean(axis=0))**2).sum()
    assert value('linear_regression', x, y) == pytest.approx(expected, abs=1e-10)

  def test_procrustes_is_that_of_scipy(self, seed):
    x, y = views(seed, d2=5)
    # scipy also scales: its disparity is 1 - bures^2
    assert value('bures', x, y) == pytest.approx(
        np.sqrt(1 - scipy_procrustes(x, y)[2]), abs=1e-10)
    assert value('procrustes', x, y)**2 == pytest.approx(2 - 2 * value('bures', x, y), abs=1e-10)
    assert np.cos(value('angular', x, y)) == pytest.approx(value('bures', x, y), abs=1e-10)

  @pytest.mark.parametrize('ours_, theirs', [
      ('euclidean', 'euclidean'), ('squared_euclidean', 'sqeuclidean'), ('cosine', 'cosine'),
      ('correlation', 'correlation')])
  def test_rsa_is_the_correlation_of_scipys_distances(self, seed, ours_, theirs):
    x, y = views(seed)
    a, b = distance.pdist(x, theirs), distance.pdist(y, theirs)
    for comparison, expected in (('spearman', stats.spearmanr(a, b)[0]),
                                 ('pearson', stats.pearsonr(a, b)[0]),
                                 ('cosine', 1 - distance.cosine(a, b))):
      assert value('rsa', x, y, dissimilarity=ours_, comparison=comparison) == pytest.approx(
          expected, abs=1e-9)

  def test_equal_dissimilarities_share_their_mean_rank(self, seed):
    matrix = np.random.default_rng(seed).integers(0, 5, size=(12, 12)).astype(float)
    matrix = np.triu(matrix, 1) + np.triu(matrix, 1).T
    found = ranked(matrix)
    i, j = np.triu_indices(12, 1)
    np.testing.assert_allclose(found[i, j] * 12**2 / 2, stats.rankdata(matrix[i, j]), atol=1e-9)
    np.testing.assert_array_equal(found, found.T)

  @pytest.mark.parametrize('metric', ['cosine', 'euclidean'])
  def test_neighbours_are_those_of_scikit_learn(self, seed, metric):
    x, _ = views(seed)
    expected = neighbors.NearestNeighbors(n_neighbors=7, metric=metric).fit(x).kneighbors(
        return_distance=False)
    np.testing.assert_array_equal(search(x, k=7, metric=metric).lists.T, expected)

  def test_list_measures_equal_plain_loops(self, seed):
    x, y = views(seed, n=30)
    lists = [np.asarray(search(z, k=6).lists.T).tolist() for z in (x, y)]
    pairs = list(zip(*lists))
    sets = [(set(a), set(b)) for a, b in pairs]
    expected = {
        'mutual_knn': np.mean([len(a & b) / 6 for a, b in sets]),
        'jaccard_knn': np.mean([len(a & b) / len(a | b) for a, b in sets]),
        'cycle_knn': np.mean([any(i in lists[0][j] for j in b) for i, b in enumerate(lists[1])]),
        'lcs_knn': np.mean([lcs(a, b) for a, b in pairs]),
        'edit_distance_knn': 1 - np.mean([levenshtein(a, b) for a, b in pairs]) / 6}
    for name, answer in expected.items():
      assert value(name, x, y, k=6) == pytest.approx(answer, abs=1e-12), name

  @pytest.mark.parametrize('debiased', [True, False])
  def test_cknna_equals_dense_matrices(self, seed, debiased):
    x, y = views(seed, n=30)
    assert value('cknna', x, y, k=6, debiased=debiased) == pytest.approx(
        dense_cknna(unit(x), unit(y), 6, debiased), abs=1e-10)

  def test_hsic_of_gram_matrices(self, seed):
    x, y = views(seed)
    for kernel, gram in (('linear', lambda z: z @ z.T), ('rbf', lambda z: np.exp(
        -distance.squareform(distance.pdist(z))**2 / (2 * 1.7**2)))):
      k, m = gram(x), gram(y)
      assert value('hsic', x, y, kernel=kernel, sigma=1.7) == pytest.approx(
          song(k, m) / (60 * 57), rel=1e-9, abs=1e-12)
      assert value('hsic', x, y, kernel=kernel, sigma=1.7, debiased=False) == pytest.approx(
          gretton(k, m) / 59**2, rel=1e-9)

  def test_gap_parts_are_a_wasserstein_distance_of_gaussians(self, seed):
    x, y = views(seed, d2=5)
    y = y + 1
    found = gap_parts(x, y)
    sx, sy = (np.cov(z.T, bias=True) for z in (x, y))
    roots = np.sqrt(np.linalg.eigvals(sx @ sy).real).sum()
    spread = np.trace(sx) + np.trace(sy) - 2 * roots
    between = ((x.mean(axis=0) - y.mean(axis=0))**2).sum()
    np.testing.assert_allclose(
        [found.centroids, found.distribution, found.total, found.share],
        [between**.5, spread**.5, (between + spread)**.5, between / (between + spread)], rtol=1e-8)

  def test_uniformity_alignment_and_effective_rank(self, seed):
    x, y = views(seed, d2=5)
    square = distance.pdist(unit(x))**2
    assert similarity.uniformity(x) == pytest.approx(np.log(np.exp(-2 * square).mean()), abs=1e-10)
    assert value('alignment', x, y) == pytest.approx(
        ((unit(x) - unit(y))**2).sum(axis=1).mean(), abs=1e-10)
    s = np.linalg.svd(x, compute_uv=False)
    assert similarity.effective_rank(x) == pytest.approx(np.exp(stats.entropy(s)), abs=1e-8)

  def test_ranks_of_retrieval(self, seed):
    x, y = views(seed, d2=5)
    near = unit(x) @ unit(y).T
    place = 1 + (near > np.diag(near)[:, None]).sum(axis=1)
    back = 1 + (near.T > np.diag(near)[:, None]).sum(axis=1)
    for name, rank in (('xy', place), ('yx', back)):
      assert value(f'median_rank_{name}', x, y) == np.median(rank)
      for at in (1, 5):
        assert value(f'recall_{name}', x, y, at=at) == pytest.approx((rank <= at).mean())

  def test_covariance_distance(self, seed):
    x, y = views(seed)
    k, m = x @ x.T, y @ y.T
    expected = 1 - (k * m).sum() / np.linalg.norm(k) / np.linalg.norm(m)
    assert value('covariance_distance', x, y) == pytest.approx(expected, abs=1e-10)

  def test_preprocessing(self, seed):
    x, _ = views(seed)
    np.testing.assert_allclose(similarity.center(x), x - x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(similarity.normalize(x), unit(x), atol=1e-12)
    np.testing.assert_allclose(similarity.standardize(x), stats.zscore(x), atol=1e-10)
    bound = np.quantile(abs(x), .9, axis=1).mean()
    np.testing.assert_allclose(similarity.clip(x, quantile=.9), x.clip(-bound, bound), atol=1e-12)
    bound = np.quantile(abs(x), .9)
    np.testing.assert_allclose(similarity.clip(x, quantile=.9, by_sample=False),
                               x.clip(-bound, bound), atol=1e-12)


def song(k, m) -> float:
  """n (n - 3) times the unbiased HSIC of Song et al. (2012), equation 5."""
  n, k, m = len(k), k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
  return ((k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2))
          - 2 / (n - 2) * (k @ m).sum())


def gretton(k, m) -> float:
  h = np.eye(len(k)) - 1 / len(k)
  return np.trace(k @ h @ m @ h)


def dense_cknna(x, y, k, debiased=True, epsilon=0.0) -> float:
  """CKNNA of rows of norm 1 from N x N matrices and masks."""
  grams, masks = [x @ x.T, y @ y.T], []
  for gram in grams:
    near = gram - np.diag([np.inf if debiased else 0] * len(x))
    masks.append(np.zeros(gram.shape))
    np.put_along_axis(masks[-1], np.argsort(-near, axis=1)[:, :k], 1, axis=1)
  def hsic(i, j):
    both = masks[i] * masks[j]
    return (song if debiased else gretton)(grams[i] * both, grams[j] * both)
  scale = len(x) * (len(x) - 3)
  return hsic(0, 1) / (np.sqrt(hsic(0, 0) * hsic(1, 1)) + epsilon * scale)


def lcs(a, b) -> int:
  best = np.zeros((len(a) + 1, len(b) + 1), int)
  for i, j in np.ndindex(len(a), len(b)):
    best[i + 1, j + 1] = (best[i, j] + 1 if a[i] == b[j] else max(best[i, j + 1], best[i + 1, j]))
  return best[-1, -1]


def levenshtein(a, b) -> int:
  d = np.add.outer(np.arange(len(a) + 1), np.arange(len(b) + 1))
  for i, j in np.ndindex(len(a), len(b)):
    d[i + 1, j + 1] = min(d[i, j + 1] + 1, d[i + 1, j] + 1, d[i, j] + (a[i] != b[j]))
  return d[-1, -1]


def test_linear_cka_by_hand():
  # centred columns a = (1, -1, 0, 0), b = (0, 0, 1, -1): a.a = 2 for x = [a], y = [a, b]
  a, b = np.array([1.0, -1, 0, 0]), np.array([0, 0, 1.0, -1])
  x, y = a[:, None], np.stack([a, b], axis=1)
  assert value('linear_cka', x, y) == pytest.approx(4 / (2 * np.sqrt(8)))
  assert value('linear_cka', x, b[:, None]) == 0


# -- one value, several ways -----------------------------------------------------------------------


@pytest.mark.parametrize('debiased', [True, False])
@pytest.mark.parametrize('d1, d2', [(20, 30), (20, 250), (250, 30), (250, 300)])
def test_feature_and_sample_space_agree(d1, d2, debiased):
  x, y = views(1, n=200, d1=d1, d2=d2)
  name = 'debiased_linear_cka' if debiased else 'linear_cka'
  k, m = ((z - z.mean(axis=0)) @ (z - z.mean(axis=0)).T for z in (x, y))
  product = song if debiased else gretton
  expected = product(k, m) / np.sqrt(product(k, k) * product(m, m))
  with jax.enable_x64(False):
    found = value(name, np.float32(x), np.float32(y))
  assert found == pytest.approx(expected, abs=1e-5)
  assert value(name, x, y) == pytest.approx(expected, abs=1e-10)
  made = jax.eval_shape(functools.partial(linear.prepare, debiased=debiased), jnp.asarray(x))
  assert isinstance(made, linear.Features) == (200 > d1)


def test_halved_squares_of_many_samples_find_the_same_neighbours():
  x = np.random.default_rng(0).normal(size=(1500, 3))
  found = search(x, k=5, metric='euclidean')
  expected = neighbors.NearestNeighbors(n_neighbors=5).fit(x).kneighbors(return_distance=False)
  np.testing.assert_array_equal(found.lists.T, expected)


def test_ties_go_to_the_lower_index():
  x = np.ones((9, 3))
  np.testing.assert_array_equal(search(x, k=3).lists.T[:5],
                                [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]])
  assert value('recall_xy', x, x) == pytest.approx(1 / 9)


@pytest.mark.parametrize('n', [9, ours.FEW + 1])
@pytest.mark.parametrize('metric', ours.METRICS)
def test_where_all_are_equal_no_sample_is_its_own_neighbour(n, metric):
  lists = np.asarray(search(np.full((n, 3), 0.3), k=3, metric=metric).lists.T)
  np.testing.assert_array_equal(lists[:5], [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]])
  assert (lists[5:] == [[0, 1, 2]]).all()


start, update = jax.jit(minibatch.start), jax.jit(minibatch.update)
cka = jax.jit(minibatch.cka, static_argnames='debiased')


@pytest.mark.parametrize('sizes', [(200,), (50, 50, 100), (1, 30, 169), (63, 63, 74)])
def test_running_sums_equal_the_value_of_all_samples(sizes):
  x, y = golden()
  x, y = x + 50, y - 20
  edges = np.cumsum((0, *sizes))
  parts = [(x[a:b], y[a:b]) for a, b in zip(edges, edges[1:])]
  sums = start(*parts[0])
  for part in parts[1:]:
    sums = update(sums, *part)
  assert float(cka(sums, debiased=True)) == pytest.approx(.78646484, abs=6e-9)
  assert float(cka(sums, debiased=False)) == pytest.approx(.79181783, abs=6e-9)


def test_a_batch_of_another_width_is_refused():
  x, y = golden()
  with pytest.raises(ValueError, match='y has 29 features; the first batch had 30'):
    update(start(x, y), x, y[:, :-1])


def test_minibatch_cka_is_the_ratio_of_summed_hsic():
  x, y = golden()
  batches = [(x[i:i + 60], y[i:i + 60]) for i in (0, 60, 120)]  # 20 samples are left out
  products = np.array([[song(a @ a.T, b @ b.T), song(a @ a.T, a @ a.T), song(b @ b.T, b @ b.T)]
                       for a, b in batches]).sum(axis=0)
  expected = products[0] / np.sqrt(products[1] * products[2])
  assert value('minibatch_cka', x, y, batch_size=60) == pytest.approx(expected, abs=1e-10)
  assert value('minibatch_cka', x, y) == pytest.approx(.78646484, abs=6e-9)


# -- bugs of public implementations (field.md, section 1) ------------------------------------------


def test_bug_1_cknna_has_a_default_number_of_neighbours():
  assert value('cknna', *golden()) == value('cknna', *golden(), k=10)


def test_bug_5_linear_cka_never_forms_a_matrix_of_all_pairs():
  x, y = np.zeros((4000, 20)), np.zeros((4000, 30))
  for name in ('linear_cka', 'debiased_linear_cka'):
    text = str(jax.make_jaxpr(MEASURES[name])(x, y))
    assert '4000,20' in text and '4000,4000' not in text


def test_bug_6_svcca_is_deterministic_and_takes_narrow_and_constant_features():
  x, y = golden()
  assert len({value('svcca', x, y, components=10) for _ in range(3)}) == 1
  assert 0 < value('svcca', x[:, :3], y[:, :4], components=10) < 1
  assert value('svcca', x[:, :3], np.ones((200, 4)), components=10) == 0


def test_bug_7_the_default_bandwidth_does_not_saturate():
  x, y = golden()
  for scale in (1e-3, 1, 1e3):
    assert value('rbf_cka', scale * x, y) == pytest.approx(.81618499, abs=1e-8)
  assert value('rbf_cka', x, y, sigma=1.0) > .99999
  far = np.random.default_rng(1).normal(size=(200, 20))
  assert value('debiased_rbf_cka', far, y) < .1  # and the default still tells unrelated apart


@pytest.mark.parametrize('n', [10, 50, 100])
def test_a_kernel_of_nothing_between_samples_says_nothing(n):
  g = np.random.default_rng(n)
  x, y = g.normal(size=(2, n, 16))
  for dtype in (np.float32, np.float64):  # of 1s and 0s alone, the same between all samples
    assert value('debiased_rbf_cka', x.astype(dtype), y.astype(dtype), sigma=0.05) == 0
    apart = np.eye(n, dtype=dtype)  # no sample is nearer to one than to another
    assert value('debiased_linear_cka', apart, y.astype(dtype)) == 0
  scaled = jnp.asarray(x / 0.05 / np.sqrt(2))
  assert rbf._streamed(scaled, True).norm == 0 and rbf._streamed(scaled / 80, True).norm > 0


def test_bug_8_svcca_keeps_as_many_components_as_the_variance_asks_for():
  g = np.random.default_rng(0)
  x = g.normal(size=(500, 20)) * np.linspace(2, 1, 20)
  share = np.cumsum(np.linalg.svd(x - x.mean(axis=0), compute_uv=False)**2)
  expected = 1 + np.sum(share < 0.8 * share[-1])
  made = jax.jit(functools.partial(basis.prepare, variance=0.8))(x)
  assert float(made.rank) == expected > 10


def test_bug_9_pwcca_does_not_move_with_the_mean_and_svcca_keeps_one_direction():
  x, y = golden()
  assert value('pwcca', x + 100, y) == pytest.approx(value('pwcca', x, y), abs=1e-8)
  x = x * np.geomspace(1, 1e-3, 20)  # one direction holds more than 99 % of the variance
  assert 0 < value('svcca', x, y) <= 1


def test_pwcca_by_its_definition():
  x, y = views(0)
  a, b = (np.linalg.qr(z - z.mean(axis=0))[0] for z in (x, y))
  u, rho, _ = np.linalg.svd(a.T @ b, full_matrices=False)
  weight = abs((a @ u).T @ (x - x.mean(axis=0))).sum(axis=1)
  assert value('pwcca', x, y) == pytest.approx((weight * rho).sum() / weight.sum(), abs=1e-10)


def test_gap_module_is_blind_to_the_pairing():
  x, y = views(0, d2=5)
  order = np.random.default_rng(0).permutation(60)
  for name in gap.MEASURES:
    if name != 'alignment':
      assert value(name, x, y[order]) == pytest.approx(value(name, x, y), abs=1e-10)


def test_gap_and_standardise_keep_their_digits_at_extreme_scales():
  x, y = views(0, d2=5)
  expected = similarity.modality_gap_parts(x, y)
  for scale in (1e-30, 1e30):
    with jax.enable_x64(False):
      found = similarity.modality_gap_parts(np.float32(scale * x), np.float32(scale * y))
      assert float(found.total) / scale == pytest.approx(float(expected.total), rel=1e-4)
      assert float(found.share) == pytest.approx(float(expected.share), rel=1e-3)
      np.testing.assert_allclose(similarity.standardize(np.float32(scale * x)), stats.zscore(x),
                                 atol=1e-4)


# -- parts, last since it lets go of all programs --------------------------------------------------


def by_parts(x, y, order):
  """What is found a tile or a block at a time, where samples are many."""
  searches = (5, 'euclidean', False), (20, 'inner_product', False), (7, 'euclidean', True)
  lists = [ours.search(x, k=k, metric=metric, with_self=with_self).lists
           for k, metric, with_self in searches]
  sides = [[rbf.prepare(z, debiased=debiased) for z in (x, y)] for debiased in (True, False)]
  return dict(
      lists=lists, ranks=retrieval.ranks(*(retrieval.prepare(z) for z in (x, y[:, :2]))),
      uniformity=similarity.uniformity(y), rbf=jnp.stack([rbf.compare(a, b) for a, b in sides]),
      permuted=jnp.stack([rbf.compare(a, b.take(order)) for a, b in sides]))


def test_blocks_and_tiles_equal_the_whole(monkeypatch):
  g = np.random.default_rng(0)
  x, y = np.round(g.normal(size=(70, 2)), 0), g.normal(size=(70, 3))  # many ties in x
  order = g.permutation(70)
  whole = jax.jit(lambda *z: by_parts(*z), compiler_options=FAST)(x, y, order)
  monkeypatch.setattr(ours, 'FEW', 10)  # else no tiles are made of so few
  monkeypatch.setattr(ours, 'TILE', 16)
  monkeypatch.setattr(rbf, 'DENSE', 10)
  monkeypatch.setattr(blocks, 'BLOCK_ENTRIES', 70 * 16)
  jax.clear_caches()  # of programs that were made by what is patched
  program = jax.jit(lambda *z: by_parts(*z), compiler_options=FAST)
  found, moved = program(x, y, order), program(x, y[order], order)
  for lists, expected in zip(found['lists'], whole['lists']):
    np.testing.assert_array_equal(lists, expected)
  np.testing.assert_array_equal(found['ranks'], whole['ranks'])
  np.testing.assert_allclose(found['rbf'], whole['rbf'], atol=1e-9)
  np.testing.assert_allclose(found['permuted'], moved['rbf'], atol=1e-9)
  np.testing.assert_allclose(found['uniformity'], whole['uniformity'], rtol=0, atol=1e-12)
