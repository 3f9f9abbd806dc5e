"""Batches of a training: epochs of distinct samples in a fresh order, drawn as they are needed."""

import jax
import jax.numpy as jnp

from mmalign_jax import rng
from mmalign_jax.data.sources import Source
from mmalign_jax.types import Array, Batch, Draws, Hyper, Key, Numeric, PyTree, Spec


def batches_of(draws: Draws, hyper: Hyper, tables: PyTree, t: Array, *, spec: Spec,
               source: Source) -> tuple[Batch, Batch | None]:
  """Batch t to learn the labels of, and the one to align where that is another."""
  def batch(i, valid=None):
    rows = [r[i] for r in draws.rows]
    present = None if source.present is None else source.present(tables, rows)
    return Batch(source.inputs(tables, hyper, rows), draws.y[i], valid, present=present)
  of = lambda name, n, size: batch(*some_rows(
      rng.stream(hyper.seed, name), t, n, batch_size=size))
  if draws.n_labelled is None:
    return batch(batch_rows(rng.stream(hyper.seed, 'order'), t, hyper.n_train,
                            batch_size=spec.batch_size)), None
  return (of('order', draws.n_labelled, spec.labelled_batch or spec.batch_size),
          of('order of pairs', draws.n_aligned, spec.batch_size))


def batch_rows(key: Key, t: Array, n: Numeric, *, batch_size: int) -> jax.Array:
  """Samples [B] of batch t: epochs of distinct samples in a fresh order, the ragged end dropped."""
  per_epoch = jnp.asarray(n).astype(jnp.int32) // batch_size
  epoch, place = t // per_epoch, t % per_epoch
  return rng.permute(
      jax.random.fold_in(key, epoch), place * batch_size + jnp.arange(batch_size), n)


def some_rows(key: Key, t: Array, n: Numeric, *,
              batch_size: int) -> tuple[jax.Array, Array]:
  """As `batch_rows` where there are as many samples as a batch has; else all n, filled up. Samples
  [B], and which of them are real [B] bool."""
  n = jnp.asarray(n).astype(jnp.int32)
  per_epoch = jnp.maximum(n // batch_size, 1)
  place = (t % per_epoch) * batch_size + jnp.arange(batch_size)
  rows = rng.permute(jax.random.fold_in(key, t // per_epoch), place % n, n)
  return rows, place < n
