"""What chance gives: raw and calibrated scores and p-values of independent Gaussian features.

  python benchmarks/null_calibration.py [--draws 200] [--permutations 199] [--n 200]

For every measure and width D: mean raw score, mean calibrated score with its standard error, and a
Kolmogorov-Smirnov test that the p-values of the draws are uniform, for one layer a side and for the
best of 6 x 6. p-values of permutations live on a grid of 1 / (P + 1); they are spread over their
own step before the test. A measure with few possible values (recall@1) has p-values that are too
large, not uniform: safe, and marked by the share of permutations that repeat the score.
"""

import argparse
from concurrent import futures
import functools
import json
import os

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # its threads fight with ours

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mmalign_jax.similarity import MEASURES, calibrate

NAMES = ('linear_cka', 'debiased_linear_cka', 'rbf_cka', 'cknna', 'mutual_knn', 'cycle_knn',
         'lcs_knn', 'edit_distance_knn', 'svcca', 'pwcca', 'procrustes', 'rsa', 'recall_xy')
SLOW = ('svcca', 'pwcca', 'procrustes')  # a decomposition for every permutation: one layer only


@functools.partial(jax.jit, static_argnames=('name', 'layers', 'n', 'd', 'permutations'))
def simulate(keys, *, name: str, layers: int, n: int, d: int, permutations: int):
  """score, calibrated, p and the share of ties [draws] of independent features."""
  def one(key):
    of_x, of_y, of_null = jax.random.split(key, 3)
    x, y = (jax.random.normal(k, (layers, n, d)) for k in (of_x, of_y))
    found = calibrate(MEASURES[name], list(x), list(y), key=of_null, permutations=permutations)
    return found.score, found.calibrated, found.p_value, jnp.mean(found.null == found.score)
  return jax.lax.map(one, keys)


def judged(score, calibrated, p, ties, permutations: int) -> dict:
  step = np.random.default_rng(0).uniform(size=p.shape) / (permutations + 1)
  return {
      'raw': float(score.mean()), 'calibrated': float(calibrated.mean()),
      'standard_error': float(calibrated.std(ddof=1) / len(calibrated)**.5),
      'ks_p': float(stats.kstest(p - step, 'uniform').pvalue),
      'share_below_0.05': float(np.mean(p <= .05)), 'ties': float(ties.mean())}


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--draws', type=int, default=200)
  parser.add_argument('--permutations', type=int, default=199)
  parser.add_argument('--n', type=int, default=200)
  parser.add_argument('--widths', type=int, nargs='+', default=[8, 64, 512])
  parser.add_argument('--measures', nargs='+', default=NAMES)
  parser.add_argument('--json', help='file to write the numbers to')
  args = parser.parse_args()
  pool = futures.ThreadPoolExecutor(os.cpu_count())
  rows = []
  print('| measure | layers | D | raw | calibrated | p uniform (KS) | p <= 0.05 | ties |')
  print('|---|---|---|---|---|---|---|---|')
  for name in args.measures:
    for layers in (1,) if name in SLOW else (1, 6):
      for d in args.widths:
        run = functools.partial(simulate, name=name, layers=layers, n=args.n, d=d,
                                permutations=args.permutations)
        keys = jax.random.split(jax.random.key(d + layers), args.draws)
        halves = np.array_split(np.arange(args.draws), os.cpu_count())
        parts = list(pool.map(lambda half: jax.tree.map(np.asarray, run(keys[half])), halves))
        row = judged(*map(np.concatenate, zip(*parts)), args.permutations)
        rows.append({'measure': name, 'layers': layers, 'd': d, **row})
        print(f'| `{name}` | {layers} x {layers} | {d} | {row["raw"]:.3f} | '
              f'{row["calibrated"]:+.4f} +- {row["standard_error"]:.4f} | {row["ks_p"]:.2f} | '
              f'{row["share_below_0.05"]:.3f} | {row["ties"]:.3f} |', flush=True)
  if args.json:
    with open(args.json, 'w', encoding='utf-8') as file:
      json.dump({'draws': args.draws, 'permutations': args.permutations, 'n': args.n,
                 'rows': rows}, file, indent=1)


if __name__ == '__main__':
  main()
