"""The only module that asks for devices: how to spread a sweep's cells, or a batch, over them."""

import contextlib
import dataclasses
import os
import socket
import sys
import threading
import time
from typing import Any, Callable

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import numpy as np

from mmalign_jax.types import PyTree

AXIS = 'data'            # the mapped axis of data-parallel training
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


def few_threads() -> contextlib.AbstractContextManager:
  """While it lasts, a factorisation of small matrices has one thread: those of the library fight
  with the workers of a sweep (80 times as slow, by measurement)."""
  from threadpoolctl import threadpool_limits  # looks at every loaded library
  return threadpool_limits(1, 'blas') if plan().workers > 1 else contextlib.nullcontext()


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


# -- data-parallel training ------------------------------------------------------------------------

Step = Callable[..., tuple[PyTree, PyTree]]  # (state, hyper, batch) -> state, metrics


def data_parallel(step: Step) -> Step:
  """pmap of a step that averages over AXIS: (state, hyper, batch [P, B, ...]) over P local devices.

  With several processes the axis spans the devices of all. State and metrics come back as one copy,
  which is right only because the step's averages make all devices' copies equal.
  """
  return jax.pmap(step, axis_name=AXIS, in_axes=(None, None, 0), out_axes=None)


def sharded(step: Step) -> Step:
  """The twin by jit: (state, hyper, batch [N, ...]) of a step without axis_name, the batch sharded
  over the local devices and the collectives left to the compiler."""
  whole, parts = NamedSharding(_mesh(), PartitionSpec()), NamedSharding(
      _mesh(), PartitionSpec(AXIS))
  return jax.jit(step, in_shardings=(whole, whole, parts), out_shardings=whole)


def replicated(tree: PyTree) -> PyTree:
  """A copy on each local device, so that pmap neither copies nor compiles twice."""
  return jax.device_put(tree, NamedSharding(_mesh(), PartitionSpec()))


def split(batch: PyTree) -> PyTree:
  """[P B, ...] of this process -> [P, B, ...], a part for each local device.

  Raises:
    ValueError: not divisible by the number of devices.
  """
  n = len(jax.local_devices())
  for leaf in jax.tree.leaves(batch):
    if len(leaf) % n:
      raise ValueError(f'{len(leaf)} samples are not divisible by {n} devices')
  return jax.tree.map(lambda v: v.reshape(n, -1, *v.shape[1:]), batch)


def local_batch(batch_size: int) -> int:
  """Samples of the global batch that this process takes.

  Raises:
    ValueError: not divisible by the number of devices of all processes.
  """
  if batch_size % jax.device_count():
    raise ValueError(f'batch_size={batch_size} is not divisible by {jax.device_count()} devices')
  return batch_size // jax.process_count()


def total() -> int:
  """Devices of all processes, a multiple of which every global batch is."""
  return jax.device_count()


def _mesh() -> Mesh:
  return Mesh(np.array(jax.local_devices()), (AXIS,))


def connect(coordinator: str, num_processes: int, process_id: int, timeout: int = 60) -> None:
  """Joins the processes of a run: as told, or as the cluster (SLURM, a TPU pod) says where nothing
  is; a lone process stays alone.

  Raises:
    ValueError: some of the three but not all, or a process_id out of range.
    OSError: the port of the coordinator is not free, or the coordinator does not answer at all
      within `timeout` seconds. Where something answers but the processes do not find together, the
      process ends with status 2 and one line: JAX would abort it with a trace.
  """
  told = bool(coordinator), num_processes > 0, process_id >= 0
  cluster = not any(told) and int(os.environ.get('SLURM_NTASKS', '1')) > 1 or (
      not any(told) and len(os.environ.get('TPU_WORKER_HOSTNAMES', '').split(',')) > 1)
  if not any(told) and not cluster:
    return
  if any(told):
    if not all(told):
      raise ValueError('--coordinator, --num_processes and --process_id belong together')
    if process_id >= num_processes:
      raise ValueError(f'--process_id={process_id} must be below --num_processes={num_processes}')
    _reach(coordinator, process_id, timeout)
  arguments: dict[str, Any] = dict(
      coordinator_address=coordinator, num_processes=num_processes,
      process_id=process_id) if any(told) else {}
  text = f'coordinator {coordinator or "of the cluster"} did not gather all processes'
  with _deadline(timeout, f'{text} within {timeout} s'):
    try:
      jax.distributed.initialize(**arguments, initialization_timeout=timeout + 30)
    except RuntimeError as error:
      raise OSError(f'{text}: {str(error).splitlines()[0]}') from error


@contextlib.contextmanager
def _deadline(seconds: float, text: str):
  """Ends the process where what is done under it takes longer: JAX's own deadline aborts."""
  def leave():
    print(f'error: {text}', file=sys.stderr, flush=True)
    os._exit(2)
  timer = threading.Timer(seconds, leave)
  timer.daemon = True
  timer.start()
  try:
    yield
  finally:
    timer.cancel()


def _reach(coordinator: str, process_id: int, timeout: int) -> None:
  """Waits for the port of the coordinator: JAX itself ends the whole process where none answers."""
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdecimal():
    raise ValueError(f'--coordinator={coordinator} must be HOST:PORT')
  if process_id == 0:  # the one that answers
    with socket.socket() as own:
      own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
      try:
        own.bind(('', int(port)))
      except (OSError, OverflowError) as error:
        raise OSError(f'--coordinator={coordinator}: the port cannot be had: {error}') from error
    return
  end = time.monotonic() + timeout
  while True:
    try:
      socket.create_connection((host, int(port)), timeout=5).close()
      return
    except OSError as error:
      if time.monotonic() > end:
        raise OSError(f'coordinator {coordinator} did not answer within {timeout} s: '
                      f'{error}') from error
      time.sleep(0.2)


def leads() -> bool:
  """Whether this process is the one that reports."""
  return jax.process_index() == 0
