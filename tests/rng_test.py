"""The keyed permutation is one, whatever its length, and named streams do not mix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mmalign_jax import rng

permute = jax.jit(rng.permute)
SIZES = (1, 2, 7, 512, 1000, 4096)


@pytest.mark.parametrize('n', SIZES)
def test_permute_is_a_bijection_of_range_n(n):
  image = permute(jax.random.key(3), jnp.arange(n), n)
  assert image.dtype == jnp.int32
  np.testing.assert_array_equal(np.sort(image), np.arange(n))


def test_permute_takes_a_traced_length():
  key = jax.random.key(3)
  whole = lambda n: permute(key, jnp.arange(4096) % n, n)
  images = np.asarray(jax.jit(jax.vmap(whole))(jnp.array(SIZES)))
  for n, image in zip(SIZES, images, strict=True):
    np.testing.assert_array_equal(image[:n], permute(key, jnp.arange(n), n))


def test_permute_takes_a_length_in_float32():
  key, index = jax.random.key(0), jnp.arange(512)
  np.testing.assert_array_equal(
      permute(key, index, jnp.float32(512)), permute(key, index, 512))


def test_part_of_the_indices_gives_part_of_the_images():
  key = jax.random.key(1)
  whole = permute(key, jnp.arange(1000), 1000)
  np.testing.assert_array_equal(permute(key, jnp.array([5, 999, 0]), 1000),
                                whole[jnp.array([5, 999, 0])])


def test_different_keys_give_different_orders():
  images = jax.vmap(lambda key: permute(key, jnp.arange(100), 100))(
      jax.random.split(jax.random.key(0), 50))
  assert len(np.unique(images, axis=0)) == 50
  agree = np.mean(np.asarray(images[:25]) == np.asarray(images[25:]))
  assert agree < 0.03  # 0.01 by chance


def many_orders(n: int, count: int) -> np.ndarray:
  keys = jax.random.split(jax.random.key(7), count)
  return np.asarray(jax.vmap(lambda key: permute(key, jnp.arange(n), n))(keys))


@pytest.mark.parametrize('n', [7, 64, 100])
def test_every_index_lands_everywhere_equally_often(n):
  images = many_orders(n, 4000)
  p_values = [stats.chisquare(np.bincount(images[:, i], minlength=n)).pvalue for i in range(n)]
  assert min(p_values) > 1e-3 / n
  assert 0.2 < np.mean(p_values) < 0.8


def test_two_indices_land_independently():
  first, second = many_orders(8, 8000)[:, :2].T
  counts = np.bincount(first * 8 + second, minlength=64).reshape(8, 8)
  assert (np.diag(counts) == 0).all()
  assert stats.chisquare(counts[~np.eye(8, dtype=bool)]).pvalue > 1e-3


def test_streams_differ_by_seed_and_by_name():
  keys = [rng.stream(seed, name) for seed in (0, 1) for name in ('data', 'init', 'order', 'test')]
  data = np.stack([jax.random.key_data(key) for key in keys])
  assert len(np.unique(data, axis=0)) == len(keys)


def test_a_seed_may_use_all_32_bits():
  words = [jax.random.key_data(rng.stream(seed, 'data'))
           for seed in (4_000_000_000, np.uint32(4_000_000_000), jnp.uint32(4_000_000_000))]
  np.testing.assert_array_equal(words, [words[0]] * 3)


def test_a_stream_is_the_same_for_a_traced_seed():
  traced = jax.jit(lambda seed: jax.random.key_data(rng.stream(seed, 'data')))(jnp.uint32(9))
  np.testing.assert_array_equal(traced, jax.random.key_data(rng.stream(9, 'data')))
