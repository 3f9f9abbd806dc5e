"""A comparison of objectives: equal to the studies of strength that it is made of, and honest about
choosing among them."""

import dataclasses
import json
import pathlib
import runpy
import shutil

import numpy as np
import pytest
from scipy import stats
import xarray as xr

from mmalign_jax import cli
from mmalign_jax.data import loading
from mmalign_jax.reports.statistics import over_seeds_and_folds
from mmalign_jax.studies.objectives import beside, headline, report, run
from mmalign_jax.studies.objectives.plan import defaults, from_settings, known
from mmalign_jax.studies.registry import STUDIES
from mmalign_jax.studies.strength import (
  headline as strength_headline,
  linear,
  plan as strength_plan,
  references,
  report as strength_report,
)
from mmalign_jax.studies.strength.optimum import optimum
from mmalign_jax.studies.strength.run import run_study

BITS = dict(redundancy=(0, 8), lam=(0.0, 0.5, 1.0), seed=(0, 1, 2, 3, 4), steps=4, depth=1, width=6,
            batch_size=16, n_train=(32,), n_align=32, neighbors=3, resamples=50,
            chunk=5)  # of one size everywhere, so that parts and shards are of one program
DIGITS = dict(
    generator='pairs', task='auto', sets=('digits', 'digits:right,left'), n_labelled=(3,),
    lam=(0.0, 1.0), seed=(0, 1, 2, 3, 4), steps=4, depth=1, width=6, projection_width=4,
    batch_size=32, resamples=50, tune_learning_rate=(5e-3, 1e-2), tune_seeds=2,
    chunk=4, n_align=11)  # as few pairs as where settings are chosen, of which it is the program
TWO = ('cosine', 'info_nce')


@pytest.fixture(scope='module')
def bits(tmp_path_factory):
  """(data set of two objectives, its folder)."""
  folder = tmp_path_factory.mktemp('bits')
  return run.run(from_settings(BITS | {'objectives': TWO}), folder, progress=False)[''], folder


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
  """({set: data set}, folder, plan)."""
  folder = tmp_path_factory.mktemp('digits')
  plan = from_settings(DIGITS | {'objectives': TWO})
  return run.run(plan, folder, progress=False), folder, plan


def test_it_is_the_study_of_strength_of_every_objective(bits, tmp_path):
  found, _ = bits
  assert found.sizes['objective'] == 2 and found['lam'].values.tolist() == [0.0, 0.5, 1.0]
  for loss in TWO:
    alone = run_study(strength_plan.from_settings(BITS | {'loss': loss}), tmp_path / loss,
                      progress=False)
    mine = found.sel(objective=loss)
    for name in ('accuracy', 'cka', 'mutual_knn', 'ceiling', 'diverged'):
      np.testing.assert_allclose(mine[name].transpose(*alone[name].dims), alone[name], atol=1e-6)
    own = [{k: v for k, v in row.items() if k != 'objective'}
           for row in strength_report.summarise(found, resamples=50) if row['objective'] == loss]
    for row, other in zip(own, strength_report.summarise(alone, resamples=50), strict=True):
      assert list(row) == list(other)
      for name, value in other.items():
        assert row[name] == (value if isinstance(value, str) else pytest.approx(value, abs=1e-5))


def test_the_answer_names_a_winner_in_every_setting(bits, tmp_path):
  found, _ = bits
  said = report.write({'': found}, tmp_path, resamples=50, figures=True)
  assert 'best of all' in said and 'info_nce' in said
  entries, best = (json.loads((tmp_path / f'{name}.json').read_text())
                   for name in ('summary', 'winners'))
  assert len(entries) == 2 * 2 * 2 and len(best) == 2 * 2
  assert {p.name for p in (tmp_path / 'figures').glob('*.png')} == {'gain.png', 'similarity.png'}
  assert (tmp_path / 'report.html').stat().st_size > 10_000
  for row in entries:
    low, high = row['gain_interval_of_all']
    assert low <= row['gain_interval'][0] and high >= row['gain_interval'][1]
    assert row['cka'] == pytest.approx(float(found['cka'].sel(
        objective=row['objective'], redundancy=row['redundancy'], lam=row['best_lam']).mean()))


