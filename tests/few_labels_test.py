"""A study of few labels: settings chosen on validation rows, stage by stage, and what stays."""

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

from mmalign_jax.data import published
from mmalign_jax.reports import document
from mmalign_jax.studies.registry import STUDIES
from mmalign_jax.studies.strength import (
  linear,
  references,
  report,
  tuning,
  tuning_report,
)
from mmalign_jax.studies.strength.plan import defaults, from_settings
from mmalign_jax.studies.strength.run import run_study

TINY = dict(
    generator='pairs', task='auto', data='digits', n_labelled=(3, 10), lam=(0.0, 1.0), seed=(0, 1),
    align_on=('pairs', 'labelled'), steps=8, depth=1, width=8, projection_width=4, batch_size=32,
    n_align=64, tune_learning_rate=(5e-3, 1e-2), tune_components=(10, 0), tune_seeds=2,
    chunk=4)  # of one size everywhere, so that stages and shards are of one program


@pytest.fixture(scope='module')
def found(tmp_path_factory):
  """(study, its data set, its folder)."""
  study, folder = from_settings(TINY), tmp_path_factory.mktemp('few')
  return study, run_study(study, folder, progress=False), folder


def test_results_have_the_dimensions_of_the_contract(found):
  _, dataset, _ = found
  assert set(dataset['accuracy'].dims) == {'n_labelled', 'align_on', 'lam', 'seed', 'encoder'}
  assert set(dataset['validation'].dims) == set(dataset['accuracy'].dims)
  summary = report.summarise(dataset, resamples=50)
  assert len(summary) == 2 * 2 * 2
  assert {(row['n_labelled'], row['align_on'], row['encoder']) for row in summary} == {
      (n, on, e) for n in (3, 10) for on in ('pairs', 'labelled') for e in (1, 2)}
  assert {'best_lam', 'gain', 'gain_interval', 'shape'} <= set(summary[0])


def test_what_is_aligned_does_not_matter_at_strength_0(found):
  _, dataset, _ = found
  at_0 = dataset['accuracy'].sel(lam=0.0)
  np.testing.assert_array_equal(at_0.sel(align_on='pairs'), at_0.sel(align_on='labelled'))
  at_1 = dataset['accuracy'].sel(lam=1.0)
  assert (at_1.sel(align_on='pairs') != at_1.sel(align_on='labelled')).any()


def test_the_best_on_validation_rows_is_used_at_all_strengths(found):
  study, dataset, folder = found
  with xr.open_zarr(folder / 'tuning/baseline/results.zarr', zarr_format=2) as stage:
    mean = stage['validation'].mean(['encoder', 'seed'])
    assert mean.sizes == {'n_labelled': 2, 'learning_rate': 2, 'components': 2}
    chosen = {row['n_labelled']: row for row in json.loads(dataset.attrs['tuning'])['at_0']}
    for budget, row in chosen.items():
      own = mean.sel(n_labelled=budget)
      assert row['validation'] == pytest.approx(float(own.max()))
      assert float(own.sel(learning_rate=row['learning_rate'],
                           components=row['components'])) == pytest.approx(float(own.max()))
    for seed in (0, 1):  # the grid at lam = 0 is the chosen cell of the stage without alignment
      for budget, row in chosen.items():
        np.testing.assert_allclose(
            dataset['accuracy'].sel(n_labelled=budget, lam=0.0, seed=seed, align_on='pairs'),
            stage['accuracy'].sel(n_labelled=budget, seed=seed, components=row['components'],
                                  learning_rate=row['learning_rate']), atol=1e-6)


def test_the_gain_is_of_two_tuned_sides(found):
  study, dataset, folder = found
  made = json.loads(dataset.attrs['tuning'])
  assert len(made['gains']) == 4 and all(row['lam'] == 1.0 for row in made['at_best'])
  with xr.open_zarr(folder / 'tuning/final/results.zarr', zarr_format=2) as final:
    for row in made['gains']:
      at = dict(n_labelled=row['n_labelled'], encoder=row['encoder'])
      base = dataset['accuracy'].sel(lam=0.0, align_on='pairs', **at)
      assert row['gain'] == pytest.approx(
          float((final['accuracy'].sel(at) - base).mean()), abs=2e-3)  # folds weigh alike
      assert row['gain_interval'] is None  # of two seeds
  said = report.write(dataset, folder, resamples=50, figures=False)
  assert 'chosen at lam = 0' in said and (folder / 'tuning.json').exists()


