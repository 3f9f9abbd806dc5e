"""A head on all sides: what it learns, what it leaves alone, and what it is said to be worth."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression
import xarray as xr

from mmalign_jax import objective, rng
from mmalign_jax.data import pairs as raw_pairs, prepared
from mmalign_jax.data.sources import SOURCES, ArrayTables
from mmalign_jax.generators import exact, synthetic
from mmalign_jax.named import hyper as hyper_of
from mmalign_jax.studies.strength import report, together
from mmalign_jax.studies.strength.plan import from_settings
from mmalign_jax.studies.strength.run import run_study
from mmalign_jax.training import fitting, sweep
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.types import Batch, Hyper, Spec

SPEC = Spec(generator='paired', depth=1, width=8, projection_width=4, batch_size=64, steps=300,
            max_train=192, n_align=16, neighbors=5, fusion_width=16)
FIXED = dict(n_train=192, learning_rate=1e-2, weight_decay=1e-3)


def xor_views(n: int, n_sides: int = 2, seed: int = 0):
  """Views [n, 3] of which the first column is a bit, and the XOR [n] of those of first and last."""
  g = np.random.default_rng(seed)
  bits = np.stack(np.unravel_index(np.arange(n) % 2**n_sides, (2,) * n_sides))  # balanced
  views = [np.column_stack([2 * bit - 1, g.normal(size=(n, 2))]).astype(np.float32)
           for bit in bits]
  return views, bits[0] ^ bits[-1]


def xor_tables(n_sides: int = 2) -> ArrayTables:
  views, y = xor_views(256, n_sides)
  y = y.astype(np.int32)
  return ArrayTables(tuple(v[:192] for v in views), y[:192], tuple(v[192:] for v in views), y[192:],
                     np.arange(64, dtype=np.int32) // 4 % 4, 4, 2)


def run(spec: Spec, tables, lam=(0.0, 1.0), seed=(0,)):
  return sweep.run_sweep(spec, sweep.grid({'lam': lam, 'seed': seed}, **FIXED), tables=tables)


# -- what it learns, and what it leaves alone ------------------------------------------------------


@pytest.fixture(scope='module')
def batch():
  g = np.random.default_rng(0)
  x = tuple(g.normal(size=(12, d)).astype(np.float32) for d in (3, 5, 4))
  present = tuple(g.random(12) < 0.7 for _ in x)
  return Batch(x, g.integers(0, 3, 12).astype(np.int32), present=present)


def losses_and_gradients(batch, fusion: str):
  spec = dataclasses.replace(SPEC, fusion=fusion, loss='')  # alignment compiles for long: below
  return gradient(spec)(hyper_of(lam=0.7), batch)


@functools.lru_cache
def gradient(spec: Spec):
  def of(hyper, batch):
    params = objective.init(jax.random.key(0), hyper, 3, 5, 4, spec=spec, n_outputs=3)
    grads, metrics = jax.grad(objective.objective, has_aux=True)(
        params, hyper, batch, jnp.float32(0.5), spec=spec, n_outputs=3)
    return params, grads, metrics
  return jax.jit(of)


def test_a_frozen_head_is_felt_by_no_encoder_and_a_trained_one_by_all(batch):
  params, none, alone = losses_and_gradients(batch, 'none')
  started, frozen, metrics = losses_and_gradients(batch, 'frozen')
  _, trained, both = losses_and_gradients(batch, 'trained')
  assert set(started) - set(params) == {objective.FUSION}
  for side in params:  # the sides start alike, and feel the same
    jax.tree.map(np.testing.assert_array_equal, params[side], started[side])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), none[side],
                 frozen[side])  # but for the rounding of another program
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), none[side], trained[side])
    assert max(jax.tree.leaves(moved)) > 1e-3
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7),
               frozen[objective.FUSION], trained[objective.FUSION])
  np.testing.assert_array_equal(metrics.task, alone.task)
  np.testing.assert_allclose(metrics.loss, alone.loss + metrics.fused, rtol=1e-6)
  assert both.fused == metrics.fused and alone.fused is None


def test_the_loss_is_that_of_the_samples_with_all_sides(batch):
  """Against NumPy, from the parameters."""
  params, _, metrics = losses_and_gradients(batch, 'frozen')
  spec = dataclasses.replace(SPEC, fusion='frozen')
  z = jax.jit(lambda params: [
      objective.outputs(module, params[f'side_{i + 1}'], x).z for i, (module, x) in
      enumerate(zip(objective.modules(spec, 3, 3), batch.x))])(params)
  head = params[objective.FUSION]['params']
  h = np.hstack(z) * 2 @ np.asarray(head['hidden']['kernel']).T + np.asarray(head['hidden']['bias'])
  h = np.where(h > 0, h, 0.1 * h)
  logits = h @ np.asarray(head['out']['kernel']).T + np.asarray(head['out']['bias'])
  log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
  whole = np.logical_and.reduce(batch.present)
  assert 0 < whole.sum() < 12
  np.testing.assert_allclose(
      metrics.fused, -log_p[np.flatnonzero(whole), batch.y[whole]].mean(), rtol=1e-5)


def test_a_sample_without_a_view_is_left_out_of_nothing_else(batch):
  _, _, metrics = losses_and_gradients(batch, 'trained')
  lacking = batch.present[2] & ~(batch.present[0] & batch.present[1])
  changed = batch.replace(
      x=(*batch.x[:2], np.where(lacking[:, None], 9.0, batch.x[2]).astype(np.float32)))
  _, _, other = losses_and_gradients(changed, 'trained')
  assert lacking.any() and other.fused == metrics.fused and other.task[2] != metrics.task[2]


def test_where_no_sample_has_all_sides_nothing_is_learnt_of_them(batch):
  none = batch.replace(present=(np.arange(12) < 6, np.arange(12) >= 6, np.ones(12, bool)))
  _, grads, metrics = losses_and_gradients(none, 'trained')
  assert metrics.fused == 0 and np.isfinite(metrics.loss)
  assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads[objective.FUSION]))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_a_regression_is_fused_as_one_number():
  tables = xor_tables()
  tables = tables.replace(
      y=np.float32(tables.y - 0.5), y_test=np.float32(tables.y_test - 0.5), n_outputs=1)
  spec = dataclasses.replace(SPEC, fusion='trained', task='l1')
  fitting.traceable(spec, tables)
  cell = jax.eval_shape(functools.partial(sweep.run_cell, spec=spec), hyper_of(**FIXED), tables)
  assert cell.fused.together.accuracy.shape == () == cell.fused.ceiling.shape
  x = tuple(v[:8] for v in tables.x)
  y = tables.y[:8]

  @jax.jit
  def of(batch):
    params = objective.init(jax.random.key(0), Hyper(), 3, 3, spec=spec, n_outputs=1)
    z = [objective.outputs(module, params[f'side_{i + 1}'], v).z
         for i, (module, v) in enumerate(zip(objective.modules(spec, 1), batch.x))]
    return objective.fused(params, z, spec=spec, n_outputs=1), objective.objective(
        params, Hyper(), batch, jnp.float32(0), spec=spec, n_outputs=1)[1]

  said, metrics = jax.device_get(of(Batch(x, y)))
  assert said.shape == (8,)
  np.testing.assert_allclose(metrics.fused, np.abs(said - y).mean(), rtol=1e-5)


def test_encoders_are_those_without_a_head_where_it_is_frozen():
  """Clipping included: the gradient of the head would shorten theirs."""
  spec, tables = dataclasses.replace(SPEC, steps=30, clip_norm=0.05), xor_tables()
  none = run(spec, tables)
  frozen = run(dataclasses.replace(spec, fusion='frozen'), tables)
  assert none.fused is None and not none.diverged.any()
  for one, other in zip(jax.tree.leaves(none), jax.tree.leaves(frozen.replace(fused=None)),
                        strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)
  for side, same in zip(frozen.sides, frozen.fused.sides):  # all test rows have both sides
    np.testing.assert_allclose(side.accuracy_by_fold, same.accuracy_by_fold, atol=1e-6)
    np.testing.assert_allclose(side.accuracy, same.accuracy, atol=1e-6)


def test_a_linear_frozen_head_is_a_logistic_regression():
  """Within 3 points on 1,000 test rows, whose standard error is 1.4 points."""
  g = np.random.default_rng(1)
  x = tuple(g.normal(size=(1500, 3)).astype(np.float32) for _ in range(2))
  logit = 2 * x[0][:, 0] + 2 * x[1][:, 0] - x[1][:, 1]
  y = (g.random(1500) < 1 / (1 + np.exp(-logit))).astype(np.int32)
  spec = dataclasses.replace(SPEC, fusion='frozen', fusion_width=0, steps=400)
  hyper = Hyper(learning_rate=1e-2, weight_decay=0.0)
  train = Batch(tuple(v[:500] for v in x), y[:500])
  state = jax.jit(lambda key: init_state(key, hyper, 3, 3, spec=spec, n_outputs=2))(
      jax.random.key(0))
  state, _ = jax.jit(lambda s: jax.lax.scan(
      lambda s, _: (train_step(s, hyper, train, spec=spec, n_outputs=2)[0], None), s, None,
      length=spec.steps))(state)
  z, logits = jax.jit(lambda params: (z := [
      objective.outputs(module, params[f'side_{i + 1}'], v).z
      for i, (module, v) in enumerate(zip(objective.modules(spec, 2), x))], objective.fused(
          params, z, spec=spec, n_outputs=2)))(state.params)
  guess = np.asarray(logits).argmax(axis=1)
  fitted = LogisticRegression(C=1e3, max_iter=2000).fit(np.hstack(z)[:500], y[:500])
  ours, theirs = (guess == y)[500:].mean(), fitted.score(np.hstack(z)[500:], y[500:])
  assert theirs > 0.7 and abs(ours - theirs) < 0.03


# -- what only all sides know ----------------------------------------------------------------------


def test_an_xor_of_three_sides_is_known_to_all_together_alone():
  spec = dataclasses.replace(SPEC, fusion='trained', loss='')  # as at strength 0
  found = run(spec, xor_tables(3), (0.0,), seed=(0, 1))
  assert (found.fused.together.accuracy > 0.9).all(), found.fused.together.accuracy
  assert len(found.fused.sides) == 3
  for side in found.fused.sides:
    assert (np.abs(side.accuracy - 0.5) < 0.2).all(), side.accuracy
  together_ = found.fused.together
  np.testing.assert_allclose(together_.accuracy_by_fold.mean(axis=1), together_.accuracy, atol=1e-6)


@pytest.mark.parametrize('generator, settings', [
    ('bits', dict(redundancy=4)), ('atoms', dict(redundancy=0.2, unique_1=0.1, synergy=0.5))])
def test_the_joint_test_of_a_generator_is_exact(generator, settings):
  row, source = synthetic.GENERATORS[generator], SOURCES[generator]
  tables, hyper = row.tables(Spec(generator=generator)), hyper_of(**settings)
  joint, known = jax.jit(lambda h: (
      source.joint(tables, h, jax.random.key(0)), exact.information(row, tables, h)))(hyper)
  target = np.asarray(joint.target, np.float64)
  assert target.max(axis=1).mean() == pytest.approx(float(known.bayes_accuracy), abs=1e-6)
  assert float(joint.ceiling) == known.bayes_accuracy
  assert len({*zip(*(rows.tolist() for rows in joint.rows))}) == 65_536  # every pair once
  for side in (1, 2):  # a side is judged as by its own test set, whatever it says
    test = jax.jit(lambda h, side=side: source.test(tables, h, side))(hyper)
    guess = np.random.default_rng(side).integers(0, target.shape[1], len(test.x))
    alone = np.asarray(test.target)[np.arange(len(guess)), guess].mean()
    on_joint = target[np.arange(len(target)), guess[joint.rows[side - 1]]].mean()
    assert on_joint == pytest.approx(alone, abs=1e-6)
    np.testing.assert_array_equal(joint.x[side - 1], test.x)


def test_where_the_second_side_is_noisy_it_is_a_drawn_sample_with_exact_answers():
  """p(y | x1, x2) by Bayes' rule over all 16 samples that x1 allows, in float64."""
  row, hyper = synthetic.GENERATORS['bits'], hyper_of(redundancy=4, flipped=0.1, mismatched=0.2)
  tables = row.tables(Spec())
  joint = jax.jit(lambda h: SOURCES['bits'].joint(tables, h, jax.random.key(0)))(hyper)
  masks, labels = (np.asarray(v) for v in row.task(tables, hyper))
  for i in np.random.default_rng(0).integers(0, 65_536, 60):
    x1, x2 = (int(rows[i]) for rows in joint.rows)
    sample = np.array([x1 | private << 12 for private in range(16)], np.uint32)
    wrong = bin((x1 ^ x2) & 255).count('1')
    likely = 0.8 * (np.arange(16) == x2 >> 8) * 0.1**wrong * 0.9**(8 - wrong) + 0.2 / 4096
    p_y = labels[np.asarray(synthetic.task_pattern(jnp.asarray(sample), jnp.asarray(masks)))]
    np.testing.assert_allclose(joint.target[i], likely @ p_y / likely.sum(), atol=1e-5)
  error = 4 * 0.5 / 256  # four standard errors
  assert abs(np.asarray(joint.target).max(axis=1).mean() - float(joint.ceiling)) < error


