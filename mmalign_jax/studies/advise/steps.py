"""The steps of an advice, in order; each is kept in DIR/steps and done once.

A step is redone only where what it reads has changed: data, seed, the time allowed for the search,
or the result of a step that it needs. What cannot be said of the data is kept, too, with the
reason. Where the search is broken off, its finished rounds stay (DIR/rounds). Evidence decides
nothing: where a fault of this program ends such a step, that is said and not kept, and all else is
done.
"""

from collections.abc import Callable, Collection
import dataclasses
import hashlib
import json
import time
import traceback
from typing import Any

from mmalign_jax.reports.text import write_json
from mmalign_jax.runs import damage, folder
from mmalign_jax.studies.advise import evidence, kept, trial
from mmalign_jax.studies.advise.work import Work

VERSION = 6  # of what is kept, but for rounds


@dataclasses.dataclass(frozen=True)
class Step:
  """title: for people; run: Work -> its result; needs: steps whose results it reads; timed: whether
  the time allowed decides what it does."""
  title: str
  run: Callable[[Work], dict[str, Any]]
  needs: tuple[str, ...] = ()
  timed: bool = False


STEPS = {
    'data': Step('The data', evidence.data),
    'alike': Step('How alike the views are', evidence.alike),
    'atoms': Step('What they share of the label', evidence.atoms),
    'linear': Step('What a linear method gets', evidence.linear),
    'regime': Step('The regime by diagnosis', evidence.regime),
    'predicted': Step('The best strength, foretold', evidence.predicted),
    'trial': Step('What training shows', trial.run, timed=True),
    'decision': Step('The decision', trial.decide, ('trial',)),
    'encoders': Step('The encoders', kept.run, ('decision',)),
}
EVIDENCE = ('alike', 'atoms', 'linear', 'regime', 'predicted')


def run(work: Work, skip: Collection[str] = ()) -> None:
  """Does every step that is not kept yet; results are in work.results.

  Raises:
    KeyboardInterrupt: what is finished is in work.results and on disk.
  """
  (work.folder / 'steps').mkdir(parents=True, exist_ok=True)
  names = [name for name in STEPS if name not in skip]
  for i, name in enumerate(names):
    step = STEPS[name]
    if any(need not in work.results for need in step.needs):
      continue
    path, key = work.folder / 'steps' / f'{name}.json', inputs(name, work)
    held = folder.read_json(path, 'remove it') if path.exists() else {}
    if held.get('inputs') != key:
      work.progress(f'{i + 1}/{len(names)} {step.title}{work.clock.said()}')
      begun = time.monotonic()
      try:
        result = step.run(work)
      except (ValueError, FloatingPointError) as error:
        result = {'said': [f'cannot be said: {error}'], 'unknown': str(error)}
      except Exception as error:
        if name not in EVIDENCE or isinstance(error, OSError) or damage.of_the_machine(error):
          raise
        work.results[name] = {'said': [_failed(error)], 'failed': type(error).__name__}
        work.progress(f'{step.title}: {_failed(error)}')
        continue
      held = {'inputs': key, 'seconds': time.monotonic() - begun, 'result': result}
      write_json(path, held)
      held = folder.read_json(path)  # as a later run would read it
    work.results[name] = held['result']


def _failed(error: Exception) -> str:
  """One line of what is no answer, with the place to look at."""
  frames = traceback.extract_tb(error.__traceback__)
  at = next((one for one in reversed(frames) if 'mmalign_jax' in one.filename), frames[-1])
  said = ' '.join(str(error).split())[:200]
  return (f'failed, by a fault of this program: {type(error).__name__}: {said} '
          f'({at.filename.rpartition("/")[2]}, line {at.lineno})')


def inputs(name: str, work: Work, results: dict[str, Any] | None = None) -> str:
  """A digest of all that decides the result of a step; results: of those that it needs."""
  step, results = STEPS[name], work.results if results is None else results
  return digest(name, VERSION, work.fingerprint, work.seed,
                [work.clock.seconds, work.clock.effort] if step.timed else [],
                [results[need] for need in step.needs])


def digest(*values: Any) -> str:
  return hashlib.sha256(json.dumps(values, sort_keys=True, default=float).encode()).hexdigest()


def spent(work: Work) -> float:
  """Seconds of the steps and rounds on disk that will not be done again."""
  results: dict[str, Any] = {}
  total = 0.0
  for name, step in STEPS.items():
    path = work.folder / 'steps' / f'{name}.json'
    if not path.exists() or any(need not in results for need in step.needs):
      continue
    held = folder.read_json(path, 'remove it')
    if held.get('inputs') == inputs(name, work, results):
      results[name] = held['result']
      total += held.get('seconds', 0.0)
  return total if 'trial' in results else total + trial.spent(work)
