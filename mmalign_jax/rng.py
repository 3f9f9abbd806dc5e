"""Random numbers: named key streams, and a keyed permutation whose length may be traced."""

import zlib

import jax
import jax.numpy as jnp

from mmalign_jax.types import Array, Numeric

ROUNDS = 16  # of the shuffle: log2(n) of the largest n in use


def stream(seed: Numeric, name: str) -> jax.Array:
  """Key of the stream `name` of a run: the same for every cell that shares the seed."""
  # The two words of a threefry key are name and seed: as good as folding in, with nothing to hash.
  words = jnp.stack([jnp.uint32(zlib.crc32(name.encode())), jnp.asarray(seed, jnp.uint32)])
  return jax.random.wrap_key_data(words, impl='threefry2x32')


def permute(key: jax.Array, index: Array, n: Numeric) -> jax.Array:
  """Image of `index` under a pseudo-random permutation of range(n).

  The swap-or-not shuffle (Hoang, Morris and Rogaway, CRYPTO 2012): stateless, so a batch costs
  O(B) whatever n is, and n may be traced, which a sort could not allow.

  Args:
    key: one key per permutation.
    index: [B] integers in 0..n-1.
    n: [] length of the permutation.

  Returns:
    [B] i32, distinct where `index` is.
  """
  n = jnp.asarray(n).astype(jnp.uint32)
  index = jnp.asarray(index).astype(jnp.uint32)
  pivot, salt = jax.random.bits(key, (2, ROUNDS), jnp.uint32)
  pivot = pivot % n

  def round_(r, index):  # a loop, since unrolled rounds take a second to compile
    partner = pivot[r] - index + jnp.where(index > pivot[r], n, 0)
    return jnp.where(_coin(jnp.maximum(index, partner) ^ salt[r]), partner, index)

  return jax.lax.fori_loop(0, ROUNDS, round_, index).astype(jnp.int32)


def _coin(word: Array) -> Array:
  """One well-mixed bit of each 32-bit word (the finaliser of MurmurHash3)."""
  word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
  word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
  return ((word ^ (word >> 16)) & 1).astype(bool)
