"""The emergence study on pairs: who is trained on what, what is compared with what, and chance."""

import doctest
import json
import shutil

import jax
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli, rng, similarity
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import plan as generated
from mmalign_jax.studies.emergence.real import correlation, report, similar
from mmalign_jax.studies.emergence.unit import Unit
from mmalign_jax.training import alone

STUDY = registry.STUDIES['emergence']
SMALL = dict(
    generator='pairs', data='digits', depth=(1, 2), seed=(0, 1), width=4, batch_size=256,
    epochs_1=1, epochs_2=2, tune_epochs_1=1, tune_epochs_2=2, learning_rate=(5e-3, 1e-2),
    weight_decay=(0.0,), bands=((1, 2),), n_align=32, neighbors=4, permutations=9, resamples=50)
DEFAULTS = generated.defaults()
LONE = {'learning_rate': (1e-2,)} | {  # nothing to tune
    name: DEFAULTS[name] for name in ('bands', 'tune_epochs_1', 'tune_epochs_2')}
CKA = {'measures': ('debiased_linear_cka',), 'neighbors': DEFAULTS['neighbors'],
       'clip_quantile': (1.0,)}
DIMS = ('depth', 'seed')


def build(**settings):
  return STUDY.from_settings(SMALL | settings)


def run(path, shard=(1, 1), **settings):
  return STUDY.run(build(**settings), path, shard=shard, progress=False)


def same(a, b):
  xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())  # to the last bit


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  path = tmp_path_factory.mktemp('whole')
  return path, run(path)


def write(path, n=120, labels='classes', lacking=0, unlabelled=0, groups=0):
  """Pairs of two noisy views of one hidden number as a file."""
  random = np.random.default_rng(0)
  hidden = random.normal(size=n)
  view = lambda width: hidden[:, None] + random.normal(size=(n, width))
  x1, x2 = view(5), view(3)
  x1[:lacking] = np.nan
  y = hidden if labels == 'numbers' else (hidden > 1).astype(float)
  y[n - unlabelled:] = np.nan
  arrays = {'x1': x1, 'x2': x2, 'y': y}
  if groups:
    arrays['group'] = np.arange(n) % groups
  np.savez(path / 'data.npz', **arrays)
  own = dict(data=str(path / 'data.npz'), x1='x1', x2='x2', y='y', batch_size=16)
  return own | ({'group': 'group'} if groups else {})


# -- what is trained -------------------------------------------------------------------------------


def test_dimensions_variables_and_units(whole):
  path, dataset = whole
  xr.testing.assert_identical(xr.open_zarr(path / 'results.zarr').load(), dataset)
  assert (dataset.sizes['depth'], dataset.sizes['seed'], dataset.sizes['encoder']) == (2, 2, 2)
  for name in ('accuracy', 'balanced_accuracy', 'best_epoch', 'diverged'):
    for side in (1, 2):
      assert dataset[f'{name}_{side}'].dims == DIMS and dataset[f'{name}_{side}'].attrs['long_name']
  for name in ('debiased_linear_cka', 'mutual_knn'):
    for end in ('', '_calibrated', '_p_value', '_null_mean', '_layer_own', '_layer_best'):
      assert dataset[name + end].dims == ('encoder', 'clip_quantile', *DIMS)
      assert dataset[name + end].attrs['units'] and np.isfinite(dataset[name + end]).all()
    assert (dataset[f'{name}_layer_own'] <= dataset['depth']).all()


def test_accuracy_is_that_of_the_test_rows_of_the_side(whole):
  path, dataset = whole
  plan = build()
  for side in (1, 2):
    x, y, _ = plan.tables.test[side - 1]
    unit = Unit(side, 2, 0, 1, 0, 0.0, 0.0)
    arrays = np.load(path / 'encoders' / f'{unit.name}.npz')
    params = {}
    for name in (name for name in arrays.files if name.startswith('params/')):
      at, (*parents, last) = params, name.split('/')[1:]
      for parent in parents:
        at = at.setdefault(parent, {})
      at[last] = arrays[name][0]
    module = sides.Side(plan.protocol(unit).spec, 10)
    scale = np.asarray(plan.tables.spread[side - 1])[-1]
    predict = jax.jit(lambda params, x: module.apply(params, x).prediction)
    guess = np.argmax(np.asarray(predict(params, np.asarray(x) / scale)), axis=1)
    right = guess == np.asarray(y)
    here = dict(depth=2, seed=1)
    assert float(dataset[f'accuracy_{side}'].sel(here)) == pytest.approx(right.mean(), abs=1e-6)
    by_class = [right[np.asarray(y) == c].mean() for c in range(10)]
    assert float(dataset[f'balanced_accuracy_{side}'].sel(here)) == pytest.approx(
        np.mean(by_class), abs=1e-6)


