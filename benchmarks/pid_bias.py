"""Are corrected informations right on average, where one side is noise beside one that tells?

  python benchmarks/pid_bias.py run NAME     # every draw a line of runs/pid_bias/NAME.jsonl
  python benchmarks/pid_bias.py table NAME [NAME ...]

y of C classes, x1 = [y + 0.4 e1, e2], x2 = [e3, e4] of n samples, as many cells as the
command makes (`quantise.cells_for`, 14 x 14 at n = 600 and C = 3). Cells are regions nearest to
centres that k-means finds in 20,000 samples apart, the same for all draws; so I(X1;Y) of the cells
is a number, that of 2,000,000 further samples. I(X2;Y) = redundancy = 0 exactly. With --own, cells
are made from each draw itself as the command does, and the truth is that of its regions by 100,000
fresh samples: what k-means fits to the luck of a sample is then in the plug-in too, and that is no
bias of counting. NAME says which version of the code made the draws; a stopped run goes on.
"""

import argparse
import functools
import itertools
import json
import os
import pathlib

for name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'):
  os.environ.setdefault(name, '1')  # small matrices, many of them

import numpy as np  # noqa: E402

from mmalign_jax.information import counts, estimate, quantise  # noqa: E402

RESULTS = pathlib.Path(__file__).parent.parent / 'runs' / 'pid_bias'
CASES = tuple(itertools.product((200, 600, 2000), (2, 3, 10)))
DRAWS, PART = 50, 100_000
NUMBERS = ('mi_1', 'mi_2', 'redundancy')


def drawn(n: int, classes: int, g: np.random.Generator):
  """x1, x2 [n, 2] and y [n]."""
  y = g.integers(0, classes, n)
  x1 = np.stack([y + 0.4 * g.normal(size=n), g.normal(size=n)], axis=1)
  return x1, g.normal(size=(n, 2)), y


class Cells:
  """Regions nearest to the centres of cells that were made from x [n, 2]."""

  def __init__(self, x: np.ndarray, count: int, seed: int):
    self.codes = quantise.quantise(x, count, seed=seed)[0]
    self._mean, self._scale = x.mean(axis=0), x.std(axis=0)
    at = self._place(x)
    self._centres = np.stack([at[self.codes == k].mean(axis=0)
                              for k in range(self.codes.max() + 1)])

  def _place(self, x: np.ndarray) -> np.ndarray:
    return (x - self._mean) / self._scale

  def of(self, x: np.ndarray) -> np.ndarray:
    centres = self._centres
    return np.argmin((centres**2).sum(axis=1) - 2 * self._place(x) @ centres.T, axis=1)


def truth(cells: Cells, classes: int, parts: int, g: np.random.Generator) -> float:
  """I(X1;Y) in nats of cells, by so many parts of fresh samples, less (K - 1)(C - 1) / 2N."""
  table = np.zeros(quantise.MOST_CELLS * classes)
  for _ in range(parts):
    x, _, y = drawn(PART, classes, g)
    table += np.bincount(cells.of(x) * classes + y, minlength=len(table))
  return float(counts.mutual_information(table.reshape(-1, classes)))


@functools.cache
def fixed(n: int, classes: int) -> tuple[Cells, Cells, float]:
  g = np.random.default_rng([n, classes])
  x1, x2, _ = drawn(20_000, classes, g)
  made = [Cells(x, quantise.cells_for(n, classes), 0) for x in (x1, x2)]
  return *made, truth(made[0], classes, 20, g)


def one(n: int, classes: int, draw: int, own: bool) -> dict:
  g = np.random.default_rng([n, classes, draw])
  x1, x2, y = drawn(n, classes, g)
  if own:
    cells = [Cells(x, quantise.cells_for(n, classes), draw) for x in (x1, x2)]
    codes, exact = [c.codes for c in cells], truth(cells[0], classes, 1, g)
  else:
    *cells, exact = fixed(n, classes)
    codes = [c.of(x) for c, x in zip(cells, (x1, x2))]
  found = estimate(*codes, y, null=0, bootstrap=0, seed=draw)
  shared = found.atoms['redundancy']
  return {'case': [n, classes], 'draw': draw, 'cells': found.cells[:2],
          'truth': [exact, 0.0, 0.0], 'raw': [*found.raw_mi[:2], shared.raw],
          'value': [found.mi_1, found.mi_2, shared.value]}


def run(name: str, own: bool) -> None:
  path = RESULTS / f'{name}.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  done = {(*row['case'], row['draw']) for row in read(name)}
  with open(path, 'a', encoding='utf-8') as file:
    for draw, case in itertools.product(range(DRAWS), CASES):  # all fill up together
      if (*case, draw) not in done:
        file.write(json.dumps(one(*case, draw, own)) + '\n')
        file.flush()


def read(name: str) -> list[dict]:
  path = RESULTS / f'{name}.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table(names: list[str]) -> None:
  print('| code | n, classes, cells, draws | I(X1;Y): truth, plug-in | corrected - truth | '
        'I(X2;Y): plug-in | corrected | redundancy: plug-in | corrected |')
  print('|---' * 8 + '|')
  for case, name in itertools.product(CASES, names):
    rows = [row for row in read(name) if tuple(row['case']) == case]
    if len(rows) < 2:
      continue
    take = lambda field: np.array([row[field] for row in rows])
    off = take('value') - take('truth')
    mean, error = off.mean(axis=0), off.std(axis=0, ddof=1) / np.sqrt(len(rows))
    said = [f'{m:+.4f} ± {e:.4f} ({m / e:+.1f})' for m, e in zip(mean, error)]
    raw = take('raw').mean(axis=0)
    print(f'| {name} | {case[0]}, {case[1]}, {rows[0]["cells"][0]}, {len(rows)} | '
          f'{take("truth")[:, 0].mean():.4f}, {raw[0]:.4f} | {said[0]} | {raw[1]:.4f} | '
          f'{said[1]} | {raw[2]:.4f} | {said[2]} |')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=('run', 'table'))
  parser.add_argument('names', nargs='+')
  parser.add_argument('--own', action='store_true')
  args = parser.parse_args()
  run(args.names[0], args.own) if args.what == 'run' else table(args.names)
