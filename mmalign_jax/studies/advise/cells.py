"""Trainings of the search: settings -> accuracy on what is judged, in compiled chunks.

All candidates of one objective are one compiled program (`training.sweep.compiled`), whatever their
strength and settings and whichever rows are hidden. A chunk holds candidates that train equally
long, and each core runs its own.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
import dataclasses
import threading
import time
from typing import Any

import jax
import numpy as np

from mmalign_jax import named
from mmalign_jax.data.pair_source import PairTables
from mmalign_jax.training import sweep
from mmalign_jax.types import Spec

CHUNK = 4  # candidates that are trained at once by a core


@dataclasses.dataclass(frozen=True, order=True)
class Arm:
  """What may be chosen: an objective ('' for none) and its strength, and the settings."""
  loss: str
  lam: float
  components: int
  weight_decay: float
  learning_rate: float
  train_steps: int


@dataclasses.dataclass(frozen=True)
class Job:
  """A training: which tables (by number), what, and the seed of initialisation and order."""
  tables: int
  arm: Arm
  seed: int


def first_seed(seed: int, judging: bool) -> int:
  """From here on count the seeds of trainings that choose, or of those that judge what was chosen:
  others, so that nothing is chosen for the luck of the seed by which it is judged."""
  return int(np.random.default_rng([seed, 9 + judging]).integers(2**31))


class Trainer:
  """Runs jobs; measures what they take.

  rate: seconds of the machine for a step of a candidate. compiling: seconds for the programs so
  far.
  """

  def __init__(self, spec: Spec, workers: int):
    self._spec, self._workers = spec, workers
    self._ready: dict[str, Any] = {}
    self._lock = threading.Lock()
    self.steps, self.seconds, self.compiling = 0, 0.0, 0.0

  @property
  def rate(self) -> float:
    return self.seconds / max(self.steps, 1)

  def run(self, tables: Sequence[PairTables], jobs: Sequence[Job]) -> np.ndarray:
    """Accuracy [J, S + 1, B + 1] of every job: of every side and of the head on all, by block; NaN
    where a training diverged or a block is empty."""
    chunks = _chunks(jobs)
    placed = [jax.device_put(one) for one in tables]
    found: dict[int, np.ndarray] = {}

    def work(chunk: list[int]) -> None:
      filled = [jobs[i] for i in np.resize(chunk, CHUNK)]
      accuracy = self._chunk(placed[filled[0].tables], filled)
      with self._lock:
        self.steps += len(chunk) * filled[0].arm.train_steps
      for at, value in zip(chunk, accuracy):
        found[at] = value

    self._compile({job.arm.loss for job in jobs} - set(self._ready), placed[0])
    begun = time.monotonic()
    self._each(work, chunks)
    self.seconds += time.monotonic() - begun
    return np.stack([found[i] for i in range(len(jobs))])

  def _compile(self, losses: set[str], tables: Any) -> None:
    """Makes the programs of objectives; their first call trains for a single step."""
    begun = time.monotonic()

    def one(loss: str) -> None:
      self._ready[loss] = sweep.compiled(dataclasses.replace(self._spec, loss=loss))
      self._chunk(tables, [Job(0, Arm(loss, 0.0, 0, 0.01, 1e-3, 1), 0)] * CHUNK)

    if losses:
      self._each(one, sorted(losses))
      self.compiling += time.monotonic() - begun

  def _each(self, work: Callable[[Any], None], of: Sequence[Any]) -> None:
    """Every piece of work, each by a core; what is not begun is not begun after an error."""
    pool = ThreadPoolExecutor(self._workers)
    try:
      list(pool.map(work, of))
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      raise
    pool.shutdown()

  def _chunk(self, tables: Any, jobs: Sequence[Job]) -> np.ndarray:
    arms = [job.arm for job in jobs]
    columns = {name: np.array([getattr(arm, name) for arm in arms], np.float64) for name in (
        'lam', 'components', 'weight_decay', 'learning_rate', 'train_steps')}
    hypers = sweep.stack(named.hyper(
        seed=np.array([job.seed for job in jobs]), n_labelled=0, n_pairs=0, **columns), len(jobs))
    cell = self._ready[jobs[0].arm.loss](hypers, tables)
    scores = [side.accuracy_by_fold for side in cell.sides] + [cell.fused.together.accuracy_by_fold]
    return np.stack([np.asarray(score) for score in scores], axis=1)


def _chunks(jobs: Sequence[Job]) -> list[list[int]]:
  """Numbers of jobs that may go together, the longest first."""
  together: dict[tuple, list[int]] = {}
  for i, job in enumerate(jobs):
    together.setdefault((-job.arm.train_steps, job.tables, job.arm.loss), []).append(i)
  return [at[i:i + CHUNK] for _, at in sorted(together.items())
          for i in range(0, len(at), CHUNK)]
