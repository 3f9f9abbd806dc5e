"""Are corrected informations right on average, where one side is noise beside one that tells?

  python benchmarks/pid_bias.py run NAME     # every draw a line of runs/pid_bias/NAME.jsonl
  python benchmarks/pid_bias.py table NAME [NAME ...]

y of C classes, x1 = [y + 0.4 e, e'], x2 = [e'', e'''] of n samples, cells by the command's rule
(`quantise.cells_for`, 14 x 14 at n = 600 and C = 3). I(X2;Y) = redundancy = 0 exactly, for whatever
cells, since cells are made without the label. I(X1;Y) of the cells is that of each draw's own
cells: they are the regions nearest to the means of the draw's cells (k-means has converged), and
100,000 fresh samples fall into them; plug-in less (K - 1)(C - 1) / 2N, which is below 1e-3.
NAME says which version of the code made the draws; a stopped run goes on.
"""

import argparse
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
DRAWS, FRESH = 50, 100_000
NUMBERS = ('mi_1', 'mi_2', 'redundancy')


def drawn(n: int, classes: int, g: np.random.Generator):
  """x1, x2 [n, 2] and y [n]."""
  y = g.integers(0, classes, n)
  x1 = np.stack([y + 0.4 * g.normal(size=n), g.normal(size=n)], axis=1)
  return x1, g.normal(size=(n, 2)), y


def truth(x: np.ndarray, codes: np.ndarray, classes: int, g: np.random.Generator) -> float:
  """I(X1;Y) in nats of the cells that codes [n] of x [n, 2] stand for."""
  mean, scale = x.mean(axis=0), x.std(axis=0)
  place = lambda x: (x - mean) / scale
  centres = np.stack([place(x[codes == k]).mean(axis=0) for k in range(codes.max() + 1)])
  def cell(x):
    return np.argmin((centres**2).sum(axis=1) - 2 * place(x) @ centres.T, axis=1)
  assert (cell(x) == codes).mean() > 0.98
  fresh, _, y = drawn(FRESH, classes, g)
  table = np.zeros((len(centres), classes))
  np.add.at(table, (cell(fresh), y), 1)
  return float(counts.mutual_information(table))


def one(n: int, classes: int, draw: int) -> dict:
  g = np.random.default_rng([n, classes, draw])
  x1, x2, y = drawn(n, classes, g)
  cells = quantise.cells_for(n, classes)
  codes_1, codes_2 = (quantise.quantise(x, cells, seed=draw)[0] for x in (x1, x2))
  found = estimate(codes_1, codes_2, y, null=0, bootstrap=0, seed=draw)
  shared = found.atoms['redundancy']
  return {'case': [n, classes], 'draw': draw, 'cells': cells,
          'truth': [truth(x1, codes_1, classes, g), 0.0, 0.0],
          'raw': [*found.raw_mi[:2], shared.raw],
          'value': [found.mi_1, found.mi_2, shared.value]}


def run(name: str) -> None:
  path = RESULTS / f'{name}.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  done = {(*row['case'], row['draw']) for row in read(name)}
  with open(path, 'a', encoding='utf-8') as file:
    for draw, case in itertools.product(range(DRAWS), CASES):  # all fill up together
      if (*case, draw) not in done:
        file.write(json.dumps(one(*case, draw)) + '\n')
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
    print(f'| {name} | {case[0]}, {case[1]}, {rows[0]["cells"]}, {len(rows)} | '
          f'{take("truth")[:, 0].mean():.4f}, {raw[0]:.4f} | {said[0]} | {raw[1]:.4f} | '
          f'{said[1]} | {raw[2]:.4f} | {said[2]} |')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=('run', 'table'))
  parser.add_argument('names', nargs='+')
  args = parser.parse_args()
  run(args.names[0]) if args.what == 'run' else table(args.names)
