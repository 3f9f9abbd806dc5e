"""Contrastive losses whose memory grows with the batch, not with its square.

The logits of B pairs are a [B, B] matrix; here they exist only as stripes of at most `block_size`
rows. The forward pass keeps sums over rows and columns, and the backward pass computes each stripe
again (as in Dao et al. 2022 for attention, and Gao et al. 2021 for contrastive training). Both are
exact: nothing is sampled or approximated. Derivatives are reverse mode only, and of first order.
"""

import functools

import jax
from jax import lax
import jax.numpy as jnp

from mmalign_jax import struct
from mmalign_jax.losses import contrastive, log_sums
from mmalign_jax.losses.batch import ABSENT, dot, gather, kept, own_columns, where_valid
from mmalign_jax.losses.stripes import cut, gradients, joined, varying
from mmalign_jax.types import Array, Numeric

BLOCK_SIZE = 256
COLUMNS = 16384  # of a stripe at a time: 16 MiB


def streaming_info_nce(z1: Array, z2: Array, *, temperature: Numeric,
                       block_size: int | None = None, axis_name: str | None = None,
                       valid: Array | None = None) -> Array:
  """`contrastive.info_nce` without its matrix of logits: same values, same gradients.

  Across devices only z2 travels. Each device sees its rows of the logits whole and its columns in
  part; the partial sums of the columns are exchanged, N floats a device.

  Args:
    z1, z2: [B, K] embeddings of the same samples, of one device where axis_name is given.
    temperature: [] positive.
    block_size: rows of logits that exist at a time; memory beyond the embeddings is
      O(block_size * N) for N samples on all devices. None for 256, and for the whole matrix where
      that is no larger than such a stripe may be, 16 MiB (N = 2,048).
    axis_name: of the mapped axis (pmap, vmap, shard_map) over which the batch is spread.
    valid: [B] bool, the samples that are real; None for all. The others are filling, as at the end
      of an epoch: they are no negatives, and their values are 0.

  Returns:
    [B] nats.

  Raises:
    ValueError: z1 and z2 are not two [B, K] of one shape, at least [1, 1], or block_size is not a
      whole number of at least 1.

  Examples:
    >>> z1 = np.eye(4, dtype=np.float32)
    >>> [round(float(v), 3) for v in streaming_info_nce(z1, z1, temperature=1.0)]
    [0.744, 0.744, 0.744, 0.744]
  """
  z1, z2 = _checked(z1, z2, block_size)
  if _whole(z1, block_size, axis_name):
    return contrastive.info_nce(z1, z2, temperature=temperature, valid=valid)
  block_size = block_size or BLOCK_SIZE
  z1, z2 = kept(valid, z1, z2)
  scaled = z2 / temperature
  here = jnp.ones(len(z1), bool) if valid is None else valid
  everywhere = None if valid is None else gather(valid, axis_name)
  rows, columns = _in_parts(z1, gather(scaled, axis_name), here, everywhere, block_size)
  normalizer = _log(rows) + _log(_across_devices(columns, axis_name))
  return where_valid(valid, 0.5 * normalizer - jnp.sum(z1 * scaled, axis=1))


def streaming_sigmoid(z1: Array, z2: Array, *, temperature: Numeric,
                      bias: Numeric = -10.0, block_size: int | None = None,
                      axis_name: str | None = None,
                      valid: Array | None = None) -> Array:
  """`contrastive.sigmoid` without its matrix of logits: same values, same gradients.

  Args:
    z1, z2: [B, K] embeddings of the same samples, of one device where axis_name is given.
    temperature: [] positive.
    bias: [] added to every logit.
    block_size: rows of logits that exist at a time; memory beyond the embeddings is
      O(block_size * N) for N samples on all devices. None for 256, and for the whole matrix where
      that is no larger than such a stripe may be, 16 MiB (N = 2,048).
    axis_name: of the mapped axis (pmap, vmap, shard_map) over which the batch is spread.
    valid: [B] bool, the samples that are real; None for all. The others are filling, as at the end
      of an epoch: they are no negatives, and their values are 0.

  Returns:
    [B] nats, each a sum over N pairs.

  Raises:
    ValueError: z1 and z2 are not two [B, K] of one shape, at least [1, 1], or block_size is not a
      whole number of at least 1.

  Examples:
    >>> z1 = np.eye(4, dtype=np.float32)
    >>> [round(float(v), 3) for v in streaming_sigmoid(z1, z1, temperature=1.0)]
    [9.0, 9.0, 9.0, 9.0]
  """
  z1, z2 = _checked(z1, z2, block_size)
  if _whole(z1, block_size, axis_name):
    return contrastive.sigmoid(z1, z2, temperature=temperature, bias=bias, valid=valid)
  block_size = block_size or BLOCK_SIZE
  z1, z2 = kept(valid, z1, z2)
  everywhere = None if valid is None else gather(valid, axis_name)
  return where_valid(valid, _pair_sums(
      z1, gather(z2 / temperature, axis_name), varying(bias, z1),
      own_columns(len(z1), axis_name), everywhere, block_size))


