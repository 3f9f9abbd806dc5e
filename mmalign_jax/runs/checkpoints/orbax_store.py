"""Named host arrays in a directory per step, by Orbax, with checksums: whole or not at all.

Orbax is imported where a folder is opened, being slow to import. It writes aside and renames.
"""

import asyncio
import contextlib
import json
import logging
import os
import pathlib
from typing import Any, Iterator
import zlib

import numpy as np

from mmalign_jax.runs.checkpoints import leaves
from mmalign_jax.runs.damage import Damaged, of_the_machine, proves_nothing, unreadable

STATE, META = 'state', 'meta'  # what a step holds: its arrays, and what is known of them


class Steps:
  """The steps of a folder that exists; the half-written ones in it are removed.

  Orbax's own log is silenced: all its failures reach the caller as errors.

  Args:
    folder: absolute.
    rule: an Orbax PreservationPolicy, asked at every `write` which steps stay once it is done.
  """

  def __init__(self, folder: pathlib.Path, rule: Any):
    import orbax.checkpoint as ocp
    logging.getLogger('absl').addFilter(_not_orbax)
    self.folder, self._args = folder, ocp.args
    alone = ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix='mmalign')
    # Metrics are kept in META: Orbax's own file of them, damaged, stops a manager from starting.
    self._manager = ocp.CheckpointManager(
        folder, handler_registry=_registry(alone), options=ocp.CheckpointManagerOptions(
            preservation_policy=rule, cleanup_tmp_directories=True, create=False,
            save_root_metadata=False, lightweight_initialize=True, multiprocessing_options=alone))

  def held(self) -> list[int]:
    """Numbers of the steps on disk or on their way to it, in order."""
    return sorted(self._manager.all_steps())

  def write(self, step: int, arrays: dict[str, np.ndarray], **meta: Any) -> None:
    """Copies the arrays and starts to write a step; any write before it must have ended.

    Raises:
      ValueError: `meta` is not JSON-able. OSError: the step cannot be written.
    """
    sealed = _sealed(meta | {'leaves': {
        name: [str(x.dtype), list(x.shape), leaves.checksum(x)] for name, x in arrays.items()}})
    items = {META: self._args.JsonSave(sealed)}
    full = {name: x for name, x in arrays.items() if x.size}  # Orbax refuses empty ones
    if full:
      items[STATE] = self._args.PyTreeSave(full)
    with self._writing():
      self._manager.save(step, args=self._args.Composite(**items), force=True)

  def wait(self) -> None:
    """Returns when the step being written is on disk.

    Raises:
      OSError: it could not be written.
    """
    with self._writing():
      self._manager.wait_until_finished()

  def read_meta(self, step: int) -> dict[str, Any]:
    """The `meta` of a step and 'leaves', {name: [dtype, shape, checksum]}.

    Raises:
      Damaged: it is not as it was saved. OSError: it cannot be read now.
    """
    with _reading(self.folder / str(step)):
      sealed = self._manager.restore(
          step, args=self._args.Composite(**{META: self._args.JsonRestore()}))[META]
      if _sealed(sealed['content']) != sealed:
        raise Damaged('its description is not as it was saved')
      return sealed['content']

  def read_arrays(self, step: int, kinds: dict[str, list]) -> dict[str, np.ndarray]:
    """The arrays of a step; `kinds` is the 'leaves' of its `read_meta`.

    Raises:
      Damaged: they are not as they were saved. OSError: they cannot be read now.
    """
    arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape, _) in kinds.items()
              if 0 in shape}
    with _reading(self.folder / str(step)):
      if len(arrays) < len(kinds):
        arrays |= self._manager.restore(
            step, args=self._args.Composite(**{STATE: self._args.PyTreeRestore()}))[STATE]
      for name, (_, _, checksum) in kinds.items():
        if leaves.checksum(arrays[name]) != checksum:
          raise Damaged(f'{name} is not as it was saved')
    return arrays

  def set_aside(self, step: int) -> str:
    """Renames a step, which would stand in the way of another of its number, to what it returns."""
    target, again = self.folder / f'{step}.damaged', 1
    while target.exists():
      target, again = self.folder / f'{step}.damaged.{again}', again + 1
    os.replace(self.folder / str(step), target)
    self._manager.reload()
    return target.name

  def close(self) -> None:
    """Waits and lets Orbax's threads go.

    Raises:
      OSError: the last step could not be written.
    """
    with self._writing(), contextlib.closing(self._manager):
      self._manager.wait_until_finished()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    try:
      yield
    except Exception as error:
      with contextlib.suppress(Exception):  # it may need what there is none of
        self._manager.reload()
      why = of_the_machine(error) or _line(error)
      raise OSError(f'{self.folder}: a checkpoint could not be written ({why}); those before it '
                    'are safe, and the same command continues from them') from error


@contextlib.contextmanager
def _reading(place: pathlib.Path) -> Iterator[None]:
  try:
    yield
  except Damaged:
    raise
  except Exception as error:  # Orbax and TensorStore have no type of their own for damage
    if proves_nothing(error):
      raise unreadable(place, error) from error
    raise Damaged(_line(error)) from error


def _line(error: Exception) -> str:
  lines = str(error).strip().splitlines()
  return lines[0][:120] if lines else type(error).__name__


def _sealed(content: dict[str, Any]) -> dict[str, Any]:
  """`content` as JSON gives it back, and its checksum."""
  content = json.loads(json.dumps(content, allow_nan=False))
  return {'content': content, 'checksum': zlib.crc32(json.dumps(content, sort_keys=True).encode())}


def _not_orbax(record: logging.LogRecord) -> bool:
  return f'{os.sep}orbax{os.sep}' not in record.pathname


def _registry(options: Any) -> Any:
  """Orbax's handlers of the items of a step."""
  import orbax.checkpoint as ocp
  arrays = ocp.handlers.PyTreeCheckpointHandler(
      multiprocessing_options=options,
      type_handler_registry=ocp.type_handlers.create_type_handler_registry(
          (np.ndarray, _patient_handler())))
  texts = ocp.handlers.JsonCheckpointHandler(multiprocessing_options=options)
  registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
  for item, handler, kind in (
      (STATE, arrays, ocp.args.PyTreeSave), (STATE, arrays, ocp.args.PyTreeRestore),
      (META, texts, ocp.args.JsonSave), (META, texts, ocp.args.JsonRestore)):
    registry.add(item, kind, handler)
  return registry


def _patient_handler() -> Any:
  import orbax.checkpoint as ocp

  class Patient(ocp.type_handlers.NumpyHandler):
    """Lets all reads end before it raises: one left behind writes a traceback on stderr."""

    async def deserialize(self, infos, args=None):
      read = super().deserialize
      found = await asyncio.gather(*(read([info], [arg]) for info, arg in zip(
          infos, args or [ocp.RestoreArgs()] * len(infos))), return_exceptions=True)
      arrays = []
      for part in found:
        if isinstance(part, BaseException):
          raise part
        arrays += part
      return arrays

  return Patient()
