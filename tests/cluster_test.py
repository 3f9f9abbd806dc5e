"""Shards as tasks of an engine: what is lost is run again, and the whole is that of one process."""

import contextlib
import importlib.util
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading
import time

from emitters import OLDER, WHOLE
from forked import LAUNCH, LIBRARIES, Forked
import numpy as np
import pytest

from mmalign_jax.cluster import drive, executors
from mmalign_jax.cluster.shard import BUSY, Outcome, Shard
from mmalign_jax.studies.strength import plan as strength, run

ROOT = pathlib.Path(__file__).resolve().parent.parent
STUDY = ('--config=configs/strength.py:tiny', f'--config.seed={tuple(range(8))}',
         '--config.chunk=1', '--config.workers=1')
SAME = {'XLA_FLAGS': f'{OLDER} {WHOLE}'}  # code as this process makes it, to the last bit


# -- without a study -------------------------------------------------------------------------------


class Told:
  """An engine whose tasks end as they are told to, one after the other."""

  def __init__(self, **ends: list[Outcome]):
    self._ends, self.given = ends, []

  def submit(self, shards):
    self.given += [shard.i for shard in shards]
    return [Ended(self._ends[f's{shard.i}'].pop(0)) for shard in shards]

  def close(self):
    pass


class Ended:
  def __init__(self, outcome):
    self._outcomes = [None, outcome]

  def ended(self):
    return self._outcomes.pop(0)


def shards(n):
  return [Shard((), i + 1, n, '.') for i in range(n)]


def test_a_lost_shard_is_run_again():
  done, gone = Outcome(0), Outcome(executors.LOST, 'the node is gone')
  engine, looks = Told(s1=[gone, gone, done], s2=[gone, done]), []
  lost, last = drive.drive(engine, shards(2), look=looks.append, seconds=0)
  assert lost == 3 and last.i == 1 and engine.given == [1, 2, 1, 2, 1]
  assert looks[0] == 0 and looks[-1] == 2 and looks == sorted(looks)


def test_one_that_still_runs_elsewhere_is_waited_for(capsys):
  busy, done = Outcome(2, f'error: x: {BUSY}'), Outcome(0)
  engine, looks = Told(s1=[*[busy] * 5, done], s2=[done]), []
  lost, last = drive.drive(engine, shards(2), retries=0, look=looks.append, seconds=0, pause=0)
  assert not lost and last.i == 1 and engine.given == [1, 2, *[1] * 5]
  assert capsys.readouterr().err == 'note: shard 1/2 still runs elsewhere, and is waited for\n'
  assert looks[0] == 0 and looks[-1] == 2 and looks == sorted(looks)


def test_it_is_not_given_again_at_once(capsys):
  engine = Told(s1=[Outcome(2, BUSY), Outcome(0)])
  begun = time.monotonic()
  drive.drive(engine, shards(1), seconds=0.001, pause=0.05)
  assert time.monotonic() - begun >= 0.05 and capsys.readouterr().err


def test_one_that_is_lost_too_often_ends_it():
  gone = Outcome(-9, 'first\nkilled')
  with pytest.raises(ValueError, match=r'shard 1/1 was lost 3 times.*killed; every finished chunk'):
    drive.drive(Told(s1=[gone] * 3), shards(1), retries=2, seconds=0)


def test_what_is_refused_is_not_tried_again():
  engine = Told(s1=[Outcome(2, 'note: a\nerror: --config.lam=-1 must be at least 0')])
  with pytest.raises(ValueError, match='^shard 1/1: --config.lam=-1 must be at least 0$'):
    drive.drive(engine, shards(1), seconds=0)
  assert engine.given == [1]


def test_a_shard_is_a_process_that_is_told_its_part(tmp_path):
  program = tmp_path / 'program.py'
  program.write_text('import sys; sys.stderr.write(" ".join(sys.argv[1:])); sys.exit(3)')
  assert Shard((str(program),), 2, 5, str(tmp_path))() == Outcome(3, '--shard=2/5 --nofigures')


def test_a_shard_finds_this_package_installed_or_not(tmp_path):
  program = tmp_path / 'program.py'
  program.write_text('import mmalign_jax, sys; sys.stderr.write(mmalign_jax.__file__)')
  (tmp_path / 'mmalign_jax').mkdir()  # what lies in the folder one stands in is not it
  assert Shard((str(program),), 1, 1, str(tmp_path))() == Outcome(
      0, str(ROOT / 'mmalign_jax' / '__init__.py'))


