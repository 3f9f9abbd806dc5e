"""The step that trains: a plan that fits the time, rounds, and the decisions from them."""

from collections.abc import Sequence
import dataclasses
import pathlib
import time
from typing import Any

import numpy as np

from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import devices, folder
from mmalign_jax.studies.advise import clock, decision, folds, rounds, search
from mmalign_jax.studies.advise.cells import Arm, Job, Trainer
from mmalign_jax.studies.advise.search import Plan
from mmalign_jax.studies.advise.work import Work
from mmalign_jax.types import Spec

RESERVE = 10.0     # seconds for what comes after
LEAST_ROUNDS = 2   # of outer folds, whatever the time
LEAST_UNITS = 3    # one to test on, and two that settings are chosen on
LATE = 0.7         # of a round's time that must be left for another
TOGETHER = 'all views together'


def spec_of(work: Work) -> Spec:
  """The encoders: two layers of 64, as in the studies of few labels, and a head on all of them."""
  n = len(work.pairs.y)
  return Spec(generator='pairs', task=work.pairs.task, depth=2, width=64, projection_width=32,
              batch_size=128, labelled_batch=min(128, int(work.pairs.labelled.sum())),
              steps=clock.MOST_STEPS, max_train=n, n_align=8, neighbors=3, fusion='frozen')


def shape_of(work: Work) -> folds.Shape:
  """The shape of all tables of a search."""
  return folds.shape_of(work.pairs)


def run(work: Work) -> dict[str, Any]:
  """Rounds of the nested cross-validation, as many as planned or as the time allows.

  Raises:
    ValueError: too few units with labels to choose on some and judge on others.
  """
  if (units := _most_folds(work)) < LEAST_UNITS:
    raise ValueError(f'the labelled rows are of {units} unit{"s" * (units > 1)} (groups, those '
                     f'that share a copy of a row together); {LEAST_UNITS} are needed')
  trainer = Trainer(spec_of(work), work.workers)
  plan, shape = _planned(work, trainer)
  key = _key(work, plan)
  pairs, known = work.pairs, np.flatnonzero(work.pairs.labelled)
  fold = folds.parts(pairs.y[known], bool(pairs.classes), work.unit[known], plan.n_outer, work.seed)
  (work.folder / 'rounds').mkdir(exist_ok=True)
  took, made = [], []
  for k in range(plan.n_outer + 1):
    path = work.folder / 'rounds' / f'round_{k}.json'
    held = folder.read_json(path, 'remove it') if path.exists() else {}
    if held.get('inputs') != key:
      if k > LEAST_ROUNDS and _late(work, took):
        break
      work.progress(f'round {k + 1}/{plan.n_outer + 1}{work.clock.said()}')
      begun = time.monotonic()
      test = known[fold == k - 1] if k else known[:0]
      with devices.few_threads():
        found = rounds.play(pairs, work.unit, test, plan, shape, trainer, work.seed)
      took.append(time.monotonic() - begun)
      write_json(path, {'inputs': key, 'seconds': took[-1], 'result': found})
      held = folder.read_json(path)
    made.append(held['result'])
    work.partial = {'plan': dataclasses.asdict(plan), 'rounds': made}
  done = len(made) - 1
  said = [f'{done} of {plan.n_outer} outer folds; {", ".join(plan.objectives)} at '
          f'{len(search.STRENGTHS)} strengths with {plan.of_each} of '
          f'{len(search.settings(plan, max(shape.components)))} settings each, and all of these '
          f'without alignment, chosen on {plan.n_inner} inner folds']
  return {'said': said, **work.partial}


def spent(work: Work) -> float:
  """Seconds of the rounds on disk that will not be done again."""
  plan = _kept_plan(work)
  held = [] if plan is None else [folder.read_json(path, 'remove it') for path in folder.listed(
      work.folder / 'rounds', '.json') if path.stem.startswith('round_')]
  return sum(one.get('seconds', 0.0) for one in held
             if plan is not None and one.get('inputs') == _key(work, plan))


def _key(work: Work, plan: Plan) -> dict[str, Any]:
  """All that decides the result of a round."""
  return folder.plain({'data': work.fingerprint, 'seed': work.seed, 'plan': vars(plan),
                       'version': clock.VERSION})


def finished_rounds(place: pathlib.Path) -> list[dict[str, Any]]:
  """Results of the rounds of a search that was broken off, the first ones without a gap."""
  made: list[dict[str, Any]] = []
  while (path := place / 'rounds' / f'round_{len(made)}.json').exists():
    held = folder.read_json(path, 'remove it')
    if made and held['inputs'] != made[0]['inputs']:
      break
    made.append(held)
  return [held['result'] for held in made]


