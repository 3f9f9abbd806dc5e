"""Deeds that no command may do, for a test of the witnesses; each runs in `in` of a case."""

import importlib
import os
from pathlib import Path
import pickle
import random
import socket
import subprocess
import sys
import time

import h5py
import numpy as np

from fuzzing.harm import Harm


def _answer() -> int:
  print('42')
  return 0


def _unpickle(_) -> int:
  pickle.loads(Harm(Path('../outside'), Path('../MARK')).pickled(random.Random(0)))
  return _answer()


def _link(_) -> int:
  """HDF5 opens the file, not Python."""
  with h5py.File('../out/x.h5', 'w') as file:
    file['x'] = h5py.ExternalLink('../outside/secret.h5', '/x1')
    file['x'][()]
  return _answer()


def _import(_) -> int:
  """What lies in the folder that one stands in."""
  importlib.import_module('evil')
  return _answer()


def _prints(text: str, status: int = 0):
  def deed(_) -> int:
    print(text, file=sys.stderr if status else sys.stdout)
    return status
  return deed


def _does(function):
  def deed(_) -> int:
    function()
    return _answer()
  return deed


DEEDS = {  # name: (what is done, what a witness must say)
    'unpickles': (_unpickle, 'pickle.find_class'),
    'follows a link': (_link, 'opened outside'),
    'runs long': (_does(lambda: time.sleep(99)), 'still running'),
    'imports': (_import, 'code of the folder'),
    'two lines': (_prints('error: a\nerror: b', 2), 'lines on standard error'),
    'traceback': (lambda _: 1 // 0, 'a traceback'),
    'nothing said': (lambda _: 0, 'no answer'),
    'controls the terminal': (_prints('\x1b[2J'), 'control characters'),
    'no number': (_prints('{"value": NaN}'), 'not a number'),
    'another status': (_prints('error: x', 3), 'status 3'),
    'dies': (lambda _: os.abort(), 'status -6'),
    'much memory': (_does(lambda: np.ones(2**27).sum()), 'memory'),
    'reads a file outside': (_does(lambda: Path('../outside/secret.npy').read_bytes()), 'opened:'),
    'writes beside its input': (_does(lambda: Path('x.bak').write_text('x')), "made: 'in/x.bak'"),
    'writes home': (_does(lambda: Path.home().joinpath('.x').write_text('x')), "made: 'home/.x'"),
    'leaves a temporary file': (
        _does(lambda: Path(os.environ['TMPDIR'], 'x').write_text('x')), "made: 'tmp/x'"),
    'removes': (_does(lambda: os.unlink('../outside/secret.bin')), "gone: 'outside/secret.bin'"),
    'starts a program': (_does(lambda: subprocess.run(['true'], check=True)), 'subprocess.Popen'),
    'asks a name': (_does(lambda: socket.getaddrinfo('localhost', 80)), 'socket.getaddrinfo'),
    'leaves a process': (
        _does(lambda: os.fork() or (time.sleep(9), os._exit(0))), 'processes are left')}