def test_finished_parts_are_kept_and_shards_come_to_the_same(bits, tmp_path, monkeypatch):
  found, folder = bits
  plan = from_settings(BITS | {'objectives': TWO})
  assert run.run(plan, tmp_path, shard=(1, 2), progress=False) is None
  halves = run.run(plan, tmp_path, shard=(2, 2), progress=False)['']
  np.testing.assert_allclose(halves['accuracy'], found['accuracy'], atol=1e-6)

  def refuse(*_, **__):
    raise AssertionError('trained again')
  monkeypatch.setattr('mmalign_jax.studies.strength.run.run_chunks', refuse)
  again = run.run(plan, folder, progress=False)['']
  np.testing.assert_array_equal(again['accuracy'], found['accuracy'])


def test_one_more_objective_trains_only_itself(bits, tmp_path, monkeypatch):
  found, _ = bits
  first = run.run(from_settings(BITS | {'objectives': TWO[:1]}), tmp_path, progress=False)['']
  trained = []
  original = run.strength.run_chunks

  def watched(spec, *args, **options):
    trained.append(spec.loss)
    return original(spec, *args, **options)
  monkeypatch.setattr('mmalign_jax.studies.strength.run.run_chunks', watched)
  more = run.run(from_settings(BITS | {'objectives': TWO}), tmp_path, progress=False)['']
  assert trained == [TWO[1]] and more.sizes['objective'] == 2
  np.testing.assert_array_equal(more['accuracy'].sel(objective=TWO[0]),
                                first['accuracy'].sel(objective=TWO[0]))
  np.testing.assert_allclose(more['accuracy'], found['accuracy'], atol=1e-6)


def made(accuracy: np.ndarray, names=('a', 'b')) -> xr.Dataset:
  """accuracy [O, L, S] of one encoder as a data set."""
  dims = ('objective', 'lam', 'seed')
  return xr.Dataset(
      {'accuracy_1': (dims, accuracy), 'ceiling_1': (dims, np.ones_like(accuracy)),
       'diverged': (dims, np.zeros(accuracy.shape, bool)),
       'cka_1_2': (dims, np.zeros_like(accuracy))},
      {'objective': list(names), 'lam': [0.0, 1.0, 2.0][:accuracy.shape[1]],
       'seed': list(range(accuracy.shape[2]))}, {'name': 'made'})


def test_a_winner_is_judged_on_seeds_that_did_not_choose_it():
  g = np.random.default_rng(0)
  gains = []
  for _ in range(30):  # nothing is to gain, among 20 candidates
    accuracy = g.normal(0.5, 0.02, (10, 3, 6))
    accuracy[:, 0] = accuracy[:1, 0]
    best, = report.winners({'': made(accuracy, [f'o{i}' for i in range(10)])}, resamples=50)
    gains.append(best['gain'])
  assert np.mean(gains) < 2 * np.std(gains) / np.sqrt(30)
  accuracy = np.full((2, 3, 6), 0.5) + g.normal(0, 1e-4, (2, 3, 6))
  accuracy[1, 2] += 0.1
  accuracy[:, 0] = 0.5
  best, = report.winners({'': made(accuracy)}, resamples=50)
  assert (best['objective'], best['best_lam']) == ('b', 2.0)
  assert best['gain'] == pytest.approx(0.1, abs=1e-3) and best['gain_interval'][0] > 0.09
  flat = np.concatenate([accuracy[0, :1], accuracy[0, 1:], accuracy[1, 1:]])[:, :, None]
  assert best['gain'] == pytest.approx(optimum(np.arange(5.0), flat, n_boot=50).gain)


def row(encoder: int, gain: float | None, ends=None, objective: str = 'info_nce', **setting):
  return {'encoder': encoder, 'objective': objective, 'best_lam': 0.3, 'gain': gain,
          'gain_interval': ends, 'shape': 'rising' if ends and ends[0] > 0 else 'flat', **setting}


