"""Numbers that lose the digits an answer needs: long integers, small distances, ties."""

import contextlib
import functools
import io
import json

import jax
import numpy as np
from scipy import stats
from scipy.spatial import distance

from cases.table import Row
from mmalign_jax import cli
from mmalign_jax.similarity import MEASURES, center, neighbors, standardize
from mmalign_jax.similarity.preprocess import normalize

FAST = {'xla_backend_optimization_level': 0}


def value(name, x, y, **settings) -> float:
  """Of one compiled program; float32 unless JAX is set to float64."""
  return float(jax.jit(functools.partial(MEASURES[name], **settings), compiler_options=FAST)(x, y))


def is_one(name, x, y, digits=6, **settings):
  def check(_):
    found = float(MEASURES[name](x, y, **settings))  # as it is called: JAX set to float32
    assert abs(found - 1) < 10.0**-digits, found
  return check


def rotation(d: int, seed: int = 1) -> np.ndarray:
  return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


def unit(z: np.ndarray) -> np.ndarray:
  z = np.asarray(z, np.float64)
  return z / np.linalg.norm(z, axis=1, keepdims=True)


def mutual(x: np.ndarray, y: np.ndarray, k: int) -> float:
  """Share of neighbours in common by float64 distances; x, y [N, D] as differences see them."""
  lists = []
  for z in (x, y):
    z = np.asarray(z, np.float64)
    far = np.square(z[:, None] - z[None]).sum(axis=2)
    np.fill_diagonal(far, np.inf)
    lists.append(np.argsort(far, axis=1, kind='stable')[:, :k])
  return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(*lists)]))


# -- whole numbers ---------------------------------------------------------------------------------

_I = np.arange(50)
LONG_X, LONG_Y = (10**9 + _I)[:, None], (4 * 10**9 + 7 * _I)[:, None]


def long_from_files(folder):
  np.save(folder / 'x.npy', LONG_X)
  np.save(folder / 'y.npy', LONG_Y + 2**62)
  found = measured(folder, 'linear_cka,cca')
  assert abs(found['linear_cka'] - 1) < 1e-9 and abs(found['cca'] - 1) < 1e-9


def measured(folder, names: str, *arguments: str) -> dict[str, float]:
  """Values that the command prints for x.npy and y.npy of a folder."""
  out = io.StringIO()
  with contextlib.redirect_stdout(out):
    assert cli.main(['measure', str(folder / 'x.npy'), str(folder / 'y.npy'), '--null=0', '--json',
                     f'--measures={names}', *arguments]) == 0
  return {name: entry['value'] for name, entry in json.loads(out.getvalue()).items()}


def preprocessed(_):
  z = np.stack([_I, _I**2], axis=1) + np.int64(10)**12
  expected = stats.zscore(np.stack([_I, _I**2], axis=1).astype(float))
  np.testing.assert_allclose(standardize(z), expected, atol=1e-9)
  np.testing.assert_allclose(center(z), z - z.mean(axis=0), atol=1e-3)
  np.testing.assert_allclose(normalize(z), unit(z), rtol=1e-14)


# -- small distances -------------------------------------------------------------------------------


