"""task_1 + task_2 + lam * align: the only place where the strength of alignment enters."""

import functools
import math

import chex
from flax import struct
import jax
import jax.numpy as jnp

from mmalign_jax import losses
from mmalign_jax.encoders import sides
from mmalign_jax.types import Batch, Hyper, Key, PyTree, Shape, Spec


LOG_TEMPERATURE = 'log_temperature'  # its name among the parameters


@struct.dataclass
class Metrics:
  """Means over the batch []: the total, both task losses, and the unweighted alignment loss; and
  Euclidean norms [] of the gradient before it is clipped, and of the parameters (`train_step`)."""
  loss: chex.Array
  task_1: chex.Array
  task_2: chex.Array
  align: chex.Array
  grad_norm: chex.Array | None = None
  param_norm: chex.Array | None = None


def modules(spec: Spec, n_outputs: int) -> tuple[sides.Side, sides.Side]:
  """The two modules of a Spec; n_outputs is C, or 1 for regression."""
  return sides.Side(spec.of_side(1), n_outputs), sides.Side(spec.of_side(2), n_outputs)


def init(key: Key, hyper: Hyper, x1_shape: Shape, x2_shape: Shape, *, spec: Spec,
         n_outputs: int) -> PyTree:
  """Parameters of both sides, and of the temperature where it is learnt; shapes of one sample."""
  params = sides.init(key, modules(spec, n_outputs), x1_shape, x2_shape)
  if spec.learnable_temperature:
    params[LOG_TEMPERATURE] = jnp.log(jnp.asarray(hyper.temperature, jnp.float32))
  return params


def strengths(hyper: Hyper, progress: chex.Numeric) -> tuple[chex.Array, chex.Array]:
  """Strength felt by encoder 1 and by encoder 2, at `progress` in 0..1 of training.

  Schedules: constant; warmup, linear from 0 over the first tenth; cosine, from the full strength
  down to 0.
  """
  factor = jnp.stack([
      jnp.ones_like(progress), jnp.minimum(10 * progress, 1),
      0.5 * (1 + jnp.cos(math.pi * progress))])[jnp.asarray(hyper.schedule).astype(jnp.int32)]
  own = lambda lam: factor * (hyper.lam if lam is None else lam)
  return own(hyper.lam_1), own(hyper.lam_2)


def objective(params: PyTree, hyper: Hyper, batch: Batch, progress: chex.Numeric, *, spec: Spec,
              n_outputs: int, axis_name: str | None = None) -> tuple[chex.Array, Metrics]:
  """The loss [] of a batch and its parts.

  With lam_1 = lam_2 = lam this is task_1 + task_2 + lam * align. Otherwise encoder i, with its
  projection, feels lam_i * align, as in lam_1 * align(z1, stop_gradient(z2)) + lam_2 *
  align(stop_gradient(z1), z2), and a learnt temperature, which belongs to both, feels their mean.
  With axis_name the batch is one device's part, and negatives are those of all devices. The means
  are over the real samples of the batch; with axis_name, a device whose part has fewer of them
  weighs less, so that the mean over devices is that over the real samples of all.
  """
  module_1, module_2 = modules(spec, n_outputs)
  out_1 = module_1.apply(params['side_1'], batch.x1)
  out_2 = module_2.apply(params['side_2'], batch.x2)
  if out_1.z.shape != out_2.z.shape:
    raise ValueError(f'projection={spec.projection!r} leaves embeddings of different widths: '
                     f'{out_1.z.shape[1]} and {out_2.z.shape[1]}')
  task = losses.task_of(spec.task)
  mean = functools.partial(_mean, valid=batch.valid, axis_name=axis_name)
  task_1 = mean(task(out_1.prediction, batch.y))
  task_2 = mean(task(out_2.prediction, batch.y))
  lam_1, lam_2 = strengths(hyper, progress)
  align = mean(losses.contrastive(
      spec.loss, scale_gradient(out_1.z, lam_1), scale_gradient(out_2.z, lam_2),
      temperature=scale_gradient(temperature(params, hyper, spec=spec), (lam_1 + lam_2) / 2),
      axis_name=axis_name, valid=batch.valid))
  # The strengths act on the gradient above, so the value is added without scaling it again.
  weighted = (lam_1 + lam_2) / 2 * jax.lax.stop_gradient(align)
  loss = task_1 + task_2 + weighted + align - jax.lax.stop_gradient(align)
  return loss, Metrics(loss, task_1, task_2, align)


def _mean(values: chex.Array, *, valid: chex.Array | None,
          axis_name: str | None) -> chex.Array:
  """Mean [] of values [B] over the valid; its pmean over axis_name is theirs over all devices."""
  if valid is None:
    return jnp.mean(values)
  share = jnp.mean(valid.astype(values.dtype))
  if axis_name is not None:
    share = jax.lax.pmean(share, axis_name)
  return jnp.mean(jnp.where(valid, values, 0)) / share


def temperature(params: PyTree, hyper: Hyper, *, spec: Spec) -> chex.Array:
  """Temperature [] of the contrastive loss: fixed, or learnt and clamped to the Spec's bounds.

  The gradient passes through the clamp: one that starts at a bound, or beyond it, can leave.
  """
  if not spec.learnable_temperature:
    return jnp.asarray(hyper.temperature, jnp.float32)
  learnt = jnp.exp(params[LOG_TEMPERATURE])
  clamped = jnp.clip(learnt, spec.min_temperature, spec.max_temperature)
  return learnt + jax.lax.stop_gradient(clamped - learnt)


def within_bounds(params: PyTree, *, spec: Spec) -> PyTree:
  """The parameters with a learnt temperature put back between the Spec's bounds."""
  if LOG_TEMPERATURE not in params:
    return params
  low, high = jnp.log(jnp.asarray([spec.min_temperature, spec.max_temperature], jnp.float32))
  return {**params, LOG_TEMPERATURE: jnp.clip(params[LOG_TEMPERATURE], low, high)}


@jax.custom_vjp
def scale_gradient(x: chex.Array, factor: chex.Numeric) -> chex.Array:
  """x itself; the gradient that flows back through it is multiplied by `factor` []."""
  del factor
  return x


scale_gradient.defvjp(
    lambda x, factor: (x, factor),
    lambda factor, g: (jax.tree.map(lambda leaf: factor * leaf, g), jnp.zeros_like(factor)))
