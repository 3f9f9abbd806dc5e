"""Model zoos: values of `mmalign measure` pair by pair, resume and shards, trends, bad input."""

import json
import shutil

import jax
import numpy as np
import pytest

from mmalign_jax import cli, similarity
from mmalign_jax.similarity import MEASURES, neighbors, scores
from mmalign_jax.studies import registry
from mmalign_jax.studies.zoo import (
  atlas,
  plan as plans,
  report as reports,
  run as runs,
  summary as summaries,
  trends,
)
from mmalign_jax.zoo import best, engine_of, nearest, stack

N = 60
GROUPS = np.repeat(np.arange(12), 5)
UNEVEN = np.repeat(np.arange(12), [4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 8, 8])


def overlap(x, y):
  """A measure of one's own, in NumPy."""
  return float((np.sign(np.asarray(x)[:, 0]) == np.sign(np.asarray(y)[:, 0])).mean())


def cka(x, y):
  """One that JAX can trace."""
  return similarity.debiased_linear_cka(x, y)


cka.best = 1.0


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  """Three models a side, of widths and layers of their own, the first of each the noisiest."""
  folder = tmp_path_factory.mktemp('zoo')
  rng = np.random.default_rng(0)
  shared = rng.normal(size=(N, 4))
  def features(width, noise):
    return (shared @ rng.normal(size=(4, width)) + noise * rng.normal(size=(N, width))).astype('f4')
  np.savez(folder / 'left.npz', poor=features(20, 6.0), fair=np.stack(
      [features(7, 2.0), features(7, 9.0)]), good=features(90, 0.2))
  np.savez(folder / 'right.npz', a=features(5, 1.0), b=features(33, 3.0), c=features(8, 0.3))
  np.savez(folder / 'levels.npz', level=np.array([0.0, 1.0]), a=np.stack(
      [features(6, 0.3), features(6, 9.0)]), b=np.stack([features(9, 0.3), features(9, 9.0)]))
  np.save(folder / 'groups.npy', UNEVEN)
  np.save(folder / 'y.npy', (shared[:, 0] > 0).astype(int))
  return folder


def settings(place, **more):
  return dict(study='zoo', left=str(place / 'left.npz'), right=str(place / 'right.npz'), k=5,
              permutations=19, resamples=4, draws=100) | more


@pytest.fixture(scope='module')
def made(place):
  """A whole run, and where it lies."""
  plan = plans.from_settings(settings(place, y=str(place / 'y.npy'), sizes=(30,), repeats=2,
                                      score_left='poor=1,fair=2,good=3'))
  dataset = runs.run(plan, place / 'made', progress=False)
  return plan, dataset, registry.answer(registry.STUDIES['zoo'], plan, dataset, place / 'made',
                                        figures=True)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('left, right', [('fair', 'c')])
def test_pairs_are_those_of_mmalign_measure(place, made, capsys, left, right):
  assert not cli.main(['measure', f'{place}/left.npz:{left}', f'{place}/right.npz:{right}',
                       '--json', '--measures=mutual_knn,debiased_linear_cka', '--k=5', '--null=19',
                       '--bootstrap=4'])
  for name, one in json.loads(capsys.readouterr().out).items():
    found = made[1].sel(measure=name, left=left, right=right).isel(level=0)
    for key in ('value', 'null_mean', 'null_q95', 'calibrated', 'p_value'):
      np.testing.assert_allclose(found[key], one[key], rtol=2e-5, atol=1e-6, err_msg=key)
    np.testing.assert_allclose([found['low'], found['high']], one['interval'], atol=2e-6)
    assert int(found['layer_left']) - 1 == one.get('layer_x', 0)


@pytest.mark.parametrize('name', ['mutual_knn', 'linear_cka', 'rbf_cka', 'cknna', 'rsa'])
@pytest.mark.parametrize('groups, items', [(None, None), (GROUPS, None), (UNEVEN, None),
                                           (None, GROUPS)])
