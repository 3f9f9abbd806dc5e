"""Measures of similarity against the formulation of the public PyTorch metric code, in one run.

  python benchmarks/similarity.py [--n 4096] [--d 768] [--k 10] [--repeats 3]
  python benchmarks/similarity.py --scale [--n 50000] [--d 512]
  python benchmarks/similarity.py --null [--n 1000] [--d 128]

The alternative makes N x N products, a full argsort of each row and masks of N x N, and compares
ordered lists one sample at a time, as rows of a NumPy array; it is written here from that
description, on all cores. Beside it stand the same with plain Python lists, which index faster, and
scikit-learn's brute-force neighbours. Ours is timed once compiled; the time to compile is printed,
and the floor: the products of half of all pairs of both sides, at the measured rate of a product.
--scale prints time and peak memory of our own measures at a size where N x N does not fit; --null
the time of 1,000 permutations, compilation included.
"""

import argparse
import json
import platform
import resource
import time

import jax
import numpy as np

from mmalign_jax.similarity import MEASURES, calibrate


def features(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
  """Two noisy views [n, d] of eight factors, rows of norm 1, float32."""
  g = np.random.default_rng(0)
  z = g.standard_normal((n, 8), dtype=np.float32)
  made = []
  for _ in range(2):
    x = z @ g.standard_normal((8, d), dtype=np.float32)
    x += 2 * g.standard_normal((n, d), dtype=np.float32)
    made.append(x / np.linalg.norm(x, axis=1, keepdims=True))
  return made[0], made[1]


# -- the alternative -----------------------------------------------------------------------------


def alternatives(k: int) -> dict:
  """The same measures by N x N products, a full argsort and loops over samples."""
  import torch

  def neighbors(z):
    products = (z @ z.T).fill_diagonal_(-1e8)
    return products.argsort(dim=1, descending=True)[:, :k]

  def mutual(x, y):
    masks = []
    for z in (x, y):
      masks.append(torch.zeros(len(z), len(z)))
      masks[-1][torch.arange(len(z))[:, None], neighbors(z)] = 1.0
    return ((masks[0] * masks[1]).sum(dim=1) / k).mean().item()

  def of_lists(function, convert):
    def measure(x, y):
      lists = [convert(neighbors(z)) for z in (x, y)]
      return float(np.mean([function(a, b) for a, b in zip(*lists)]))
    return measure

  def hsic(a, b):
    n = len(a)
    a, b = a.clone().fill_diagonal_(0), b.clone().fill_diagonal_(0)
    through = 2 * (a @ b).sum() / (n - 2)
    return (a * b.T).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - through

  def debiased(x, y):
    a, b = x @ x.T, y @ y.T
    return (hsic(a, b) / (hsic(a, a) * hsic(b, b)).sqrt()).item()

  similar = lambda a, b: 1 - levenshtein(a, b) / k
  rows, plain = torch.Tensor.numpy, torch.Tensor.tolist
  return {
      'mutual_knn': {'torch': mutual},
      'lcs_knn': {'torch': of_lists(lcs, rows), 'torch, plain lists': of_lists(lcs, plain)},
      'edit_distance_knn': {'torch': of_lists(similar, rows),
                            'torch, plain lists': of_lists(similar, plain)},
      'debiased_linear_cka': {'torch': debiased}}


def lcs(a: list, b: list) -> int:
  best = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
  for i, u in enumerate(a):
    for j, v in enumerate(b):
      best[i + 1][j + 1] = best[i][j] + 1 if u == v else max(best[i][j + 1], best[i + 1][j])
  return best[-1][-1]


def levenshtein(a: list, b: list) -> int:
  row = list(range(len(b) + 1))
  for i, u in enumerate(a):
    last, row = row, [i + 1]
    for j, v in enumerate(b):
      row.append(min(last[j + 1] + 1, row[j] + 1, last[j] + (u != v)))
  return row[-1]


def scikit_learn(k: int) -> dict:
  """Mutual kNN from brute-force neighbours."""
  from sklearn.neighbors import NearestNeighbors

  def mutual(x, y):
    lists = [NearestNeighbors(n_neighbors=k, algorithm='brute', metric='cosine').fit(z)
             .kneighbors(return_distance=False) for z in (x, y)]
    return np.mean([len(np.intersect1d(a, b)) for a, b in zip(*lists)]) / k

  return {'mutual_knn': mutual}


# -- timing --------------------------------------------------------------------------------------


def timed(function, *arguments) -> tuple[float, float]:
  """Seconds and value."""
  start = time.perf_counter()
  value = float(function(*arguments))
  return time.perf_counter() - start, value


def compiled(name: str, k: int, x, y):
  """Our measure, compiled for these shapes, and the seconds that took."""
  measure = MEASURES[name]
  settings = {'k': k} if 'k' in measure.settings else {}
  start = time.perf_counter()
  made = jax.jit(lambda x, y: measure(x, y, **settings)).lower(x, y).compile()
  return made, time.perf_counter() - start


def floor(x) -> float:
  """Seconds for N^2 / 2 products of both sides at the rate of one N x N product."""
  product = jax.jit(lambda x: jax.numpy.dot(x, x.T)).lower(x).compile()
  return min(timed(lambda: product(x).block_until_ready()[0, 0])[0] for _ in range(7))


def compare(n: int, d: int, k: int, repeats: int) -> dict:
  import torch
  x, y = features(n, d)
  on_device = [jax.device_put(z) for z in (x, y)]
  tensors = [torch.from_numpy(z) for z in (x, y)]
  rows = {'floor_seconds': floor(on_device[0])}
  print(f'half of all products of both sides: {rows["floor_seconds"]:.3f} s')
  for name, theirs in alternatives(k).items():
    ours, compiling = compiled(name, k, *on_device)
    ours(*on_device).block_until_ready()
    others = {who: (function, tensors) for who, function in theirs.items()}
    if name in scikit_learn(k):
      others['scikit-learn'] = (scikit_learn(k)[name], (x, y))
    seconds = {who: [] for who in ('ours', *others)}
    values = {}
    for _ in range(repeats):  # in turn, so that a busy moment hits all
      for who, (function, arguments) in {'ours': (ours, on_device), **others}.items():
        found, values[who] = timed(function, *arguments)
        seconds[who].append(found)
    best = {who: min(found) for who, found in seconds.items()}
    rows[name] = {'seconds': best, 'compile_seconds': compiling, 'values': values,
                  'ratio': {who: best[who] / best['ours'] for who in others}}
    print(f'{name:22s} ours {best["ours"]:7.3f} s (compiled in {compiling:.1f} s)', *(
        f'{who} {best[who]:7.3f} s = {best[who] / best["ours"]:.1f} x' for who in others),
          f'largest difference {max(values.values()) - min(values.values()):.1e}', flush=True)
  return rows


def scale(n: int, d: int, k: int) -> dict:
  x, y = (jax.device_put(z) for z in features(n, d))
  rows = {}
  for name in ('linear_cka', 'debiased_linear_cka', 'mutual_knn', 'cknna', 'rbf_cka'):
    ours, compiling = compiled(name, k, x, y)
    seconds, value = timed(ours, x, y)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows[name] = {'seconds': seconds, 'value': value, 'peak_mb_so_far': memory}
    print(f'{name:22s} {seconds:7.1f} s  peak memory of the process so far {memory:.0f} MB  '
          f'value {value:.4f}', flush=True)
  return rows


def null(n: int, d: int, k: int) -> dict:
  x, y = (jax.device_put(z) for z in features(n, d))
  rows = {}
  for name in ('linear_cka', 'debiased_linear_cka', 'mutual_knn', 'cknna', 'rsa', 'rbf_cka'):
    measure = MEASURES[name]
    settings = {'k': k} if 'k' in measure.settings else {}
    start = time.perf_counter()
    made = jax.jit(lambda x, y: calibrate(measure, x, y, key=jax.random.key(0), permutations=1000,
                                          **settings).null_mean)
    made = made.lower(x, y).compile()
    compiling = time.perf_counter() - start
    seconds, _ = timed(made, x, y)
    rows[name] = {'seconds': seconds, 'compile_seconds': compiling}
    print(f'{name:22s} 1,000 permutations {seconds:5.2f} s, compiled in {compiling:.1f} s',
          flush=True)
  return rows


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--n', type=int)
  parser.add_argument('--d', type=int)
  parser.add_argument('--k', type=int, default=10)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--scale', action='store_true')
  parser.add_argument('--null', action='store_true')
  parser.add_argument('--json', help='file to write the numbers to')
  args = parser.parse_args()
  usual = (50000, 512) if args.scale else (1000, 128) if args.null else (4096, 768)
  n, d = args.n or usual[0], args.d or usual[1]
  device = jax.devices()[0]
  print(f'N = {n}, D = {d}, k = {args.k}, {device.device_kind}, jax {jax.__version__}')
  rows = (scale(n, d, args.k) if args.scale else null(n, d, args.k) if args.null else
          compare(n, d, args.k, args.repeats))
  if args.json:
    with open(args.json, 'w', encoding='utf-8') as file:
      json.dump({'n': n, 'd': d, 'k': args.k, 'device': device.device_kind,
                 'machine': platform.machine(), 'jax': jax.__version__, 'rows': rows}, file,
                indent=1)


if __name__ == '__main__':
  main()
