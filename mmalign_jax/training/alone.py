"""Encoders trained alone, one modality at a time, kept at their best epoch (arXiv 2502.16282).

A *unit* is the encoders of one side that share depth, transform and seed and differ in the task (or
in learning rate and decay): their inputs and batches are the same, so they are read once for all,
and the first layer of all is one product. A unit is one compiled program for each depth.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from mmalign_jax import losses, named, rng, struct
from mmalign_jax.data.sources import SOURCES, Source
from mmalign_jax.encoders import sides
from mmalign_jax.objective import outputs
from mmalign_jax.training import compiling
from mmalign_jax.training.evaluate import Score, further, score
from mmalign_jax.training.step import descend, optimizer
from mmalign_jax.types import (
  Array,
  Hyper,
  Numeric,
  PyTree,
  Spec,
  Test,
  TrainState,
  lookup,
  shape_of,
)

FLAT = 'parameters'  # all of an encoder and its head, as one vector
OWN = ('redundancy', 'unique_1', 'unique_2', 'synergy', 'learning_rate', 'weight_decay')


@dataclasses.dataclass(frozen=True)
class Protocol:
  """Static settings of one side's training: hashable, one compile each.

  spec: depth, width, batch_size, clip_norm, and max_train training samples. side: from 1. epochs:
  over the training samples, at most, validated after each on n_validation further ones.
  """
  spec: Spec
  side: int
  epochs: int
  n_validation: int

  @property
  def steps(self) -> int:
    return self.epochs * (self.spec.max_train // self.spec.batch_size)


@struct.dataclass
class Trained:
  """An encoder and its head at the epoch of best validation accuracy.

  params: for `encoders.Side.apply`. score: on the test set (exact for generators). best_epoch []
  i32, from 1. validation [E]: accuracy after every epoch, -1 where not finite, and where there was
  none; of pairs `merit`, -inf.
  diverged []: a parameter was not finite at the end; the best epoch is then one before, or 0, the
  initial state. further: of pairs, what `further` says.
  """
  params: PyTree
  score: Score
  best_epoch: Array
  validation: Array
  diverged: Array
  further: dict[str, Array] = dataclasses.field(default_factory=dict)


def train_alone(hyper: Hyper, tables: PyTree, epochs: Numeric | None = None, *,
                protocol: Protocol) -> Trained:
  """Trains one encoder on its own task loss; no term sees the other side.

  Args:
    hyper: traced settings, scalars.
    tables: constants of the generator.
    epochs: [] i32, traced: so many of protocol.epochs, or None for all. Short trainings that choose
      settings are then of the same program as the long ones.
    protocol: static settings.
  """
  spec, side = protocol.spec, protocol.side
  source = lookup(SOURCES, spec.generator, 'generator')
  module = sides.Side(spec.of_side(side), source.n_outputs(tables))
  test = source.test(tables, hyper, side)
  y, rows, worst, judge = (drawn if source.validation is None else labelled)(
      hyper, tables, test, source, module, protocol)
  params = sides.init(
      rng.stream(hyper.seed, f'init_{side}'), (module,), shape_of(test.x))['side_1']
  flat, tree = ravel_pytree(params)
  order = rng.stream(hyper.seed, f'order_{side}')
  n_batches = spec.max_train // spec.batch_size
  learn = functools.partial(step, tree=tree, module=module, spec=spec)
  batched = lambda v: v.reshape(n_batches, spec.batch_size, *v.shape[1:])

  def epoch(carry, e):
    state, best, best_accuracy, best_epoch = carry
    i = rng.permute(jax.random.fold_in(order, e), jnp.arange(n_batches * spec.batch_size),
                    spec.max_train)
    x = source.inputs(tables, hyper, [rows[i]] * source.n_sides(tables))[side - 1]
    batches = jax.tree.map(batched, x), y[i].reshape(n_batches, -1)
    state, _ = jax.lax.scan(
        lambda state, batch: (learn(state, hyper, *batch), None), state, batches)
    accuracy = judge(tree(state.params[FLAT]))
    better = accuracy > best_accuracy
    best = jnp.where(better, state.params[FLAT], best)
    return (state, best, jnp.where(better, accuracy, best_accuracy),
            jnp.where(better, e + 1, best_epoch)), accuracy

  state = TrainState(jnp.zeros((), jnp.int32), {FLAT: flat}, optimizer(spec).init({FLAT: flat}))
  def while_wanted(carry, e):
    if epochs is None:
      return epoch(carry, e)
    return jax.lax.cond(e < epochs, epoch, lambda carry, _: (carry, jnp.float32(worst)), carry, e)

  start = (state, flat, jnp.float32(worst), jnp.int32(0))
  (state, best, _, best_epoch), validation = jax.lax.scan(
      while_wanted, start, jnp.arange(protocol.epochs))
  prediction = outputs(module, tree(best), test.x).prediction
  return Trained(
      tree(best), score(prediction, test, spec=spec), best_epoch, validation, ~finite(state.params),
      {} if source.validation is None else further(prediction, test, spec=spec))


Material = tuple[Array, Array, float, Callable[[PyTree], Array]]
# labels [N], rows [N] of the inputs, the merit that any finite encoder passes, and its merit []


def drawn(hyper: Hyper, tables: PyTree, test: Test, source: Source, module: sides.Side,
          protocol: Protocol) -> Material:
  """Samples of a generator, validated on further ones."""
  spec = protocol.spec
  draws = source.draw(
      tables, hyper, rng.stream(hyper.seed, 'data'), spec.max_train + protocol.n_validation)
  rows = draws.rows[protocol.side - 1]
  held_out = occurrences(test, rows[spec.max_train:], draws.y[spec.max_train:])
  return draws.y, rows, -1.0, functools.partial(validate, held_out=held_out, module=module)


def labelled(hyper: Hyper, tables: PyTree, test: Test, source: Source, module: sides.Side,
             protocol: Protocol) -> Material:
  """The labelled rows that have the side, of which there are spec.max_train; validated on the rows
  that are there to choose settings."""
  del test
  side = protocol.side - 1
  total = jax.tree.leaves(tables.x[side])[0].shape[0]
  draws = source.draw(tables, hyper, rng.stream(hyper.seed, 'data'), total)
  assert source.present and source.validation and draws.n_labelled is not None  # it is of pairs
  usable = source.present(tables, draws.rows)[side] & (jnp.arange(total) < draws.n_labelled)
  at = jnp.flatnonzero(usable, size=protocol.spec.max_train)
  held_out = source.validation(tables, hyper, protocol.side)
  return draws.y[at], draws.rows[side][at], -jnp.inf, functools.partial(
      merit, held_out=held_out, module=module, spec=protocol.spec)


def step(state: TrainState, hyper: Hyper, x: Array, y: Array, *, tree: Callable[..., PyTree],
         module: sides.Side, spec: Spec) -> TrainState:
  """One AdamW step on the task loss of x [B, D], y [B].

  Args:
    state: its params are one vector, {FLAT: [P]}: an optimiser's step on each of a hundred leaves
      takes as long to compile as the encoder. tree: of it, what the module takes.
  """
  task, params = losses.task_of(spec.task), tree(state.params[FLAT])
  def gradient(x, y):
    grads = jax.grad(lambda p: jnp.mean(task(outputs(module, p, x).prediction, y)))(params)
    return ravel_pytree(grads)[0]
  rows = compiling.part(spec)
  if not rows or y.shape[0] % rows:
    return descend(state, {FLAT: gradient(x, y)}, hyper, spec=spec)
  parts = jax.tree.map(lambda v: v.reshape(-1, rows, *v.shape[1:]), (x, y))
  total, _ = jax.lax.scan(lambda total, part: (total + gradient(*part), None),
                          jnp.zeros_like(state.params[FLAT]), parts)
  return descend(state, {FLAT: total * (rows / y.shape[0])}, hyper, spec=spec)


def occurrences(test: Test, rows: Array, y: Array) -> Test:
  """Samples (rows [N] of the enumerated inputs, y [N]) as shares [M, C] of each input and class:
  accuracy on them needs each input once, however often it was drawn."""
  shares = jnp.zeros_like(test.target).at[rows, y].add(1 / rows.shape[0])
  return dataclasses.replace(test, target=shares)


def validate(params: PyTree, held_out: Test, *, module: sides.Side) -> Array:
  """Accuracy [] on the samples that `occurrences` counted; -1 where a parameter is not finite."""
  guess = jnp.argmax(outputs(module, params, held_out.x).prediction, axis=1)
  hit = jax.nn.one_hot(guess, held_out.target.shape[1]) * held_out.target
  return jnp.where(finite(params), jnp.sum(hit), -1)


def merit(params: PyTree, held_out: Test, *, module: sides.Side, spec: Spec) -> Array:
  """What an encoder is chosen by []: accuracy on held-out rows, or for a regression the mean
  absolute error with a minus; -inf where a parameter is not finite."""
  found = score(outputs(module, params, held_out.x).prediction, held_out, spec=spec)
  regression = losses.task_of(spec.task).regression
  return jnp.where(finite(params), -found.task_loss if regression else found.accuracy, -jnp.inf)


def finite(params: PyTree) -> Array:
  """[] bool: no parameter is infinite or NaN."""
  return jnp.all(jnp.isfinite(ravel_pytree(params)[0]))


def layers(params: PyTree, hyper: Hyper, tables: PyTree, *, protocol: Protocol) -> Array:
  """Every hidden representation [L, N, width] of the cell's spec.n_align test pairs, its own side.

  The pairs depend on the seed alone, so encoders of both sides and any depth see the same ones.
  """
  spec, side = protocol.spec, protocol.side
  source = lookup(SOURCES, spec.generator, 'generator')
  x = source.pairs(tables, hyper, rng.stream(hyper.seed, 'test'), spec.n_align)[side - 1]
  module = sides.Side(spec.of_side(side), source.n_outputs(tables))
  return jnp.stack(outputs(module, params, x).layers)


def own_fields(generator: str) -> tuple[str, ...]:
  """Fields of Hyper that differ within a unit: `OWN`, and what the generator's dial sets too."""
  dial = lookup(SOURCES, generator, 'generator').unique
  return tuple(dict.fromkeys((*OWN, *(dial(np.zeros(1)) if dial else ()))))


