"""Jointly normal variables: published values, sampling, invariance, wrong covariances."""

import numpy as np
import pytest
from scipy import stats

from mmalign_jax.information.gaussians import gaussian
from mmalign_jax.information.lattice import METHODS


def random_covariance(d: int, seed: int = 0) -> np.ndarray:
  root = np.random.default_rng(seed).normal(size=(d, d))
  return root @ root.T + 0.1 * np.eye(d)


def of_channels(gains, noise=None) -> np.ndarray:
  """X = gains * Y + noise of unit variance (or of covariance `noise`), Y of unit variance."""
  gains = np.array(gains, float)
  noise = np.eye(len(gains)) if noise is None else np.array(noise)
  x = np.outer(gains, gains) + noise
  return np.block([[x, gains[:, None]], [gains[None], np.ones((1, 1))]])


def test_one_correlation():
  s = np.eye(3)
  s[0, 2] = s[2, 0] = 0.75
  found = gaussian(s, 1, 1)
  assert float(found.mi_1) == pytest.approx(.4133, abs=5e-5)
  assert float(found.mi_1) == pytest.approx(-0.5 * np.log(1 - 0.75**2), abs=1e-14)
  assert found.mi_2 == 0 and found.redundancy == 0 and found.units == 'nats'
  np.testing.assert_allclose(found.atoms(), [0, found.mi_1, 0, 0], atol=1e-14)
  assert found.method == 'gaussian' and found.gap == 0 and found.q is None


def test_published_channels_in_bits():
  """Gains 1 and sqrt 2 with noises apart, and the first a degraded copy of the second."""
  apart = gaussian(of_channels([1, 2**.5]), 1, 1).to_bits()
  np.testing.assert_allclose(apart.atoms(), [.5, 0, .2925, .2075], atol=5e-5)
  # x1 = x2 / sqrt 2 + more noise
  degraded = gaussian(of_channels([1, 2**.5], [[1, .5**.5], [.5**.5, 1]]), 1, 1).to_bits()
  np.testing.assert_allclose(degraded.atoms(), [.5, 0, .2925, 0], atol=5e-5)
  assert float(degraded.mi_2) == pytest.approx(.7925, abs=5e-5)


def test_canonical_correlations():
  """I(X;Y) = -1/2 sum log (1 - r^2), for blocks of known correlations."""
  r = np.array([0.9, 0.5, 0.2])
  s = np.eye(7)
  s[[0, 1, 2], [4, 5, 6]] = s[[4, 5, 6], [0, 1, 2]] = r  # X1 = the first three, X2 apart
  found = gaussian(s, 3, 1)
  assert float(found.mi_1) == pytest.approx(-0.5 * np.log(1 - r**2).sum(), abs=1e-14)
  np.testing.assert_allclose(found.atoms(), [0, found.mi_1, 0, 0], atol=1e-14)


def test_informations_by_sampling():
  s, n = random_covariance(5), 100_000
  z = np.random.default_rng(1).multivariate_normal(np.zeros(5), s, n)
  found = gaussian(s, 2, 1)
  density = lambda of: stats.multivariate_normal(np.zeros(len(of)), s[np.ix_(of, of)]).logpdf(
      z[:, of])
  for of, mi in (([0, 1], found.mi_1), ([2], found.mi_2), ([0, 1, 2], found.mi_joint)):
    gain = density([*of, 3, 4]) - density(of) - density([3, 4])
    assert float(mi) == pytest.approx(gain.mean(), abs=4 * gain.std() / n**.5)


