"""The gradients of task and alignment taken apart, on every encoder: guarded, or of a length.

With t and a the gradients of an encoder's task and of the alignment that it feels, m the mean of t
over about an epoch, exponential:
guard='project': where a goes against m, <a, m> < 0, a loses its part along m (as of two tasks in Yu
et al. 2020, but for the task, which loses nothing), so that to first order alignment does not raise
the task loss of the samples. Of one batch t is mostly noise once the task is nearly learnt, and
what goes against the rest of it passes: hence m. With few labels m is that of few samples, and what
it guards is them.
lam_mode='share': a is as long as lam times t, |a| = lam |t|, so that strengths of different losses
mean the same; where labels are few t vanishes as they are learnt, and the alignment with it.
lam_mode='auto': |a| = lam max(0, cos(a, t)) |t| (Du et al. 2018): alignment is felt as far as it
also serves the task; lam is 1 where it is not to be tuned.

The guard comes first. An encoder is what the two share: the alignment's own projection, and
predictor, are scaled as its encoder is; the head has no alignment.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mmalign_jax import objective
from mmalign_jax.objective import Metrics
from mmalign_jax.types import GUARDS, LAM_MODES, Array, Batch, Hyper, Key, Numeric, PyTree, Spec


def gradient(params: PyTree, hyper: Hyper, batch: Batch, progress: Numeric, *, spec: Spec,
             n_outputs: int, axis_name: str | None = None, pairs: Batch | None = None,
             key: Key | None = None, before: PyTree = None,
             n_batches: Numeric = 1) -> tuple[PyTree, Metrics, PyTree]:
  """What `jax.grad(objective.objective)` gives, after guard and lam_mode; arguments as there.

  Args:
    before: m after the last step, as `params`; None for none, and t stands for it.
    n_batches: [] of an epoch, over which m is the mean.

  Returns:
    the gradient, with axis_name that of the whole batch on every device; the metrics; and m now,
    None where there was none.
  """
  def both(params):
    task, align, metrics = objective.parts(
        params, hyper, batch, progress, spec=spec, n_outputs=n_outputs, axis_name=axis_name,
        pairs=pairs, key=key)
    return (task, align), metrics

  (task, align), pull, metrics = jax.vjp(both, params, has_aux=True)
  one, none = jnp.ones_like(task), jnp.zeros_like(align)
  (of_task,), (of_align,) = pull((one, none)), pull((none, one))
  if axis_name is not None:  # lengths and angles are those of the whole batch
    of_task, of_align = jax.lax.pmean((of_task, of_align), axis_name)
  mean = None if before is None else jax.tree.map(
      lambda m, t: m + (t - m) / jnp.maximum(n_batches, 1), before, of_task)
  factor = objective.schedule(hyper, progress)
  for name in filter(lambda name: name.startswith('side_'), params):
    length = factor * objective.strength(hyper, int(name.removeprefix('side_')))
    of_align[name] = _felt(of_align[name], of_task[name], length, hyper,
                           (of_task if mean is None else mean)[name])
  return jax.tree.map(jnp.add, of_task, of_align), metrics, mean


def _felt(align: Any, task: Any, length: Numeric, hyper: Hyper, mean: Any) -> Any:
  """The alignment's gradient of a side, guarded against the mean task's, and of its length."""
  guard = _is(hyper.guard, GUARDS, 'project')
  share, auto = (_is(hyper.lam_mode, LAM_MODES, name) for name in ('share', 'auto'))
  a, t, m = (of['params']['encoder'] for of in (align, task, mean))
  along = _ratio(jnp.minimum(_dot(a, m), 0), _dot(m, m))  # 0 where they agree
  a = jax.tree.map(lambda a, m: a - jnp.where(guard, along, 0) * m, a, m)
  own, of_task = jnp.sqrt(_dot(a, a)), jnp.sqrt(_dot(t, t))
  cosine = jnp.maximum(_ratio(_dot(a, t), own * of_task), 0)
  scale = jnp.where(share | auto, _ratio(length * of_task, own) * jnp.where(auto, cosine, 1), 1)
  felt = {**align['params'], 'encoder': a}
  return {**align, 'params': jax.tree.map(lambda leaf: scale * leaf, felt)}


def _is(value: Numeric | None, known: tuple[str, ...], name: str) -> Array:
  index = 0 if value is None else value
  return jnp.asarray(index).astype(jnp.int32) == known.index(name)


def _dot(a: PyTree, b: PyTree) -> Array:
  return jnp.asarray(optax.tree.vdot(a, b))


def _ratio(a: Array, b: Array) -> Array:
  """a / b, 0 where b is 0."""
  return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
