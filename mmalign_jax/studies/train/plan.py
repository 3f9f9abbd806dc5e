"""One long training of an ensemble on real data, from plain settings.

All runs of the ensemble (strengths by seeds) see the same batches, so a curve over strength costs
little more than one run.
"""

from collections.abc import Collection, Mapping
import dataclasses
import math
from typing import Any

import jax
import numpy as np

from mmalign_jax import checks, losses, named
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.settings import (
  Rule,
  check_cells,
  checked,
  choice,
  count,
  refuse_unread,
  shown,
  text,
  truth,
)
from mmalign_jax.studies import reads
from mmalign_jax.studies.train import data as known
from mmalign_jax.training.fitting import fits, masked
from mmalign_jax.training.sweep import grid
from mmalign_jax.types import NAMES, Frames, Hyper, OwnSide, PyTree, Spec, lookup, shape_of

AXES = ('lam', 'seed')
MOST_SIDES = 3
_OF_SIDES = tuple(f'{name}_{i + 1}' for name in vars(OwnSide()) for i in range(MOST_SIDES))
_SPEC = (*_OF_SIDES, 'projection', 'projection_width', 'loss', 'learnable_temperature',
         'learnable_bias', 'min_temperature', 'max_temperature', 'batch_size', 'clip_norm',
         'n_align', 'neighbors', 'compute_dtype')
_HYPER = ('temperature', 'learning_rate', 'weight_decay')
_NAMED = ('schedule', 'guard', 'lam_mode')  # one of NAMES each
# How to run and report, without effect on the numbers.
RUN = {'log_every': 20, 'checkpoint_every': 200, 'keep_last': 2, 'tensorboard': True}
_OWN = {
    'study': 'train', 'name': 'avmnist', 'generator': 'avmnist', 'lam': (0.0, 0.2, 0.5, 1.0),
    'seed': (0,), **{name: NAMES[name][0] for name in _NAMED}, 'epochs': 15, 'drop_last': True,
    'encoder_1': 'lenet', 'encoder_2': 'audio_cnn1d', 'depth_1': 2, 'depth_2': 2, 'width_1': 12,
    'width_2': 32, 'projection_width': 32, 'batch_size': 256, 'learning_rate': 3e-3,
    'weight_decay': 1e-4}
_VECTORS, _SEQUENCES = OwnSide('mlp', 2, 64), OwnSide('audio_cnn1d', 3, 32)  # where nothing is said