def test_a_scalar_target_is_decomposed_as_by_broja():
  """Of quantised normals: the weaker source has next to nothing of its own, unlike the stronger."""
  s = of_channels([1, 2], [[1, .3], [.3, 1]])
  edges = np.linspace(-2, 2, 7)
  edges[[0, -1]] = -6, 6
  scaled = s / np.sqrt(np.outer(np.diag(s), np.diag(s)))
  z = np.random.default_rng(0).multivariate_normal(np.zeros(3), scaled, 2_000_000)
  table = np.histogramdd(z, [edges] * 3)[0]
  found, exact = METHODS['broja'](table / table.sum()), gaussian(s, 1, 1)
  assert exact.unique_1 == 0 and float(found.unique_1) < 0.02 * float(found.unique_2)
  np.testing.assert_allclose(found.atoms()[[0, 2]], exact.atoms()[[0, 2]], rtol=0.25)


@pytest.mark.parametrize('d1, d2, d', [(1, 1, 3), (3, 2, 7), (2, 4, 8)])
def test_sums_signs_and_symmetry(d1, d2, d):
  s = random_covariance(d, seed=d)
  found = gaussian(s, d1, d2)
  assert (found.atoms() >= 0).all() and min(found.unique_1, found.unique_2) == 0
  assert float(found.atoms().sum()) == pytest.approx(float(found.mi_joint), abs=1e-13)
  order = [*range(d1, d1 + d2), *range(d1), *range(d1 + d2, d)]
  swapped = gaussian(s[np.ix_(order, order)], d2, d1)
  np.testing.assert_allclose(found.atoms()[[0, 2, 1, 3]], swapped.atoms(), atol=1e-12)


def test_scale_and_mixtures_within_a_block_do_not_matter():
  s = random_covariance(6)
  expected = gaussian(s, 2, 2).atoms()
  scale = np.diag([1e-8, 1, 1e6, 3, 1e-3, 1e5])
  np.testing.assert_allclose(gaussian(scale @ s @ scale, 2, 2).atoms(), expected, rtol=1e-8)
  mix = np.eye(6)
  mix[:2, :2], mix[4:, 4:] = [[1, 2], [0, 1]], [[1, 0], [-3, 1]]
  np.testing.assert_allclose(gaussian(mix @ s @ mix.T, 2, 2).atoms(), expected, rtol=1e-8)


def test_independent_variables_and_batches():
  s = np.stack([np.eye(4), random_covariance(4)])
  found = gaussian(s, 1, 2)
  assert found.atoms().shape == (2, 4) and (found.atoms()[0] == 0).all()
  np.testing.assert_allclose(found.atoms()[1], gaussian(s[1], 1, 2).atoms())


UNEVEN, INDEFINITE, FLAT = np.eye(3), np.eye(3), np.eye(3)
UNEVEN[0, 1] = 0.5
INDEFINITE[0, 1] = INDEFINITE[1, 0] = 1.5
FLAT[1, 1] = 0


@pytest.mark.parametrize('s, d1, d2, message', [
    (np.ones((2, 3)), 1, 1, r'covariance has shape \(2, 3\); it must be square'),
    (np.ones(3), 1, 1, r'covariance has shape \(3,\); it must be square'),
    (np.eye(2), 1, 1, r'covariance has shape \(2, 2\); X1, X2 and Y need a variable each'),
    (UNEVEN, 1, 1, 'covariance is not symmetric: its halves differ by up to 0.5'),
    (INDEFINITE, 1, 1, 'covariance is not positive definite: the smallest eigenvalue is -0.5'),
    (np.ones((3, 3)), 1, 1, 'covariance is not positive definite: the smallest eigenvalue is'),
    (FLAT, 1, 1, 'variance of 0 on its diagonal; its smallest eigenvalue is 0'),
    (-np.eye(3), 1, 1, 'variance of -1 on its diagonal; its smallest eigenvalue is -1'),
    (np.full((3, 3), np.nan), 1, 1, 'covariance has 9 entries that are not finite'),
    (np.eye(4), 0, 1, 'd1=0 must be in 1..2'), (np.eye(4), 1, 4, 'd2=4 must be in 1..2'),
    (np.eye(4), 2, 2, 'd1=2 and d2=2 leave none of 4 variables')])
def test_wrong_arguments(s, d1, d2, message):
  with pytest.raises(ValueError, match=message):
    gaussian(s, d1, d2)