def unit_axes(own: tuple[str, ...] = OWN) -> Hyper:
  """in_axes of a unit's Hyper: fields of `own` [R], the others shared scalars."""
  axes: dict[str, Any] = {name: 0 if name in own else None for name in named.traced(Hyper())}
  return Hyper(**axes)


@compiling.kept(64)
def compiled(protocol: Protocol, grouped: bool = False, thorough: bool = True,
             models: int | None = None):
  """jit of a unit: (hyper, `OWN` fields [R], tables, epochs []) -> Trained of [R].

  `grouped`: of G units, every field with a leading G, which keeps an accelerator busy (on a CPU it
  doubles the time).

  Not `thorough`: for a few steps only. models: of them together, where known; one may be quicker.
  """
  axes = unit_axes(own_fields(protocol.spec.generator))
  def run(hyper, tables, epochs=None):
    one = lambda h: train_alone(h, tables, epochs, protocol=protocol)
    return jax.vmap(one, in_axes=(axes,))(hyper)
  return jax.jit(
      (lambda hyper, *rest: jax.vmap(lambda h: run(h, *rest))(hyper)) if grouped else run,
      compiler_options=compiling.options(protocol.spec, thorough=thorough, models=models))


@compiling.kept(64)
def compiled_layers(protocol: Protocol):
  """jit of `layers` for a unit: (params [R, ...], hyper, tables) -> [R, L, N, width].

  It runs once a unit, for less time than a thorough compilation takes.
  """
  return jax.jit(
      jax.vmap(functools.partial(layers, protocol=protocol),
               in_axes=(0, unit_axes(own_fields(protocol.spec.generator)), None)),
      compiler_options=compiling.QUICK)
