"""Checkpoints of a long training: asynchronous, atomic, the best and the last few, by Orbax.

A folder holds config.json and a directory per step. Arrays are written as plain host arrays under
the names of their leaves, with a checksum each, so a run may go on with any number of devices.

With several processes, all of them make every call, in the same order; process 0 alone touches
the folder, its own copy of a replicated array being the whole of it, and sends what it reads.
"""

import contextlib
import json
import math
import os
import pathlib
import sys
from typing import Any, Callable

import jax
import numpy as np

from mmalign_jax.runs import folder, processes
from mmalign_jax.runs.checkpoints import leaves
from mmalign_jax.runs.checkpoints.orbax_store import Steps
from mmalign_jax.runs.damage import Damaged
from mmalign_jax.types import PyTree

Restored = tuple[PyTree, dict[str, Any], int]  # state, state of the data, step


class Checkpoints:
  """Checkpoints of one run in `workdir`, which is made if missing.

  Args:
    workdir: holds config.json, a directory per step and, as STEP.damaged, what was unreadable.
    configuration: what must be the same for a checkpoint to be this run's; JSON-able.
    keep_last: how many of the newest stay, besides the best.
    best_mode: 'max' or 'min', whether a large or a small metric is good.
    defaults: of settings that older folders may lack, or hold without effect (`folder.claim`).

  Attributes:
    notes: a line for every checkpoint that could not be read; also printed on standard error.

  Raises:
    ValueError: a wrong argument, a folder of another configuration, or one that another run uses.
  """

  def __init__(self, workdir: str | os.PathLike, configuration: dict[str, Any], *,
               keep_last: int = 2, best_mode: str = 'max',
               defaults: dict[str, Any] | None = None):
    if keep_last < 1:
      raise ValueError(f'keep_last={keep_last}: at least one checkpoint must stay')
    if best_mode not in ('max', 'min'):
      raise ValueError(f"best_mode={best_mode!r}: use 'max' or 'min'")
    self.notes: list[str] = []
    self._folder = pathlib.Path(workdir).absolute()
    self._rule = _BestAndLast(keep_last, 1 if best_mode == 'max' else -1)
    self._steps: Steps  # of process 0
    self._opened = contextlib.ExitStack()
    processes.from_first(lambda: self._open(configuration, defaults))

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def close(self) -> None:
    """Waits for what is being written, and lets another run use the folder.

    Raises:
      OSError: the last checkpoint could not be written.
    """
    self._opened.close()

  def save(self, step: int, state: PyTree, data_state: dict[str, Any],
           metric: float | None = None, *, force: bool = False) -> bool:
    """Copies `state` and returns; the writing goes on behind, once the save before it has ended.

    Args:
      step: number of the checkpoint.
      state: jax or numpy arrays of any shapes, not sharded: whole, or the same on all devices.
      data_state: where the data are, JSON-able; with several processes, true of them all.
      metric: what decides which is best; one without, or with a NaN or infinity, is never best.
      force: writes also a step before the newest, and removes those after it once it is written.

    Returns:
      whether it is written: not where the step is there already.

    Raises:
      ValueError: a step before the newest without `force`, or a leaf that cannot be kept.
      OSError: it, or the one before it, could not be written.
    """
    return processes.from_first(lambda: self._save(int(step), state, data_state, metric, force))

  def wait(self) -> None:
    """Returns when what was saved is on disk.

    Raises:
      OSError: it could not be written.
    """
    processes.from_first(lambda: self._steps.wait())

  def restore(self, like: PyTree) -> Restored | None:
    """The newest checkpoint that can be read, None where there is none at all.

    Args:
      like: a state with the leaves, shapes and dtypes to expect (jax.eval_shape's will do).

    Returns:
      (state of host numpy arrays in the structure of `like`, data_state, step)

    Raises:
      ValueError: the checkpoint is of another state; the first leaf that differs is named.
      OSError: there are checkpoints, but none can be read.
    """
    return self._restore(like, lambda steps: steps)

  def restore_best(self, like: PyTree) -> Restored | None:
    """As `restore`, the one of the best metric; None where no checkpoint has a metric."""
    return self._restore(like, self._rule.ranked)

  def _restore(self, like: PyTree, order: Callable[[list[int]], list[int]]) -> Restored | None:
    found, notes = processes.from_first(lambda: self._first_readable(leaves.named(like), order))
    self.notes += notes
    if found is None:
      return None
    arrays, data_state, step = found
    return jax.tree.unflatten(jax.tree.structure(like), arrays), data_state, step

  # -- on process 0 -------------------------------------------------------------------------------

  def _open(self, configuration: dict[str, Any], defaults: dict[str, Any] | None) -> None:
    self._opened.enter_context(folder.claim(self._folder, configuration, defaults=defaults))
    try:
      self._steps = Steps(self._folder, self._rule)
      self._opened.callback(self._steps.close)
      for step in self._steps.held():
        with contextlib.suppress(Damaged):  # to be met, and told, if it comes to reading it
          self._rule.metrics[step] = self._steps.read_meta(step)['metric']
    except BaseException:
      self.close()
      raise

  def _save(self, step: int, state: PyTree, data_state: dict[str, Any], metric: float | None,
            force: bool) -> bool:
    held = self._steps.held()
    if step in held:
      return False
    if held and step < held[-1] and not force:
      raise ValueError(f'{self._folder}: step {step} is before the newest checkpoint, {held[-1]}; '
                       'restore that one, or save with force=True to drop those after it')
    try:
      json.dumps(data_state, allow_nan=False)
    except (TypeError, ValueError) as error:
      raise ValueError(f'data_state is not JSON-able: {error}') from None
    arrays = leaves.to_host(state)
    metric = None if metric is None or not math.isfinite(metric) else float(metric)
    self._steps.wait()  # what the rule says now is of the step before
    self._rule.metrics[step], self._rule.newest = metric, step
    self._steps.write(step, arrays, metric=metric, data_state=data_state)
    return True

  def _first_readable(
      self, like: dict[str, Any], order: Callable[[list[int]], list[int]],
  ) -> tuple[tuple[list[np.ndarray], dict[str, Any], int] | None, list[str]]:
    """What to return of the first step that can be read, and a note on each before it."""
    self._steps.wait()
    broken: dict[int, str] = {}
    for step in order(self._steps.held()[::-1]):
      for _ in range(2):  # only what two readings find is proof
        try:
          found = self._read(step, like)
        except Damaged as error:
          broken[step] = str(error)
        else:
          broken.pop(step, None)
          return found, self._set_aside(broken, step)
    if broken:
      raise OSError(f'{self._folder}: none of {len(broken)} checkpoints can be read (' + '; '.join(
          f'step {step}: {why}' for step, why in broken.items()) + '); nothing was changed')
    return None, []

  def _read(self, step: int, like: dict[str, Any]) -> tuple[list[np.ndarray], dict[str, Any], int]:
    meta = self._steps.read_meta(step)
    leaves.refuse_other(self._folder / str(step), meta['leaves'], like)
    arrays = self._steps.read_arrays(step, meta['leaves'])
    return [arrays[name] for name in like], meta['data_state'], step

  def _set_aside(self, broken: dict[int, str], step: int) -> list[str]:
    notes = []
    for other, why in broken.items():
      name = self._steps.set_aside(other)
      notes.append(f'{self._folder}: step {other} cannot be read ({why}) and is now {name}; '
                   f'step {step} is taken')
      print(notes[-1], file=sys.stderr)
    return notes


class _BestAndLast:
  """What stays (Orbax's PreservationPolicy): the best and the last few up to the step saved."""

  def __init__(self, last: int, sign: int):
    self.metrics: dict[int, float | None] = {}
    self.newest = 0  # the step saved last
    self._last, self._sign = last, sign

  def ranked(self, steps: list[int]) -> list[int]:
    """Steps with a metric, best first, of equals the newest; then those that cannot be read."""
    known = {step: metric for step in steps if (metric := self.metrics.get(step)) is not None}
    return sorted(known, key=lambda step: (self._sign * known[step], step), reverse=True) + [
        step for step in steps if step not in self.metrics]

  def should_preserve(self, checkpoints, *, context=None) -> list[bool]:
    """Whether each stays; asked at a save, carried out when that is on disk."""
    del context
    steps = sorted(info.step for info in checkpoints if info.step <= self.newest)
    best = [step for step in self.ranked(steps) if step in self.metrics][:1]
    return [info.step in {*steps[-self._last:], *best} for info in checkpoints]
