"""Features against values worked otherwise, and the predictor's table, intervals and refusals."""

import dataclasses
import importlib.util
import pathlib

import numpy as np
import pytest

from mmalign_jax.advice import advice, features, linear, predict, predictor
from mmalign_jax.advice.features import NAMES

ROOT = pathlib.Path(__file__).resolve().parent.parent
OF_LABELLED = ('information', 'kernel', 'accuracy', 'slope')


def of_benchmark(name):
  spec = importlib.util.spec_from_file_location(name, ROOT / f'benchmarks/{name}.py')
  assert spec is not None and spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.fixture(scope='module')
def pair():
  """Two views of 300 samples that share two directions, and three classes."""
  g = np.random.default_rng(1)
  z = g.normal(size=(300, 2))
  views = [np.hstack([z, g.normal(size=(300, d))]) for d in (4, 6)]
  return views, (z @ g.normal(size=(2, 3)) + 0.3 * g.normal(size=(300, 3))).argmax(axis=1)


@pytest.fixture(scope='module')
def found(pair):
  return features(*pair)


# -- features -------------------------------------------------------------------------------------


@pytest.mark.parametrize('flip', [0.0, 0.1, 0.5])
def test_information_of_a_noisy_bit_is_ln_2_less_its_entropy(flip):
  g = np.random.default_rng(0)
  bit = g.integers(0, 2, 4000)
  y = bit ^ (g.random(4000) < flip)
  got = features([bit[:, None] + 0.0, g.normal(size=(4000, 2))], y)
  h = -sum(p * np.log(p) for p in (flip, 1 - flip) if p)
  assert got['information_1'] == pytest.approx(np.log(2) - h, abs=0.03)
  assert got['accuracy_1'] == pytest.approx(max(1 - flip, 0.5), abs=0.03)
  assert got['information_2'] < 0.005
  assert got['entropy'] == pytest.approx(np.log(2), abs=1e-3)
  assert got['redundancy'] == min(got['information_1'], got['information_2'])


def test_information_of_a_quantity_is_that_of_its_correlation():
  g = np.random.default_rng(0)
  x = g.normal(size=(3000, 1))
  y = 0.8 * x[:, 0] + 0.6 * g.normal(size=3000)
  got = features([x, g.normal(size=(3000, 1))], y, task='value')
  assert got['information_1'] == pytest.approx(-0.5 * np.log(1 - 0.64), abs=0.03)
  assert got['accuracy_1'] == pytest.approx(0.5 + np.arcsin(0.8) / np.pi, abs=0.02)
  assert (got['classes'], got['majority']) == (2, 0.5)


def test_the_kernel_sees_an_xor_and_the_linear_model_does_not():
  g = np.random.default_rng(0)
  bits = g.integers(0, 2, (1500, 2))
  got = features([bits - 0.5, g.normal(size=(1500, 1))], bits[:, 0] ^ bits[:, 1])
  assert got['information_1'] < 0.01 and got['kernel_1'] > 0.6


def test_rank_is_the_participation_ratio():
  x = np.vstack([np.diag([3.0, 2.0, 1.0]), -np.diag([3.0, 2.0, 1.0])])  # variances 9 : 4 : 1
  got = features([x, np.random.default_rng(0).normal(size=(6, 1))], np.arange(6) % 2)
  assert got['rank_1'] == pytest.approx(14**2 / (81 + 16 + 1))
  assert got['rank_2'] == pytest.approx(1)
  assert (got['width_1'], got['pairs']) == (3, 6)


def test_similarity_is_one_of_equal_views_and_zero_on_average_of_permutations(pair):
  (x, other), y = pair
  assert features([x, 3 - 2 * x], y)['similarity'] == pytest.approx(1)
  g = np.random.default_rng(0)
  x, other = x[:40], other[:40]
  a, b = x - x.mean(axis=0), other - other.mean(axis=0)
  size = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
  cka = lambda order: np.square(a.T @ b[order]).sum() / size
  null = np.mean([cka(g.permutation(40)) for _ in range(4000)])
  raw = cka(np.arange(40))
  got = features([x, other], y[:40])['similarity']
  assert got == pytest.approx((raw - null) / (1 - null), abs=0.005)


