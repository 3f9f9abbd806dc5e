"""A few of the malformed inputs of benchmarks/fuzz.py, and that its witnesses see harm."""

import json
import os
import pathlib
import subprocess
import sys

from emitters import OLDER, WHOLE
import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
if not sys.platform.startswith('linux'):
  pytest.skip('forks, inotify and /proc are needed', allow_module_level=True)


def fuzz(*arguments: str) -> subprocess.CompletedProcess:
  """The benchmark in a process that has no JAX backend yet, as forks need it."""
  soon = {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1', 'XLA_FLAGS': f'{OLDER} {WHOLE}'}
  return subprocess.run([sys.executable, str(ROOT / 'benchmarks/fuzz.py'), *arguments],
                        capture_output=True, text=True, timeout=900, env=os.environ | soon)


def test_malformed_inputs(tmp_path):
  done = fuzz('--cases=100', '--seed=13', '--commands=measure,decompose,decompose --data,'
              'decompose --table', f'--json={tmp_path / "counts.json"}', '--quick', '--patience=20')
  assert done.returncode == 0, done.stdout + done.stderr
  found = json.loads((tmp_path / 'counts.json').read_text())
  assert found['cases'] == 100 and found['failed'] == 0
  assert found['refused'] > 50 and found['answered'] > 5


def test_witnesses_see_harm():
  """Commands that do what none may do; each is noticed."""
  done = fuzz('--confess')
  assert done.returncode == 0, done.stdout + done.stderr
