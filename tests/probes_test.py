"""Linear probes beside scikit-learn, factors beside the bits themselves, a cell beside many."""

import dataclasses
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn import discriminant_analysis, linear_model, metrics
import xarray as xr

from mmalign_jax.data.sources import SOURCES
from mmalign_jax.generators import factors
from mmalign_jax.similarity import probe
from mmalign_jax.studies.strength import chunks, figures, plan, report, retention
from mmalign_jax.studies.strength.run import run_study
from mmalign_jax.training import probes, sweep
from mmalign_jax.types import Factor, Hyper, Spec

N, M, D, K = 400, 1000, 6, 3


def rows(n, rate=0.5, seed=0):
  """Correlated features [n, D] off the origin, and bits [n, K] that they tell in part."""
  rng = np.random.default_rng(seed)
  x = rng.normal(size=(n, D)) @ (np.eye(D) + 0.2 * np.random.default_rng(9).normal(size=(D, D))) + 2
  noisy = x @ np.random.default_rng(8).normal(size=(D, K)) + 3 * rng.normal(size=(n, K))
  return np.float32(x), np.float32(noisy > np.quantile(noisy, 1 - rate, axis=0))


# -- one probe -------------------------------------------------------------------------------------


@pytest.mark.parametrize('ridge', [0.0, probe.RIDGE, 0.3])
def test_weights_are_those_of_scikit_learn(ridge):
  x, bits = rows(N, 0.3)
  wide = np.float64(x - x.mean(0))
  alpha = ridge * np.trace(wide.T @ wide) / D
  expected = linear_model.Ridge(alpha=alpha).fit(np.float64(x), 2 * np.float64(bits) - 1)
  np.testing.assert_allclose(probe.fit(x, bits, ridge=ridge).weights, expected.coef_.T, atol=1e-5)


def test_without_penalty_it_is_the_discriminant_cut_midway():
  x, bits = rows(N, 0.2)
  more, _ = rows(M, seed=1)
  said = probe.decide(probe.fit(x, bits, ridge=0), more)
  for k in range(K):
    lda = discriminant_analysis.LinearDiscriminantAnalysis(solver='lsqr').fit(
        np.float64(x), bits[:, k])
    score = lda.decision_function(more) - np.log(lda.priors_[1] / lda.priors_[0])
    clear = abs(score) > 1e-3
    np.testing.assert_array_equal(said[clear, k], score[clear] > 0)
    assert clear.mean() > 0.98


def test_of_bits_as_often_1_as_0_it_is_the_ridge_classifier():
  x, bits = rows(N)
  wide = np.float64(x - x.mean(0))
  ridge = linear_model.RidgeClassifier(alpha=probe.RIDGE * np.trace(wide.T @ wide) / D)
  said = probe.decide(probe.fit(x, bits), x)
  for k in range(K):
    score = ridge.fit(np.float64(x), bits[:, k]).decision_function(x)
    clear = abs(score) > 1e-3
    np.testing.assert_array_equal(said[clear, k], score[clear] > 0)


@pytest.mark.parametrize('ridge, rotation', [(0.0, False), (probe.RIDGE, True)])
def test_what_a_probe_says_is_invariant(ridge, rotation):
  """To invertible maps without a penalty, to orthogonal ones times a factor with it; to shifts."""
  x, bits = rows(N)
  a = np.random.default_rng(2).normal(size=(D, D))
  a = 0.01 * np.linalg.qr(a)[0] if rotation else a
  y = np.float32(x @ a - 7)
  one, two = (probe.fit(v, bits, ridge=ridge) for v in (x, y))
  scores = [np.asarray(v @ p.weights - p.cut[None]) for v, p in ((x, one), (y, two))]
  np.testing.assert_allclose(*scores, atol=2e-3)


def test_what_is_constant_but_for_rounding_tells_nothing():
  _, bits = rows(N)
  x = np.float32(np.full((N, D), 0.3) + 1e-8 * bits[:, :1])
  said = probe.decide(probe.fit(x, bits), x)
  assert np.isfinite(probe.fit(x, bits).weights).all() and not said.any()
  np.testing.assert_array_equal(probe.balanced_accuracy(said, bits), 0.5)


# -- its judge -------------------------------------------------------------------------------------


def test_balanced_accuracy_is_that_of_every_input_twice():
  """An input of p = 3/4 is three samples of 1 and one of 0."""
  rng = np.random.default_rng(3)
  said, quarters = rng.random((50, K)) > 0.4, rng.integers(0, 5, (50, K))
  found = probe.balanced_accuracy(jnp.asarray(said), jnp.float32(quarters / 4))
  for k in range(K):
    true = np.repeat([1, 0], 50)
    weight = np.concatenate([quarters[:, k], 4 - quarters[:, k]])
    expected = metrics.balanced_accuracy_score(true, np.tile(said[:, k], 2), sample_weight=weight)
    np.testing.assert_allclose(found[k], expected, rtol=1e-6)


