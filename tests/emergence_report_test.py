"""The answer of the emergence study, on data whose answer is known."""

import json

import numpy as np
import pytest
import xarray as xr

from mmalign_jax.studies.emergence import figures, paper, report

DIMS = ('unique', 'transform_depth', 'depth', 'seed')
NAME = 'debiased_linear_cka'
CONFIGURATION = paper.PROTOCOL | dict(untransformed_depth=[1], neighbors=10)


def study(offset=0.0, seeds=3, trend=1.0, noise=0.005, **configuration):
  """Alignment as published plus `offset`, rising with depth up to it; performance likewise."""
  random = np.random.default_rng(0)
  transforms = list(paper.MAX_ALIGNMENT)
  most = np.array([(*paper.MAX_ALIGNMENT[t], 0.01) for t in transforms]).T + offset  # [9, 5]
  depth = np.arange(1, 6)
  climb = (trend * (depth - 5) / 50)[None, None, :, None]
  alignment = most[:, :, None, None] + climb + noise * random.standard_normal((9, 5, 5, seeds))
  accuracy = 0.6 + climb / 2 + 1e-4 * random.standard_normal(alignment.shape)
  coords = {'unique': np.arange(9), 'transform_depth': transforms, 'depth': depth,
            'seed': np.arange(seeds)}
  full = lambda v: (DIMS, np.broadcast_to(v, alignment.shape))
  history = np.broadcast_to(np.linspace(0.5, 0.6, 12), (*alignment.shape, 12))
  data = {NAME: (DIMS, alignment), f'{NAME}_calibrated': (DIMS, alignment),
          f'{NAME}_p_value': full(0.01), f'{NAME}_null': ((*DIMS, 'permutation'),
                                                          np.zeros((*alignment.shape, 9))),
          'accuracy_2': (DIMS, accuracy), 'accuracy_1': full(0.6), 'ceiling_1': full(0.7),
          'ceiling_2': full(0.7), 'best_epoch_1': full(3), 'best_epoch_2': full(3),
          'diverged_1': full(False), 'diverged_2': full(False),
          'validation_1': ((*DIMS, 'epoch_1'), history),
          'validation_2': ((*DIMS, 'epoch_2'), history)}
  return xr.Dataset(data, coords, {
      'name': 'made', 'measures': json.dumps([NAME]), 'tuning': '[]',
      'configuration': json.dumps(CONFIGURATION | configuration)})


@pytest.fixture(scope='module')
def summary():
  return report.summarise(study(), resamples=200)


def rows(summary, quantity):
  return [r for r in summary['published'] if r['quantity'] == quantity]


def test_contract_of_the_summary(summary):
  assert {(r['unique'], r['transform_depth']) for r in summary['max_alignment']} == {
      (u, t) for u in range(9) for t in paper.MAX_ALIGNMENT}
  by = {(r['unique'], r['transform_depth']): r for r in summary['max_alignment']}
  assert by[0, 1]['value'] == pytest.approx(.91, abs=0.02)
  low, high = by[0, 1]['interval']
  assert low < by[0, 1]['value'] < high and by[0, 1]['seeds'] == 3
  falls = {r['transform_depth']: r['value'] for r in summary['spearman_unique']}
  assert falls[9] == pytest.approx(-1) and all(v < -0.8 for v in falls.values())
  assert [r['unique'] for r in summary['correlations']] == list(range(9))
  assert all(r['alignment_depth'] > 0.7 for r in summary['correlations'])
  assert summary['measures'][NAME]['max_alignment'] == summary['max_alignment']
  json.dumps(summary, allow_nan=False)


