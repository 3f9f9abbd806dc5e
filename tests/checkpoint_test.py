"""Checkpoints: bit for bit, never half, never another run's, and never silently none."""

import os
import pathlib
import resource
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONFIG = {'lam': 0.5, 'width': 12}


def small(step):  # noise, which does not compress: most of the bytes on disk are of `w`
  return {'w': np.random.default_rng(step).standard_normal((300, 4), np.float32),
          'step': np.int32(step)}


def save_all(folder, metrics, **kwargs):
  with Checkpoints(folder, CONFIG, **kwargs) as checkpoints:
    for step, metric in metrics.items():
      assert checkpoints.save(step, small(step), {'next': 2 * step}, metric)


def steps(folder):
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def largest(folder):
  return max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)


def assert_bits(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
    b = np.asarray(b)
    assert type(a) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape
    assert a.tobytes() == b.tobytes()


def test_what_is_saved_comes_back_bit_for_bit(tmp_path):
  params = {'kernel': jnp.array([[-0.0, jnp.nan], [1e-40, 3]], jnp.float32),
            'half/.x': jnp.linspace(-1, 1, 7, dtype=jnp.bfloat16), 'empty': jnp.zeros((0, 3))}
  state = (params, optax.adam(1e-3).init(params), jax.random.PRNGKey(7), jnp.int32(5),
           np.array([True, False]), np.arange(6).reshape(2, 3).T, 0.25, None)
  data_state = {'next_index': 3, 'nested': {'exhausted': [0, 1]}, 'name': 'é'}
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    assert checkpoints.restore(state) is None and checkpoints.restore_best(state) is None
    assert checkpoints.save(5, state, data_state, jnp.float32(0.5))
    assert not checkpoints.save(5, state, data_state, 0.5)
    assert_bits(checkpoints.restore(state)[0], state)
  like = jax.eval_shape(lambda x: x, state[:4]) + state[4:]
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    found, data, step = checkpoints.restore(like)
    assert_bits(found, state)
    assert data == data_state and step == 5 and checkpoints.notes == []


@pytest.mark.parametrize('mode, kept, best', [('max', [2, 5, 6], 2), ('min', [4, 5, 6], 4)])
def test_the_best_and_the_last_stay(tmp_path, mode, kept, best):
  metrics = {1: 0.5, 2: 0.9, 3: np.nan, 4: 0.1, 5: None, 6: 0.3}
  save_all(tmp_path, dict(list(metrics.items())[:3]), best_mode=mode)
  save_all(tmp_path, dict(list(metrics.items())[3:]), best_mode=mode)
  assert steps(tmp_path) == kept
  with Checkpoints(tmp_path, CONFIG, best_mode=mode) as checkpoints:
    found, data, step = checkpoints.restore_best(small(0))
    assert step == best and data == {'next': 2 * best}
    assert_bits(found, small(best))
    assert checkpoints.restore(small(0))[2] == 6


def test_without_metrics_none_is_best(tmp_path):
  save_all(tmp_path, {1: None, 2: None, 3: None}, keep_last=1)
  assert steps(tmp_path) == [3]
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    assert checkpoints.restore_best(small(0)) is None


def test_going_back_needs_force_and_drops_what_came_after(tmp_path):
  save_all(tmp_path, {1: 0.5, 2: 0.6, 3: 0.7})
  with Checkpoints(tmp_path, CONFIG, keep_last=3) as checkpoints:
    with pytest.raises(ValueError, match='step 1 is before the newest checkpoint, 3; .*force=True'):
      checkpoints.save(1, small(1), {})
    assert checkpoints.save(1, small(1), {'again': True}, force=True)
    checkpoints.wait()
    assert steps(tmp_path) == [1]
    assert checkpoints.restore_best(small(0)) is None  # the new 1 has no metric


@pytest.mark.parametrize('damage', ['truncated', 'missing', 'flipped', 'description', 'empty'])
def test_a_corrupt_newest_falls_back_and_says_so(tmp_path, capfd, damage):
  save_all(tmp_path, {1: 0.5, 2: 0.9, 3: 0.9})
  path = largest(tmp_path / '3' / ('meta' if damage == 'description' else 'state'))
  content = path.read_bytes()
  if damage == 'missing':
    path.unlink()
  elif damage == 'flipped':
    half = len(content) // 2
    path.write_bytes(content[:half] + bytes([content[half] ^ 1]) + content[half + 1:])
  elif damage == 'empty':  # as a file system leaves a directory whose power went
    for file in (tmp_path / '3').rglob('*'):
      file.unlink() if file.is_file() else None
  else:
    path.write_bytes(content[:len(content) // 2])
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    found, data, step = checkpoints.restore(small(0))
    assert step == 2 and data == {'next': 4}
    assert_bits(found, small(2))
    note, = checkpoints.notes
    assert 'step 3 cannot be read (' in note and note.endswith('3.damaged; step 2 is taken')
    assert checkpoints.restore_best(small(0))[2] == 2
    assert checkpoints.save(3, small(3), {}, 0.9)  # its place is free
    assert checkpoints.restore(small(0))[2] == 3
  out, error = capfd.readouterr()
  assert out == '' and error == note + '\n'
  assert (tmp_path / '3.damaged').exists()


def test_when_all_are_corrupt_it_does_not_start_anew(tmp_path):
  save_all(tmp_path, {1: 0.5, 2: 0.9})
  for step in (1, 2):
    largest(tmp_path / str(step) / 'state').unlink()
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    for restore in (checkpoints.restore, checkpoints.restore_best):
      with pytest.raises(OSError, match='none of 2 checkpoints can be read .*nothing was') as error:
        restore(small(0))
      assert '\n' not in str(error.value)
  assert steps(tmp_path) == [1, 2]


def test_another_configuration_is_refused(tmp_path):
  save_all(tmp_path, {1: 0.5})
  with pytest.raises(ValueError, match=r'another configuration \(lam: 0.5 there, 0.7 now\)'):
    Checkpoints(tmp_path, CONFIG | {'lam': 0.7})


@pytest.mark.parametrize('like, leaf', [
    ({'w': np.zeros((300, 5), np.float32), 'step': np.int32(0)},
     r"state\['w'\]: float32 \(300, 4\) there, float32 \(300, 5\) now"),
    ({'w': np.zeros((300, 4), np.float16), 'step': np.int32(0)},
     r"state\['w'\]: float32 \(300, 4\) there, float16 \(300, 4\) now"),
    ({'w': small(0)['w']}, r"state\['step'\]: int32 \(\) there, missing now"),
    (small(0) | {'x': np.zeros(2)}, r"state\['x'\]: missing there, float64 \(2,\) now")])
def test_another_state_is_refused(tmp_path, like, leaf):
  save_all(tmp_path, {1: 0.5, 2: 0.6})
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    with pytest.raises(ValueError, match=rf'2 holds another state \({leaf}\)$'):
      checkpoints.restore(like)
    assert checkpoints.notes == []


@pytest.mark.parametrize('state, data, message', [
    ({'key': jax.random.key(0)}, {}, r"state\['key'\] is key<fry>: keep jax.random.key_data"),
    ({'name': 'a'}, {}, r"state\['name'\] is str 'a': only numbers"),
    ({'w': np.zeros(2)}, {'state': b'x'}, 'data_state is not JSON-able: .*bytes')])
def test_what_cannot_be_kept_is_refused(tmp_path, state, data, message):
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    with pytest.raises(ValueError, match=message):
      checkpoints.save(1, state, data)


@pytest.mark.parametrize('wrong', [dict(keep_last=0), dict(best_mode='most')])
def test_wrong_arguments_are_refused(tmp_path, wrong):
  with pytest.raises(ValueError, match=next(iter(wrong))):
    Checkpoints(tmp_path, CONFIG, **wrong)


def test_two_runs_cannot_share_a_folder(tmp_path):
  with Checkpoints(tmp_path, CONFIG):
    with pytest.raises(ValueError, match='another run is using this folder'):
      Checkpoints(tmp_path, CONFIG)
  Checkpoints(tmp_path, CONFIG).close()


def test_saving_does_not_block_and_what_changes_after_it_is_not_saved(tmp_path):
  noise = np.random.default_rng(0).standard_normal((4_000_000,)).astype(np.float32)
  host, device = noise.copy(), jnp.array(noise)
  with Checkpoints(tmp_path, CONFIG) as checkpoints:
    checkpoints.save(1, {'host': host, 'device': device}, {})
    assert not (tmp_path / '1').exists()  # 32 MB take longer to compress
    host[:] = -1
    jax.jit(lambda x: x * 0 - 1, donate_argnums=0)(device).block_until_ready()
    checkpoints.wait()
    assert (tmp_path / '1').exists()
    found, *_ = checkpoints.restore({'host': host, 'device': noise})
  assert_bits(found, {'host': noise, 'device': noise})


def test_a_write_that_fails_is_told_and_leaves_the_others(tmp_path):
  big = {'w': np.random.default_rng(0).standard_normal(100_000)}
  with Checkpoints(tmp_path, CONFIG, keep_last=1) as checkpoints:
    checkpoints.save(1, big, {}, 0.5)
    checkpoints.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as a full disk
    try:
      checkpoints.save(2, big, {}, 0.6)
      with pytest.raises(OSError, match='checkpoint could not be written .* are safe') as e:
        checkpoints.wait()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert '\n' not in str(e.value)
    assert checkpoints.restore(big)[2] == 1
    assert checkpoints.save(2, big, {}, 0.7)
  assert steps(tmp_path) == [2]


KILLED = '''
import os, random, signal, sys, time
import numpy as np
import orbax.checkpoint  # before the forks: only their saving is to be killed
from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints

def state(step):
  return {str(i): np.full((300_000 + i,), step, np.float32) for i in range(6)}

def save_until_killed():
  with Checkpoints(sys.argv[1], {}, keep_last=2) as checkpoints:
    found = checkpoints.restore(state(0))
    step = 0
    if found:
      values, data, step = found
      if data != {'step': step} or any((x != step).any() for x in values.values()):
        print('inconsistent', step, data, flush=True)
    if checkpoints.notes:
      print(checkpoints.notes, flush=True)
    while True:
      step += 1
      checkpoints.save(step, state(step), {'step': step}, -abs(step - 3))

random.seed(0)
for _ in range(int(sys.argv[2])):
  child = os.fork()
  if not child:
    save_until_killed()
  time.sleep(0.3 + random.random())
  os.kill(child, signal.SIGKILL)
  _, status = os.waitpid(child, 0)
  if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
    print('ended by itself', status)
  print(sorted(os.listdir(sys.argv[1])), file=sys.stderr)
'''


def run(code, *arguments, **environment):
  return subprocess.Popen(
      [sys.executable, '-c', code, *map(str, arguments)], stdout=subprocess.PIPE,
      stderr=subprocess.PIPE, text=True, env=os.environ | {
          'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', **environment})


def test_killed_at_any_moment_the_last_whole_step_is_there(tmp_path):
  process = run(KILLED, tmp_path, 8)
  out, listings = process.communicate(timeout=120)
  assert process.returncode == 0 and out == '', out + listings
  assert 'orbax-checkpoint-tmp' in listings  # some were killed while they wrote
  with Checkpoints(tmp_path, {}) as checkpoints:
    like = {str(i): np.zeros((300_000 + i,), np.float32) for i in range(6)}
    values, data, step = checkpoints.restore(like)
    assert step > 3 and data == {'step': step} and checkpoints.notes == []
    assert all((x == step).all() for x in values.values())
    assert checkpoints.restore_best(like)[2] == 3
    assert checkpoints.save(step + 1, values, {'step': step + 1}, -99)
  left = {p.name for p in tmp_path.iterdir()}
  assert {'config.json', '.claim', '.lock', '3', str(step + 1), str(step)} == left


DEVICES = '''
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints
assert not any(name.startswith('orbax') for name in sys.modules)
assert len(jax.local_devices()) == 8
everywhere = NamedSharding(Mesh(np.array(jax.local_devices()), ('data',)), P())
state = {'w': jnp.zeros((5, 3)), 'b': jnp.zeros((3,), jnp.bfloat16)}
with Checkpoints(sys.argv[1], {}) as checkpoints:
  found, data, step = checkpoints.restore(state)
  found = jax.device_put(found, everywhere)
  found = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2, tree))(found)
  assert len(found['w'].sharding.device_set) == 8
  checkpoints.save(step + 1, found, data, 1.0)
'''


def test_the_number_of_devices_may_change_and_nothing_is_printed(tmp_path):
  state = {'w': np.arange(15, dtype=np.float32).reshape(5, 3), 'b': jnp.ones((3,), jnp.bfloat16)}
  with Checkpoints(tmp_path, {}) as checkpoints:
    checkpoints.save(1, state, {'next': 1}, 0.5)
  process = run(DEVICES, tmp_path, XLA_FLAGS='--xla_force_host_platform_device_count=8')
  out, error = process.communicate(timeout=120)
  assert (process.returncode, out, error) == (0, '', '')
  with Checkpoints(tmp_path, {}) as checkpoints:
    found, data, step = checkpoints.restore(state)
  assert step == 2 and data == {'next': 1}
  assert_bits(found, jax.tree.map(lambda x: x * 2, state))


PROCESSES = '''
import sys
import jax
jax.distributed.initialize(f'localhost:{sys.argv[2]}', 2, int(sys.argv[3]))
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from mmalign_jax.runs.checkpoints.checkpoints import Checkpoints
everywhere = NamedSharding(Mesh(np.array(jax.devices()), ('data',)), P())
host = {'w': np.array([-0.0, 1, np.nan], np.float32), 'n': np.int32(4)}
place = lambda x: jax.make_array_from_callback(x.shape, everywhere, lambda index: x[index])
state = jax.tree.map(place, host)
with Checkpoints(sys.argv[1], {'a': 1}) as checkpoints:
  assert checkpoints.restore(host) is None
  for step in (1, 2):
    assert checkpoints.save(step, state, {'next': step}, 0.5)
  found, data, step = checkpoints.restore(host)
  assert step == 2 and data == {'next': 2}
  assert all(found[k].tobytes() == host[k].tobytes() for k in host)
  try:
    checkpoints.restore({'w': host['w']})
  except ValueError as error:
    print(error)
'''


def test_of_two_processes_one_writes_and_both_restore(tmp_path):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    port = free.getsockname()[1]
  pair = [run(PROCESSES, tmp_path, port, i) for i in (0, 1)]
  for process in pair:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert out.strip().endswith("holds another state (state['n']: int32 () there, missing now)")
  with Checkpoints(tmp_path, {'a': 1}) as checkpoints:
    assert checkpoints.restore({'w': np.zeros(3, np.float32), 'n': np.int32(0)})[2] == 2