def test_gains_stand_beside_linear_algebra(found):
  study, dataset, folder = found
  made = {(row['n_labelled'], row['encoder']): row['linear']
          for row in json.loads(dataset.attrs['tuning'])['linear']}
  assert len(made) == 2 * 2
  values = {seed: linear.references(study.loaded, 3, seed) for seed in (0, 1)}
  with xr.open_zarr(folder / 'tuning/final/results.zarr', zarr_format=2) as final:
    for method in linear.METHODS:
      own = np.array([values[seed][method][1].accuracy for seed in (0, 1)])
      base = np.array([values[seed]['pca'][1].accuracy for seed in (0, 1)])
      of = made[3, 2][method]
      assert of['accuracy'] == pytest.approx(own.mean())
      assert of['gain'] == pytest.approx((own - base).mean())
      aligned = final['accuracy_by_fold'].sel(n_labelled=3, encoder=2).transpose('seed', 'fold')
      assert of['at_best']['gain'] == pytest.approx(float((aligned.values - own).mean()))
      assert of['at_best']['gain_interval'] is None  # of two seeds
  said = report.write(dataset, folder, resamples=50, figures=True)
  page = (folder / 'report.html').read_text()
  assert 'PCA + ridge' in said and 'aligned over CCA' in said
  assert 'Beside linear algebra' in page and 'aligned over CCA' in page
  rows = json.loads((folder / 'summary.json').read_text())
  assert all(set(row['linear']) == {'pca', 'cca', 'pls'} for row in rows)
  assert rows[0]['linear']['pca']['accuracy'] == pytest.approx(made[3, 1]['pca']['accuracy'])
  assert json.loads((folder / 'tuning.json').read_text())['linear']


def test_where_a_method_has_no_reference_nothing_is_said(found):
  _, dataset, _ = found
  made = json.loads(dataset.attrs['tuning'])
  for without in ({k: v for k, v in made.items() if k != 'linear'}, made | {'linear': []}):
    other = dataset.assign_attrs(tuning=json.dumps(without))
    assert [section.title for section in tuning_report.sections(other)] == [
        'With settings tuned for both']


def test_what_is_done_stays(found, tmp_path):
  study, dataset, _ = found
  run_study(tuning.baseline(study), tmp_path / tuning.FOLDERS['baseline'], progress=False)
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'tuning/baseline/chunks').glob('*.npz')}
  again = run_study(study, tmp_path, progress=False)
  assert before == {p: p.stat().st_mtime_ns
                    for p in (tmp_path / 'tuning/baseline/chunks').glob('*.npz')}
  xr.testing.assert_allclose(again['accuracy'], dataset['accuracy'], atol=1e-6)
  assert again.attrs['tuning'] == dataset.attrs['tuning']
  other = dataclasses.replace(study, settings={**study.settings, 'tune_seeds': 1})
  with pytest.raises(ValueError, match='tune_seeds'):
    run_study(other, tmp_path, progress=False)


def test_shards_of_one_folder_are_the_whole(found, tmp_path):
  study, dataset, _ = found
  assert run_study(study, tmp_path, shard=(1, 2), progress=False) is None
  both = run_study(study, tmp_path, shard=(2, 2), progress=False)
  xr.testing.assert_allclose(both['accuracy'], dataset['accuracy'], atol=1e-6)
  assert both.attrs['tuning'] == dataset.attrs['tuning']


