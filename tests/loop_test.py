"""A study in a folder: nothing finished is ever lost, and nothing foreign is mixed in."""

import errno
import json
import os
import pathlib
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
from mmalign_jax.studies.strength import chunks as writers, plan as study
from mmalign_jax.studies.strength.run import run_study

ROOT = pathlib.Path(__file__).resolve().parent.parent
SMALL = dict(redundancy=(0, 8), lam=(0.0, 1.0), seed=(0, 1), steps=3, depth=1, batch_size=16,
             n_train=(32,), n_align=32, chunk=3, workers=1)

LONG = SMALL | dict(seed=tuple(range(20)))  # 80 cells: time enough to be killed between two


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  folder = tmp_path_factory.mktemp('whole')
  return folder, run_study(study.from_settings(SMALL), folder, progress=False)


def test_results_have_dimensions_units_and_the_configuration(whole):
  folder, dataset = whole
  stored = xr.open_zarr(folder / 'results.zarr').load()
  xr.testing.assert_identical(stored, dataset)
  assert dict(stored.sizes) == {'redundancy': 2, 'lam': 2, 'seed': 2, 'encoder': 2}
  for name in ('accuracy_1', 'accuracy_2', 'ceiling_1', 'ceiling_2', 'cross_entropy_1',
               'cross_entropy_2', 'cka', 'mutual_knn', 'diverged'):
    assert stored[name].attrs['long_name'] and stored[name].attrs['units']
  assert stored['redundancy'].attrs['units'] == 'bits' and stored['cross_entropy_1'].units == 'nats'
  assert json.loads(stored.attrs['configuration'])['steps'] == 3
  assert 'jax' in json.loads(stored.attrs['versions'])
  np.testing.assert_allclose(stored['ceiling_1'].sel(redundancy=8), 0.90632, atol=1e-4)
  assert not stored['diverged'].any()


def test_a_lost_or_damaged_chunk_is_computed_again(whole, tmp_path):
  finished, dataset = whole
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  first, second, third = sorted((tmp_path / 'chunks').glob('*.npz'))
  first.unlink()
  second.write_bytes(second.read_bytes()[:100])
  kept = third.stat().st_mtime_ns
  again = run_study(study.from_settings(SMALL), tmp_path, progress=False)
  xr.testing.assert_allclose(again, dataset, atol=1e-5)
  assert third.stat().st_mtime_ns == kept


def test_another_chunk_size_continues_the_same_run(whole, tmp_path):
  finished, dataset = whole
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  sorted((tmp_path / 'chunks').glob('*.npz'))[1].unlink()
  again = run_study(study.from_settings(SMALL | dict(chunk=1, workers=2)), tmp_path, progress=False)
  xr.testing.assert_allclose(again, dataset, atol=1e-5)


def test_a_full_disk_says_so_and_loses_nothing(tmp_path, monkeypatch):
  real, calls = np.savez, []

  def full(*args, **kwargs):
    calls.append(1)
    if len(calls) == 2:
      args[0].write(b'half a chunk')
      raise OSError(errno.ENOSPC, 'No space left on device')
    real(*args, **kwargs)

  monkeypatch.setattr(writers.np, 'savez', full)
  with pytest.raises(OSError, match='No space left on device; the chunks before it are safe'):
    run_study(study.from_settings(SMALL), tmp_path, progress=False)
  assert [p.name for p in (tmp_path / 'chunks').iterdir() if p.suffix != ''] == [
      '00000000_00000002.npz']
  dataset = run_study(study.from_settings(SMALL), tmp_path, progress=False)
  assert np.isfinite(dataset['accuracy_1']).all()
  assert len(calls) == 4  # the first chunk was not computed again


def test_refuses_to_mix_configurations(whole):
  folder, _ = whole
  before = sorted(p.stat().st_mtime_ns for p in folder.rglob('*'))
  with pytest.raises(ValueError, match=r'another configuration \(lam: .*\[0.0, 1.0\] there, '
                                       r'\[0.0, 2.0\] now; steps: 3 there, 4 now\)'):
    run_study(study.from_settings(SMALL | dict(lam=(0.0, 2.0), steps=4)), folder, progress=False)
  assert sorted(p.stat().st_mtime_ns for p in folder.rglob('*')) == before


def test_two_runs_cannot_share_a_folder(tmp_path):
  plan = study.from_settings(SMALL)
  chunks = writers.Chunks(tmp_path, plan)
  with pytest.raises(ValueError, match='another run is using this folder'):
    writers.Chunks(tmp_path, plan)
  chunks.close()
  writers.Chunks(tmp_path, plan).close()


@pytest.fixture(scope='module')
def long(tmp_path_factory):
  return run_study(study.from_settings(LONG), tmp_path_factory.mktemp('long'), progress=False)


@pytest.mark.parametrize('how, status', [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_killed_and_continued_equals_undisturbed(long, tmp_path, how, status):
  overrides = [f'--config.{k}={v}' for k, v in LONG.items() if k != 'chunk']
  command = [sys.executable, str(ROOT / 'launch' / 'sweep.py'), '--nofigures',
             f'--config={ROOT}/configs/strength.py:tiny', '--config.name=study',
             '--config.resamples=200', f'--workdir={tmp_path}', '--config.chunk=1', *overrides]
  environment = os.environ | {  # the program of chunks of one is compiled already
      'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'{OLDER} {WHOLE}',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': str(int(
          jax.config.read('jax_disable_most_optimizations')))}
  process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
  deadline = time.monotonic() + 120
  while not list(tmp_path.glob('chunks/*.npz')) and time.monotonic() < deadline:
    time.sleep(0.01)
  process.send_signal(how)
  _, error = process.communicate(timeout=60)
  assert process.returncode == status
  if how == signal.SIGTERM:  # as Ctrl-C, which a shell may have told its background jobs to ignore
    assert error.strip().splitlines()[-1].startswith('stopped; every finished chunk is safe')
  done = len(list(tmp_path.glob('chunks/*.npz')))
  assert 1 <= done < 80
  again = run_study(study.from_settings(LONG), tmp_path, progress=False)
  xr.testing.assert_allclose(again.drop_attrs(), long.drop_attrs(), atol=1e-5)


# -- shards --------------------------------------------------------------------------------------


def test_shards_in_one_folder_finish_together(whole, tmp_path):
  plan = study.from_settings(SMALL)
  assert run_study(plan, tmp_path, shard=(2, 2), progress=False) is None
  found = run_study(plan, tmp_path, shard=(1, 2), progress=False)
  xr.testing.assert_allclose(found, whole[1], atol=1e-5)


def test_shards_of_their_own_folders_are_merged(whole, tmp_path, capsys):
  plan = study.from_settings(SMALL)
  for i in (1, 2):
    assert run_study(plan, tmp_path / str(i), shard=(i, 2), progress=False) is None
  assert cli.main(['merge', str(tmp_path / '1'), '--nofigures']) == 2
  error = capsys.readouterr().err
  assert '4 of 8 cells are missing' in error and 'redundancy=0, lam=0, seed=1' in error
  assert cli.main(['merge', str(tmp_path / '1'), str(tmp_path / '2'), '--nofigures']) == 0
  merged = xr.open_zarr(tmp_path / 'merged' / 'results.zarr').load()
  xr.testing.assert_allclose(merged, whole[1], atol=1e-5)