def _late(work: Work, took: list[float]) -> bool:
  """Whether no time is left for another round."""
  return (work.clock.effort is None and bool(took)
          and work.clock.left() - RESERVE < LATE * float(np.mean(took)))


def _planned(work: Work, trainer: Trainer) -> tuple[Plan, folds.Shape]:
  """The plan, kept from an earlier run or made now by the speed of this machine."""
  path = work.folder / 'rounds' / 'plan.json'
  path.parent.mkdir(exist_ok=True)
  shape = shape_of(work)
  if (kept := _kept_plan(work)) is not None:
    return kept, shape
  rate, compiling = _measured(work, trainer, shape)
  left = work.clock.left() - RESERVE - 2 * compiling  # the encoders are compiled again
  plan = clock.fitting(left, max(shape.components), rate, compiling, _most_folds(work))
  write_json(path, {'inputs': _timed(work), 'plan': dataclasses.asdict(plan), 'rate': rate,
                    'compiling': compiling})
  return plan, shape


def _kept_plan(work: Work) -> Plan | None:
  """The plan of an effort, whatever minutes were given before; or that of an earlier run."""
  if work.clock.effort is not None:
    return clock.of_effort(work.clock.effort, _most_folds(work))
  path = work.folder / 'rounds' / 'plan.json'
  held = folder.read_json(path, 'remove it') if path.exists() else {}
  return _of_json(held['plan']) if held.get('inputs') == _timed(work) else None


def _timed(work: Work) -> list[Any]:
  return [work.fingerprint, work.seed, work.clock.seconds, clock.VERSION]


def _most_folds(work: Work) -> int:
  return len(np.unique(work.unit[work.pairs.labelled]))


def _of_json(made: dict[str, Any]) -> Plan:
  fields: dict[str, Any] = {
      name: tuple(v) if isinstance(v, list) else v for name, v in made.items()}
  return Plan(**fields)


def _measured(work: Work, trainer: Trainer, shape: folds.Shape) -> tuple[float, float]:
  """Seconds of a step of a candidate, and of compiling a program."""
  known = np.flatnonzero(work.pairs.labelled)
  of = folds.round_of(work.pairs, work.unit, known[:0], shape)
  tables = folds.inner(of, 2, shape, bool(work.pairs.classes), work.seed)
  for loss in ('', 'info_nce'):
    arm = Arm(loss, 1.0 if loss else 0.0, 0, 0.01, 1e-3, 100)
    trainer.run(tables, [Job(k % 2, arm, k) for k in range(8 * work.workers)])
  return trainer.rate, trainer.compiling / 2


def decide(work: Work) -> dict[str, Any]:
  """A decision for every encoder, and for the head on all of them."""
  return decisions(work.pairs.names, work.results['trial'])


def decisions(names: Sequence[str], found: dict[str, Any]) -> dict[str, Any]:
  """The same of what is finished; without an outer fold there are choices, and no decision."""
  if 'rounds' not in found:
    raise ValueError('nothing was trained')
  advised, *judged = found['rounds']
  tests = [one['test'] for one in judged]
  made, said = {}, []
  for e, name in enumerate((*names, TOGETHER)):
    chosen = rounds.choice(advised['choices'][e])
    gain = rounds.gain_of(tests, e)
    if gain is None:
      continue
    curve = {float(share): one.gain for share in (judged[0]['curve'] if judged else {})
             if (one := rounds.gain_of([r['curve'][share] for r in judged], e))}
    if curve:
      curve[1.0] = gain.gain
    twice = rounds.twice_of(judged, e)
    known = decision.decide(name, gain, chosen.aligned.loss, chosen.aligned.lam, curve, twice)
    again = np.mean([rounds.choice(r['choices'][e]).aligned.loss == chosen.aligned.loss
                     for r in judged])
    made[name] = {**dataclasses.asdict(known), 'gain': dataclasses.asdict(gain),
                  'objective': chosen.aligned.loss, 'lam': chosen.aligned.lam,
                  'settings': dataclasses.asdict(chosen), 'curve': curve,
                  'twice': dataclasses.asdict(twice) if twice else None,
                  'same_objective': float(again)}
    said += [known.sentence] + ([known.change] if known.change else [])
  return {'said': said, 'encoders': made} | ({} if made else {'chosen': advised['choices']})