def test_canonical_correlations_of_unseen_rows_are_the_true_ones():
  g = np.random.default_rng(0)
  z = g.normal(size=(4000, 2))
  other = z * [0.9, 0.5] + g.normal(size=(4000, 2)) * np.sqrt(1 - np.square([0.9, 0.5]))
  mixed = np.hstack([other, g.normal(size=(4000, 3))]) @ g.normal(size=(5, 5))
  got = features([z, mixed], g.integers(0, 2, 4000))
  assert got['canonical_count'] == 2
  assert got['canonical_top'] == pytest.approx(0.9, abs=0.02)
  assert got['canonical_mean'] == pytest.approx(0.7, abs=0.02)
  assert got['canonical_nats'] == pytest.approx(-0.5 * np.log(0.19 * 0.75), abs=0.05)
  assert (got['canonical_share_1'], got['canonical_share_2']) == (1, 0.4)


def test_views_that_share_nothing_have_nothing_shared(pair):
  g = np.random.default_rng(0)
  got = features([pair[0][0], g.normal(size=(300, 3))], pair[1])
  assert got['canonical_count'] == 0 and got['shared_1'] == 0
  assert got['gain_1'] < 0 < got['information_1']


@pytest.mark.parametrize('shape', [(30, 4), (30, 90)])
def test_ridges_are_those_of_scikit_learn(shape):
  from sklearn.linear_model import Ridge
  g = np.random.default_rng(0)
  x, y = g.normal(size=shape), g.normal(size=(len(g.normal(size=shape)), 2))
  fold = np.arange(len(x)) % 3
  got = linear.predicted(x, y, fold)
  for at, ridge in enumerate(linear.RIDGES):
    for f in range(3):
      learnt = x[fold != f]
      unit = np.square(learnt - learnt.mean(axis=0)).sum() / x.shape[1]
      model = Ridge(alpha=ridge * unit).fit(learnt, y[fold != f])
      np.testing.assert_allclose(got[at, fold == f], model.predict(x[fold == f]), atol=1e-6)


def test_order_shift_and_scale_do_not_matter_nor_rotation_to_rank_and_similarity(pair, found):
  (x1, x2), y = pair
  order = np.random.default_rng(0).permutation(len(y))
  again = features([3 * x1[order] - 7, 0.01 * x2[order]], y[order])
  assert again == pytest.approx(found, abs=1e-9)
  turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))
  turned = features([x1 @ turn, x2], y)
  for name in ('rank_1', 'similarity', 'width_1', 'canonical_count'):
    assert turned[name] == pytest.approx(found[name], abs=1e-9)


def test_what_is_of_labels_ignores_rows_without_one_and_the_rest_does_not(pair):
  (x1, x2), y = pair
  y = np.where(np.arange(len(y)) < 80, y, -1)
  moved = x1.copy()
  moved[80:] = np.random.default_rng(0).normal(size=moved[80:].shape)
  one, two = features([x1, x2], y), features([moved, x2], y)
  for name, value in one.items():
    if name.startswith((*OF_LABELLED, 'redundancy', 'unique', 'synergy')):
      assert two[name] == pytest.approx(value, abs=1e-9), name
  assert two['canonical_mean'] < one['canonical_mean']
  assert (one['labelled'], one['pairs']) == (80, 300)


def test_names_are_complete_and_the_same_seed_gives_the_same(pair, found):
  assert features(*pair) == found
  assert {name[:-2] + '_i' if name[-2:] in ('_1', '_2') else name for name in found} == set(NAMES)
  assert all(isinstance(value, float) and np.isfinite(value) for value in found.values())


def test_wide_views_many_rows_and_groups(pair):
  g = np.random.default_rng(0)
  y = g.integers(0, 3, 60)
  wide = features([g.normal(size=(60, 400)), g.normal(size=(60, 3))], y)
  assert wide['width_1'] == 400 and wide['information_1'] < 0.1
  many = features([g.normal(size=(6000, 2)), g.normal(size=(6000, 2))],
                  np.where(g.random(6000) < 0.1, 1, 0))
  assert many['pairs'] == 6000
  groups = np.repeat(np.arange(60), 5)
  whole = linear.folds(pair[1], groups, g)
  assert all(len(set(whole[groups == group])) == 1 for group in range(60))
  assert features(*pair, groups=groups)['information_1'] > 0.3


