"""How sure is a score? An interval from random halves of the samples."""

import chex
from flax import struct
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.similarity.measure import Measure
from mmalign_jax.similarity.null import Layers, as_layers, layer_pairs

RESAMPLES = 'random halves of the samples, pairs kept together, without replacement'


@struct.dataclass
class Interval:
  """score [] with low [] and high [] at `level`; resampled says what was drawn anew."""
  score: chex.Array
  low: chex.Array
  high: chex.Array
  level: float = struct.field(pytree_node=False)
  resampled: str = struct.field(pytree_node=False, default=RESAMPLES)


def bootstrap(measure: Measure, x: Layers, y: Layers, *, key: chex.PRNGKey, resamples: int = 200,
              level: float = 0.95, groups: np.ndarray | None = None,
              items: np.ndarray | None = None, **settings) -> Interval:
  """Interval of the measure (of its best value over layers) over samples.

  A bootstrap that draws samples twice makes them each other's nearest neighbours and lifts every
  Gram matrix. A random half without replacement has no twins, and its value varies about its mean
  as much as that of N samples would: the variance of a half about the whole is (1 / m - 1 / N) over
  1 / N that of the whole, so deviations are scaled by sqrt(m / (N - m)), 1 for even N (half-sample
  bootstrap; Politis, Romano and Wolf 1999, Subsampling). What the size of a sample does to the
  value itself (small k / N, biased measures) is taken out by centring on the mean of the halves.

  Args:
    measure: an entry of MEASURES.
    x, y: [N, D], or a sequence of such layers.
    key: of the halves.
    resamples: number of halves, at least 2.
    level: coverage, in (0, 1).
    groups: codes [N] of samples that belong together, and are drawn together.
    items: codes [N]; samples of one item are each other's partners, and are drawn together.
    **settings: of the measure.

  Raises:
    ValueError: as the measure itself for N // 2 samples, or for resamples or level out of range.
  """
  if groups is not None or items is not None:
    raise ValueError('groups and items are not drawn yet')
  if resamples < 2:
    raise ValueError(f'resamples={resamples} must be at least 2')
  if not 0 < level < 1:
    raise ValueError(f'level={level} is not in (0, 1)')
  x, y = as_layers(measure, x, y)
  n, m = len(x[0]), len(x[0]) // 2
  def half(key):
    kept = jax.random.permutation(key, n)[:m]
    return layer_pairs(measure, [z[kept] for z in x], [z[kept] for z in y], **settings).best
  halves = jax.lax.map(half, jax.random.split(key, resamples))
  score = layer_pairs(measure, x, y, **settings).best
  spread = (halves - halves.mean()) * (m / (n - m)) ** 0.5
  tail = jnp.array([(1 - level) / 2, (1 + level) / 2], spread.dtype)
  low, high = score + jnp.quantile(spread, tail)
  return Interval(score, low, high, level)