def test_engines_are_the_measures(name, groups, items):
  """Values and nulls, with groups that move whole, and several samples of an item."""
  if items is not None and name == 'cknna':
    pytest.skip('counts samples, not items')
  rng, measure = np.random.default_rng(1), MEASURES[name]
  own = {'k': 4} if 'k' in measure.settings else {}
  x, y = ([rng.normal(size=(N, d)).astype(np.float32) for d in widths] for widths in ((5, 5), (5,)))
  y[0] += x[1]
  engine = engine_of(measure, own, N)
  codes = items if measure.items else None
  orders = np.array([rng.permutation(12)[:, None] * 5 + np.arange(5) for _ in range(3)])
  orders = orders.reshape(3, N)
  if groups is UNEVEN:
    orders = np.array([rng.permutation(N) for _ in range(3)])
  left, right = (stack(engine, side, [engine.layer(z, codes) for z in z_], [len(z_)])
                 for side, z_ in (('left', x), ('right', y)))
  found = best(engine, left, right, orders, workers=2)
  wanted = similarity.layer_pairs(measure, x, y, items=codes, **own)
  np.testing.assert_allclose(found.value[0, 0], wanted.best, rtol=1e-5)
  assert found.layers[0, 0].tolist() == wanted.index.tolist()
  prepared = [[measure.prepare(z, **{**measure.settings, **own}, **(
      {} if codes is None else {'items': codes})) for z in side] for side in (x, y)]
  for order, value in zip(orders, found.null[:, 0, 0]):
    moved = [measure.compare(a, prepared[1][0].take(order)) for a in prepared[0]]
    np.testing.assert_allclose(value, max(moved), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('z', [
    np.random.default_rng(0).normal(size=(250, 20)), np.repeat(np.eye(30), 8, axis=0),
    np.sign(np.random.default_rng(1).normal(size=(220, 5))),
    np.vstack([np.zeros((9, 4)), np.random.default_rng(2).normal(size=(9, 4))])])
def test_nearest_are_those_of_the_measure_with_ties(z):
  z = z.astype(np.float32)
  wanted = np.sort(np.asarray(neighbors.search(z, k=6).lists), axis=0)
  np.testing.assert_array_equal(np.sort(nearest.search(z, 6), axis=0), wanted)
  assert nearest.search(z, len(z) - 1).shape == (len(z) - 1, len(z))


def test_groups_of_unequal_size_as_in_measure(place):
  """Chance is of the samples that can change places; the value of all."""
  plan = plans.from_settings(settings(place, group=str(place / 'groups.npy'), resamples=2,
                                      measures=('debiased_linear_cka',), map=False))
  found = runs.run(plan, place / 'grouped', progress=False).isel(level=0, measure=0)
  files = np.load(place / 'left.npz'), np.load(place / 'right.npz')
  codes = np.unique(UNEVEN.astype(str), return_inverse=True)[1]  # in the order of their names
  wanted, _ = scores.score({'cka': MEASURES['debiased_linear_cka']}, [files[0]['poor']],
                           [files[1]['a']], scores.Plan(19, 2), groups=codes)
  one = found.sel(left='poor', right='a')
  for key in ('value', 'tested', 'null_mean', 'calibrated', 'p_value'):
    np.testing.assert_allclose(one[key], getattr(wanted['cka'], key), rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose([one['low'], one['high']], wanted['cka'].interval, atol=1e-5)


# -- the run ---------------------------------------------------------------------------------------


def test_answer_has_all(place, made):
  _, dataset, text = made
  summary = json.loads((place / 'made' / 'summary.json').read_text())
  assert {row['side'] for row in summary['trends']} == {'left', 'right'}
  assert summary['pairs'][0]['pairs'] == 9 and len(summary['maps'][0]['models']) == 6
  assert summary['sizes'][0]['samples'] == 30
  lines = (place / 'made' / 'pairs.csv').read_text().splitlines()
  assert len(lines) == 1 + 2 * 9 and lines[0].startswith('measure,level,left,right,value')
  assert {p.stem for p in (place / 'made' / 'figures').glob('*.png')} == {
      'matrix', 'quality', 'sizes', 'map'}
  assert 'Do better models agree more?' in (place / 'made' / 'report.html').read_text()
  assert 'without width' in text and list(dataset['left'].values) == ['fair', 'good', 'poor']


def test_a_nearest_model_keeps_its_sign(made):
  below = made[1].assign(calibrated=-abs(made[1]['calibrated']) - 0.001)
  found = list(summaries._nearest(below, [str(name) for name in below['measure'].values]))
  assert len(found) == 12 and all(row['calibrated'] < 0 for row in found)


def test_a_report_made_later_draws_as_often(place, made, tmp_path, monkeypatch):
  """`resamples` of a zoo are halves of the samples, not draws of models."""
  asked, compose = [], reports.compose
  def counted(*given, draws):
    asked.append(draws)
    return compose(*given, draws=draws)
  monkeypatch.setattr(reports, 'compose', counted)
  registry.report(place / 'made', tmp_path)
  assert asked == [made[0].run['draws']] != [made[0].run.get('resamples', 0)]


def test_a_kill_costs_the_cell_at_hand_only(place, made):
  plan, dataset, _ = made
  folder = place / 'again'
  shutil.copytree(place / 'made', folder)
  gone = folder / 'cells' / 'pairs_0_1.npz'
  gone.unlink()
  times = {p.name: p.stat().st_mtime_ns for p in (folder / 'cells').iterdir()}
  again = runs.run(plan, folder, progress=False)
  assert all((folder / 'cells' / name).stat().st_mtime_ns == t for name, t in times.items())
  np.testing.assert_allclose(again['p_value'], dataset['p_value'])


def test_shards_are_merged(place, made):
  plan, dataset, _ = made
  folders = [place / f'shard{i}' for i in (1, 2)]
  for i, folder in enumerate(folders):  # what each would have made
    shutil.copytree(place / 'made', folder)
    for cell in runs.cells(plan)[1 - i::2]:
      runs.path_of(folder, cell).unlink()
  registry.merge(folders, place / 'merged', figures=False)
  import xarray as xr
  whole = xr.open_zarr(place / 'merged' / 'results.zarr', consolidated=False)
  np.testing.assert_allclose(whole['calibrated'], dataset['calibrated'])


def test_models_of_one_side_among_themselves_and_a_measure_of_ones_own(place, monkeypatch, capsys):
  monkeypatch.syspath_prepend(str(place))
  argv = ['zoo', f'--left={place}/right.npz:[ab]', '--measure=zoo_test:overlap,zoo_test:cka,'
          'debiased_linear_cka', '--null=9', '--bootstrap=0', f'--workdir={place}/own',
          '--nofigures', '--json', '--score-left=a=1,b=2']
  assert cli.main(argv) == 0
  summary = json.loads(capsys.readouterr().out)
  assert [one['pairs'] for one in summary['pairs']] == [1, 1, 1]  # none with itself, each once
  mine, package = summary['pairs'][1:]
  np.testing.assert_allclose(mine['highest'], package['highest'], rtol=1e-5)
  np.testing.assert_allclose(mine['chance'], package['chance'], rtol=1e-3)
  assert len(summary['nearest']) == 6


def test_calibrate_takes_any_function():
  x = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
  found = similarity.calibrate(overlap, x, x, key=jax.random.key(0), permutations=9)
  assert float(found.score) == 1 and float(found.p_value) == pytest.approx(0.1)
  assert float(found.calibrated) == pytest.approx(1 - float(found.null_mean))  # no best is known
  with pytest.raises(ValueError, match='or a function of x and y'):
    similarity.calibrate('rsa', x, x, key=jax.random.key(0))


def test_levels(place):
  plan = plans.from_settings(settings(place, right=str(place / 'levels.npz'), levels='level',
                                      measures=('debiased_linear_cka',), map=False,
                                      y=str(place / 'y.npy')))
  dataset = runs.run(plan, place / 'leveled', progress=False)
  text = registry.answer(registry.STUDIES['zoo'], plan, dataset, place / 'leveled', figures=False)
  assert dataset['level'].values.tolist() == [0, 1] and 'Spearman with level' in text
  mean = dataset['value'].mean(('left', 'right')).values[0]
  assert mean[0] > mean[1] + 0.2  # the second level is noise
  quality = dataset['quality_right'].values
  assert (quality[0] > quality[1]).all()


# -- trends ----------------------------------------------------------------------------------------


def test_trend_by_hand():
  quality, width = np.arange(5.0), np.array([8, 64, 16, 128, 32])
  values = 0.1 * quality[:, None] + np.array([0.0, 0.5])[None]
  found = trends.trend(quality, width, values)
  assert found.spearman == 1 and found.slope == pytest.approx(0.1)
  assert found.slope_interval == pytest.approx((0.1, 0.1)) and found.partial == pytest.approx(1)
  assert found.p == pytest.approx(2 / 120)  # of all orders, the two that are as strong


def test_models_of_one_side_are_drawn_alike(monkeypatch):
  """Partners that were drawn by themselves make no difference."""
  g, draws = np.random.default_rng(0), trends.draws
  values = g.normal(size=(12, 12))
  values += values.T
  found = lambda: trends.trend(np.arange(12.0), np.full(12, 8), values, count=200, own=True)
  alike = found()
  def apart(*given):
    first, second, half = draws(*given)
    return first, second[::-1], half
  monkeypatch.setattr(trends, 'draws', apart)
  assert alike.slope_interval is not None and found().slope_interval == alike.slope_interval


def test_width_alone_is_partialled_out():
  rng = np.random.default_rng(0)
  width = 2.0 ** rng.permutation(np.arange(4, 34))
  quality = np.log2(width) + 3 * rng.normal(size=30)
  values = (np.log2(width) + 3 * rng.normal(size=30))[:, None] * np.ones((1, 4))
  found = trends.trend(quality, width, values)
  assert found.spearman > 0.7 and abs(found.partial) < 0.45
  assert found.partial_interval[0] < 0 < found.partial_interval[1]


def test_intervals_cover_models_and_samples():
  """A trend of a population of models, seen with noise of the samples: 95 % means about 95 %."""
  rng, hits = np.random.default_rng(1), 0
  for trial in range(40):
    quality = rng.normal(size=12)
    pure = quality[:, None] + 0.7 * rng.normal(size=(12, 1)) + 0.3 * rng.normal(size=(12, 8))
    noise = 0.3 * rng.normal(size=(1 + 30, 12, 8))
    found = trends.trend(quality, np.full(12, 8), pure + noise[0], noise[1:], count=100, seed=trial)
    hits += found.slope_interval[0] < 1 < found.slope_interval[1]
  assert 34 <= hits <= 40


def test_a_level_that_does_nothing():
  rng = np.random.default_rng(0)
  found = trends.with_level(np.arange(5.0), rng.normal(size=(5, 6, 6)))
  assert found.interval[0] < 0 < found.interval[1]
  falling = -np.arange(5.0)[:, None, None] * np.ones((1, 3, 3))
  assert trends.with_level(np.arange(5.0), falling).spearman == -1


def test_map_and_tree_of_known_distances():
  places = np.array([[0.0, 0], [0, 1], [5, 0], [5, 1.5]])
  distance = np.linalg.norm(places[:, None] - places[None], axis=2)
  found, share = atlas.plane(distance)
  np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=2), distance,
                             atol=1e-9)
  assert share == pytest.approx(1) and sorted(atlas.tree(distance)[0, :2]) == [0, 1]


