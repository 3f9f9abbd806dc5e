"""What a zoo makes of inputs: what is a model, what is left out, what subsamples can be had."""

import numpy as np
import pytest

from mmalign_jax import cli
from mmalign_jax.studies import registry
from mmalign_jax.studies.zoo import (
  inputs,
  models,
  nested,
  plan as plans,
  report,
  run as runs,
  summary as summaries,
  tables,
  trends,
)

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


# -- what belongs to the rows ----------------------------------------------------------------------


def table(path, **more):
  """A csv of three features of noise, and more columns."""
  g = np.random.default_rng(len(str(path)) + ord(path.name[0]))
  columns = {f'f{i}': g.normal(size=N) for i in range(3)} | more
  path.write_text('\n'.join([','.join(columns), *(
      ','.join(map(str, row)) for row in zip(*columns.values()))]) + '\n')


def of_tables(folder, left='a.csv', right='b.csv', **more):
  return planned(folder, left=left, right=right, map=False, measures=('debiased_linear_cka',),
                 k=10, **more)


SUBJECT = np.repeat(np.arange(8), 5)


def test_the_group_the_item_and_the_label_are_no_features(tmp_path):
  """They would make models alike that are not, and show the label to the probe."""
  for name in ('a', 'b'):
    table(tmp_path / f'{name}.csv', subject=SUBJECT, label=np.arange(N) % 2, more=np.ones(N))
  own = {'group': 'subject', 'data_dir': str(tmp_path)}
  paths = {'left': f'{tmp_path}/a.csv', 'right': f'{tmp_path}/b.csv'}
  given = dict(study='zoo', permutations=9, resamples=0, map=False,
               measures=('debiased_linear_cka',))
  of = lambda **more: plans.from_settings(given | paths | more)
  plan = of(y='label', **own)
  assert [m.width for m in (*plan.left, *plan.right)] == [4, 4]
  assert plan.groups.tolist() == SUBJECT.tolist() and len(plan.y.classes) == 2
  assert models.layers_of(plan.left[0], 'left', plan.reading, plan.kept)[0].shape == (N, 4)
  assert [m.width for m in of(item='subject', y='label').left] == [4]
  there = of(group=f'{tmp_path}/b.csv:subject', y=f'{tmp_path}/../{tmp_path.name}/b.csv:label')
  assert [m.width for m in (*there.left, *there.right)] == [6, 4]
  assert there.groups.tolist() == SUBJECT.tolist()
  table(tmp_path / 'c.csv', subject=np.roll(SUBJECT, 1), label=np.arange(N) % 2)
  with pytest.raises(ValueError, match=r'a.csv and .*c.csv differ in 8 rows, first at row 0'):
    of(right=f'{tmp_path}/c.csv', group='subject')
  with pytest.raises(OSError, match="group='nobody': no such file, nor a column or key"):
    of(group='nobody')


def test_a_table_of_groups_in_a_folder_is_no_model(tmp_path):
  (tmp_path / 'm').mkdir()
  for name in ('a', 'b'):
    table(tmp_path / 'm' / f'{name}.csv', subject=SUBJECT)
  (tmp_path / 'm' / 'who.csv').write_text('\n'.join(['subject', *map('s{}'.format, SUBJECT)]))
  plan = of_tables(tmp_path, 'm', '', group='m/who.csv:subject')
  assert [m.name for m in plan.left] == ['a', 'b'] and len(set(plan.groups.tolist())) == 8
  assert "left: 'who' is no model: it has no column beside 'subject'" in plan.notes


def test_the_same_rows_in_another_order_are_refused(tmp_path):
  ids = [f'clip{i}' for i in range(N)]
  table(tmp_path / 'a.csv', id=ids)
  table(tmp_path / 'b.csv', id=ids)
  table(tmp_path / 'moved.csv', id=ids[::-1], label=np.arange(N) % 2)
  plan = of_tables(tmp_path)
  assert any(n.startswith("left: 'a': a.csv: column 'id' left out as an index")
             for n in plan.notes)
  with pytest.raises(ValueError, match=r'a.csv and .*moved.csv name the same rows in another'):
    of_tables(tmp_path, right='moved.csv')
  with pytest.raises(ValueError, match=r'a.csv and .*moved.csv name the same rows'):
    of_tables(tmp_path, y='moved.csv:label')
  assert [m.width for m in of_tables(tmp_path, right='moved.csv', index='id,label').right] == [3]
  g = np.random.default_rng(0)
  for name, order in (('x', ids), ('y', ids[::-1])):
    np.savez(tmp_path / f'{name}.npz', z=g.normal(size=(N, 3)), id=np.array(order))
  with pytest.raises(ValueError, match=r'x.npz and .*y.npz name the same rows in another order'):
    of_tables(tmp_path, 'x.npz', 'y.npz')


def test_groups_are_no_ids_of_rows(tmp_path):
  for name in 'ab':
    table(tmp_path / f'{name}.csv', id=np.arange(N))
  table(tmp_path / 'who.csv', subject_id=np.r_[np.arange(N - 5), np.arange(5)])
  plan = of_tables(tmp_path, group='who.csv:subject_id')
  assert len(np.unique(plan.groups)) == N - 5


@pytest.mark.parametrize('one, other, differ', [
    (['1.0', '', '0.0', 'NA'], ['1', 'nan', '0', ''], []),
    ([1.0, np.nan, 0.0], ['1', '', '0'], []),
    (['yes', 'NA', 'no'], ['yes', '', 'yes'], [2]),
    ([1.0, np.nan, 0.0], [1, 1, 0], [1])])
