"""A head on the embeddings of all sides: what they say of the label together."""

from collections.abc import Sequence
import math
from typing import Any

from flax import linen as nn, traverse_util
import jax
import jax.numpy as jnp

from mmalign_jax import losses
from mmalign_jax.encoders.mlp import LEAK, Dense, fan_in
from mmalign_jax.types import Array, Key, PyTree, Spec


class Fusion(nn.Module):
  """Embeddings z of every side [B, K], rows of norm 1 -> logits [B, C], or [B] for regression.

  They are put side by side, each times sqrt(K), so that a component has mean square 1; then one
  hidden layer of spec.fusion_width with LeakyReLU(0.1), none where that is 0, and a linear layer.
  A linear head adds up what each side says; only with a hidden layer can it be more than the sum,
  as for the XOR of a bit of each side. Late fusion by concatenation, Baltrusaitis et al. (2019).
  """
  spec: Spec
  n_outputs: int

  @nn.compact
  def __call__(self, z: Sequence[Array]) -> Array:
    spec, dtype = self.spec, self.spec.compute_dtype
    h = jnp.concatenate([math.sqrt(v.shape[1]) * v for v in z], axis=1).T  # features first
    if spec.fusion_width:
      h = Dense(spec.fusion_width, dtype, LEAK, name='hidden')(h)
    prediction = Dense(self.n_outputs, dtype, name='out')(h).astype(jnp.float32)
    return prediction[0] if losses.task_of(spec.task).regression else prediction.T


def init(key: Key, module: Fusion, widths: Sequence[int]) -> PyTree:
  """Parameters of a head on embeddings of these widths K, as `mlp.fan_in` says.

  Args:
    key: of this head alone: what the sides start from does not depend on it.
    widths: of every side.

  Examples:
    >>> params = init(jax.random.key(0), Fusion(Spec(fusion_width=5), 3), (4, 6))
    >>> jax.tree.map(jnp.shape, params['params']['hidden'])
    {'bias': (5,), 'kernel': (5, 10)}
  """
  made = jax.eval_shape(
      module.init, key, [jax.ShapeDtypeStruct((2, k), jnp.float32) for k in widths])
  leaves: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(made)
  sizes = [math.prod(leaf.shape) for leaf in leaves.values()]
  noise = jax.random.uniform(key, (sum(sizes),), minval=-1.0, maxval=1.0)
  found, start = {}, 0
  for (path, leaf), size in zip(leaves.items(), sizes):
    found[path] = fan_in(path, noise[start:start + size].reshape(leaf.shape), leaves)
    start += size
  return traverse_util.unflatten_dict(found)
