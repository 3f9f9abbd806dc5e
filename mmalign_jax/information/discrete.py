"""Entropy and information of tables of probabilities, in nats: zero-safe, with gradients.

An entry of zero adds nothing, and its gradient, which is infinite, is given as that of an entry
that stays zero: 0. Corrections for the bias of counts are in `counts`.
"""

from collections.abc import Sequence

import chex
import jax.numpy as jnp

from mmalign_jax.types import Array

Axes = int | Sequence[int]


def xlogx(p: Array) -> Array:
  """p log p elementwise; 0 and of gradient 0 at p = 0."""
  some = p > 0
  return jnp.where(some, p * jnp.log(jnp.where(some, p, 1)), 0)


def entropy(p: Array, axis: Axes | None = None) -> Array:
  """H = -sum p log p [] in nats over `axis` (all axes): p of any shape, sum 1 over these axes.

  Cover and Thomas (2006), Elements of Information Theory, equation 2.1.

  Examples:
    >>> round(float(entropy(np.array([0.5, 0.25, 0.25]))), 3)
    1.04
  """
  return -jnp.sum(xlogx(p), axis=axis)


def mutual_information(p: Array, x: Axes = 0, y: Axes = -1) -> Array:
  """I(X;Y) [] in nats of a table p of any shape; axes in neither x nor y are summed out.

  Args:
    p: [...] of sum 1.
    x, y: an axis or several (which then count as one variable); of no axis in common.

  Raises:
    ValueError: an axis that p has not, or that is in both.

  Examples:
    >>> round(float(mutual_information(np.eye(2) / 2)), 3)
    0.693
  """
  return conditional_mutual_information(p, x, y, given=())


def conditional_mutual_information(p: Array, x: Axes = 0, y: Axes = -1,
                                   given: Axes = 1) -> Array:
  """I(X;Y|Z) = H(X,Z) + H(Y,Z) - H(X,Y,Z) - H(Z) [] in nats; `given` is Z, the other arguments are
  as in `mutual_information`.

  Examples:
    >>> p = np.zeros((2, 2, 2))
    >>> p[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25  # y = x1 xor x2
    >>> round(float(conditional_mutual_information(p)), 3)
    0.693
  """
  p = jnp.asarray(p)
  x, y, z = groups = [_axes(axes, p.ndim) for axes in (x, y, given)]
  used = [axis for group in groups for axis in group]
  if len(set(used)) < len(used):
    raise ValueError(f'axes {x}, {y} and {z} must have none in common')
  of = lambda *keep: entropy(_marginal(p, [axis for group in keep for axis in group]))
  return of(x, z) + of(y, z) - of(x, y, z) - of(z)


def interaction_information(p: Array) -> Array:
  """Co-information I(X1;Y) - I(X1;Y|X2) = I(X1;Y) + I(X2;Y) - I(X1,X2;Y) [] in nats, p [n1, n2, C].

  Redundancy less synergy, of every decomposition (Williams and Beer 2010, arXiv 1004.2515, which
  has it with the other sign).

  Examples:
    >>> p = np.zeros((2, 2, 2))
    >>> p[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 0.25  # y = x1 xor x2
    >>> round(float(interaction_information(p)), 3)
    -0.693
  """
  chex.assert_rank(p, 3)
  return mutual_information(p, 0, 2) - conditional_mutual_information(p, 0, 2, given=1)


def _axes(axes: Axes, rank: int) -> tuple[int, ...]:
  axes = (axes,) if isinstance(axes, int) else tuple(axes)
  for axis in axes:
    if not -rank <= axis < rank:
      raise ValueError(f'axis {axis} of a table with {rank} axes')
  return tuple(axis % rank for axis in axes)


def _marginal(p: Array, keep: Sequence[int]) -> Array:
  return jnp.sum(p, axis=tuple(axis for axis in range(p.ndim) if axis not in keep))


def three(p: Array) -> tuple[Array, Array, Array]:
  """I(X1;Y), I(X2;Y), I(X1,X2;Y) [...] in nats of tables p [..., n1, n2, C]."""
  h_y = entropy(p.sum(axis=(-3, -2)), axis=-1)
  def of(joint, sources):  # H(Y) + H(X) - H(X,Y), X the `sources` axes before the last
    axes = tuple(range(-sources, 0))
    return h_y + entropy(joint.sum(axis=-1), axes) - entropy(joint, (*(i - 1 for i in axes), -1))
  return of(p.sum(axis=-2), 1), of(p.sum(axis=-3), 1), of(p, 2)
