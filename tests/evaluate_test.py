"""What is recorded of a trained pair: exact where the generator is, and below its ceilings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mmalign_jax import objective, types
from mmalign_jax.data.sources import SOURCES, ArrayTables
from mmalign_jax.encoders import sides
from mmalign_jax.training import evaluate, sweep
from mmalign_jax.types import Hyper, Spec

PLUS = 1e-6


# -- one score by hand -----------------------------------------------------------------------------


def test_score_of_logits_by_hand():
  prediction = jnp.log(jnp.array([[.9, .1], [.6, .4], [.2, .8], [.3, .7]]))  # 0 0 1 1
  target = jnp.array([[1., 0.], [.5, .5], [.25, .75], [1., 0.]])
  held_out = types.Test(jnp.zeros((4, 1)), target, jnp.array([0, 0, 1, 1]), n_folds=2)
  got = jax.jit(functools.partial(evaluate.score, spec=Spec()))(prediction, held_out)
  np.testing.assert_allclose(got.accuracy, (1 + .5 + .75 + 0) / 4, rtol=1e-6)
  np.testing.assert_allclose(got.accuracy_by_fold, [.75, .375], rtol=1e-6)
  task_loss = -np.array([np.log(.9), .5 * np.log(.6 * .4), .25 * np.log(.2) + .75 * np.log(.8),
                         np.log(.3)]).mean()
  np.testing.assert_allclose(got.task_loss, task_loss, rtol=1e-5)
  joint = np.array([[1.5, .5], [1.25, .75]]) / 4
  mutual = special.rel_entr(joint, np.outer(joint.sum(1), joint.sum(0))).sum()
  np.testing.assert_allclose(got.information, mutual, atol=1e-6)


def test_score_of_a_regression_by_hand():
  held_out = types.Test(jnp.zeros((4, 1)), jnp.array([1., -1., .5, -2.]), jnp.array([0, 1, 1, 1]),
                        n_folds=2)
  got = evaluate.score(jnp.array([2., 1., .5, -1.]), held_out, spec=Spec(task='l1'))
  np.testing.assert_allclose(got.accuracy, .75)
  np.testing.assert_allclose(got.accuracy_by_fold, [1, 2 / 3], rtol=1e-6)
  np.testing.assert_allclose(got.task_loss, (1 + 2 + 0 + 1) / 4)
  assert np.isnan(got.information)


# -- against samples -------------------------------------------------------------------------------


@functools.lru_cache
def generated(generator: str):
  return sweep.make_tables(Spec(generator=generator))


@pytest.mark.parametrize('generator, values', [
    ('bits', dict(redundancy=5, transform_depth=2)),
    ('atoms', dict(redundancy=.5, unique_1=.3, unique_2=.2, synergy=.4))])
def test_exact_scores_equal_those_of_many_samples(generator, values):
  n, source, tables = 200_000, SOURCES[generator], generated(generator)
  hyper = Hyper(flipped=0.1, mismatched=0.2, **values)
  spec, n_outputs = Spec(generator=generator, depth=1), source.n_outputs(tables)
  module, _ = objective.modules(spec, n_outputs)
  params = sides.init(jax.random.key(2), (module, module), 12, 12)
  params = jax.tree.map(lambda p: 3 * p, params)
  draws = jax.jit(source.draw, static_argnums=3)(tables, hyper, jax.random.key(1), n)
  y = np.asarray(draws.y)
  for i, x in enumerate(source.inputs(tables, hyper, draws.rows)):
    apply = jax.jit(lambda x, i=i: module.apply(params[f'side_{i + 1}'], x).prediction)
    held_out = jax.jit(source.test, static_argnums=2)(tables, hyper, i + 1)
    exact = jax.jit(functools.partial(evaluate.score, spec=spec))(apply(held_out.x), held_out)
    logits = np.asarray(apply(x), np.float64)
    correct, loss = logits.argmax(1) == y, -special.log_softmax(logits, axis=1)[np.arange(n), y]
    for got, samples in ((exact.accuracy, correct), (exact.task_loss, loss)):
      assert abs(got - samples.mean()) < 5 * samples.std() / np.sqrt(n)
    joint = np.zeros((n_outputs, n_outputs))
    np.add.at(joint, (logits.argmax(1), y), 1 / n)
    mutual = special.rel_entr(joint, np.outer(joint.sum(1), joint.sum(0))).sum()
    assert abs(exact.information - mutual) < 5e-3


# -- trained cells ---------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def trained():
  """Six cells of 200 steps at redundancy 0, 4, 8 and strength 0, 1."""
  spec = Spec(depth=1, steps=200, batch_size=128, n_align=64)
  return sweep.run_sweep(spec, sweep.grid({'redundancy': (0, 4, 8), 'lam': (0., 1.)}),
                         tables=generated('bits'), chunk=6)


def test_training_learns(trained):
  for side in trained.sides:
    assert (side.accuracy[4:] > 0.6).all()  # chance is 0.25, the ceiling 0.906
    assert (side.accuracy > 0.3).all() and (side.task_loss[4:] < 1.2).all()


def test_no_score_passes_its_exact_bound(trained):
  for side, known in zip(trained.sides, trained.bounds):
    ceiling, mi = known.accuracy, known.mi
    assert (side.accuracy <= ceiling + PLUS).all()
    assert (side.information <= mi + PLUS).all() and (side.information >= -PLUS).all()
    assert (side.task_loss >= np.log(4) - mi - 1e-3).all()
  np.testing.assert_allclose(trained.bounds[0].accuracy[::2], [.5412, .6663, .9063], atol=1e-4)


def test_alignment_makes_the_sides_more_alike(trained):
  (cka,), (knn,) = trained.cka, trained.mutual_knn
  assert (cka[1] > cka[0] + .05) and (cka[3] > cka[2])
  assert ((0 <= knn) & (knn <= 1)).all()
  assert (cka < 1 + PLUS).all()
  assert not trained.diverged.any()


# -- paired arrays ---------------------------------------------------------------------------------

N, M, FOLDS = 80, 30, 4


def paired(task: str) -> ArrayTables:
  """x1 [80, 5], x2 [80, 3] with a label that both tell: three classes, or a number."""
  g = np.random.default_rng(0)
  hidden = g.normal(size=(N + M, 2))
  x1 = hidden @ g.normal(size=(2, 5)) + .1 * g.normal(size=(N + M, 5))
  x2 = hidden @ g.normal(size=(2, 3)) + .1 * g.normal(size=(N + M, 3))
  y = hidden[:, 0].astype(np.float32)
  if task == 'cross_entropy':
    y = np.digitize(hidden[:, 0], [-.5, .5]).astype(np.int32)
  x1, x2, y = (jnp.asarray(a if a.dtype.kind == 'i' else np.float32(a)) for a in (x1, x2, y))
  return ArrayTables(
      (x1[:N], x2[:N]), y[:N], (x1[N:], x2[N:]), y[N:], fold=jnp.arange(M) % FOLDS,
      n_folds=FOLDS, n_outputs=1 if task == 'l1' else 3)


@pytest.mark.parametrize('task', ['cross_entropy', 'l1'])
def test_paired_arrays_run_and_are_learnt(task):
  spec = Spec(generator='paired', task=task, depth=1, batch_size=20, steps=200, max_train=N,
              n_align=512, neighbors=5)
  cells = sweep.run_sweep(spec, sweep.grid({'lam': (0., 1.)}, n_train=N, learning_rate=.02),
                          tables=paired(task), chunk=2)
  for side in cells.sides:
    assert side.accuracy_by_fold.shape == (2, FOLDS)
    counts = np.bincount(np.arange(M) % FOLDS)
    np.testing.assert_allclose(side.accuracy_by_fold @ counts / M, side.accuracy, atol=1e-6)
    assert (side.accuracy > .7).all() and np.isfinite(side.task_loss).all()
    assert np.isnan(side.information).all() == (task == 'l1')
  for unknown in jax.tree.leaves(cells.bounds):
    assert np.isnan(unknown).all()
  assert np.isfinite([cells.cka, cells.mutual_knn]).all() and not cells.diverged.any()


def test_training_rows_of_paired_arrays_are_a_permutation_with_the_pairs_kept():
  tables, source = paired('cross_entropy'), SOURCES['paired']
  draws = source.draw(tables, Hyper(), jax.random.key(0), N)
  np.testing.assert_array_equal(np.sort(draws.rows[0]), np.arange(N))
  np.testing.assert_array_equal(*draws.rows)
  np.testing.assert_array_equal(draws.y, tables.y[draws.rows[0]])