def test_chance_is_a_half_whatever_is_said_and_however_rare_the_bit():
  said = np.random.default_rng(4).random((64, K)) > [[0.5, 0.1, 0.9]]
  for rate in (0.5, 0.25, 1 / 64):
    independent = jnp.full((64, K), rate)
    np.testing.assert_allclose(
        probe.balanced_accuracy(jnp.asarray(said), independent), 0.5, atol=1e-6)
  one = jnp.asarray([[True], [True], [True], [False], [False]])
  of_all = [float(probe.balanced_accuracy(one, jnp.float32(p)[:, None])[0])
            for p in itertools.permutations([1, 1, 0, 0, 0])]
  np.testing.assert_allclose(np.mean(of_all), 0.5, atol=1e-6)
  assert np.isnan(probe.balanced_accuracy(one, jnp.ones((5, 1)))[0])


# -- factors of the generators ---------------------------------------------------------------------


def bits_of(row, side):
  """The 12 bits [N, 12] that a side sees: 8 shared, 4 of its own."""
  return (np.asarray(row)[:, None] >> np.arange(12)) & 1


SETTINGS = [('bits', dict(redundancy=r)) for r in (0, 3, 8)] + [
    ('bits', dict(redundancy=5, flipped=0.2, mismatched=0.3)), ('atoms', dict(redundancy=0.4))]


def hyper_of(values):
  """With every field an array, so that all settings share a program."""
  return jax.tree.map(jnp.float32, Hyper(**{'flipped': 0.0, 'mismatched': 0.0, **values}))


@functools.cache
def read_from_input(generator):
  """hyper -> of either side: Retention of the input, the input without its first bit, and nothing;
  rows of the samples, and the factors of these and of all inputs."""
  source = SOURCES[generator]
  tables = source.tables(Spec())

  def read(hyper, side):
    rows = source.draw(tables, hyper, jax.random.key(1), probes.N_FIT).rows
    x = source.inputs(tables, hyper, rows)[side - 1]
    every = source.test(tables, hyper, side).x
    samples, exact = (source.factors(tables, hyper, side, of) for of in (rows, None))
    layers = ([v, v[:, 1:], jnp.zeros_like(v)] for v in (x, every))
    return probes.retention(*layers, samples, exact), rows, samples, exact
  return jax.jit(lambda hyper: tuple(read(hyper, side) for side in (1, 2)))


@pytest.mark.parametrize('generator, values', SETTINGS)
@pytest.mark.parametrize('side', [1, 2])
def test_groups_part_the_bits_that_a_side_sees(generator, values, side):
  _, drawn, samples, exact = read_from_input(generator)(hyper_of(values))[side - 1]
  assert [f.name for f in samples] == [f.name for f in exact] == list(factors.WORDS)
  own = [np.asarray(f.p)[:, np.asarray(f.held)] for f in samples if f.name != 'unique_other']
  seen = bits_of(drawn[side - 1], side)
  assert sorted(map(bytes, np.concatenate(own, 1).T.astype(np.uint8))) == sorted(
      map(bytes, seen.T.astype(np.uint8)))
  row = np.asarray(drawn[side - 1])
  for one, every in zip(samples, exact):
    np.testing.assert_array_equal(one.held, every.held)
    if one.name == 'unique_other':
      np.testing.assert_array_equal(every.p, 0.5)
      other = bits_of(drawn[2 - side], 3 - side)[:, 8:]
      for bit in np.asarray(one.p)[:, np.asarray(one.held)].T:
        assert any((bit == column).all() for column in other.T)
    else:
      np.testing.assert_array_equal(np.asarray(every.p)[row], one.p)


@pytest.mark.parametrize('redundancy, counts', [(0, (0, 4, 8, 0, 4)), (5, (5, 1, 3, 3, 2)),
                                                (8, (8, 0, 0, 4, 0))])
def test_group_sizes_of_bits(redundancy, counts):
  *_, found = read_from_input('bits')(hyper_of({'redundancy': redundancy}))[0]
  assert tuple(int(f.held.sum()) for f in found if f.name != 'synergy') == counts


