"""Data-parallel training of an ensemble in a folder: a kill loses nothing, and NaN stops it."""

import contextlib
import json
import os
import pathlib
import signal
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from mmalign_jax import rng
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.runs import devices, folder, processes
from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints
from mmalign_jax.runs.dataset import write_dataset
from mmalign_jax.runs.versions import versions
from mmalign_jax.studies.train import judge, pipeline
from mmalign_jax.studies.train.log import TrainLog
from mmalign_jax.studies.train.plan import TrainPlan, defaults
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.types import Hyper, PyTree, Spec, TrainState, shape_of

if TYPE_CHECKING:
  import xarray as xr

Write = Callable[[int, dict[str, Any]], None]  # `TrainLog.write`
QUICK_TEST = 2000  # test pairs that are looked at after each epoch
CHECKPOINTS = 'checkpoints'


class Stopped(KeyboardInterrupt):
  """Asked to end, by SIGTERM or Ctrl-C; what was done is saved."""


def train(plan: TrainPlan, data: Prepared, workdir: str | os.PathLike, *,
          progress: bool = True) -> 'xr.Dataset':
  """Trains from the newest checkpoint in `workdir`, or from the start, and writes the results.

  Args:
    plan: what to train. data: the pairs.
    workdir: made if missing; holds config.json, checkpoints/, metrics.jsonl, tensorboard/ and
      results.zarr.
    progress: a bar with steps, time left and samples/s on standard error.

  Returns:
    the data set over `plan.axes`.

  Raises:
    ValueError: settings that do not fit the data or the devices; a folder of another configuration,
      or one that another run uses.
    OSError: a checkpoint that cannot be written, or none that can be read.
    FloatingPointError: a loss, gradient or parameter that is not finite, with the step; the last
      good checkpoint stays.
    Stopped: on SIGTERM or Ctrl-C, when the state is saved.
  """
  workdir = pathlib.Path(workdir)
  spec, n_outputs = plan.bound(data), outputs_of(data)
  local = devices.local_batch(spec.batch_size)
  part, parts = pipeline.own_part()
  hypers = devices.replicated(jax.tree.map(jnp.asarray, plan.hypers))
  fresh = initial(plan, data, spec)
  configuration = plan.settings | {'data_fingerprint': data.fingerprint}
  source = pipeline.batches(data, batch_size=local * parts, part=part, parts=parts,
                            seed=pipeline.order_seed(plan.axes['seed']),
                            drop_last=plan.drop_last, multiple=devices.total(),
                            **_labels(plan, data))
  step = devices.data_parallel(ensemble_step(spec, n_outputs, devices.AXIS, source.per_epoch))
  with _claimed(workdir, configuration), Checkpoints(
      workdir / CHECKPOINTS, configuration, keep_last=plan.run['keep_last'],
      defaults=defaults()) as kept:
    state, data_state, start = kept.restore(fresh) or (fresh, None, 0)
    if data_state is not None:
      source.set_state(data_state)
    with _log(plan, workdir, start) as log, _asked_to_stop() as asked:
      state = _loop(plan, data, spec, step, devices.replicated(state), hypers, source, kept, log,
                    start, asked, progress)
      kept.wait()
    return results(plan, data, workdir, jax.device_get(state.params), spec)  # in one run at a time


@contextlib.contextmanager
def _claimed(workdir: pathlib.Path, configuration: dict[str, Any]) -> Iterator[None]:
  """The folder is this configuration's and this run's alone."""
  with contextlib.ExitStack() as held:
    processes.from_first(lambda: _claim(held, workdir, configuration))
    yield


def _claim(held: contextlib.ExitStack, workdir: pathlib.Path,
           configuration: dict[str, Any]) -> None:
  """On process 0. A folder of the version before says what it is of beside its checkpoints only;
  one without any may hold the data."""
  path, older = workdir / 'config.json', workdir / CHECKPOINTS / 'config.json'
  if not path.exists() and (older.exists() or not folder.listed(workdir / CHECKPOINTS)):
    workdir.mkdir(parents=True, exist_ok=True)
    said = folder.read_json(older) if older.exists() else folder.plain(configuration)
    folder.write_whole(path, json.dumps(said, indent=1).encode())
  held.enter_context(folder.claim(workdir, configuration, defaults=defaults()))