def test_closing_ends_what_runs_here(tmp_path):
  program = tmp_path / 'program.py'
  program.write_text('import time; open("begun", "w").close(); time.sleep(100)')
  engine = executors.Local(tmp_path, 1, {})
  one, waits = engine.submit([Shard((str(program),), i, 2, str(tmp_path)) for i in (1, 2)])
  wait_for(lambda: (tmp_path / 'begun').exists())
  engine.close()
  wait_for(lambda: one.ended() is not None)
  assert one.ended().lost


@pytest.mark.parametrize('text', ['-1', 'many', 'nan', 'inf'])
def test_amounts_of_ray_are_numbers(text):
  with pytest.raises(ValueError, match=f'--options: gpus={text} is no number of at least 0'):
    executors._amount({'gpus': text}, 'gpus', 0)


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux ends a process with its parent')
def test_a_killed_worker_leaves_no_process_behind(tmp_path):
  (tmp_path / 'program.py').write_text(
      'import os, time; open("pid", "w").write(str(os.getpid())); time.sleep(100)')
  outer = 'from mmalign_jax.cluster.shard import Shard; Shard(("program.py",), 1, 1, ".")()'
  worker = subprocess.Popen([sys.executable, '-c', outer], cwd=tmp_path,
                            env=os.environ | {'PYTHONPATH': str(ROOT)})
  written = lambda: (tmp_path / 'pid').exists() and (tmp_path / 'pid').read_text()
  wait_for(written)
  pid = int((tmp_path / 'pid').read_text())
  worker.kill()
  worker.wait()
  wait_for(lambda: not alive(pid))


def alive(pid: int) -> bool:
  with contextlib.suppress(OSError):
    return ') Z' not in pathlib.Path(f'/proc/{pid}/stat').read_text()
  return False


def wait_for(true, seconds: float = 60) -> None:
  end = time.monotonic() + seconds
  while not true():
    assert time.monotonic() < end
    time.sleep(0.005)


@pytest.fixture(scope='module')
def forked():
  forked = Forked(LIBRARIES, os.environ | {'PYTHONPATH': str(ROOT)}, ROOT)
  yield forked
  forked.close()


@pytest.mark.parametrize('options, said', [
    (['--executor=pigeon'], 'known: local, slurm, ray'), (['--shards=0'], '--shards=0 is not in'),
    (['--options=partition'], "'partition' is no NAME=VALUE"),
    (['--options=a=1'], "'a' is none of --executor=local"),
    (['--executor=slurm'], "submitit is not installed: pip install -e '.[cluster]'"),
    (['--config.lam=-1'], 'lam')])
def test_what_is_asked_wrongly_is_one_line(options, said, tmp_path, forked):
  if 'slurm' in options[0] and importlib.util.find_spec('submitit'):
    pytest.skip('submitit is installed')
  found = forked(LAUNCH, 'launch/submit.py', STUDY[0], f'--workdir={tmp_path}', *options, cwd=ROOT)
  assert found.returncode == 2 and said in found.stderr, found.stderr
  assert len(found.stderr.splitlines()) == 1


SAYS = '''
import os
from mmalign_jax.cluster import executors
class Says:
  def __init__(self, *_): pass
  def close(self): pass
  def submit(self, shards):
    memory = os.environ['XLA_PYTHON_CLIENT_PREALLOCATE']
    raise ValueError(' '.join([*shards[0].arguments, f'preallocate={memory}']))
executors.EXECUTORS['local'] = Says
'''


def test_shards_are_told_of_rows_of_ones_own(tmp_path, forked):
  (tmp_path / 'says.py').write_text(SAYS)
  found = forked('import runpy; runpy.run_module("mmalign_jax.cli", run_name="__main__")',
                 '--register=says.py', 'submit', '--config=strength:tiny', '--executor=local',
                 f'--workdir={tmp_path / "run"}', cwd=tmp_path)
  assert found.returncode == 2, found.stderr
  told = found.stderr.split('sweep.py ')[1].split()
  assert told[0] == f'--register={tmp_path / "says.py"}'
  assert told[-1] == 'preallocate=false'  # of one accelerator each takes what it needs
  found = forked(LAUNCH, 'launch/sweep.py', '--register=nothing.py', STUDY[0], cwd=ROOT)
  assert found.stderr == 'error: --register=nothing.py is not a Python file\n'


