"""Linear probes: which bits a representation tells, as far as a linear map can read them.

A probe is a ridge regression on the bits as -1 and 1, of a fixed penalty, cut midway between its
means for either value: Fisher's linear discriminant where there is no penalty (Hastie, Tibshirani
and Friedman 2009, section 4.3). It is judged on a distribution, not on samples: p(bit | x) of every
x.
"""

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.types import Array

RIDGE = 1e-3
_ROUNDING = 1e-12  # share of the squares of x that float32 alone may make vary


@struct.dataclass
class Probe:
  """K probes of a layer of width D: weights [D, K]; cut [K], above which a bit is said to be 1."""
  weights: Array
  cut: Array


def fit(x: Array, bits: Array, *, ridge: float = RIDGE) -> Probe:
  """Fits K probes to samples, in closed form.

  Invariant to translations, orthogonal maps and isotropic scaling of x; with ridge=0 to every
  invertible linear map. The penalty keeps directions of a relative variance far below `ridge` from
  being read. Precision: about 1e-5 of a weight (float32, refined).

  Args:
    x: [N, D] representations.
    bits: [N, K] 0 or 1.
    ridge: penalty, in units of N times the mean variance of the D features; 0 needs features that
      are linearly independent.

  Returns:
    Probe; where x or a bit is constant its weights are 0, and it says 0 for all.

  Source: Alain and Bengio (2016), Understanding intermediate layers using linear classifier probes.

  Examples:
    >>> x = jnp.array([[0., 3.], [1., 3.], [4., 1.], [5., 1.]])
    >>> probe = fit(x, jnp.array([[0.], [0.], [1.], [1.]]))
    >>> decide(probe, x).ravel().tolist()
    [False, False, True, True]
  """
  x, bits = jnp.asarray(x, jnp.float32), jnp.asarray(bits, jnp.float32)
  size, (x, mean), (t, _) = jnp.sum(x * x), _centred(x), _centred(2 * bits - 1)
  gram = _dot(x.T, x)
  spread = jnp.trace(gram)
  constant = spread <= _ROUNDING * size
  penalty = jnp.where(constant, 1, ridge * spread / x.shape[1])
  moments = jnp.where(constant, 0, _dot(x.T, t))
  factor = jax.scipy.linalg.cho_factor(gram + penalty * jnp.eye(len(gram)))
  weights = jax.scipy.linalg.cho_solve(factor, moments)
  # refined once, by residuals of x itself: the squares in `gram` have been rounded
  rest = jnp.where(constant, 0, _dot(x.T, t - _dot(x, weights)) - penalty * weights)
  weights = weights + jax.scipy.linalg.cho_solve(factor, rest)
  score = _dot(x, weights)  # [N, K]
  mean_of = lambda member: jnp.sum(score * member, axis=0) / jnp.maximum(jnp.sum(member, axis=0), 1)
  return Probe(weights, _dot(mean, weights)[0] + (mean_of(bits) + mean_of(1 - bits)) / 2)


def decide(probe: Probe, x: Array) -> Array:
  """What the probes say of x [N, D]: [N, K] bool.

  Args:
    probe: of K bits.
    x: representations of the width it was fitted to.

  Examples:
    >>> decide(Probe(jnp.array([[1.], [0.]]), jnp.array([0.5])), jnp.eye(2)).ravel().tolist()
    [True, False]
  """
  return _dot(x, probe.weights) > probe.cut[None]


def balanced_accuracy(said: Array, p: Array) -> Array:
  """Mean of the shares of ones and of zeros that are named rightly, on an exact distribution: [K].

  1 where all are right. **Chance is 1/2**, exactly and whatever the distribution of a bit: where
  the bit is independent of x, both shares are those of x for which one is said and zero is said,
  which add up to 1. There is no optimism of few samples in it, since it is judged on all x.

  Args:
    said: [M, K] bool, of every x (all as likely).
    p: [M, K] probability in 0..1 that the bit is 1 given x.

  Returns:
    NaN for a bit that is always 0 or always 1.

  Source: Brodersen et al. (2010), The balanced accuracy and its posterior distribution.

  Examples:
    >>> said = jnp.array([[True], [True], [False], [False]])
    >>> balanced_accuracy(said, jnp.array([[1.], [0.5], [0.], [0.5]])).tolist()
    [0.75]
  """
  said = said.astype(jnp.float32)
  ones, zeros = jnp.sum(p, axis=0), jnp.sum(1 - p, axis=0)
  right_1, right_0 = jnp.sum(said * p, axis=0), jnp.sum((1 - said) * (1 - p), axis=0)
  both = (ones > 0) & (zeros > 0)
  shares = right_1 / jnp.where(both, ones, 1) + right_0 / jnp.where(both, zeros, 1)
  return jnp.where(both, shares / 2, jnp.nan)


def _centred(x: Array) -> tuple[Array, Array]:
  mean = jnp.mean(x, axis=0, keepdims=True)
  return x - mean, mean


def _dot(a: Array, b: Array) -> Array:
  return jnp.dot(a, b, precision='highest')
