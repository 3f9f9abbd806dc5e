"""What a zoo makes of inputs: what is a model, what is left out, what subsamples can be had."""

import numpy as np
import pytest

from mmalign_jax import cli
from mmalign_jax.studies import registry
from mmalign_jax.studies.zoo import nested, plan as plans, report, run as runs, summary as summaries

N = 40


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  folder, g = tmp_path_factory.mktemp('zoo_input'), np.random.default_rng(0)
  of = lambda width: g.normal(size=(N, width)).astype('f4')
  np.savez(folder / 'left.npz', a=of(3), b=of(5), label=np.arange(N)[:, None] % 3)
  np.savez(folder / 'right.npz', c=of(4), d=of(6))
  np.savez(folder / 'levels.npz', level=np.array([0.0, 1.0]), cap_a=np.stack([of(3), of(3)]),
           cap_b=np.stack([of(4), of(4)]), other=of(7))
  (folder / 'models').mkdir()
  for name in 'cd':
    np.savez(folder / 'models' / f'{name}.npz', level=np.array([0.0, 1.0]),
             z=np.stack([of(3), of(3)]))
  y = np.arange(N) % 2 + np.where(np.arange(N) < 4, np.nan, 0)
  np.savez(folder / 'y.npz', y=y, text=np.where(np.isnan(y), '', np.where(y == 1, 'cat', 'dog')),
           groups=np.repeat(np.arange(4), 10), uneven=np.repeat(np.arange(5), [30, 4, 3, 2, 1]))
  return folder


def planned(place, **more):
  paths = ('left', 'right', 'y', 'group')
  given = dict(study='zoo', left='left.npz', right='right.npz', k=2, permutations=9, resamples=0)
  return plans.from_settings({name: f'{place}/{value}' if name in paths and value else value
                              for name, value in (given | more).items()})


def test_one_column_is_a_label_and_no_model(place):
  plan = planned(place)
  assert [m.name for m in plan.left] == ['a', 'b']
  assert "left: 'label' is no model: it has one column, as labels and scores have" in plan.notes
  np.savez(place / 'labels.npz', y=np.ones((N, 1)))
  with pytest.raises(ValueError, match="no model that can be compared; right: 'y' is no model"):
    planned(place, right='labels.npz')


def test_rows_of_zeros_are_missing_as_elsewhere(place):
  arrays = dict(np.load(place / 'right.npz'))
  arrays['c'][[3, 9]] = 0
  np.savez(place / 'zeros.npz', **arrays)
  assert planned(place, right='zeros.npz', missing='drop').n == N - 2
  kept = planned(place, right='zeros.npz')
  assert kept.n == N
  assert any("2 of 40 rows of model 'c' are 0 in every feature" in note for note in kept.notes)


@pytest.mark.parametrize('key', ['y', 'text'])
def test_samples_without_a_label_are_left_out_of_the_probe_alone(place, key):
  plan = planned(place, y=f'y.npz:{key}')
  assert plan.n == N and plan.labelled.tolist() == list(range(4, N))
  assert len(plan.y.values) == N - 4 and len(plan.y.classes) == 2
  assert any('4 of 40 samples have no label; the probe is of the others' in n for n in plan.notes)


@pytest.mark.parametrize('right, wanted', [
    ('levels.npz:cap*', ['cap_a', 'cap_b']), ('models', ['c', 'd']), ('models:z', ['c', 'd'])])
def test_levels_of_keys_that_fit_and_of_folders(place, right, wanted):
  plan = planned(place, right=right, levels='level')
  assert plan.levels == (0, 1) and [m.name for m in plan.right] == wanted


def test_levels_that_differ_between_files_are_named(place, tmp_path):
  for name, levels in (('c', [0.0, 1.0]), ('d', [0.0, 2.0])):
    np.savez(tmp_path / f'{name}.npz', level=np.array(levels), z=np.ones((2, N, 3)))
  with pytest.raises(ValueError, match='c.npz and d.npz differ'):
    plans.from_settings(dict(study='zoo', left=f'{place}/left.npz', right=str(tmp_path),
                             levels='level'))


