"""Waits for the shards of a study, and gives those that were lost again."""

from collections.abc import Callable, Sequence
import time

from mmalign_jax.cluster.executors import Executor, Task
from mmalign_jax.cluster.shard import Outcome, Shard
from mmalign_jax.runs.damage import note

SECONDS = 1.0  # between two looks
PAUSE = 30.0   # before a shard is given again that still runs elsewhere


def drive(executor: Executor, shards: Sequence[Shard], *, retries: int = 3,
          look: Callable[[int], None] = lambda done: None,
          seconds: float = SECONDS, pause: float = PAUSE) -> tuple[int, Shard]:
  """Runs all shards to their end.

  One that still runs elsewhere, as on a node that was cut off, is waited for however long it takes.

  Returns:
    how many times one was lost and run again, and the one that ended last, which made the results.

  Args:
    retries: how often a single shard may be lost.
    look: is told, at every look, how many shards are done.
    seconds: between two looks; pause: before one that still runs elsewhere is given again.

  Raises:
    ValueError: a shard was refused, or lost too often: what it said.
  """
  running: dict[Shard, Task] = dict(zip(shards, executor.submit(shards)))
  again: dict[Shard, float] = {}  # when
  lost, busy, last = dict.fromkeys(shards, 0), set(), shards[0]
  while running or again:
    for shard, outcome in [(shard, task.ended()) for shard, task in running.items()]:
      if outcome is None:
        continue
      del running[shard]
      if outcome.status == 0:
        last = shard
      elif outcome.busy:
        again[shard] = time.monotonic() + pause
        if shard not in busy:
          note(f'shard {shard.i}/{shard.n} still runs elsewhere, and is waited for')
        busy.add(shard)
      else:
        lost[shard] += 1
        _check(shard, outcome, lost[shard], retries)
        again[shard] = 0.0
    for shard in [shard for shard, when in again.items() if when <= time.monotonic()]:
      del again[shard]
      running[shard] = executor.submit([shard])[0]
    look(len(shards) - len(running) - len(again))
    if running or again:
      time.sleep(seconds)
  return sum(lost.values()), last


def _check(shard: Shard, outcome: Outcome, lost: int, retries: int) -> None:
  """Raises ValueError where a shard was refused, or lost more than `retries` times."""
  said = outcome.said.splitlines()[-1:] or [f'it ended with status {outcome.status}']
  if not outcome.lost:
    raise ValueError(f'shard {shard.i}/{shard.n}: {said[0].removeprefix("error: ")}')
  if lost > retries:
    raise ValueError(f'shard {shard.i}/{shard.n} was lost {lost} times, the last time: {said[0]}; '
                     'every finished chunk is safe, and the same command continues')
