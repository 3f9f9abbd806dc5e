"""A shard of a study as a task: a process that ends with what runs it."""

from collections.abc import Callable
import dataclasses
import os
import pathlib
import subprocess
import sys
from typing import Any

OURS = 2       # exit status of what is refused, in one line on standard error
BUSY = 'another run is using this folder'  # a shard that was taken for lost is still there
_KEPT = 2000   # letters of what it said
_BOUND = str(pathlib.Path(__file__).with_name('bound.py'))
_ABOVE = str(pathlib.Path(__file__).resolve().parents[2])  # the folder that this package lies in


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a task ended: exit status, below 0 where a signal ended it, and the end of what it said."""
  status: int
  said: str = ''

  @property
  def busy(self) -> bool:
    """Whether it was begun while the same shard still ran elsewhere."""
    return self.status == OURS and BUSY in self.said

  @property
  def lost(self) -> bool:
    """Whether the same shard is to be run again: it was killed."""
    return self.status not in (0, OURS)


@dataclasses.dataclass(frozen=True)
class Shard:
  """Part i of n of a study, as a Python program and its arguments; folder: where it runs.

  Calling it runs it. submitit asks for `checkpoint` where the job is taken its machine (a time
  limit, preemption): the same shard is queued again, and continues from its last finished chunk.
  """
  arguments: tuple[str, ...]
  i: int
  n: int
  folder: str

  def __call__(self, began: Callable[[subprocess.Popen], object] = lambda run: None) -> Outcome:
    """Runs it to its end; `began` is told of the process, to end it."""
    run = subprocess.Popen(
        [sys.executable, _BOUND, str(os.getpid()), *self.arguments, f'--shard={self.i}/{self.n}',
         '--nofigures'],
        cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True)
    began(run)
    try:
      said = run.communicate()[1]
    finally:
      run.kill()
    return Outcome(run.returncode, said.strip()[-_KEPT:])

  def checkpoint(self, *_: Any) -> Any:
    """What submitit queues in this one's place."""
    from submitit.helpers import DelayedSubmission  # pyright: ignore[reportMissingImports]
    return DelayedSubmission(self)


def environment() -> dict[str, str]:
  """That of this process, in which a shard finds this very package, installed or not."""
  others = [place for place in os.environ.get('PYTHONPATH', '').split(os.pathsep) if place]
  return os.environ | {'PYTHONPATH': os.pathsep.join(dict.fromkeys([_ABOVE, *others]))}
