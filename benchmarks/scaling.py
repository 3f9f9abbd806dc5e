"""How cost grows: seconds and peak memory against one size at a time, and the exponent of each.

  python benchmarks/scaling.py [--only NAME ...] [--largest 5] [--json FILE] [--table FILE]

Each point is a process of its own, timed once compiled; its memory is the peak above what was
resident before (Linux only). The exponent is the slope of log seconds against log size over the
three largest sizes; beside it stands the one that the number of operations says. An exponent more
than a quarter above that is marked: it is explained in docs/results/benchmarks.md, or a fault.
"""

import argparse
from collections.abc import Callable
import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np

from mmalign_jax.reports.text import aligned

MARGIN = 0.25
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Axis:
  """make(size) is a function without arguments, compiled; expected: the exponent of its time."""
  what: str
  sizes: tuple[int, ...]
  expected: float
  make: Callable[[int], Callable[[], object]]


# -- what is run -----------------------------------------------------------------------------------


def sweep(cells: int = 6, **changed: int) -> Callable[[], object]:
  """A chunk of cells of a study of strength, as one program; few test pairs, so that it trains."""
  import jax

  from mmalign_jax.training.sweep import compiled, grid, make_tables, stack
  from mmalign_jax.types import Spec
  spec = Spec(**{'steps': 200, 'batch_size': 256, 'depth': 3, 'width': 12, 'max_train': 4096,
                 'n_align': 64} | changed)
  tables = make_tables(spec)
  hypers = stack(grid({'seed': range(cells)}, lam=1.0, n_train=4096, redundancy=4), cells)
  run = compiled(spec)
  return lambda: jax.block_until_ready(run(hypers, tables))


def pair(n: int, d: int) -> list:
  """Features [n, d] of two sides, related."""
  import jax.numpy as jnp
  g = np.random.default_rng(_SEED)
  z = g.standard_normal((n, d), np.float32)
  both = z, z + g.standard_normal((n, d), np.float32)
  return [jnp.asarray(v / np.linalg.norm(v, axis=1, keepdims=True)) for v in both]


def loss(n: int, name: str = 'streaming_info_nce', d: int = 256) -> Callable[[], object]:
  """Value and gradients of a contrastive loss."""
  import jax
  import jax.numpy as jnp

  from mmalign_jax import losses
  of = losses.LOSSES[name]
  run = jax.jit(jax.value_and_grad(
      lambda a, b: jnp.mean(of(a, b, temperature=0.07)), argnums=(0, 1)))  # pyright: ignore
  arguments = pair(n, d)
  return lambda: jax.block_until_ready(run(*arguments))


def measure(name: str, n: int = 2048, d: int = 256) -> Callable[[], object]:
  """A measure of similarity with its defaults."""
  import jax

  from mmalign_jax import similarity
  x, y = pair(n, d)
  run = jax.jit(lambda x, y: similarity.MEASURES[name](x, y))
  return lambda: jax.block_until_ready(run(x, y))


def null(permutations: int) -> Callable[[], object]:
  """Mutual kNN with its null."""
  import jax

  from mmalign_jax import similarity
  x, y = pair(1000, 128)
  return lambda: similarity.calibrate(similarity.MEASURES['mutual_knn'], x, y,
                                      key=jax.random.key(0), permutations=permutations)


def decomposition(classes: int = 10, states: int = 20) -> Callable[[], object]:
  """BROJA of one table [states, states, classes], certified."""
  from mmalign_jax import information
  shape = states, states, classes
  table = np.random.default_rng(_SEED).dirichlet(np.full(np.prod(shape), 0.5)).reshape(shape)
  return lambda: information.broja(table)


