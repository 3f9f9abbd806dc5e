"""Data-parallel training: one device, eight, two processes and jit agree; a kill loses nothing."""

import dataclasses
import functools
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import objective
from mmalign_jax.runs import devices as parallel
from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints
from mmalign_jax.studies.train import judge, log as train_log, pipeline, plan as train_plan, run
from mmalign_jax.types import Hyper

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from emitters import OLDER, WHOLE  # noqa: E402
from trainer_data import APART, SMALL, STEPPED, made, one_step, steps  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent


def start(*arguments, devices=1, **environment):
  found = os.environ | {
      'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'OPENBLAS_NUM_THREADS': '1',
      'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
      'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices} {OLDER} {WHOLE}',
      **environment}
  script = str(ROOT / 'tests/trainer_data.py')
  return subprocess.Popen([sys.executable, script, *map(str, arguments)], env=found,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process, status=0):
  out, error = process.communicate(timeout=240)
  assert process.returncode == status, out + error
  return error


@pytest.fixture(scope='module', autouse=True)
def traced_once():
  """Trainings of one Spec in this process share their program: each would make its own."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run, 'ensemble_step', functools.cache(run.ensemble_step))
    patch.setattr(parallel, 'data_parallel', functools.cache(parallel.data_parallel))
    yield


def train(folder, **settings):
  """What `start('train', folder, ...)` does, in this process."""
  run.train(train_plan.from_settings(SMALL | settings), made(), folder, progress=False)


def final(folder, **settings):
  """Leaves of the newest checkpoint."""
  plan, data = train_plan.from_settings(SMALL | settings), made()
  like = jax.eval_shape(lambda: run.initial(plan, data, plan.bound(data)))
  configuration = json.loads((folder / 'checkpoints/config.json').read_text())
  with Checkpoints(folder / 'checkpoints', configuration) as kept:
    return kept.restore(like)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  folder = tmp_path_factory.mktemp('undisturbed')
  train(folder)
  return folder, final(folder)


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def same_run(folder, undisturbed, exact=True):
  found, expected = final(folder), undisturbed[1]
  assert found[2] == expected[2] == 12
  compare = np.testing.assert_array_equal if exact else (
      lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4))
  jax.tree.map(compare, found[0], expected[0])
  kept = lambda rows: [{k: v for k, v in row.items() if k != 'samples_per_second'} for row in rows]
  assert [r['step'] for r in lines(folder)] == [r['step'] for r in lines(undisturbed[0])]
  if exact:
    assert kept(lines(folder)) == kept(lines(undisturbed[0]))


def test_gradients_agree_over_devices_processes_and_jit(tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  end(start('step', tmp_path / 'eight.npz', devices=8))
  pair = [start('step', tmp_path / f'pair{i}.npz', devices=4, TRAIN_PROCESS=str(i),
                TRAIN_COORDINATOR=f'127.0.0.1:{port}') for i in (0, 1)]
  for process in pair:
    end(process)
  alone = steps()
  for name in ('eight', 'pair0', 'pair1'):
    other = np.load(tmp_path / f'{name}.npz')
    for key in other.files:
      plain = alone[key.replace('/pmap/', '/jit/')]
      np.testing.assert_allclose(other[key], plain, atol=1e-5, rtol=1e-4, err_msg=f'{name} {key}')
  subsets = [key for key in alone if '/alone/' in key]
  assert len({key.partition('/alone/')[0] for key in subsets}) == len(STEPPED)
  for key in subsets:  # filling is as if it was not there
    np.testing.assert_allclose(alone[key.replace('/alone/', '/ragged/')], alone[key],
                               atol=1e-5, rtol=1e-4, err_msg=key)
  losses = {key.split('/')[0] for key in alone}
  assert losses == {*STEPPED, 'apart'}


def test_a_guard_keeps_a_mean_and_what_is_not_asked_for_is_not_there():
  of = lambda **more: one_step('info_nce', False, **more)
  plain, hypers, batch, make = of()
  assert hypers.guard is hypers.lam_mode is plain.of_task is None  # the program of before, no other
  named, same, _, _ = of(guard='none', lam_mode='weight')
  chex.assert_trees_all_equal((plain, hypers), (named, same))
  shared, mode, _, _ = of(lam_mode='share')
  assert shared.of_task is None and mode.lam_mode.tolist() == [1, 1]
  state, hypers, _, make = of(n_batches=4, **APART)
  after, _ = jax.jit(make(None))(state, hypers, (batch, None))
  spec = train_plan.from_settings(SMALL).bound(made())
  tasks = jax.jit(jax.vmap(jax.grad(lambda p: objective.parts(
      p, Hyper(), batch, jax.numpy.float32(0), spec=spec, n_outputs=3)[0])))(state.params)
  # a quarter of the first batch's gradient, of every run
  wanted = jax.tree.map(lambda v: 0.25 * np.asarray(v), tasks)
  chex.assert_trees_all_close(jax.device_get(after.of_task), wanted, atol=1e-6)


def test_norms_are_those_of_gradient_and_parameters():
  state, hypers, batch, make = one_step('info_nce', False)
  after, metrics = jax.jit(make(None))(state, hypers, (batch, None))
  flat = lambda tree: np.concatenate([np.asarray(v)[1].ravel() for v in jax.tree.leaves(tree)])
  np.testing.assert_allclose(metrics.param_norm[1], np.linalg.norm(flat(state.params)), rtol=1e-5)
  moments = [s for s in after.opt_state if hasattr(s, 'mu')][0].mu
  clipped = min(float(metrics.grad_norm[1]), 8.0)  # the moment is a tenth of the clipped gradient
  np.testing.assert_allclose(clipped, 10 * np.linalg.norm(flat(moments)), rtol=1e-4)


def test_killed_at_random_moments_ends_the_same(undisturbed, tmp_path):
  moments = random.Random(1)
  for life in range(3):
    process = start('train', tmp_path)
    until = time.monotonic() + 60
    want = 2 + 3 * life  # lines: the first life must get somewhere, the next further
    count = lambda: len((tmp_path / 'metrics.jsonl').read_text().splitlines()) if (
        tmp_path / 'metrics.jsonl').exists() else 0
    while count() < want and process.poll() is None and time.monotonic() < until:
      time.sleep(0.002)
    time.sleep(moments.uniform(0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
  train(tmp_path)
  same_run(tmp_path, undisturbed)
  xr.testing.assert_identical(xr.open_zarr(tmp_path / 'results.zarr').load(),
                              xr.open_zarr(undisturbed[0] / 'results.zarr').load())


def test_a_checkpoint_keeps_what_a_guard_is_against(tmp_path):
  settings = dict(epochs=1, **APART)
  plan = train_plan.from_settings(SMALL | settings)
  train(tmp_path / 'whole', **settings)
  words = [f'{name}={value!r}' for name, value in settings.items()]
  end(start('train', tmp_path / 'cut', *words, TRAIN_TERM_AT='4'), status=130)
  train(tmp_path / 'cut', **settings)
  (whole, _, last), (cut, _, same) = (final(tmp_path / f, **settings) for f in ('whole', 'cut'))
  assert last == same == 6 and plan.hypers.guard.tolist() == [1, 1]
  jax.tree.map(np.testing.assert_array_equal, cut, whole)
  assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(whole.of_task['side_1']))
  assert len(lines(tmp_path / 'cut')) == len(lines(tmp_path / 'whole'))


@pytest.mark.parametrize('what, said', [
    ('TRAIN_FILES_AT', 'Too many open files'), ('TRAIN_FULL_AT', 'File too large')])
def test_a_machine_that_refuses_is_told_in_a_line_and_the_same_command_goes_on(
    undisturbed, tmp_path, what, said):
  error = end(start('train', tmp_path, **{what: '7'}), status=2)
  assert said in error and ' safe' in error and error.count('\n') == 1
  train(tmp_path)
  same_run(tmp_path, undisturbed)


def test_sigterm_two_processes_leave_together_and_one_device_goes_on(undisturbed, tmp_path):
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    where = f'127.0.0.1:{free.getsockname()[1]}'
  pair = [start('train', tmp_path, devices=4, TRAIN_PROCESS=str(i), TRAIN_COORDINATOR=where,
                TRAIN_TERM_AT='5' if i else '0') for i in (0, 1)]  # only the second is asked
  for process in pair:
    assert 'is saved; the same command continues from there' in end(process, status=130)
  assert 5 <= final(tmp_path)[2] <= 6
  train(tmp_path)
  same_run(tmp_path, undisturbed, exact=False)


def test_nan_stops_with_step_and_loss_and_the_last_good_checkpoint_stays(tmp_path):
  error = end(start('train', tmp_path, 'learning_rate=1e30'), status=2)
  assert error.startswith('error: loss=') and 'at step' in error and 'lam=' in error
  assert 'the checkpoints before it are good' in error and error.count('\n') == 1


def test_results_over_strength_and_seed(undisturbed):
  dataset = xr.open_zarr(undisturbed[0] / 'results.zarr').load()
  assert dataset['accuracy_1'].dims == ('lam', 'seed')
  for name in ('accuracy_1', 'accuracy_2', 'accuracy_se_1', 'cka', 'mutual_knn', 'recall_12'):
    assert np.isfinite(dataset[name]).all() and dataset[name].attrs['units'] == '1'
  p = dataset['accuracy_1']
  np.testing.assert_allclose(dataset['accuracy_se_1'], np.sqrt(p * (1 - p) / 40), atol=1e-6)
  np.testing.assert_allclose(dataset['accuracy_by_fold_1'].mean('fold'), p, atol=1e-6)


def test_a_recording_in_many_pairs_is_one_observation():
  hit, unit = np.array([[1., 1, 1, 0, 0, 0, 1, 1]]), np.array([0, 0, 0, 1, 1, 1, 2, 2])
  by_unit = [3 * (1 - .625), -3 * .625, 2 * (1 - .625)]
  np.testing.assert_allclose(judge.clustered_error(hit, unit), np.linalg.norm(by_unit) / 8)
  alone = judge.clustered_error(hit, np.arange(8))  # binomial
  np.testing.assert_allclose(alone, np.sqrt(.625 * .375 / 8))


def test_a_ragged_end_of_the_test_set_counts_once(monkeypatch):
  plan, data = train_plan.from_settings(SMALL), made()
  spec = plan.bound(data)
  params = run.initial(plan, data, spec).params
  whole = judge.accuracies(params, data.test, spec=spec, n_outputs=3)
  monkeypatch.setattr(judge, 'CHUNK', 15)  # 40 = 15 + 15 + 10
  parts = judge.accuracies(params, data.test, spec=spec, n_outputs=3)
  for name, value in whole.items():
    np.testing.assert_allclose(parts[name], value, atol=1e-6)


def test_few_rows_are_of_all_the_test_rows_however_they_are_sorted(monkeypatch):
  plan, data = train_plan.from_settings(SMALL | dict(n_align=12)), made(m=60)
  order = np.argsort(data.test[0].y, kind='stable')
  y = data.test[0].y[order]
  data = dataclasses.replace(  # by class: x is y, and the encoders say what they see
      data, test=tuple(dataclasses.replace(one, x=y[:, None], y=y) for one in data.test),
      unseen=(y[:, None],) * 2)
  seen = []
  def forward(params, x, side, **_):
    seen.append(x[:, 0])
    return np.log(np.eye(3) + 1e-9)[x[:, 0]][None], x[None], x[None]
  monkeypatch.setattr(judge, 'forward', forward)
  monkeypatch.setattr(judge, '_similar', lambda neighbors: lambda *sides: (np.zeros(1),) * 4)
  spec = plan.bound(data)
  found = judge.accuracies({}, data.test, spec=spec, n_outputs=3, most=12)
  assert found['accuracy_1'] == 1 and [len(rows) for rows in seen] == [12, 12]
  judge.judge({'w': np.zeros((1, 1))}, data, spec=spec, n_outputs=3)
  first, second, *_, third, fourth = seen
  np.testing.assert_array_equal([first] * 3, [second, third, fourth])  # the same pairs
  assert set(first) == {0, 1, 2} and len(third) == 12
  np.testing.assert_array_equal(judge.some(5, 9), np.arange(5))


def test_batches_are_epochs_and_their_parts_the_whole():
  data = made()
  stream = lambda **more: pipeline.batches(data, batch_size=16, seed=3, **more)
  source = stream()
  first = [next(source)[0] for _ in range(12)]
  state = source.get_state()
  for epoch in (first[:6], first[6:]):
    rows = np.concatenate([b.x[0].reshape(16, -1) for b in epoch])
    assert len(np.unique(rows, axis=0)) == 96  # distinct pairs; 4 of 100 are left out
  assert not np.array_equal(first[0].x[0], first[6].x[0])  # a new order
  kept = stream(drop_last=False)
  epoch = [next(kept)[0] for _ in range(7)]
  assert [int(b.valid.sum()) for b in epoch] == [16] * 6 + [4]
  rows = np.concatenate([b.x[0].reshape(16, -1)[b.valid] for b in epoch])
  assert len(np.unique(rows, axis=0)) == 100
  both = [stream(part=i, parts=2, drop_last=False) for i in (0, 1)]
  for whole in epoch:
    parts = [next(one)[0] for one in both]
    chex.assert_trees_all_equal(jax.tree.map(lambda *part: np.concatenate(part), *parts), whole)
  halves = [stream(part=i, parts=2) for i in (0, 1)]
  for whole in first[:3]:
    np.testing.assert_array_equal(np.concatenate([next(h)[0].x[1] for h in halves]), whole.x[1])
  again = stream()
  again.set_state(json.loads(json.dumps(state)))
  np.testing.assert_array_equal(next(again)[0].y, next(source)[0].y)


def test_the_log_forgets_the_steps_of_a_life_that_is_over(tmp_path):
  log = train_log.TrainLog(tmp_path, ['a', 'b'], 0)
  for step in (1, 2, 3):
    log.write(step, {'loss': np.array([step, 0.5]), 'samples_per_second': 2.0})
  log.close()
  with open(tmp_path / 'metrics.jsonl', 'a') as file:
    file.write('{"step": 4, "los')  # cut off by a kill
  log = train_log.TrainLog(tmp_path, ['a', 'b'], 2)
  log.write(3, {'loss': np.array([9.0, 9.0])})
  log.close()
  assert [(r['step'], r['loss']) for r in lines(tmp_path)] == [
      (1, [1, 0.5]), (2, [2, 0.5]), (3, [9.0, 9.0])]
  assert list((tmp_path / 'tensorboard').glob('events*'))


@pytest.mark.parametrize('settings, message', [
    (dict(lam=(-1.0,)), 'lam=-1 must be at least 0'),
    (dict(lam=('x',)), "lam='x' is not a number"),
    (dict(drop_last=1), 'drop_last=1 must be True or False'),
    (dict(seed=(1.0,)), 'seed=1.0 must be a whole number'),
    (dict(audio_snr_db='loud'), "audio_snr_db: 'loud' is not a number"),
    (dict(clip_norm=0.0), 'clip_norm=0 must be above 0'),
    (dict(learnable_temperature=True, min_temperature=2.0, max_temperature=1.0),
     'min_temperature=2 .* max_temperature=1'),
    (dict(min_temperature=2.0), 'min_temperature=2.0 has no effect without learnable_temperature'),
    (dict(epochs=0), 'epochs=0 must be a whole number of at least 1'),
    (dict(encoder_1='lenett'), "encoder_1 'lenett' is unknown; known: .*lenet"),
    (dict(loss='clip'), "loss 'clip' is unknown; known: barlow_twins"),
    (dict(speakers='none'), "speakers: 'none'; known: shared, apart"),
    (dict(guard='strict'), "guard 'strict' is unknown; known: none, project"),
    (dict(lam_mode='part'), "lam_mode 'part' is unknown; known: auto, share, weight"),
    (dict(guard=('project',)), "guard=.* is not a name; known: none, project"),
    (dict(lamb=1), "setting 'lamb' is unknown; known: .*lam"),
    (dict(compute_dtype='float16'), 'float16')])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises(ValueError, match=message) as caught:
    train_plan.from_settings(SMALL | settings)
  assert '\n' not in str(caught.value)


def test_a_batch_must_fit_the_devices_and_the_data(monkeypatch):
  with pytest.raises(ValueError, match='batch_size=128 is more than the 100 training pairs'):
    train_plan.from_settings(SMALL | dict(batch_size=128)).bound(made())
  with pytest.raises(ValueError, match='neighbors=8 needs more than 8 test pairs, .* are 8'):
    train_plan.from_settings(SMALL | dict(neighbors=8)).bound(made(m=8))
  monkeypatch.setattr(jax, 'device_count', lambda: 3)
  with pytest.raises(ValueError, match='batch_size=16 is not divisible by 3 devices'):
    parallel.local_batch(16)


@pytest.mark.parametrize('arguments, message', [
    (('127.0.0.1:1', 2, 1), 'coordinator 127.0.0.1:1 did not answer within 1 s'),
    (('127.0.0.1', 2, 1), '--coordinator=127.0.0.1 must be HOST:PORT'),
    (('127.0.0.1:1', 2, 2), '--process_id=2 must be below --num_processes=2'),
    (('127.0.0.1:1', 0, -1), 'belong together')])
def test_a_coordinator_that_does_not_answer_is_named(arguments, message):
  with pytest.raises((ValueError, OSError), match=message):
    parallel.connect(*arguments, timeout=1)


def test_a_digit_that_only_the_test_pairs_have_is_a_class():
  assert len(made(label_train=np.zeros(100, np.int32)).classes) == 3


def test_what_is_not_finite_stops_without_a_checkpoint(monkeypatch, tmp_path):
  plan, data = train_plan.from_settings(SMALL), made()

  def spoilt(change):
    real = parallel.data_parallel
    def make(step):
      return lambda *given: change(*real(step)(*given))
    return make

  bad_gradient = lambda state, m: (state, m.replace(
      grad_norm=np.asarray(m.grad_norm) * np.array([1, np.inf])))
  bad_state = lambda state, m: (state.replace(params=jax.tree.map(
      lambda v: np.full_like(v, np.nan), state.params)), m)
  for name, change, message in (('a', bad_gradient, r'grad_norm=inf at step 1 \(lam=1, seed=0\)'),
                                ('b', bad_state, r'a parameter is not finite at step \d')):
    with monkeypatch.context() as patch:
      patch.setattr(parallel, 'data_parallel', spoilt(change))
      patch.setitem(plan.run, 'checkpoint_every', 1)
      with pytest.raises(FloatingPointError, match=message):
        run.train(plan, data, tmp_path / name, progress=False)
    assert not [p for p in (tmp_path / name / 'checkpoints').iterdir() if p.name.isdigit()]


@pytest.mark.parametrize('process, message', [
    (0, 'did not gather all processes within 2 s'), (1, 'did not gather all processes within 2 s'),
    (None, 'the port cannot be had')])
def test_processes_that_do_not_come_together_end_in_a_line(process, message):
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    where = f'127.0.0.1:{taken.getsockname()[1]}'
    if process == 0:
      taken.close()  # nobody else comes
    else:
      taken.listen()  # answers, but is no coordinator; or has the port
    code = ('import sys; from mmalign_jax import cli; from mmalign_jax.runs import devices; '
            f'sys.exit(cli.guard(lambda: devices.connect({where!r}, 2, {process or 0}, 2)))')
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60,
                           env=os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'})
  assert found.returncode == 2, found.stderr
  assert [message in line for line in found.stderr.splitlines() if 'error:' in line] == [True]


def test_a_checkpoint_of_another_configuration_is_refused(undisturbed):
  plan = train_plan.from_settings(SMALL | dict(learning_rate=0.5))
  with pytest.raises(ValueError, match='another configuration .*learning_rate: 0.003 there, 0.5'):
    run.train(plan, made(), undisturbed[0], progress=False)