def initial(plan: TrainPlan, data: Prepared, spec: Spec) -> TrainState:
  """States [R] before the first step, each of its own seed."""
  one = lambda hyper: init_state(
      rng.stream(hyper.seed, 'init'), hyper, *map(shape_of, data.x), spec=spec,
      n_outputs=outputs_of(data))
  return jax.jit(jax.vmap(one))(jax.tree.map(jnp.asarray, plan.hypers))


def ensemble_step(spec: Spec, n_outputs: int, axis_name: str | None, n_batches: int = 1):
  """(states [R], hypers [R], (batch, what is aligned or None)) -> states [R], metrics [R]: the
  sweep's step, vmapped. n_batches: of an epoch of labels, for a guard."""
  def one(state, hyper, given):
    batch, pairs = given
    return train_step(state, hyper, batch, spec=spec, n_outputs=n_outputs, axis_name=axis_name,
                      pairs=pairs, n_batches=n_batches)
  return jax.vmap(one, in_axes=(0, 0, None))


def outputs_of(data: Prepared) -> int:
  """C classes, or 1 for regression."""
  return len(data.classes) or 1


def _labels(plan: TrainPlan, data: Prepared) -> dict[str, Any]:
  """Which labels may be learnt, and what is aligned."""
  if plan.given['generator'] == 'avmnist':
    return {}
  return {'align_on': plan.given['align_on'], 'labelled': pipeline.budget(
      data, plan.given['n_labelled'], plan.given['split_seed'])}


