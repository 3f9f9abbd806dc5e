"""What one process of several does for all of them."""

from typing import Any, Callable

from flax import serialization
import jax
import numpy as np


def from_first(work: Callable[[], Any]) -> Any:
  """On every process, what `work` returns on process 0 (numbers, strings, arrays, and dicts and
  sequences of them; tuples become lists on the others), or the ValueError or OSError it raises.

  Every process must call it, in the same order among its other collective computations. Any other
  error ends process 0 alone, and JAX then ends those that wait for it.
  """
  if jax.process_count() == 1:
    return work()
  content = np.zeros(0, np.uint8)
  if jax.process_index() == 0:
    try:
      outcome = {'value': _lists(work()), 'kind': '', 'message': ''}
    except (ValueError, OSError) as error:
      kind = 'OSError' if isinstance(error, OSError) else 'ValueError'
      outcome = {'value': None, 'kind': kind, 'message': str(error)}
    # msgpack holds data only: nothing that comes over the network is run
    content = np.frombuffer(serialization.msgpack_serialize(outcome), np.uint8)
  outcome = _unpacked(_broadcast(content).tobytes())
  if outcome['kind']:
    raise {'OSError': OSError, 'ValueError': ValueError}[outcome['kind']](outcome['message'])
  return outcome['value']


def together(work: Callable[[], Any]) -> Any:
  """What `work` returns on each process, unless it fails on one: then every process raises.

  Raises:
    ValueError, OSError: of `work`; an OSError on the processes where it did not fail.
  """
  error, value = None, None
  try:
    value = work()
  except (ValueError, OSError) as found:
    error = found
  failed = any_process(error is not None)
  if error is not None:
    raise error
  if failed:
    raise OSError('another process could not go on; its own message says why')
  return value


def any_process(flag: bool) -> bool:
  """Whether `flag` is set on any process; every process must call it, at the same step."""
  if jax.process_count() == 1:
    return flag
  from jax.experimental import multihost_utils
  return bool(np.max(multihost_utils.process_allgather(np.int32(flag))))


def _lists(value: Any) -> Any:
  """`value` with tuples as lists, which is what msgpack has."""
  if isinstance(value, (tuple, list)):
    return [_lists(v) for v in value]
  return {k: _lists(v) for k, v in value.items()} if isinstance(value, dict) else value


def _unpacked(content: bytes) -> Any:
  return serialization.msgpack_restore(content)


def _broadcast(content: np.ndarray) -> np.ndarray:
  """Bytes [N] u8 of process 0; as bytes, since a sum over processes would lose a -0.0."""
  from jax.experimental import multihost_utils
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
  own = content if jax.process_index() == 0 else np.zeros(size, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(own))
