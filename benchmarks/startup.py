"""How long commands take to begin: each in a new process, before and after.

  git worktree add BEFORE 8bb5d6b
  python benchmarks/startup.py [--before BEFORE] [--repeat 5] [--only measure] [--json FILE]

Help and refusals; `measure` at N = 500 with its default measures, `generator`, `decompose` at n =
2,000: the first time (an empty cache of compiled programs) and again. Seconds of wall clock, the
median of several, and seconds of processor, which another load on the machine changes less. The
checkout before has no cache: its first time and its second are the same.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULT = ROOT / 'benchmarks' / 'results' / 'startup_cpu-2-cores.json'
QUICK = ('--help', 'measure --help', 'generator --help', 'decompose --help', 'sweep --help',
         'merge --help', 'advise --help', 'measure x.npy missing.npy',
         'measure x.npy y.npy --measures=none', 'decompose --x1=x1.npy --x2=x2.npy',
         'sweep --config=missing --workdir=w', 'merge missing', 'generator --redundancy=99')
LONG = ('measure x.npy y.npy', 'generator',
        'decompose --x1=x1.npy --x2=x2.npy --y=label.npy')
ENTRY = 'import sys; from mmalign_jax.start import entry; entry()'


def data(folder: pathlib.Path) -> None:
  """Sides of 500 samples that share 8 factors; of 2,000 with a label of four classes."""
  rng = np.random.default_rng(0)
  z = rng.normal(size=(500, 8))
  np.save(folder / 'x.npy', np.hstack([z, rng.normal(size=(500, 24))]).astype(np.float32))
  np.save(folder / 'y.npy', (z @ rng.normal(size=(8, 32)) + rng.normal(size=(500, 32))
                             ).astype(np.float32))
  z = rng.normal(size=(2000, 4))
  np.save(folder / 'label.npy', (z[:, 0] + z[:, 1] > 0) + 2 * (z[:, 2] > 0))
  for name, width in (('x1', 16), ('x2', 12)):
    side = z[:, :width // 4] @ rng.normal(size=(width // 4, width))
    np.save(folder / f'{name}.npy', (side + rng.normal(size=side.shape)).astype(np.float32))


def seconds(checkout: pathlib.Path, line: str, folder: pathlib.Path,
            cache: pathlib.Path) -> tuple[float, float]:
  """(wall clock, processor) of one command in a new process."""
  environment = {name: value for name, value in os.environ.items()
                 if not name.startswith('JAX_')} | {
      'PYTHONPATH': str(checkout), 'MMALIGN_CACHE_DIR': str(cache), 'JAX_PLATFORMS': 'cpu'}
  begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
  subprocess.run([sys.executable, '-c', ENTRY, *line.split()], cwd=folder, env=environment,
                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  return time.perf_counter() - begun, (after.ru_utime + after.ru_stime
                                       - before.ru_utime - before.ru_stime)


def measured(sides: dict[str, pathlib.Path], line: str, repeat: int, first: bool,
             folder: pathlib.Path) -> dict[str, dict[str, float]]:
  """Medians, checkouts in turn: what else the machine does is then the same for all.

  first: each run with a cache of its own, else all of a checkout with one that is filled.
  """
  found = {side: [] for side in sides}
  with tempfile.TemporaryDirectory() as place:
    cache = lambda side, k: pathlib.Path(place) / f'{side}_{k if first else 0}'
    for k in range(repeat + (not first)):
      for side, checkout in sides.items():
        found[side].append(seconds(checkout, line, folder, cache(side, k)))
  made = {}
  for side, both in found.items():
    wall, processor = zip(*both[-repeat:])
    made[side] = {'wall': statistics.median(wall), 'processor': statistics.median(processor)}
  return made


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--before', type=pathlib.Path, help='a checkout of the commit before')
  parser.add_argument('--repeat', type=int, default=5)
  parser.add_argument('--only', default='', help='commands that begin so')
  parser.add_argument('--json', type=pathlib.Path, default=RESULT)
  args = parser.parse_args()
  sides = ({'before': args.before.resolve()} if args.before else {}) | {'after': ROOT}
  rows = []
  print(f'| command | {" | ".join(f"{side}, s (of processor)" for side in sides)} |')
  print('|---' * (1 + len(sides)) + '|')
  with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place)
    data(folder)
    asked = [(line, when) for line in QUICK for when in ('',)] + [
        (line, when) for line in LONG for when in ('first', 'again')]
    for line, when in asked:
      if not line.startswith(args.only):
        continue
      found = measured(sides, line, args.repeat, when == 'first', folder)
      rows.append({'command': line, 'when': when, **found})
      print(f'| `mmalign {line}` {when} | ' + ' | '.join(
          f'{one["wall"]:.2f} ({one["processor"]:.2f})' for one in found.values()) + ' |',
            flush=True)
  args.json.write_text(json.dumps({
      'machine': f'{platform.machine()}, {os.cpu_count()} cores', 'load': os.getloadavg()[0],
      'repeat': args.repeat, 'rows': rows}, indent=1) + '\n')


if __name__ == '__main__':
  main()