def test_what_two_files_say_of_a_label_is_compared(one, other, differ):
  assert np.flatnonzero(inputs._differ(np.array(one), np.array(other))).tolist() == differ


def test_what_has_lengths_is_sequences_and_no_layers(tmp_path):
  g = np.random.default_rng(0)
  steps = lambda: g.normal(size=(N, 6, 3))
  length = 1 + np.arange(N) % 6
  np.savez(tmp_path / 'llm.npz', bert=steps(), gpt=steps(), bert_length=length, gpt_length=length)
  np.savez(tmp_path / 'other.npz', a=g.normal(size=(2, N, 3)), b=g.normal(size=(4, N, 3)))
  np.savez(tmp_path / 'ragged.npz', a=g.normal(size=(length.sum(), 3)), a_length=length,
           b=g.normal(size=(N, 3)))
  with pytest.raises(ValueError, match=r'\(40, 6, 3\) with bert_length; say how to pool'):
    of_tables(tmp_path, 'llm.npz', '')
  assert of_tables(tmp_path, 'llm.npz', '', pool='mean').n == N
  assert of_tables(tmp_path, 'ragged.npz', '', pool='mean').n == N
  layered = of_tables(tmp_path, 'other.npz', '')
  assert [m.layers for m in layered.left] == [('a:0', 'a:1'), ('b:0', 'b:1', 'b:2', 'b:3')]
  assert any(n.startswith("left: 'a' and 1 more: an array of three axes, read as [layers, ")
             for n in layered.notes)


def test_a_file_of_both_sides_has_levels_on_one(place, tmp_path):
  """Each side keeps its own reading of the same key."""
  plan = planned(place, left='levels.npz:cap*', right='levels.npz:cap*', levels='level', map=False,
                 permutations=0, measures=('debiased_linear_cka',), k=10)
  dataset = runs.run(plan, tmp_path, progress=False)
  value = dataset['value'].isel(measure=0)
  assert dataset['layers_left'].values.tolist() == [2, 2] != dataset['layers_right'].values.tolist()
  np.testing.assert_allclose([value.sel(left=n, right=n) for n in ('cap_a', 'cap_b')], 1, rtol=1e-5)


@pytest.mark.parametrize('missing', ['mean', 'drop'])
def test_a_model_that_is_constant_beside_its_gaps_is_left_out(place, tmp_path, missing):
  flat, gone = np.ones((N, 60), np.float32), np.full((N, 2), np.nan, np.float32)
  flat[3], flat[5] = np.nan, 0
  np.savez(tmp_path / 'right.npz', flat=flat, gone=gone, c=1 + np.eye(N, 3))
  plan = planned(place, left='left.npz:a', right=f'../{tmp_path.name}/right.npz', k=10,
                 missing=missing, measures=('alignment',))
  assert {m.name: m.refused for m in plan.right} == {
      'c': '', 'flat': 'constant features', 'gone': 'no row is without missing numbers'
      if missing == 'drop' else 'constant features'}
  assert plan.n == N


# -- scores, and how they are said -----------------------------------------------------------------


@pytest.mark.parametrize('lines, said', [
    ('model,params_M,top1\na,25.6,76.1\n', "a line is a name and a number, with one comma"),
    ('a,0,76\nb,0,81\n', "['a', '0', '76']; a line is a name and a number"),
    ('a,n/a\nb,2\n', "the score of 'a' is no number: 'n/a'"),
    ('', 'empty; a line is a name')])
def test_a_line_of_scores_is_a_name_and_a_number(place, tmp_path, lines, said):
  (tmp_path / 'scores.csv').write_text(lines)
  with pytest.raises(ValueError) as error:
    planned(place, score_left=str(tmp_path / 'scores.csv'))
  assert said in str(error.value)


def test_scores_of_a_file_with_a_head(place, tmp_path):
  (tmp_path / 'scores.csv').write_text('model,top1\na,1.5\nb,2\n')
  assert planned(place, score_left=str(tmp_path / 'scores.csv')).scores['left'] == {
      'a': 1.5, 'b': 2.0}


def test_what_is_not_known_is_not_printed():
  row = lambda m, p: dict(measure='cka', side='left', level=0.0, kind='value', m=m, p=p,
                          spearman=1.0, spearman_interval=None)
  said = report.answer(dict(pairs=[], levels=[], sizes=[], trends=[
      row(9, 1e-4), row(5, 2 / 120), row(9, 0.0002), row(2, np.nan)]))
  assert [line.rpartition('p ')[2] for line in said] == [
      '<= 0.0001, over 9 models.', '0.017, over 5 models.', '0.0002, over 9 models.',
      '-, over 2 models.']
  size = dict(measure='cka', samples=200, value=0.1234, value_deviation=np.nan, calibrated=0.1,
              calibrated_deviation=0.02)
  assert tables.size_table([size]).rows == [['cka', '200', '0.123', '0.100 ± 0.020']]


def test_no_slope_where_width_says_all_of_quality():
  width = np.array([8, 64, 16, 128, 32, 4])
  values = np.random.default_rng(0).normal(size=(6, 3))
  assert np.isnan(trends.trend(0.1 * np.log2(width), width, values).slope_of_width)
  assert np.isnan(trends.slope(np.full(7, 0.1), np.arange(7.0)))
  assert np.isfinite(trends.trend(np.arange(6.0), width, values).slope_of_width)
