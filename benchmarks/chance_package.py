"""Chance and the best of many layers, beside the package calibrated-similarity (arXiv 2602.14486).

  pip install calibrated-similarity torch
  python benchmarks/chance_package.py [--samples 256] [--permutations 200] [--json FILE]

Two sides of three and two layers: of one latent, and of nothing shared. The package is given our
permutations, and linear CKA and mutual kNN written in torch; so what it and `similarity.calibrate`
both offer must be equal: the best value over pairs of layers, its p-value with the best taken
inside each permutation, and the 95 % threshold of null and observed value. Its calibrated score is
of that threshold, ours of the null's mean, so that is not compared. Exit status: 1 where they
differ, 2 without the package.
"""

import argparse
import importlib.metadata
import json
import math
import pathlib
import sys
import time

import jax
import numpy as np

from mmalign_jax import similarity
from mmalign_jax.similarity import arrangements

try:
  from calibrated_similarity import calibrate_layers
  import torch
except ImportError:
  print('calibrated-similarity is missing: pip install calibrated-similarity torch')
  sys.exit(2)

K, TOLERANCE = 10, 1e-5
COMPARED = ('score', 'p_value', 'threshold')


def cka(x, y):
  """Linear CKA of x, y [N, D]."""
  x, y = x - x.mean(0), y - y.mean(0)
  norm = lambda a, b: (a.T @ b).square().sum()
  return norm(x, y) / (norm(x, x) * norm(y, y)).sqrt()


def mutual_knn(x, y):
  """Share of common neighbours by cosine, of K."""
  def near(z):
    z = z / z.norm(dim=1, keepdim=True)
    close = z @ z.T
    close.fill_diagonal_(-math.inf)
    chosen = torch.zeros_like(close)
    return chosen.scatter_(1, close.topk(K, dim=1).indices, 1.0)
  return (near(x) * near(y)).sum() / (K * len(x))


def sides(n: int, shared: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
  """Layers [n, D] of both sides."""
  g = np.random.default_rng(0)
  z = [g.standard_normal((n, 8))] * 2 if shared else list(g.standard_normal((2, n, 8)))
  make = lambda z, d: (np.tanh(z @ g.standard_normal((8, d)))
                       + 2 * g.standard_normal((n, d))).astype(np.float32)
  return [make(z[0], d) for d in (16, 32, 64)], [make(z[1], d) for d in (24, 48)]


def compared(name: str, function, x, y, permutations: int) -> dict:
  """Both, with seconds."""
  key = jax.random.key(0)
  measure, settings = similarity.MEASURES[name], {} if name == 'linear_cka' else {'k': K}
  run = jax.jit(lambda x, y: similarity.calibrate(
      measure, x, y, key=key, permutations=permutations, **settings))
  jax.block_until_ready(run(x, y))
  start = time.perf_counter()
  ours = jax.block_until_ready(run(x, y))
  seconds = time.perf_counter() - start
  combined = np.sort(np.append(np.asarray(ours.null), ours.score))
  threshold = combined[math.ceil(0.95 * (permutations + 1)) - 1]

  draws, order = arrangements.pairings(key, permutations, len(x[0]), None)
  orders = iter(np.asarray(jax.vmap(order)(draws)))
  seen = []
  def recorded(values):
    seen.append(float(values.max()))
    return values.max()
  start = time.perf_counter()
  _, p_value, tau = calibrate_layers(
      *([torch.from_numpy(z) for z in side] for side in (x, y)), function, agg=recorded,
      K=permutations, perm_fn=lambda n, device: torch.from_numpy(next(orders).astype(np.int64)))
  theirs = time.perf_counter() - start
  return dict(score=(float(ours.score), seen[0]), p_value=(float(ours.p_value), float(p_value)),
              threshold=(float(threshold), float(tau)), seconds=(seconds, theirs),
              ratio=theirs / seconds)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
  parser.add_argument('--samples', type=int, default=256)
  parser.add_argument('--permutations', type=int, default=200)
  parser.add_argument('--json', type=pathlib.Path)
  args = parser.parse_args()
  found, worst = {}, 0.0
  print('measure      sides      score            p-value          95 % threshold    seconds')
  for name, function in (('linear_cka', cka), ('mutual_knn', mutual_knn)):
    for shared in (True, False):
      one = compared(name, function, *sides(args.samples, shared), args.permutations)
      found[f'{name}, {"one latent" if shared else "nothing shared"}'] = one
      worst = max(worst, *(abs(a - b) for a, b in map(one.get, COMPARED)))
      print(f'{name:12} {"one latent" if shared else "nothing":10} ' + '  '.join(
          '{:.5f} {:.5f}'.format(*one[key]) for key in COMPARED)
          + '  {0:.3f} {1:.3f} ({2:.0f} x)'.format(*one['seconds'], one['ratio']))
  print(f'ours first, the package second; the largest difference is {worst:.1e}, tolerance '
        f'{TOLERANCE}')
  if args.json:
    version = importlib.metadata.version('calibrated-similarity')
    args.json.write_text(json.dumps(dict(
        version=version, samples=args.samples, permutations=args.permutations, found=found,
        difference=worst), indent=1) + '\n')
  return int(worst > TOLERANCE)


if __name__ == '__main__':
  sys.exit(main())