ROWS = [row(1, 0.05, [-0.01, 0.1], set='a', n=3), row(1, 0.02, [0.01, 0.03], set='b', n=3),
        row(1, 0.01, [0.005, 0.02], 'vicreg', set='b', n=10),
        row(2, -0.01, [-0.02, 0.01], set='a', n=3), row(2, 0.0, [-0.01, 0.01], '-', set='b', n=3),
        row(3, None, set='a', n=3)]


def test_the_first_words_name_the_setting_and_are_certain():
  assert headline.sentences(ROWS, ['set', 'n']) == [
      'Encoder 1: a certain gain in 2 of 3 settings, each by itself, most at set b, n 3, by '
      'info_nce at strength 0.3: +2.0 points, 95 % [+1.0, +3.0], which pays for choosing the two, '
      'but not for choosing among the settings.',
      'Encoder 2: no certain gain in any of 2 settings; the largest is +0.0 points, 95 % '
      '[-1.0, +1.0].', 'Encoder 3: nothing can be said.']
  assert headline.sentences([ROWS[1], ROWS[3]], []) == [
      'Encoder 1: info_nce at strength 0.3 gains +2.0 points, 95 % [+1.0, +3.0], which pays for '
      'choosing both.', 'Encoder 2: no certain gain: -1.0 points, 95 % [-2.0, +1.0].']
  found = headline.numbers(ROWS, {'': made(np.zeros((2, 3, 4)))}, ['set', 'n'])
  assert found['encoder 1: largest gain (points)'] == '+5.0 [-1.0, +10.0]'
  assert found['encoder 1: at setting'].startswith('set a, n 3: the largest of 3, and its')
  assert found['encoder 1: objective'] == 'info_nce' and 'encoder 3: at strength' not in found


def test_so_do_those_of_a_study_of_strength():
  said = strength_headline.sentences(ROWS[:3], ['set', 'n'])[0]
  assert said == ('Encoder 1: aligning helps in 2 of 3 settings, most at set b, n 3, strength 0.3 '
                  '(+2.0 points, 95 % [+1.0, +3.0], which does not pay for choosing among the '
                  'settings).')
  study = made(np.zeros((2, 3, 4))).isel(objective=0).expand_dims(set=['a', 'b'], n=[3, 10])
  found = strength_headline.numbers(ROWS, study)
  assert found['encoder 1: at setting'].startswith('set a, n 3: the largest of 3')
  assert 'encoder 1: at setting' not in strength_headline.numbers(ROWS[:1], study)


def test_a_folder_says_what_it_is_of(bits, tmp_path, capsys):
  _, folder = bits
  for place, out in ((folder, 'new.html'), (tmp_path / 'old', 'old.html')):
    if out == 'old.html':  # of a version that wrote neither
      shutil.copytree(folder, place)
      for name in ('config.json', 'settings.json'):
        (place / name).unlink()
      (place / 'summary.json').write_text('[]')
      (place / 'winners.json').write_text('[]')
    assert cli.main(['report', str(place), f'--out={tmp_path / out}']) == 0, capsys.readouterr().err
    assert 'Which objective, how strongly' in (tmp_path / out).read_text()
  assert json.loads((folder / 'settings.json').read_text())['resamples'] == 50
  with pytest.raises(ValueError, match='holds another configuration'):
    run_study(strength_plan.from_settings(BITS), folder, progress=False)
  assert not (folder / 'chunks').exists()


def test_a_folder_of_another_study_is_refused(tmp_path):
  (tmp_path / 'config.json').write_text('{"generator": "bits"}')
  with pytest.raises(ValueError, match=r"another configuration \(study: 'strength' there, 'obj"):
    run.run(from_settings(BITS | {'objectives': TWO}), tmp_path, progress=False)
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_of_three_sides_cka_is_with_both_others():
  lam = [0.0, 1.0]
  of = lambda value: (('lam', 'seed'), value * np.array([[1.0, 1.0], [2.0, 4.0]]))
  dataset = xr.Dataset({'cka_1_2': of(0.1), 'cka_1_3': of(0.2), 'cka_2_3': of(0.05)},
                       {'lam': lam, 'seed': [0, 1]})
  found = [report._cka(dataset, {}, {'best_lam': 1.0, 'encoder': i}) for i in (1, 2, 3)]
  np.testing.assert_allclose(found, [0.45, 0.225, 0.375])
  assert report._cka(dataset, {}, {'best_lam': None, 'encoder': 1}) is None


