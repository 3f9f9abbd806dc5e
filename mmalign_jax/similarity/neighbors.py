"""Agreement of nearest neighbours between two representations of the same samples."""

import chex
import jax
import jax.numpy as jnp


def mutual_knn(x: chex.Array, y: chex.Array, *, k: int = 10) -> chex.Array:
  """Mean share of the k nearest neighbours that two representations have in common.

  Huh et al. (2024), arXiv 2405.07987. Neighbours by cosine, the sample itself left out, ties to the
  lower index. [] in 0..1; k / (N - 1) by chance.

  Args:
    x: [N, D1], y: [N, D2] representations of the same samples.
    k: below N.

  Raises:
    ValueError: where k is not in 1..N-1.
  """
  chex.assert_rank([x, y], 2)
  chex.assert_equal_shape_prefix([x, y], 1)
  n = x.shape[0]
  if not 1 <= k < n:
    raise ValueError(f'k={k} neighbours need 1 <= k < N, and N={n}')
  return jnp.mean(_is_neighbor(x, k) & _is_neighbor(y, k)) * (n / k)


def _is_neighbor(x: chex.Array, k: int) -> chex.Array:
  """[N, N] bool: column j is among the k nearest of row i."""
  n = x.shape[0]
  x = x * jax.lax.rsqrt(jnp.sum(x * x, axis=1, keepdims=True) + 1e-12)
  similar = jnp.where(jnp.eye(n, dtype=bool), -jnp.inf, jnp.dot(x, x.T, precision='highest'))
  _, nearest = jax.lax.top_k(similar, k)
  return jnp.zeros((n, n), bool).at[jnp.arange(n)[:, None], nearest].set(True)
