"""The exact BROJA decomposition against cvxpy with Clarabel and against dit, on the same tables.

  python benchmarks/pid.py [--repeats 5] [--limit 120] [--json FILE]

Tables are dirichlet(0.5) draws with fixed seeds. Ours is timed once compiled (the first call is
beside it), one table a call or, where a row says so, many tables in one call by the batch axis;
before and after the others, and the medians are compared. cvxpy states the problem afresh for each
table, as a user would, and solves it with Clarabel's defaults; dit is `PID_BROJA` with its own.
Each of the two runs in a process of its own, which is ended when its limit is spent: its median is
then of the tables it finished. Beside the times stand our certified gap and the largest difference
of a redundancy from ours. Needs cvxpy, clarabel and dit.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import time

import jax
import numpy as np
from scipy.special import entr

from mmalign_jax.information import broja

# shape, tables, whether they go in one call, and who else: dit takes hours where it is left out.
ROWS = [((2, 2, 2), 10, False, ('cvxpy', 'dit')), ((3, 3, 2), 10, False, ('cvxpy', 'dit')),
        ((4, 4, 3), 10, False, ('cvxpy', 'dit')), ((8, 8, 4), 10, False, ('cvxpy', 'dit')),
        ((8, 8, 4), 100, True, ('cvxpy',)), ((20, 20, 10), 3, False, ('cvxpy',)),
        ((50, 50, 10), 1, False, ('cvxpy',)), ((100, 100, 10), 1, False, ('cvxpy',))]
PACKAGES = ('cvxpy', 'clarabel', 'dit')


def tables(shape: tuple[int, ...], count: int) -> np.ndarray:
  """p [count, n1, n2, C]."""
  draw = lambda seed: np.random.default_rng(seed).dirichlet(np.full(np.prod(shape), .5))
  return np.stack([draw(seed).reshape(shape) for seed in range(count)])


# -- the alternatives: redundancy in nats of one table ---------------------------------------------


def cvxpy_redundancy(p: np.ndarray) -> float:
  import cvxpy as cp
  q = [cp.Variable(p.shape[:2], nonneg=True) for _ in range(p.shape[2])]
  cell = sum(q)
  least = cp.sum([cp.sum(cp.rel_entr(of_y, cell)) for of_y in q])
  marginals = [cp.sum(of_y, axis=axis) == p[..., y].sum(axis=axis)
               for y, of_y in enumerate(q) for axis in (0, 1)]
  problem = cp.Problem(cp.Minimize(least), marginals)
  problem.solve(solver=cp.CLARABEL)
  h = lambda x: entr(x).sum()
  h_y = h(p.sum(axis=(0, 1)))  # I(X1;Y) + I(X2;Y) - I_Q(X1,X2;Y), problem.value = -H_Q(Y|X1,X2)
  of = lambda pair: h_y + h(pair.sum(axis=1)) - h(pair)
  return of(p.sum(axis=1)) + of(p.sum(axis=0)) - (problem.value + h_y)


def dit_redundancy(p: np.ndarray) -> float:
  import dit
  from dit.pid import PID_BROJA
  outcomes = list(np.ndindex(p.shape))
  return PID_BROJA(dit.Distribution(outcomes, p.ravel())).get_pi(((0,), (1,))) * np.log(2)


ALTERNATIVES = {'cvxpy': cvxpy_redundancy, 'dit': dit_redundancy}


def work(who: str, shape: tuple[int, ...], count: int) -> None:
  """Prints seconds and redundancy of each table as soon as it is done."""
  ALTERNATIVES[who](tables((2, 2, 2), 1)[0])  # what is imported or built at the first use
  for p in tables(shape, count):
    start = time.perf_counter()
    value = ALTERNATIVES[who](p)
    print(json.dumps([time.perf_counter() - start, value]), flush=True)


def limited(who: str, shape: tuple[int, ...], count: int, limit: float) -> list[list[float]]:
  """[seconds, redundancy] of each table that was done within the limit."""
  command = [sys.executable, '-W', 'ignore', __file__, '--worker', who, '--shape',
             *map(str, shape), '--tables', str(count)]
  try:
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=limit, check=True).stdout
  except subprocess.TimeoutExpired as ended:
    done = ended.stdout or b''
  return [json.loads(line) for line in done.decode().splitlines() if line.startswith('[')]


# -- timing ----------------------------------------------------------------------------------------


def timed(p: np.ndarray, batched: bool, repeats: int) -> list[float]:
  """Seconds a table of our decomposition, of each call."""
  calls = [p] if batched else list(p)
  seconds = []
  for _ in range(repeats):
    for call in calls:
      start = time.perf_counter()
      broja(call)
      seconds.append((time.perf_counter() - start) / (len(p) if batched else 1))
  return seconds


def compare(shape, count, batched, others, repeats: int, limit: float) -> dict:
  p = tables(shape, count)
  start = time.perf_counter()
  found = [broja(p if batched else p[0])]
  compiling = time.perf_counter() - start
  found += [] if batched else [broja(one) for one in p[1:]]
  redundancy = np.concatenate([np.ravel(one.redundancy) for one in found])
  seconds = timed(p, batched, repeats)
  theirs = {who: limited(who, shape, count, limit) for who in others}
  ours = statistics.median(seconds + timed(p, batched, repeats))
  row = {'shape': shape, 'tables': count, 'in_one_call': batched,
         'seconds': {'ours': ours}, 'first_call_seconds': compiling,
         'gap': float(max(np.max(one.gap) for one in found)), 'ratio': {}, 'difference': {}}
  for who, done in theirs.items():
    if not done:
      row['seconds'][who] = f'did not finish in {limit:g} s'
      continue
    row['seconds'][who] = statistics.median(second for second, _ in done)
    row['ratio'][who] = row['seconds'][who] / ours
    values = np.array([value for _, value in done])
    row['difference'][who] = float(np.abs(values - redundancy[:len(done)]).max())
    if len(done) < count:
      row[f'tables_of_{who}'] = len(done)
  return row


def markdown(row: dict) -> str:
  """One line of the table."""
  def other(who):
    if who not in row['seconds']:
      return '- | - | -'
    if who not in row['ratio']:
      return f'{row["seconds"][who]} | - | -'
    return f'{row["seconds"][who]:.3g} s | {row["ratio"][who]:.0f} | {row["difference"][who]:.1e}'
  name = ' x '.join(map(str, row['shape'])) + f', {row["tables"]} tables'
  return (f'| {name}{" in one call" if row["in_one_call"] else ""} '
          f'| {1e3 * row["seconds"]["ours"]:.3g} ms | {row["gap"]:.1e} '
          f'| {other("cvxpy")} | {other("dit")} |')


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument('--repeats', type=int, default=5)
  parser.add_argument('--limit', type=float, default=120, help='seconds a row for each other')
  parser.add_argument('--json', help='file to write the numbers to')
  parser.add_argument('--worker', choices=tuple(ALTERNATIVES), help=argparse.SUPPRESS)
  parser.add_argument('--shape', type=int, nargs=3, help=argparse.SUPPRESS)
  parser.add_argument('--tables', type=int, help=argparse.SUPPRESS)
  args = parser.parse_args()
  missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
  if missing:
    raise SystemExit(f'{" and ".join(missing)} not installed: pip install {" ".join(missing)}')
  if args.worker:
    work(args.worker, tuple(args.shape), args.tables)
    return
  print('| table | ours, a table | gap (nats) | cvxpy | times ours | off by (nats) '
        '| dit | times ours | off by (nats) |\n|' + '---|' * 9)
  rows = []
  for shape, count, batched, others in ROWS:
    rows.append(compare(shape, count, batched, others, args.repeats, args.limit))
    print(markdown(rows[-1]), flush=True)
  if args.json:
    versions = {name: importlib.metadata.version(name) for name in ('jax', *PACKAGES)}
    with open(args.json, 'w', encoding='utf-8') as file:
      json.dump({'device': jax.devices()[0].device_kind, 'machine': platform.machine(), **versions,
                 'rows': rows}, file, indent=1)


if __name__ == '__main__':
  main()
