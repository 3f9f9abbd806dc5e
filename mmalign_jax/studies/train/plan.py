"""One long training of an ensemble on real data, from plain settings.

All runs of the ensemble (strengths by seeds) see the same batches, so a curve over strength costs
little more than one run.
"""

from collections.abc import Collection, Mapping
import dataclasses
import math
from typing import Any

import numpy as np

from mmalign_jax import checks, losses, named
from mmalign_jax.data.avmnist import knobs as pairing, spectra
from mmalign_jax.data.avmnist.load import AVMNIST
from mmalign_jax.settings import (
  Rule,
  check_cells,
  checked,
  choice,
  count,
  refuse_unread,
  text,
  truth,
)
from mmalign_jax.studies import reads
from mmalign_jax.training.sweep import fits, grid
from mmalign_jax.types import SCHEDULES, Hyper, Spec

AXES = ('lam', 'seed')
_SPEC = ('encoder_1', 'encoder_2', 'depth_1', 'depth_2', 'width_1', 'width_2', 'projection',
         'projection_width', 'loss', 'learnable_temperature', 'min_temperature', 'max_temperature',
         'batch_size', 'clip_norm', 'n_align', 'neighbors', 'compute_dtype')
_HYPER = ('temperature', 'learning_rate', 'weight_decay')
# How to run and report, without effect on the numbers.
RUN = {'log_every': 20, 'checkpoint_every': 200, 'keep_last': 2, 'tensorboard': True}
_OWN = {
    'study': 'train', 'name': 'avmnist', 'lam': (0.0, 0.2, 0.5, 1.0), 'seed': (0,),
    'schedule': SCHEDULES[0], 'epochs': 15, 'drop_last': True,
    'encoder_1': 'lenet', 'encoder_2': 'audio_cnn1d', 'depth_1': 2, 'depth_2': 2, 'width_1': 12,
    'width_2': 32, 'projection_width': 32, 'batch_size': 256, 'learning_rate': 3e-3,
    'weight_decay': 1e-4}
SHAPES = ((28, 28, 1), (spectra.FRAMES, spectra.WIDTH))  # of an image and of a sound
CLASSES = 10
_KNOBS = tuple('data_seed' if f.name == 'seed' else f.name
               for f in dataclasses.fields(pairing.Knobs))


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
  notes: tuple[str, ...] = ()

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
  spec, hyper = named.static(Spec(), 2), named.traced(Hyper())
  knobs = {f.name: f.default for f in dataclasses.fields(pairing.Knobs)}
  knobs['data_seed'] = knobs.pop('seed')
  return {**{n: spec[n] for n in _SPEC}, **{n: hyper[n] for n in _HYPER}, **_losses_own(),
          **_OWN, **knobs, **RUN}


def _losses_own() -> dict[str, tuple]:
  """Settings of the losses: () is their own default."""
  return dict.fromkeys(losses.own_ranges(), ())


def rules() -> dict[str, Rule]:
  """What every setting may be; knobs of the pairs are judged by `pairing.Knobs`."""
  lone = {name: dataclasses.replace(checks.traced_rule(name), axis=False) for name in _HYPER}
  of_spec = checks.static_rules()
  return {
      'study': text(), 'name': text(blank=False), **{name: of_spec[name] for name in _SPEC},
      **lone, **{name: checks.traced_rule(name) for name in AXES},
      **{name: dataclasses.replace(checks.traced_rule(name), least=0)
         for name in _losses_own()},
      'encoder_1': choice(checks.STATIC['encoder'].known),
      'encoder_2': choice(checks.STATIC['encoder'].known),
      'schedule': choice(lambda: SCHEDULES), 'drop_last': truth(), 'tensorboard': truth(),
      **{name: count(1, 2**30) for name in ('epochs', 'batch_size', 'log_every',
                                            'checkpoint_every', 'keep_last')},
      **dict.fromkeys(_KNOBS, Rule('any'))}


def from_settings(given: Mapping[str, Any], *, preset: Collection[str] = ()) -> TrainPlan:
  """Builds the plan.

  Args:
    given: by name.
    preset: names in it that nobody chose for this study (see `settings.refuse_unread`).

  Raises:
    ValueError: an unknown setting or name (lists the known ones), a value out of range or without
      effect, or settings that do not fit each other.
  """
  settings = checked(given, defaults(), rules())
  axes = {name: settings[name] for name in AXES}
  check_cells(axes)
  knobs = pairing.Knobs(**{f.name: settings[name] for f, name in zip(
      dataclasses.fields(pairing.Knobs), _KNOBS)})
  read = refuse_unread(settings, given, defaults(), unread(settings), preset)
  own = {name: settings[name][0] for name in _losses_own() if settings[name]}
  for name in own:
    if len(settings[name]) > 1:
      raise ValueError(f'{name}={settings[name]} takes one value in a training')
  hypers = grid(axes, **{n: float(settings[n]) for n in _HYPER}, **own,
                schedule=float(SCHEDULES.index(settings['schedule'])))
  spec = named.spec(generator='paired', **{n: settings[n] for n in _SPEC})
  batch = float(spec.batch_size)
  checks.check(dataclasses.replace(spec, max_train=spec.batch_size),
               dataclasses.replace(
                   hypers, n_train=np.full(math.prod(map(len, axes.values())), batch)))
  _check_sizes(settings, knobs)
  row = losses.loss_of(spec.loss)
  if not settings['drop_last'] and row.of_pairs and 'valid' not in row.options:
    raise ValueError(f'drop_last=False: loss {spec.loss!r} takes no `valid`, so no batch can be '
                     'filled up')
  fits(spec, SHAPES, 'int32', CLASSES)
  return TrainPlan(
      settings['name'], spec, axes, hypers, settings['epochs'], settings['drop_last'], knobs,
      {k: v for k, v in read.items() if k not in RUN}, {k: settings[k] for k in RUN})


def unread(settings: Mapping[str, Any]) -> dict[str, str]:
  """{setting: why it has no effect}, of those that this study does not read."""
  found = (reads.unread_of_sides(settings) | reads.unread_of_temperature(settings)
           | reads.unread_of_loss(settings))
  return {name: why for name, why in found.items() if name in settings}


def _check_sizes(settings: Mapping[str, Any], knobs: pairing.Knobs) -> None:
  """What the sizes asked for cannot hold, before anything is prepared."""
  batch, n_train = settings['batch_size'], (knobs.train_size or 0) * knobs.pairs_per_image
  if n_train and n_train < batch and settings['drop_last']:
    raise ValueError(f'batch_size={batch} is more than the {n_train} training pairs of '
                     f'train_size={knobs.train_size}')
  n_test, least = knobs.test_size, checks.least_pairs(settings['neighbors'])
  if n_test and n_test * knobs.pairs_per_image < least:
    raise ValueError(f'test_size={n_test}: neighbors={settings["neighbors"]} needs at least '
                     f'{least} test pairs')
