"""Do intervals of `mmalign advise` cover the true gain; how often do they lie wholly above it?

Two ridge regressions of principal components stand for the two sides of a decision: their gain is
judged by cross-validation as an advice judges it (`studies/advise/gains.py`), and is known from
20,000 further rows for the models that are trained on all rows. 95 % is what should be covered; an
interval wholly above the truth, 2.5 %, is what would advise alignment where there is nothing to
gain.

  python benchmarks/advise_intervals.py    # 4 minutes
"""

import argparse

import numpy as np

from mmalign_jax.studies.advise.gains import gain

FOLDS, CLASSES, WIDTH, SIGNAL, NOISE = 5, 4, 40, 5, 3.0
SIDES = {  # (components, ridge) without and with
    'more components': ((8, 0.1), (30, 1.0)),
    'fewer components': ((8, 0.1), (4, 0.1)),
    'ridge': ((20, 0.01), (20, 1.0))}


def predicted(x: np.ndarray, y: np.ndarray, unseen: np.ndarray, kept: int,
              ridge: float) -> np.ndarray:
  """Classes [M] of unseen rows by a ridge regression of principal components."""
  mean, target = x.mean(axis=0), np.eye(CLASSES)[y]
  axes = np.linalg.svd(x - mean, full_matrices=False)[2][:kept].T
  z, middle = (x - mean) @ axes, target.mean(axis=0)
  b = np.linalg.solve(z.T @ z + ridge * np.trace(z.T @ z) / kept * np.eye(kept),
                      z.T @ (target - middle))
  return ((unseen - mean) @ axes @ b + middle).argmax(axis=1)


def trial(seed: int, n: int, sides) -> tuple[float, float, float, float]:
  """The true gain, the one found, and its interval."""
  g = np.random.default_rng(seed)
  mean, w = 1.2 * g.normal(size=(CLASSES, SIGNAL)), g.normal(size=(SIGNAL, WIDTH))

  def draw(count):
    y = g.integers(CLASSES, size=count)
    z = mean[y] + g.normal(size=(count, SIGNAL))
    return z @ w + NOISE * g.normal(size=(count, WIDTH)), y
  (x, y), (unseen, truth) = draw(n), draw(20_000)
  without, aligned = ((predicted(x, y, unseen, *side) == truth).mean() for side in sides)
  fold = g.permutation(n) % FOLDS
  right = [[(predicted(x[fold != k], y[fold != k], x[fold == k], *side) == y[fold == k]).astype(
      float) for k in range(FOLDS)] for side in sides]
  found = gain(*right, [np.ones(len(one)) for one in right[0]])
  assert found.interval is not None
  return aligned - without, found.gain, *found.interval


def main():
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--trials', type=int, default=300)
  trials = parser.parse_args().trials
  print('| sides | rows | true gain (points) | covered | wholly above | wholly below |')
  print('|---|---|---|---|---|---|')
  for name, sides in SIDES.items():
    for n in (60, 200, 600):
      truth, _, low, high = np.array([trial(seed, n, sides) for seed in range(trials)]).T
      print(f'| {name} | {n} | {100 * truth.mean():+.1f} | '
            f'{100 * ((low <= truth) & (truth <= high)).mean():.1f} % | '
            f'{100 * (low > truth).mean():.1f} % | {100 * (high < truth).mean():.1f} % |',
            flush=True)


if __name__ == '__main__':
  main()