def test_only_labelled_rows_that_have_the_side_are_learnt(tmp_path):
  plan = build(**write(tmp_path, lacking=30, unlabelled=40), n_validation=5)
  source, tables = SOURCES['pairs'], plan.tables
  assert plan.learnt[0] < plan.learnt[1] < len(tables.y)
  for side in (1, 2):
    unit = Unit(side, 1, 0, 0, 1, 1e-2, 0.0)
    protocol, hyper = plan.protocol(unit), plan.hyper(unit)
    module = sides.Side(protocol.spec, 2)
    y, rows = jax.jit(lambda hyper, tables: alone.labelled(
        hyper, tables, source.test(tables, hyper, side), source, module, protocol)[:2])(
            hyper, tables)
    rows = np.asarray(rows)
    assert len(set(rows)) == len(rows) == plan.learnt[side - 1]
    assert np.asarray(tables.labelled)[rows].all()
    assert np.asarray(tables.present[side - 1])[rows].all()
    np.testing.assert_array_equal(y, np.asarray(tables.y)[rows])


def test_tuning_and_the_best_are_by_validation(whole):
  path, dataset = whole
  for row in json.loads((path / 'tuning.json').read_text()):
    best = max(row['candidates'], key=lambda c: c['validation_accuracy'])
    assert len(row['candidates']) == 2 and row['learning_rate'] == best['learning_rate']
    np.testing.assert_allclose(dataset[f'learning_rate_{row["side"]}'], row['learning_rate'])
  for side, unit in json.loads(dataset.attrs['best']).items():
    reached = dataset[f'validation_{side}'].max(f'epoch_{side}')
    assert reached.sel(depth=unit['depth'], seed=unit['seed']) == reached.max()


# -- what is compared ------------------------------------------------------------------------------


def test_similarity_is_to_the_best_of_the_other_side_and_chance_is_its_permutation(whole):
  path, dataset = whole
  plan, best = build(), json.loads(dataset.attrs['best'])
  tuned = {side: float(dataset[f'learning_rate_{side}'][0]) for side in (1, 2)}
  layers = lambda side, depth, seed: similar.representations(
      plan, path, Unit(side, depth, 0, seed, 1, tuned[side], 0.0))
  x = layers(1, 2, 0)
  y = layers(2, best['2']['depth'], best['2']['seed'])
  assert x.shape[1] == y.shape[1] == 32
  for clip in (1.0, 0.95):
    change = lambda z, clip=clip: similarity.normalize(
        similarity.clip(z, quantile=clip) if clip < 1 else z)
    found = jax.jit(lambda x, y, change=change: similarity.calibrate(
        similarity.MEASURES['debiased_linear_cka'], [change(z) for z in x], [change(z) for z in y],
        key=rng.stream(np.uint32(0), 'null'), permutations=9))(x, y)
    here = dict(encoder=1, depth=2, seed=0, clip_quantile=clip)
    for end, value in (('', found.score), ('_null_mean', found.null_mean),
                       ('_calibrated', found.calibrated), ('_p_value', found.p_value)):
      assert float(dataset[f'debiased_linear_cka{end}'].sel(here)) == pytest.approx(
          float(value), abs=1e-5)


def test_sequences_of_several_widths_go_through_transformers(tmp_path):
  random, n = np.random.default_rng(0), 60
  y = random.integers(2, size=n)
  view = lambda width: y[:, None, None] + random.normal(size=(n, 4, width))
  np.savez(tmp_path / 'data.npz', x1=view(3), x2=view(5), y=y)
  own = LONE | CKA | dict(
      data=str(tmp_path / 'data.npz'), x1='x1', x2='x2', y='y', pool='none', depth=(1,),
      encoder='sequence_transformer', width=DEFAULTS['width'], n_validation=5, batch_size=16,
      n_align=14, layers='none', epochs_2=1, seed=(0,))
  dataset = run(tmp_path / 'run', **own)
  assert np.isfinite(dataset['debiased_linear_cka']).all() and dataset['accuracy_1'].shape == (1, 1)
  with pytest.raises(ValueError, match=r'layers of 12, 24 units; this study compares'):
    build(**own | {'encoder': 'audio_cnn1d', 'width': 12, 'depth': (1, 2)})


