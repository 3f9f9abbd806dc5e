"""Do corrected atoms, p-values, intervals and verdicts hold what they promise?

  python benchmarks/pid_calibration.py independent   # x1, x2, y independent, 20 cells a side
  python benchmarks/pid_calibration.py atoms         # the `atoms` generator, exact atoms known
  python benchmarks/pid_calibration.py table         # both as Markdown, atom by atom
  python benchmarks/pid_calibration.py summary       # the same in short

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
  return estimate(relevant(pairs.rows[0]), relevant(pairs.rows[1]), np.asarray(pairs.y),
                  null=99, bootstrap=200, seed=draw)


CASES = {  # function, and how many draws of each case
    'independent': (independent, {
        case: 200 for case in itertools.product((2, 10), (138, 1000, 5000))}),
    'atoms': (atoms, {
        (atom, others, n): draws for others, n, draws in (
            (0.1, 2000, 100), (0.1, 500, 100), (0.1, 10000, 40), (0.0, 2000, 25))
        for atom in ATOMS}),
}


def run(name: str) -> None:
  make, cases = CASES[name]
  path = RESULTS / f'{name}.jsonl'
  path.parent.mkdir(parents=True, exist_ok=True)
  done = {(*row['case'], row['draw']) for row in read(name)}
  with open(path, 'a', encoding='utf-8') as file:
    for draw, case in itertools.product(range(max(cases.values())), cases):  # all fill up together
      if draw >= cases[case] or (*case, draw) in done:
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


def summary() -> None:
  print('| classes, n, draws | plug-in R, U1, U2, S | corrected ± standard error | present: each | '
        'any |')
  print('|---|---|---|---|---|')
  for case, rows in grouped('independent'):
    raw, value, _, present = columns(rows)
    error = value.std(axis=0, ddof=1) / np.sqrt(len(rows))
    means = ', '.join(f'{v:+.4f} ± {e:.4f}' for v, e in zip(value.mean(axis=0), error))
    print(f'| {case[0]}, {case[1]}, {len(rows)} | '
          f'{", ".join(f"{v:.3f}" for v in raw.mean(axis=0))} | {means} | '
          f'{", ".join(f"{v:.1%}" for v in present.mean(axis=0))} | '
          f'{present.any(axis=1).mean():.1%} |')
  print('\n| n, others, draws | named | rms error of the dominant atom: plug-in, corrected | of '
        'the others | intervals that cover | others called present |')
  print('|---|---|---|---|---|---|')
  kinds = dict.fromkeys((n, others) for _, others, n in CASES['atoms'][1])
  for n, others in kinds:
    some = [(case, rows) for case, rows in grouped('atoms') if case[1:] == (others, n)]
    if not some:
      continue
    raws, values, covers, named, false = [], [], [], [], []
    for (dominant, _, _), rows in some:
      raw, value, interval, present = columns(rows)
      first = np.array(ATOMS) == dominant
      exact = np.where(first, 0.5, others)
      raws.append([(raw - exact)[:, first], (raw - exact)[:, ~first]])
      values.append([(value - exact)[:, first], (value - exact)[:, ~first]])
      covers.append(((interval[..., 0] <= exact) & (exact <= interval[..., 1])).ravel())
      named.append((value.argmax(axis=1) == first.argmax()) & present[:, first.argmax()])
      false.append(present[:, ~first].ravel())
    rms = lambda parts, k: np.sqrt(np.mean(np.concatenate([p[k].ravel() for p in parts]) ** 2))
    print(f'| {n}, {others}, {sum(map(len, named))} | {np.concatenate(named).mean():.0%} | '
          f'{rms(raws, 0):.3f}, {rms(values, 0):.3f} | {rms(raws, 1):.3f}, {rms(values, 1):.3f} | '
          f'{np.concatenate(covers).mean():.1%} | {np.concatenate(false).mean():.0%} |')


def columns(rows: list[dict]):
  """Plug-in [D, 4], corrected [D, 4], intervals [D, 4, 2], whether present [D, 4]."""
  take = lambda field: np.array([row[field] for row in rows])
  return take('raw'), take('value'), take('interval'), take('verdict') == PRESENT


def grouped(name: str):
  rows = read(name)
  for case in CASES[name][1]:
    some = [row for row in rows if tuple(row['case']) == tuple(case)]
    if some:
      yield case, some


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('what', choices=(*CASES, 'table', 'summary'))
  what = parser.parse_args().what
  {'table': table, 'summary': summary}.get(what, lambda: run(what))()
