"""What linear algebra gains on the splits of configs/few_labels.py: CCA and PLS against PCA.

  python benchmarks/linear_references.py --data_dir=FOLDER [--only=cora,digits] [--table=FILE]

A ridge on canonical directions of all pairs, or on those of largest covariance, against one on
principal components; labels, splits and validation rows are those of the study with the same seed.
Seconds each.
"""

import argparse
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax.data.loading import load_pairs  # noqa: E402
from mmalign_jax.reports.statistics import over_seeds_and_folds  # noqa: E402
from mmalign_jax.studies.strength.linear import METHODS, references  # noqa: E402

SEEDS = range(10)
BUDGETS = (1, 3, 10, 30, 0)
MFEAT = (('fou', 'pix'), ('zer', 'kar'), ('mor', 'fac'))
DATA = {name: (name, {}) for name in ('cora', 'wikipedia', 'emoji', 'mosi', 'utd', 'digits')} | {
    f'mfeat {x1} {x2}': ('mfeat', {'x1': x1, 'x2': x2}) for x1, x2 in MFEAT}


def main(args) -> None:
  lines = ['| data | labels | side | PCA + ridge | gain, CCA + ridge | gain, PLS + ridge |',
           '|---|---|---|---|---|---|']
  for name in args.only or DATA:
    data, more = DATA[name]
    made = load_pairs(data, **more, **({} if data == 'digits' else {'data_dir': args.data_dir}))
    for n in BUDGETS:
      try:
        found = [references(made, n, seed) for seed in SEEDS]
      except ValueError as error:
        print(f'{name}: {error}', file=sys.stderr)
        continue
      if n and made.classes and (np.bincount(made.y[made.labelled]) < n).any():
        print(f'{name}: fewer than {n} labels of a class', file=sys.stderr)
        continue
      lines += [row(name, n, side, found, made.names[side]) for side in (0, 1)]
      print('\n'.join(lines[-2:]), flush=True)
  if args.table:
    args.table.write_text('\n'.join(lines) + '\n')


def row(name: str, n: int, side: int, found: list, called: str) -> str:
  """A line of the table: percent and points, 95 % intervals over seeds and folds."""
  of = {method: np.stack([one[method][side].accuracy for one in found]) for method in METHODS}
  gains = []
  for method in ('cca', 'pls'):
    gain = 100 * (of[method] - of['pca'])  # [seeds, folds]
    half = over_seeds_and_folds(gain)
    gains.append(f'{gain.mean():+.1f} [{gain.mean() - half:+.1f}, {gain.mean() + half:+.1f}]')
  return (f'| {name} | {n or "all"} | {called} | {100 * of["pca"].mean():.1f} | '
          f'{" | ".join(gains)} |')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', default='')
  parser.add_argument('--only', type=lambda text: text.split(','))
  parser.add_argument('--table', type=pathlib.Path)
  main(parser.parse_args())
