"""The Hilbert-Schmidt independence criterion itself, of linear or Gaussian kernels."""

from collections.abc import Callable, Mapping
import dataclasses

from mmalign_jax import struct
from mmalign_jax.similarity import linear, rbf
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array, Numeric

KERNELS: Mapping[str, Callable[..., Array]] = {'linear': linear.inner, 'rbf': rbf.inner}


@struct.dataclass
class Side:
  """The side of either kernel, of n samples."""
  made: linear.Side | rbf.Side
  kernel: str = struct.field(pytree_node=False)
  debiased: bool = struct.field(pytree_node=False)
  n: int = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Side':
    return dataclasses.replace(self, made=self.made.take(order))


def prepare(z: Array, *, kernel: str = 'linear', sigma: Numeric | None = None,
            fraction: Numeric = 1.0, debiased: bool = True) -> Side:
  """The side z [N, D]; `sigma` and `fraction` are of the Gaussian kernel."""
  if kernel not in KERNELS:
    raise ValueError(f'kernel={kernel!r} is unknown; known: {", ".join(KERNELS)}')
  made = (linear.prepare(z, debiased=debiased) if kernel == 'linear' else
          rbf.prepare(z, sigma=sigma, fraction=fraction, debiased=debiased))
  return Side(made, kernel, debiased, z.shape[0])


def compare(x: Side, y: Side) -> Array:
  """<K, L> / (n - 1)^2, debiased / (n (n - 3)), in the units of the kernels."""
  inner = KERNELS[x.kernel](x.made, y.made)
  pairs = x.n * (x.n - 3) if x.debiased else (x.n - 1) ** 2
  return inner * x.made.scale * y.made.scale / float(pairs)


@wide
def hsic(x: Array, y: Array, *, kernel: str = 'linear', debiased: bool = True,
         sigma: Numeric | None = None, fraction: Numeric = 1.0) -> Array:
  """HSIC of x [N, D1] and y [N, D2]: [], 0 in expectation for independent samples if debiased.

  tr(K H L H) / (n - 1)^2 (Gretton et al. 2005), or the unbiased estimate of Song et al. (2012),
  which is negative by chance. Higher is more dependent; in units of (x y)^2 for the linear kernel,
  0..1 biased for the Gaussian. Invariant to orthogonal maps and translation of either side, not to
  scale.

  Precision: as `linear_cka` or `rbf_cka`, relative to the biased value.

  Args:
    x, y: features of the same samples.
    kernel: 'linear' or 'rbf'.
    debiased: the unbiased estimate.
    sigma, fraction: bandwidth of 'rbf', as in `rbf_cka`.

  Raises:
    ValueError: an unknown kernel, N < 4 if debiased, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(hsic(x, y)) / 1e6, 3) for y in (x, 3 - 2 * x, x[::-1])]
    [10.174, 40.697, 8.66]
  """
  x, y = paired(x, y, least=4 if debiased else 2, shift=True)
  return compare(*(prepare(z, kernel=kernel, sigma=sigma, fraction=fraction, debiased=debiased)
                   for z in (x, y)))


MEASURES = {
    'hsic': Measure(
        hsic, prepare, compare, 'unbiased HSIC, linear kernel, in (units of x times y) squared',
        'any', ('orthogonal', 'translation'),
        {'kernel': 'linear', 'debiased': True, 'sigma': None, 'fraction': 1.0}, best=None, least=4),
}
