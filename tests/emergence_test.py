"""The emergence study in a folder: its grid, its bad settings, and that nothing is ever lost."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

from emitters import OLDER, WHOLE
import jax
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli
from mmalign_jax.encoders import sides
from mmalign_jax.runs import devices as parallel, folder
from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import plan as emergence, programs, run as emergence_run

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = dict(
    unique=(0, 8), transform_depth=(1, 3), depth=(1, 2), seed=(0,), n_train=64, n_validation=32,
    batch_size=32, epochs_1=1, epochs_2=2, tune_epochs_1=1, tune_epochs_2=2,
    learning_rate=(5e-3, 1e-2), weight_decay=(0.0,), bands=((1, 2),), n_align=24, neighbors=4,
    permutations=9, resamples=50)
DEFAULTS = emergence.defaults()
NO_NEIGHBORS = {'neighbors': DEFAULTS['neighbors']}
LONE = {'learning_rate': (1e-2,)} | {  # nothing to tune
    name: DEFAULTS[name] for name in ('bands', 'tune_epochs_1', 'tune_epochs_2')}


def build(**settings):
  return emergence.from_settings(SMALL | settings)


def run(path, **rest):
  shard = rest.pop('shard', (1, 1))
  return emergence_run.run_emergence(build(**rest), path, shard=shard, progress=False)


def same(a, b):
  xr.testing.assert_identical(a.drop_attrs(), b.drop_attrs())  # to the last bit


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  path = tmp_path_factory.mktemp('whole')
  return path, run(path)


def test_dimensions_variables_and_units(whole):
  path, dataset = whole
  stored = xr.open_zarr(path / 'results.zarr').load()
  xr.testing.assert_identical(stored, dataset)
  dims = ('unique', 'transform_depth', 'depth', 'seed')
  assert [stored.sizes[d] for d in dims] == [2, 2, 2, 1]
  for name in ('debiased_linear_cka', 'mutual_knn'):
    for end in ('', '_calibrated', '_p_value', '_null_mean', '_layer_1', '_layer_2'):
      assert stored[name + end].dims == dims and stored[name + end].attrs['units']
    assert stored[f'{name}_layer_1'].max() == 1  # the untransformed encoder has depth 1
    assert (stored[f'{name}_layer_2'] <= stored['depth']).all()
  for name in ('accuracy', 'ceiling', 'mi', 'best_epoch', 'diverged'):
    for side in (1, 2):
      assert stored[f'{name}_{side}'].dims == dims and stored[f'{name}_{side}'].attrs['long_name']
  np.testing.assert_allclose(stored['ceiling_2'].sel(unique=0), 0.90632, atol=1e-4)
  np.testing.assert_allclose(stored['ceiling_2'].sel(unique=8), 0.5952, atol=1e-4)
  assert (stored['accuracy_2'] <= stored['ceiling_2'] + 1e-6).all()
  assert (stored['accuracy_1'].isel(transform_depth=0)
          == stored['accuracy_1'].isel(transform_depth=1)).all()


def test_tuning_is_on_validation_and_recorded(whole):
  path, dataset = whole
  rows = json.loads((path / 'tuning.json').read_text())
  assert [(row['side'], row['depths']) for row in rows] == [(1, [1, 2]), (2, [1, 2])]
  for row in rows:
    assert len(row['candidates']) == 2
    best = max(row['candidates'], key=lambda c: c['validation_accuracy'])
    assert row['validation_accuracy'] == best['validation_accuracy']
    assert row['learning_rate'] == best['learning_rate']
    np.testing.assert_allclose(dataset[f'learning_rate_{row["side"]}'], row['learning_rate'])


def test_a_damaged_encoder_is_trained_again(whole, tmp_path):
  finished, dataset = whole
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  first, *others = sorted((tmp_path / 'encoders').glob('side_2*.npz'))
  first.write_bytes(first.read_bytes()[:300])
  kept = [p.stat().st_mtime_ns for p in others]
  same(run(tmp_path), dataset)
  assert [p.stat().st_mtime_ns for p in others] == kept


def test_many_units_in_one_call_as_on_an_accelerator(whole, tmp_path, monkeypatch):
  devices = parallel.Plan(1, 12, 2, lambda tree: tree)
  assert programs.group_size(devices, 2) == 6
  monkeypatch.setattr(parallel, 'plan', lambda: devices)
  shutil.copytree(whole[0], tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(
      'side_2*', 'tuning.json', 'results.zarr'))  # side 1 is as it was: its programs take long
  grouped = run(tmp_path)
  xr.testing.assert_allclose(grouped['accuracy_2'], whole[1]['accuracy_2'], atol=2e-3)
  xr.testing.assert_allclose(grouped['validation_2'], whole[1]['validation_2'], atol=0.04)


def test_an_encoder_defined_anew_is_another_program(monkeypatch):
  """As in a notebook, under its old name."""
  plan, asked = build(), []
  class Programs(dict):
    def setdefault(self, key, default=None):
      asked.append(key)
      raise InterruptedError  # what it would compile
  monkeypatch.setattr(programs, '_PROGRAMS', Programs())
  unit, _ = emergence_run.candidates(plan, 1, 1)
  def ask():
    with pytest.raises(InterruptedError):
      programs.train_group(plan, [unit], 1, parallel.plan())
    return asked[-1]
  assert ask() == ask()
  monkeypatch.setitem(sides.ENCODERS, plan.protocol(unit).spec.encoder, object())
  assert ask() != asked[0]


def test_another_measure_needs_no_training(whole, tmp_path):
  path, dataset = whole
  shutil.copytree(path, tmp_path, dirs_exist_ok=True)
  before = {p: p.stat().st_mtime_ns for p in (tmp_path / 'encoders').iterdir()}
  again = run(tmp_path, measures=('debiased_linear_cka', 'procrustes'), **NO_NEIGHBORS)
  assert {p: p.stat().st_mtime_ns for p in (tmp_path / 'encoders').iterdir()} == before
  assert 'procrustes_calibrated' in again and 'mutual_knn' not in again
  xr.testing.assert_identical(again['debiased_linear_cka'], dataset['debiased_linear_cka'])
  answer = registry.answer(registry.STUDIES['emergence'], build(), again, tmp_path, figures=False)
  assert 'procrustes:' in answer


def test_both_sides_transformed_and_several_untransformed_depths(tmp_path):
  dataset = run(tmp_path, transform='both', untransformed_depth=(1, 2), unique=(4,), seed=(0, 1),
                generator='atoms', measures='debiased_linear_cka', **NO_NEIGHBORS, **LONE)
  assert dataset['debiased_linear_cka'].dims == (
      'unique', 'transform_depth', 'depth', 'seed', 'untransformed_depth')
  accuracy = dataset['accuracy_1'].values
  assert not np.allclose(accuracy[:, 0], accuracy[:, 1])  # side 1 has transforms of its own
  np.testing.assert_allclose(dataset['mi_1'], np.log(2), atol=1e-5)
  np.testing.assert_allclose(dataset['mi_2'], np.log(2), atol=1e-5)
  assert registry.answer(registry.STUDIES['emergence'], build(), dataset, tmp_path, figures=False)


@pytest.mark.parametrize('settings, message', [
    (dict(unique=(9,)), r'unique=9 is outside 0\.\.8'),
    (dict(unique=(0.5,)), 'unique=0.5 must be a whole number'),
    (dict(unique=()), r'unique=\(\) has no values'),
    (dict(depth=('x',)), "depth='x' is not a number"),
    (dict(depth=(0,)), 'depth=0 must be at least 1'),
    (dict(transform_depth=(11,)), r'transform_depth=11 is outside 0\.\.10'),
    (dict(seed=(-1,)), 'seed=-1'),
    (dict(measures=('cka',)), "measure 'cka' is unknown; known: .*debiased_linear_cka"),
    (dict(generator='paired'), "generator 'paired' is unknown; known: atoms, bits"),
    (dict(uniq=(1,)), "setting 'uniq' is unknown; known: .*unique"),
    (dict(neighbors=24), 'neighbors=24 must be below n_align=24'),
    (dict(learning_rate=(0.0,)), 'learning_rate=0 must be above 0'),
    (dict(n_train=16), 'n_train=16 samples are fewer than a batch: batch_size=32'),
    (dict(bands=((1, 1),)), r'bands=\(\(1, 1\),\): depth=2 must be in exactly one of them'),
    (dict(bands=((2, 1),)), 'must be pairs'),
    (dict(untransformed_depth=(3,)), r'untransformed_depth=3 is not among depth=\(1, 2\)'),
    (dict(epochs_2=0), 'epochs_2=0 must be a whole number of at least 1'),
    (dict(permutations=1.5), 'permutations=1.5 must be a whole number'),
    (dict(transform='two'), "transform 'two' is unknown; known: both, one"),
    (dict(flipped=2.0), r'flipped=2 is outside 0\.\.1'),
    (dict(generator='atoms', level=2), "level=2 is not a setting of generator 'atoms'"),
])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises(ValueError, match=message) as caught:
    build(**settings)
  assert '\n' not in str(caught.value)


def test_shards_cover_the_grid_once_and_cost_alike():
  plan = emergence.from_settings({})
  parts = [emergence.shard_of(plan, i, 4) for i in (1, 2, 3, 4)]
  assert sorted(sum(parts, [])) == sorted(emergence.cells(plan))
  costs = [sum(depth + 1 for _, depth, _ in part) for part in parts]
  assert max(costs) - min(costs) <= 11


# -- shards --------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def shards(tmp_path_factory, whole):
  path = tmp_path_factory.mktemp('shards')
  (path / '2').mkdir()
  assert run(path / '1', shard=(1, 2)) is None
  (path / '2' / 'tuning.json').write_bytes((whole[0] / 'tuning.json').read_bytes())  # as documented
  assert run(path / '2', shard=(2, 2)) is None
  assert not (path / '2' / 'tuning').exists()  # nothing was tuned again
  return path


def test_merged_shards_equal_the_whole(whole, shards, capsys):
  assert cli.main(['merge', str(shards / '1'), str(shards / '2'), '--nofigures']) == 0
  assert 'summary.json' in capsys.readouterr().out
  same(xr.open_zarr(shards / 'merged' / 'results.zarr').load(), whole[1])
  assert json.loads((shards / 'merged' / 'summary.json').read_text())['max_alignment']


def test_shards_in_one_folder_finish_together(whole, tmp_path):
  assert run(tmp_path, shard=(2, 3)) is None
  assert run(tmp_path, shard=(1, 3)) is None
  same(run(tmp_path, shard=(3, 3)), whole[1])


def error_of(capsys, *argv):
  assert cli.main(['merge', *map(str, argv)]) == 2
  return capsys.readouterr().err


def test_merge_refuses_what_is_missing_or_twice_by_name(whole, shards, tmp_path, capsys):
  text = error_of(capsys, shards / '1', '--workdir', tmp_path / 'a')
  assert '2 of 4 cells are missing' in text and 'transform_depth=' in text and 'depth=' in text
  text = error_of(capsys, shards / '1', whole[0], '--workdir', tmp_path / 'b')
  assert '2 cells overlap' in text and 'transform_depth=' in text and str(whole[0]) in text
  assert 'is given twice' in error_of(capsys, shards / '1', shards / '1')
  assert 'no study there' in error_of(capsys, tmp_path)
  assert not list(tmp_path.iterdir())  # nothing was begun


def test_merge_refuses_other_configurations_and_other_tunings(shards, tmp_path, capsys):
  run(tmp_path / 'c', shard=(2, 2), weight_decay=(0.1,))
  assert 'weight_decay: [0.1] there, [0.0] now' in error_of(capsys, shards / '1', tmp_path / 'c')
  other = tmp_path / 'd'
  other.mkdir()
  for name in ('config.json', 'tuning.json', 'settings.json'):
    (other / name).write_bytes((shards / '2' / name).read_bytes())
  folder.claim(other, build().settings).close()
  (other / 'encoders').symlink_to(shards / '2' / 'encoders')
  rows = json.loads((other / 'tuning.json').read_text())
  rows[0]['learning_rate'] = 0.5
  (other / 'tuning.json').write_text(json.dumps(rows))
  text = error_of(capsys, shards / '1', other, '--workdir', tmp_path / 'e')
  assert 'tuning.json differs from' in text


@pytest.mark.parametrize('text', ['0/2', '3/2', '1', 'a/b', '1/0', '1/2/3', '-1/2'])
def test_a_shard_is_i_of_n(text):
  from mmalign_jax.runs.shards import parse
  with pytest.raises(ValueError, match='must be i/n with 1 <= i <= n'):
    parse(text)


def test_tuning_of_another_study_is_refused(tmp_path):
  (tmp_path / 'tuning.json').write_text('[]')
  with pytest.raises(ValueError, match='of other sides or bands of depths'):
    run(tmp_path)


# -- killed --------------------------------------------------------------------------------------

LONG = dict(transform_depth=(1, 2, 3, 4), seed=(0, 1, 2), depth=(1,), bands=((1, 1),),
            measures=('debiased_linear_cka',), **NO_NEIGHBORS)  # 12 cells, few programs to compile


def test_killed_three_times_and_continued_equals_undisturbed(tmp_path):
  undisturbed = run(tmp_path / 'undisturbed', **LONG)
  settings = {k: v for k, v in (SMALL | LONG).items() if k != 'resamples'}
  command = [sys.executable, str(ROOT / 'launch' / 'sweep.py'), '--nofigures',
             f'--config={ROOT}/configs/emergence.py:tiny', f'--workdir={tmp_path / "killed"}',
             '--config.name=emergence', *(f'--config.{k}={v}' for k, v in settings.items())]
  environment = os.environ | {
      'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'{OLDER} {WHOLE}',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': str(int(
          jax.config.read('jax_disable_most_optimizations')))}
  moments, held = random.Random(0), 0
  for _ in range(3):
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    files = lambda: len(list((tmp_path / 'killed').glob('[te]*/*.npz')))
    while files() <= held and process.poll() is None and time.monotonic() < deadline:
      time.sleep(0.005)
    time.sleep(moments.uniform(0, 0.1))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert files() > held  # every life got further
    held = files()
  assert not (tmp_path / 'killed' / 'results.zarr').exists()
  found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300,
                         check=False)
  assert found.returncode == 0, found.stderr
  same(xr.open_zarr(tmp_path / 'killed' / 'results.zarr').load(), undisturbed)
