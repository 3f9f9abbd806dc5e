"""Chance by shifts along a circle: as its permutations one by one, with exact p-values."""

import json

import numpy as np
import pytest
from scipy import stats

from mmalign_jax import cli
from mmalign_jax.similarity import MEASURES
from mmalign_jax.studies.zoo import plan as plans, run as runs
from mmalign_jax.studies.zoo.compared import Comparison
from mmalign_jax.zoo import Circles, best, best_on_circle, circled, circles, engine_of, stack
from mmalign_jax.zoo.lists import Lists


def layers(n, seed, widths=(5, 8, 3)):
  g = np.random.default_rng(seed)
  return [g.normal(size=(n, width)).astype(np.float32) for width in widths]


@pytest.mark.parametrize('name', ['debiased_linear_cka', 'linear_cka', 'rbf_cka', 'mutual_knn'])
@pytest.mark.parametrize('n', [20, 21])
def test_a_circle_gives_what_its_permutations_give_one_by_one(name, n):
  measure = MEASURES[name]
  plain = engine_of(measure, {'k': 4} if name == 'mutual_knn' else {}, n)
  circle = circles.draw(n, 9, seed=3)
  x, y = layers(n, 0), layers(n, 1)
  y[2] = x[1][:, :3] + 0.1 * y[2]
  made = []
  for engine in (plain, circled(plain, circle)):
    made.append([stack(engine, side, [engine.layer(z, None) for z in z_], [2, 1])
                 for side, z_ in (('left', x), ('right', y))])
  wanted = best(plain, *made[0], circle.orders())
  found = best_on_circle(circled(plain, circle), *made[1], workers=2)
  np.testing.assert_allclose(found.value, wanted.value, atol=2e-6)
  np.testing.assert_allclose(found.null, wanted.null, atol=2e-6)
  np.testing.assert_array_equal(found.layers, wanted.layers)


def test_shifts_are_permutations_without_a_fixed_sample():
  circle = circles.draw(11, 10, seed=0)
  orders = circle.orders()
  assert (np.sort(orders, axis=1) == np.arange(11)).all() and (orders != np.arange(11)).all()
  assert len(np.unique(orders, axis=0)) == 10 and sorted(circle.shifts) == list(range(1, 11))
  with pytest.raises(ValueError, match='11 shifts of N=11 samples: there are 10'):
    circles.draw(11, 11, seed=0)


def test_p_values_of_shifts_are_uniform_where_nothing_is_shared():
  """Also where a side has an order of its own, as time has: half of them are random walks."""
  p, n = [], 24
  plain = engine_of(MEASURES['debiased_linear_cka'], {}, n)
  for seed in range(200):
    x, y = layers(n, seed, (3, 4))
    y = np.cumsum(y, axis=0) if seed % 2 else y
    engine = circled(plain, circles.draw(n, 19, seed))
    sides = [stack(engine, side, [engine.layer(z, None)], [1])
             for side, z in (('left', x), ('right', y))]
    found = best_on_circle(engine, *sides)
    p.append((1 + (found.null[:, 0, 0] >= found.value[0, 0]).sum()) / 20)
  assert stats.kstest(np.array(p) - np.random.default_rng(0).random(200) / 20,
                      'uniform').pvalue > 0.01


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  folder = tmp_path_factory.mktemp('circle')
  shared = np.random.default_rng(5).normal(size=(40, 5))
  for side in ('left', 'right'):
    x, y = layers(40, len(side), (5, 5))
    np.savez(folder / f'{side}.npz', a=np.stack([x, y]), b=shared + 0.5 * x)
  return folder


def planned(place, **more):
  return plans.from_settings(dict(
      study='zoo', left=str(place / 'left.npz'), right=str(place / 'right.npz'), k=5,
      permutations=19, resamples=0, map=False) | more)


def test_a_zoo_on_a_circle(place, tmp_path, monkeypatch):
  """Values are those of any permutations, chance about the same; a large zoo takes it by itself."""
  made = {way: runs.run(planned(place, permute=way, permutations=39), tmp_path / way,
                        progress=False) for way in ('random', 'shifts')}
  np.testing.assert_allclose(made['shifts']['value'], made['random']['value'], atol=2e-6)
  np.testing.assert_array_equal(made['shifts']['layer_left'], made['random']['layer_left'])
  np.testing.assert_allclose(made['shifts']['null_mean'], made['random']['null_mean'], atol=0.02)
  np.testing.assert_allclose(made['shifts']['p_value'].sel(left='b', right='b'), 1 / 40)
  from mmalign_jax.studies.zoo import chance
  assert planned(place).settings['permute'] == 'random'
  monkeypatch.setattr(chance, '_MUCH', 1.0)
  large = planned(place)
  assert large.settings['permute'] == 'shifts' == large.record['permute']
  assert any('19 shifts along one random circle' in note for note in large.notes)
  assert planned(place, permute='random').settings['permute'] == 'random'
  assert planned(place, permutations=40).settings['permute'] == 'random'  # there are 39


def test_little_memory_changes_nothing(place, tmp_path):
  whole, small = (runs.run(planned(place, permute='shifts', memory=memory), tmp_path / str(memory),
                           progress=False) for memory in (2.0, 0.05))
  for name in ('value', 'null_mean', 'p_value'):
    np.testing.assert_allclose(whole[name], small[name], atol=1e-6)


@pytest.mark.parametrize('more, said', [
    (dict(permute='shifts', permutations=40), 'permute=shifts: 40 shifts of N=40 samples'),
    (dict(permute='shifts', group='groups.npy'), 'group=.*says what changes places'),
    (dict(permute='shifts', permutations=0), 'permute=shifts: permutations=0'),
    (dict(permute='circle'), "permute 'circle' is unknown|permute='circle'")])
def test_a_circle_that_cannot_be_is_refused(place, more, said):
  np.save(place / 'groups.npy', np.repeat(np.arange(8), 5))
  more = more | ({'group': str(place / more['group'])} if 'group' in more else {})
  with pytest.raises(ValueError, match=said):
    planned(place, **more)


def test_the_option(place, capsys):
  assert cli.main(['zoo', f'--left={place}/left.npz', f'--right={place}/right.npz', '--k=5',
                   '--permute=shifts', '--null=9', '--bootstrap=0', '--nomap', '--nofigures',
                   '--json', '--measure=mutual_knn', f'--workdir={place}/option']) == 0
  assert json.loads(capsys.readouterr().out)['pairs'][0]['pairs'] == 4


def test_lists_stay_lists_where_a_circle_is_more_than_memory_holds(place, tmp_path, monkeypatch):
  """A model of mutual kNN on a circle takes 4 N^2 bytes a layer, of lists 16 k N."""
  plan = planned(place, permute='shifts', memory=0.05, permutations=9)
  compare, circle = Comparison(plan), circles.draw(plan.n, 9, seed=0)
  engines = lambda: [type(compare._engine(name, circle)) for name in plan.measures]
  assert engines() == [Circles, Circles]
  whole = runs.run(plan, tmp_path / 'whole', progress=False)
  monkeypatch.setattr(Circles, 'bytes_of', lambda self, n: 1 if self._unit is None else 2**40)
  assert engines() == [Lists, Circles]
  assert list(map(len, compare.groups(plan.right, circle))) == [2]
  again = runs.run(plan, tmp_path / 'again', progress=False)
  for name in ('value', 'null_mean', 'p_value', 'layer_left'):
    np.testing.assert_allclose(whole[name], again[name], atol=2e-6)
