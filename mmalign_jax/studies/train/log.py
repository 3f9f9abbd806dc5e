"""Metrics of a long training as lines of JSON and for TensorBoard, without TensorFlow."""

import json
import os
import pathlib
import time
from typing import Any, Sequence

import numpy as np

from mmalign_jax.runs import folder
from mmalign_jax.runs.damage import set_aside, unreadable

_FLUSH = 10  # seconds after which TensorBoard's file goes to disk


class TrainLog:
  """DIR/metrics.jsonl and DIR/tensorboard; a run that resumes loses the lines after its checkpoint.

  Args:
    workdir: of the run.
    labels: a name for each run of the ensemble.
    start: step that the run resumes from; later lines are of a life that is over.
    tensorboard: whether to write event files.

  Raises:
    OSError: one line; what was written before, and the checkpoints, are safe. So does `write`.
  """

  def __init__(self, workdir: str | os.PathLike, labels: Sequence[str], start: int, *,
               tensorboard: bool = True):
    self._path, self._labels, self._events = pathlib.Path(workdir) / 'metrics.jsonl', labels, None
    kept = [line for line in self._lines() if line['step'] <= start]
    folder.write_whole(self._path, ''.join(json.dumps(line) + '\n' for line in kept).encode())
    self._file = open(self._path, 'ab', buffering=0)  # nothing is left to fail at the close
    if tensorboard:
      self._events = _Events(self._path.parent / 'tensorboard', start + 1)

  def _lines(self) -> list[dict]:
    """Whole lines; the last may have been cut off. With others that are damaged, the file as it is
    is set aside."""
    try:
      rows = self._path.read_bytes().split(b'\n')
    except FileNotFoundError:
      return []
    except OSError as error:
      raise unreadable(self._path, error) from error
    found = [_line(row) for row in rows[:-1]]  # behind the last newline is nothing, or half a line
    if None in found:
      set_aside(self._path, f'line {found.index(None) + 1} cannot be read')
    return [line for line in found if line is not None]

  def write(self, step: int, values: dict[str, Any]) -> None:
    """A line; arrays [R] are of the runs of the ensemble, in order."""
    plain = {name: np.asarray(value).tolist() for name, value in values.items()}
    try:
      self._write(step, plain)
    except OSError as error:
      raise OSError(f'{self._path}: {error.strerror or error}; the checkpoints before step {step} '
                    'are safe, and the same command continues from them') from error

  def _write(self, step: int, plain: dict[str, Any]) -> None:
    content = (json.dumps({'step': step, **plain}) + '\n').encode()
    while content:  # a disk that is getting full may take a part
      content = content[self._file.write(content):]
    if not self._events:
      return
    for name, value in plain.items():
      named = zip(self._labels, value) if isinstance(value, list) else [('', value)]
      for label, number in named:
        self._events.write(f'{name}/{label}'.rstrip('/'), number, step)

  def close(self) -> None:
    """Never raises: the lines are written, and TensorBoard's file is for looking at only."""
    self._file.close()
    if self._events:
      self._events.close()


def _line(row: bytes) -> dict | None:
  try:
    line = json.loads(row)
  except ValueError:
    return None
  return line if isinstance(line, dict) and isinstance(line.get('step'), int) else None


class _Events:
  """TensorBoard's file, written as one goes. (tensorboardX would write in a thread of its own, and
  stand still for ever once that has met a full disk.)"""

  def __init__(self, place: pathlib.Path, start: int):
    from tensorboardX import event_file_writer, summary  # slow to import
    from tensorboardX.proto import event_pb2 as proto  # names made by protobuf at run time

    event, session = getattr(proto, 'Event'), getattr(proto, 'SessionLog')  # noqa: B009
    self._event, self._scalar = event, summary.scalar
    place.mkdir(parents=True, exist_ok=True)
    self._file = event_file_writer.EventsWriter(str(place / 'events'), f'.{os.getpid()}')
    self._flushed = time.monotonic()
    begun = session(status=session.START)  # hides later steps of before
    self._file.write_event(self._event(wall_time=time.time(), step=start, session_log=begun))

  def write(self, tag: str, value: float, step: int) -> None:
    self._file.write_event(self._event(
        wall_time=time.time(), step=step, summary=self._scalar(tag, value)))
    if time.monotonic() > self._flushed + _FLUSH:
      self._file.flush()
      self._flushed = time.monotonic()

  def close(self) -> None:
    try:
      self._file.close()
    except OSError:
      pass
