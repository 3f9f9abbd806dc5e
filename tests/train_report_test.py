"""The answer of a training over strengths: legible for two sides and for three."""

import itertools

import numpy as np
import pytest
import xarray as xr

from mmalign_jax.studies.train import report


def results(sides: int, seeds: int = 2) -> xr.Dataset:
  draw = np.random.default_rng(0).random
  dims, shape = ('lam', 'seed'), (3, seeds)
  numbers = range(1, sides + 1)
  pairs = list(itertools.combinations(numbers, 2))
  names = [f'{stem}_{a}_{b}' if sides > 2 else stem for stem in ('cka', 'mutual_knn')
           for a, b in pairs]
  names += [f'recall_{a}{b}' for a, b in itertools.permutations(numbers, 2)]
  return xr.Dataset(
      {**{name: (dims, draw(shape)) for name in names},
       **{f'accuracy_{i}': (dims, draw(shape)) for i in numbers},
       **{f'accuracy_by_fold_{i}': ((*dims, 'fold'), draw((*shape, 4))) for i in numbers}},
      {'lam': [0.0, 0.5, 2.0], 'seed': list(range(seeds))})


@pytest.mark.parametrize('sides', [2, 3])
def test_every_number_is_in_a_table_that_fits(sides):
  data = results(sides)
  summary = report.summarise(data)
  made = report.tables(summary)
  assert all(len(row) == len(table.head) for table in made for row in table.rows)
  assert all(sum(max(map(len, cells)) + 2 for cells in zip(table.head, *table.rows)) < 150
             for table in made)
  cells = {cell for table in made for row in table.rows for cell in row}
  for row, name in itertools.product(summary, data.data_vars):
    if not str(name).startswith('accuracy'):
      assert f'{row[name]:.3f}' in cells, name
  for row, i in itertools.product(summary, range(1, sides + 1)):
    assert f'{100 * row[f"accuracy_{i}"]:.1f} %' in cells


def test_what_strength_is_stands_beside_the_table():
  data = results(2)
  assert report.felt(data) == []
  data.attrs['configuration'] = '{"lam_mode": "share", "guard": "project"}'
  share, guard = report.felt(data)
  assert share.startswith('lam: length') and 'against the task' in guard
  made, _ = report.compose(data, None)
  assert {share, guard} <= {getattr(part, 'text', '') for part in made.sections[0].parts}


@pytest.mark.parametrize('sides, panels', [(2, 2), (3, 4)])
def test_a_legend_has_at_most_three_lines(sides, panels):
  data = results(sides)
  drawn = report.figure(data, report.summarise(data))
  assert len(drawn.axes) == panels
  for axis in drawn.axes:
    assert len(axis.get_lines()) >= 3 - (sides == 2)
    assert len(axis.get_legend_handles_labels()[1]) <= 3


# -- what an interval and a gain are of ------------------------------------------------------------


def judged(*by_fold: np.ndarray) -> xr.Dataset:
  """Results of encoders with accuracies [L, S, F] each."""
  n_lam, n_seeds, _ = by_fold[0].shape
  dims = ('lam', 'seed')
  return xr.Dataset(
      {**{f'accuracy_{i}': (dims, one.mean(axis=2)) for i, one in enumerate(by_fold, 1)},
       **{f'accuracy_by_fold_{i}': ((*dims, 'fold'), one) for i, one in enumerate(by_fold, 1)},
       'cka': (dims, np.zeros((n_lam, n_seeds)))},
      {'lam': np.arange(n_lam) / 2, 'seed': np.arange(n_seeds)})


def test_seeds_that_agree_leave_the_chance_of_the_test_rows():
  draw = np.random.default_rng(0).random
  folds = 0.8 + 0.2 * draw((2, 1, 16))
  alike = np.repeat(folds, 3, axis=1)  # three seeds, one and the same
  for one, units in ((alike, 'seeds and folds'), (folds, 'folds')):
    summary = report.summarise(judged(one))
    half = 2.1314 * folds[1, 0].std(ddof=1) / 4  # Student's t of 15
    np.testing.assert_allclose(summary[1]['interval_1'],
                               np.array([-half, half]) + folds[1].mean(), rtol=1e-4)
    low, high = summary[1]['gain_interval_1']
    assert high - low == pytest.approx(2 * 2.1314 * (folds[1] - folds[0]).std(ddof=1) / 4, rel=1e-4)
    assert f'intervals over {units} of the test rows' in report.remarks(summary)[0]
  unlike = alike + 0.1 * np.array([-1, 0, 1])[:, None]
  seeds = 4.3027 * 0.1 / np.sqrt(3)
  low, high = report.summarise(judged(unlike))[1]['gain_interval_1']
  assert high - low == pytest.approx(2 * 2.1314 * (folds[1] - folds[0]).std(ddof=1) / 4, rel=1e-4)
  row = report.summarise(judged(unlike - 0.2))[1]
  low, high = row['interval_1']
  assert high - low == pytest.approx(2 * np.hypot(half, seeds), rel=1e-4)


@pytest.mark.parametrize('seeds', [1, 3])
def test_one_fold_has_no_interval(seeds, tmp_path):
  data = judged(np.random.default_rng(0).random((3, seeds, 1)))
  summary = report.summarise(data)
  assert all(row[f'{name}interval_1'] is None for row in summary for name in ('', 'gain_'))
  assert report.remarks(summary) == ['encoder 1: no interval, since its test rows are one group']
  assert 'chosen on the same rows' in report.answer(summary)[0]
  text = report.write(data, tmp_path, figures=seeds == 1)
  assert '[' not in text and 'nan' not in text


def test_a_fold_without_rows_of_a_side_is_none_that_diverged():
  whole, lacks = np.random.default_rng(0).random((2, 2, 2, 5))
  lacks[:, :, [1, 4]] = np.nan
  summary = report.summarise(judged(lacks, whole))
  kept = report.summarise(judged(lacks[:, :, [0, 2, 3]]))
  assert kept == [{name: row[name] for name in own} for own, row in zip(kept, summary)]
  assert [summary[0][f'folds_{i}'] for i in (1, 2)] == [3, 5]
  assert not any('diverged' in text for text in report.remarks(summary))
  lacks[1, 0] = np.nan
  assert 'at 1 of 2 strengths a run diverged' in report.remarks(
      report.summarise(judged(lacks, whole)))


@pytest.mark.parametrize('seeds, folds', [(3, 8), (1, 8)])
def test_where_strength_does_nothing_the_gain_of_the_best_is_none(seeds, folds):
  draw, naive, said = np.random.default_rng(0).normal, [], []
  for _ in range(40):
    summary = report.summarise(judged(0.8 + 0.05 * draw(size=(6, seeds, folds))))
    best = next(row for row in summary if 'best_gain_1' in row)
    assert best['accuracy_1'] == max(row['accuracy_1'] for row in summary)
    naive.append(best['gain_1'])
    said.append(best['best_gain_1'])
    shown = report.headline(summary)['encoder 1: largest gain (points)']
    assert shown.startswith(f'{100 * said[-1]:+.1f} [')
  error = np.std(said) / np.sqrt(40)
  assert np.mean(naive) > 3 * error and np.mean(said) < 2 * error
