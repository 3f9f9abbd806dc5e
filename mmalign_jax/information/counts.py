"""Entropy and information from counts, in nats, with what few samples take away put back.

The frequencies of N samples look less uniform than what they were drawn from: the plug-in entropy
is too low by about (K - 1) / 2N, K states, and information between independent variables is found
where there is none. NumPy counts give NumPy float64; JAX arrays keep their precision, and all but
`nsb` work under jit and vmap, where what cannot be seen is not checked.
"""

from collections.abc import Iterable
from typing import Any

import jax
from jax.core import Tracer
import jax.numpy as jnp
from jax.scipy import special as jax_special
import numpy as np

from mmalign_jax import grouped, struct
from mmalign_jax.information import dirichlet
from mmalign_jax.information.discrete import Axes
from mmalign_jax.types import Array, Key, Numeric


def plug_in(counts: Array, axis: Axes | None = None) -> Array:
  """H of the frequencies [...] in nats; too low by about (K - 1) / 2N.

  Args:
    counts: of any shape; how often each state was seen, or its weight.
    axis: the axis or axes that run over the states (all); the others are kept.

  Raises:
    ValueError: (outside jit and vmap) a count that is negative or not finite, or no samples.

  Examples:
    >>> round(float(plug_in(np.array([8, 4, 4]))), 3)
    1.04
  """
  xp, n = _cells(counts, axis)
  return _h(xp, n)


def miller_madow(counts: Array, axis: Axes | None = None) -> Array:
  """Plug-in + (K - 1) / 2N [...] in nats, K the number of states that were seen.

  Miller (1955), Note on the bias of information estimates. `counts` and `axis` as in `plug_in`.

  Examples:
    >>> round(float(miller_madow(np.array([8, 4, 4]))), 3)
    1.102
  """
  xp, n = _cells(counts, axis)
  seen = _sum(xp.asarray(n > 0, n.dtype))
  return _h(xp, n) + (seen - 1) / (2 * _some(xp, _sum(n)))


def chao_shen(counts: Array, axis: Axes | None = None) -> Array:
  """-sum C p log(C p) / (1 - (1 - C p)^N) [...] in nats, C the coverage 1 - singletons / N.

  Chao and Shen (2003), Environmental and Ecological Statistics 10:429: what was not seen is made up
  for by what was seen once (Good and Turing), and each state weighs by its chance to be seen
  (Horvitz and Thompson). `counts` (whole numbers) and `axis` as in `plug_in`.

  Examples:
    >>> round(float(chao_shen(np.array([8, 4, 4]))), 3)
    1.047
  """
  xp, n = _cells(counts, axis, whole=True)
  total = _some(xp, n.sum(axis=-1, keepdims=True))
  single = xp.asarray(n == 1, n.dtype).sum(axis=-1, keepdims=True)
  single = xp.where(single == total, single - 1, single)  # all seen once: the coverage is not 0
  p = (1 - single / total) * n / total
  unseen = xp.where(p < 1, xp.exp(total * xp.log1p(-xp.where(p < 1, p, 0))), 0)
  return 0 - _sum(_plogp(xp, p) / xp.where(n > 0, 1 - unseen, 1))


def grassberger(counts: Array, axis: Axes | None = None) -> Array:
  """log N - sum n G(n) / N [...] in nats, G(n) = psi(n) + (-1)^n (psi((n+1)/2) - psi(n/2)) / 2.

  Grassberger (2003, arXiv physics/0307138). `counts` (whole numbers) and `axis` as in `plug_in`.

  Examples:
    >>> round(float(grassberger(np.array([8, 4, 4]))), 3)
    1.033
  """
  xp, n = _cells(counts, axis, whole=True)
  psi = _digamma(xp)
  m = _some(xp, n)
  g = psi(m) + (1 - 2 * (m % 2)) * (psi((m + 1) / 2) - psi(m / 2)) / 2
  total = _some(xp, _sum(n))
  return xp.log(total) - _sum(n * g) / total