def many_rows(labelled, classes=2):
  """Views of 20,000 rows, and labels of some of them, which the first view tells."""
  g = np.random.default_rng(0)
  z = g.normal(size=(20_000, 3))
  rows = g.permutation(20_000)[:labelled]
  y = np.full(20_000, -1)
  y[rows] = np.digitize(z[rows, 0] + 0.3 * g.normal(size=labelled), (0, 1, 2)[:classes - 1])
  return [z + 0.5 * g.normal(size=z.shape), z[:, 1:] + 0.5 * g.normal(size=(20_000, 2))], y


def test_few_labels_of_many_rows_are_all_looked_at():
  views, y = many_rows(200, classes=4)
  found, known = features(views, y), y >= 0
  alone = features([view[known] for view in views], y[known])
  assert (found['labelled'], found['pairs']) == (200, 20_000) and found['classes'] == 4
  for name in ('classes', 'majority', 'entropy', 'log_per_class', 'log_labelled'):
    assert found[name] == alone[name]
  for name in (f'{name}_{i}' for name in OF_LABELLED for i in (1, 2)):
    assert found[name] == pytest.approx(alone[name], abs=1e-9), name


def test_counts_are_of_all_rows_where_half_or_more_have_a_label():
  views, y = many_rows(12_000)
  found = features(views, y)
  share = np.bincount(y[y >= 0]) / 12_000
  assert found['labelled'] == 12_000 and found['majority'] == share.max()
  assert found['entropy'] == pytest.approx(-np.sum(share * np.log(share)))


def test_rare_labels_of_many_rows_are_kept_or_refused():
  views, y = many_rows(200)
  rare = np.where(y < 0, -1, 0)
  rare[np.flatnonzero(y >= 0)[:4]] = 1
  found = features(views, rare)
  assert found['majority'] == 0.98 and all(np.isfinite(predict(found, i).gain) for i in (1, 2))
  none = np.zeros(20_000, int)  # three of four are not looked at
  none[7] = 1
  with pytest.raises(ValueError, match='of more than 5000 rows .* all its 5000 labels are 0'):
    features(views, none)


def test_labels_of_one_group_judge_nothing():
  views, y = many_rows(200)
  groups = np.where(y >= 0, 0, 1 + np.arange(20_000) % 50)
  with pytest.raises(ValueError, match='groups: all 200 labelled rows are of one group'):
    features(views, y, groups=groups)
  groups[np.flatnonzero(y >= 0)[:100]] = 1
  assert features(views, y, groups=groups)['information_1'] > 0.2


def test_whole_numbers_beyond_float64_keep_their_differences(pair):
  views, y = pair
  few, long = (features(views, value, task='value') for value in (y, 2**62 + y))
  assert long['information_1'] == pytest.approx(few['information_1'], abs=1e-9)


@pytest.mark.parametrize('views, y, rest, words', [
    ([np.eye(6)], np.arange(6) % 2, {}, 'views: two are needed, and there are 1'),
    ([np.eye(6)] * 2, np.arange(5) % 2, {}, 'view 1 has 6 rows, and y has 5'),
    ([np.eye(6)] * 2, np.arange(6) % 2 + 0.5, {}, 'y has 0.5 at row 0'),
    ([np.eye(6)] * 2, np.array([0, 1, 0, -1, -1, -1]), {}, 'y has 3 labels; at least 4'),
    ([np.eye(6)] * 2, np.zeros(6), {}, 'all 6 labels are 0'),
    ([np.eye(6), np.full((6, 2), np.nan)], np.arange(6) % 2, {}, 'view 2 has 12 values not finite'),
    ([np.eye(6), np.ones((6, 2))], np.arange(6) % 2, {}, 'view 2 is constant'),
    ([np.eye(6)] * 2, np.array(list('abcdef')), {}, 'y has shape (6,) of <U1'),
    ([np.eye(6)] * 2, np.full(6, np.inf), {'task': 'value'}, 'y is infinite at row 0'),
    ([np.eye(6)] * 2, np.arange(6) % 2, {'task': 'rank'}, "task='rank' is unknown")])
