"""What one process of several does for all of them."""

import pickle
from typing import Any, Callable

import jax
import numpy as np


def from_first(work: Callable[[], Any]) -> Any:
  """On every process, what `work` returns on process 0, or the ValueError or OSError it raises.

  Every process must call it, in the same order among its other collective computations. Any other
  error ends process 0 alone, and JAX then ends those that wait for it.
  """
  if jax.process_count() == 1:
    return work()
  content = np.zeros(0, np.uint8)
  if jax.process_index() == 0:
    try:
      outcome = (work(), None)
    except (ValueError, OSError) as error:
      outcome = (None, error)
    content = np.frombuffer(pickle.dumps(outcome), np.uint8)
  value, error = pickle.loads(_broadcast(content).tobytes())
  if error is not None:
    raise error
  return value


def _broadcast(content: np.ndarray) -> np.ndarray:
  """Bytes [N] u8 of process 0; as bytes, since a sum over processes would lose a -0.0."""
  from jax.experimental import multihost_utils
  size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
  own = content if jax.process_index() == 0 else np.zeros(size, np.uint8)
  return np.asarray(multihost_utils.broadcast_one_to_all(own))
