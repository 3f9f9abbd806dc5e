"""Are p-values uniform where samples belong together? Independent sides of 5, 20 and 100 groups.

  python benchmarks/group_nulls.py [--draws 200] [--permutations 199] > table.md

Both sides have a part that a group shares and a part that depends on its own past (AR(1), 0.8); X
and Y are independent. For every measure: a Kolmogorov-Smirnov test of the p-values of the draws,
the share at or below 0.05, and that share where single samples are permuted as if independent.
p-values are discrete (5 groups have 120 arrangements; recall few values), which the test does not
know: it is given (number above + U (1 + number equal)) / (1 + P) with U uniform, which is exactly
uniform where the null is right. The shares are of p as it is printed.
"""

import argparse
import os

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # its threads fight with ours

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from mmalign_jax.similarity import MEASURES, calibrate

NAMES = ('debiased_linear_cka', 'mutual_knn', 'rsa', 'recall_xy', 'modality_gap')
WIDTH = 6
SIZES = {
    ('5', 'equal'): [8] * 5, ('5', 'unequal'): [5, 6, 8, 10, 14],
    ('20', 'equal'): [5] * 20, ('20', 'unequal'): [2, 3, 3, 4, 4, 4, 5, 5, 5, 5] * 2,
    ('100', 'equal'): [2] * 100, ('100', 'unequal'): [1, 1, 2, 3, 4] * 20}


def side(g: np.random.Generator, groups: np.ndarray, draws: int) -> np.ndarray:
  """[draws, N, WIDTH]: what a group shares, and an autoregression within it."""
  shared = g.normal(size=(draws, groups.max() + 1, WIDTH))[:, groups]
  z = g.normal(size=(draws, len(groups), WIDTH))
  for i in np.flatnonzero(np.diff(groups, prepend=-1) == 0):
    z[:, i] = 0.8 * z[:, i - 1] + 0.6 * z[:, i]
  return jnp.float32(0.7 * shared + 0.7 * z)


def simulated(name: str, groups: np.ndarray, own: np.ndarray | None, draws: int,
              permutations: int):
  """p as printed [draws], p for the test [draws], and the number of arrangements used."""
  g = np.random.default_rng([len(groups), NAMES.index(name)])
  x, y = side(g, groups, draws), side(g, groups, draws)
  settings = {'k': 5} if 'k' in MEASURES[name].settings else {}
  def one(arguments):
    key, x, y = arguments
    found = calibrate(MEASURES[name], x, y, key=key, permutations=permutations, groups=own,
                      **settings)
    return found.p_value, found.tested, found.null
  keys = jax.random.split(jax.random.key(0), draws)
  p, tested, null = map(np.asarray, jax.jit(lambda *a: jax.lax.map(one, a))(keys, x, y))
  near = 1e-5 * np.maximum(np.abs(tested), np.abs(null).max(axis=1))[:, None]
  above = (null > tested[:, None] + near).sum(axis=1)
  equal = (np.abs(null - tested[:, None]) <= near).sum(axis=1)
  spread = (above + g.uniform(size=draws) * (1 + equal)) / (1 + null.shape[1])
  return p, spread, 1 + null.shape[1]


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--draws', type=int, default=200)
  parser.add_argument('--permutations', type=int, default=199)
  parser.add_argument('--measures', nargs='+', choices=NAMES, default=NAMES)
  args = parser.parse_args()
  print('| groups | sizes | measure | arrangements used | p uniform (KS) | p <= 0.05 | p <= 0.05 '
        'where samples are permuted |\n|---|---|---|---|---|---|---|')
  for (count, kind), sizes in SIZES.items():
    groups = np.repeat(np.arange(len(sizes)), sizes)
    said = f'{sizes[0]}' if kind == 'equal' else f'{min(sizes)} to {max(sizes)}'
    for name in args.measures:
      p, spread, used = simulated(name, groups, groups, args.draws, args.permutations)
      naive = '' if kind != 'equal' else '{:.3f}'.format(
          np.mean(simulated(name, groups, None, args.draws, args.permutations)[0] <= 0.05))
      print(f'| {count} | {said} | `{name}` | {used} | {stats.kstest(spread, "uniform").pvalue:.2f}'
            f' | {np.mean(p <= 0.05):.3f} | {naive} |', flush=True)


if __name__ == '__main__':
  main()