def test_bad_input_is_refused_in_one_line(views, y, rest, words):
  with pytest.raises(ValueError) as error:
    features(views, y, **rest)
  assert words in str(error.value) and '\n' not in str(error.value)


# -- the predictor --------------------------------------------------------------------------------


def test_the_table_of_the_package_is_small_and_keeps_what_it_holds():
  path = pathlib.Path(predictor.__file__).with_name('table.json')
  assert path.stat().st_size < 400_000
  table = predictor.shipped()
  assert table.names == predictor.INPUTS and table.lam[0] == 0
  assert len(table.points) == len(table.dual) == len(table.spread)
  again = predictor.load(predictor.dump(table))
  for field in dataclasses.fields(table):
    np.testing.assert_equal(getattr(again, field.name), getattr(table, field.name))


def test_an_answer_holds_together_and_says_where_it_has_no_ground(found):
  answer = predict(found, 1)
  assert answer == predict(dict(reversed(found.items())), 1)
  assert answer.interval[0] <= answer.lam <= answer.interval[1]
  assert answer.gain_interval[0] <= answer.gain <= answer.gain_interval[1] or answer.lam == 0
  assert advice(answer) in ('align', 'do not', 'cannot tell')
  assert answer.gain_lam == answer.lam or answer.lam == 0 < answer.gain_lam
  far = predict(found | {'log_labelled': 30.0}, 1)
  assert not far.inside
  near = predict(found | {'log_labelled': float(predictor.shipped().high[0])}, 1)
  assert np.ptp(far.gain_interval) == pytest.approx(
      np.ptp(near.gain_interval) * (1 if not near.inside else predictor.WIDER))


def test_an_interval_says_of_which_strength_it_is():
  table = predictor.shipped()
  falls = -np.arange(float(len(table.lam)))
  none = predictor.decided(table, falls, 0.1, True)
  assert (none.lam, none.gain, none.gain_lam) == (0, 0, table.lam[1])
  assert np.mean(none.gain_interval) == pytest.approx(-1)
  best = predictor.decided(table, -falls, 0.1, True)
  assert best.lam == best.gain_lam == table.lam[-1]


def test_views_are_exchanged_with_their_encoders(pair, found):
  swap = {'1': '2', '2': '1'}
  other = {name[:-1] + swap[name[-1]] if name[-2:] in ('_1', '_2') else name: value
           for name, value in found.items()}
  assert predict(other, 2) == predict(found, 1)


@pytest.mark.parametrize('change, encoder, words', [
    ({}, 3, 'encoder=3 must be 1 or 2'), ({}, '1', "encoder='1' must be 1 or 2"),
    ({'slope_1': None}, 1, "feature 'slope_1' is missing"),
    ({'entropy': np.nan}, 1, "feature 'entropy' is nan")])
def test_features_that_do_not_fit_are_refused(found, change, encoder, words):
  given = {name: value for name, value in {**found, **change}.items() if value is not None}
  with pytest.raises(ValueError) as error:
    predict(given, encoder)
  assert words in str(error.value) and '\n' not in str(error.value)


def test_curves_are_those_of_scikit_learn():
  from sklearn.kernel_ridge import KernelRidge
  fit = of_benchmark('predictor_fit')
  g = np.random.default_rng(0)
  x = g.normal(size=(40, len(predictor.INPUTS)))
  accuracy = 0.5 + 0.1 * g.normal(size=(40, 3, 1))
  data = fit.Curves(x, accuracy, np.arange(40))
  table = fit.kernel_ridge(data, np.array([0, 1, 2]), width=0.8, ridge=0.3)
  gain = (accuracy[:, 1:, 0] - accuracy[:, :1, 0])
  u = (x - x.mean(axis=0)) / x.std(axis=0)
  model = KernelRidge(  # alpha is typed by its default, 1
      alpha=0.3,  # pyright: ignore[reportArgumentType]
      kernel='rbf', gamma=1 / (2 * 0.8**2 * x.shape[1]))
  model.fit(u, gain - gain.mean(axis=0))
  curve, _ = predictor.curves(table, u)
  np.testing.assert_allclose(curve[:, 1:], model.predict(u) + gain.mean(axis=0), atol=1e-9)
  assert not curve[:, 0].any()


