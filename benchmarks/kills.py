"""Kills studies at random moments, fills their disk and takes their file descriptors away.

  python benchmarks/kills.py --workdir=DIR [--kills 100] [--seed 7] [--data_dir DATA] [--json FILE]

Every command (a sweep of each kind, a merge, a training, an advice) first runs undisturbed, then is
killed again and again: after a random part of the time that took, or as a file is seen to be
written; by SIGKILL mostly, else by SIGTERM or SIGINT, which must end in one line. The same command
goes on each time until it is done, and begins anew until its share of the kills is used up. Its
results and its summary, of a training log and parameters, of an advice page and encoders, must be
those of the undisturbed run to the last bit.
Then each runs on a disk that is too small (as root: a tmpfs; others skip it), and with 64 and with
8 descriptors from some moment on: one line that says what is safe, and after that the same command,
with room again, must come to the same end. Exit status: 1 where anything differs.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIGNALS = [signal.SIGKILL] * 8 + [signal.SIGTERM, signal.SIGINT]
LONGEST = 600  # seconds that a life may take
SWEEPS = {  # configuration: settings
    'strength': dict(seed=tuple(range(6)), chunk=1, workers=2),  # 24 files
    'emergence': dict(unique=(0, 8), transform_depth=(1, 2, 3, 4), depth=(1,), bands=((1, 1),),
                      n_train=256, n_validation=64, batch_size=32, n_align=24, neighbors=4,
                      permutations=9, resamples=50),
    'paired': dict(seed=tuple(range(4)), chunk=1)}
TRAIN = dict(epochs=12, checkpoint_every=3, log_every=1, drop_last=False)
SMALL_FILES = dict(train_size=48, test_size=32, batch_size=8, n_align=16, neighbors=4)
ADVICE = dict(rows=120, effort=0)
REAL_FILES = dict(train_size=500)


class Case:
  """A command that works in a folder.

  Attributes:
    name: of it. seconds: that an undisturbed run took. size: bytes of its folder then.
  """

  def __init__(self, name: str, base: pathlib.Path, data_dir: str, settings: dict):
    self.name, self.quiet, self.seconds, self.size = name, base / name / 'quiet', 0.0, 0
    self._base, self._data_dir, self._settings = base, data_dir, settings

  def command(self, folder: pathlib.Path) -> list[str]:
    flags = [f'--config.{k}={v}' for k, v in self._settings.items()]
    if self.name == 'merge':
      shards = [str(self._base / 'merge' / f'shard_{i}') for i in (1, 2)]
      return ['-m', 'mmalign_jax.cli', 'merge', *shards, f'--workdir={folder}', '--nofigures']
    if self.name == 'train':
      return [str(ROOT / 'launch/train.py'), f'--config={ROOT}/configs/avmnist.py:tiny',
              '--nofigures', f'--data_dir={self._data_dir}', f'--workdir={folder}',
              f'--prepared_dir={folder}/prepared', *flags]
    if self.name == 'advise':
      return ['-m', 'mmalign_jax.cli', 'advise', str(self._base / 'advise.npz'),
              f'--workdir={folder}', *(f'--{k}={v}' for k, v in self._settings.items())]
    return ['-m', 'mmalign_jax.cli', 'sweep', f'--config={ROOT}/configs/{self.name}.py:tiny',
            '--nofigures', f'--workdir={folder}', *flags]

  def start(self, folder: pathlib.Path, *more: str, descriptors: int = 0) -> subprocess.Popen:
    """A life; with `descriptors`, of no more than those from its beginning."""
    environment = os.environ | {
        'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu',
        'JAX_COMPILATION_CACHE_DIR': str(self._base / 'compiled'),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}
    before = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
              ) if descriptors else None
    return subprocess.Popen(
        [sys.executable, *self.command(folder), *more], env=environment, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=before)

  def run_quietly(self) -> None:
    if self.name == 'merge':
      sweep = Case('strength', self._base, '', SWEEPS['strength'])
      for i in (1, 2):
        finish(sweep.start(self._base / 'merge' / f'shard_{i}', f'--shard={i}/2'))
    begun = time.monotonic()
    finish(self.start(self.quiet))
    self.seconds, self.size = time.monotonic() - begun, bytes_of(self.quiet)

  def same(self, folder: pathlib.Path) -> dict[str, bool]:
    """By what is compared, whether it is that of the undisturbed run."""
    if self.name == 'advise':
      return self._same_advice(folder)
    import xarray as xr
    one, other = (xr.open_zarr(f / 'results.zarr').load() for f in (self.quiet, folder))
    found = {'results': one.identical(other), 'summary': self._equal(folder, 'summary.json'),
             'nothing damaged': not list(folder.rglob('*.damaged*'))}
    if self.name == 'train':
      found['log'] = log(self.quiet) == log(folder)
      (step, one), (other_step, other) = parameters(self.quiet), parameters(folder)
      found['parameters'] = step == other_step and one.keys() == other.keys() and all(
          np.array_equal(one[k], other[k], equal_nan=True) for k in one)
    return found

  def _same_advice(self, folder: pathlib.Path) -> dict[str, bool]:
    """Every file but logs of time: steps hold the seconds that they took."""
    results = lambda at: {str(path.relative_to(at)): path.read_bytes() for path in sorted(
        at.rglob('*')) if path.is_file() and {'steps', 'rounds'}.isdisjoint(
            path.relative_to(at).parts)}
    one, other = results(self.quiet), results(folder)
    encoders = lambda of: {name: v for name, v in of.items() if 'encoders' in name}
    return {'summary': self._equal(folder, 'summary.json'),
            'report': self._equal(folder, 'report.html'),
            'encoders': encoders(one) == encoders(other) != {},
            'no other files': one.keys() == other.keys()}

  def _equal(self, folder: pathlib.Path, name: str) -> bool:
    return (folder / name).read_bytes() == (self.quiet / name).read_bytes()


def bytes_of(folder: pathlib.Path) -> int:
  return sum(path.stat().st_blocks * 512 for path in folder.rglob('*') if path.is_file())


def finish(process: subprocess.Popen) -> None:
  error = process.communicate(timeout=LONGEST)[1]
  if process.returncode:
    sys.exit(f'a run ended with status {process.returncode}: {error[-2000:]}')


def log(folder: pathlib.Path) -> list[dict]:
  """Lines of the metrics without how fast they came."""
  return [{k: v for k, v in json.loads(line).items() if k != 'samples_per_second'}
          for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def parameters(folder: pathlib.Path) -> tuple[int, dict[str, np.ndarray]]:
  """Step and arrays of the newest checkpoint."""
  import orbax.checkpoint as ocp
  place = (folder / 'checkpoints').resolve()
  step = max(int(path.name) for path in place.iterdir() if path.name.isdigit())
  return step, ocp.PyTreeCheckpointer().restore(place / str(step) / 'state')


def said(error: str) -> str:
  """The one line that a user is told at the end; notes and bars of progress are no part of it."""
  lines = [line for line in error.replace('\r', '\n').splitlines() if line.strip()]
  if any(line.startswith('Traceback') for line in lines):
    sys.exit(f'a traceback:\n{error[-3000:]}')
  return lines[-1] if lines else ''


# -- kills -----------------------------------------------------------------------------------------


def kill(case: Case, folder: pathlib.Path, moments: random.Random) -> dict | None:
  """One life; what ended it, None where it came to its own end first."""
  process, begun, how = case.start(folder), time.monotonic(), moments.choice(SIGNALS)
  on_write = moments.random() < 0.5
  latest = begun + moments.uniform(0.1, 1) * case.seconds
  seen = None
  while process.poll() is None and time.monotonic() < latest:
    if on_write:
      now = sum(1 for _ in folder.rglob('*'))
      if seen is not None and now != seen and moments.random() < 0.3:
        time.sleep(moments.uniform(0, 0.005))
        break
      seen = now
    time.sleep(0.002)
  if process.poll() is None:
    process.send_signal(how)
  error = process.communicate(timeout=LONGEST)[1]
  if process.returncode == 0:
    return None
  expected = {signal.SIGKILL: (-9,)}.get(how, (130, -how))  # -how: before Python had begun
  if process.returncode not in expected:
    sys.exit(f'{case.name} ended with status {process.returncode}, not {expected}:\n{error}')
  if process.returncode == 130 and 'stopped' not in said(error):
    sys.exit(f'{case.name}: {said(error)}')
  if case.name == 'advise' and process.returncode == 130 and (folder / 'steps').exists():
    known = json.loads((folder / 'summary.json').read_text())
    if known['steps'].keys() < {path.stem for path in (folder / 'steps').glob('*.json')}:
      sys.exit(f'advise: its report lacks what is known: {list(known["steps"])}')
  return {'signal': how.name, 'after_seconds': round(time.monotonic() - begun, 2),
          'on_write': on_write}


def kills(case: Case, wanted: int, moments: random.Random) -> dict:
  """Kills a case `wanted` times, over as many whole runs as that takes."""
  folder, found, same = case.quiet.parent / 'killed', [], []
  while len(found) < wanted:
    shutil.rmtree(folder, ignore_errors=True)
    while len(found) < wanted:
      one = kill(case, folder, moments)
      if one is None:
        break
      found.append(one)
      print(f'{case.name}: kill {len(found)} of {wanted}, {one}', flush=True)
    else:
      finish(case.start(folder))
    same.append(case.same(folder))
  names = [one['signal'] for one in found]
  return {'kills': len(found), 'signals': {name: names.count(name) for name in sorted(set(names))},
          'whole_runs': len(same), 'quiet_seconds': round(case.seconds, 1),
          'litter': sorted({path.suffix for path in folder.rglob('*.part')}),
          'identical': {key: all(one[key] for one in same) for key in same[0]}}


# -- a machine that refuses ------------------------------------------------------------------------


def full_disk(case: Case, share: float) -> dict:
  """A disk of `share` of what the run needs, and then of enough."""
  folder = case.quiet.parent / 'disk'
  folder.mkdir(exist_ok=True)
  size = max(64, int(case.size * share) // 1024)
  subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}k', 'none', str(folder)], check=True)
  try:
    process = case.start(folder / 'run')
    error = said(process.communicate(timeout=LONGEST)[1])
    status = process.returncode
    subprocess.run(['mount', '-o', 'remount,size=1g', str(folder)], check=True)
    finish(case.start(folder / 'run'))
    return {'share': share, 'status': status, 'said': error.replace(str(case.quiet.parent), ''),
            'identical': case.same(folder / 'run')}
  finally:
    subprocess.run(['umount', str(folder)], check=True)


def descriptors(case: Case, least: int, at: float) -> dict:
  """No more than `least` from the share `at` of the run on: 0 is from its beginning."""
  folder = case.quiet.parent / 'descriptors'
  shutil.rmtree(folder, ignore_errors=True)
  process = case.start(folder, descriptors=0 if at else least)
  begun = time.monotonic()
  while at and process.poll() is None and time.monotonic() < begun + at * case.seconds:
    time.sleep(0.005)
  if at and process.poll() is None:
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (least, least))
  error = process.communicate(timeout=LONGEST)[1]
  status, line = process.returncode, said(error)
  finish(case.start(folder))
  return {'descriptors': least, 'from': at, 'status': status,
          'said': line.replace(str(case.quiet.parent), '') if status else '',
          'identical': case.same(folder)}


def small_files(folder: pathlib.Path) -> str:
  sys.path.insert(0, str(ROOT / 'tests'))
  import digit_files
  if not folder.exists():
    digit_files.write_sources(folder)
  return str(folder)


def advice_file(path: pathlib.Path) -> None:
  """Two views that share two of three directions with a label of three classes."""
  g, n = np.random.default_rng(0), ADVICE['rows']
  y = g.integers(3, size=n)
  z = g.normal(size=(3, 3))[y] + 0.7 * g.normal(size=(n, 3))
  x1, x2 = (z[:, k:k + 2] @ g.normal(size=(2, 8)) + g.normal(size=(n, 8)) for k in (0, 1))
  np.savez(path, x1=x1, x2=x2, y=y)


def cases(base: pathlib.Path, data_dir: str | None) -> dict[str, Case]:
  train = TRAIN | (REAL_FILES if data_dir else SMALL_FILES)
  made = {name: Case(name, base, '', settings) for name, settings in SWEEPS.items()}
  advice_file(base / 'advise.npz')
  return made | {'merge': Case('merge', base, '', {}),
                 'advise': Case('advise', base, '', {'effort': ADVICE['effort']}),
                 'train': Case('train', base, data_dir or small_files(base / 'digits'), train)}


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', required=True, type=pathlib.Path)
  parser.add_argument('--data_dir', help='mnist/ and fsdd/; small made ones without it')
  parser.add_argument('--kills', type=int, default=100)
  parser.add_argument('--only', default='strength,emergence,paired,merge,train,advise')
  parser.add_argument('--only_kills', action='store_true', help='no full disk, all descriptors')
  parser.add_argument('--seed', type=int, default=7)
  parser.add_argument('--json', type=pathlib.Path)
  given = parser.parse_args()
  base, record = given.workdir.resolve(), {}
  base.mkdir(parents=True, exist_ok=True)
  chosen = [case for name, case in cases(base, given.data_dir).items()
            if name in given.only.split(',')]
  for i, case in enumerate(chosen):
    shutil.rmtree(case.quiet.parent, ignore_errors=True)
    case.run_quietly()
    share = given.kills * (i + 1) // len(chosen) - given.kills * i // len(chosen)
    moments = random.Random(f'{given.seed} {case.name}')  # a case alone has those it has among all
    found = kills(case, share, moments) if share else {}
    if os.getuid() == 0 and not given.only_kills:
      found['full_disk'] = [full_disk(case, s) for s in (0.4, 0.9)]
    found['descriptors'] = [] if given.only_kills else [
        descriptors(case, 64, 0), descriptors(case, 64, 0.5), descriptors(case, 8, 0.6)]
    record[case.name] = found
    print(json.dumps({case.name: found}), flush=True)
  equal = [v for found in record.values() for one in (
      found, *found.get('full_disk', ()), *found['descriptors'])
      for v in one.get('identical', {}).values()]
  total = sum(found.get('kills', 0) for found in record.values())
  print(f'{total} kills: ' + ('all identical' if all(equal) else 'SOMETHING DIFFERS'))
  if given.json:
    given.json.write_text(json.dumps({
        'kills': total, 'data': 'real' if given.data_dir else 'made', 'seed': given.seed,
        **record}, indent=1) + '\n')
  return 0 if all(equal) else 1


if __name__ == '__main__':
  sys.exit(main())