def nsb(counts: Array, axis: Axes | None = None) -> np.ndarray:
  """Posterior mean of H [...] in nats, float64, under a prior that is nearly flat in H.

  Nemenman, Shafee and Bialek (2002, arXiv physics/0108025): Dirichlet priors of concentration beta,
  mixed such that their mean entropy psi(K beta + 1) - psi(beta + 1) is uniform on 0..log K. The
  number of states K counts, seen or not: do not pad a table with states that cannot be. Runs on
  the host, some milliseconds a table. `counts` and `axis` as in `plug_in`.

  Raises:
    ValueError: as `plug_in`, and within jit, vmap or grad.

  Examples:
    >>> round(float(nsb(np.array([8, 4, 4]))), 3)
    1.029
  """
  if isinstance(counts, Tracer):
    raise ValueError('nsb runs on the host, not within jit, vmap or grad: use miller_madow there')
  _, n = _cells(np.asarray(counts), axis)
  return np.apply_along_axis(dirichlet.mean_entropy, -1, n)[()]


ENTROPIES = {'plug_in': plug_in, 'miller_madow': miller_madow, 'chao_shen': chao_shen,
             'grassberger': grassberger, 'nsb': nsb}


def mutual_information(counts: Array, x: Axes = 0, y: Axes = -1, *,
                       entropy: str = 'miller_madow') -> Array:
  """H(X) + H(Y) - H(X,Y) [] in nats of counts of any shape, each by the same estimator.

  Near or below 0 where X and Y are independent: what is left of the bias of three entropies need
  not be positive, and a value below 0 is returned as it is.

  Args:
    counts: [...] how often each combination was seen; axes in neither x nor y are summed out.
    x, y: an axis or several (which then count as one variable); of no axis in common.
    entropy: a name in ENTROPIES.

  Raises:
    ValueError: an unknown name, an axis that counts has not or that is in both, or as `plug_in`.

  Examples:
    >>> round(float(mutual_information(np.array([[8, 0], [0, 8]]))), 3)
    0.724
  """
  estimate = _known(entropy)
  x, y = _axes(np.ndim(counts), x, 'x'), _axes(np.ndim(counts), y, 'y')
  if set(x) & set(y):
    raise ValueError(f'axes x={x} and y={y} must have none in common')
  if not isinstance(counts, jax.Array):
    counts = np.asarray(counts)
  rest = lambda kept: tuple(axis for axis in range(counts.ndim) if axis not in kept)
  of = lambda kept: estimate(counts.sum(axis=rest(kept)))
  return of(x) + of(y) - of(x + y)


# -- against shuffled samples ----------------------------------------------------------------------


@struct.dataclass
class Shuffled:
  """Mutual information beside that of shuffled pairs, scalars in nats.

  mi: of the samples; null_mean: mean over permutations of one side; corrected: mi - null_mean,
  about 0 where X and Y are independent, somewhat low where they are not (the bias shrinks with
  dependence); p_value: (1 + number of permutations at least as high) / (1 + permutations).
  """
  mi: Numeric
  null_mean: Numeric
  corrected: Numeric
  p_value: Numeric


def shuffled(x: Array, y: Array, seed: int | Key, permutations: int = 200, *,
             entropy: str = 'plug_in', groups: Array | None = None) -> Shuffled:
  """Mutual information of two columns of codes less that of permuted pairs; on the host.

  Samples count as independent, and p-values are far too small where they are not, unless groups say
  what belongs together: then whole groups exchange their y.

  Args:
    x, y: [N] integers, the code (cluster, class) of each sample.
    seed: an integer, or a key of JAX.
    permutations: of y; at least 1. Where groups have fewer arrangements, each is taken once.
    entropy: a name in ENTROPIES.
    groups: [N] of samples that belong together; None where all are independent. Where they are of
      unequal size and y is not constant within each, all is of the samples that are left when they
      are cut (`grouped`).

  Raises:
    ValueError: codes that are not whole numbers or of different lengths, no samples, permutations
      below 1, groups that do not fit or are one only, or an unknown name.
  """
  estimate = _known(entropy)
  (a, n1), (b, n2) = _codes(x, 'x'), _codes(y, 'y')
  if len(a) != len(b):
    raise ValueError(f'x has N={len(a)} samples and y has N={len(b)}')
  if permutations < 1:
    raise ValueError(f'permutations={permutations} must be at least 1')
  kept, moved = _moved(b, groups, permutations, _generator(seed))
  a = a[kept]
  of_x = estimate(np.bincount(a, minlength=n1))
  of_both = lambda b: estimate(np.bincount(a * n2 + b, minlength=n1 * n2))
  known: dict[bytes, float] = {}  # only whole groups of unequal size change the counts of y

  def of_y(b: np.ndarray) -> float:
    count = np.bincount(b, minlength=n2)
    key = count.tobytes()
    if key not in known:
      known[key] = estimate(count)
    return known[key]

  information = lambda b: of_x + of_y(b) - of_both(b)
  mi, null = information(b[kept]), [information(b) for b in moved]
  reached = np.sum(np.array(null) >= mi - 1e-12)  # equal but for rounding
  mean = np.mean(null)
  return Shuffled(mi, mean, mi - mean, (1 + reached) / (1 + len(null)))


