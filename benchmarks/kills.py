"""Kills a training run again and again at random moments and compares its end with a quiet run's.

  python benchmarks/kills.py --data_dir=DATA --workdir=DIR [--lives 10] [--seed 7] [--json FILE]

Both runs are configs/avmnist.py:tiny on real data with twelve epochs, checkpoints every third step
and ragged last batches. Life i is killed (SIGKILL) up to a second after the log shows its share of
the steps, so that each life gets on. Exit status: 1 where results, logs or parameters differ.
"""

import argparse
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
STEPS = 96
SETTINGS = dict(epochs=12, checkpoint_every=3, log_every=1, drop_last=False, train_size=500)


def start(data_dir: str, workdir: pathlib.Path) -> subprocess.Popen:
  """A life of the run in `workdir`."""
  return subprocess.Popen(
      [sys.executable, str(ROOT / 'launch/train.py'),
       f'--config={ROOT}/configs/avmnist.py:tiny', f'--data_dir={data_dir}', '--nofigures',
       f'--workdir={workdir}', *(f'--config.{k}={v}' for k, v in SETTINGS.items())],
      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
  error = process.communicate()[1]
  if process.returncode:
    sys.exit(f'a run ended with status {process.returncode}: {error}')


def log(workdir: pathlib.Path) -> list[dict]:
  """Lines of the metrics without how fast they came."""
  path = workdir / 'metrics.jsonl'
  lines = path.read_text().splitlines() if path.exists() else []
  return [{k: v for k, v in json.loads(line).items() if k != 'samples_per_second'}
          for line in lines]


def kill(process: subprocess.Popen, workdir: pathlib.Path, lines: int, wait: float) -> int:
  """Kills `wait` seconds after the log has so many lines; returns the last step in it."""
  path = workdir / 'metrics.jsonl'
  while process.poll() is None and not (
      path.exists() and path.read_bytes().count(b'\n') >= lines):
    time.sleep(0.005)
  time.sleep(wait)
  if process.poll() is not None:
    sys.exit('a life ended before it was killed; fewer --lives')
  process.send_signal(signal.SIGKILL)
  process.communicate()
  return json.loads(path.read_bytes().rpartition(b'\n')[0].splitlines()[-1])['step']


def parameters(workdir: pathlib.Path) -> tuple[int, dict[str, np.ndarray]]:
  """Step and arrays of the newest checkpoint."""
  import orbax.checkpoint as ocp
  folder = (workdir / 'checkpoints').resolve()
  step = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
  return step, ocp.PyTreeCheckpointer().restore(folder / str(step) / 'state')


def main() -> int:
  import xarray as xr
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', required=True)
  parser.add_argument('--workdir', required=True, type=pathlib.Path)
  parser.add_argument('--lives', type=int, default=10)
  parser.add_argument('--seed', type=int, default=7)
  parser.add_argument('--json', type=pathlib.Path)
  given = parser.parse_args()
  quiet, killed = given.workdir / 'quiet', given.workdir / 'killed'
  for folder in (quiet, killed):
    shutil.rmtree(folder, ignore_errors=True)
  finish(start(given.data_dir, quiet))
  moments, ends = random.Random(given.seed), []
  for life in range(given.lives):
    ends.append(kill(start(given.data_dir, killed), killed, 2 + life * STEPS // given.lives,
                     moments.uniform(0, 1)))
    print(f'life {life + 1} killed after step {ends[-1]}', flush=True)
  finish(start(given.data_dir, killed))
  results = [xr.open_zarr(folder / 'results.zarr').load() for folder in (quiet, killed)]
  (step, one), (other_step, other) = parameters(quiet), parameters(killed)
  same = {'results': results[0].identical(results[1]), 'log': log(quiet) == log(killed),
          'parameters': step == other_step and one.keys() == other.keys() and all(
              np.array_equal(one[name], other[name], equal_nan=True) for name in one)}
  print(f'{given.lives} times killed, {step} steps: ' + ', '.join(
      f'{name} {"identical" if equal else "DIFFER"}' for name, equal in same.items()))
  if given.json:
    given.json.write_text(json.dumps({'killed_after_step': ends, 'steps': step,
                                      'identical': same}, indent=1) + '\n')
  return 0 if all(same.values()) else 1


if __name__ == '__main__':
  sys.exit(main())