# -- bad input -------------------------------------------------------------------------------------


def test_one_model_with_gaps_is_marked_and_the_rest_goes_on(place):
  arrays = dict(np.load(place / 'right.npz'))
  arrays['b'][3, 2], arrays['flat'] = np.nan, np.ones((N, 3), np.float32)
  np.savez(place / 'gaps.npz', **arrays)
  plan = plans.from_settings(settings(place, right=str(place / 'gaps.npz'), resamples=0, map=False,
                                      measures=('debiased_linear_cka',)))
  assert any("'b' is left out" in note for note in plan.notes)
  dataset = runs.run(plan, place / 'gaps', progress=False)
  value = dataset['value'].isel(measure=0, level=0)
  assert np.isnan(value.sel(right=['b', 'flat'])).all() and np.isfinite(value.sel(right='c')).all()
  text = registry.answer(registry.STUDIES['zoo'], plan, dataset, place / 'gaps', figures=False)
  assert '1 values not finite, first at row 3, column 2' in text
  filled = plans.from_settings(settings(place, right=str(place / 'gaps.npz'), missing='mean'))
  assert [m.name for m in filled.right if m.refused] == ['flat']
  dropped = plans.from_settings(settings(place, right=str(place / 'gaps.npz'), missing='drop'))
  assert dropped.n == N - 1