def test_intervals_of_all_are_bonferroni_of_student():
  ends = report.of_all(1.0, [0.0, 3.0], 10, 13)
  ratio = stats.t.ppf(1 - 0.025 / 13, 9) / stats.t.ppf(0.975, 9)
  np.testing.assert_allclose(ends, [1 - ratio, 1 + 2 * ratio])
  np.testing.assert_allclose(report.of_all(1.0, [0.0, 3.0], 10, 1), [0.0, 3.0])
  assert report.of_all(1.0, None, 3, 2) is None


def test_pairs_stand_beside_linear_references(digits):
  found, folder, plan = digits
  assert set(found) == {'digits', 'digits right left'}
  for label, sides in (('digits', ('left', 'right')), ('digits right left', ('right', 'left'))):
    data = loading.load_pairs('digits', x1=sides[0], x2=sides[1])
    for seed in (0, 4):
      expected = linear.references(data, 3, seed)
      for method, encoder in (('pca', 1), ('cca', 2), ('pls', 1)):
        np.testing.assert_allclose(
            references.accuracies(found[label], {'n_labelled': 3}, encoder)[method][seed],
            expected[method][encoder - 1].accuracy)
  entries = report.summarise(found, resamples=50)
  assert len(entries) == 2 * 2 * 2 and {row['set'] for row in entries} == set(found)
  for row in entries:
    pca, cca = (row['linear'][method]['accuracy'] for method in ('pca', 'cca'))
    assert row['linear']['cca']['gain'] == pytest.approx(cca - pca)
  for best in report.winners(found, resamples=50):
    values = references.accuracies(found[best['set']], {'n_labelled': 3}, best['encoder'])['cca']
    low, high = best['over']['cca']['gain_interval']
    assert low < best['over']['cca']['gain'] < high and values.shape[0] == 5
  said = report.write(found, folder, resamples=50, figures=True)
  assert 'over CCA' in said and 'Pearson' in said
  assert (folder / 'figures' / 'linear.png').exists()
  assert (folder / 'digits_right_left' / 'results.zarr').is_dir()
  choices = json.loads(found['digits'].attrs['tuning'])
  assert [row['n_labelled'] for row in choices] == [3]
  chosen = {study.hypers.learning_rate.ravel()[0] for study in [plan.cases['digits'].unaligned]}
  assert chosen and choices[0]['learning_rate'] in (5e-3, 1e-2)


def test_how_well_a_linear_method_tells():
  entries = [{'objective': 'a', 'set': f's{i // 2}', 'gain': 0.02 * x, 'linear': {
      'cca': {'gain': 0.01 * x}, 'pls': {'gain': 0.01 * (x if i % 2 else -x)}}}
             for i, x in enumerate(np.linspace(-2, 3, 12))]
  cca, pls = beside.predictions(entries)
  assert (cca.objective, cca.method) == ('a', 'cca') and len(cca.x) == 12
  assert cca.correlation['pearson'] == pytest.approx(1) and cca.same_sign == 1
  np.testing.assert_allclose(cca.interval['pearson'], [1, 1])
  expected = stats.pearsonr(pls.x, pls.y)[0]
  assert pls.correlation['pearson'] == pytest.approx(expected)
  assert pls.correlation['spearman'] == pytest.approx(stats.spearmanr(pls.x, pls.y)[0])
  assert pls.interval['pearson'][0] < expected < pls.interval['pearson'][1]
  few = [{**entry, 'set': 'one'} for entry in entries]
  assert beside.predictions(few)[0].interval == {'spearman': None, 'pearson': None}


