"""What every measure of the registry promises: invariances, bounds, forms, gradients, errors."""

import functools

from hypothesis import given, settings, strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmalign_jax.similarity import MEASURES
from mmalign_jax.similarity.measure import INVARIANCES

NAMES = sorted(MEASURES)
DIFFERENTIABLE = [name for name in NAMES if MEASURES[name].differentiable]
FAST = {'xla_backend_optimization_level': 0}
N, D1, D2 = 40, 4, 6
SEEDS = st.integers(0, 2**20)
A_FEW = settings(max_examples=5, deadline=None, derandomize=True)


@functools.cache
def program(name):
  """(x, y, order) -> values of several ways to call a measure, compiled once for all tests."""
  measure = MEASURES[name]

  def values(x, y, order):
    first, second = (measure.prepare(z, **measure.settings) for z in (x, y))
    return {'value': measure(x, y), 'swapped': measure(y, x), 'equal': measure(x, x),
            'halves': measure.compare(first, second),
            'permuted': measure.compare(first, second.take(order))}

  return jax.jit(values, compiler_options=FAST)


def found(name, x, y, order=None):
  order = np.arange(N) if order is None else order
  return {way: float(value) for way, value in program(name)(x, y, order).items()}


def value_of(name, x, y):
  return found(name, x, y)['value']


def related(seed: int, name: str = '', n: int = N, dtype=np.float32):
  """x [n, D1], y [n, D2] of two shared factors; of equal width where the measure needs it."""
  g = np.random.default_rng(seed)
  same = name and MEASURES[name].same_width
  z = g.normal(size=(n, 2))
  views = [z @ g.normal(size=(2, d)) + g.normal(size=(n, d)) for d in (D1, D1 if same else D2)]
  return tuple((view + 0.5).astype(dtype) for view in views)


def rotation(g, d):
  return np.linalg.qr(g.normal(size=(d, d)))[0]


def changed(kind: str, x, y, side: int, seed: int):
  """x and y with one side changed in the way that an invariance of that kind does not notice."""
  g = np.random.default_rng([seed, side])
  z = (x, y)[side]
  n, d = z.shape
  if kind == 'common':
    q = rotation(g, d)
    return np.float32(x @ q), np.float32(y @ q)
  new = {
      'orthogonal': lambda: z @ rotation(g, d),
      'scaling': lambda: 0.037 * z,
      'translation': lambda: z + 2 * g.normal(size=d),
      'linear': lambda: z @ rotation(g, d) @ np.diag(np.geomspace(1, 0.02, d)) @ rotation(g, d),
      'rows': lambda: z * g.uniform(0.2, 3, size=(n, 1)),
  }[kind]()
  return (np.float32(new), y) if side == 0 else (x, np.float32(new))


def implied(name):
  found = set(MEASURES[name].invariant)
  if 'linear' in found:
    found |= {'orthogonal', 'scaling'}
  return found | ({'common'} if 'orthogonal' in found else set())


CLAIMS = [(name, kind) for name in NAMES for kind in INVARIANCES
          if kind != 'common' or MEASURES[name].same_width]


@pytest.mark.parametrize('name, kind', [c for c in CLAIMS if c[1] in implied(c[0])])
@A_FEW
@given(seed=SEEDS)
def test_does_not_notice_what_it_claims_not_to(name, kind, seed):
  x, y = related(seed, name)
  value = value_of(name, x, y)
  for side in (0, 1):
    np.testing.assert_allclose(value_of(name, *changed(kind, x, y, side, seed)), value, atol=3e-4,
                               rtol=3e-4)


@pytest.mark.parametrize('name, kind', [c for c in CLAIMS if c[1] not in implied(c[0])])
def test_notices_what_it_does_not_claim(name, kind):
  # blind to it on one side is no invariance: some side, on some draw, must show the change
  largest = max(abs(value_of(name, *changed(kind, *related(seed, name), side, seed))
                    - value_of(name, *related(seed, name))) for seed in range(4) for side in (0, 1))
  assert largest > 1e-3


