"""Objectives that keep what single sides know: of shared and own parts, of copies, fused or not."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mmalign_jax.losses.batch import gather, kept, where_valid
from mmalign_jax.losses.contrastive import info_nce
from mmalign_jax.types import Array, Batch, Numeric, Outputs


def factorised(one: Outputs, two: Outputs, *, temperature: Numeric, noise: float = 0.3,
               masked: float = 0.1, axis_name: str | None = None,
               valid: Array | None = None) -> Array:
  """Shared and unique information apart, after FactorCL (Liang et al. 2023, arXiv 2306.05268).

  An embedding has two halves. The first is shared: InfoNCE with that of the other side. The second
  is the side's own: InfoNCE of two augmented copies keeps what the side says, and an upper bound of
  what it shares with the other's (InfoNCE-CLUB: mean logit of partners minus that of all pairs) is
  to be small. Without labels, and with one critic, the cosine, where the paper learns several.

  Args:
    one, two: of both sides; raw and noisy [B, K], K at least 2.
    temperature: [] positive.
    noise, masked: [] of the copies (`augment.copy`).
    axis_name, valid: as in `contrastive.info_nce`.

  Returns:
    [B] nats, of any sign.

  Raises:
    ValueError: K is 1.

  Examples:
    >>> z = np.array([[1, 0, 1, 0], [0, 1, 0, 1]], np.float32)
    >>> side = Outputs(layers=(z,), z=z, raw=z, prediction=z, noisy=(z, z))
    >>> [round(float(v), 3) for v in factorised(side, side, temperature=1.0)]
    [1.127, 1.127]
  """
  del noise, masked  # the copies are made already
  options = {'temperature': temperature, 'axis_name': axis_name, 'valid': valid}
  half = one.raw.shape[1] // 2
  if not half:
    raise ValueError('factorised splits an embedding in two; projection_width is 1')
  shared = info_nce(unit(one.raw[:, :half]), unit(two.raw[:, :half]), **options)
  own = jnp.zeros_like(shared)
  for side in (one, two):
    assert side.noisy is not None
    own += 0.5 * info_nce(*(unit(z[:, half:]) for z in side.noisy), **options)
  return shared + own + _club(unit(one.raw[:, half:]), unit(two.raw[:, half:]), **options)


def _club(z1: Array, z2: Array, temperature: Numeric, axis_name: str | None,
          valid: Array | None) -> Array:
  """Logit of the partner minus the mean of both directions' over all real pairs [B]."""
  z1, z2 = kept(valid, z1, z2 / temperature)
  real = jnp.ones(len(z1)) if valid is None else valid.astype(z1.dtype)
  weight = gather(real, axis_name)
  weight = weight / jnp.maximum(jnp.sum(weight), 1)
  means = [jnp.sum(weight[:, None] * gather(z, axis_name), axis=0, keepdims=True)
           for z in (z1, z2)]
  mixed = 0.5 * (jnp.sum(z1 * means[1], axis=1) + jnp.sum(means[0] * z2, axis=1))
  return where_valid(valid, jnp.sum(z1 * z2, axis=1) - mixed)


def comm(outputs: Sequence[Outputs], batch: Batch, *, temperature: Numeric, noise: float = 0.3,
         masked: float = 0.1, axis_name: str | None = None) -> Array:
  """Fused augmented copies told apart, after CoMM (Dufumier et al. 2024, arXiv 2409.07402).

  InfoNCE of two fused embeddings, each of augmented copies of all sides, + of every single side
  with either of them, halved: what only one side says, and what they say together, has to stay in
  the fused ones. Fused is the sum of unit embeddings, where the paper has a transformer.

  Args:
    outputs: of all sides; z and noisy [B, K].
    batch: its `valid` says which samples are real.
    temperature: [] positive.
    noise, masked: [] of the copies (`augment.copy`).
    axis_name: as in `contrastive.info_nce`.

  Returns:
    [B] nats, at least 0.

  Examples:
    >>> z = np.eye(2, dtype=np.float32)
    >>> side = Outputs(layers=(z,), z=z, raw=z, prediction=z, noisy=(z, z))
    >>> [round(float(v), 3) for v in comm([side, side], Batch((), z[0]), temperature=1.0)]
    [0.94, 0.94]
  """
  del noise, masked
  options = {'temperature': temperature, 'axis_name': axis_name, 'valid': batch.valid}
  copies = []
  for which in (0, 1):
    of_sides = [unit(out.noisy[which]) for out in outputs if out.noisy is not None]
    copies.append(unit(sum(of_sides, jnp.zeros_like(of_sides[0]))))
  values = info_nce(copies[0], copies[1], **options)
  for out in outputs:
    values += 0.5 * sum(info_nce(out.z, copy, **options) for copy in copies)
  return values


def intra_modal(outputs: Sequence[Outputs], batch: Batch, *, temperature: Numeric,
                noise: float = 0.3, masked: float = 0.1, axis_name: str | None = None) -> Array:
  """Augmented copies of each side told apart, each side by itself: `comm` of single sides, summed.

  No alignment, but what the terms of an alignment that are within a side are to be compared with
  (instance discrimination, as SimCLR has it: Chen et al. 2020, arXiv 2002.05709). What an encoder
  learns depends on no other side, but that a sample which lacks one is left out, as of `comm`.

  Args:
    outputs, batch, temperature, noise, masked, axis_name: as of `comm`.

  Returns:
    [B] nats, at least 0.

  Examples:
    >>> z = np.eye(2, dtype=np.float32)
    >>> side = Outputs(layers=(z,), z=z, raw=z, prediction=z, noisy=(z, z))
    >>> of = lambda *sides: intra_modal(sides, Batch((), z[0]), temperature=1.0)
    >>> [round(float(v), 3) for v in (*of(side), *of(side, side))]
    [0.627, 0.627, 1.253, 1.253]
  """
  options: Any = {'temperature': temperature, 'noise': noise, 'masked': masked,
                  'axis_name': axis_name}
  values = [comm([out], batch, **options) for out in outputs]
  return sum(values[1:], values[0])


def unit(z: Array) -> Array:
  """Rows [B, K] of norm 1; 0 stays 0."""
  return z * jax.lax.rsqrt(jnp.sum(jnp.square(z), axis=1, keepdims=True) + 1e-12)