def test_subsamples_hold_whole_groups_and_are_nested(place):
  plan = planned(place, group='y.npz:groups', sizes=(24, 35), repeats=5)
  for low, high in zip(nested.subsamples(plan, 24), nested.subsamples(plan, 35)):
    assert len(low) == 20 and len(high) == 30 and set(low) < set(high)
    assert all(np.bincount(plan.groups[rows], minlength=4).tolist().count(10) == len(rows) // 10
               for rows in (low, high))
  alone = planned(place, sizes=(24,), repeats=1)
  assert len(nested.subsamples(alone, 24)[0]) == 24


@pytest.mark.parametrize('group, sizes, said', [
    ('groups', 15, 'sizes=15 samples are too few, 10 of them in groups that fit as a whole: '
     'groups has one group only'),
    ('uneven', 20, 'sizes=20 samples are too few'),
    ('', 2, 'sizes=2')])
def test_subsamples_without_groups_to_exchange_are_refused_before_the_run(
    place, group, sizes, said):
  with pytest.raises(ValueError, match=said):
    planned(place, group=f'y.npz:{group}' if group else '', sizes=(sizes,), repeats=8)


def test_a_setting_that_no_measure_reads_is_named(place):
  said = 'k=3 has no effect on debiased_linear_cka'
  assert said in planned(place, k=3, measures=('debiased_linear_cka',)).notes
  assert said not in planned(place, k=3).notes


def test_results_of_a_measure_that_was_edited_are_not_taken_for_its_own(
    place, tmp_path, monkeypatch):
  import importlib
  import sys
  module = tmp_path / 'mine_of_zoo.py'
  monkeypatch.syspath_prepend(str(tmp_path))
  module.write_text('def f(x, y): return 0.0\n')
  one = planned(place, measures=('mine_of_zoo:f',), k=10).record['own_measures']
  module.write_text('def f(x, y): return 1.0  # edited\n')
  del sys.modules['mine_of_zoo']
  importlib.invalidate_caches()
  assert planned(place, measures=('mine_of_zoo:f',), k=10).record['own_measures'] != one
  assert 'own_measures' not in planned(place).record


@pytest.mark.parametrize('option, said', [
    ('--null=-1', '--null=-1 must be 0 or more'),
    ('--bootstrap=1', '--bootstrap=1 must be 0, or 2 or more'),
    ('--repeats=4', '--repeats=4 has no effect without --sizes'),
    ('--repeats=0', '--repeats=0 must be 1 or more')])
def test_options_are_named_as_they_were_typed(place, capsys, option, said):
  assert cli.main(['zoo', f'--left={place}/left.npz', f'--workdir={place}/never', option]) == 2
  assert said in capsys.readouterr().err


def test_a_refused_model_with_a_score_leaves_trends_of_the_others(place):
  """Values are NaN in its row; trends and subsamples are of what is there."""
  import xarray as xr
  g = np.random.default_rng(0)
  values = g.normal(size=(1, 1, 5, 4))
  values[:, :, 2] = np.nan
  sizes = np.repeat(values[:, :, None], 3, axis=2)
  dataset = xr.Dataset(
      {'value': (('measure', 'level', 'left', 'right'), values),
       'size_value': (('measure', 'size', 'repeat', 'left', 'right'), sizes),
       'size_calibrated': (('measure', 'size', 'repeat', 'left', 'right'), sizes),
       'size_used': (('size', 'repeat'), [[20, 20, 20]]),
       'quality_left': ('left', np.arange(5.0)), 'width_left': ('left', [3, 4, 5, 6, 7]),
       'width_right': ('right', [3, 4, 5, 6])},
      {'measure': ['m'], 'level': [0.0], 'size': [24], 'left': list('abcde'),
       'right': list('fghi')},
      {'within': 0, 'higher': '{"m": true}', 'best': '{"m": null}'})
  trend = next(summaries._trends(dataset, ['m'], 100))
  size = next(summaries._sizes(dataset, ['m']))
  assert trend['m'] == 4 and np.isfinite([trend['spearman'], trend['slope']]).all()
  assert np.isfinite(size['value_spearman_left']) and size['used'] == 20


