"""A state as host arrays under the names of its leaves, to be kept and checked."""

import pathlib
from typing import Any
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax.types import PyTree


def named(state: PyTree) -> dict[str, Any]:
  """Leaves in order, by path: {"state.params['kernel']": ...}."""
  return {'state' + jax.tree_util.keystr(path): leaf
          for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]}


def to_host(state: PyTree) -> dict[str, np.ndarray]:
  """Leaves as host arrays, without a copy of those that are on the host already.

  Raises:
    ValueError: a leaf is a typed key, not a number, or in pieces on several processes.
  """
  found = named(state)
  for name, x in found.items():
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.extended):
      raise ValueError(f'{name} is {x.dtype}: keep jax.random.key_data of it')
    if isinstance(x, jax.Array) and not (x.is_fully_addressable or x.is_fully_replicated):
      raise ValueError(f'{name} is sharded over processes: replicate it first')
    if dtype(x).hasobject or dtype(x).kind in 'USMm':
      raise ValueError(f'{name} is {type(x).__name__} {x!r:.40}: only numbers can be kept')
  return {name: np.asarray(x) for name, x in jax.device_get(found).items()}


def dtype(x: Any) -> np.dtype:
  """Of an array, a number, or what describes an array."""
  return np.dtype(x.dtype) if hasattr(x, 'dtype') else np.asarray(x).dtype


def checksum(x: np.ndarray) -> int:
  """CRC-32 of the bytes."""
  return zlib.crc32(x.reshape(-1).view(np.uint8).data)


def refuse_other(path: pathlib.Path, kinds: dict[str, list], like: dict[str, Any]) -> None:
  """Raises ValueError naming the first leaf of `like` not as in `kinds`.

  Args:
    path: for the message.
    kinds: {name: [dtype, shape, ...]}
    like: arrays or their descriptions by name.
  """
  for name in [*like, *kinds]:
    there = f'{kinds[name][0]} {tuple(kinds[name][1])}' if name in kinds else 'missing'
    now = f'{dtype(like[name])} {tuple(np.shape(like[name]))}' if name in like else 'missing'
    if there != now:
      raise ValueError(f'{path} holds another state ({name}: {there} there, {now} now)')