def clusters(at: float, dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
  g = np.random.default_rng(0)
  x = (np.repeat([[at], [-at]], 100, axis=0) + 0.05 * g.normal(size=(200, 8))).astype(dtype)
  return x, (x.astype(np.float64) @ rotation(8)).astype(dtype)


def small_distances(at, dtype, from_files):
  def check(folder):
    x, y = clusters(at, dtype)
    expected = mutual(x, y, 10)
    if from_files:
      np.save(folder / 'x.npy', x)
      np.save(folder / 'y.npy', y)
      found = measured(folder, 'mutual_knn,rsa', '--metric=euclidean')
    else:
      found = {'mutual_knn': MEASURES['mutual_knn'](x, y, metric='euclidean'),
               'rsa': MEASURES['rsa'](x, y)}
    rho = stats.spearmanr(*(distance.pdist(z.astype(np.float64)) for z in (x, y)))[0]
    assert abs(found['mutual_knn'] - expected) < 1e-6 and expected > 0.97
    assert abs(found['rsa'] - rho) < 1e-5 and rho > 0.99
  return check


def narrow_kernel(_):
  x, y = clusters(1000.0)
  kernels = [np.exp(-distance.squareform(distance.pdist(z.astype(np.float64)))**2 / 2 / 0.1**2)
             for z in (x, y)]
  h = np.eye(200) - 1 / 200
  k, m = (h @ kernel @ h for kernel in kernels)
  expected = np.vdot(k, m) / np.linalg.norm(k) / np.linalg.norm(m)
  assert abs(value('rbf_cka', x, y, sigma=0.1) - expected) < 1e-5


def far_sample(_):
  g = np.random.default_rng(2)
  x = g.normal(size=(200, 8)).astype(np.float32)
  x[7] = 1e6
  y = x + np.float32(0.1) * g.normal(size=x.shape).astype(np.float32)
  assert abs(value('mutual_knn', x, y, metric='euclidean') - mutual(x, y, 10)) < 1e-6


# -- one large component ---------------------------------------------------------------------------


def large_component(offset, dtype, n=300, width=64):
  g = np.random.default_rng(0)
  z = g.normal(size=(n, width))
  w = z @ rotation(width) + 0.3 * g.normal(size=(n, width))
  z, w = z.copy(), w.copy()
  for side in (z, w):
    side[:, 3] += offset
  return z.astype(dtype), w.astype(dtype)


def swamped(offset, dtype):
  def check(_):
    z, w = large_component(offset, dtype)
    expected = mutual(unit(z), unit(w), 10)
    assert expected > 0.3
    found = (MEASURES['mutual_knn'](z, w) if dtype == np.float64 else value('mutual_knn', z, w))
    assert abs(float(found) - expected) < 1e-6
  return check


def swamped_kernel(_):
  z, w = large_component(20000, np.float32)
  with jax.enable_x64(True):
    expected = value('cknna', z.astype(np.float64), w.astype(np.float64))
  assert 0.4 < expected < 0.7 and abs(value('cknna', z, w) - expected) < 1e-4


def swamped_retrieval(_):
  z, w = large_component(20000, np.float32)
  w = (z + 1.5 * (w - w.mean(axis=0))).astype(np.float32)
  u, v = unit(z), unit(w)
  far = np.square(u[:, None] - v[None]).sum(axis=2)
  expected = np.mean(far.argmin(axis=1) == np.arange(len(z)))
  assert 0.1 < expected < 1 and abs(value('recall_xy', z, w) - expected) < 1e-6


# -- ties ------------------------------------------------------------------------------------------


def rows_of(k: int, *shape: int) -> np.ndarray:
  return np.random.default_rng(k).normal(size=shape)


def equal_distances(_):
  y = rows_of(0, 30, 4).astype(np.float32)
  assert value('rsa', np.eye(30, dtype=np.float32), y) == 0
  copies = (rows_of(1, 1, 6) * np.linspace(0.5, 3, 30)[:, None]).astype(np.float64)
  for kind in ('correlation', 'cosine'):
    assert float(MEASURES['rsa'](copies, y, dissimilarity=kind)) == 0


def ties_to_the_lower_index(_):
  grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3).astype(np.float32)
  for z, metric in ((grid, 'euclidean'), (grid + 1, 'cosine'), (np.eye(64, dtype=np.float32),
                                                                'cosine')):
    p = unit(z) if metric == 'cosine' else z.astype(np.float64)
    far = np.round(np.square(p[:, None] - p[None]).sum(axis=2), 12)
    np.fill_diagonal(far, np.inf)
    expected = np.argsort(far, axis=1, kind='stable')[:, :5]
    found = jax.jit(lambda z: neighbors.search(z, k=5, metric=metric).lists,
                    compiler_options=FAST)(z)
    np.testing.assert_array_equal(np.asarray(found).T, expected)


def all_equal(_):
  for metric in neighbors.METRICS:
    lists = np.asarray(neighbors.search(np.full((7, 3), 0.3), k=2, metric=metric).lists.T)
    np.testing.assert_array_equal(lists, [[1, 2], [0, 2], *[[0, 1]] * 5])


def ranks_of_a_grid(_):
  grid = 0.1 * np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2)
  y = rows_of(0, 30, 4)
  far = np.round(distance.pdist(grid), 9)
  expected = stats.spearmanr(far, distance.pdist(y))[0]
  assert abs(float(MEASURES['rsa'](grid, y)) - expected) < 1e-6


def own_settings(_):
  x, y = rows_of(0, 24, 3).astype(np.float32), rows_of(1, 24, 3).astype(np.float32)
  for name in ('debiased_linear_cka', 'debiased_rbf_cka'):
    measure = MEASURES[name]
    assert float(measure(x, y, **measure.settings)) == float(measure(x, y))
  assert '\nX\n' not in MEASURES['cca'].function.__doc__


ROWS = [
    Row(1, 'linear CKA of long integers', is_one('linear_cka', LONG_X, LONG_Y)),
    Row(1, 'CCA of long integers', is_one('cca', LONG_X, LONG_Y)),
    Row(1, 'integers that float64 rounds too', is_one(
        'linear_cka', (LONG_X + 2**62).astype(np.uint64) + np.uint64(2**63), LONG_Y)),
    Row(1, 'an offset of 10^12 in float64', is_one('pls', LONG_X + 1e12, LONG_Y - 1e12)),
    Row(1, 'long integers from files', long_from_files),
    Row(1, 'preprocessing of long integers', preprocessed),
    Row(5, 'clusters at 1000, from files', small_distances(1000.0, np.float32, True)),
    Row(5, 'clusters at 10^6 in float64', small_distances(1e6, np.float64, False)),
    Row(5, 'a kernel as narrow as a cluster', narrow_kernel),
    Row(5, 'one sample far off', far_sample),
    Row(6, 'a component of 20000', swamped(20000, np.float32)),
    Row(6, 'a component of 10^7 in float64', swamped(1e7, np.float64)),
    Row(6, 'CKNNA with a component of 20000', swamped_kernel),
    Row(6, 'retrieval with a component of 20000', swamped_retrieval),
    Row(7, 'equal distances, scaled copies', equal_distances),
    Row(7, 'neighbours in a grid, one-hot rows', ties_to_the_lower_index),
    Row(7, 'ranks of a grid of tenths', ranks_of_a_grid),
    Row(7, 'all rows equal: no sample is its own neighbour', all_equal),
    Row('3', 'a measure takes its own settings', own_settings),
]