def test_the_answer_tells_of_levels_and_samples():
  pair = dict(level=0.0, measure='m', pairs=4, lowest=0.1, highest=0.2)
  rows = [dict(level=0.0, highest=0.2, mean=0.1), dict(level=1.0, highest=0.1, mean=0.0)]
  said = report.answer(dict(
      pairs=[pair], trends=[], levels=[dict(measure='m', kind='value', spearman=-1.0,
                                            interval=(-1.0, -0.9), share=1.0, rows=rows)],
      sizes=[dict(measure='m', samples=n, value=0.3 - n / 1000, calibrated=0.1)
             for n in (100, 200)]))
  assert said[1] == ('m: alignment with the level: Spearman -1.00 [-1.00, -0.90]; 100 % of pairs '
                     'fall from 0 to 1.')
  assert said[2].endswith('of all pairs goes from 0.200 to 0.100, calibrated from 0.100 to 0.100.')


def test_labels_of_some_groups_are_probed_by_those(place, tmp_path):
  """Codes of groups without a label leave no empty fold."""
  groups = np.repeat(np.arange(10), 4)
  y = np.where(np.isin(groups, (3, 7, 9)), np.arange(N) % 2, np.nan)
  np.savez(tmp_path / 'y.npz', y=y, one=np.where(groups == 3, np.arange(N) % 2, np.nan),
           few=np.where(np.arange(N) < 9, np.arange(N) % 2, np.nan), groups=groups)
  of = lambda key: planned(place, y=f'../{tmp_path.name}/y.npz:{key}',
                           group=f'../{tmp_path.name}/y.npz:groups', map=False,
                           measures=('debiased_linear_cka',), permutations=0)
  dataset = runs.run(of('y'), tmp_path / 'run', progress=False)
  assert np.isfinite(dataset['quality_left']).all()
  with pytest.raises(ValueError, match='only samples of one group have a label|4 samples have a'):
    of('one')
  with pytest.raises(ValueError, match='9 samples have a label; a probe needs 10'):
    of('few')


def test_shards_with_a_measure_of_ones_own_are_merged(place, tmp_path, monkeypatch):
  (tmp_path / 'mine_to_merge.py').write_text('def f(x, y): return float(x[0, 0] * 0 + 1)\n')
  monkeypatch.syspath_prepend(str(tmp_path))
  made = planned(place, measures=('mine_to_merge:f',), k=10, map=False)
  for i in (1, 2):
    runs.run(made, tmp_path / str(i), shard=(i, 2), progress=False)
  registry.merge([tmp_path / '1', tmp_path / '2'], tmp_path / 'whole', figures=False)
  assert (tmp_path / 'whole' / 'summary.json').exists()


def test_float64_models_are_compared_in_float64(tmp_path):
  """Numbers that float32 would round to nothing: a large offset, whose rest is what is alike."""
  g = np.random.default_rng(0)
  x = g.normal(size=(N, 3))
  np.savez(tmp_path / 'wide.npz', near=1e9 + x, far=x)
  for way in ('random', 'shifts'):
    plan = plans.from_settings(dict(
        study='zoo', left=f'{tmp_path}/wide.npz', permutations=9, resamples=0, permute=way,
        measures=('debiased_linear_cka',)))
    value = runs.run(plan, tmp_path / way, progress=False)['value'].isel(measure=0, level=0)
    assert plan.wide and float(value.sel(left='near', right='far')) == pytest.approx(1, abs=1e-4)


def test_an_older_folder_is_of_any_permutations(place, tmp_path, monkeypatch):
  """It does not say which; the same command goes on by them, and so does a merge."""
  import json

  from mmalign_jax.studies.zoo import chance
  runs.run(planned(place, map=False), tmp_path / 'old', progress=False)
  for name in ('config.json', 'settings.json'):
    path = tmp_path / 'old' / name
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items()
                                if k != 'permute'}))
  monkeypatch.setattr(chance, '_MUCH', 1.0)
  with pytest.raises(ValueError, match='permute'):
    runs.run(planned(place, map=False), tmp_path / 'old', progress=False)
  runs.run(planned(place, map=False, permute='random'), tmp_path / 'old', progress=False)
  registry.merge([tmp_path / 'old'], tmp_path / 'whole', figures=False)
  assert json.loads((tmp_path / 'whole' / 'config.json').read_text())['permute'] == 'random'
