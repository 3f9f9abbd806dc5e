"""Plain settings become a study, or one line that names what is wrong."""

import dataclasses
import re

import numpy as np
import pytest
import xarray as xr

from mmalign_jax import named
from mmalign_jax.reports import document
from mmalign_jax.studies.strength import chunks, plan, report, retention, together


def build(**settings):
  return plan.from_settings(settings)


def test_dimensions_are_settings_then_strengths_then_seed():
  made = build(seed=(0, 1), lam=(0.0, 1.0, 0.5), redundancy=(8, 0), temperature=(0.1, 0.2))
  assert list(made.axes) == ['temperature', 'redundancy', 'lam', 'seed']
  assert made.axes['lam'] == (0.0, 0.5, 1.0) and made.axes['redundancy'] == (0, 8)
  assert made.shape == (2, 2, 3, 2) and made.n_cells == 24
  assert made.hypers.lam.shape == (24,) and made.hypers.seed.dtype == np.uint32
  np.testing.assert_array_equal(made.hypers.seed[:2], [0, 1])
  assert not made.hypers.own


def test_a_strength_per_encoder_replaces_the_common_one():
  made = build(lam_1=(0.0, 1.0), lam_2=(0.5,))
  assert list(made.axes) == ['redundancy', 'lam_1', 'lam_2', 'seed']
  assert 'lam' in build(lam_1=(0.0, 1.0)).axes  # encoder 2 follows it


def test_schedule_by_name_is_an_axis():
  made = build(schedule=('constant', 'cosine'))
  assert made.axes['schedule'] == ('constant', 'cosine')
  assert sorted(set(made.hypers.schedule)) == [0, 2]


def test_max_train_covers_the_axis():
  assert build(n_train=(512, 2048)).spec.max_train == 2048


@pytest.mark.parametrize('settings, message', [
    (dict(lamb=(1,)), "setting 'lamb' is unknown; known: .*lam.*"),
    (dict(lam=(0, -0.5)), 'lam=-0.5 must be at least 0'),
    (dict(lam_2=(-1.0,)), 'lam_2=-1 must be at least 0'),
    (dict(lam=(float('nan'),)), 'lam=nan must be finite'),
    (dict(lam=('x',)), "lam='x' is not a number"),
    (dict(lam=()), r'lam=\(\) has no values'),
    (dict(temperature=(0.0,)), 'temperature=0 must be above 0'),
    (dict(temperature=(-0.1,)), 'temperature=-0.1 must be above 0'),
    (dict(redundancy=(9,)), r'redundancy=9 is outside 0\.\.8'),
    (dict(redundancy=(-1,)), r'redundancy=-1 is outside 0\.\.8'),
    (dict(redundancy=(2.5,)), 'redundancy=2.5 must be a whole number'),
    (dict(generator='atoms', redundancy=(0.9,)), r'redundancy=0.9 is outside 0\.\.0.693'),
    (dict(generator='atoms', redundancy=(0.1,), level=(0, 1)), 'level=.*not a setting.*atoms'),
    (dict(generator='bit'), "generator 'bit' is unknown; known: atoms, bits, few_bits, paired"),
    (dict(encoder='resnet'), "encoder 'resnet' is unknown; known: .*gru, lenet, mlp"),
    (dict(encoder_2='resnet'), "encoder_2 'resnet' is unknown; known: .*gru, lenet, mlp"),
    (dict(compute_dtype='float16'), "compute_dtype 'float16' is unknown; known: bfloat16, float32"),
    (dict(width_1=-1), 'width_1=-1 must be at least 0'),
    (dict(loss='clip'), "loss 'clip' is unknown; known: barlow_twins"),
    (dict(projection='conv'), "projection 'conv' is unknown; known: linear, mlp, none"),
    (dict(task='mse'), "task 'mse' is unknown; known: cross_entropy, l1"),
    (dict(transform='two'), "transform 'two' is unknown; known: both, one"),
    (dict(schedule=('linear',)), "schedule 'linear' is unknown; known: constant, cosine, warmup"),
    (dict(n_train=(100,)), 'n_train=100 samples are fewer than a batch: batch_size=256'),
    (dict(steps=0), 'steps=0 must be at least 1'),
    (dict(level=(10,)), r'level=10 is outside 0\.\.9'),
    (dict(flipped=(1.5,)), r'flipped=1.5 is outside 0\.\.1'),
    (dict(n_align=10), 'neighbors=10 must be below n_align=10'),
    (dict(generator='paired'), "data='' names no file"),
    (dict(generator='paired', data='digits', task='auto', batch_size=4096),
     'digits: 1348 training samples are fewer than a batch: batch_size=4096'),
    (dict(generator='paired', data='digits', task='auto', n_train=(5000,)),
     'n_train=5000 is more than the 1348 training samples of digits'),
    (dict(generator='paired', data='digits', task='auto', redundancy=(1, 2)), 'redundancy='),
])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises(ValueError, match=message) as caught:
    build(**settings)
  assert '\n' not in str(caught.value)


def test_data_decide_the_settings():
  made = build(generator='paired', data='digits', task='auto', n_train=(), n_align=2000,
               batch_size=64)
  assert made.spec.task == 'cross_entropy' and made.spec.max_train == 1348
  assert made.spec.n_align == 449 and made.tables.n_outputs == 10
  assert 'data_fingerprint' in made.settings and made.notes


# -- in a folder -----------------------------------------------------------------------------------


@pytest.mark.parametrize('setting, value', [
    ('guard', ('project',)), ('lam_mode', ('share',)), ('probes', True), ('study', 'own')])
