"""By how much plug-in atoms flatter the truth, and how much surer that makes an interval.

The bias is that of permuted labels where the data cannot be told from them, and that of the fitted
model (`surrogate`) where they clearly can.
"""

from collections.abc import Callable

import numpy as np

from mmalign_jax.information import nulls as nulls_, surrogate
from mmalign_jax.information.surrogate import Noise, Sample, Shares

DRAWS = 100
STEP = 0.9          # of the shares, to see how the correction moves with the plug-in value
WIDEST = 2.0        # factor by which an interval is widened for it

Solver = Callable[[np.ndarray], np.ndarray]
Streams = Callable[[str], np.random.Generator]


def bias_of(sample: Sample, many: Solver, rng: Streams, widen: bool) -> tuple[
    np.ndarray, Callable[[np.ndarray], np.ndarray], Shares | None]:
  """Bias of the plug-in atoms of a sample, in nats.

  Args:
    many: tables [B, n1, n2, C] -> their atoms [B, 4].
    rng: a stream of random numbers by name.
    widen: whether intervals are asked for.

  Returns:
    bias [4]; the factors [4] by which intervals widen, by the spread [4] of resampled atoms, 1
    where not asked for; and the model that the bias is of, None where labels were permuted.
  """
  chance = nulls_.chance(sample, DRAWS, rng('labels'))
  weight = nulls_.above_chance(sample, chance)
  as_wide = lambda spread: np.ones(4)
  if not weight:
    return many(chance).mean(axis=0), as_wide, None
  shares = surrogate.fitted(sample, rng('model')).times(weight)
  at = lambda shares, draws: _expected(sample, shares, many, [
      surrogate.noise(sample, draws, rng(f'draws {k}')) for k in range(2)])
  mean, truth = at(shares, DRAWS)
  bias = _exactly_none(sample, mean - truth, shares, many, rng)
  if not widen:
    return bias, as_wide, shares
  near, near_truth = at(shares.times(STEP), DRAWS // 2)
  moved = at(shares, DRAWS // 2)[0] - near
  def widening(spread):  # d value / d plug-in, where the step moved the plug-in enough to tell
    enough = np.abs(moved) > spread / 2
    slope = (truth - near_truth) / np.where(enough, moved, 1)
    return np.where(enough, np.clip(slope, 1, WIDEST), 1)
  return bias, widening, shares


def _exactly_none(sample: Sample, bias: np.ndarray, shares: Shares, many: Solver,
                  rng: Streams) -> np.ndarray:
  """The bias [4] of a model, but that of redundancy from permutations where a side tells nothing.

  They keep the other side as it is, where the model's has the luck of the sample in it, so that of
  noise a little too much seems shared. The informations keep the bias of the model.
  """
  least = int(np.argmin(shares.clear))
  if shares.clear[least] == 1 or sample.groups is not None:
    return bias
  kind = ('x1', 'x2')[least]
  made, _ = nulls_.permuted(sample, kind, DRAWS, rng(f'no {kind}'))
  off = (many(made)[:, 0].mean() - bias[0]) * (1 - shares.clear[least])
  return bias + off * np.array([1, -1, -1, 1])


def _expected(sample: Sample, shares: Shares, many: Solver, noises: list[Noise]) -> tuple[
    np.ndarray, np.ndarray]:
  """Mean plug-in atoms [4] of data drawn from a model, and the model's own."""
  model = surrogate.population(sample, shares)
  made = many(np.concatenate([model[None], surrogate.drawn(sample, model, *noises)]))
  return made[1:].mean(axis=0), made[0]
