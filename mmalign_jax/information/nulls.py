"""Data as it would be by chance: permutations under which atoms vanish, of samples or of groups.

Independent samples are permuted one by one, which is exact. Where samples belong together, whole
groups exchange places (`grouped`): exact for 'y', 'x1' and 'x2'. No permutation of groups is exact
under X1 independent of Y *given X2*, where X2 varies within them; there the label is redrawn from
p(y|x2) with its residuals, which keep what the samples of a group have in common, moved from group
to group. That is the exact permutation of 'y' where X2 tells nothing of Y, and p(y|x2) is taken for
that unless I(X2;Y) is clearly above its own permutations; elsewhere it is an approximation.
"""

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.information import surrogate
from mmalign_jax.information.surrogate import Sample, tables


def permuted(sample: Sample, which: str, draws: int, rng: np.random.Generator) -> tuple[
    np.ndarray, np.ndarray | None]:
  """Tables [P, n1, n2, C] of permuted data, and that of the samples that took part, None if all.

  P is `draws`, or all arrangements of groups where there are fewer.

  Args:
    which: 'y': labels permuted, under (X1,X2) independent of Y. 'x1', 'x2': one side permuted,
      under that side independent of all else: no redundancy. 'x1|x2', 'x2|x1': one side permuted
      among samples with the same cell of the other, under X1 independent of Y given X2: then
      unique_1 and synergy are 0, and the other way round unique_2 and synergy.
  """
  moved, _, given = which.partition('|')
  codes = {'x1': sample.i, 'x2': sample.j, 'y': sample.y}
  if sample.groups is not None:
    return _groups_moved(sample, sample.groups, codes, 'y' if given else moved, given, draws, rng)
  strata = codes[given] if given else np.zeros_like(sample.y)
  order = np.argsort(strata + rng.random((draws, len(strata))), axis=1)
  drawn = np.empty_like(order)
  drawn[:, np.argsort(strata, kind='stable')] = codes[moved][order]
  return _made(sample, codes | {moved: drawn}), None


def _made(sample: Sample, codes: dict[str, np.ndarray]) -> np.ndarray:
  first = max((values for values in codes.values()), key=np.ndim)
  y = np.broadcast_to(codes['y'], first.shape)
  return tables(codes['x1'], codes['x2'], y, sample.shape)


def _groups_moved(sample: Sample, groups: np.ndarray, codes, moved: str, given: str, draws: int,
                  rng) -> tuple[np.ndarray, np.ndarray | None]:
  values = codes[moved]
  blocks, whole = blocks_of(groups, values)
  order = blocks.permuted(draws, rng)
  kept = np.arange(len(groups)) if whole else blocks.kept
  spread = (lambda of_groups: of_groups[:, groups]) if whole else lambda of_samples: of_samples
  part = {name: code[kept] for name, code in codes.items()}
  if given:
    p = _conditional(sample, codes[given])
    u = surrogate.residuals(p[codes[given]], values, rng.random(len(groups)))
    if whole:  # one for each group
      mean = np.bincount(groups, u) / np.bincount(groups)
      u = surrogate.even(mean[groups])[blocks.kept][order]
    else:
      u = u[kept][order]
    part['y'] = surrogate.labels(p, spread(u), part[given])
  else:
    part[moved] = spread(values[blocks.kept][order])
  if len(kept) == len(groups):
    return _made(sample, part), None
  own = Sample(sample.i[kept], sample.j[kept], sample.y[kept], sample.shape)
  return _made(sample, part), own.table()


def blocks_of(groups: np.ndarray, codes: np.ndarray) -> tuple[grouped.Blocks, bool]:
  """How groups [N] exchange codes [N], and whether these are one a group."""
  whole = grouped.constant(groups, codes)
  return grouped.blocks(groups, whole), whole


def _conditional(sample: Sample, x: np.ndarray) -> np.ndarray:
  """p(y|x) [K, C] of codes x [N]: of the label alone unless x clearly tells something of it."""
  shape = (int(x.max()) + 1, 1, sample.shape[2])
  own = tables(x, np.zeros_like(x), sample.y[None], shape)[0, :, 0]
  noise = surrogate.noise(sample, surrogate.FITTING_DRAWS, np.random.default_rng(0))
  pull, _ = surrogate.fitted_pair(x, sample.y, noise, sample.groups)
  return surrogate.given(surrogate.shrunk(own, pull))


def above_chance(sample: Sample, by_chance: np.ndarray) -> float:
  """0..1: how surely I(X1,X2;Y) of a sample is above that of tables [B, n1, n2, C] by chance."""
  total = surrogate.informations(sample.table()[None])[0, 2]
  return surrogate.above(total, surrogate.informations(by_chance)[:, 2])


def chance(sample: Sample, draws: int, rng: np.random.Generator) -> np.ndarray:
  """Tables [B, n1, n2, C] of all samples with labels moved; with groups, each has another's."""
  if sample.groups is None:
    return permuted(sample, 'y', draws, rng)[0]
  p_y = sample.table().sum(axis=(0, 1))
  flat = np.broadcast_to(p_y, (len(sample.y), len(p_y)))
  u = surrogate.noise(sample, draws, rng)(flat, sample.y)
  return tables(sample.i, sample.j, surrogate.labels(p_y, u), sample.shape)


def resampled(sample: Sample, draws: int, rng: np.random.Generator) -> np.ndarray:
  """Tables [B, n1, n2, C] of samples, or of whole groups, drawn with replacement."""
  if sample.groups is None:
    pick = rng.integers(0, len(sample.y), (draws, len(sample.y)))
    return tables(sample.i[pick], sample.j[pick], sample.y[pick], sample.shape)
  often = grouped.drawn(int(sample.groups.max()) + 1, draws, rng)
  flat = np.ravel_multi_index((sample.i, sample.j, sample.y), sample.shape)
  counts = np.stack([np.bincount(flat, row[sample.groups], int(np.prod(sample.shape)))
                     for row in often])
  return (counts / counts.sum(axis=1, keepdims=True)).reshape(draws, *sample.shape)
