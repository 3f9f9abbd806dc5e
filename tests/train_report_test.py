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