def test_agreement_can_be_had_and_missed(summary):
  assert all(r['agrees'] for r in rows(summary, 'maximum alignment'))
  assert len(rows(summary, 'maximum alignment')) == 8  # none is published at U = 8
  off = report.summarise(study(offset=-0.15), resamples=200)
  assert not any(r['agrees'] for r in rows(off, 'maximum alignment'))
  flat = report.summarise(study(trend=0, seeds=10), resamples=200)
  theirs = rows(flat, 'alignment / depth')  # published .93 at U = 0, .00 at U = 7
  assert theirs[0]['agrees'] is False and theirs[7]['agrees'] is True
  lone = report.summarise(study(seeds=1), resamples=200)
  assert lone['max_alignment'][0]['interval'] is None  # one seed has no interval of its own


def test_a_wide_interval_is_no_agreement():
  assert report._row('q', 0, 0.1, 0.0, (-0.9, 0.9))['agrees'] is None
  assert report._row('q', 0, 0.1, 0.0, (-0.2, 0.2))['agrees'] is True
  assert report._row('q', 0, 2.0, 0.0, (-0.9, 0.9))['agrees'] is False
  assert report._row('q', 0, 0.1, 0.1, None)['agrees'] is None


@pytest.mark.parametrize('other', [
    dict(generator='atoms'), dict(transform='both'), dict(level=3), dict(untransformed_depth=[2]),
    dict(n_train=2048), dict(epochs_2=100), dict(depth=[1, 4, 8])])
def test_other_data_are_not_set_beside_the_paper(other):
  assert report.summarise(study(**other), resamples=50)['published'] == []


def test_training_says_whether_it_still_rose(summary):
  row = summary['training'][1]
  assert row['epochs'] == 12 and row['last_epochs'] == 2
  assert row['last_rise'] == pytest.approx(0.1 * 2 / 11)
  assert row['share_of_ceiling'] == pytest.approx(0.59 / 0.7, abs=0.02)


def test_text_names_the_claims(summary):
  text = report.text(summary)
  assert 'agrees?' in text and 'maximum alignment with U: Spearman' in text
  assert '(at most -0.8 at 5 of 5)' in text and 'above chance (p <= 0.05): U=0 100 %' in text
  assert max(map(len, text.splitlines())) < 240


def test_writes_summary_and_the_four_figures(tmp_path):
  data = study(seeds=2)
  text = report.write(data, tmp_path, resamples=50)
  assert text and json.loads((tmp_path / 'summary.json').read_text())['measure'] == NAME
  for name in ('fig4', 'fig6', 'fig7', 'fig9'):
    assert (tmp_path / 'figures' / f'{name}.png').stat().st_size > 10_000
    assert (tmp_path / 'figures' / f'{name}.svg').exists()
  summary = json.loads((tmp_path / 'summary.json').read_text())
  axis = figures.unique_figure(data, summary).axes[0]
  drawn = {line.get_label(): line.get_ydata() for line in axis.get_lines()}
  np.testing.assert_allclose(drawn['published'], paper.MAX_ALIGNMENT[1])
  assert len(drawn['best over depths']) == 9


def test_the_headline_is_of_one_transform_depth(summary):
  """The least and the most unique, at the same depth, which is said."""
  found = report.headline(summary)
  assert found['best alignment, 0 unique, transform depth 1'] == number_of(summary, 0)
  assert found['best alignment, 8 unique, transform depth 1'] == number_of(summary, 8)
  assert len(found) == 4


def number_of(summary, unique):
  return next(f'{row["value"]:.3f}' for row in summary['max_alignment']
              if (row['unique'], row['transform_depth']) == (unique, 1))


def test_all_is_said_of_the_first_untransformed_depth():
  data = study(seeds=1)
  deep = data.copy()
  for name in (NAME, f'{NAME}_calibrated', f'{NAME}_p_value', f'{NAME}_null'):
    deep[name] = xr.concat([data[name], 0 * data[name] + 1], 'untransformed_depth')
  one, both = (report.summarise(d, resamples=50) for d in (data, deep))
  assert both['above_chance'] == one['above_chance'] and one['above_chance'][0]['share'] == 1
  assert both['max_alignment'] == one['max_alignment']
