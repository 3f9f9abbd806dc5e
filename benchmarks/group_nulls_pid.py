"""Are p-values of atoms right where samples belong together? Independent grouped data.

  python benchmarks/group_nulls_pid.py run      # every draw a line of runs/group_nulls_pid.jsonl
  python benchmarks/group_nulls_pid.py table

x1, x2 (3 cells each) and y (2 classes) are independent; each is a number of the group plus 0.6 of
one of the sample, cut at its quantiles; where the label is constant in a group it is the group's
alone. About ten samples a group, or 4 to 16. p-values are those of `estimate`, 39 permutations of
each kind (fewer where there are fewer arrangements), with ties decided by chance, so that an exact
test gives a uniform p whatever the grid. Redundancy and synergy have the larger p of two
permutations each, which makes them conservative: for them the table asks only whether p is ever too
small (one-sided Kolmogorov-Smirnov). `alone` are the p-values as if samples were independent.
"""

import argparse
import itertools
import json
import os
import pathlib

for name in ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS'):
  os.environ.setdefault(name, '1')  # small matrices, many of them

import numpy as np  # noqa: E402

from mmalign_jax.information import ATOMS, quantise  # noqa: E402
from mmalign_jax.information.estimation import NULLS, atoms_by_chance  # noqa: E402

PATH = pathlib.Path(__file__).parent.parent / 'runs' / 'group_nulls_pid.jsonl'
KINDS = ('equal', 'unequal', 'unequal, one label a group')
CASES = tuple(itertools.product((5, 20, 100), KINDS))
DRAWS, PERMUTATIONS, TIE = 200, 39, 2e-5


def drawn(count: int, kind: str, g: np.random.Generator):
  """Codes x1, x2, y [N] and groups [N]."""
  sizes = np.full(count, 10) if kind == 'equal' else g.integers(4, 17, count)
  groups = np.repeat(np.arange(count), sizes)
  x1, x2, y = (g.normal(size=count)[groups] + 0.6 * g.normal(size=len(groups)) for _ in range(3))
  if kind.endswith('group'):
    of_group = g.permutation(np.arange(count) % 2)
    return quantise.quantiles(x1, 3), quantise.quantiles(x2, 3), of_group[groups], groups
  return quantise.quantiles(x1, 3), quantise.quantiles(x2, 3), quantise.quantiles(y, 2), groups


def one(count: int, kind: str, draw: int) -> dict:
  g = np.random.default_rng([count, KINDS.index(kind), draw])
  x1, x2, y, groups = drawn(count, kind, g)
  row = {'case': [count, kind], 'draw': draw}
  for name, given in (('p', groups), ('alone', None)):
    if name == 'alone' and draw >= DRAWS // 2:
      continue
    made = atoms_by_chance(x1, x2, y, null=PERMUTATIONS, seed=draw, groups=given)
    row[name] = [max(_random_p(made[kind][:, k], g) for kind in NULLS[atom])
                 for k, atom in enumerate(ATOMS)]
  return row


def _random_p(values: np.ndarray, g: np.random.Generator) -> float:
  own, null = values[0], values[1:]
  higher, equal = np.sum(null > own + TIE), np.sum(np.abs(null - own) <= TIE)
  return float((higher + g.random() * (1 + equal)) / (1 + len(null)))


def run() -> None:
  PATH.parent.mkdir(parents=True, exist_ok=True)
  done = {(*row['case'], row['draw']) for row in read()}
  with open(PATH, 'a', encoding='utf-8') as file:
    for draw, case in itertools.product(range(DRAWS), CASES):  # all fill up together
      if (*case, draw) not in done:
        file.write(json.dumps(one(*case, draw)) + '\n')
        file.flush()


def read() -> list[dict]:
  return [json.loads(line) for line in PATH.read_text().splitlines()] if PATH.exists() else []


def table() -> None:
  from scipy import stats
  print('| groups, sizes, draws | atom | p <= 0.05 | p <= 0.2 | KS, p too small | KS, two-sided | '
        'alone: p <= 0.05 |')
  print('|---' * 7 + '|')
  for case in CASES:
    rows = [row for row in read() if tuple(row['case']) == case]
    p = np.array([row['p'] for row in rows])
    alone = np.array([row['alone'] for row in rows if 'alone' in row])
    for k, atom in enumerate(ATOMS):
      small = stats.kstest(p[:, k], 'uniform', alternative='greater').pvalue
      both = f'{stats.kstest(p[:, k], "uniform").pvalue:.2f}' if atom.startswith('u') else '-'
      print(f'| {case[0]}, {case[1]}, {len(rows)} | {atom} | {(p[:, k] <= 0.05).mean():.1%} | '
            f'{(p[:, k] <= 0.2).mean():.1%} | {small:.2f} | {both} | '
            f'{(alone[:, k] <= 0.05).mean():.1%} |')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=('run', 'table'))
  {'run': run, 'table': table}[parser.parse_args().what]()