def _whole(z: Array, block_size: int | None, axis_name: str | None) -> bool:
  return block_size is None and axis_name is None and len(z)**2 <= BLOCK_SIZE * COLUMNS


def _checked(z1: Array, z2: Array, block_size: int | None) -> tuple[Array, Array]:
  """Both embeddings in one dtype, float32 or wider, or a ValueError that names what is wrong."""
  if block_size is not None and (
      isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1):
    raise ValueError(f'block_size={block_size!r} must be a whole number of at least 1')
  for name, z in (('z1', z1), ('z2', z2)):
    if jnp.ndim(z) != 2 or 0 in jnp.shape(z):
      raise ValueError(f'{name} has shape {jnp.shape(z)}, not [B, K] with both at least 1')
  if jnp.shape(z1) != jnp.shape(z2):
    raise ValueError(f'z1 has shape {jnp.shape(z1)}, z2 {jnp.shape(z2)}; they must be equal')
  dtype = jnp.result_type(z1, z2, jnp.float32)  # long sums in bfloat16 stop growing
  return jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)


# -- InfoNCE: log-sum-exp of the logits along both of their axes -----------------------------------


@struct.dataclass
class _Sum:
  """A sum of exponentials, exp(top) * scaled.

  top, the largest exponent, is a constant to derivatives. The logarithm is the same whatever it
  is, so no gradient is lost; and weights exp(x - top) / scaled are precise where those from the
  logarithm itself, exp(x - log_sum), carry its rounding, 1e-5 at logits of 100.
  """
  top: Array
  scaled: Array


def _log(s: _Sum) -> Array:
  return s.top + jnp.log(log_sums.some(s.scaled))


def _sum_exp(x: Array, axis: int) -> _Sum:
  top = jnp.max(x, axis=axis)
  return _Sum(top=top, scaled=jnp.sum(jnp.exp(x - jnp.expand_dims(top, axis)), axis=axis))


def _add(one: _Sum, two: _Sum) -> _Sum:
  top = jnp.maximum(one.top, two.top)
  return _Sum(top=top, scaled=one.scaled * jnp.exp(one.top - top)
              + two.scaled * jnp.exp(two.top - top))


def _across_devices(columns: _Sum, axis_name: str | None) -> _Sum:
  """Sums of this device's rows over all columns [N] -> of all rows over its own columns [B]."""
  if axis_name is None:
    return columns
  parts = jax.tree.map(lambda x: lax.all_to_all(
      x.reshape(lax.axis_size(axis_name), -1), axis_name, 0, 0), columns)  # [P, B]
  tops = lax.stop_gradient(parts.top)
  top = jnp.max(tops, axis=0)
  return _Sum(top=top, scaled=jnp.sum(parts.scaled * jnp.exp(tops - top[None]), axis=0))


def _exp_sums_plain(a: Array, b: Array, real_a: Array, real_b: Array | None,
                    block_size: int) -> tuple[_Sum, _Sum]:
  """Sums of exp(a b^T) over its columns [M] and over its rows [N], from one pass over stripes.

  Only the logits of real rows real_a [M] and of real columns real_b [N] count.
  """
  def one_top(columns, stripe):
    rows, real = stripe
    e = jnp.exp(_present(dot(rows, b.T), real, real_b) - most)
    return columns + jnp.sum(e, axis=0), jnp.sum(e, axis=1)

  def own_tops(columns, stripe):
    rows, real = stripe
    logits = _present(dot(rows, b.T), None, real_b)
    return _add(columns, _sum_exp(_present(logits, real, None), 0)), _sum_exp(logits, 1)

  stripes = cut(a, block_size), cut(real_a, block_size)
  most, wide = log_sums.bound(a, b)
  nothing = varying(jnp.zeros(len(b)), a)
  def fast():
    columns, rows = lax.scan(one_top, nothing, stripes)
    return tuple(_Sum(jnp.full_like(x, most), x) for x in (joined(rows, len(a)), columns))
  def safe():
    columns, rows = lax.scan(own_tops, _Sum(nothing - jnp.inf, nothing), stripes)
    return jax.tree.map(lambda x: joined(x, len(a)), rows), columns
  return log_sums.unless(wide, fast, safe)


