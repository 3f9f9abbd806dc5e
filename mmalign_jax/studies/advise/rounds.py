"""Rounds of the nested cross-validation: chosen inside, judged outside, each kept on disk.

The first round has no test rows: it is what is advised. Every other one repeats the whole choice
without its test rows, and judges on them what it has chosen.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from mmalign_jax.data.pairs import Pairs
from mmalign_jax.studies.advise import folds, search
from mmalign_jax.studies.advise.cells import Arm, Job, Trainer, first_seed
from mmalign_jax.studies.advise.folds import Round, Shape
from mmalign_jax.studies.advise.gains import Gain, gain, twice
from mmalign_jax.studies.advise.search import Choice, Plan

Test = dict[str, list[list[float]]]  # weight, without, aligned: of every encoder, by block


def play(pairs: Pairs, unit: np.ndarray, test: np.ndarray, plan: Plan, shape: Shape,
         trainer: Trainer, seed: int) -> dict[str, Any]:
  """Chooses on all rows but `test`, and judges on those; ready for JSON.

  Returns:
    choices: of every side and of the head on all; test: see `Test`, with curve: the same by share
    of the labels; both absent without test rows.
  """
  of_classes = bool(pairs.classes)
  of = folds.round_of(pairs, unit, test, shape)
  n_inner = min(plan.n_inner, len(np.unique(unit[of.train])))
  inner = folds.inner(of, n_inner, shape, of_classes, seed)
  choices = search.choose(inner, plan, trainer, max(shape.components), seed)
  found: dict[str, Any] = {'choices': [dataclasses.asdict(choice) for choice in choices]}
  if len(test):
    judge = lambda of, seeds: judged(of, choices, seeds, shape, trainer, seed)
    found['test'] = judge(of, plan.seeds)
    found['curve'] = {
        str(share): judge(folds.thinned(of, share, of_classes, seed), plan.seeds_of_share)
        for share in plan.shares}
  return found


def judged(of: Round, choices: Sequence[Choice], seeds: int, shape: Shape, trainer: Trainer,
           seed: int) -> Test:
  """What the choices are worth on the test rows: means over seeds."""
  tables, rows, block = folds.outer(of, shape, seed)
  arms = sorted({arm for choice in choices for arm in (choice.without, choice.aligned)})
  first = first_seed(seed, judging=True)
  jobs = [Job(0, arm, first + s) for arm in arms for s in range(seeds)]
  table = trainer.run([tables], jobs)[:, :, :shape.blocks]
  mean = dict(zip(arms, np.nan_to_num(  # what diverged has learnt nothing
      table.reshape(len(arms), seeds, *table.shape[1:])).mean(axis=1)))
  sides = [has[rows] for has in of.has]
  found: Test = {'weight': [], 'without': [], 'aligned': []}
  for e, (choice, has) in enumerate(zip(choices, [*sides, np.logical_and.reduce(sides)])):
    weight = np.bincount(block[has], minlength=shape.blocks)
    some = np.flatnonzero(weight)
    found['weight'].append(weight[some].tolist())
    found['without'].append(mean[choice.without][e][some].tolist())
    found['aligned'].append(mean[choice.aligned][e][some].tolist())
  return found


def choice(made: dict[str, Any]) -> Choice:
  """A choice as JSON has it."""
  return Choice(Arm(**made['without']), Arm(**made['aligned']), tuple(made['validation']))


def gain_of(tests: Sequence[Test], encoder: int) -> Gain | None:
  """The gain of an encoder over outer rounds; None where no test row has it."""
  found = _judged(tests, encoder)
  return gain(*found) if found[2] else None


def twice_of(judged: Sequence[dict[str, Any]], encoder: int) -> Gain | None:
  """What it is with twice as many labels, by the shares of the rounds (`play`); None if unknown."""
  shares = judged[0]['curve'] if judged else {}
  found = {float(share): _judged([one['curve'][share] for one in judged], encoder)
           for share in shares}
  found[1.0] = _judged([one['test'] for one in judged], encoder)
  return twice(found) if found[1.0][2] else None


def _judged(tests: Sequence[Test], encoder: int
            ) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
  """without, aligned, weight of the rounds whose test rows have the side."""
  of = lambda name: [np.array(test[name][encoder]) for test in tests if test['weight'][encoder]]
  return of('without'), of('aligned'), of('weight')
