"""Metrics of a long training as lines of JSON and for TensorBoard, without TensorFlow."""

import json
import os
import pathlib
from typing import Any, Sequence

import numpy as np


class TrainLog:
  """DIR/metrics.jsonl and DIR/tensorboard; a run that resumes loses the lines after its checkpoint.

  Args:
    workdir: of the run.
    labels: a name for each run of the ensemble.
    start: step that the run resumes from; later lines are of a life that is over.
    tensorboard: whether to write event files.
  """

  def __init__(self, workdir: str | os.PathLike, labels: Sequence[str], start: int, *,
               tensorboard: bool = True):
    self._path, self._labels, self._events = pathlib.Path(workdir) / 'metrics.jsonl', labels, None
    kept = [line for line in self._lines() if line['step'] <= start]
    part = self._path.with_suffix('.part')
    part.write_text(''.join(json.dumps(line) + '\n' for line in kept))
    os.replace(part, self._path)
    self._file = open(self._path, 'a')
    if tensorboard:
      from tensorboardX import SummaryWriter  # slow to import
      self._events = SummaryWriter(str(self._path.parent / 'tensorboard'), purge_step=start + 1)

  def _lines(self) -> list[dict]:
    """Whole lines; the last may have been cut off."""
    found = []
    for line in self._path.read_text(errors='replace').splitlines() if self._path.exists() else ():
      try:
        found.append(json.loads(line))
      except ValueError:
        break
    return found

  def write(self, step: int, values: dict[str, Any]) -> None:
    """A line; arrays [R] are of the runs of the ensemble, in order."""
    plain = {name: np.asarray(value).tolist() for name, value in values.items()}
    self._file.write(json.dumps({'step': step, **plain}) + '\n')
    self._file.flush()
    for name, value in plain.items() if self._events else ():
      named = zip(self._labels, value) if isinstance(value, list) else [('', value)]
      for label, number in named:
        self._events.add_scalar(f'{name}/{label}'.rstrip('/'), number, step)

  def close(self) -> None:
    self._file.close()
    if self._events:
      self._events.close()