# -- a study ---------------------------------------------------------------------------------------


@pytest.fixture(scope='module', name='alone')
def _alone(tmp_path_factory):
  """What one process makes."""
  folder = tmp_path_factory.mktemp('alone')
  tiny = runpy.run_path(str(ROOT / 'configs/strength.py'))['get_config']('tiny').to_dict()
  run.run_study(strength.from_settings(tiny | {'seed': tuple(range(8)), 'chunk': 1, 'workers': 1}),
                folder, progress=False)
  return values(folder)


def values(folder):
  import xarray as xr
  with xr.open_zarr(folder / 'results.zarr') as dataset:
    return {str(name): np.array(array) for name, array in dataset.load().variables.items()}


def processes(*words: str) -> list[int]:
  """Whose command line has all of these."""
  found = []
  for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
    with contextlib.suppress(OSError):
      told = path.read_bytes().decode(errors='replace').split('\0')
      found += [int(path.parent.name)] if all(word in told for word in words) else []
  return found


def kill_first(folder, killed):
  """Kills shard 1 once a chunk of it is there, and again as soon as it is back."""
  mine = (f'--workdir={folder}', '--shard=1/2')
  for chunks in (1, 2):
    wait_for(lambda: len(list(folder.glob('chunks/*.npz'))) >= chunks and processes(*mine), 300)
    for pid in processes(*mine):
      os.kill(pid, signal.SIGKILL)
      killed.append(pid)
    wait_for(lambda: not any(map(alive, killed)))


def submitted(folder, *more: str) -> str:
  killed: list[int] = []
  killer = threading.Thread(target=kill_first, args=(folder, killed), daemon=True)
  killer.start()
  made = subprocess.run([sys.executable, 'launch/submit.py', *STUDY, f'--workdir={folder}',
                         '--shards=2', '--workers=2', '--nofigures', *more], cwd=ROOT,
                        env=os.environ | SAME, capture_output=True, text=True, check=False)
  assert made.returncode == 0, made.stderr
  assert killed and 'a shard was lost and run again' in made.stdout
  return made.stdout


def same(folder, alone):
  made = values(folder)
  assert made.keys() == alone.keys()
  for name, array in alone.items():
    np.testing.assert_array_equal(made[name], array, err_msg=name)  # to the last bit


@pytest.mark.skipif(sys.platform != 'linux', reason='processes are found in /proc')
def test_local_processes_killed_in_the_middle(tmp_path, alone):
  submitted(tmp_path)
  same(tmp_path, alone)
  assert (tmp_path / 'summary.json').exists()


@pytest.mark.skipif(importlib.util.find_spec('submitit') is None, reason='submitit is absent')
def test_submitit_killed_in_the_middle(tmp_path, alone):
  submitted(tmp_path, '--executor=slurm', '--options=cluster=local,time=10')
  same(tmp_path, alone)


@pytest.mark.skipif(importlib.util.find_spec('ray') is None, reason='ray is absent')
def test_a_node_of_ray_that_dies_in_the_middle(tmp_path, alone, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', SAME['XLA_FLAGS'])
  monkeypatch.setenv('PYTHONPATH', os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')]))
  from ray.cluster_utils import Cluster
  cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 0})
  nodes = [cluster.add_node(num_cpus=1) for _ in range(4)]
  arguments = (str(ROOT / 'launch' / 'sweep.py'), *STUDY, f'--workdir={tmp_path}')
  tasks = [Shard(arguments, i + 1, 4, str(ROOT)) for i in range(4)]
  engine = executors.Ray(tmp_path, 4, {'address': cluster.address})

  def fail():
    wait_for(lambda: list(tmp_path.glob('chunks/*.npz')), 300)
    cluster.remove_node(nodes[0], allow_graceful=False)
  failing = threading.Thread(target=fail, daemon=True)
  failing.start()
  try:
    lost, _ = drive.drive(engine, tasks, seconds=0.1)
  finally:
    failing.join(60)
    engine.close()
    cluster.shutdown()
  assert lost >= 1
  same(tmp_path, alone)