def test_test_rows_with_all_sides_keep_label_and_fold():
  g = np.random.default_rng(0)
  n = 120
  views = [g.normal(size=(n, 4)) for _ in range(2)]
  present = [g.random(n) < 0.7, np.ones(n, bool)]
  y, group = (np.arange(n) % 2).astype(np.int32), np.arange(n) // 6
  views[0][~present[0]] = np.nan
  test = group >= 14
  present[0][test & (group == 15)] = False  # a fold without any such row
  found = prepared.prepare(raw_pairs.Pairs(
      'x', ('a', 'b'), tuple(views), tuple(present), y, np.ones(n, bool), ('0', '1'), group, test))
  rows = np.flatnonzero(test & present[0])
  np.testing.assert_array_equal(found.unseen_y, y[rows])
  assert len(found.unseen[0]) == len(rows)
  assert sorted(set(found.unseen_fold)) == list(range(5)) and found.n_folds == 6
  tables = prepared.tables(found)
  joint = SOURCES['pairs'].joint(tables, Hyper(), rng.stream(0, 'x'))
  assert joint.n_folds == 5
  np.testing.assert_array_equal(joint.target.argmax(axis=1), y[rows])


# -- what is said ----------------------------------------------------------------------------------


def said_of(accuracy, fused, folds=None) -> xr.Dataset:
  """accuracy [S, sides], fused [S], folds: of both by fold."""
  dims = ('lam', 'seed')
  data = {'fused_accuracy': (dims, fused[None]),
          'joint_accuracy': ((*dims, 'encoder'), accuracy[None]),
          'fused_ceiling': (dims, np.full((1, len(fused)), np.nan)),
          'diverged': (dims, np.isnan(fused)[None])}
  if folds:
    data['fused_accuracy_by_fold'] = ((*dims, 'joint_fold'), folds[0][None])
    data['joint_accuracy_by_fold'] = ((*dims, 'joint_fold', 'encoder'), folds[1][None])
  return together.with_synergy(xr.Dataset(data, {
      'lam': [0.0], 'seed': np.arange(len(fused)), 'encoder': [1, 2]}))