@pytest.mark.parametrize('name', NAMES)
class TestEveryMeasure:

  @A_FEW
  @given(seed=SEEDS)
  def test_ignores_the_order_of_the_samples(self, name, seed):
    if name == 'minibatch_cka':
      pytest.skip('batches follow the order')
    x, y = related(seed, name)
    order = np.random.default_rng(seed).permutation(N)
    np.testing.assert_allclose(value_of(name, x[order], y[order]), value_of(name, x, y), atol=2e-5,
                               rtol=2e-5)

  @A_FEW
  @given(seed=SEEDS)
  def test_equal_sides_reach_the_best_value(self, name, seed):
    measure, value = MEASURES[name], found(name, *related(seed, name))['equal']
    if name.startswith(('modality_gap', 'distribution_gap')):
      assert value == pytest.approx(0, abs=1e-3)
    elif name == 'cycle_knn':  # a hub's neighbour need not have the hub
      assert 0.5 < value <= 1
    elif measure.best is not None:
      assert value == pytest.approx(measure.best_value(), abs=2e-3 if not measure.best else 1e-5)

  @A_FEW
  @given(seed=SEEDS)
  def test_stays_in_its_range_and_below_the_best(self, name, seed):
    x, y = related(seed, name)
    g = np.random.default_rng(seed)
    measure = MEASURES[name]
    low, _, high = measure.range.partition('..')
    for one, two in ((x, y), (x, g.normal(size=y.shape).astype(np.float32))):
      value = value_of(name, one, two)
      if measure.range != 'any':
        named = {'': np.inf, 'k': 10, 'N': N}
        assert float(low or '-inf') - 1e-5 <= value
        assert value <= (named[high] if high in named else float(high) + 1e-5)

  def test_symmetric_only_where_it_says_so(self, name):
    ways = [found(name, *related(seed, name)) for seed in range(4)]
    apart = max(abs(way['value'] - way['swapped']) for way in ways)
    assert (apart < 2e-5) == MEASURES[name].symmetric

  def test_is_the_same_under_jit_vmap_and_in_halves(self, name):
    many = [related(seed, name) for seed in range(2)]
    ways = [found(name, *one) for one in many]
    expected = [way['value'] for way in ways]
    stacked = [np.stack(side) for side in zip(*many)]
    vmapped = jax.jit(jax.vmap(MEASURES[name]), compiler_options=FAST)(*stacked)
    np.testing.assert_allclose(vmapped, expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose([way['halves'] for way in ways], expected, atol=1e-5, rtol=1e-5)

  def test_a_state_is_permuted_without_preparing_it_anew(self, name):
    x, y = related(0, name)
    order = np.random.default_rng(0).permutation(N)
    np.testing.assert_allclose(found(name, x, y, order)['permuted'], value_of(name, x, y[order]),
                               atol=1e-5, rtol=2e-5)

  def test_defined_where_a_side_is_constant(self, name):
    x, y = related(0, name)
    for one, two in ((x, 0 * y), (x, 0 * y + 1 / 3), (0 * x, 0 * y), (0 * x + 7.7, y)):
      assert np.isfinite(value_of(name, np.float32(one), np.float32(two)))

  @pytest.mark.parametrize('scale', [1e-6, 1e6])
  def test_is_finite_at_extreme_scales(self, name, scale):
    x, y = related(0, name)
    assert np.isfinite(value_of(name, np.float32(scale * x), y))

  def test_defined_for_fewer_samples_than_features(self, name):
    x, y = related(0, name, n=5)
    given_ = {k: v for k, v in {'k': 2, 'at': 1}.items() if k in MEASURES[name].settings}
    measure = functools.partial(MEASURES[name], **given_)
    assert np.isfinite(jax.jit(measure, compiler_options=FAST)(x, y))

  def test_large_numbers_of_samples_can_be_traced(self, name):
    # N^2 does not fit an i32 from N = 46,341 on
    sides = [jax.ShapeDtypeStruct((50000, 8), jnp.float32)] * 2
    assert jax.eval_shape(MEASURES[name], *sides).shape == ()

  def test_docstring_says_direction_range_and_invariances(self, name):
    text = MEASURES[name].function.__doc__.lower()
    assert 'higher' in text or 'lower' in text
    assert '[]' in text and 'nvarian' in text
    assert MEASURES[name].meaning and MEASURES[name].range
    assert '\n  precision: ' in text

  def test_takes_its_own_settings(self, name):
    sides = [jax.ShapeDtypeStruct((N, D1), jnp.float32)] * 2
    shape = jax.eval_shape(functools.partial(MEASURES[name], **MEASURES[name].settings), *sides)
    assert shape.shape == ()


# -- gradients -------------------------------------------------------------------------------------


@functools.cache
def gradient(name):
  return jax.jit(jax.grad(MEASURES[name], (0, 1)), compiler_options=FAST)


@pytest.mark.parametrize('name', NAMES)
def test_gradient_is_finite_at_equal_rank_deficient_and_constant_features(name):
  if not MEASURES[name].differentiable and name in ('pwcca', 'pls'):
    pytest.skip('not differentiable where singular values tie, as its docstring says')
  x, y = related(0, name)
  deficient = x.copy()
  deficient[:, -1] = deficient[:, 0]
  square = x if MEASURES[name].same_width else np.concatenate([x, x[:, :D2 - D1]], axis=1)
  constant = np.full(y.shape, 0.3, np.float32)
  for one, two in ((x, square), (deficient, y), (deficient, square), (x, constant),
                   (0 * x, constant), (deficient[:, ::-1].copy(), square)):
    for g in gradient(name)(np.float32(one), np.float32(two)):
      assert np.isfinite(g).all()


@pytest.mark.parametrize('name', DIFFERENTIABLE)
def test_gradient_equals_finite_differences(name):
  x, y = related(3, name, dtype=np.float64)
  g = np.random.default_rng(0)
  dx, dy = g.normal(size=x.shape), g.normal(size=y.shape)
  with jax.enable_x64(True):
    both = jax.jit(lambda x, y: jax.jvp(MEASURES[name], (x, y), (dx, dy)), compiler_options=FAST)
    value, slope = both(x, y)
    h = 1e-5
    up, down = (float(both(x + step * dx, y + step * dy)[0]) for step in (h, -h))
  np.testing.assert_allclose(slope, (up - down) / (2 * h), rtol=1e-4, atol=1e-7)
  np.testing.assert_allclose(value, value_of(name, np.float32(x), np.float32(y)), rtol=1e-4,
                             atol=1e-4)  # what is differentiated is the measure


@pytest.mark.parametrize('name', ['cca', 'svcca', 'linear_regression', 'bures', 'procrustes'])
def test_gradient_of_more_features_than_samples_is_finite(name):
  g = np.random.default_rng(0)
  x, y = (g.normal(size=(6, d)).astype(np.float32) for d in (9, 8))
  for one in (x, x[:, [0, 1, 2, 3, 0, 1, 2, 3, 0]]):
    assert all(np.isfinite(v).all() for v in gradient(name)(one, y))


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize('name', NAMES)
class TestWrongInput:

  def refused(self, name, x, y, message, **arguments):
    with pytest.raises(ValueError, match=message) as error:
      MEASURES[name](x, y, **arguments)
    assert '\n' not in str(error.value)

  def test_sides_of_different_length(self, name):
    x, y = related(0, name)
    self.refused(name, x, y[:-1], 'x has N=40 samples and y has N=39')

  def test_one_dimensional(self, name):
    x, y = related(0, name)
    self.refused(name, x, y[:, 0], r'y has shape \(40,\)')

  @pytest.mark.parametrize('value', [np.nan, np.inf])
  def test_not_finite(self, name, value):
    x, y = related(0, name)
    x[3, 2] = value
    self.refused(name, x, y, f'x is not finite: {value} at sample 3, feature 2')

  def test_too_few_samples(self, name):
    least = MEASURES[name].least
    if least > 2:
      x, y = related(0, name, n=least - 1)
      self.refused(name, x, y, f'N={least - 1} samples; this measure needs at least {least}')

  def test_widths_that_differ(self, name):
    if MEASURES[name].same_width:
      x, y = related(0, name)
      self.refused(name, x, y[:, :-1], 'x has 4 features and y has 3')

  @pytest.mark.parametrize('k', [0, -1, 40, 41])
  def test_k_out_of_range(self, name, k):
    if 'k' in MEASURES[name].settings:
      self.refused(name, *related(0, name), f'k={k} neighbours need 1 <= k < N, and N=40', k=k)


@pytest.mark.parametrize('name, arguments, message', [
    ('mutual_knn', {'metric': 'l2'}, "metric='l2' is unknown; known: cosine, inner_product"),
    ('cknna', {'metric': 'euclidean'}, "metric='euclidean' is no kernel of CKNNA"),
    ('hsic', {'kernel': 'poly'}, "kernel='poly' is unknown; known: linear, rbf"),
    ('svcca', {'components': 0}, 'components=0 must be at least 1'),
    ('svcca', {'variance': 1.5}, 'variance=1.5 is not in'),
    ('pls', {'components': 5}, 'components=5 is outside 1..4'),
    ('angular', {'alpha': -0.1}, 'alpha=-0.1 is outside 0..1'),
    ('rsa', {'dissimilarity': 'l1'}, "dissimilarity='l1' is unknown"),
    ('rsa', {'comparison': 'kendall'}, "comparison='kendall' is unknown"),
    ('minibatch_cka', {'batch_size': 3}, 'batch_size=3 must be at least 4'),
    ('recall_xy', {'at': 0}, 'at=0 is outside 1..N, and N=40'),
    ('rbf_cka', {'sigma': 0.0}, 'sigma=0.0 must be above 0'),
    ('rbf_cka', {'fraction': -1.0}, 'fraction=-1.0 must be above 0')])
def test_settings_out_of_range(name, arguments, message):
  with pytest.raises(ValueError, match=message):
    MEASURES[name](*related(0, name), **arguments)
