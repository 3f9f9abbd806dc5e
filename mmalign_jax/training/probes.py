"""What linear probes read from each layer of a trained encoder: retention of every factor."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import struct
from mmalign_jax.data.sources import Source
from mmalign_jax.similarity import probe
from mmalign_jax.types import Array, Factor, Hyper, Outputs, PyTree

N_FIT = 2048  # samples that probes are fitted to, drawn anew: alike for all strengths of a seed


@struct.dataclass
class Retention:
  """Of one encoder, L layers and G factors: accuracy [L, G], balanced, of a probe of each bit of a
  factor, their mean; chance [G] of it. NaN where the factor has no bits in this cell."""
  accuracy: Array
  chance: Array


def retention(fitted: Sequence[Array], judged: Sequence[Array], samples: Sequence[Factor],
              exact: Sequence[Factor]) -> Retention:
  """Fits a probe of every bit to every layer, and judges it on the whole space of inputs.

  Args:
    fitted: layers [N, D] of the samples; judged: [M, D] of all inputs.
    samples, exact: the factors of either, in the same order.

  Examples:
    >>> bit = jnp.array([[0.], [1.], [0.], [1.]])
    >>> group = (Factor(bit, jnp.array([True]), 'bit'), Factor(bit, jnp.array([False]), 'none'))
    >>> retention([bit, 0 * bit], [bit, 0 * bit], group, group).accuracy.tolist()
    [[1.0, nan], [0.5, nan]]
  """
  bits, p = (jnp.concatenate([factor.p for factor in of], axis=1) for of in (samples, exact))
  read = lambda x, every: probe.balanced_accuracy(probe.decide(probe.fit(x, bits), every), p)
  told = jnp.zeros((len(fitted), p.shape[1]))  # [L, K]
  for width in {x.shape[1] for x in fitted}:  # layers of one width together: one program for all
    at = np.array([i for i, x in enumerate(fitted) if x.shape[1] == width])
    told = told.at[at].set(jax.vmap(read)(*(jnp.stack([of[i] for i in at])
                                            for of in (fitted, judged))))
  of = np.repeat(np.arange(len(exact)), [factor.p.shape[1] for factor in exact])
  held = jnp.concatenate([factor.held for factor in exact])
  member = (of[None] == np.arange(len(exact))[:, None]) & (held & jnp.isfinite(told[0]))[None]
  member = member.astype(jnp.float32)  # [G, K]: of each factor, the bits that it has and that vary
  count = jnp.sum(member, axis=1)  # [G]
  mean = jnp.dot(jnp.nan_to_num(told), member.T, precision='highest') / jnp.maximum(count, 1)[None]
  return Retention(jnp.where(count[None] > 0, mean, jnp.nan), jnp.where(count > 0, 0.5, jnp.nan))


def layers(out: Outputs) -> tuple[Array, ...]:
  """What is probed of a side: every hidden layer, then the embedding.

  Args:
    out: of one side; a layer of several axes is flattened.

  Examples:
    >>> out = Outputs((jnp.ones((2, 3, 4)),), z=jnp.ones((2, 5)), raw=None, prediction=None)
    >>> [layer.shape for layer in layers(out)]
    [(2, 12), (2, 5)]
  """
  return tuple(x.reshape(x.shape[0], -1) for x in (*out.layers, out.z))


def layer_names(n_layers: int) -> tuple[str, ...]:
  """Names of what `layers` gives.

  Args:
    n_layers: how many, the embedding among them.

  Examples:
    >>> layer_names(3)
    ('hidden_1', 'hidden_2', 'z')
  """
  return (*(f'hidden_{i + 1}' for i in range(n_layers - 1)), 'z')


def factor_names(source: Source, tables: PyTree, side: int) -> tuple[str, ...]:
  """Names of the factors of a side, in their order; nothing is computed.

  Args:
    source: with factors. tables: its constants. side: from 1.

  Examples:
    >>> from mmalign_jax.data.sources import SOURCES
    >>> from mmalign_jax.types import Spec
    >>> factor_names(SOURCES['bits'], SOURCES['bits'].tables(Spec()), 1)[:2]
    ('shared', 'unique')
  """
  of = source.factors
  assert of is not None  # as `checks.check_probes` says
  found = jax.eval_shape(lambda t: of(t, Hyper(), side, None), tables)
  return tuple(factor.name for factor in found)