def test_the_best_side_is_best_in_the_mean_over_seeds():
  accuracy = np.array([[0.7, 0.6], [0.5, 0.65], [0.58, 0.6], [0.6, 0.61], [0.6, 0.62]])
  fused = np.array([0.65, 0.66, 0.62, 0.64, 0.63])
  found = said_of(accuracy, fused)
  assert found['best_side'].values.tolist() == [2]
  np.testing.assert_allclose(found['synergy'][0], fused - accuracy[:, 1])  # of the first seed, too
  row, = together.entries(found)
  gain = fused - accuracy[:, 1]
  low, high = stats.t.interval(0.95, 4, gain.mean(), stats.sem(gain))
  np.testing.assert_allclose(row['synergy_interval'], [low, high])
  assert row['verdict'] == 'more' and row['synergy'] == pytest.approx(gain.mean())


def test_the_interval_joins_seeds_and_folds_and_leaves_diverged_ones_out():
  g = np.random.default_rng(0)
  by_fold = g.random((7, 4)), g.random((7, 4, 2))
  by_fold[0][3], by_fold[1][3] = np.nan, np.nan
  accuracy, fused = by_fold[1].mean(axis=1), by_fold[0].mean(axis=1)
  row, = together.entries(said_of(accuracy, fused, by_fold))
  fine = np.arange(7) != 3
  best = np.nanmean(accuracy, axis=0).argmax()
  gain = (by_fold[0] - by_fold[1][:, :, best])[fine]
  seeds, folds = gain.mean(axis=1), gain.mean(axis=0)
  halves = [stats.sem(v) * stats.t.ppf(0.975, len(v) - 1) for v in (seeds, folds)]
  np.testing.assert_allclose(np.diff(row['synergy_interval']), 2 * np.hypot(*halves))
  assert (row['seeds'], row['folds'], row['diverged']) == (6, 4, 1)
  assert together.entries(said_of(accuracy[:4], fused[:4]))[0]['verdict'] is None


