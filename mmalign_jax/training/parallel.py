"""The only module that asks for devices: how to spread the cells of a sweep over them."""

import dataclasses
import os
from typing import Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from mmalign_jax.types import PyTree

CPU_CHUNK = 6            # cells, by measurement: activations of a few stay in cache
ACCELERATOR_CHUNK = 256  # cells a device


@dataclasses.dataclass(frozen=True)
class Plan:
  """workers: threads that run chunks; chunk: cells each; multiple: what a chunk's size is rounded
  up to; place(tree of [R]) puts a chunk on the devices."""
  workers: int
  chunk: int
  multiple: int
  place: Callable[[PyTree], PyTree]


def plan() -> Plan:
  """On one CPU device a thread per core; otherwise the run axis sharded over all local devices."""
  devices = jax.local_devices()
  if devices[0].platform == 'cpu' and len(devices) == 1:
    return Plan(cores(), CPU_CHUNK, 1, lambda tree: tree)
  per_device = CPU_CHUNK if devices[0].platform == 'cpu' else ACCELERATOR_CHUNK
  return Plan(1, per_device * len(devices), len(devices), place_runs)


def place_runs(tree: PyTree) -> PyTree:
  """Shards the leading (run) axis of every leaf over the local devices.

  Raises:
    ValueError: from JAX, where the axis is not divisible by their number.
  """
  mesh = Mesh(np.array(jax.local_devices()), ('run',))
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec('run')))


def cores() -> int:
  """Processors this process may use."""
  if hasattr(os, 'sched_getaffinity'):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1
