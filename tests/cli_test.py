"""The commands as a user types them: answers, and one line for everything that is wrong."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import warnings

from emitters import OLDER, WHOLE
from forked import LAUNCH, LIBRARIES, Forked
import numpy as np
import pytest

from mmalign_jax import cli, start
from mmalign_jax.generators.synthetic import GENERATORS

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENVIRONMENT = os.environ | {  # compiled as here: what is the same is compiled once
    'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
    'XLA_FLAGS': f'{OLDER} {WHOLE}'}


def run(*arguments, cwd=ROOT):
  return subprocess.run([sys.executable, *arguments], cwd=cwd, env=ENVIRONMENT, text=True,
                        capture_output=True, timeout=300, check=False)


@pytest.mark.parametrize('redundancy, mi_1, mi_2, accuracy_1, accuracy_2', [
    (0, .36687, .47334, .5412, .5952), (4, .71508, .73337, .6663, .7083),
    (8, 1.15884, 1.15884, .9063, .9063)])
def test_generator_prints_the_exact_numbers(capsys, redundancy, mi_1, mi_2, accuracy_1, accuracy_2):
  command = ['generator', '--name=bits', f'--redundancy={redundancy}', '--level=0', '--json']
  assert cli.main(command) == 0
  found = json.loads(capsys.readouterr().out)
  assert set(found) == {'mi_joint', 'mi_1', 'mi_2', 'mi_1_2', 'bayes_accuracy_1',
                        'bayes_accuracy_2', 'bayes_accuracy', 'shared', 'unique_1', 'unique_2',
                        'pid_redundancy', 'pid_unique_1', 'pid_unique_2', 'pid_synergy'}
  expected = dict(mi_1=mi_1, mi_2=mi_2, bayes_accuracy_1=accuracy_1, bayes_accuracy_2=accuracy_2,
                  mi_joint=1.15884, mi_1_2=5.54518, bayes_accuracy=.9063, shared=redundancy)
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, abs=1e-4)


def test_a_generator_of_ones_own_starts_where_it_says(capsys, monkeypatch):
  """At settings, too, that are asked of no one."""
  like = GENERATORS['bits']
  monkeypatch.setitem(GENERATORS, 'mine', dataclasses.replace(
      like, settings=('redundancy', 'n_train'), start={'redundancy': 8, 'n_train': 1000}))
  assert cli.main(['generator', '--name=mine']) == 0
  assert 'mine: redundancy 8, n_train 1000' in capsys.readouterr().out
  assert cli.main(['generator', '--name=mine', '--redundancy=9']) == 2
  assert 'redundancy=9 is outside 0..8' in capsys.readouterr().err


def test_generator_table_names_units(capsys):
  assert cli.main(['generator', '--name=atoms', '--redundancy=0.2', '--unique_1=0.4']) == 0
  text = capsys.readouterr().out
  assert 'mi_1              0.60000 nats' in text and 'task bits' in text
  assert 'pid_unique_1      0.40000 nats' in text


@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
def test_an_interruption_within_the_garbage_collector_is_not_lost(number):
  code = ('import gc, os, signal, sys, time\nfrom mmalign_jax import cli\n'
          'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
          'def within(*_):\n'
          '  gc.callbacks.remove(within)\n'
          f'  os.kill(os.getpid(), signal.{number})\n'
          '  time.sleep(1)\n'
          'def work():\n'
          '  gc.callbacks.append(within)\n  gc.collect(0)\n'  # soon over, before it comes again
          '  print("went on\\n", end="", flush=True)\n'
          '  time.sleep(20)\n  print("to the end")\n'
          'sys.exit(cli.guard(work))')
  found = subprocess.run([sys.executable, '-c', code], env=os.environ | {'PYTHONPATH': str(ROOT)},
                         capture_output=True, text=True, timeout=60, check=False)
  assert found.returncode == 130 and found.stdout == 'went on\n'  # the first was lost
  assert found.stderr.count('\n') == 1 and found.stderr.startswith('stopped; ')


def test_a_warning_is_no_second_line_of_an_error(capsys):
  def warned(fail):
    warnings.showwarning('overflow', RuntimeWarning, 'f.py', 1)
    if fail:
      raise ValueError('too large')
  assert cli.guard(lambda: warned(True)) == 2
  assert capsys.readouterr().err == 'error: too large\n'
  with warnings.catch_warnings(record=True) as seen:
    assert cli.guard(lambda: warned(False)) == 0
  assert [str(one.message) for one in seen] == ['overflow']


def test_an_interruption_waits_for_no_thread():
  code = ('import sys, threading, time\nfrom mmalign_jax import cli, start\n'
          'def interrupted(argv):\n'
          '  threading.Thread(target=time.sleep, args=(60,)).start()\n'
          '  raise KeyboardInterrupt\n'
          'cli.COMMANDS["measure"] = interrupted\nsys.argv = ["mmalign", "measure"]\nstart.entry()')
  found = subprocess.run([sys.executable, '-c', code], env=ENVIRONMENT, text=True, timeout=40,
                         capture_output=True, check=False)
  assert (found.returncode, found.stdout) == (130, '')
  assert found.stderr == start.STOPPED + '\n'


@pytest.mark.parametrize('begin, arguments', [
    ('from mmalign_jax import start; start.entry()', ['generator']),  # as the installed command
    ('import runpy; runpy.run_path("launch/sweep.py", run_name="__main__")',
     ['--config=strength:tiny', '--workdir=DIR']),
    ('import runpy; runpy.run_path("launch/train.py", run_name="__main__")',
     ['--config=avmnist:tiny', '--workdir=DIR'])])
def test_an_interruption_of_the_imports_is_one_line(begin, arguments):
  code = ('import builtins, os, signal, sys\nreal = builtins.__import__\n'
          # a process that a shell has put in the background ignores interruptions
          'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
          'def loading(name, *rest):\n'
          '  if name == "jax": os.kill(os.getpid(), signal.SIGINT)\n'
          '  return real(name, *rest)\n'
          f'builtins.__import__ = loading\nsys.argv = ["mmalign", *{arguments}]\n{begin}')
  found = run('-c', code)
  assert (found.returncode, found.stdout) == (130, '')
  assert found.stderr in (start.STOPPED + '\n', cli.SAFE + '\n')


def test_a_reader_that_leaves_early_is_no_error():
  command = f'{sys.executable} -m mmalign_jax.cli generator --redundancy=8 | true'
  found = subprocess.run(['bash', '-c', f'set -o pipefail; {command}'], env=ENVIRONMENT, text=True,
                         capture_output=True, timeout=120, check=False)
  assert (found.returncode, found.stderr) == (0, '')


@pytest.mark.parametrize('arguments, message', [
    (['generator', '--redundancy=9'], 'redundancy=9 is outside 0..8'),
    (['generator', '--redundancy=x'], "invalid float value: 'x'"),
    (['generator', '--name=bit'], "generator 'bit' is unknown; known: atoms, bits"),
    (['generator', '--level=3', '--name=atoms'], '--level=3 is not a setting of generator'),
    (['generator', '--name=atoms', '--synergy=0.8'], 'synergy=0.8 is outside 0..0.693'),
    (['generator', '--flip=1'], 'unrecognized arguments: --flip=1'),
    (['advise', '--dataset=digits', '--group=who', '--workdir=W'], "no key 'who' for group"),
    (['advise', '--dataset=digits', '--sep=tab', '--workdir=W'], "--sep='tab' has no effect"),
    (['advise', '--dataset=digits', '--id=a', '--workdir=W'], "--id='a' has no effect"),
    (['measured'], "unknown command 'measured'; known: sweep, train, submit, merge, generator")])
def test_wrong_commands_end_in_one_line(capsys, arguments, message):
  assert cli.main(arguments) == 2
  error = capsys.readouterr().err
  assert message in error and error.startswith('error: ') and error.count('\n') == 1


@pytest.mark.parametrize('name', ['mailbox', 'digit_files'])
def test_a_file_of_the_name_of_a_module_is_not_registered(name, tmp_path, monkeypatch, capsys):
  """It took the place of the module for all that import it later."""
  monkeypatch.delitem(sys.modules, name, raising=False)
  (tmp_path / f'{name}.py').write_text('')
  assert cli.main([f'--register={tmp_path}/{name}.py', 'generator']) == 2
  error = capsys.readouterr().err
  assert f"'{name}' is the name of another module; rename the file" in error
  assert error.count('\n') == 1 and name not in sys.modules


@pytest.fixture(scope='module')
def forked():
  forked = Forked(LIBRARIES, ENVIRONMENT, ROOT)
  yield forked
  forked.close()


@pytest.mark.parametrize('arguments, message', [
    (['--config=configs/strength.py:tiny'], '--workdir is missing'),
    (['--config=configs/strenght.py', '--workdir=W'], 'configs/strenght.py: no such file'),
    (['--config=configs/strength.py:huge', '--workdir=W'],
     'strength.py:huge is unknown; known: quick'),
    (['--config=configs/strength.py:tiny', '--workdir=W', '--config.lamda=1'],
     '--config.lamda: unknown setting; known: align_on, batch_size'),
    (['--config=configs/strength.py:tiny', '--workdir=W', "--config.lam=(0, -1)"],
     'lam=-1 must be at least 0'),
    (['--config=configs/strength.py:tiny', '--workdir=W', '--config.steps=many'], 'steps'),
    (['--config=configs/strength.py:tiny', '--wrkdir=W'], "Unknown command line flag 'wrkdir'"),
    (['--config=configs/paired.py:data=gone.npz,x1=a,x2=b', '--workdir=W'],
     "'gone.npz': no such file or folder"),
    (['--config=configs/paired.py:data=bad.npz,x1=a,x2=b', '--workdir=W'],
     "no key 'a' for x1"),
])
def test_wrong_flags_end_in_one_line_and_write_nothing(tmp_path, arguments, message, forked):
  np.savez(tmp_path / 'bad.npz', x1=np.zeros((4, 2)), y=np.arange(4))
  found = forked(LAUNCH, ROOT / 'launch' / 'sweep.py', *arguments, cwd=tmp_path)
  assert found.returncode == 2, found.stderr
  assert message in found.stderr and found.stderr.count('\n') == 1
  assert not (tmp_path / 'W').exists()


def test_installed_command_runs_a_study_from_any_folder(tmp_path):
  found = run('-m', 'mmalign_jax.cli', 'sweep', '--config=configs/strength.py:tiny', '--workdir=W',
              '--config.redundancy=8', "--config.lam=(0, 0.5, 1)", '--config.steps=2', cwd=tmp_path)
  assert found.returncode == 0, found.stderr
  summary = json.loads((tmp_path / 'W' / 'summary.json').read_text())
  assert [(row['redundancy'], row['encoder']) for row in summary] == [(8, 1), (8, 2)]
  assert {'best_lam', 'best_lam_interval', 'gain', 'gain_interval', 'shape'} <= set(summary[0])
  for name in ('accuracy', 'gain', 'cka'):
    for suffix in ('png', 'svg'):
      assert (tmp_path / 'W' / 'figures' / f'{name}.{suffix}').stat().st_size > 1000
  assert 'best lam' in found.stdout and 'results.zarr' in found.stdout