def test_more_settings_than_points_are_fitted_to_as_scikit_learn_does(monkeypatch):
  from sklearn.kernel_approximation import Nystroem
  from sklearn.linear_model import Ridge
  fit = of_benchmark('predictor_fit')
  monkeypatch.setattr(fit, 'MOST', 12)
  g = np.random.default_rng(0)
  x = g.normal(size=(40, len(predictor.INPUTS)))
  accuracy = 0.5 + 0.1 * g.normal(size=(40, 3, 3))
  accuracy[20:, :, 1:] = np.nan  # of these one seed
  data = fit.Curves(x, accuracy, np.arange(40) // 2)
  table = fit.kernel_ridge(data, np.array([0, 1, 2]), width=0.8, ridge=0.3)
  assert len(table.points) == 12
  gain, seeds = data.gain()[:, 1:], data.seeds()
  mean = np.average(gain, axis=0, weights=seeds)
  u = (x - x.mean(axis=0)) / x.std(axis=0)
  features = Nystroem(gamma=1 / (2 * 0.8**2 * x.shape[1]), n_components=12).fit(u[:12]).transform
  model = Ridge(0.3, fit_intercept=False).fit(features(u), gain - mean, sample_weight=seeds)
  curve, _ = predictor.curves(table, u)
  np.testing.assert_allclose(curve[:, 1:], model.predict(features(u)) + mean, atol=1e-8)
  # What is predicted of a setting is by the gains of others alone.
  made = fit.unseen(data, 0.8, 0.3)
  changed = data.accuracy.copy()
  changed[data.setting % fit.FOLDS == 0, 1:] += 1
  again = fit.unseen(fit.Curves(x, changed, data.setting), 0.8, 0.3)
  same = np.abs(again - made).max(axis=1) < 1e-9
  np.testing.assert_array_equal(same, data.setting % fit.FOLDS == 0)
  off = np.arange(40.0)
  np.testing.assert_allclose(fit.around(table, u[:12], off[:12]), off[:12])
  assert fit.around(table, u, off).mean() > off[:12].mean()


def test_conformal_margins_cover_and_thresholds_keep_the_risk():
  fit = of_benchmark('predictor_fit')
  g = np.random.default_rng(0)
  covered = [g.exponential() <= fit.conformal(g.exponential(size=59)) for _ in range(4000)]
  assert np.mean(covered) == pytest.approx(0.95, abs=0.015)
  risk = []
  for _ in range(2000):
    score = g.normal(size=101)
    bad = g.random(101) < 1 / (1 + np.exp(3 * score))  # a high score is seldom bad
    at = fit.threshold(score[:100], bad[:100], 0.05 * 100)
    risk.append(bad[100] and score[100] >= at)
  assert np.mean(risk) < 0.06
  assert fit.threshold(np.arange(4.0), np.zeros(4, bool), 1) == 0


def test_rates_by_test_rows_are_of_what_is_truly_to_gain():
  rows = of_benchmark('predictor_rows')
  right = np.zeros((len(rows.LAM), 2, 20_000), np.uint8)
  right[:, :, ::2] = rows.SEEDS        # half of the rows without alignment
  right[4, 0, 1:8_000:2] = rows.SEEDS  # and one in five more with it, by the first encoder
  true = np.full((len(rows.LAM), rows.SEEDS, 2), 0.5)
  true[4, :, 0] = 0.7
  lines = rows.decided(0, {'true': true, 'tested': right}, predictor.shipped())
  half = [line for line in lines if line['policy'] == 'chosen by half']
  assert [line['to gain'] for line in half] == pytest.approx(5 * [20] + 5 * [0])
  assert {line['kind'] for line in half if line['encoder'] == 1 and line['rows'] < 10_000} == {
      'align'}
  none = [line for line in half if line['encoder'] == 2]
  # No row of 250 differs: with 90 % certainty less than 1 - 0.1 ** (1 / 250) = 0.92 % do.
  assert {line['kind'] for line in none} == {'do not align'}
  assert all(line['held'] for line in none)
  text = rows.markdown(lines)
  assert '| gain above 1 | chosen by half | 2,000 | 1 | 100.0 % | 0.0 % | 0.0 % |' in text
  assert '| below 0.25 | chosen by half | 5,000 | 1 | 0.0 % | 100.0 % | 0.0 % |' in text
