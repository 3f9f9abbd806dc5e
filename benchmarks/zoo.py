"""A zoo of models against the public formulation of the same, in one run.

  python benchmarks/zoo.py [--models 4] [--layers 3] [--n 1024] [--d 768] [--permutations 20]
  python benchmarks/zoo.py --whole [--models 100] [--layers 12] [--permutations 200] [--memory 3.2]

The alternative goes through pairs of layers, as public code does: for each N x N products, a full
argsort of each row and masks for mutual kNN, N x N Gram matrices for debiased CKA, and all of it
again for every permutation; a sample of its pairs and permutations is timed, and the rest is their
multiple. Ours is the whole of `mmalign zoo` (files read, prepared, compared, calibrated, written)
without intervals and map. Seconds are wall time and, since the machine may be shared, CPU time.
--whole runs ours alone, at any size, and says its peak memory; files go to --folder.
"""

import argparse
from collections.abc import Iterator
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

import numpy as np


def features(models: int, layers: int, n: int, d: int, side: int) -> Iterator[np.ndarray]:
  """Models [layers, n, d] f16 that share eight factors, each noisier than the last."""
  shared = np.random.default_rng(0).standard_normal((n, 8), dtype=np.float32)
  g = np.random.default_rng(1 + side)
  for i in range(models):
    z = shared @ g.standard_normal((layers, 8, d), dtype=np.float32)
    yield (z + (2 + 6 * i / models) * g.standard_normal((layers, n, d), dtype=np.float32)).astype(
        np.float16)


def write(folder: pathlib.Path, args) -> None:
  for number, side in enumerate(('left', 'right')):
    (folder / side).mkdir(parents=True)
    for i, z in enumerate(features(args.models, args.layers, args.n, args.d, number)):
      np.save(folder / side / f'm{i}.npy', z)


# -- the public formulation ------------------------------------------------------------------------


def neighbors(z: np.ndarray, k: int) -> np.ndarray:
  z = z / np.linalg.norm(z, axis=1, keepdims=True)
  products = z @ z.T
  np.fill_diagonal(products, -1e8)
  return np.argsort(-products, axis=1)[:, :k]


def mutual(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
  masks = []
  for z in (x, y):
    masks.append(np.zeros((len(z), len(z)), np.float32))
    masks[-1][np.arange(len(z))[:, None], neighbors(z, k)] = 1
  return float((masks[0] * masks[1]).sum(axis=1).mean() / k)


def hsic(a: np.ndarray, b: np.ndarray) -> float:
  n = len(a)
  a, b = a.copy(), b.copy()
  np.fill_diagonal(a, 0)
  np.fill_diagonal(b, 0)
  return (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a @ b).sum() / (n - 2)


def cka(x: np.ndarray, y: np.ndarray) -> float:
  a, b = x @ x.T, y @ y.T
  return float(hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b)))


def alternative(x: np.ndarray, y: np.ndarray, permutations: int) -> dict[str, float]:
  """Seconds, wall and CPU, of both measures on one pair of layers and some permutations of it."""
  g = np.random.default_rng(0)
  start = time.perf_counter(), time.process_time()
  for p in range(1 + permutations):
    z = y if p == 0 else y[g.permutation(len(y))]
    mutual(x, z)
    cka(x, z)
  return {'wall': time.perf_counter() - start[0], 'cpu': time.process_time() - start[1]}


# -- ours ------------------------------------------------------------------------------------------


def ours(folder: pathlib.Path, args) -> dict:
  """Seconds and peak memory of the command, in a process of its own."""
  code = ('import resource, sys\nfrom mmalign_jax.cli import main\nstatus = main(sys.argv[1:])\n'
          'u = resource.getrusage(resource.RUSAGE_SELF)\n'
          'print("USED", u.ru_utime + u.ru_stime, u.ru_maxrss, file=sys.stderr)\n'
          'sys.exit(status)')
  argv = ['zoo', f'--left={folder}/left', f'--right={folder}/right', f'--workdir={folder}/zoo',
          f'--null={args.permutations}', '--bootstrap=0', '--nomap', '--nofigures',
          f'--memory={args.memory}']
  start = time.perf_counter()
  found = subprocess.run([sys.executable, '-c', code, *argv], capture_output=True, text=True,
                         check=True, env=os.environ | {'OPENBLAS_NUM_THREADS': '2'})
  wall = time.perf_counter() - start
  used = next(line for line in found.stderr.splitlines() if line.startswith('USED')).split()
  return {'wall': wall, 'cpu': float(used[1]), 'peak_gib': float(used[2]) / 2**20}


def rate() -> float:
  """Float32 operations a second of a product like ours, in GFLOP/s of CPU time."""
  a, b = (np.random.default_rng(i).random((1200, 4096), np.float32) for i in (0, 1))
  a @ b.T
  start = time.process_time()
  for _ in range(5):
    a @ b.T
  return 5 * 2 * 1200 * 1200 * 4096 / (time.process_time() - start) / 1e9


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--whole', action='store_true')
  for name, value in (('--models', 4), ('--layers', 3), ('--n', 1024), ('--d', 768),
                      ('--permutations', 20), ('--sampled', 3)):
    parser.add_argument(name, type=int, default=value)
  parser.add_argument('--memory', type=float, default=3.2)
  parser.add_argument('--folder', help='for files of features (a temporary one)')
  args = parser.parse_args()
  with tempfile.TemporaryDirectory(dir=args.folder) as name:
    folder = pathlib.Path(name)
    write(folder, args)
    made = {'machine': platform.processor() or platform.machine(), 'cores': os.cpu_count(),
            'load': os.getloadavg()[0], 'gflops_a_core': rate(),
            **{k: getattr(args, k) for k in ('models', 'layers', 'n', 'd', 'permutations',
                                             'memory')},
            'ours': ours(folder, args)}
    products = (args.models * args.layers) ** 2 * args.permutations
    made['product_flop'] = products * args.n * (args.n + 1)
    if not args.whole:
      x, y = (np.load(folder / side / 'm0.npy')[0].astype(np.float32) for side in ('left', 'right'))
      one = alternative(x, y, args.sampled)
      pairs = (args.models * args.layers) ** 2
      made['alternative'] = {
          'timed_comparisons': 1 + args.sampled,
          **{k: v / (1 + args.sampled) * pairs * (1 + args.permutations) for k, v in one.items()}}
      made['ratio'] = {k: made['alternative'][k] / made['ours'][k] for k in ('wall', 'cpu')}
  print(json.dumps(made, indent=1))


if __name__ == '__main__':
  main()