AXES = {
    'cells': Axis('sweep: cells of a chunk', (3, 6, 12, 24, 48), 1, sweep),
    'steps': Axis('sweep: steps', (100, 200, 400, 800), 1, lambda n: sweep(steps=n)),
    'batch': Axis('sweep: batch', (128, 256, 512, 1024), 2, lambda n: sweep(batch_size=n)),
    'depth': Axis('sweep: depth (batch 256)', (1, 2, 4, 8, 16), 1, lambda n: sweep(depth=n)),
    'width': Axis('sweep: width', (12, 24, 48, 96, 192), 1,
                  lambda n: sweep(width=n, projection_width=n)),
    'streaming': Axis('streaming InfoNCE: N (256 wide)', (2048, 4096, 8192, 16384, 32768), 2, loss),
    'plain': Axis('InfoNCE: N (256 wide)', (1024, 2048, 4096, 8192), 2,
                  lambda n: loss(n, 'info_nce')),
    'knn_n': Axis('mutual kNN: N (D 256)', (1024, 2048, 4096, 8192, 16384), 2,
                  lambda n: measure('mutual_knn', n)),
    'knn_d': Axis('mutual kNN: D (N 2,048)', (64, 128, 256, 512, 1024), 1,
                  lambda d: measure('mutual_knn', d=d)),
    'cka_n': Axis('debiased CKA: N (D 256)', (2048, 8192, 32768, 131072), 1,
                  lambda n: measure('debiased_linear_cka', n)),
    'cka_d': Axis('debiased CKA: D (N 2,048)', (128, 256, 512, 1024), 2,
                  lambda d: measure('debiased_linear_cka', d=d)),
    'rbf_n': Axis('RBF CKA: N (D 256)', (512, 1024, 2048, 4096), 2,
                  lambda n: measure('rbf_cka', n)),
    'permutations': Axis('mutual kNN with its null: permutations (N 1,000)',
                         (250, 500, 1000, 2000, 4000), 1, null),
    # A step forms and factorises a matrix of (states of a side x classes) rows.
    'classes': Axis('BROJA: classes (20 x 20)', (5, 10, 20, 40), 3, decomposition),
    'states': Axis('BROJA: states of each side (10 classes)', (5, 10, 20, 40), 3,
                   lambda n: decomposition(states=n)),
}


# -- a point ---------------------------------------------------------------------------------------


def point(name: str, size: int, seconds: float) -> dict:
  """Seconds and peak memory of one size, in this process."""
  kb = lambda field: next(int(line.split()[1]) for line in pathlib.Path(
      '/proc/self/status').read_text().splitlines() if line.startswith(field))
  run = AXES[name].make(size)
  run()
  pathlib.Path('/proc/self/clear_refs').write_text('5')  # forgets the peak so far
  before, times, start = kb('VmRSS'), [], time.perf_counter()
  while len(times) < 2 or (time.perf_counter() - start < seconds and len(times) < 20):
    first = time.perf_counter()
    run()
    times.append(time.perf_counter() - first)
  return dict(size=size, seconds=min(times), median=statistics.median(times),
              memory_gb=(kb('VmHWM') - before) * 1024 / 1e9, load=os.getloadavg()[0])


def slope(points: list[dict], field: str) -> float:
  """Of log field against log size, over the three largest."""
  last = [p for p in points if p[field] > 0][-3:]
  x, y = (np.log([p[key] for p in last]) for key in ('size', field))
  return float(np.polyfit(x, y, 1)[0])


def measured(name: str, largest: int, seconds: float) -> dict:
  """All sizes of one axis."""
  axis, points = AXES[name], []
  for size in axis.sizes[:largest]:
    done = subprocess.run([sys.executable, __file__, '--point', name, str(size),
                           f'--seconds={seconds}'], stdout=subprocess.PIPE, text=True, check=True)
    points.append(json.loads(done.stdout.splitlines()[-1]))
    print(f'{axis.what}: {size:,}: {points[-1]["seconds"]:.4g} s, '
          f'{points[-1]["memory_gb"]:.3f} GB, load {points[-1]["load"]:.1f}', flush=True)
  return dict(name=name, what=axis.what, expected=axis.expected, points=points,
              exponent=slope(points, 'seconds'))


HEAD = ('what grows', 'sizes', 'seconds', 'exponent', 'expected', 'GB at the largest')


def rows(found: list[dict]) -> list[list[str]]:
  """One row an axis."""
  made = []
  for one in found:
    first, last = one['points'][0], one['points'][-1]
    marked = one['exponent'] > one['expected'] + MARGIN
    made.append([one['what'], f'{first["size"]:,} to {last["size"]:,}',
                 f'{first["seconds"]:.3g} to {last["seconds"]:.3g}',
                 f'{one["exponent"]:.2f}' + (' !' if marked else ''), f'{one["expected"]:g}',
                 f'{last["memory_gb"]:.2f}'])
  return made


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
  parser.add_argument('--only', nargs='+', choices=AXES, default=list(AXES))
  parser.add_argument('--largest', type=int, default=5, help='how many sizes of each')
  parser.add_argument('--seconds', type=float, default=2.0, help='after which no call is begun')
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--table', type=pathlib.Path)
  parser.add_argument('--point', nargs=2, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.point:
    print(json.dumps(point(args.point[0], int(args.point[1]), args.seconds)))
    return
  found = [measured(name, args.largest, args.seconds) for name in args.only]
  made = rows(found)
  print('\n' + aligned(HEAD, made, left=(0, 1)))
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    args.json.write_text(json.dumps(dict(device=f'cpu-{cores}-cores', axes=found), indent=1) + '\n')
  if args.table:
    lines = [HEAD, ['---'] * len(HEAD), *made]
    args.table.write_text(''.join(f'| {" | ".join(line)} |\n' for line in lines))


if __name__ == '__main__':
  main()