@pytest.mark.parametrize('more, said', [
    (dict(right='short.npz'), "'short' of right has N=59 samples and 'fair' of left has N=60"),
    (dict(right='twice'), "two models are named 'm'"),
    (dict(score_left='best=1'), "a score without a model: 'best'; models are 'fair', 'good', "),
    (dict(score_left='poor=1,poor=2'), "two scores of 'poor'"),
    (dict(score_left='poor=high'), "the score of 'poor' is no number: 'high'"),
    (dict(measures=('ckaa',)), "measure 'ckaa' is unknown; known: "),
    (dict(measures=('nowhere:cka',)), "measure 'nowhere:cka': No module named 'nowhere'"),
    (dict(measures=('modality_gap',)), 'its chance exchanges two sides'),
    (dict(k=60), "measure 'mutual_knn': k=60 neighbours need k < N"),
    (dict(sizes=(500,)), 'sizes=500 is more than the N=60 samples'),
    (dict(repeats=3), 'repeats=3 has no effect without sizes'),
    (dict(levels='nothing'), "no key 'nothing'"),
    (dict(y='y.npy', group='short.npy'), 'shape (59,); the models have N=60'),
    (dict(left='short.npz', right=''), "'short' is the only model that can be compared"),
    (dict(left=''), "left='' names no models")])