@pytest.mark.parametrize('generator, values', SETTINGS)
@pytest.mark.parametrize('side', [1, 2])
def test_the_input_tells_all_that_a_side_sees_and_nothing_else(generator, values, side):
  found, _, _, exact = read_from_input(generator)(hyper_of(values))[side - 1]
  for factor, (whole, lacking, nothing) in zip(exact, np.asarray(found.accuracy).T):
    count = int(np.sum(factor.held))
    if factor.name == 'unique_other' or not count:
      np.testing.assert_array_equal([whole, lacking, nothing], 0.5 if count else np.nan)
      continue
    first = np.asarray(factor.p)[:, np.asarray(factor.held)] == np.arange(4096)[:, None] % 2
    without = first.all(axis=0).any()  # of a bit that is independent of all others: exactly 1/2
    np.testing.assert_allclose(
        [whole, lacking, nothing], [1, 1 - without / 2 / count, 0.5], atol=1e-6)
  np.testing.assert_array_equal(found.chance, np.where(np.isnan(found.accuracy[0]), np.nan, 0.5))


# -- in cells --------------------------------------------------------------------------------------

SETTINGS_OF_STUDY = dict(
    probes=True, redundancy=(2,), lam=(0.0, 2.0), learning_rate=(5e-3, 1e30), seed=(0, 1, 2),
    steps=20, depth=1, batch_size=32, n_train=(64,), n_align=64, resamples=20, chunk=4)


@pytest.fixture(scope='module')
def study():
  return plan.from_settings(SETTINGS_OF_STUDY)


@pytest.fixture(scope='module')
def swept(study, tmp_path_factory):
  folder = tmp_path_factory.mktemp('swept')
  run_study(study, folder, progress=False)
  return folder, xr.open_zarr(folder / 'results.zarr').load()


def test_together_they_are_as_alone(study, swept):
  _, dataset = swept
  assert dataset['retention'].dims == (
      'learning_rate', 'redundancy', 'lam', 'seed', 'encoder', 'layer', 'factor')
  at = np.array([4])  # lam 2, the second seed; the program of all, filled up with this cell
  alone = sweep.run_sweep(study.spec, jax.tree.map(lambda v: v[at], study.hypers), chunk=4)
  for i, side in enumerate(alone.retention):
    together = dataset['retention'].isel(learning_rate=0, redundancy=0, encoder=i).values
    np.testing.assert_allclose(  # an input at the cut may change sides
        together[1, 1], side.accuracy[0], atol=2e-3)


def test_vmapped_they_are_as_one_by_one():
  parts = [rows(N, seed=s) for s in range(3)]
  x, bits = (jnp.stack([part[i] for part in parts]) for i in (0, 1))
  of = lambda x, bits: probes.retention(
      [x, x[:, :2], x**2], [x[::2], x[::2, :2], x[::2]**2],
      [Factor(bits, jnp.ones(K, bool))], [Factor(bits[::2], jnp.ones(K, bool))]).accuracy
  together, one = jax.jit(jax.vmap(of))(x, bits), jax.jit(of)
  np.testing.assert_allclose(together, [one(*part) for part in parts], atol=6e-3)  # an x in 200
  assert together.shape == (3, 3, 1) and len(np.unique(together)) == 9


def test_a_diverged_cell_is_nan_and_the_control_is_at_chance(swept):
  read = swept[1]['retention'].isel(redundancy=0)
  assert np.isnan(read.isel(learning_rate=1)).all()
  fine = read.isel(learning_rate=0)
  np.testing.assert_array_equal(fine.sel(factor='unique_other'), 0.5)
  told = fine.drop_sel(factor=['synergy', 'unique_other'])
  assert (told > 0.5).all() and (told <= 1).all() and np.isnan(fine.sel(factor='synergy')).all()


def test_without_probes_a_cell_has_none(study):
  off = dataclasses.replace(study.spec, probes=False)
  one = jax.tree.map(lambda v: v[0], study.hypers)
  cell = jax.eval_shape(functools.partial(sweep.run_cell, spec=off), one, study.tables)
  assert cell.retention == () and cell.sides[0].accuracy.shape == ()


def test_sources_without_factors_refuse_in_one_line():
  why = ("probes=True: generator '{}' names no factors to be read from a layer; "
         'atoms, bits, few_bits do')
  for generator in ('paired', 'pairs'):
    with pytest.raises(ValueError) as caught:
      plan.from_settings({'generator': generator, 'data': 'digits', 'probes': True})
    assert str(caught.value) == why.format(generator)
  with pytest.raises(ValueError, match='probes=1 must be True or False'):
    plan.from_settings({'probes': 1})


def test_off_it_is_not_in_the_record():
  off, on = plan.from_settings({}), plan.from_settings({'probes': True})
  assert 'probes' not in off.settings and on.settings['probes'] is True
  assert not any('retention' in name for name in chunks._variables_of(off))


# -- a study ---------------------------------------------------------------------------------------


