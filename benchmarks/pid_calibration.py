"""Do corrected atoms, p-values, intervals and verdicts hold what they promise?

  python benchmarks/pid_calibration.py independent   # x1, x2, y independent, 20 cells a side
  python benchmarks/pid_calibration.py atoms         # the `atoms` generator, exact atoms known
  python benchmarks/pid_calibration.py table         # both as Markdown

Every draw is a line of benchmarks/results/pid_calibration/NAME.jsonl as soon as it is made; the
same command goes on after a stop. Draws are seeded by what they are, never chosen.
"""

import argparse
import itertools
import json
import os
import pathlib

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # small matrices, many of them

import numpy as np  # noqa: E402

from mmalign_jax import Hyper, Spec, rng, synthetic  # noqa: E402
from mmalign_jax.information import ATOMS, estimate  # noqa: E402

RESULTS = pathlib.Path(__file__).parent / 'results' / 'pid_calibration'
PRESENT = 'present'


def independent(classes: int, n: int, draw: int) -> dict:
  """One data set of independent x1, x2 (20 cells each) and y."""
  g = np.random.default_rng([classes, n, draw])
  x1, x2, y = (g.integers(0, states, n) for states in (20, 20, classes))
  return estimate(x1, x2, y, null=99, bootstrap=40, seed=draw)


def atoms(dominant: str, others: float, n: int, draw: int) -> dict:
  """One data set of the `atoms` generator: 0.5 nats in one atom, `others` in the rest."""
  hyper = Hyper(**{name: 0.5 if name == dominant else others for name in ATOMS})
  made = synthetic.GENERATORS['atoms']
  key = rng.stream(draw, f'{dominant} {others} {n}')
  pairs = synthetic.draw(made, made.tables(Spec()), hyper, key, n)
  relevant = lambda row: (np.asarray(row)[:, None] >> np.array([0, 8, 9]) & 1) @ [1, 2, 4]
  return estimate(relevant(pairs.row_1), relevant(pairs.row_2), np.asarray(pairs.y),
                  null=99, bootstrap=200, seed=draw)


CASES = {
    'independent': (independent, 200, list(itertools.product((2, 10), (138, 1000, 5000)))),
    'atoms': (atoms, 100, [(atom, others, n) for others, n in (
        (0.1, 2000), (0.1, 500), (0.1, 10000), (0.0, 2000)) for atom in ATOMS]),
}


def run(name: str) -> None:
  make, draws, cases = CASES[name]
  path = RESULTS / f'{name}.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  done = {(*row['case'], row['draw']) for row in read(name)}
  with open(path, 'a', encoding='utf-8') as file:
    for draw, case in itertools.product(range(draws), cases):  # all cases fill up together
      if (*case, draw) in done:
        continue
      found = make(*case, draw)
      row = {'case': case, 'draw': draw, 'model': found.shares is not None, **{
          field: [getattr(found.atoms[atom], field) for atom in ATOMS]
          for field in ('value', 'raw', 'p_value', 'interval', 'verdict')}}
      file.write(json.dumps(row) + '\n')
      file.flush()


def read(name: str) -> list[dict]:
  path = RESULTS / f'{name}.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def table() -> None:
  print('| classes, n | atom | plug-in | corrected ± standard error | p <= 0.05 | present |')
  print('|---|---|---|---|---|---|')
  for case, rows in grouped('independent'):
    raw, value = (np.array([row[field] for row in rows]) for field in ('raw', 'value'))
    p = np.array([row['p_value'] for row in rows])
    present = np.array([row['verdict'] for row in rows]) == PRESENT
    for k, atom in enumerate(ATOMS):
      error = value[:, k].std(ddof=1) / np.sqrt(len(rows))
      print(f'| {case[0]}, {case[1]} | {atom} | {raw[:, k].mean():.4f} | {value[:, k].mean():+.4f} '
            f'± {error:.4f} | {(p[:, k] <= 0.05).mean():.1%} | {present[:, k].mean():.1%} |')
    print(f'| {case[0]}, {case[1]} | any | | | | {present.any(axis=1).mean():.1%} ({len(rows)} '
          'draws) |')
  print('\n| dominant, others, n | named | atom | exact | plug-in | corrected | error (rms) | '
        'covered | present |')
  print('|---|---|---|---|---|---|---|---|---|')
  for (dominant, others, n), rows in grouped('atoms'):
    raw, value = (np.array([row[field] for row in rows]) for field in ('raw', 'value'))
    low, high = np.moveaxis(np.array([row['interval'] for row in rows]), -1, 0)
    present = np.array([row['verdict'] for row in rows]) == PRESENT
    first = ATOMS.index(dominant)
    named = ((value.argmax(axis=1) == first) & present[:, first]).mean()
    for k, atom in enumerate(ATOMS):
      exact = 0.5 if k == first else others
      covered = ((low[:, k] <= exact) & (exact <= high[:, k])).mean()
      error = np.sqrt(np.mean((value[:, k] - exact) ** 2))
      print(f'| {dominant}, {others}, {n} | {named:.0%} | {atom} | {exact:g} | '
            f'{raw[:, k].mean():.3f} | {value[:, k].mean():.3f} | {error:.3f} | {covered:.0%} | '
            f'{present[:, k].mean():.0%} |')


def grouped(name: str):
  rows = read(name)
  for case in CASES[name][2]:
    some = [row for row in rows if tuple(row['case']) == tuple(case)]
    if some:
      yield case, some


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=(*CASES, 'table'))
  what = parser.parse_args().what
  table() if what == 'table' else run(what)
