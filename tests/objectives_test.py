"""Objectives of alignment: hand values, float64 NumPy from the definitions, gradients, devices."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mmalign_jax import losses, named, objective
from mmalign_jax.losses import augment, moments
from mmalign_jax.similarity import debiased_linear_cka
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.training.sweep import grid, run_sweep
from mmalign_jax.types import Batch, Frames, Outputs, Spec

B, K, T = 12, 4, 0.3
FILLED = 18  # rows of which B are real
unit = lambda z: z / np.linalg.norm(z, axis=1, keepdims=True)


def sides(seed: int = 0, rows: int = B) -> list[np.ndarray]:
  """raw [B, K] of both sides and what their predictors say of it, f64; related."""
  g = np.random.default_rng(seed)
  a = g.normal(size=(rows, K))
  b = a @ g.normal(size=(K, K)) + 0.5 * g.normal(size=(rows, K))
  return [a, b, g.normal(size=(rows, K)), g.normal(size=(rows, K))]


def outputs(a, b, pa, pb) -> list[Outputs]:
  of = lambda z, p: Outputs(layers=(z,), z=z / jnp.linalg.norm(z, axis=1, keepdims=True), raw=z,
                            prediction=z, predicted=p, noisy=(p, 0.5 * z + p))
  return [of(a, pa), of(b, pb)]


# -- from the definitions, in float64 --------------------------------------------------------------


def cov(a, b, ddof=0):
  return (a - a.mean(0)).T @ (b - b.mean(0)) / (len(a) - ddof)


def decoupled_64(a, b, pa, pb):
  s = unit(a) @ unit(b).T / T
  out = []
  for i in range(len(s)):
    rest = [j for j in range(len(s)) if j != i]
    out.append(-s[i, i] + (special.logsumexp(s[i, rest]) + special.logsumexp(s[rest, i])) / 2)
  return np.array(out)


def debiased_64(a, b, pa, pb, tau=0.1):
  e = np.exp(unit(a) @ unit(b).T / T)
  m = len(e) - 1
  def one(e):
    out = []
    for i in range(len(e)):
      rest = np.delete(e[i], i)
      g = max((rest.mean() - tau * e[i, i]) / (1 - tau), np.exp(-1 / T))
      out.append(-np.log(e[i, i] / (e[i, i] + m * g)))
    return np.array(out)
  return (one(e) + one(e.T)) / 2


def prediction_64(a, b, pa, pb):
  cos = lambda p, z: (unit(p) * unit(z)).sum(1)
  return 1 - (cos(pa, b) + cos(pb, a)) / 2


def vicreg_64(a, b, pa, pb):
  total = 25 * np.mean((a - b)**2)
  for z in (a, b):
    c = cov(z, z, 1)
    total += 25 * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(c) + 1e-4))) / 2
    total += (c**2).sum() / K - (np.diag(c)**2).sum() / K
  return total


def barlow_64(a, b, pa, pb):
  c = np.corrcoef(a.T, b.T)[:K, K:]
  off = ~np.eye(K, dtype=bool)
  return ((1 - np.diag(c))**2).sum() + 0.005 * (c[off]**2).sum()


def soft_cca_64(a, b, pa, pb):
  a, b = ((z - z.mean(0)) / z.std(0) for z in (a, b))
  off = ~np.eye(K, dtype=bool)
  return ((a - b)**2).sum(1).mean() / (2 * K) + 0.1 * sum(
      np.abs(np.corrcoef(z.T))[off].mean() for z in (a, b))


def correlation_64(a, b, pa, pb, shrink=0.1):
  ca, cb = ((1 - shrink) * cov(z, z) + shrink * np.trace(cov(z, z)) / K * np.eye(K) for z in (a, b))
  root = lambda c: (lambda w, v: v / np.sqrt(w) @ v.T)(*np.linalg.eigh(c))
  return 1 - (np.linalg.svd(root(ca) @ cov(a, b) @ root(cb))[1]**2).sum() / K


@functools.cache
def distinct(n, count):
  """All tuples of distinct indices, [count, n! / (n - count)!]."""
  return np.array([*itertools.permutations(range(n), count)]).T


def hsic_u(k, m):
  """From the four-index definition (Gretton et al. 2005), over all distinct indices."""
  (i, j), three, four = (distinct(len(k), count) for count in (2, 3, 4))
  return ((k[i, j] * m[i, j]).mean() + (k[four[0], four[1]] * m[four[2], four[3]]).mean()
          - 2 * (k[three[0], three[1]] * m[three[0], three[2]]).mean())


def cka_64(a, b, pa, pb):
  k, m = a @ a.T, b @ b.T
  return 1 - hsic_u(k, m) / np.sqrt(hsic_u(k, k) * hsic_u(m, m))


def hsic_64(a, b, pa, pb):
  kernel = lambda z: np.exp(-((unit(z)[:, None] - unit(z)[None])**2).sum(2) / 2)
  return -hsic_u(kernel(a), kernel(b))


def gap_aware_64(a, b, pa, pb):
  a, b = unit(a), unit(b)
  c = (a + b) / 2
  d = ((c[:, None] - c[None])**2).sum(2)
  rest = ~np.eye(len(c), dtype=bool)
  return ((a - b)**2).sum(1) + np.array(
      [np.log(np.mean(np.exp(-2 * d[i][rest[i]]))) for i in range(len(c))])


def shared_own_64(a, b, pa, pb):
  s = unit(a[:, :K // 2]) @ unit(b[:, :K // 2]).T / T
  nce = -np.diag(s) + (special.logsumexp(s, 1) + special.logsumexp(s, 0)) / 2
  return nce + sum((np.corrcoef(z.T)[:K // 2, K // 2:]**2).mean() for z in (a, b))


def nce_64(a, b):
  s = unit(a) @ unit(b).T / T
  return -np.diag(s) + (special.logsumexp(s, 1) + special.logsumexp(s, 0)) / 2


def factorised_64(a, b, pa, pb):
  h = K // 2
  shared = nce_64(a[:, :h], b[:, :h])
  own = sum(nce_64(p[:, h:], (0.5 * z + p)[:, h:]) / 2 for z, p in ((a, pa), (b, pb)))
  s = unit(a[:, h:]) @ unit(b[:, h:]).T / T
  return shared + own + np.diag(s) - (s.mean(0) + s.mean(1)) / 2


def comm_64(a, b, pa, pb):
  one = unit(pa) + unit(pb)
  two = unit(0.5 * a + pa) + unit(0.5 * b + pb)
  return nce_64(one, two) + sum((nce_64(z, one) + nce_64(z, two)) / 2 for z in (a, b))


def intra_modal_64(a, b, pa, pb):
  return sum(nce_64(p, 0.5 * z + p) + (nce_64(z, p) + nce_64(z, 0.5 * z + p)) / 2
             for z, p in ((a, pa), (b, pb)))


BY_HAND = {
    'factorised': factorised_64, 'comm': comm_64, 'intra_modal': intra_modal_64,
    'decoupled_info_nce': decoupled_64, 'debiased_info_nce': debiased_64,
    'cosine': lambda a, b, pa, pb: 1 - (unit(a) * unit(b)).sum(1),
    'squared_distance': lambda a, b, pa, pb: ((a - b)**2).mean(1), 'prediction': prediction_64,
    'vicreg': vicreg_64, 'barlow_twins': barlow_64, 'soft_cca': soft_cca_64,
    'correlation': correlation_64, 'cka': cka_64, 'hsic': hsic_64, 'gap_aware': gap_aware_64,
    'shared_own': shared_own_64}
every = pytest.mark.parametrize('name', BY_HAND)


def loss(name: str, views, valid=None, axis_name=None):
  """[B] or [], as `objective.alignment` calls it."""
  batch = Batch((), jnp.zeros(len(views[0])), valid)
  return losses.loss_of(name)(outputs(*views), batch, temperature=T, axis_name=axis_name, own={})


def total(name: str, views, valid=None, axis_name=None):
  """The mean over real samples, as the objective takes it of one device, and `loss`."""
  value = loss(name, views, valid, axis_name)
  if not value.ndim or valid is None:
    return jnp.mean(value), value
  share = jnp.mean(valid.astype(value.dtype))
  share = share if axis_name is None else jax.lax.pmean(share, axis_name)
  return jnp.mean(jnp.where(valid, value, 0)) / share, value


@functools.cache
def program(name: str):
  return jax.jit(jax.value_and_grad(functools.partial(total, name), has_aux=True))


def compiled(name: str, views, valid=None):
  """The mean and its gradients, from one program for all tests."""
  (value, _), grads = program(name)(views, valid)
  return value, [np.asarray(g) for g in grads]


def values(name: str, views):
  """`loss` from the same program."""
  return program(name)(views, None)[0][1]


def single(views):
  return [np.asarray(z, np.float32) for z in views]


@every
def test_is_its_definition_in_float64(name):
  views = sides()
  np.testing.assert_allclose(values(name, single(views)), BY_HAND[name](*views), rtol=2e-4,
                             atol=2e-5)


@every
def test_gradient_is_that_of_differences_in_float64(name):
  views = sides(1)
  got = compiled(name, single(views))[1]
  eps = 1e-5
  for i, view in enumerate(views):
    if name == 'prediction' and i < 2:  # a constant as a target, and no predictor here reads it
      np.testing.assert_array_equal(got[i], 0)
      continue
    for index in [(0, 0), (3, 1), (7, 2), (B - 1, K - 1)]:
      step = np.zeros(view.shape)
      step[index] = eps
      up, down = (np.mean(BY_HAND[name](*(v + s * step * (i == j) for j, v in enumerate(views))))
                  for s in (1, -1))
      np.testing.assert_allclose(got[i][index], (up - down) / (2 * eps), rtol=2e-3, atol=2e-4)


@every
def test_order_of_the_samples_does_not_matter(name):
  views, order = sides(2), np.random.default_rng(0).permutation(B)
  value, grads = compiled(name, single(views))
  again, moved = compiled(name, single([z[order] for z in views]))
  np.testing.assert_allclose(again, value, rtol=1e-4, atol=1e-5)
  for one, other in zip(grads, moved):
    np.testing.assert_allclose(other, one[order], rtol=1e-3, atol=1e-5)


@every
def test_filling_is_as_if_it_was_not_there(name):
  views = sides(3, FILLED)
  real = np.arange(FILLED) % 3 != 1
  value, grads = compiled(name, single(views), real)
  for z in views:
    z[~real] = 7.0
  changed, of_changed = compiled(name, single(views), real)
  np.testing.assert_allclose(changed, value, rtol=1e-4, atol=1e-5)
  want, wanted = compiled(name, single([z[real] for z in views]))
  np.testing.assert_allclose(value, want, rtol=1e-4, atol=1e-5)
  for one, other, alone in zip(grads, of_changed, wanted):
    np.testing.assert_allclose(one[real], alone, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(one[~real], 0)
    np.testing.assert_array_equal(other[~real], 0)


@every
@pytest.mark.parametrize('ragged', [False, True])
def test_devices_have_the_gradient_of_the_whole_batch(name, ragged):
  """As of pmap: an axis of two devices, whose mean gradient is that of all samples."""
  rows = FILLED if ragged else B
  views, valid = single(sides(4, rows)), np.arange(rows) < 13 if ragged else None
  split = lambda z: z.reshape(2, rows // 2, *z.shape[1:])
  # parameters that all share: a matrix on every view
  maps = [np.float32(np.eye(K) + 0.1 * i) for i in range(4)]
  of_views = compiled(name, [z @ m for z, m in zip(views, maps)], valid)[1]
  def of_one(maps, views, valid):
    return total(name, [z @ m for z, m in zip(views, maps)], valid, 'data')[0]
  parts = jax.jit(jax.vmap(jax.grad(of_one), in_axes=(None, 0, None if valid is None else 0),
                           axis_name='data'))(
      maps, [split(z) for z in views], None if valid is None else split(valid))
  for z, whole, other in zip(views, of_views, parts):
    np.testing.assert_allclose(other.mean(0), z.T @ whole, rtol=2e-3, atol=2e-5)


@every
@pytest.mark.parametrize('what', ['equal', 'constant', 'one sample', 'two samples'])
def test_is_finite_where_little_is_there(name, what):
  a, _, pa, pb = sides()
  views = {'equal': [a, a, a, a], 'constant': [np.ones((B, K))] * 4,
           'one sample': [z[:1] for z in (a, 2 * a, pa, pb)],
           'two samples': [z[:2] for z in (a, 2 * a, pa, pb)]}[what]
  value, grads = compiled(name, single(views))
  assert np.isfinite(value) and all(np.isfinite(g).all() for g in grads)


def test_cka_is_that_of_the_measure():
  views = single(sides(5))
  measured = jax.jit(debiased_linear_cka)(*views[:2])
  np.testing.assert_allclose(1 - values('cka', views), measured, atol=1e-5)


@pytest.mark.parametrize('name, maps', [
    ('cka', lambda z: 3 * z[:, ::-1] + 1), ('barlow_twins', lambda z: 3 * z + 1),
    ('soft_cca', lambda z: 3 * z + 1)])
def test_what_does_not_matter(name, maps):
  a, b, *rest = sides(6)
  np.testing.assert_allclose(values(name, single([a, maps(b), *rest])),
                             values(name, single([a, b, *rest])), rtol=1e-3, atol=1e-5)


def test_correlation_without_shrinkage_ignores_linear_maps():
  a, b, *_ = sides(7, 60)
  m = np.random.default_rng(0).normal(size=(K, K)) + 2 * np.eye(K)
  correlation = jax.jit(functools.partial(losses.correlation, shrinkage=1e-3))
  of = lambda b: correlation(*single([a, b]))
  np.testing.assert_allclose(of(b @ m), of(b), atol=2e-2)
  found = np.linalg.svd(np.linalg.qr(a - a.mean(0))[0].T @ np.linalg.qr(b - b.mean(0))[0])[1]
  np.testing.assert_allclose(of(b), 1 - np.mean(found**2), atol=1e-2)


def test_a_pair_of_few_features_cannot_be_split():
  with pytest.raises(ValueError, match='shared_own splits an embedding in two'):
    losses.shared_own(jnp.ones((4, 1)), jnp.ones((4, 1)), temperature=1.0)


def test_copies_are_of_the_sample_however_the_batch_is_spread():
  x, key = np.ones((6, 5), np.float32), jax.random.key(1)
  copy = jax.jit(augment.copy)
  of = functools.partial(copy, noise=0.5, masked=0.4)
  whole = of(x, key)
  spread = lambda x, noise, masked: jax.vmap(lambda z: augment.copy(
      z, key, noise=noise, masked=masked, axis_name='data'), axis_name='data')(x)
  parts = jax.jit(spread)(x.reshape(2, 3, 5), 0.5, 0.4)
  np.testing.assert_array_equal(parts.reshape(6, 5), whole)
  many = np.asarray(of(np.ones((4000, 5), np.float32), key))
  assert (many == 0).mean() == pytest.approx(0.4, abs=0.02)
  assert many[many != 0].std() == pytest.approx(0.5, abs=0.02)
  np.testing.assert_array_equal(copy(x, key, noise=0.0, masked=0.0), x)
  frames = Frames(np.ones((2, 3, 4), np.float32), np.ones((2, 3), bool))
  np.testing.assert_array_equal(of(frames, key).mask, frames.mask)
  with pytest.raises(ValueError, match='inputs of int32 have no noisy copies'):
    of(jnp.ones((2, 3), jnp.int32), key)


def test_intra_modal_is_of_no_other_side():
  views, other = single(sides()), single(sides(9))
  value, grads = compiled('intra_modal', views)
  mixed, of_mixed = compiled('intra_modal', [views[0], other[1], views[2], other[3]])
  for i in (0, 2):  # side 1 is the same beside another side 2
    np.testing.assert_allclose(of_mixed[i], grads[i], rtol=1e-6, atol=1e-9)
  comm = jax.jit(lambda side: losses.loss_of('comm')(
      [side], Batch((), jnp.zeros(B)), temperature=T, axis_name=None, own={}))
  alone = sum(np.asarray(comm(side)) for side in outputs(*views))
  np.testing.assert_allclose(values('intra_modal', views), alone, rtol=1e-6)
  assert mixed != value and not np.allclose(values('comm', views), alone, atol=0.1)


def test_an_encoder_of_intra_modal_trains_as_beside_any_other_side():
  spec = Spec(loss='intra_modal', depth=1, width=4)
  g, hyper = np.random.default_rng(0), named.hyper(lam=1.0, lam_mode=1)
  x, y = [g.normal(size=(8, 3)).astype(np.float32) for _ in range(3)], jnp.zeros(8, jnp.int32)
  state = jax.jit(lambda key: init_state(key, hyper, 3, 3, spec=spec, n_outputs=2))(
      jax.random.key(0))
  step = jax.jit(functools.partial(train_step, spec=spec, n_outputs=2))
  grads = [step(state, hyper, Batch((x[0], x[i]), y))[0].opt_state[1].mu for i in (1, 2)]
  one, other = ([np.concatenate([v.ravel() for v in jax.tree.leaves(mu[f'side_{i}'])])
                 for mu in grads] for i in (1, 2))
  cosine = one[0] @ one[1] / np.linalg.norm(one[0]) / np.linalg.norm(one[1])
  np.testing.assert_allclose(cosine, 1, rtol=1e-6)  # but for the clipping, of both together
  assert not np.allclose(other[0], other[1])


@pytest.mark.parametrize('name', ['factorised', 'comm', 'intra_modal'])
def test_new_rows_train_and_leave_everything_at_strength_0(name):
  settings = dict(steps=6, batch_size=16, max_train=32, n_align=16, depth=1, width=6, neighbors=3)
  hypers = grid({'lam': (0.0, 1.0)}, n_train=32)
  found = run_sweep(Spec(loss=name, **settings), hypers)
  without = run_sweep(Spec(loss='info_nce', **settings), hypers)
  assert np.isfinite(found.sides[0].accuracy).all()
  for one, other in zip(found.sides, without.sides):
    np.testing.assert_allclose(one.accuracy[0], other.accuracy[0], atol=1e-6)
    assert one.task_loss[1] != one.task_loss[0]


def test_a_bias_is_learnt_from_where_it_starts():
  spec = Spec(loss='sigmoid', learnable_bias=True, depth=1, width=4, steps=10)
  hyper = named.hyper(lam=1.0, loss_bias=-3.0, learning_rate=0.1, weight_decay=10.0)
  state = jax.jit(lambda key: init_state(key, hyper, 3, 5, spec=spec, n_outputs=2))(
      jax.random.key(0))
  assert state.params['loss_bias'] == -3
  g = np.random.default_rng(0)
  batch = Batch((g.normal(size=(8, 3)), g.normal(size=(8, 5))), jnp.zeros(8, jnp.int32))
  of = functools.partial(objective.objective, spec=spec, n_outputs=2)
  slopes = jax.jit(jax.grad(lambda p, lam: of(
      p, dataclasses.replace(hyper, lam=lam), batch, 0.0)[0]))
  slope = lambda lam: slopes(state.params, jnp.float32(lam))['loss_bias']
  align = jax.jit(lambda bias: of({**state.params, 'loss_bias': bias}, hyper, batch, 0.0)[1].align)
  up, down = align(jnp.float32(-3 + 1e-2)), align(jnp.float32(-3 - 1e-2))
  np.testing.assert_allclose(slope(1.0), (up - down) / 2e-2, rtol=1e-3)
  np.testing.assert_allclose(slope(0.25), slope(1.0) / 4, rtol=1e-5)
  after, _ = jax.jit(functools.partial(train_step, spec=spec, n_outputs=2))(state, hyper, batch)
  moved = after.params['loss_bias'] + 3  # one step of Adam; nothing decays
  np.testing.assert_allclose(abs(moved), 0.1, rtol=1e-3)
  with pytest.raises(ValueError, match="learnable_bias=True.*'info_nce' has no bias"):
    run_sweep(dataclasses.replace(spec, loss='info_nce'), grid({'lam': (0.0,)}))


@pytest.mark.parametrize('size', [1e-30, 1e-10, 1e-5, 1e5, 1e10, 1e30])
def test_cka_is_of_no_size(size):
  a, b, *rest = single(sides(5))
  wanted, (of_a, *_) = compiled('cka', [a, b, *rest])
  value, grads = compiled('cka', [np.float32(size) * a, b, *rest])
  np.testing.assert_allclose(value, wanted, rtol=1e-5)
  np.testing.assert_allclose(np.float64(grads[0]) * size, of_a, rtol=1e-3, atol=1e-6)
  both = compiled('cka', [np.float32(size) * a, np.float32(size) * b, *rest])[0]
  np.testing.assert_allclose(both, wanted, rtol=1e-5)


def test_cka_of_what_is_constant_but_for_rounding_is_1():
  _, b, *rest = single(sides(5))
  value, grads = compiled('cka', [np.float32(0.1 + 1e-8 * rest[0]), b, *rest])
  assert value == 1 and not any(g.any() for g in grads)


@pytest.mark.parametrize('width, shrinkage', [(32, 1e-3), (256, 1e-3), (256, 0.1)])
def test_an_inverse_is_that_of_float64(width, shrinkage):
  g = np.random.default_rng(0)
  z = g.normal(size=(width // 2, width)) * np.geomspace(1, 1e-3, width)  # a batch of low rank
  c = z.T @ z / len(z)
  c = (1 - shrinkage) * c + shrinkage * np.trace(c) / width * np.eye(width)
  found = np.asarray(jax.jit(moments.inverse)(np.float32(c)), np.float64)
  np.testing.assert_allclose(found @ c, np.eye(width), atol=2e-2)


def test_copies_of_few_components_are_those_of_a_narrower_table():
  g, key, few = np.random.default_rng(0), jax.random.key(1), 3
  x = np.zeros((4000, 12), np.float32)
  x[:, :few] = 2 * g.normal(size=(4000, few))  # as `pair_source.scaled` has it: 12 / 3 is 2 squared
  copy = jax.jit(augment.copy)
  found = np.asarray(copy(x, key, noise=0.3, masked=0.0, components=few)) - x
  assert not found[:, few:].any()
  assert (found[:, :few] / 2).std() == pytest.approx(0.3, rel=0.03)
  for all_of_them in (0, 12, 99):
    np.testing.assert_array_equal(
        copy(x, key, noise=0.3, masked=0.2, components=all_of_them),
        copy(x, key, noise=0.3, masked=0.2))
