"""sum of task_i + lam * align: the only place where the strength of alignment enters."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp

from mmalign_jax import losses, struct
from mmalign_jax.encoders import fusion, sides
from mmalign_jax.losses import augment
from mmalign_jax.types import Array, Batch, Hyper, Key, Numeric, Outputs, PyTree, Shape, Spec

LOG_TEMPERATURE, BIAS = 'log_temperature', 'loss_bias'  # their names among the parameters
FUSION = 'fusion'  # that of the head on all embeddings


@struct.dataclass
class Metrics:
  """Means over the batch []: the total, the task loss of every side, and the unweighted alignment
  loss; Euclidean norms [] of the gradient before it is clipped, and of the parameters
  (`train_step`); and the task loss of the head on all sides, where there is one."""
  loss: Array
  task: tuple[Array, ...]
  align: Array
  grad_norm: Array | None = None
  param_norm: Array | None = None
  fused: Array | None = None


def modules(spec: Spec, n_outputs: int, n_sides: int = 2) -> tuple[sides.Side, ...]:
  """The modules of a Spec; n_outputs is C, or 1 for regression."""
  return tuple(sides.Side(spec.of_side(i + 1), n_outputs) for i in range(n_sides))


def init(key: Key, hyper: Hyper, *shapes: Shape, spec: Spec, n_outputs: int) -> PyTree:
  """Parameters of all sides, of temperature and bias where they are learnt, and of the head on all
  sides where there is one; shapes: of one sample of every side."""
  of_sides = modules(spec, n_outputs, len(shapes))
  params = sides.init(key, of_sides, *shapes)
  if spec.learnable_temperature:
    params[LOG_TEMPERATURE] = jnp.log(jnp.asarray(hyper.temperature, jnp.float32))
  if spec.learnable_bias and spec.loss:
    start = hyper.own.get(BIAS, losses.loss_of(spec.loss).settings['bias'])
    params[BIAS] = jnp.asarray(start, jnp.float32)
  if spec.fusion != 'none':
    widths = [jax.eval_shape(module.init_with_output, key, sides.example(shape))[0].z.shape[1]
              for module, shape in zip(of_sides, shapes)]
    params[FUSION] = fusion.init(
        jax.random.fold_in(key, 0), fusion.Fusion(spec, n_outputs), widths)  # the sides': from 1
  return params


def outputs(module: sides.Side, params: PyTree, x: PyTree) -> Outputs:
  """What a side makes of x [B, ...]."""
  # Flax types `apply` as for a call with `mutable`, which returns a pair.
  return module.apply(params, x)  # pyright: ignore[reportReturnType]


def fused(params: PyTree, z: Sequence[Array], *, spec: Spec, n_outputs: int) -> Array:
  """What the head on all sides makes of their embeddings z, of every side [B, K]: logits [B, C], or
  [B] for regression. params: those of all."""
  # as above
  return fusion.Fusion(spec, n_outputs).apply(params[FUSION], z)  # pyright: ignore[reportReturnType]


def schedule(hyper: Hyper, progress: Numeric) -> Array:
  """Factor [] of all strengths at `progress` in 0..1 of training.

  Schedules: constant; warmup, linear from 0 over the first tenth; cosine, from the full strength
  down to 0.
  """
  return jnp.stack([
      jnp.ones_like(progress), jnp.minimum(10 * progress, 1),
      0.5 * (1 + jnp.cos(math.pi * progress))])[jnp.asarray(hyper.schedule).astype(jnp.int32)]


def strength(hyper: Hyper, side: int, other: int | None = None) -> Numeric:
  """What encoder `side` feels of its alignment with `other` (of all where None), sides from 1: that
  of the pair if there is one, else its own, else `lam`."""
  names = ['lam_{}_{}'.format(*sorted((side, other)))] if other else []
  return next((hyper.own[name] for name in (*names, f'lam_{side}') if name in hyper.own), hyper.lam)


def objective(params: PyTree, hyper: Hyper, batch: Batch, progress: Numeric, *, spec: Spec,
              n_outputs: int, axis_name: str | None = None, pairs: Batch | None = None,
              key: Key | None = None) -> tuple[Array, Metrics]:
  """The loss [] of a batch and its parts.

  With one strength this is sum_i task_i + lam * align, where align is the mean over pairs of sides
  of a loss of two embeddings, or a loss of all sides at once. With strengths of their own encoder
  i, with its projection, feels lam_i * align, as in lam_1 * align(z1, stop_gradient(z2)) + lam_2 *
  align(stop_gradient(z1), z2), and a learnt temperature, which belongs to both, feels their mean.
  key: of what is random in a loss, as augmented copies are. With axis_name the batch is one
  device's part, and negatives are those of all devices. The means
  are over the real samples of the batch; with axis_name, a device whose part has fewer of them
  weighs less, so that the mean over devices is that over the real samples of all. With `pairs` the
  labels of the batch are learnt and those are aligned. A sample without a side is left out of the
  task loss of that side, and of the alignment with it, and of nothing else. With spec.fusion the
  task loss of the head on all sides is added, of the samples that have all; where it is 'frozen'
  its gradient reaches the head alone.

  `Hyper.guard` and `Hyper.lam_mode` are not of this loss, but of its gradient: `training.apart`.
  """
  metrics = parts(params, hyper, batch, progress, spec=spec, n_outputs=n_outputs,
                  axis_name=axis_name, pairs=pairs, key=key)[2]
  return metrics.loss, metrics


def parts(params: PyTree, hyper: Hyper, batch: Batch, progress: Numeric, *, spec: Spec,
          n_outputs: int, axis_name: str | None = None, pairs: Batch | None = None,
          key: Key | None = None) -> tuple[Array, Array, Metrics]:
  """The task losses [] of all sides and of the head on them, the alignment [] whose gradient is
  what its strengths make of it, and the metrics; see `objective`."""
  of_sides = lambda x: [outputs(module, params[f'side_{i}'], v) for i, (module, v) in enumerate(
      zip(modules(spec, n_outputs, len(x)), x), start=1)]
  outs = of_sides(batch.x)
  task = losses.task_of(spec.task)
  tasks = tuple(
      _mean(task(out.prediction, batch.y), valid=real(batch, i), axis_name=axis_name)
      for i, out in enumerate(outs, start=1))
  aligned, seen = (batch, outs) if pairs is None else (pairs, of_sides(pairs.x))
  if spec.loss and losses.loss_of(spec.loss).augments:
    seen = _with_copies(seen, of_sides, aligned, hyper, key, spec=spec, axis_name=axis_name)
  align, weighted = alignment(
      seen, hyper, aligned, schedule(hyper, progress), temperature(params, hyper, spec=spec),
      spec=spec, axis_name=axis_name, bias=params.get(BIAS))
  # The strengths act on the gradient of `align`, so the value is added without scaling it again.
  loss = sum(tasks) + weighted + align - jax.lax.stop_gradient(align)
  if spec.fusion == 'none':
    return sum(tasks, jnp.float32(0)), align, Metrics(loss, tasks, align)
  z = [out.z if spec.fusion == 'trained' else jax.lax.stop_gradient(out.z) for out in outs]
  together = _mean(
      task(fused(params, z, spec=spec, n_outputs=n_outputs), batch.y),
      valid=real(batch, *range(1, len(outs) + 1)), axis_name=axis_name)
  return sum(tasks, together), align, Metrics(loss + together, tasks, align, fused=together)


def _with_copies(outs: Sequence[Outputs], of_sides: Callable, batch: Batch, hyper: Hyper,
                 key: Key | None, *, spec: Spec, axis_name: str | None) -> list[Outputs]:
  """Outputs with those of two augmented copies of the batch."""
  own = losses.loss_of(spec.loss).settings | losses.own_settings(hyper.own)
  key = jax.random.key(0) if key is None else key
  copies = lambda which: [
      augment.copy(x, jax.random.fold_in(key, 2 * side + which), noise=own['noise'],
                   masked=own['masked'], components=hyper.components, axis_name=axis_name)
      for side, x in enumerate(batch.x)]
  noisy = [of_sides(copies(which)) for which in (0, 1)]
  return [dataclasses.replace(out, noisy=(a.raw, b.raw)) for out, a, b in zip(outs, *noisy)]


def alignment(outs: Sequence[Outputs], hyper: Hyper, batch: Batch, factor: Array,
              temperature: Array, *, spec: Spec, axis_name: str | None,
              bias: Array | None = None) -> tuple[Array, Array]:
  """The alignment loss [] of all sides, whose gradient its strengths have scaled, and its value []
  times the strengths, without a gradient.

  Raises:
    ValueError: embeddings of different widths, or a loss that cannot take the batch.
  """
  if not spec.loss:
    return jnp.zeros(()), jnp.zeros(())
  row = losses.loss_of(spec.loss)
  settings = losses.own_settings(hyper.own)
  numbers = range(1, len(outs) + 1)
  groups = list(itertools.combinations(numbers, 2)) if row.of_pairs else [tuple(numbers)]
  widths = {out.z.shape[1] for out in outs}
  if row.of_pairs and len(widths) > 1:
    raise ValueError(f'projection={spec.projection!r} leaves embeddings of different widths: '
                     f'{" and ".join(str(out.z.shape[1]) for out in outs)}')
  aligns, weights = [], []
  for group in groups:
    felt = [factor * strength(hyper, i, *(j for j in group if row.of_pairs and j != i))
            for i in group]
    felt_mean = _average(felt)
    own = dataclasses.replace(batch, valid=real(batch, *group))
    if bias is not None:
      settings[BIAS.removeprefix('loss_')] = scale_gradient(bias, felt_mean)
    values = row(
        [scale_gradient(outs[i - 1], lam) for i, lam in zip(group, felt)], own,
        temperature=scale_gradient(temperature, felt_mean), axis_name=axis_name, own=settings)
    aligns.append(_mean(values, valid=own.valid, axis_name=axis_name) if values.ndim else values)
    weights.append(felt_mean)
  if not groups:  # one side has nothing to be aligned with
    return jnp.zeros(()), jnp.zeros(())
  weighted = [w * jax.lax.stop_gradient(a) for w, a in zip(weights, aligns)]
  return _average(aligns), _average(weighted)


def real(batch: Batch, *of: int) -> Array | None:
  """[B] bool: samples that are no filling and have the sides `of`, from 1; None for all."""
  masks = [] if batch.valid is None else [batch.valid]
  if batch.present is not None:
    masks += [batch.present[i - 1] for i in of]
  return functools.reduce(jnp.logical_and, masks) if masks else None


def _average(values: Sequence[Array]) -> Array:
  return sum(values, jnp.float32(0)) / len(values)


def _mean(values: Array, *, valid: Array | None, axis_name: str | None) -> Array:
  """Mean [] of values [B] over the valid; its pmean over axis_name is theirs over all devices."""
  if valid is None:
    return jnp.mean(values)
  share = jnp.mean(valid.astype(values.dtype))
  if axis_name is not None:
    share = jax.lax.pmean(share, axis_name)
  # Without any valid sample, as where all lack a side, the mean is 0 and so is its gradient.
  return jnp.mean(jnp.where(valid, values, 0)) / jnp.where(share > 0, share, 1)


def temperature(params: PyTree, hyper: Hyper, *, spec: Spec) -> Array:
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
def scale_gradient(x: Array, factor: Numeric) -> Array:
  """x itself; the gradient that flows back through it is multiplied by `factor` []."""
  del factor
  return x


scale_gradient.defvjp(
    lambda x, factor: (x, factor),
    lambda factor, g: (jax.tree.map(lambda leaf: factor * leaf, g), jnp.zeros_like(factor)))