def _loop(plan: TrainPlan, data: Prepared, spec: Spec, step, state: TrainState, hypers: Hyper,
          source: pipeline.Batches, kept: Checkpoints, log: Write, start: int,
          asked: list[int], progress: bool) -> TrainState:
  per_epoch, clock = plan.steps_per_epoch(data), _Clock(start, spec.batch_size)
  before = None  # metrics of the step before: reading them never waits for the one under way
  first = jax.process_index() == 0
  with tqdm(total=spec.steps, initial=start, unit='step', desc=plan.name, dynamic_ncols=True,
            disable=not (progress and first)) as bar:
    def report(t, metrics):
      _finite(plan, t, metrics, kept)
      if t % plan.run['log_every'] == 0:
        rate = clock.rate(t)
        log(t, {**_plain(metrics), 'samples_per_second': rate})
        bar.set_postfix_str(f'{rate:.0f} samples/s', refresh=False)

    for t in range(start + 1, spec.steps + 1):
      state, metrics = step(state, hypers, devices.split(next(source)))
      if before is not None:
        report(*before)
      before = t, metrics
      bar.update()
      leave = _leave(asked, t, plan.run['log_every'])
      if t % per_epoch and t % plan.run['checkpoint_every'] and not leave:
        continue
      report(t, metrics)
      before = None
      _finite_state(plan, t, state, kept)
      scores = _epoch_scores(plan, data, spec, state) if t % per_epoch == 0 else {}
      if scores:
        log(t, {'epoch': t // per_epoch, **scores})
      metric = float(np.mean([scores[f'accuracy_{i + 1}'] for i in range(len(data.x))])
                     ) if scores else None
      kept.save(t, state, source.get_state(), metric)
      if leave and t < spec.steps:
        kept.wait()
        raise Stopped(f'stopped at step {t} of {spec.steps}, which is saved; the same command '
                      'continues from there')
  return state


def _leave(asked: list[int], step: int, every: int) -> bool:
  """Whether a process was asked to stop: all must leave at the same step, so several ask each
  other, but seldom, since that costs a round over the network."""
  if jax.process_count() > 1 and step % every:
    return False
  return processes.any_process(bool(asked))


class _Clock:
  """Samples per second since it was last asked."""

  def __init__(self, step: int, batch_size: int):
    self._last, self._batch_size = (step, time.perf_counter()), batch_size

  def rate(self, step: int) -> float:
    now = time.perf_counter()
    found = (step - self._last[0]) * self._batch_size / (now - self._last[1])
    self._last = step, now
    return found


def _epoch_scores(plan: TrainPlan, data: Prepared, spec: Spec,
                  state: TrainState) -> dict[str, np.ndarray]:
  return judge.accuracies(jax.device_get(state.params), data.test, spec=spec,
                          n_outputs=outputs_of(data), most=QUICK_TEST)


def _plain(metrics: PyTree) -> dict[str, np.ndarray]:
  found = dict(vars(metrics))
  found |= {f'task_{i}': value for i, value in enumerate(found.pop('task'), start=1)}
  return {name: np.asarray(value, np.float64) for name, value in found.items()
          if value is not None}


def _finite(plan: TrainPlan, step: int, metrics: PyTree, kept: Checkpoints) -> None:
  """Raises FloatingPointError where a loss or a gradient of the ensemble is not finite."""
  for name in ('loss', 'grad_norm'):
    values = np.asarray(getattr(metrics, name))
    if not np.isfinite(values).all():
      _refuse(plan, step, kept, np.isfinite(values), f'{name}={values[~np.isfinite(values)][0]}')


def _finite_state(plan: TrainPlan, step: int, state: TrainState, kept: Checkpoints) -> None:
  """Raises FloatingPointError where a parameter is not finite: no checkpoint is made of that."""
  good = np.ones(len(plan.labels), bool)
  for leaf in jax.tree.leaves(jax.device_get(state.params)):
    good &= np.isfinite(leaf).reshape(len(good), -1).all(axis=1)
  if not good.all():
    _refuse(plan, step, kept, good, 'a parameter is not finite')


def _refuse(plan: TrainPlan, step: int, kept: Checkpoints, good: np.ndarray, what: str) -> None:
  kept.wait()
  raise FloatingPointError(f'{what} at step {step} ({plan.labels[int(np.argmin(good))]}); the '
                           'checkpoints before it are good')


@contextlib.contextmanager
def _log(plan: TrainPlan, workdir: pathlib.Path, start: int) -> Iterator[Write]:
  """How to write into the log, on process 0; the others write into nothing."""
  opened: list[TrainLog] = []
  processes.from_first(lambda: opened.append(  # an error is then one of all processes
      TrainLog(workdir, plan.labels, start, tensorboard=plan.run['tensorboard'])))
  if jax.process_index():
    yield lambda *_: None
    return
  try:
    yield opened[0].write
  finally:
    opened[0].close()


@contextlib.contextmanager
def _asked_to_stop():
  """A list that is no longer empty once SIGTERM or SIGINT has come; a second one ends at once."""
  asked: list[int] = []
  def note(number, _):
    if asked:
      raise KeyboardInterrupt
    asked.append(number)
  try:
    old = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
  except ValueError:  # not in the main thread, as in a notebook's worker: nothing to catch there
    old = {}
  try:
    yield asked
  finally:
    for number, handler in old.items():
      signal.signal(number, handler)


def results(plan: TrainPlan, data: Prepared, workdir: pathlib.Path, params: PyTree,
            spec: Spec) -> 'xr.Dataset':
  """Judges the trained ensemble and writes workdir/results.zarr."""
  found = judge.judge(params, data, spec=spec, n_outputs=outputs_of(data))
  settings: dict[str, Any] = plan.settings | {'data_fingerprint': data.fingerprint}
  dataset = judge.to_dataset(plan.axes, found, {
      'name': plan.name, 'configuration': json.dumps(settings, default=float),
      'versions': json.dumps(versions()), 'notes': '\n'.join(data.notes)})
  if jax.process_index() == 0:
    write_dataset(dataset, workdir / 'results.zarr')
  return dataset