@pytest.fixture(scope='module')
def study(tmp_path_factory):
  """(settings, data set, folder) of a study of a label that both sides tell only together."""
  folder = tmp_path_factory.mktemp('fused')
  (x1, x2), y = xor_views(320)
  np.savez(folder / 'data.npz', x1=x1, x2=x2, y=y)
  settings = dict(generator='paired', task='auto', data=str(folder / 'data.npz'), x1='x1', x2='x2',
                  y='y', lam=(0.0,), seed=(0, 1, 2, 3, 4), depth=1, width=8, projection_width=4,
                  batch_size=64, steps=300, n_align=16, neighbors=5, n_train=(),
                  learning_rate=(1e-2,), fusion='trained', fusion_width=16)
  plan = from_settings(settings)
  return settings, run_study(plan, folder / 'run', progress=False), folder / 'run'


def test_a_study_records_and_says_the_synergy(study):
  _, dataset, folder = study
  assert set(dataset['synergy'].dims) == set(dataset['fused_accuracy'].dims) == {'lam', 'seed'}
  assert set(dataset['joint_accuracy'].dims) == {'lam', 'seed', 'encoder'}
  assert 'judged on the 80 test rows that have all sides' in dataset.attrs['notes']
  said = report.write(dataset, folder, resamples=50)
  rows = json.loads((folder / 'summary.json').read_text())
  row, = [row for row in rows if row['encoder'] == 'fused']
  assert row['synergy'] > 0.3 and row['verdict'] == 'more' and row['fused_accuracy'] > 0.9
  assert 'more together' in said and (folder / 'figures' / 'synergy.png').exists()
  assert 'All sides together' in (folder / 'report.html').read_text()
  with xr.open_zarr(folder / 'results.zarr', zarr_format=2) as kept:
    xr.testing.assert_allclose(kept['synergy'].load(), dataset['synergy'])


