"""CKNNA: kernel alignment over common nearest neighbours (Huh et al. 2024, arXiv 2405.07987).

CKA of Gram matrices of which only entries (i, j) are kept where j is among the k nearest of i on
both sides; a side's own norm keeps all of its own neighbours. The matrices have k N entries, so
lists do: nothing of size N x N is made beyond the search.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.similarity.gram import ratio
from mmalign_jax.similarity.measure import Measure, paired
from mmalign_jax.similarity.neighbors import Neighbors, search
from mmalign_jax.similarity.preprocess import scaled
from mmalign_jax.similarity.wide import wide
from mmalign_jax.types import Array

METRICS = ('cosine', 'inner_product')


@struct.dataclass
class Side:
  """near: lists [k, N], values [k, N] over their largest; back [k, N] bool: the neighbour has the
  sample in its own list; norm []."""
  near: Neighbors
  back: Array
  norm: Array
  debiased: bool = struct.field(pytree_node=False)

  def take(self, order: Array) -> 'Side':
    return dataclasses.replace(self, near=self.near.take(order), back=self.back[:, order])


def prepare(z: Array, *, k: int = 10, metric: str = 'cosine', debiased: bool = True) -> Side:
  """The side z [N, D]. The biased form counts the sample among its own neighbours."""
  if metric not in METRICS:
    raise ValueError(f'metric={metric!r} is no kernel of CKNNA; known: {", ".join(METRICS)}')
  near = search(scaled(z)[0], k=k, metric=metric, with_self=not debiased)
  near = dataclasses.replace(near, values=scaled(near.values)[0])
  side = Side(near, _returned(near.lists), jnp.zeros((), z.dtype), debiased)
  return dataclasses.replace(side, norm=inner(side, side))


@jax.jit
def _returned(lists: Array) -> Array:
  """[k, N] bool: the neighbour has the sample in its own list."""
  own = jnp.arange(lists.shape[1], dtype=lists.dtype)
  return jax.lax.map(lambda row: jnp.any(lists[:, row] == own[None], axis=0), lists)


@jax.jit
def inner(x: Side, y: Side) -> Array:
  """HSIC of the two Gram matrices under their common mask M (not symmetric), times n (n - 3) if
  debiased: tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 / (n - 2) 1'K L1 with zero diagonals."""
  n = x.near.lists.shape[1]
  def row(one):  # entries (i, j) of one place in the lists of x, for all i
    index, value, back = one
    same = index[None] == y.near.lists  # [k, N]
    other = jnp.sum(jnp.where(same, y.near.values, 0), axis=0)
    both = back & jnp.any(same & y.back, axis=0)  # (j, i) is in the mask too
    kept = jnp.any(same, axis=0)
    return jnp.where(kept, value, 0), other, jnp.where(both, value * other, 0)
  ours, theirs, product = jax.lax.map(row, (x.near.lists, x.near.values, x.back))  # [k, N] each
  column = lambda values: jnp.zeros(n, values.dtype).at[x.near.lists].add(values)
  through = jnp.vdot(column(ours), theirs.sum(axis=0), precision='highest')
  if x.debiased:
    pairs = float((n - 1) * (n - 2))
    return product.sum() + ours.sum() * theirs.sum() / pairs - 2 / (n - 2) * through
  reverse = jnp.vdot(column(theirs), ours.sum(axis=0), precision='highest')
  return product.sum() - (through + reverse) / n + ours.sum() * theirs.sum() / float(n)**2


def compare(x: Side, y: Side) -> Array:
  """HSIC(x, y) / sqrt(HSIC(x, x) HSIC(y, y)), 0 where a side has none."""
  return ratio(inner(x, y), x.norm, y.norm)


@wide
def cknna(x: Array, y: Array, *, k: int = 10, metric: str = 'cosine',
          debiased: bool = True) -> Array:
  """Centred kernel nearest-neighbour alignment of x [N, D1] and y [N, D2]: [] up to 1.

  Higher is more similar, 1 for equal sides, near 0 by chance but not exactly. Not quite symmetric
  in x and y, since the common mask is not. Invariant to orthogonal maps and isotropic scaling of
  either side, with 'cosine' to the length of every sample. Differentiable where no neighbours tie.

  Precision: neighbours are those of float64 (see `mutual_knn`), their values of float32, about
  1e-5; float64 where a side needs it.

  Args:
    x, y: features of the same samples.
    k: neighbours, in 1..N-1; ties go to the lower index. k = N - 1 is CKA of the kernel.
    metric: the kernel and the neighbours: 'cosine' or 'inner_product'.
    debiased: the HSIC of Song et al. (2012); else the biased one.

  Raises:
    ValueError: k or metric out of range, N < 4, or arrays that do not fit.

  Examples:
    >>> x = np.arange(12.0).reshape(6, 2) ** 2
    >>> [round(float(cknna(x, y, k=2)), 3) for y in (x, 3 - 2 * x, x[::-1])]
    [1.0, -0.594, 0.598]
  """
  x, y = paired(x, y, least=4)
  return compare(*(prepare(z, k=k, metric=metric, debiased=debiased) for z in (x, y)))


MEASURES = {
    'cknna': Measure(
        cknna, prepare, compare, 'CKA over the neighbours that both sides share', '..1',
        ('orthogonal', 'scaling', 'rows'), {'k': 10, 'metric': 'cosine', 'debiased': True},
        least=4, symmetric=False),
}
