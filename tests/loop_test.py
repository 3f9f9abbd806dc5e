"""A study in a folder: nothing finished is ever lost, and nothing foreign is mixed in."""

from concurrent.futures import ThreadPoolExecutor
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import zlib

from emitters import OLDER, WHOLE
import jax
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli
from mmalign_jax.runs import folder as files
from mmalign_jax.studies.strength import chunks as writers, plan as study, run as strength
from mmalign_jax.studies.strength.run import run_study
from mmalign_jax.training import compiling, sweep

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


def test_interrupted_and_continued_is_the_same_to_the_last_bit(whole, tmp_path, monkeypatch):
  plan = study.from_settings(SMALL | dict(chunk=0, workers=3))  # chunks of 3, as above
  sizes, thorough, original, compiled = [], [], strength.run_chunks, sweep.compiled

  def watched(*args, chunk, **options):
    sizes.append(chunk)
    return original(*args, chunk=chunk, **options)

  def quick(spec, **asked):
    thorough.append(asked['thorough'])
    return compiled(spec, thorough=False)
  monkeypatch.setattr(strength, 'run_chunks', watched)
  monkeypatch.setattr(sweep, 'compiled', quick)
  monkeypatch.setattr(compiling, '_SHORT', 3 * 5)  # steps of five cells
  undisturbed = run_study(plan, tmp_path, progress=False)
  xr.testing.assert_identical(undisturbed.drop_attrs(), whole[1].drop_attrs())
  first, _, last = sorted((tmp_path / 'chunks').glob('*.npz'))
  for lost in ([last], [first, last]):  # two cells are left, and five
    for path in lost:
      path.unlink()
    again = run_study(plan, tmp_path, progress=False)
    xr.testing.assert_identical(again, undisturbed)
  assert sizes == [3] * 3 and thorough == [True] * 3


def test_two_that_write_one_file_do_not_meet(tmp_path, monkeypatch):
  """Not even two processes of one number, in containers on one disk."""
  real, path = os.fsync, tmp_path / 'file.json'

  def other_writes(file):
    monkeypatch.setattr(files.os, 'fsync', real)
    files.write_whole(path, b'other')
    real(file)
  monkeypatch.setattr(files.os, 'fsync', other_writes)
  files.write_whole(path, b'one')
  assert path.read_bytes() == b'one' and list(tmp_path.iterdir()) == [path]


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


def made_up(spec, hypers, tables, wanted, *, chunk, done, **_):
  """`run_chunks` without training: numbers of a cell's own settings."""
  leaves = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(hypers)]
  one = jax.tree.map(lambda v: v[:1], hypers)
  shapes = jax.eval_shape(sweep.compiled(spec, thorough=False), one, tables)
  for i in range(0, len(wanted), chunk):
    index = wanted[i:i + chunk]
    numbers = [zlib.crc32(np.array([leaf[j] for leaf in leaves]).tobytes()) / 2**32 for j in index]
    cells = jax.tree.map(lambda s: np.broadcast_to(
        np.reshape(numbers, [-1] + [1] * (s.ndim - 1)), (len(index), *s.shape[1:])).astype(
            s.dtype) * (s.dtype != bool), shapes)
    done(index, cells)
    yield index, cells


def refuse(*_, **__):
  raise AssertionError('trained again')