def test_over_is_paired_over_seeds_and_folds():
  g = np.random.default_rng(1)
  accuracy = g.uniform(0.4, 0.6, (4, 5, 3))
  linear_ones = g.uniform(0.4, 0.6, (5, 3))
  found = report._over(accuracy, {'cca': linear_ones})['cca']
  picked = np.empty((5, 3))
  for s in range(5):
    for f in range(3):
      rest = np.delete(np.delete(accuracy, s, 1), f, 2).sum((1, 2))
      picked[s, f] = accuracy[rest.argmax(), s, f]
  more = picked - linear_ones
  assert found['gain'] == pytest.approx(more.mean())
  assert found['gain_interval'][1] - found['gain'] == pytest.approx(over_seeds_and_folds(more))
  assert report._over(accuracy, {'cca': linear_ones[:4]}) == {}


@pytest.mark.parametrize('given, words', [
    ({'objectives': ('info', )}, "objective 'info' is unknown"),
    ({'objectives': TWO, 'sets': ('digits',), 'data': 'cora'}, "data='cora' has no effect: sets="),
    ({'sets': ('digits:left',)}, "sets='digits:left': give NAME, or NAME:x1,x2"),
    ({'sets': ('sora',)}, "set 'sora' is unknown; known: avmnist, cora, "),
    ({'lam': (0.5, 1.0)}, 'must hold 0'),
    ({'lam': (0.0,)}, 'must hold 0'),
    ({'lam_1': (0.0, 1.0)}, 'objectives are compared at one strength, lam'),
    ({'objectives': ('info_nce',), 'loss_variance': (2.0,)}, 'loss_variance=(2.0,) has no effect'),
    ({'objectives': ('cosine',), 'temperature': (0.5,)}, 'temperature=(0.5,) has no effect'),
    ({'loss': 'info_nce'}, "setting 'loss' is unknown"),
    ({'generator': 'bit'}, "generator 'bit' is unknown"),
    ({'steps': 0}, 'steps=0'),
])
def test_what_cannot_be_compared_is_said_in_one_line(given, words):
  with pytest.raises(ValueError, match='(?s)^[^\n]*$') as error:
    from_settings(BITS | {'objectives': TWO} | given)
  assert words in str(error.value)


def test_a_budget_that_one_of_several_sets_lacks_is_left_out(capsys):
  plan = from_settings(DIGITS | {'objectives': ('cosine',), 'n_labelled': (3, 100_000)})
  assert plan.cases['digits'].unaligned.axes['n_labelled'] == (3,)
  assert 'no budget of 100000' in capsys.readouterr().err
  with pytest.raises(ValueError, match="nose"):
    from_settings(DIGITS | {'sets': ('digits:left,nose',)})
  with pytest.raises(ValueError, match='n_labelled=100000'):
    from_settings(DIGITS | {'sets': ('digits',), 'n_labelled': (3, 100_000)})


def test_a_row_of_the_registry_with_every_setting():
  assert STUDIES['objectives'].defaults() == defaults() and 'loss' not in defaults()
  assert 'info_nce' in known() and not any(name.startswith('streaming') for name in known())
  assert 'intra_modal' not in known()  # aligns nothing: where it is named
  own = from_settings(BITS | {'objectives': ('vicreg', 'cosine'), 'loss_variance': (2.0,)})
  assert own.cases[''].parts['vicreg'].settings['loss_variance'] == (2.0,)
  assert 'loss_variance' not in own.cases[''].parts['cosine'].settings
  assert dataclasses.asdict(own.cases[''].unaligned.spec)['loss'] == ''


@pytest.mark.parametrize('arg, cells', [
    ('', (3, 4, 10)), ('quick', (3, 2, 5)), ('tiny', (2, 1, 2)), ('atoms', (2, 2, 4, 10)),
    ('digits', (2, 1, 4, 10))])
def test_variants_of_the_configuration(arg, cells):
  path = pathlib.Path(__file__).parent.parent / 'configs' / 'objectives.py'
  config = runpy.run_path(str(path))['get_config'](arg).to_dict()
  plan = from_settings(config | {'objectives': ('cosine',)}, preset=tuple(config))
  study = next(iter(plan.cases.values())).parts['cosine']
  assert tuple(n for n in study.shape if n > 1 or study.n_cells == 1) == tuple(
      n for n in cells if n > 1)
