"""One long training of an ensemble on real data, from plain settings.

All runs of the ensemble (strengths by seeds) see the same batches, so a curve over strength costs
little more than one run.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from mmalign_jax import checks
from mmalign_jax.data import pairing
from mmalign_jax.data.avmnist import AVMNIST
from mmalign_jax.training.sweep import grid
from mmalign_jax.types import SCHEDULES, Hyper, Spec, lookup

AXES = ('lam', 'seed')
_SPEC = ('encoder_1', 'encoder_2', 'depth_1', 'depth_2', 'width_1', 'width_2', 'projection',
         'projection_width', 'loss', 'learnable_temperature', 'min_temperature', 'max_temperature',
         'batch_size', 'clip_norm', 'n_align', 'neighbors', 'compute_dtype')
_HYPER = ('temperature', 'learning_rate', 'weight_decay')
RUN = {'log_every': 20, 'checkpoint_every': 200, 'keep_last': 2, 'resamples': 2000,
       'tensorboard': True}  # how to run and report, without effect on the numbers
_OWN = {
    'study': 'train', 'name': 'avmnist', 'lam': (0.0, 0.2, 0.5, 1.0), 'seed': (0,),
    'schedule': SCHEDULES[0], 'epochs': 15, 'drop_last': True,
    'encoder_1': 'lenet', 'encoder_2': 'audio_cnn1d', 'depth_1': 2, 'depth_2': 2, 'width_1': 12,
    'width_2': 32, 'projection_width': 32, 'batch_size': 256, 'learning_rate': 3e-3,
    'weight_decay': 1e-4}
_WHOLE = ('epochs', 'batch_size', 'log_every', 'checkpoint_every', 'keep_last')


@dataclasses.dataclass(frozen=True)
class TrainPlan:
  """axes: values of AXES; hypers: the ensemble [R], last axis fastest; knobs: of the pairs;
  settings: all that decides the numbers; run: how to run."""
  name: str
  spec: Spec
  axes: dict[str, tuple]
  hypers: Hyper
  epochs: int
  drop_last: bool
  knobs: pairing.Knobs
  settings: dict[str, Any]
  run: dict[str, Any]

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(len(values) for values in self.axes.values())

  @property
  def labels(self) -> list[str]:
    """A name for each run of the ensemble."""
    return [f'lam={lam:g}, seed={seed}' for lam in self.axes['lam'] for seed in self.axes['seed']]

  def steps_per_epoch(self, data: AVMNIST) -> int:
    """Batches in an epoch; with drop_last, pairs that fill none wait for the next order.

    Raises:
      ValueError: with drop_last, fewer pairs than a batch.
    """
    n = len(data.label_train)
    if not self.drop_last:
      return -(-n // self.spec.batch_size)
    if n < self.spec.batch_size:
      raise ValueError(f'batch_size={self.spec.batch_size} is more than the {n} training pairs')
    return n // self.spec.batch_size

  def bound(self, data: AVMNIST) -> Spec:
    """The Spec with as many steps as the data make.

    Raises:
      ValueError: too few pairs to train on, or to measure similarity with.
    """
    steps = self.epochs * self.steps_per_epoch(data)
    n_align, neighbors = min(self.spec.n_align, len(data.label_test)), self.spec.neighbors
    if n_align <= max(neighbors, 3):
      raise ValueError(f'neighbors={neighbors} needs more than {max(neighbors, 3)} test pairs, and '
                       f'there are {n_align}')
    return dataclasses.replace(self.spec, steps=steps, n_align=n_align)


def defaults() -> dict[str, Any]:
  """Every setting with its default; those of the pairs are `pairing.Knobs`, data_seed its seed."""
  spec, hyper = Spec(), Hyper()
  knobs = {f.name: f.default for f in dataclasses.fields(pairing.Knobs)}
  knobs['data_seed'] = knobs.pop('seed')
  return {**{n: getattr(spec, n) for n in _SPEC}, **{n: getattr(hyper, n) for n in _HYPER},
          **_OWN, **knobs, **RUN}


def from_settings(given: dict[str, Any]) -> TrainPlan:
  """Builds the plan.

  Raises:
    ValueError: an unknown setting or name (lists the known ones), or a value out of range.
  """
  for name in given:
    lookup(defaults(), name, 'setting')
  settings = defaults() | given
  for name in _WHOLE:
    if isinstance(settings[name], bool) or not isinstance(settings[name], int) or (
        settings[name] < 1):
      raise ValueError(f'{name}={settings[name]!r} must be a whole number of at least 1')
  if not isinstance(settings['drop_last'], bool):
    raise ValueError(f'drop_last={settings["drop_last"]!r} must be True or False')
  axes = {name: _axis(name, settings[name]) for name in AXES}
  settings |= axes
  lookup(dict.fromkeys(SCHEDULES), settings['schedule'], 'schedule')
  hypers = grid(axes, **{n: float(settings[n]) for n in _HYPER},
                schedule=float(SCHEDULES.index(settings['schedule'])))
  spec = Spec(generator='paired', **{n: settings[n] for n in _SPEC})
  batch = float(spec.batch_size)
  checks.check(dataclasses.replace(spec, max_train=spec.batch_size),
               hypers.replace(n_train=np.full(math.prod(map(len, axes.values())), batch)))
  knobs = pairing.Knobs(**{f.name: settings['data_seed' if f.name == 'seed' else f.name]
                           for f in dataclasses.fields(pairing.Knobs)})
  return TrainPlan(
      settings['name'], spec, axes, hypers, settings['epochs'], settings['drop_last'], knobs,
      {k: v for k, v in settings.items() if k not in RUN}, {k: settings[k] for k in RUN})


def _axis(name: str, value: Any) -> tuple:
  value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
  for v in value:
    if isinstance(v, bool) or not isinstance(v, (int, float)):
      raise ValueError(f'{name}={v!r} is not a number')
    if name == 'seed' and not isinstance(v, int):
      raise ValueError(f'{name}={v!r} must be a whole number')
  if not value:
    raise ValueError(f'{name}=() has no values')
  return tuple(sorted(set(value)))
