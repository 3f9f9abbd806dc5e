"""Whether what a zoo asks for can be had of its samples."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from mmalign_jax import grouped
from mmalign_jax.similarity import scores
from mmalign_jax.studies.zoo import nested

if TYPE_CHECKING:  # it asks here
  from mmalign_jax.studies.zoo.plan import Plan


def check(plan: 'Plan') -> None:
  """What the measures need of the samples, of all and of the fewest that are compared.

  Raises:
    ValueError: one line that names the measure, and why it cannot be had.
  """
  half = scores.Plan(plan.settings['permutations'], plan.settings['resamples'])
  widths = sorted({m.width for m in (*plan.left, *plan.right) if not m.refused})
  for codes in (plan.groups, plan.items):
    if codes is not None:
      grouped.checked(codes, plan.n)
  codes = plan.groups if plan.groups is not None else plan.items
  if plan.y is not None and codes is not None and len(np.unique(codes[plan.labelled])) < 2:
    raise ValueError(f'y={plan.settings["y"]!r}: only samples of one group have a label, and a '
                     'probe is judged on groups that it has not seen')
  for name, measure in plan.measures.items():
    if measure.null != 'pairs':
      raise ValueError(f'measure {name!r}: its chance exchanges two sides of one space; take a '
                       'pair at a time by mmalign measure')
    own_plan = dataclasses.replace(half, settings=plan.of_measure(measure))
    reason = scores.obstacle(measure, plan.n, widths, own_plan, plan.groups, plan.items)
    if not reason and plan.settings['sizes']:
      reason = nested.obstacle(plan, measure, widths, dataclasses.replace(
          own_plan, permutations=plan.settings['size_permutations'], resamples=0))
    if reason:
      raise ValueError(f'measure {name!r}: {reason}')
