"""How long it may take, and a search that fits into it."""

import dataclasses
import time

from mmalign_jax.studies.advise import search
from mmalign_jax.studies.advise.search import Plan

# From the least to the most; the largest that fits is run. What a few trainings choose is luck, and
# so is a gain that a single seed judges: the last rung is of many, and so are the seeds.
VERSION = 4  # of LADDER, and of what a round does with its plan; others are not gone on with
LADDER = (
    Plan(3, 3, ('info_nce',), 1, (1, 2), 4, (50, 200)),
    Plan(3, 3, ('info_nce', 'vicreg'), 1, (1, 3, 9), 6, (50, 200)),
    Plan(5, 3, ('info_nce', 'vicreg'), 1, (1, 3, 9), 6, (50, 200), (0.5,)),
    Plan(5, 3, ('info_nce', 'vicreg'), 1, (1, 3, 9), 6, (100, 400), (0.5,)),
    Plan(5, 4, ('info_nce', 'vicreg', 'gap_aware'), 1, (1, 4, 12), 6, (100, 400), (0.5,)),
    Plan(5, 4, ('info_nce', 'vicreg', 'gap_aware'), 2, (1, 4, 12), 6, (100, 400), (0.25, 0.5)),
    Plan(5, 4, ('info_nce', 'vicreg', 'gap_aware'), 4, (2, 8, 16), 8, (100, 400), (0.25, 0.5)),
    Plan(5, 4, ('info_nce', 'vicreg', 'gap_aware'), 6, (2, 6, 16), 8, (100, 400), (0.25, 0.5)),
    Plan(10, 5, ('info_nce', 'vicreg', 'gap_aware', 'correlation'), 8, (2, 6, 20), 8,
         (100, 400), (0.25, 0.5)),
    Plan(10, 5, ('info_nce', 'vicreg', 'gap_aware', 'correlation', 'factorised'), 12,
         (3, 10, 30), 12, (100, 400, 1600), (0.25, 0.5)),
)
MOST_STEPS = max(max(plan.steps) for plan in LADDER)


@dataclasses.dataclass
class Clock:
  """seconds: allowed in all; effort: number of a plan of LADDER, which is then run whatever it
  takes; before: seconds spent by earlier runs of the same."""
  seconds: float
  effort: int | None = None
  before: float = 0.0
  begun: float = dataclasses.field(default_factory=time.monotonic)

  def left(self) -> float:
    """Seconds until it should end; below 0 where it is late."""
    return self.seconds - self.before - (time.monotonic() - self.begun)

  def said(self) -> str:
    """The time left, to follow a line of progress; nothing where effort, not time, is given."""
    return '' if self.effort is not None else f'; {max(self.left(), 0):.0f} s left'


def of_effort(effort: int, most_folds: int) -> Plan:
  """A plan of LADDER, of as many outer folds as the rows allow."""
  plan = LADDER[effort]
  return dataclasses.replace(plan, n_outer=max(2, min(plan.n_outer, most_folds)))


def fitting(seconds: float, width: int, rate: float, compiling: float, most_folds: int) -> Plan:
  """The largest plan of LADDER that takes `seconds` at most, or the least.

  Args:
    width: most components of a side. rate: seconds of a step of a candidate. compiling: seconds for
      a program, one for each objective. most_folds: outer folds that the rows allow.
  """
  fit = [effort for effort, plan in enumerate(LADDER)
         if duration(plan, width, rate, compiling) <= seconds]
  return of_effort(max(fit, default=0), most_folds)


def duration(plan: Plan, width: int, rate: float, compiling: float) -> float:
  """Seconds of a plan."""
  return (plan.n_outer + 1) * search.cost(plan, width) * rate + len(plan.objectives) * compiling