@pytest.mark.parametrize('changed, words', [
    ({'n_labelled': (3, 500)}, "n_labelled=500: digits has 123 labels of class "),
    ({'n_pairs': (10,)}, 'n_pairs=10 must be from the 100 labelled to the 1248 training samples'),
    ({'n_pairs': (5000,)}, 'n_pairs=5000 must be from'),
    ({'components': (64,), 'tune_components': ()}, 'components=64 is more than the 32 of digits'),
    ({'components': (8,)}, 'components=(8,) has no effect: tune_components says'),
    ({'lam': (0.5, 1.0)}, 'lam=(0.5, 1.0) must hold 0, for which settings are tuned'),
    ({'lam_1': (0.0, 1.0)}, 'lam_1=(0.0, 1.0): settings are tuned for one strength, lam'),
    ({'align_on': ('all',)}, "align_on 'all' is unknown; known: labelled, pairs"),
    ({'n_train': (512, 600)}, 'n_train=(512, 600) has no effect: n_labelled and n_pairs say'),
    ({'data': 'cora', 'data_dir': '/nowhere'}, "no few_labels/Cora.mat in data_dir='/nowhere'"),
    ({'data_dir': 'x', 'data': 'digits.npz'}, "data_dir='x' has no effect: data='digits.npz'"),
    ({'generator': 'paired'}, 'is not a setting of generator')])
def test_what_cannot_be_is_one_line(changed, words):
  with pytest.raises((ValueError, FileNotFoundError)) as error:
    from_settings({**TINY, **changed})
  assert words in str(error.value) and '\n' not in str(error.value)


def lacking(dataset: xr.Dataset, encoder: int, fold: int) -> xr.Dataset:
  """The data set of test rows of which those of a fold lack the side of an encoder."""
  name = f'accuracy_by_fold_{encoder}'
  kept = xr.DataArray(np.arange(dataset.sizes['fold']) != fold, dims='fold')
  return dataset.assign({name: dataset[name].where(kept)})


def test_a_fold_without_a_row_of_a_side_is_left_out(found):
  study, dataset, folder = found
  with xr.open_zarr(folder / 'tuning/final/results.zarr', zarr_format=2) as stage:
    final = lacking(stage.load(), 2, 5)
  rows = json.loads(dataset.attrs['linear'])
  for row in rows:  # as `linear` gives them
    row['accuracy'] = row['accuracy'][:5] + row['accuracy'][6:] if row['encoder'] == 2 else (
        row['accuracy'])
  part = lacking(dataset, 2, 5).assign_attrs(linear=json.dumps(rows))
  for row, whole in zip(report.summarise(part, resamples=50),
                        report.summarise(dataset, resamples=50), strict=True):
    assert row['folds'] == whole['folds'] - (row['encoder'] == 2)
    assert row['seeds'] == whole['seeds'] == 2 and set(row['linear']) == {'pca', 'cca', 'pls'}
    assert row['accuracy_at_lowest'] == pytest.approx(whole['accuracy_at_lowest'], abs=0.05)
    assert (row == whole) == (row['encoder'] == 1)
  made = tuning.gains(part, final, study)
  for row in made:
    zero = part[f'accuracy_by_fold_{row["encoder"]}'].sel(
        lam=0.0, align_on='pairs', n_labelled=row['n_labelled'])
    assert row['accuracy_at_0'] == pytest.approx(float(zero.mean()))  # NaN left out
    assert np.isfinite(row['gain'])
  assert {row['encoder'] for row in tuning.over_linear(part, final, study)} == {1, 2}


def test_what_lacks_a_test_row_altogether_did_not_diverge(found):
  _, dataset, _ = found
  none = dataset.assign({name: dataset[name] * np.nan
                         for name in ('accuracy_2', 'accuracy_by_fold_2')})
  said = document.text(report.compose(none, None, resamples=50)[0])
  assert 'no test row has side 2' in said and 'diverged' not in said