@dataclasses.dataclass(frozen=True)
class TrainPlan:
  """axes: values of AXES; hypers: the ensemble [R], last axis fastest; settings: all that decides
  the numbers; given: every setting; run: how to run."""
  name: str
  spec: Spec
  axes: dict[str, tuple]
  hypers: Hyper
  epochs: int
  drop_last: bool
  settings: dict[str, Any]
  given: dict[str, Any]
  run: dict[str, Any]
  notes: tuple[str, ...] = ()

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(len(values) for values in self.axes.values())

  @property
  def labels(self) -> list[str]:
    """A name for each run of the ensemble."""
    return [f'lam={lam:g}, seed={seed}' for lam in self.axes['lam'] for seed in self.axes['seed']]

  def steps_per_epoch(self, data: Prepared) -> int:
    """Batches in an epoch; with drop_last, pairs that fill none wait for the next order.

    Raises:
      ValueError: with drop_last, fewer pairs than a batch.
    """
    n = len(data.y)
    if not self.drop_last:
      return -(-n // self.spec.batch_size)
    if n < self.spec.batch_size:
      raise ValueError(f'batch_size={self.spec.batch_size} is more than the {n} training pairs')
    return n // self.spec.batch_size

  def bound(self, data: Prepared) -> Spec:
    """The Spec with as many steps as the data make, and their encoders where none are named.

    Raises:
      ValueError: too few pairs to train on, or to measure similarity with, or encoders that do not
        take them.
    """
    steps = self.epochs * self.steps_per_epoch(data)
    n_test = len(jax.tree.leaves(data.unseen[0])[0])
    n_align, neighbors = min(self.spec.n_align, n_test), self.spec.neighbors
    if n_align <= max(neighbors, 3):
      raise ValueError(f'neighbors={neighbors} needs more than {max(neighbors, 3)} test pairs, and '
                       f'there are {n_align}')
    task = losses.task_of(self.spec.task).regression
    spec = dataclasses.replace(
        self.spec, steps=steps, n_align=n_align, sides=_sides(self.spec.sides, data.x),
        task=self.spec.task if task != bool(data.classes) else data.task)
    fits(spec, tuple(map(shape_of, data.x)), data.y.dtype.name, len(data.classes) or 1,
         masked(data.x))
    return spec


def _sides(given: tuple[OwnSide, ...], x: tuple[PyTree, ...]) -> tuple[OwnSide, ...]:
  """What each side has; an encoder for sequences or for vectors where none is named."""
  padded = (*given, *[OwnSide()] * len(x))
  fallback = [_SEQUENCES if isinstance(v, Frames) else _VECTORS for v in x]
  return tuple(OwnSide(**{name: getattr(own, name) or getattr(other, name) for name in vars(own)})
               for own, other in zip(padded, fallback))


def defaults() -> dict[str, Any]:
  """Every setting with its default, those of the data among them."""
  spec, hyper = named.static(Spec(), MOST_SIDES), named.traced(Hyper())
  data = {name: value for row in known.DATA.values() for name, value in row.settings.items()}
  return {**{n: spec[n] for n in _SPEC}, **{n: hyper[n] for n in _HYPER}, **_single(), **_OWN,
          **data, **RUN}


def _single() -> dict[str, tuple]:
  """Settings with one value or none: of the losses, and strengths of single sides and pairs."""
  return dict.fromkeys((*losses.own_ranges(), *named.strengths(MOST_SIDES)[1:]), ())


def rules() -> dict[str, Rule]:
  """What every setting may be."""
  lone = {name: dataclasses.replace(checks.traced_rule(name), axis=False) for name in _HYPER}
  of_spec = checks.static_rules(MOST_SIDES)
  of_data = {name: rule for row in known.DATA.values() for name, rule in row.rules.items()}
  return {
      'study': text(), 'name': text(blank=False), **{name: of_spec[name] for name in _SPEC},
      **lone, **{name: checks.traced_rule(name) for name in AXES},
      **{name: dataclasses.replace(checks.traced_rule(name), least=0) for name in _single()},
      'generator': choice(lambda: known.DATA),
      **{name: choice(lambda known=NAMES[name]: known) for name in _NAMED},
      'drop_last': truth(), 'tensorboard': truth(),
      **{name: count(1, 2**30) for name in ('epochs', 'batch_size', 'log_every',
                                            'checkpoint_every', 'keep_last')},
      **of_data}


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
  row = lookup(known.DATA, settings['generator'], 'generator')
  row.check(settings)
  if row.shapes:
    for name in ('encoder_1', 'encoder_2'):
      choice(checks.STATIC['encoder'].known).of(name, settings[name])
  n_sides = row.sides(settings)
  chosen = {k: v for k, v in given.items() if v or k not in _OF_SIDES}  # '' and 0 choose nothing
  read = refuse_unread(settings, chosen, defaults(), unread(settings, n_sides), preset)
  reads.check_strengths(settings, n_sides, given.keys() - {*preset})
  own = {name: settings[name][0] for name in _single() if settings[name]}
  for name in own:
    if len(settings[name]) > 1:
      raise ValueError(f'{name}={shown(settings[name])} takes one value in a training')
  hypers = grid(axes, **{n: float(settings[n]) for n in _HYPER}, **own,
                **_codes(settings))
  task = settings['task'] if row.shapes is None and settings['task'] != 'auto' else Spec.task
  spec = named.spec(generator='paired', task=task, **{n: settings[n] for n in _SPEC})
  batch = float(spec.batch_size)
  checks.check(dataclasses.replace(spec, max_train=spec.batch_size),
               dataclasses.replace(
                   hypers, n_train=np.full(math.prod(map(len, axes.values())), batch)))
  loss = losses.loss_of(spec.loss)
  if not settings['drop_last'] and loss.of_pairs and 'valid' not in loss.options:
    raise ValueError(f'drop_last=False: loss {spec.loss!r} takes no `valid`, so no batch can be '
                     'filled up')
  if row.shapes:
    shapes, n_classes = row.shapes
    fits(spec, shapes, 'int32', n_classes)
  return TrainPlan(
      settings['name'], spec, axes, hypers, settings['epochs'], settings['drop_last'],
      {k: v for k, v in read.items() if k not in RUN}, settings, {k: settings[k] for k in RUN})


def _codes(settings: Mapping[str, Any]) -> dict[str, float]:
  """Indices of what is named. The first guard and mode are left out: without them a step takes one
  gradient, not two, and the state holds no mean of it."""
  found = {name: float(NAMES[name].index(settings[name])) for name in _NAMED}
  return {name: code for name, code in found.items() if code or name == 'schedule'}


def unread(settings: Mapping[str, Any], n_sides: int) -> dict[str, str]:
  """{setting: why it has no effect}, of those that this study does not read."""
  # What has no encoder of its own gets one by its data, whatever that reads.
  named_sides = {**settings} | {f'encoder_{i + 1}': settings[f'encoder_{i + 1}'] or _VECTORS.encoder
                            for i in range(n_sides)}
  found = (reads.unread_of_sides(named_sides, n_sides) | reads.unread_of_others(settings, n_sides)
           | reads.unread_of_temperature(settings) | reads.unread_of_loss(settings)
           | reads.unread_of_strengths(settings, n_sides) | known.unread(settings['generator']))
  return {name: why for name, why in found.items() if name in settings}
