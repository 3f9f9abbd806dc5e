"""Small nets on small data: parameters, the forward pass, early stopping and calibration.

Plain functions of a tuple of layers. Inside, features come first (weights [out, in], batch last),
which is markedly faster on a CPU for a vmapped ensemble; arrays cross the border batch-first.
"""

from collections.abc import Callable, Sequence
import math

import chex
import jax
import jax.numpy as jnp
import optax

from mmalign_jax import rng
from mmalign_jax.types import Array, Key, Numeric, PyTree

Layers = tuple[tuple[Array, Array], ...]  # (weight [out, in], bias [out]) of each layer
STEEPEST = 4.0  # largest scale of a calibration: logits of few rows would grow for ever
HALVINGS = 24


def init(key: Key, sizes: Sequence[int], last: float = 1.0) -> Layers:
  """Weights and biases uniform within 1 / sqrt(fan in); those of the last layer times `last`.

  All are cut from one draw, since each draw of its own adds a third of a second to the compilation.
  """
  shapes = [(out, into + 1) for into, out in zip(sizes[:-1], sizes[1:])]
  noise = jax.random.uniform(key, (sum(map(math.prod, shapes)),), minval=-1.0, maxval=1.0)
  layers, start = [], 0
  for i, (out, into) in enumerate(shapes):
    most = (last if i == len(shapes) - 1 else 1.0) / math.sqrt(into - 1)
    layer = most * noise[start:start + out * into].reshape(out, into)
    layers.append((layer[:, 1:], layer[:, 0]))
    start += out * into
  return tuple(layers)


def apply(layers: Layers, x: Array) -> Array:
  """x [B, in] -> [B, out], with LeakyReLU(0.1) between layers."""
  chex.assert_rank(x, 2)
  h = x.T
  for i, (weight, bias) in enumerate(layers):
    h = jnp.dot(weight, h if i == 0 else jax.nn.leaky_relu(h, 0.1), precision='highest')
    h = h + bias[:, None]
  return h.T


def minibatch(key: Key, step: Array, size: int, n: int) -> Array:
  """Rows [size] i32 of step `step`: all of range(n) in a new order in each epoch, no row twice."""
  epoch, position = step // (n // size), step % (n // size)
  return rng.permute(jax.random.fold_in(key, epoch), position * size + jnp.arange(size), n)


def fit(loss: Callable[[PyTree, Array], Array],
        validate: Callable[[PyTree], Sequence[Array]], params: tuple[PyTree, ...], *,
        steps: int, checks: int, learning_rate: float, weight_decay: float) -> tuple[PyTree, ...]:
  """The best parameters, part by part, that AdamW with a cosine schedule passes through.

  Args:
    loss: of all parts and the step [] i32; a sum over parts trains each as if it were alone.
    validate: the value [] of each part, the less the better; NaN never wins.
    params: the parts.
    steps, checks: `validate` is asked at the start and after each of `checks` equal stretches of
      steps // checks steps.
    learning_rate, weight_decay: of AdamW.

  Returns:
    The parts as they were at the check where each was best.
  """
  every = max(1, steps // checks)
  tx = optax.adamw(optax.cosine_decay_schedule(learning_rate, every * checks),
                   weight_decay=weight_decay)

  def step(i, training):
    params, state = training
    slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), jax.grad(loss)(params, i))
    updates, state = tx.update(slope, state, params)
    return optax.apply_updates(params, updates), state

  def stretch(i, carry):
    training, best, least = carry
    values = validate(training[0])
    better = [value < old for value, old in zip(values, least)]
    keep = lambda better, new, old: jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)
    best = tuple(map(keep, better, training[0], best))
    end = jnp.where(i < checks, (i + 1) * every, 0)  # nothing follows the last check
    training = jax.lax.fori_loop(i * every, end, step, training)
    return training, best, tuple(map(keep, better, values, least))

  start = ((params, tx.init(params)), params, (jnp.inf,) * len(params))
  return jax.lax.fori_loop(0, checks + 1, stretch, start)[1]


def log_posterior(prior: Array, scale: Numeric, gain: Array) -> Array:
  """log p(y|x) [B, C] of p proportional to prior [C] exp(scale [] gain [B, C])."""
  return jax.nn.log_softmax(jnp.log(prior)[None] + scale * gain)


def cross_entropy(log_p: Array, y: Array) -> Array:
  """-log p(y) [B] in nats of log_p [B, C], y [B] i32."""
  return -jnp.take_along_axis(log_p, y[:, None], axis=-1)[:, 0]


def calibrated(prior: Array, gain: Array, y: Array) -> Array:
  """The scale [] in 0..STEEPEST (one over a temperature) of least cross-entropy on given rows.

  Guo, Pleiss, Sun and Weinberger (2017, arXiv 1706.04599), with the prior left out of the scaling:
  a net that has learnt nothing gets 0, which is the prior and no information at all. The
  cross-entropy is convex in the scale, so its slope is bisected.

  Args:
    prior: [C] frequencies of the classes, all above 0.
    gain: [B, C] what the net adds to log prior.
    y: [B] i32.
  """
  chex.assert_rank([prior, gain, y], [1, 2, 1])
  slope = jax.grad(lambda scale: cross_entropy(log_posterior(prior, scale, gain), y).mean())
  def halve(_, ends):
    low, high = ends
    middle = (low + high) / 2
    falling = slope(middle) < 0
    return jnp.where(falling, middle, low), jnp.where(falling, high, middle)
  ends = (jnp.zeros((), gain.dtype), jnp.full((), STEEPEST, gain.dtype))
  return jax.lax.fori_loop(0, HALVINGS, halve, ends)[0]