def _in_parts(a: Array, b: Array, real_a: Array, real_b: Array | None,
              block_size: int) -> tuple[_Sum, _Sum]:
  """`_exp_sums`, of so many columns at a time that a stripe stays in cache."""
  parts = [_exp_sums(a, b[i:i + COLUMNS], real_a, None if real_b is None else real_b[i:i + COLUMNS],
                     block_size) for i in range(0, len(b), COLUMNS)]
  rows, columns = zip(*parts)
  return functools.reduce(_add, rows), jax.tree.map(lambda *x: jnp.concatenate(x), *columns)


_exp_sums = jax.custom_vjp(_exp_sums_plain, nondiff_argnums=(4,))


def _present(logits: Array, rows: Array | None,
             columns: Array | None) -> Array:
  """logits [T, N], ABSENT outside the rows [T] and the columns [N]; None: all of them."""
  rows, columns = (None if real is None else jnp.expand_dims(real, axis)
                   for real, axis in ((rows, 1), (columns, 0)))
  return where_valid(rows, where_valid(columns, logits, ABSENT), ABSENT)


def _exp_sums_forward(a, b, real_a, real_b, block_size):
  rows, columns = _exp_sums(a, b, real_a, real_b, block_size)
  return (rows, columns), (a, b, real_a, real_b, rows.top, columns.top)


def _exp_sums_backward(block_size, saved, cotangents):
  a, b, real_a, real_b, row_tops, column_tops = saved
  to_rows, to_columns = (c.scaled for c in cotangents)

  def one_top(logits, to_rows, real):
    return jnp.exp(_present(logits, real, real_b) - most) * (to_rows[:, None] + to_columns[None])

  def own_tops(logits, to_rows, real, tops):
    logits = _present(logits, real, real_b)
    # Two exponentials an entry: one from the other would overflow at a low temperature.
    return (to_rows[:, None] * jnp.exp(logits - tops[:, None])
            + to_columns[None] * jnp.exp(logits - column_tops[None]))

  most, wide = log_sums.bound(a, b)
  of_rows = to_rows, real_a
  to_a, to_b, _ = log_sums.unless(
      wide, lambda: gradients(one_top, a, b, of_rows, block_size),
      lambda: gradients(own_tops, a, b, (*of_rows, row_tops), block_size))
  return to_a, to_b, None, None


_exp_sums.defvjp(_exp_sums_forward, _exp_sums_backward)


# -- SigLIP: sums over the columns of the logits ---------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(5,))
def _pair_sums(a: Array, b: Array, bias: Array, own: Array,
               real_b: Array | None, block_size: int) -> Array:
  """Sum over real j of softplus(+-(a_i . b_j + bias)) [M]: minus where j = own_i, plus elsewhere.
  """
  def step(nothing, stripe):
    rows, own = stripe
    logits = _against(dot(rows, b.T) + bias, own)
    return nothing, jnp.sum(jax.nn.softplus(_present(logits, None, real_b)), axis=1)

  _, sums = lax.scan(step, None, (cut(a, block_size), cut(own, block_size)))
  return joined(sums, len(a))


def _against(x: Array, own: Array) -> Array:
  """x [T, N] with the sign turned in column own [T] of each row."""
  return jnp.where(own[:, None] == jnp.arange(x.shape[1])[None], -x, x)


def _pair_sums_forward(a, b, bias, own, real_b, block_size):
  return _pair_sums(a, b, bias, own, real_b, block_size), (a, b, bias, own, real_b)


def _pair_sums_backward(block_size, saved, cotangent):
  a, b, bias, own, real_b = saved

  def stripe_gradient(logits, own, cotangent):  # the cotangent of the filling is 0
    slope = jax.nn.sigmoid(_present(_against(logits + bias, own), None, real_b))
    return cotangent[:, None] * _against(slope, own)

  return *gradients(stripe_gradient, a, b, (own, cotangent), block_size), None, None


_pair_sums.defvjp(_pair_sums_forward, _pair_sums_backward)
