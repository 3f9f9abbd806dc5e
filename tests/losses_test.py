"""Every loss: hand-worked values, an independent float64 computation, and what it promises."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from objectives_test import BY_HAND
import pytest
from scipy import special

from mmalign_jax import losses

B, K = 8, 5
info_nce, sigmoid = jax.jit(losses.info_nce), jax.jit(losses.sigmoid)


def embeddings(seed: int = 0, rows: int = B) -> tuple[np.ndarray, np.ndarray]:
  """Unit rows z1, z2 [rows, K], related."""
  g = np.random.default_rng(seed)
  z1 = g.normal(size=(rows, K))
  z2 = z1 + 0.7 * g.normal(size=(rows, K))
  unit = lambda z: (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float32)
  return unit(z1), unit(z2)


def info_nce_64(z1, z2, temperature: float) -> np.ndarray:
  """From the definition, in float64: minus the mean log probability of the true partner."""
  logits = z1.astype(np.float64) @ z2.astype(np.float64).T / temperature
  forward = -np.log(np.diag(special.softmax(logits, axis=1)))
  backward = -np.log(np.diag(special.softmax(logits, axis=0)))
  return (forward + backward) / 2


# -- InfoNCE ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('rows', [1, 2, 32])
def test_info_nce_of_equal_embeddings_is_log_of_the_batch(rows):
  z = np.full((rows, K), K**-0.5, np.float32)
  value = info_nce(z, z, temperature=0.1)
  np.testing.assert_allclose(value, np.full(rows, np.log(rows)), atol=2e-6)


def test_info_nce_of_two_orthonormal_pairs():
  # logits are the identity / t, so each row is log(exp(1/t) + 1) - 1/t = log(1 + exp(-1/t))
  value = info_nce(np.eye(2), np.eye(2), temperature=0.5)
  np.testing.assert_allclose(value, [np.log1p(np.exp(-2.0))] * 2, atol=1e-6)


def test_info_nce_of_two_swapped_pairs():
  value = info_nce(np.eye(2), np.eye(2)[::-1], temperature=0.5)
  np.testing.assert_allclose(value, [2 + np.log1p(np.exp(-2.0))] * 2, atol=1e-6)


def test_info_nce_by_hand_where_the_two_directions_differ():
  # logits [[1, 1], [0, 0]]: rows ln 2, ln 2; columns ln(1 + 1/e), ln(1 + e)
  z1, z2 = np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])
  value = info_nce(z1, z2, temperature=1.0)
  np.testing.assert_allclose(
      value, [(np.log(2) + np.log1p(np.exp(-1))) / 2, (np.log(2) + np.log1p(np.e)) / 2], atol=1e-6)


@pytest.mark.parametrize('temperature', [0.05, 0.1, 1.0, 10.0])
def test_info_nce_equals_the_definition_in_float64(temperature):
  z1, z2 = embeddings()
  value = info_nce(z1, z2, temperature=temperature)
  assert value.shape == (B,)
  np.testing.assert_allclose(value, info_nce_64(z1, z2, temperature), rtol=1e-5, atol=5e-6)


def test_info_nce_does_not_normalise_its_inputs():
  z1, z2 = embeddings()
  np.testing.assert_allclose(info_nce(3 * z1, z2, temperature=0.6),
                             info_nce(z1, z2, temperature=0.2), atol=1e-5)


def test_info_nce_is_symmetric_in_its_sides():
  z1, z2 = embeddings()
  np.testing.assert_allclose(info_nce(z1, z2, temperature=0.2),
                             info_nce(z2, z1, temperature=0.2), atol=1e-6)


def test_info_nce_is_finite_at_the_smallest_temperatures():
  z1, z2 = embeddings()
  both = jax.jit(jax.value_and_grad(
      lambda z: jnp.mean(losses.info_nce(z[0], z[1], temperature=0.001))))
  for one, two in ((z1, z2), (z1, z1), (z1, -z1), (0 * z1, 0 * z1)):
    value, grads = both((one, two))
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads)


def test_gradient_of_info_nce_equals_differences_in_float64():
  z1, z2 = embeddings()
  t = 0.3
  loss = lambda z1, z2, t: jnp.mean(losses.info_nce(z1, z2, temperature=t))
  got = jax.jit(jax.grad(loss, (0, 1, 2)))(z1, z2, t)
  mean = lambda z1, z2, t: info_nce_64(z1, z2, t).mean()
  eps = 1e-5
  for i, (z, g) in enumerate(zip((z1, z2), got[:2], strict=True)):
    for index in np.ndindex(z.shape):
      step = np.zeros(z.shape)
      step[index] = eps
      ends = [mean(*(w.astype(np.float64) + s * step * (i == j)
                     for j, w in enumerate((z1, z2))), t) for s in (1, -1)]
      assert abs(g[index] - (ends[0] - ends[1]) / (2 * eps)) < 1e-6
  by_t = (mean(z1, z2, t + eps) - mean(z1, z2, t - eps)) / (2 * eps)
  np.testing.assert_allclose(got[2], by_t, rtol=1e-5)


@pytest.mark.parametrize('name', ['info_nce', 'streaming_info_nce'])
def test_one_shift_or_many_give_the_values_and_gradients_of_float64(name):
  """Cells of one vmap: temperatures on both sides of where one shift is enough, and in the last
  two a sample that is the opposite of all others, whose row and column vanish under one shift."""
  z1, z2 = embeddings(rows=24)
  far1, far2 = np.tile(z1[:1], (24, 1)), np.tile(z1[:1], (24, 1))
  far1[5], far2[7] = -far1[5], -far2[7]
  cells = [(z1, z2, t) for t in (1.0, 0.1, 0.03, 0.02, 0.01)] + [
      (far1, far2, t) for t in (0.02, 0.01)]
  weights = np.linspace(0.5, 2, 24, dtype=np.float32)
  both = jax.jit(jax.vmap(jax.value_and_grad(
      lambda a, b, t: jnp.sum(weights * losses.LOSSES[name](a, b, temperature=t)), (0, 1))))
  values, (to_1, to_2) = both(*(np.stack(part).astype(np.float32) for part in zip(*cells)))
  for (a, b, t), value, got_1, got_2 in zip(cells, values, to_1, to_2, strict=True):
    a, b = a.astype(np.float64), b.astype(np.float64)
    np.testing.assert_allclose(value, (weights * info_nce_64(a, b, t)).sum(), rtol=2e-5, atol=1e-4)
    logits = a @ b.T / t
    p = (weights[:, None] * special.softmax(logits, axis=1)
         + weights[None] * special.softmax(logits, axis=0)) / 2 - np.diag(weights)
    np.testing.assert_allclose(got_1, p @ b / t, rtol=1e-4, atol=2e-5 / t)
    np.testing.assert_allclose(got_2, p.T @ a / t, rtol=1e-4, atol=2e-5 / t)


def test_a_cell_of_a_vmap_is_the_same_beside_any_other():
  z1, z2 = embeddings(rows=24)
  run = jax.jit(jax.vmap(jax.value_and_grad(
      lambda t: jnp.sum(losses.info_nce(z1, z2, temperature=t)))))
  for beside in (0.2, 0.005):
    got = [np.asarray(v)[0] for v in run(jnp.array([0.1, beside]))]
    if beside == 0.2:
      alone = got
  assert got == alone


def test_wide_embeddings_have_the_gradient_of_narrow_ones():
  z1, z2 = (np.hstack([z, np.zeros((B, 60), np.float32)]) for z in embeddings())
  grad = jax.jit(jax.grad(lambda a, b: jnp.sum(losses.info_nce(a, b, temperature=0.1)**2), (0, 1)))
  for wide, narrow in zip(grad(z1, z2), grad(z1[:, :K], z2[:, :K])):
    np.testing.assert_allclose(wide[:, :K], narrow, rtol=1e-5, atol=1e-5)


def test_info_nce_refuses_embeddings_of_other_shapes():
  z1, z2 = embeddings()
  with pytest.raises(AssertionError):
    losses.info_nce(z1, z2[:4], temperature=0.1)


# -- SigLIP ----------------------------------------------------------------------------------------


def sigmoid_64(z1, z2, temperature: float, bias: float) -> np.ndarray:
  """From the definition, in float64: minus the log probability of every right answer, summed."""
  logits = z1.astype(np.float64) @ z2.astype(np.float64).T / temperature + bias
  return -special.log_expit(np.where(np.eye(len(z1), dtype=bool), logits, -logits)).sum(axis=1)


def test_sigmoid_by_hand():
  # logits [[1, 1], [0, 0]] - 1 = [[0, 0], [-1, -1]]; partners are on the diagonal
  z1, z2 = np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])
  value = sigmoid(z1, z2, temperature=1.0, bias=-1.0)
  np.testing.assert_allclose(value, [2 * np.log(2), np.log1p(np.exp(-1)) + np.log1p(np.e)],
                             atol=1e-6)


@pytest.mark.parametrize('temperature, bias', [(0.01, -10), (0.1, -10), (0.1, 0), (10.0, 2)])
def test_sigmoid_equals_the_definition_in_float64(temperature, bias):
  z1, z2 = embeddings()
  value = sigmoid(z1, z2, temperature=temperature, bias=bias)
  np.testing.assert_allclose(value, sigmoid_64(z1, z2, temperature, bias), rtol=1e-5, atol=1e-6)


def test_sigmoid_starts_with_the_bias_of_the_paper():
  z1, z2 = embeddings()
  np.testing.assert_array_equal(sigmoid(z1, z2, temperature=0.1),
                                sigmoid(z1, z2, temperature=0.1, bias=-10.0))


# -- task losses -----------------------------------------------------------------------------------


def test_cross_entropy_of_classes_equals_scipy():
  g = np.random.default_rng(1)
  logits, y = 5 * g.normal(size=(B, 4)).astype(np.float32), g.integers(0, 4, B)
  expected = -special.log_softmax(logits.astype(np.float64), axis=1)[np.arange(B), y]
  np.testing.assert_allclose(losses.cross_entropy(logits, y), expected, rtol=1e-5, atol=1e-6)


def test_cross_entropy_by_hand():
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]))
  value = losses.cross_entropy(logits, jnp.array([0, 2]))
  np.testing.assert_allclose(value, [np.log(2), np.log(10)], atol=1e-6)


def test_cross_entropy_of_soft_targets_is_at_least_their_entropy():
  g = np.random.default_rng(2)
  logits = g.normal(size=(B, 4)).astype(np.float32)
  target = g.dirichlet(np.ones(4), B).astype(np.float32)
  value = losses.cross_entropy(logits, target)
  expected = -(target * special.log_softmax(logits.astype(np.float64), axis=1)).sum(1)
  np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
  own = losses.cross_entropy(jnp.log(target), target)
  np.testing.assert_allclose(own, special.entr(target).sum(1), rtol=1e-5, atol=1e-6)
  assert (np.asarray(value) >= np.asarray(own) - 1e-6).all()


def test_cross_entropy_of_one_hot_targets_is_that_of_classes():
  logits = jnp.asarray(np.random.default_rng(3).normal(size=(B, 4)), jnp.float32)
  y = jnp.arange(B) % 4
  np.testing.assert_array_equal(losses.cross_entropy(logits, jax.nn.one_hot(y, 4)),
                                losses.cross_entropy(logits, y))


def test_cross_entropy_is_finite_at_extreme_logits():
  logits = jnp.array([[1e4, -1e4], [-1e4, 1e4]])
  value, grad = jax.value_and_grad(
      lambda z: losses.cross_entropy(z, jnp.array([0, 0])).sum())(logits)
  np.testing.assert_allclose(value, 2e4)
  assert np.isfinite(grad).all()


def test_l1_is_the_absolute_difference():
  value = losses.l1(jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 1.0, 0.5]))
  np.testing.assert_array_equal(value, [2, 3, 0])


def test_l1_refuses_a_column():
  with pytest.raises(AssertionError):
    losses.l1(jnp.zeros((3, 1)), jnp.zeros(3))


# -- both registries -------------------------------------------------------------------------------


def cross_entropy_arguments(g):
  return g.normal(size=(B, 4)).astype(np.float32), g.integers(0, 4, B)


ARGUMENTS = {
    'info_nce': lambda g: embeddings(g.integers(100)),
    'sigmoid': lambda g: embeddings(g.integers(100)),
    'streaming_info_nce': lambda g: embeddings(g.integers(100)),
    'streaming_sigmoid': lambda g: embeddings(g.integers(100)),
    'cross_entropy': cross_entropy_arguments,
    'l1': lambda g: tuple(g.normal(size=(2, B)).astype(np.float32)),
}
ALL = {name: {**losses.LOSSES, **losses.TASKS}[name] for name in ARGUMENTS}


def loss_of(name: str):
  if name in losses.LOSSES:
    return lambda z1, z2: ALL[name](z1, z2, temperature=0.2)
  return ALL[name]


def test_every_loss_has_a_row_here():
  assert {*losses.LOSSES, *losses.TASKS} == {*ARGUMENTS, *BY_HAND}


@functools.cache
def jitted(name: str):
  return jax.jit(loss_of(name))


@pytest.mark.parametrize('name', sorted(ALL))
class TestEveryLoss:

  def test_gives_one_value_per_example(self, name):
    value = jitted(name)(*ARGUMENTS[name](np.random.default_rng(0)))
    assert value.shape == (B,) and value.dtype == jnp.float32

  def test_is_the_same_under_jit(self, name):
    arguments = ARGUMENTS[name](np.random.default_rng(0))
    np.testing.assert_allclose(
        jitted(name)(*arguments), loss_of(name)(*arguments), atol=1e-6)

  def test_vmapped_equals_a_loop(self, name):
    many = [ARGUMENTS[name](np.random.default_rng(i)) for i in range(3)]
    stacked = jax.jit(jax.vmap(loss_of(name)))(*map(np.stack, zip(*many, strict=True)))
    np.testing.assert_allclose(stacked, [jitted(name)(*one) for one in many], atol=1e-6)

  def test_follows_a_permutation_of_the_examples(self, name):
    arguments = ARGUMENTS[name](np.random.default_rng(0))
    order = np.random.default_rng(1).permutation(B)
    np.testing.assert_allclose(jitted(name)(*(a[order] for a in arguments)),
                               jitted(name)(*arguments)[order], atol=1e-6)

  def test_has_a_finite_gradient(self, name):
    x, y = ARGUMENTS[name](np.random.default_rng(0))
    grad = jax.jit(jax.grad(lambda x, y: loss_of(name)(x, y).sum()))
    assert np.isfinite(grad(x, y)).all()
    if name != 'cross_entropy':
      assert np.isfinite(grad(x, x)).all()

  def test_is_not_negative(self, name):
    assert (np.asarray(jitted(name)(*ARGUMENTS[name](np.random.default_rng(0)))) >= 0).all()


# -- filling ---------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', [name for name in losses.LOSSES if name in ARGUMENTS])
def test_samples_that_are_not_valid_are_as_if_they_were_not_there(name):
  z1, z2 = embeddings(rows=7)
  real = np.array([True, False, True, True, False, False, False])
  options = {'block_size': 3} if name.startswith('streaming') else {}  # the last stripe: filling

  def total(a, b, temperature, valid):
    kept = {} if valid is None else {'valid': valid}
    values = losses.LOSSES[name](a, b, temperature=temperature, **options, **kept)
    return jnp.sum(values**2), values  # cotangents that differ

  both = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True))
  (_, expected), (of_1, of_2, of_t) = both(z1[real], z2[real], 0.1, None)
  filled = (np.where(real[:, None], z, np.float32(np.nan)) for z in (z1, z2))  # whatever it holds
  (_, values), (to_1, to_2, to_t) = both(*filled, 0.1, real)
  np.testing.assert_allclose(np.asarray(values)[real], expected, rtol=1e-6, atol=1e-6)
  np.testing.assert_allclose(to_t, of_t, rtol=1e-5)
  for found, wanted in ((to_1, of_1), (to_2, of_2)):
    np.testing.assert_allclose(np.asarray(found)[real], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(found)[~real], 0)
  np.testing.assert_array_equal(np.asarray(values)[~real], 0)


# -- short floats, and gradients of gradients ------------------------------------------------------


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16'])
@pytest.mark.parametrize('temperature', [0.05, np.float32(0.05)])
def test_info_nce_of_short_floats_is_that_of_the_same_numbers_in_float32(dtype, temperature):
  """Far apart too, where exp(logits - bound) is 0 in half precision."""
  z1, z2 = (z.astype(dtype) for z in (np.eye(6)[:3], np.eye(6)[3:] + 0.1 * np.eye(6)[:3]))

  def total(z1, z2):
    value = losses.info_nce(z1, z2, temperature=temperature).astype(jnp.float32)
    return value.sum(), value

  both = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
  ((_, short), short_grads), ((_, wide), wide_grads) = both(z1, z2), both(
      *(z.astype(np.float32) for z in (z1, z2)))
  np.testing.assert_allclose(short, wide, rtol=0.02, atol=0.02)
  for one, other in zip(short_grads, wide_grads):
    assert one.dtype == dtype
    np.testing.assert_allclose(np.asarray(one, np.float32), other, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('temperature', [0.2, 0.01])
def test_gradients_of_gradients_of_info_nce(temperature):
  """As of the formula, on both sides of the bound; of embeddings so close that none is certain."""
  z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (
      1 + temperature * z for z in embeddings(rows=5)))

  def formula(z1, z2):
    logits = jnp.dot(z1, z2.T, precision='highest') / temperature
    both = jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)
    return 0.5 * both - jnp.diagonal(logits)

  def twice(loss):
    once = jax.grad(lambda z: jnp.sum(loss(z, z2)))
    return jax.jit(jax.grad(lambda z: jnp.sum(jnp.sin(once(z)))))(z1)

  found = twice(lambda z1, z2: losses.info_nce(z1, z2, temperature=temperature))
  assert np.abs(found).max() > 0.01
  np.testing.assert_allclose(found, twice(formula), rtol=2e-3, atol=2e-3 * abs(found).max())
