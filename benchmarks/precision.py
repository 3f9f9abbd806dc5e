"""What float64 decisions cost: measures of an older checkout and of this one, interleaved.

  git worktree add /tmp/older COMMIT
  python benchmarks/precision.py --older=/tmp/older [--n 4096] [--d 768] [--repeats 3]

Each checkout runs in a process of its own, and they take turns: a measure of the one, then of the
other, `repeats` times, once compiled. Features are noisy views of eight factors, float32. Seconds
are those of the processor (all threads), which a busy machine changes least, and of the clock; the
ratios are of the fastest of each.
"""

import argparse
import functools
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MEASURES = {
    'mutual_knn cosine': ('mutual_knn', {}),
    'mutual_knn euclidean': ('mutual_knn', {'metric': 'euclidean'}),
    'cknna': ('cknna', {}),
    'rsa': ('rsa', {}),
    'recall_xy': ('recall_xy', {}),
    'median_rank_xy': ('median_rank_xy', {}),
    'rbf_cka': ('rbf_cka', {}),
    'linear_cka': ('linear_cka', {}),
}


def views(n: int, d: int):
  """Two noisy views [n, d] f32 of eight factors."""
  import numpy as np
  g = np.random.default_rng(0)
  z = g.standard_normal((n, 8), dtype=np.float32)
  return [z @ g.standard_normal((8, d), dtype=np.float32)
          + 2 * g.standard_normal((n, d), dtype=np.float32) for _ in 'xy']


def work(n: int, d: int) -> None:
  """Answers every name on a line of the input with value, processor and clock seconds."""
  import jax

  from mmalign_jax.similarity import MEASURES as entries
  x, y = views(n, d)
  programs = {}
  for line in sys.stdin:
    name, settings = MEASURES[line.strip()]
    key = line.strip()
    if key not in programs:
      programs[key] = jax.jit(functools.partial(entries[name], **settings))
      float(programs[key](x, y))
    clock, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    value = float(programs[key](x, y))
    now = resource.getrusage(resource.RUSAGE_SELF)
    spent = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    print(json.dumps([value, spent, time.perf_counter() - clock]), flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--older', required=True)
  parser.add_argument('--n', type=int, default=4096)
  parser.add_argument('--d', type=int, default=768)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--names', default=','.join(MEASURES))
  args = parser.parse_args()
  started = {}
  for which, folder in (('older', args.older), ('this', str(ROOT))):
    environment = os.environ | {'PYTHONPATH': folder}
    started[which] = subprocess.Popen(
        [sys.executable, '-c',
         f'import sys; sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r}); '
         f'sys.path.insert(0, {folder!r}); import precision; precision.work({args.n}, {args.d})'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder)
  found = {}
  for name in args.names.split(','):
    times = {which: [] for which in started}
    for _ in range(args.repeats):
      for which, process in started.items():
        process.stdin.write(name + '\n')
        process.stdin.flush()
        times[which].append(json.loads(process.stdout.readline()))
    entry = {which: dict(value=rows[0][0], processor=min(r[1] for r in rows),
                         clock=min(r[2] for r in rows)) for which, rows in times.items()}
    entry['ratio'] = entry['this']['processor'] / entry['older']['processor']
    found[name] = entry
    print(f'{name:22} {entry["older"]["processor"]:7.2f} s {entry["this"]["processor"]:7.2f} s  '
          f'{entry["ratio"]:.2f}   {entry["older"]["value"]:.6f} {entry["this"]["value"]:.6f}',
          file=sys.stderr, flush=True)
  for process in started.values():
    process.stdin.close()
    process.wait()
  print(json.dumps({'n': args.n, 'd': args.d, 'cores': os.cpu_count(),
                    'machine': platform.machine(), 'measures': found}, indent=1))


if __name__ == '__main__':
  main()
