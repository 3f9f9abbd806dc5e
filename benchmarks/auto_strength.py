"""lam_mode=auto against a grid of strengths: the regret over settings drawn at random.

  python benchmarks/auto_strength.py [--settings=50] [--seeds=5] [--json=FILE]

Every setting is a draw of what there is to share, how many samples there are and how hard they are,
of the generators `bits` and `atoms` in turn (InfoNCE, 3 x 12, 600 steps, exact accuracy, the mean
of both encoders). regret: accuracy at the best of 11 strengths, 0 to 2, minus that of one training
a seed with lam_mode=auto, lam=1. `best` is the highest mean over the seeds that are judged, which
flatters the grid; `fitted` chooses for every seed by the others. Beside it the regret of always
lam=0, 0.4 and 1. In points.
"""

import argparse
import dataclasses
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax import Hyper, Spec  # noqa: E402
from mmalign_jax.reports.statistics import median  # noqa: E402
from mmalign_jax.studies.strength.optimum import cross_fitted  # noqa: E402
from mmalign_jax.training.sweep import run_sweep, stack  # noqa: E402
from mmalign_jax.types import LAM_MODES  # noqa: E402

LAM = np.round(np.linspace(0, 2, 11), 1)
ALWAYS = (0.0, 0.4, 1.0)


def drawn(generator: str, g: np.random.Generator) -> dict[str, float]:
  """One setting."""
  n_train = int(g.choice([256, 512, 1024, 2048]))
  if generator == 'bits':
    return {'redundancy': int(g.integers(0, 9)), 'level': int(g.integers(0, 5)), 'n_train': n_train}
  atoms = g.dirichlet(np.ones(4)) * g.uniform(0.3, 0.69)
  return {'n_train': n_train, **{name: float(value) for name, value in zip(
      ('redundancy', 'unique_1', 'unique_2', 'synergy'), atoms)}}


def trained(generator: str, settings: list[dict], seeds: int, lam: np.ndarray,
            mode: str) -> np.ndarray:
  """Accuracy [settings, L, S], the mean of both encoders."""
  columns = {name: np.repeat([s[name] for s in settings], len(lam) * seeds) for name in settings[0]}
  n = len(settings) * len(lam) * seeds
  hypers = Hyper(lam=np.tile(np.repeat(lam, seeds), len(settings)),
                 seed=np.tile(np.arange(seeds), len(settings) * len(lam)), **columns)
  if mode != 'weight':
    hypers = dataclasses.replace(hypers, lam_mode=float(LAM_MODES.index(mode)))
  cells = run_sweep(Spec(generator=generator, max_train=2048), stack(hypers, n), workers=2)
  both = np.mean([side.accuracy for side in cells.sides], axis=0)
  return both.reshape(len(settings), len(lam), seeds)


def regrets(grid: np.ndarray, auto: np.ndarray) -> dict[str, np.ndarray]:
  """{what: regret [settings] in points} of accuracies grid [settings, L, S], auto [settings, S]."""
  mean = grid.mean(axis=2)
  best = mean.max(axis=1)
  fitted = np.array([(one[0] + cross_fitted(one[:, :, None])[:, 0]).mean() for one in grid])
  found = {'auto, best': best - auto.mean(axis=1), 'auto, fitted': fitted - auto.mean(axis=1)}
  for lam in ALWAYS:
    found[f'lam={lam:g}, best'] = best - mean[:, list(LAM).index(lam)]
  return {name: 100 * value for name, value in found.items()}


def main(args) -> None:
  g, found, kept = np.random.default_rng(0), {}, []
  for generator in ('bits', 'atoms'):
    settings = [drawn(generator, g) for _ in range(args.settings // 2)]
    grid = trained(generator, settings, args.seeds, LAM, 'weight')
    auto = trained(generator, settings, args.seeds, np.ones(1), 'auto')[:, 0]
    for name, values in regrets(grid, auto).items():
      found.setdefault(name, []).extend(values.tolist())
    kept += [{'generator': generator, **one, 'grid': curve.mean(axis=1).round(4).tolist(),
              'auto': round(float(a.mean()), 4)} for one, curve, a in zip(settings, grid, auto)]
  print('| regret (points) | median | 95 % | 90th percentile | worst |\n|---|---|---|---|---|')
  for name, values in found.items():
    of = median(np.array(values))
    low, high = of.interval or (float('nan'),) * 2
    print(f'| {name} | {of.value:.2f} | [{low:.2f}, {high:.2f}] | '
          f'{np.percentile(values, 90):.2f} | {max(values):.2f} |')
  if args.json:
    args.json.write_text(json.dumps({'regret': found, 'settings': kept}, indent=1) + '\n')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--settings', type=int, default=50)
  parser.add_argument('--seeds', type=int, default=5)
  parser.add_argument('--json', type=pathlib.Path)
  main(parser.parse_args())