def _moved(codes: np.ndarray, groups: Array | None, draws: int, generator: np.random.Generator,
           ) -> tuple[np.ndarray, Iterable[np.ndarray]]:
  """Samples that take part [M], and their codes [M] after each permutation."""
  if groups is None:
    return np.arange(len(codes)), (generator.permutation(codes) for _ in range(draws))
  own = grouped.checked(np.asarray(groups), len(codes))
  whole = grouped.constant(own, codes)
  blocks = grouped.blocks(own, whole)
  moved = codes[blocks.kept][blocks.permuted(draws, generator)]
  return (np.arange(len(codes)), moved[:, own]) if whole else (blocks.kept, moved)


def _codes(x: Array, name: str) -> tuple[np.ndarray, int]:
  """Codes [N] in 0..n-1, and n."""
  x = np.asarray(x)
  if x.ndim != 1 or x.size == 0:
    raise ValueError(f'{name} has shape {x.shape}; codes are [N], one each for N samples')
  if x.dtype.kind not in 'biuf' or (x.dtype.kind == 'f' and not np.array_equal(x, np.round(x))):
    raise ValueError(f'{name} has entries like {x[0]}, of type {x.dtype}; codes are whole numbers')
  values, codes = np.unique(x, return_inverse=True)
  return codes, len(values)


def _generator(seed: int | Key) -> np.random.Generator:
  if isinstance(seed, jax.Array):
    return np.random.default_rng(np.asarray(jax.random.key_data(seed)).ravel())
  return np.random.default_rng(seed)


# -- parts -----------------------------------------------------------------------------------------


def _known(name: str):
  if name not in ENTROPIES:
    raise ValueError(f'entropy={name!r} is none of {", ".join(ENTROPIES)}')
  return ENTROPIES[name]


def _axes(rank: int, axes: Axes, name: str) -> tuple[int, ...]:
  axes = (axes,) if isinstance(axes, int) else tuple(axes)
  for axis in axes:
    if not -rank <= axis < rank:
      raise ValueError(f'{name}: axis {axis} of counts with {rank} axes')
  return tuple(axis % rank for axis in axes)


def _library(x: Array) -> Any:
  """What to compute with."""
  return jnp if isinstance(x, jax.Array) else np


def _cells(counts: Array, axis: Axes | None, whole: bool = False):
  """The library to compute with, and counts [..., K] with the states as one last axis."""
  xp = _library(counts)
  n = xp.asarray(counts)
  n = n.astype(jnp.promote_types(n.dtype, jnp.float32) if xp is jnp else np.float64)
  axes = _axes(n.ndim, range(n.ndim) if axis is None else axis, 'axis')
  kept = [size for i, size in enumerate(n.shape) if i not in axes]
  n = xp.moveaxis(n, axes, range(-len(axes), 0)).reshape(*kept, -1) if 0 not in n.shape else n
  if not isinstance(n, Tracer):
    _check(np.asarray(n), whole)
  return xp, n


def _check(n: np.ndarray, whole: bool):
  bad = ~np.isfinite(n) | (n < 0)
  if bad.any():
    raise ValueError(f'counts has {bad.sum()} entries negative or not finite, first {n[bad][0]:g}')
  if n.size == 0 or (n.sum(axis=-1) == 0).any():
    raise ValueError(f'counts of shape {n.shape} has no samples: its entropy is not defined')
  if whole and (n != np.round(n)).any():
    raise ValueError(f'counts has {n[n != np.round(n)][0]:g}; this estimator needs whole numbers')


def _sum(x: Array) -> Array:
  return x.sum(axis=-1)


def _some(xp, n: Array) -> Array:
  """n, with 1 for 0, where what is divided or looked up is then not used."""
  return xp.where(n > 0, n, 1)


def _h(xp, n: Array) -> Array:
  return 0 - _sum(_plogp(xp, n / _some(xp, n.sum(axis=-1, keepdims=True))))  # 0 - 0 is not -0


def _plogp(xp, p: Array) -> Array:
  return p * xp.log(_some(xp, p))


def _digamma(xp):
  if xp is jnp:
    return jax_special.digamma
  from scipy import special  # here, since importing the package stays fast
  return special.digamma