def test_a_side_without_validation_rows_does_not_choose(found):
  study, _, folder = found
  with xr.open_zarr(folder / 'tuning/baseline/results.zarr', zarr_format=2) as stage:
    stage = stage.load()
  one = stage['validation'].where(stage['encoder'] == 1)
  first = one.sel(encoder=1).mean('seed')
  for budget, choice in tuning.choose(stage.assign(validation=one), study).items():
    assert choice['validation'] == pytest.approx(float(first.sel(n_labelled=budget).max()))
  nothing = tuning.choose(stage.assign(validation=one * np.nan), study)
  assert [choice['validation'] for choice in nothing.values()] == [None, None]


def test_fewer_pairs_than_all_are_not_set_beside_linear_algebra(found):
  study, dataset, _ = found
  configuration = json.loads(dataset.attrs['configuration'])
  for n_pairs, known in ((0, True), (500, False), (len(study.loaded.y), True)):
    of = dataset.assign_attrs(configuration=json.dumps(configuration | {'n_pairs': [n_pairs]}))
    assert bool(references.accuracies(of, {'n_labelled': 3}, 1)) == known
    assert bool(references.accuracies(dataset, {'n_labelled': 3, 'n_pairs': n_pairs}, 1)) == known


@pytest.mark.parametrize('more', [{'temperature': (0.1, 0.2)}, {'n_pairs': (200, 400)}])
def test_a_tuned_study_has_one_gain_to_quote(more):
  name, = more
  build = STUDIES['strength'].from_settings
  with pytest.raises(ValueError, match=rf'{name}=.*tuned \(tune_learning_rate, .*a study for each'):
    build({**TINY, **more})
  build({**TINY, **more, 'tune_learning_rate': (), 'tune_components': (), 'tune_seeds': 5})


def test_candidates_are_those_that_can_be():
  made = lambda **more: from_settings({**TINY, **more})
  wide = made(tune_components=(10, 30, 0))  # of 32 columns
  assert wide.tuned['components'] == (0, 10, 30) and 'so few columns' not in ' '.join(wide.notes)
  few = made(tune_components=(10, 30, 50, 0), most_components=20)
  assert few.tuned['components'] == few.settings['tune_components'] == (0, 10, 30, 50)
  assert any('tune_components=(0, 10, 30, 50): of so few columns (0, 10)' in note
             for note in few.notes)
  with pytest.raises(ValueError, match=r'tune_train_steps=\(4, 9\): no training is longer than '
                                       'steps=8'):
    made(tune_train_steps=(4, 9))
  with pytest.raises(ValueError, match=r'^train_steps=\(9,\): no training is longer'):
    made(train_steps=(9,))
  nobodys = from_settings({**TINY, 'tune_train_steps': (4, 9, 20)}, preset=('tune_train_steps',))
  assert nobodys.tuned['train_steps'] == nobodys.settings['tune_train_steps'] == (4, 8)
  said = lambda study: [note for note in study.notes if note.startswith('steps=8')]
  assert said(made(tune_train_steps=(2, 4))) and not said(made(tune_train_steps=(4, 8)))


def test_where_all_is_labelled_pairs_say_nothing_new():
  study = from_settings({**TINY, 'n_labelled': (0,), 'tune_components': (), 'tune_seeds': 5,
                         'tune_learning_rate': ()})
  assert 'aligning all pairs is aligning the labelled ones' in study.notes[-1]


def test_budgets_are_those_that_the_data_allow():
  assert from_settings({**TINY, 'n_labelled': ()}).axes['n_labelled'] == (3, 10, 30)
  assert defaults()['n_labelled'] == (0,)


def test_a_data_set_of_three_views_by_name(monkeypatch):
  row = dataclasses.replace(
      published.DATASETS['digits'], sides={'x1': 'left', 'x2': 'right', 'x3': 'top'})
  monkeypatch.setitem(published.DATASETS, 'three', row)
  study = from_settings(dict(generator='pairs', data='three', task='auto', lam_3=(0.5,),
                                  n_labelled=(3,), lam=(0.0, 1.0), n_align=64))
  assert study.n_sides == 3 and study.axes['lam_3'] == (0.5,)
  with pytest.raises(ValueError, match="pool='mean' has no effect: data='three'"):
    from_settings(dict(generator='pairs', data='three', task='auto', pool='mean'))