def test_a_folder_with_a_head_is_not_one_without(study, tmp_path):
  settings, _, folder = study
  plain = {**settings, 'fusion': 'none'} | {'fusion_width': Spec.fusion_width}
  with pytest.raises(ValueError, match="holds another configuration .*fusion: 'trained' there"):
    run_study(from_settings(plain), folder, progress=False)
  assert not {'fusion', 'fusion_width'} & set(from_settings(plain).settings)  # as before
  (tmp_path / 'config.json').write_text(json.dumps(from_settings(plain).settings, default=float))
  with pytest.raises(ValueError, match="fusion: None there, 'trained' now"):
    run_study(from_settings(settings), tmp_path, progress=False)


@pytest.mark.parametrize('given, words', [
    ({'fusion_width': 8}, 'fusion_width=8 has no effect without fusion=frozen or fusion=trained'),
    ({'fusion': 'late'}, "fusion 'late' is unknown; known: frozen, none, trained"),
    ({'fusion': 'frozen', 'fusion_width': -1}, 'fusion_width=-1 must be')])
def test_what_cannot_be_is_one_line(given, words):
  with pytest.raises(ValueError) as error:
    from_settings(given)
  assert words in str(error.value) and '\n' not in str(error.value)


def test_a_source_without_joint_test_rows_is_refused(monkeypatch):
  bits = SOURCES['bits']
  monkeypatch.setitem(SOURCES, 'lone', dataclasses.replace(bits, joint=None))
  with pytest.raises(ValueError, match="fusion='frozen': generator 'lone' has no `joint`"):
    from_settings({'generator': 'lone', 'fusion': 'frozen'})
