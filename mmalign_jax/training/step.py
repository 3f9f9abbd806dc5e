"""One step of training: the same pure function under jit, vmap and scan."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from mmalign_jax import objective, rng
from mmalign_jax.objective import Metrics
from mmalign_jax.training import apart
from mmalign_jax.types import (
  Array,
  Batch,
  Hyper,
  Key,
  Numeric,
  PyTree,
  Shape,
  Spec,
  TrainState,
)


def optimizer(spec: Spec) -> optax.GradientTransformation:
  """Clipping and Adam's moments; the learning rate and the decay are traced, so `descend` adds
  them (AdamW, Loshchilov and Hutter 2019). A head on all sides is clipped by itself: how long its
  gradient is does not shorten that of the encoders."""
  clip = optax.clip_by_global_norm(spec.clip_norm)
  return optax.chain(clip if spec.fusion == 'none' else _apart(clip), optax.scale_by_adam())


def _apart(clip: optax.GradientTransformation) -> optax.GradientTransformation:
  """A transformation without a state, of the head on all sides and of the rest separately."""
  def update(updates: Any, state, params=None):
    head = {objective.FUSION: updates[objective.FUSION]}
    rest = {name: value for name, value in updates.items() if name not in head}
    of_rest, of_head = (clip.update(part, state)[0] for part in (rest, head))
    return {**of_rest, **of_head}, state  # pyright: ignore[reportGeneralTypeIssues]
  return optax.GradientTransformation(clip.init, update)


def init_state(key: Key, hyper: Hyper, *shapes: Shape, spec: Spec, n_outputs: int) -> TrainState:
  """State before the first step.

  Args:
    key: of the initialisation. hyper: its temperature is where a learnt one starts.
    shapes: of one sample of every side. spec, n_outputs: as in `train_step`.

  Examples:
    >>> spec = Spec(depth=1, width=4)
    >>> state = init_state(jax.random.key(0), Hyper(), 12, 12, spec=spec, n_outputs=2)
    >>> sorted(state.params), int(state.step)
    (['side_1', 'side_2'], 0)
  """
  params = objective.init(key, hyper, *shapes, spec=spec, n_outputs=n_outputs)
  return TrainState(jnp.zeros((), jnp.int32), params, optimizer(spec).init(params),
                    None if hyper.guard is None else jax.tree.map(jnp.zeros_like, params))


def train_step(state: TrainState, hyper: Hyper, batch: Batch, *, spec: Spec, n_outputs: int,
               axis_name: str | None = None,
               pairs: Batch | None = None, n_batches: Numeric = 1) -> tuple[TrainState, Metrics]:
  """One AdamW step on one batch.

  Args:
    state: of one cell.
    hyper: traced settings, scalars.
    batch: x, of every side [B, D] (or whatever else its encoder takes), y [B].
    spec: static settings. n_outputs: C, or 1 for regression.
    pairs: what is aligned, where that is not the batch whose labels are learnt; its y is not read.
    axis_name: of the mapped axis (pmap) over which the batch is spread, in equal parts.
    n_batches: [] of an epoch of labels, over which a guard takes the mean of the task's gradient.

  Returns:
    the next state, and the metrics of this batch before the step.

  Examples:
    >>> spec = Spec(depth=1, width=4, steps=10)
    >>> state = init_state(jax.random.key(0), Hyper(), 3, 5, spec=spec, n_outputs=2)
    >>> batch = Batch((jnp.ones((8, 3)), jnp.ones((8, 5))), jnp.zeros(8, jnp.int32))
    >>> step = jax.jit(lambda *given: train_step(*given, spec=spec, n_outputs=2))
    >>> state, metrics = step(state, Hyper(lam=1.0), batch)
    >>> int(state.step), len(metrics.task)
    (1, 2)
  """
  for given in (batch,) if pairs is None else (batch, pairs):
    chex.assert_equal_shape_prefix(jax.tree.leaves(given), 1)
  # over spec.steps in the end, a constant: where all of them are taken no digit is another
  progress = state.step.astype(jnp.float32) * (spec.steps / end(hyper, spec)) / spec.steps
  together = hyper.guard is None and hyper.lam_mode is None
  options = {'spec': spec, 'n_outputs': n_outputs, 'axis_name': axis_name, 'pairs': pairs,
             'key': jax.random.fold_in(rng.stream(hyper.seed, 'copies'), state.step)}
  if together:
    grads, metrics = jax.grad(objective.objective, has_aux=True)(
        state.params, hyper, batch, progress, **options)
  else:
    grads, metrics, of_task = apart.gradient(
        state.params, hyper, batch, progress, before=state.of_task, n_batches=n_batches, **options)
    state = dataclasses.replace(state, of_task=of_task)
  if axis_name is not None:
    grads, metrics = jax.lax.pmean((grads, metrics), axis_name)
  metrics = dataclasses.replace(
      metrics, grad_norm=optax.tree.norm(grads), param_norm=optax.tree.norm(state.params))
  return descend(state, grads, hyper, spec=spec), metrics


def end(hyper: Hyper, spec: Spec) -> Array:
  """Steps [] i32 until training stops: `train_steps`, at most those of the Spec; 0 for all."""
  asked = jnp.asarray(hyper.train_steps).astype(jnp.int32)
  return jnp.where(asked > 0, jnp.minimum(asked, spec.steps), spec.steps)


def descend(state: TrainState, grads: PyTree, hyper: Hyper, *, spec: Spec) -> TrainState:
  """The state after an AdamW step along `grads`, at the cell's own rate and decay.

  A learnt temperature or bias does not decay, since 0 is no better than another, and the former
  stays in its bounds.
  """
  updates, opt_state = optimizer(spec).update(grads, state.opt_state)
  def step(path, p, u):
    own = path[-1].key in (objective.LOG_TEMPERATURE, objective.BIAS)
    return p - hyper.learning_rate * (u + (0 if own else hyper.weight_decay) * p)
  params = jax.tree_util.tree_map_with_path(step, state.params, updates)
  return dataclasses.replace(state, step=state.step + 1, opt_state=opt_state,
                             params=objective.within_bounds(params, spec=spec))