@pytest.mark.filterwarnings('ignore')
def test_data_that_have_changed_are_not_merged(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(strength, 'run_chunks', made_up)
  g = np.random.default_rng(0)
  made = lambda: np.savez(tmp_path / 'data.npz', x1=g.normal(size=(60, 3)), y=np.arange(60) % 2,
                          x2=g.normal(size=(60, 3)))
  made()
  plan = study.from_settings(dict(
      generator='paired', data=str(tmp_path / 'data.npz'), lam=(0.0, 1.0), seed=(0, 1), steps=2,
      depth=1, width=4, batch_size=8, n_train=(), task='auto', resamples=20))
  for i in (1, 2):
    assert run_study(plan, tmp_path / str(i), shard=(i, 2), progress=False) is None
  argv = ['merge', str(tmp_path / '1'), str(tmp_path / '2'), '--nofigures']
  assert cli.main(argv) == 0
  assert 'note' not in capsys.readouterr().err  # of a fingerprint that is there
  shutil.rmtree(tmp_path / 'merged')
  made()
  assert cli.main(argv) == 2
  error = capsys.readouterr().err
  assert 'what it was made of has changed since (data_fingerprint: ' in error
  assert error.count('\n') == 1 and not (tmp_path / 'merged').exists()


# -- shards of a study that is tuned -------------------------------------------------------------

TUNED = dict(
    generator='pairs', task='auto', data='digits', n_labelled=(3,), lam=(0.0, 1.0), seed=(0, 1),
    align_on=('pairs',), steps=2, depth=1, width=4, projection_width=4, batch_size=32, n_align=64,
    tune_learning_rate=(5e-3, 1e-2), tune_components=(10, 0), tune_seeds=2, chunk=3, workers=1,
    resamples=20)
BASELINE = 2 * 2 * 2  # cells


@pytest.fixture(scope='module')
def tuned(tmp_path_factory):
  """(study, its folder, made up by two shards; their data set; the cells of each stage)."""
  plan, folder, cells = study.from_settings(TUNED), tmp_path_factory.mktemp('tuned'), []

  def counted(spec, hypers, tables, wanted, **options):
    cells.append((spec.loss, len(wanted)))
    return made_up(spec, hypers, tables, wanted, **options)
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(strength, 'run_chunks', counted)
    assert run_study(plan, folder, shard=(1, 2), progress=False) is None
    dataset = run_study(plan, folder, shard=(2, 2), progress=False)
  return plan, folder, dataset, cells


def test_shards_of_one_folder_choose_once(tuned):
  _, folder, dataset, cells = tuned
  assert cells[0] == ('', BASELINE) and [n for _, n in cells] == [BASELINE, 2, 2, BASELINE, 2]
  assert sorted(path.name for path in (folder / 'tuning').iterdir()) == [
      'aligned', 'baseline', 'final']
  assert json.loads((folder / 'choices.json').read_text()) == json.loads(
      dataset.attrs['tuning'])['at_0']


def test_shards_that_find_all_done_take_turns(tuned, tmp_path, monkeypatch):
  plan, finished, dataset, _ = tuned
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  monkeypatch.setattr(strength, 'run_chunks', refuse)
  write, writing = strength.write_dataset, []

  def watched(made, path):
    writing.append(path.parent)
    time.sleep(0.05)
    assert writing.count(path.parent) == 1
    write(made, path)
    writing.remove(path.parent)
  monkeypatch.setattr(strength, 'write_dataset', watched)
  with ThreadPoolExecutor(2) as pool:
    found = list(pool.map(lambda i: run_study(plan, tmp_path, shard=(i, 2), progress=False),
                          (1, 2)))
  for one in found:
    xr.testing.assert_identical(one, dataset)


def test_what_every_shard_chose_by_itself_is_continued(tuned, tmp_path, monkeypatch):
  """As the version before did, in a folder of its own."""
  plan, finished, dataset, _ = tuned
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  (tmp_path / 'choices.json').unlink()
  for path in (tmp_path / 'tuning').iterdir():
    path.rename(path.with_name(f'{path.name}_2_of_2'))
  monkeypatch.setattr(strength, 'run_chunks', refuse)
  again = run_study(plan, tmp_path, shard=(1, 2), progress=False)
  xr.testing.assert_identical(again, dataset)


@pytest.mark.parametrize('text, why', [
    ('[]', 'of other budgets or candidates'), ('{"a": 1}', 'of other budgets or candidates'),
    ('[{"n_labelled": 3, "learning_rate": 0.5, "components": 10, "validation": 1}]',
     'of other budgets or candidates'), ('[', 'damaged; remove it')])
def test_choices_of_another_study_are_refused(tuned, tmp_path, text, why):
  (tmp_path / 'choices.json').write_text(text)
  with pytest.raises(ValueError, match=f'choices.json.*{why}'):
    run_study(tuned[0], tmp_path, progress=False)


@pytest.mark.filterwarnings('ignore')
def test_shards_of_own_folders_must_have_chosen_alike(tuned, tmp_path, monkeypatch, capsys):
  plan, finished, dataset, _ = tuned
  monkeypatch.setattr(strength, 'run_chunks', made_up)
  for i in (1, 2):
    assert run_study(plan, tmp_path / str(i), shard=(i, 2), progress=False) is None
  chosen, argv = tmp_path / '2' / 'choices.json', ['merge', str(tmp_path / '1'),
                                                   str(tmp_path / '2'), '--nofigures']
  text = chosen.read_text()
  for other, why in ((text.replace('0.005', '0.01') if '0.005' in text
                      else text.replace('0.01', '0.005'), 'differs from'), (None, 'is missing')):
    chosen.unlink() if other is None else chosen.write_text(other)
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert f'{chosen} {why}' in error and error.count('\n') == 1
    assert not (tmp_path / 'merged').exists()
  rows = json.loads(text)  # machines may differ by a validation row, and choose alike
  chosen.write_text(json.dumps([{**row, 'validation': row['validation'] / 2} for row in rows]))
  assert cli.main(argv) == 0
  assert not (tmp_path / 'merged' / 'tuning' / 'baseline').exists()  # nothing was tuned again
  merged = xr.open_zarr(tmp_path / 'merged' / 'results.zarr').load()
  xr.testing.assert_identical(merged, dataset)