def test_bad_input_is_one_line(place, more, said):
  np.savez(place / 'short.npz', short=np.ones((59, 2)) * np.arange(59)[:, None])
  np.save(place / 'short.npy', np.arange(59))
  (place / 'twice').mkdir(exist_ok=True)
  for name in ('m.npy', 'm.csv'):
    np.savetxt(place / 'twice' / name, np.ones((2, 2))) if name[-1] == 'v' else np.save(
        place / 'twice' / name, np.ones((2, 2)))
  paths = ('left', 'right', 'y', 'group')
  more = {k: str(place / v) if k in paths and v else v for k, v in more.items()}
  with pytest.raises(ValueError) as error:
    plans.from_settings(settings(place, **more))
  assert said in str(error.value) and '\n' not in str(error.value)


def test_a_folder_of_models_with_layers_of_their_own(place):
  folder = place / 'models'
  folder.mkdir()
  for name in ('m2', 'm10'):
    np.savez(folder / f'{name}.npz', layer0=np.eye(N), layer1=np.arange(N)[:, None] * np.eye(N),
             other=np.eye(N))
  found = plans.from_settings(settings(place, right=f'{folder}:layer*', resamples=0))
  assert [(m.name, m.layers) for m in found.right] == [
      ('m2', ('layer0', 'layer1')), ('m10', ('layer0', 'layer1'))]
  every = plans.from_settings(settings(place, right=str(folder), resamples=0))
  assert [m.name for m in every.right][:3] == ['m2:layer0', 'm2:layer1', 'm2:other']


def test_a_measure_without_any_value_is_named():
  import xarray as xr

  from mmalign_jax.studies.zoo import summary
  value = xr.DataArray(np.full((1, 1, 2, 2), np.nan), dims=('measure', 'level', 'left', 'right'),
                       coords={'measure': ['mine'], 'level': [0.0]})
  dataset = xr.Dataset({'value': value}, attrs={'within': 0})
  with pytest.raises(ValueError, match="measures='mine' has no value for any pair"):
    summary._of_pairs(dataset, 'mine', 0)