def test_groups_change_places_whole_and_uneven_classes_are_said(tmp_path):
  own = write(tmp_path, groups=12) | LONE | CKA | dict(
      n_validation=5, permutations=50, depth=(1,), epochs_2=1)
  plan = build(**own)
  assert plan.group is not None and len(np.unique(plan.group)) == 3  # a quarter of 12 is tested
  dataset = run(tmp_path / 'run', **own)
  p = dataset['debiased_linear_cka_p_value'].values
  np.testing.assert_allclose(6 * p, np.round(6 * p), atol=1e-5)  # of 3! arrangements
  text = registry.answer(STUDY, plan, dataset, tmp_path, figures=False)
  assert 'move whole groups, of which there are 3' in text
  share = json.loads(dataset.attrs['class_shares'])[0]
  y = np.asarray(plan.tables.test[0][1])
  np.testing.assert_allclose(share, [(y == 0).mean(), (y == 1).mean()])
  assert 'read the balanced accuracy' in text


def test_a_regression_is_scored_by_sign_error_and_correlation(tmp_path):
  own = write(tmp_path, labels='numbers') | CKA | dict(
      task='l1', n_validation=20, epochs_1=20, epochs_2=20, tune_epochs_1=20, tune_epochs_2=20,
      depth=(1,), bands=((1, 1),))
  dataset = run(tmp_path / 'run', **own)
  row = json.loads((tmp_path / 'run' / 'tuning.json').read_text())[0]
  assert row['negative_validation_error'] == max(
      c['negative_validation_error'] for c in row['candidates']) < 0
  assert float(dataset['correlation_1'].max()) > 0.7 and float(dataset['accuracy_1'].max()) > 0.7
  assert 0 < float(dataset['absolute_error_1'].min()) < 0.8
  text = registry.answer(STUDY, build(**own), dataset, tmp_path, figures=False)
  assert 'absolute error (less is better)' in text and 'balanced' not in text


# -- nothing is lost -------------------------------------------------------------------------------


def test_a_damaged_encoder_is_trained_again_and_nothing_else(whole, tmp_path):
  finished, dataset = whole
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  first, *others = sorted((tmp_path / 'encoders').glob('*.npz'))
  first.write_bytes(first.read_bytes()[:300])
  kept = [p.stat().st_mtime_ns for p in others]
  same(run(tmp_path), dataset)
  assert [p.stat().st_mtime_ns for p in others] == kept


def test_shards_are_merged_to_the_whole(whole, tmp_path, capsys):
  assert run(tmp_path / '1', shard=(1, 2)) is None
  (tmp_path / '2').mkdir()
  (tmp_path / '2' / 'tuning.json').write_bytes((whole[0] / 'tuning.json').read_bytes())
  run(tmp_path / '2', shard=(2, 2))
  assert cli.main(['merge', str(tmp_path / '1'), '--workdir', str(tmp_path / 'a')]) == 2
  assert 'of 4 cells are missing' in capsys.readouterr().err
  assert cli.main(['merge', *(str(tmp_path / name) for name in '12'), '--nofigures']) == 0
  assert 'alignment / performance' in capsys.readouterr().out
  same(xr.open_zarr(tmp_path / 'merged' / 'results.zarr').load(), whole[1])


def test_shards_in_one_folder_finish_together(whole, tmp_path):
  assert run(tmp_path, shard=(2, 2)) is None
  same(run(tmp_path, shard=(1, 2)), whole[1])


@pytest.mark.parametrize('settings, message', [
    (dict(unique=(0, 1)), r'unique=\(0, 1\) is a setting of generators'),
    (dict(transform_depth=(3,)), r'transform_depth=\(3,\) is a setting of generators'),
    (dict(untransformed_depth=(2,)), r'untransformed_depth=\(2,\) is a setting of generators'),
    (dict(n_train=100), 'n_train=100 has no effect'),
    (dict(redundancy=(1,)), "setting 'redundancy' is unknown"),
    (dict(data=''), "data='' names no file"),
    (dict(data='cora'), "data='cora': no few_labels/Cora.mat in data_dir=''"),
    (dict(x1='up'), 'up'),
    (dict(x3='left'), "x3='left': this study compares two sides"),
    (dict(neighbors=32), 'neighbors=32, .* need 33 pairs to measure on; digits has n_align=32'),
    (dict(neighbors=600, n_align=1000), 'need 601 pairs to measure on; digits has 449 test rows'),
    (dict(encoder='sequence_transformer', width=DEFAULTS['width']), 'sequence_transformer'),
    (dict(task='ordinal'), "task 'ordinal' is unknown; known: auto, cross_entropy, l1"),
    (dict(clip_quantile=(0.0,)), 'clip_quantile=0 must be above 0'),
    (dict(clip_quantile=(1.5,)), 'clip_quantile=1.5 is outside 0..1'),
    (dict(bands=((1, 1),)), r'depth=2 must be in exactly one of them'),
    (dict(measures=('cka',)), "measure 'cka' is unknown"),
    (dict(seed=(-1,)), 'seed=-1'),
])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
    build(**settings)
  assert '\n' not in str(caught.value)


