"""Engines that run tasks: processes of this machine, SLURM through submitit, Ray."""

from collections.abc import Callable, Mapping, Sequence
import concurrent.futures
import importlib
import pathlib
import subprocess
from typing import Any, Protocol

from mmalign_jax.cluster.shard import Outcome, Shard

DAY = 24 * 60  # minutes; submitit alone would say 5
LOST = -9  # exit status of a task whose worker is gone, and with it what it said
Options = Mapping[str, str]


class Task(Protocol):
  """A shard that was given to an engine."""

  def ended(self) -> Outcome | None:
    """How it ended; None while it waits or runs."""
    ...


class Executor(Protocol):
  """A row of EXECUTORS, made from (folder of its files, tasks at once, options)."""

  def submit(self, shards: Sequence[Shard]) -> list[Task]: ...

  def close(self) -> None:
    """Ends what still runs or waits."""
    ...


class Local:
  """Processes of this machine."""

  def __init__(self, _: pathlib.Path, workers: int, options: Options):
    refuse(options, (), 'local')
    self._pool = concurrent.futures.ThreadPoolExecutor(workers)
    self._begun: list[subprocess.Popen] = []

  def submit(self, shards: Sequence[Shard]) -> list[Task]:
    return [_Future(self._pool.submit(shard, self._begun.append)) for shard in shards]

  def close(self) -> None:
    self._pool.shutdown(wait=False, cancel_futures=True)
    for run in self._begun:
      run.kill()  # of one that has ended: nothing


class _Future:

  def __init__(self, future: concurrent.futures.Future):
    self._future = future

  def ended(self) -> Outcome | None:
    return self._future.result() if self._future.done() else None


class Slurm:
  """Jobs of an array, `workers` at once; options are those of sbatch (partition=..., time=60, in
  minutes, a day without it, gres=gpu:1), cluster=local runs them here."""

  def __init__(self, folder: pathlib.Path, workers: int, options: Options):
    submitit = _needed('submitit')
    options = dict(options)
    cluster = options.pop('cluster', 'slurm')
    try:
      self._executor = submitit.AutoExecutor(folder / 'submitit', cluster=cluster)
    except RuntimeError as error:  # no SLURM here
      raise ValueError(f'--executor=slurm: {error}') from error
    minutes = options.pop('time', str(DAY))
    if not minutes.isdecimal() or not int(minutes):
      raise ValueError(f'--options: time={minutes} is no whole number of minutes')
    self._executor.update_parameters(
        name='mmalign', slurm_array_parallelism=workers, timeout_min=int(minutes),
        **({'slurm_additional_parameters': options} if options else {}))
    self._jobs: list[Any] = []

  def submit(self, shards: Sequence[Shard]) -> list[Task]:
    try:
      with self._executor.batch():  # one array
        jobs = [self._executor.submit(shard) for shard in shards]
    except RuntimeError as error:  # what sbatch refuses, as a partition that is not there
      raise ValueError(f'--executor=slurm: {error}') from error
    self._jobs += jobs
    return [_Job(job) for job in jobs]

  def close(self) -> None:
    for job in self._jobs:
      if not job.done():
        job.cancel(check=False)


class _Job:

  def __init__(self, job: Any):
    self._job = job

  def ended(self) -> Outcome | None:
    if not self._job.done():
      return None
    try:
      return self._job.result()
    except Exception as error:  # of submitit: no result, since the job was killed
      return Outcome(LOST, str(error))


class Ray:
  """Tasks of a Ray cluster; options: address (that of a running one, which runs as many at once as
  it has room for; without it one of this machine for `workers`), cpus and gpus of a task."""

  def __init__(self, _: pathlib.Path, workers: int, options: Options):
    refuse(options, ('address', 'cpus', 'gpus'), 'ray')
    self._ray = _needed('ray')
    if not self._ray.is_initialized():
      self._ray.init(address=options.get('address'), log_to_driver=False, logging_level='error',
                     **({} if 'address' in options else {'num_cpus': workers}))
    needs = {name: _amount(options, name, default) for name, default in (('cpus', 1), ('gpus', 0))}
    # Ray would run a lost task again by itself; here it is seen, and counted.
    self._run = self._ray.remote(
        max_retries=0, num_cpus=needs['cpus'], num_gpus=needs['gpus'])(_called)

  def submit(self, shards: Sequence[Shard]) -> list[Task]:
    return [_Reference(self._ray, self._run.remote(shard)) for shard in shards]

  def close(self) -> None:
    self._ray.shutdown()


def _amount(options: Options, name: str, default: float) -> float:
  """A number of at least 0 among the options."""
  text = options.get(name, str(default))
  try:
    if 0 <= (value := float(text)) < float('inf'):
      return value
  except ValueError:
    pass
  raise ValueError(f'--options: {name}={text} is no number of at least 0')


def _called(shard: Shard) -> Outcome:
  return shard()


class _Reference:

  def __init__(self, ray: Any, reference: Any):
    self._ray, self._reference = ray, reference

  def ended(self) -> Outcome | None:
    if not self._ray.wait([self._reference], timeout=0)[0]:
      return None
    try:
      return self._ray.get(self._reference)
    except self._ray.exceptions.RayError as error:  # the worker or its node is gone
      return Outcome(LOST, str(error))


EXECUTORS: dict[str, Callable[[pathlib.Path, int, Options], Executor]] = {
    'local': Local, 'slurm': Slurm, 'ray': Ray}


def refuse(options: Options, known: Sequence[str], name: str) -> None:
  """Raises ValueError for an option that the engine does not have."""
  unknown = [option for option in options if option not in known]
  if unknown:
    raise ValueError(f'--options: {unknown[0]!r} is none of --executor={name}; known: '
                     f'{", ".join(known) or "none"}')


def _needed(package: str) -> Any:
  try:
    return importlib.import_module(package)
  except ImportError as error:
    raise ValueError(f'{package} is not installed: pip install -e \'.[cluster]\'') from error
