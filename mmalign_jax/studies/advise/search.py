"""Objective, strength and settings of each encoder by successive halving on inner folds.

Candidates without alignment are every combination of the settings. Candidates with alignment are,
for each objective and strength, the settings that are best without it and some at random: no
candidate without alignment is left out, so that its best is tuned at least as hard. All are trained
on few inner folds, the best third of each kind on more, and so on (Jamieson and Talwalkar, AISTATS
2016); every encoder, and the head on all of them, keeps and chooses its own. This is a few lines
here and not asked of Optuna or scikit-learn, whose trials come one by one: here a whole rung is a
few compiled calls, the grid is finite, and the same seed gives the same answer after a kill.
"""

from collections.abc import Sequence
import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from mmalign_jax.data.pair_source import PairTables
from mmalign_jax.studies.advise.cells import Arm, Job, Trainer, first_seed

OBJECTIVES = ('info_nce', 'vicreg', 'gap_aware')
STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
COMPONENTS = (10, 30, 0)          # 0: all
WEIGHT_DECAYS = (1e-2, 1.0)
LEARNING_RATES = (1e-3, 5e-3)
KEPT = 3                          # a third of the candidates of a rung are kept


@dataclasses.dataclass(frozen=True)
class Plan:
  """n_outer, n_inner: folds. objectives; of_each: settings for every objective and strength; rungs:
  inner trainings of a candidate up to each rung; seeds: of the outer trainings; steps: candidates
  for how long; shares: of the labels, for a curve, each judged by half of the seeds."""
  n_outer: int
  n_inner: int
  objectives: tuple[str, ...]
  of_each: int
  rungs: tuple[int, ...]
  seeds: int
  steps: tuple[int, ...]
  shares: tuple[float, ...] = ()

  @property
  def seeds_of_share(self) -> int:
    return (self.seeds + 1) // 2


@dataclasses.dataclass(frozen=True)
class Choice:
  """Of one encoder: the best candidate without and with alignment, and the mean accuracy of each on
  the inner folds."""
  without: Arm
  aligned: Arm
  validation: tuple[float, float]


def settings(plan: Plan, width: int) -> list[dict[str, Any]]:
  """Every combination of what is tuned beside objective and strength."""
  components = [c for c in COMPONENTS if c < width]
  return [dict(zip(('components', 'weight_decay', 'learning_rate', 'train_steps'), point))
          for point in itertools.product(components, WEIGHT_DECAYS, LEARNING_RATES, plan.steps)]


def unaligned(plan: Plan, width: int) -> list[Arm]:
  """All candidates of strength 0."""
  return [Arm('', 0.0, **one) for one in settings(plan, width)]


def aligned(plan: Plan, width: int, without: dict[Arm, np.ndarray], seed: int) -> list[Arm]:
  """Candidates of the other strengths: for each of them and each objective the settings of the best
  without alignment, half of `of_each`, and others at random.

  Args:
    without: validation accuracy [E] of candidates of strength 0.
  """
  g, known = np.random.default_rng([seed, 6]), settings(plan, width)
  of = lambda arm: {name: getattr(arm, name) for name in known[0]}
  ranked = sorted(without, key=lambda arm: -without[arm].mean())
  best = [of(arm) for arm in ranked[:-(-plan.of_each // 2)]]
  rest = [one for one in known if one not in best]
  return [Arm(loss, lam, **one) for loss in plan.objectives for lam in STRENGTHS
          for one in (*best, *(rest[i] for i in sorted(
              g.permutation(len(rest))[:plan.of_each - len(best)])))]


def choose(tables: Sequence[PairTables], plan: Plan, trainer: Trainer, width: int,
           seed: int) -> tuple[Choice, ...]:
  """A choice for every encoder, and for the head on all of them.

  Args:
    tables: of the inner folds. width: most components of a side. seed: of the random settings.
  """
  first = first_seed(seed, judging=False)
  without = halved(unaligned(plan, width), tables, plan, trainer, first)
  kinds = [without, halved(aligned(plan, width, without, seed), tables, plan, trainer, first)]
  n = len(next(iter(kinds[0].values())))
  best = [[_best(kind, e) for kind in kinds] for e in range(n)]
  return tuple(Choice(a, b, (float(kinds[0][a][e]), float(kinds[1][b][e])))
               for e, (a, b) in enumerate(best))


def halved(arms: Sequence[Arm], tables: Sequence[PairTables], plan: Plan, trainer: Trainer,
           first: int) -> dict[Arm, np.ndarray]:
  """{candidate of the last rung: mean validation accuracy [S + 1]}, the same inner trainings for
  all, of seeds from `first` on; -1 where one of them diverged."""
  left, values, before = list(arms), {arm: [] for arm in arms}, 0
  for rung, count in enumerate(plan.rungs):
    jobs = [Job(unit % len(tables), arm, first + unit)
            for arm in left for unit in range(before, count)]
    found = np.nan_to_num(trainer.run(tables, jobs)[:, :, 0], nan=-1.0)
    for job, value in zip(jobs, found):
      values[job.arm].append(value)
    before = count
    if rung < len(plan.rungs) - 1:
      left = _kept({arm: np.mean(values[arm], axis=0) for arm in left})
  return {arm: np.mean(values[arm], axis=0) for arm in left}


def cost(plan: Plan, width: int) -> int:
  """Steps of all trainings of a search, at most, and of the judging of its choices."""
  mean = sum(plan.steps) / len(plan.steps)
  of = len(plan.objectives) * len(STRENGTHS) * plan.of_each
  total = 0.0
  for count in (len(settings(plan, width)), of):
    before = 0
    for rung in plan.rungs:
      total += count * (rung - before) * mean
      before, count = rung, min(count, math.ceil(count / KEPT * 1.5))
  judged = plan.seeds + plan.seeds_of_share * len(plan.shares)
  return int(total + 6 * judged * mean)


def _kept(mean: dict[Arm, np.ndarray]) -> list[Arm]:
  """Candidates among the best third of all encoders on average, or the best ninth of one."""
  arms = list(mean)
  table = np.stack([mean[arm] for arm in arms])
  order = lambda column: np.argsort(-column, kind='stable')
  keep = set(order(table.mean(axis=1))[:max(1, math.ceil(len(arms) / KEPT))].tolist())
  for column in table.T:
    keep |= set(order(column)[:max(1, math.ceil(len(arms) / KEPT**2))].tolist())
  return [arms[i] for i in sorted(keep)]


def _best(mean: dict[Arm, np.ndarray], encoder: int) -> Arm:
  """Of equals the first: smaller strengths come first."""
  return max(mean, key=lambda arm: mean[arm][encoder])