def test_generators_refuse_settings_of_data():
  with pytest.raises(ValueError, match="data='digits' has no effect: generator 'bits'"):
    STUDY.from_settings({'data': 'digits'})
  with pytest.raises(ValueError, match=r"clip_quantile=\(0.5,\) has no effect: generator 'bits'"):
    STUDY.from_settings({'clip_quantile': (0.5,)})


# -- the answer ------------------------------------------------------------------------------------


def test_the_answer_has_every_form_of_the_correlation(whole, tmp_path):
  text = registry.answer(STUDY, build(), whole[1], tmp_path, figures=True)
  assert (tmp_path / 'report.html').exists() and (tmp_path / 'figures/performance.png').exists()
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert {(r['side'], r['measure'], r['clip_quantile'], r['score'])
          for r in summary['correlations']} == {
              (side, measure, clip, score) for side in (1, 2) for clip in (0.95, 1.0)
              for measure in ('debiased_linear_cka', 'mutual_knn')
              for score in ('accuracy', 'balanced_accuracy')}
  for row in summary['correlations']:
    for key in ('alignment_performance', 'alignment_performance_calibrated'):
      for kind in ('spearman', 'pearson'):
        low, high = row[key][kind]['interval']
        assert -1 <= low <= high <= 1 and np.isfinite(row[key][kind]['value'])
  assert 'left: accuracy' in text and 'Spearman' in text and 'Pearson' in text


def test_correlations_of_a_known_trend(whole):
  dataset = whole[1].copy(deep=True)
  dataset['accuracy_1'][:] = np.arange(4).reshape(2, 2) / 10
  dataset['debiased_linear_cka'][0] = np.exp(np.arange(4)).reshape(2, 2)
  row = report.summarise(dataset, resamples=100)['correlations'][0]
  assert (row['side'], row['measure'], row['clip_quantile']) == (1, 'debiased_linear_cka', 1)
  found = row['alignment_performance']
  assert found['spearman']['value'] == pytest.approx(1)
  assert found['pearson']['value'] == pytest.approx(
      np.corrcoef(np.arange(4), np.exp(np.arange(4)))[0, 1])
  assert row['performance_depth']['spearman']['value'] == pytest.approx(2 / np.sqrt(5))
  within = row['alignment_performance_within_depths']['pearson']  # +-.05 with +-.86, +-6.3
  steps = np.array([-1, 1, -1, 1]), np.array([-1, 1, -np.e**2, np.e**2])
  assert within['value'] == pytest.approx(np.corrcoef(*steps)[0, 1])


def test_the_interval_of_a_correlation_covers_the_truth():
  assert doctest.testmod(correlation).failed == 0
  random, inside = np.random.default_rng(1), 0
  for i in range(60):
    x = random.normal(size=30)
    y = 0.6 * x + 0.8 * random.normal(size=30)
    low, high = correlation.correlation(x, y, 'pearson', n_boot=300, seed=i).interval
    inside += low <= 0.6 <= high
  assert inside >= 52  # 57 expected
  assert correlation.correlation(np.ones(3), np.ones(3), 'pearson').interval is None


@pytest.mark.parametrize('seeds', [2, 3])
def test_the_interval_within_depths_covers_the_truth(seeds):
  """What is left of S encoders of a depth less their mean is that of S - 1."""
  random, inside = np.random.default_rng(3), 0
  of = xr.Dataset(coords={'depth': np.arange(10), 'seed': np.arange(seeds)})
  for i in range(100):
    x = random.normal(size=10 * seeds)
    y = 0.6 * x + 0.8 * random.normal(size=10 * seeds)
    low, high = correlation.correlation(*(correlation.within_depths(of, z) for z in (x, y)),
                                        'pearson', together=seeds, n_boot=300, seed=i).interval
    inside += low <= 0.6 <= high
  assert inside >= 91  # 93 expected; of encoders drawn one by one 80 and 87
  few = np.arange(6.0)
  assert correlation.correlation(few, few, 'pearson', together=2).interval is None