def test_encoders_of_other_depths_and_factors_are_matched_by_name(monkeypatch):
  bits = SOURCES['bits']
  named = lambda *_: (Factor(jnp.ones((4096, 1)), jnp.array([True]), 'own'),)
  monkeypatch.setitem(SOURCES._own, 'odd', dataclasses.replace(
      bits, factors=lambda t, h, side, rows: (
          named() if side == 1 else bits.factors(t, h, side, rows)[:2])))
  study = plan.from_settings(dict(generator='odd', probes=True, seed=(0, 1), depth_1=1, depth_2=2))
  values = {'retention_1': np.arange(4.).reshape(2, 2, 1), 'chance_1': np.full((2, 1), 0.5),
            'retention_2': 10 + np.arange(12.).reshape(2, 3, 2), 'chance_2': np.full((2, 2), 0.5)}
  found = retention.variables(study, values)
  read = found['retention'].isel(redundancy=0, lam=0)
  assert found['retention'].dims == ('redundancy', 'lam', 'seed', 'encoder', 'layer', 'factor')
  assert read['layer'].values.tolist() == ['hidden_1', 'hidden_2', 'z']
  assert read['factor'].values.tolist() == ['own', 'shared', 'unique']
  nan = np.nan
  np.testing.assert_array_equal(read.isel(encoder=0, seed=1),
                                [[2, nan, nan], [nan, nan, nan], [3, nan, nan]])
  np.testing.assert_array_equal(read.isel(encoder=1, seed=0),
                                [[nan, 10, 11], [nan, 12, 13], [nan, 14, 15]])
  np.testing.assert_array_equal(found['chance'].isel(redundancy=0, lam=0, seed=0),
                                [[.5, nan, nan], [nan, .5, .5]])


def kept(values):
  values = np.asarray(values, float)
  return retention.Kept({}, 1, 'unique', 'z', 'lam', np.arange(len(values)) / 2., values, 0.5)


def test_a_change_and_its_interval_by_hand():
  values = np.array([[.9, .8, .95], [.7, .65, .72], [.91, .8, .94]])
  mean, half = kept(values).change()
  np.testing.assert_allclose(mean, [0, -.58 / 3, 0], atol=1e-12)
  moved = values[1] - values[0]
  low, high = stats.t.interval(.95, 2, moved.mean(), stats.sem(moved))
  np.testing.assert_allclose([mean[1] - half[1], mean[1] + half[1]], [low, high])
  assert kept(values).falls_from() is None  # it comes back at the highest strength


@pytest.mark.parametrize('means, at', [
    ([.9, .9, .6, .5], 1.0), ([.9, .6, .6, .5], 0.5), ([.9, .5, .9, .5], 1.5),
    ([.5, .6, .7, .9], None)])
def test_where_a_fall_begins(means, at):
  jitter = 0.01 * np.array([[-1, 0, 1], [1, -1, 0], [0, 1, -1], [1, 0, -1]])
  assert kept(np.array(means)[:, None] + jitter).falls_from() == at
  assert kept(np.array(means)[:, None] + jitter[:, :2]).falls_from() is None  # two seeds


def test_a_study_tells_what_is_kept(swept):
  folder, dataset = swept
  said = report.write(dataset, folder, resamples=20, figures=False)
  assert 'falls from' in said and 'hidden_1' in said
  summary = json.loads((folder / 'summary.json').read_text())
  row = next(r for r in summary[1]['retention'] if (r['factor'], r['layer']) == ('shared', 'z'))
  assert summary[1]['encoder'] == 2 and summary[1]['learning_rate'] == 5e-3
  values = dataset['retention'].isel(learning_rate=0).sel(
      encoder=2, factor='shared', layer='z').squeeze().values  # [2, 3]
  np.testing.assert_allclose(row['retention'], values.mean(1), rtol=1e-6)
  np.testing.assert_allclose(row['change'][1], (values[1] - values[0]).mean(), atol=1e-7)
  assert {r['factor'] for r in summary[0]['retention']} == set(factors.WORDS) - {'synergy'}


def test_a_picture_has_a_panel_per_encoder_and_factor(swept):
  drawn = figures.retention_figures(swept[1])  # of the learning rate at which none diverged
  assert list(drawn) == ['retention']
  panels = [axis for axis in drawn['retention'].axes if axis.lines]
  assert len(panels) == 2 * 5 and {axis.get_title() for axis in panels} >= {
      'encoder 1: shared', 'encoder 2: unique_other'}
  for axis in panels:
    layers = [line for line in axis.lines if not line.get_label().startswith('_')]
    assert [line.get_label() for line in layers] == ['hidden_1', 'z']
    assert len(axis.collections) == 2  # bands
    assert {tuple(line.get_ydata()) for line in axis.lines if line not in layers} == {(0.5, 0.5)}