def test_a_folder_with_what_is_recorded_only_where_it_is_set_is_not_one_without(
    setting, value, tmp_path):
  plain, other = build(steps=2), build(**{'steps': 2, setting: value})
  assert setting in other.settings and setting not in plain.settings
  for first, then, end in ((plain, other, 'None there'), (other, plain, 'None now')):
    for _ in range(2):
      chunks.Chunks(tmp_path / end, first).close()
    with pytest.raises(ValueError, match=f'holds another configuration .{setting}: .*{end}'):
      chunks.Chunks(tmp_path / end, then)


@pytest.mark.parametrize('more, rule', [
    ({'loss': 'comm', 'tune_components': (10, 0)}, 'copies have noise on kept components only'),
    ({'schedule': ('cosine',), 'tune_train_steps': (1, 2)}, 'a schedule is of train_steps')])
def test_what_is_trained_otherwise_than_before_is_not_gone_on_with(more, rule, tmp_path):
  pairs = dict(generator='pairs', data='digits', steps=2, lam=(0.0, 1.0), n_labelled=(3,))
  new = plan.from_settings(pairs | more)
  assert new.settings['rules'] == [rule]
  for name in more:
    less = {k: v for k, v in more.items() if k != name}
    assert 'rules' not in plan.from_settings(pairs | less).settings
  old = {name: value for name, value in new.settings.items() if name != 'rules'}
  chunks.Chunks(tmp_path, dataclasses.replace(new, settings=old)).close()
  with pytest.raises(ValueError, match='holds another configuration .rules: None there'):
    chunks.Chunks(tmp_path, new)


# -- what is said of results -----------------------------------------------------------------------


def results(study: plan.Study, n_folds: int = 1):
  """As if encoders of more strength were better by 0.1 and more."""
  g = np.random.default_rng(0)
  lam = sum(named.traced(study.hypers)[name] for name in study.axes if name.startswith('lam'))
  by_fold = lambda: 0.5 + 0.1 * lam[:, None] + 0.01 * g.normal(size=(study.n_cells, n_folds))
  found = {'diverged': np.zeros(study.n_cells, bool)}
  for name in ('', 'fused_', 'joint_'):
    for end in ('',) if name == 'fused_' else ('_1', '_2'):
      one = by_fold() + 0.2 * (name == 'fused_')
      found |= {f'{name}accuracy{end}': one.mean(axis=1), f'{name}accuracy_by_fold{end}': one}
  return chunks.to_dataset(study, found, {})


@pytest.fixture(scope='module')
def grouped(tmp_path_factory):
  """A study of a file whose rows are of three speakers, one of whom is to test on."""
  path = tmp_path_factory.mktemp('speakers') / 'data.npz'
  g = np.random.default_rng(0)
  np.savez(path, x1=g.normal(size=(90, 3)), x2=g.normal(size=(90, 3)), y=np.arange(90) % 2,
           speaker=np.arange(90) // 30)
  return build(generator='paired', task='auto', data=str(path), group='speaker', n_train=(),
               lam=(0.0, 1.0), seed=tuple(range(5)), depth=1, width=4, batch_size=16, steps=2,
               neighbors=3, n_align=16, fusion='frozen')


def test_a_test_set_of_one_group_has_no_verdict(grouped):
  assert grouped.loaded.n_folds == 1
  whole = results(grouped)
  rows, fused = report.summarise(whole, resamples=50), together.entries(whole)
  for row in rows:
    assert (row['best_lam'], row['seeds'], row['folds']) == (1.0, 5, 1)
    assert row['shape'] is row['gain_interval'] is row['best_lam_interval'] is None
  assert {row['folds'] for row in fused} == {1}
  assert all(row['synergy_interval'] is row['verdict'] is None for row in fused)
  said = document.text(report.compose(whole, None, resamples=50)[0])
  assert 'the test set has one independent part (group): no interval, no verdict' in said
  assert 'one independent part of the test set: no verdict' in said
  assert 'one independent part of the test rows: no verdict' in said
  several = results(grouped, 8)
  assert {row['shape'] for row in report.summarise(several, resamples=50)} == {'rising'}
  assert {row['verdict'] for row in together.entries(several)} == {'more'}


def test_folds_of_the_joint_rows_that_have_none_are_left_out(grouped):
  whole = results(grouped, 8)
  has = xr.DataArray(np.arange(8) != 3, dims='joint_fold')
  part = whole.assign(synergy_by_fold=whole['synergy_by_fold'].where(has))
  assert {(row['folds'], row['verdict']) for row in together.entries(part)} == {(7, 'more')}


@pytest.mark.parametrize('n_seeds', [1, 4, 5])
def test_a_gain_of_few_seeds_has_no_interval(n_seeds):
  made = build(lam_1=(0.0, 1.0), lam_2=(0.0, 1.0), seed=tuple(range(n_seeds)))
  said = report.pairs(results(made))
  assert re.search(r'lam_1 1, lam_2 1: \+(1[6-9]|2[0-4])', said)
  assert ('+-' in said) == (n_seeds == 5)


@pytest.mark.parametrize('n_seeds', [1, 2, 3])
def test_retention_of_few_seeds_has_no_interval(n_seeds):
  dims = ('lam', 'seed', 'encoder', 'layer', 'factor')
  dataset = xr.Dataset(
      {'accuracy_1': (dims[:2], np.zeros((2, n_seeds))),
       'retention': (dims, np.random.default_rng(0).random((2, n_seeds, 1, 1, 1))),
       'chance': (dims[:3] + dims[4:], np.full((2, n_seeds, 1, 1), 0.5))},
      {'lam': [0.0, 1.0], 'seed': range(n_seeds), 'encoder': [1], 'layer': ['z'],
       'factor': ['shared']})
  row, = retention.entries(dataset, 1, {})
  assert (row['half_width'] == [None, None]) == (n_seeds < 3)
  assert None not in row['retention']
