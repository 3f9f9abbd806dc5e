"""Waits for the shards of a study, and gives those that were lost again."""

from collections.abc import Callable, Sequence
import time

from mmalign_jax.cluster.executors import Executor, Task
from mmalign_jax.cluster.shard import Shard

SECONDS = 1.0  # between two looks


def drive(executor: Executor, shards: Sequence[Shard], *, retries: int = 3,
          look: Callable[[int], None] = lambda done: None,
          seconds: float = SECONDS) -> tuple[int, Shard]:
  """Runs all shards to their end.

  Returns:
    how many times one was lost and run again, and the one that ended last, which made the results.

  Args:
    retries: how often a single shard may be lost.
    look: is told, at every look, how many shards are done.
    seconds: between two looks.

  Raises:
    ValueError: a shard was refused, or lost too often: what it said.
  """
  waiting: dict[Shard, Task] = dict(zip(shards, executor.submit(shards)))
  lost, last = dict.fromkeys(shards, 0), shards[0]
  while waiting:
    for shard, task in list(waiting.items()):
      outcome = task.ended()
      if outcome is None:
        continue
      if outcome.status == 0:
        del waiting[shard]
        last = shard
        continue
      lost[shard] += 1
      said = outcome.said.splitlines()[-1:] or [f'it ended with status {outcome.status}']
      if not outcome.lost:
        raise ValueError(f'shard {shard.i}/{shard.n}: {said[0].removeprefix("error: ")}')
      if lost[shard] > retries:
        raise ValueError(f'shard {shard.i}/{shard.n} was lost {lost[shard]} times, the last time: '
                         f'{said[0]}; every finished chunk is safe, and the same command continues')
      waiting[shard] = executor.submit([shard])[0]
    look(len(shards) - len(waiting))
    if waiting:
      time.sleep(seconds)
  return sum(lost.values()), last
