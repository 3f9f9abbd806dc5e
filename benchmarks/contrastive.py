"""InfoNCE in stripes against the whole matrix of logits: seconds and memory by size of batch.

  python benchmarks/contrastive.py [--sizes 512 1024 ...] [--json FILE] [--figure FILE]

Value and gradients (both embeddings and the temperature) of the mean over a batch of 256-wide
embeddings:
  streaming  mmalign_jax.streaming_info_nce
  plain      mmalign_jax.info_nce
  torch      as open-source CLIP training writes it: logits = scale * z1 @ z2.T, cross entropy of
             rows and of columns
Each point is a process of its own; its memory is the peak above what was resident when the
embeddings were made, all was compiled and a small batch had been run (Linux only). Points that
would need more than --limit_gb are left out.
Exit status: 1 where losses or gradients differ.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

# jax and torch are imported by the points alone, so that this process takes no memory from them.

WIDTH, TEMPERATURE, TOLERANCE = 256, 0.07, 1e-4
SIZES = tuple(2**k for k in range(9, 16))
NEEDED = {'streaming': 0.0, 'plain': 2.0, 'torch': 5.0}  # matrices of logits that exist at a time
TARGETS = {'time of streaming over plain at 2,048': 1.3, 'GB of streaming at 32,768': 1.0}


def embeddings(rows: int):
  """Unit rows z1, z2 [rows, WIDTH], related."""
  import numpy as np
  g = np.random.default_rng(0)
  z1 = g.standard_normal((rows, WIDTH), np.float32)
  z2 = z1 + g.standard_normal((rows, WIDTH), np.float32)
  return tuple(z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))


def jax_point(contender: str, rows: int, block_size: int | None):
  """A function without arguments: loss and gradients, ready."""
  import functools

  import jax
  import jax.numpy as jnp

  from mmalign_jax import losses
  loss = losses.info_nce if contender == 'plain' else functools.partial(
      losses.streaming_info_nce, block_size=block_size)
  both = jax.value_and_grad(
      lambda z1, z2, t: jnp.mean(loss(z1, z2, temperature=t)), argnums=(0, 1, 2))
  arguments = *map(jnp.asarray, embeddings(rows)), jnp.float32(TEMPERATURE)
  compiled = jax.jit(both).lower(*arguments).compile()

  def run():
    value, (to_z1, to_z2, to_t) = jax.block_until_ready(compiled(*arguments))
    return value, to_z1, to_z2, -TEMPERATURE**2 * to_t  # torch has the scale, 1 / temperature

  return run


def torch_point(rows: int):
  """A function without arguments: loss and gradients."""
  import torch
  from torch.nn import functional as F
  torch.set_num_threads(len(os.sched_getaffinity(0)))
  z1, z2 = (torch.from_numpy(z).requires_grad_() for z in embeddings(rows))
  scale = torch.tensor(1 / TEMPERATURE, requires_grad=True)
  labels = torch.arange(rows)

  def run():
    logits = scale * z1 @ z2.T
    loss = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    return loss.detach(), *(g.detach() for g in torch.autograd.grad(loss, (z1, z2, scale)))

  return run


def resident_kb() -> int:
  """What is in memory now; forgets the peak so far, which arrays that were freed may have set."""
  pathlib.Path('/proc/self/clear_refs').write_text('5')
  return status_kb('VmRSS')


def peak_kb() -> int:
  """The most that was in memory since `resident_kb`."""
  return status_kb('VmHWM')


def status_kb(field: str) -> int:
  lines = pathlib.Path('/proc/self/status').read_text().splitlines()
  return next(int(line.split()[1]) for line in lines if line.startswith(field))


def point(contender: str, rows: int, block_size: int | None, seconds: float) -> dict:
  """Times and peak memory of one contender at one size, in this process."""
  make = (lambda n: torch_point(n)) if contender == 'torch' else (
      lambda n: jax_point(contender, n, block_size))
  make(64)()  # libraries, threads and the compiler are in memory now
  run = make(rows)
  before = resident_kb()
  times, start = [], time.perf_counter()
  while not times or (time.perf_counter() - start < seconds and len(times) < 50):
    first = time.perf_counter()
    result = run()
    times.append(time.perf_counter() - first)
  after = peak_kb()
  times = times[1:] or times  # the first call also asks the system for its memory
  norm = lambda x: math.sqrt(float((x * x).sum()))
  return dict(contender=contender, rows=rows, median_s=statistics.median(times), min_s=min(times),
              calls=len(times), memory_gb=(after - before) * 1024 / 1e9, loss=float(result[0]),
              load=os.getloadavg()[0],  # above the number of cores, others slowed this point
              gradient_norms=[norm(g) for g in result[1:]])


def needed_gb(contender: str, rows: int) -> float:
  return NEEDED[contender] * 4 * rows**2 / 1e9


def points(sizes, args: argparse.Namespace) -> list[dict]:
  """A process per point, small sizes first."""
  found = []
  for rows in sizes:
    for contender in NEEDED:
      if needed_gb(contender, rows) > args.limit_gb:
        print(f'{rows:6} {contender:10} left out: needs about {needed_gb(contender, rows):.0f} GB')
        continue
      command = [sys.executable, __file__, '--point', contender, str(rows),
                 f'--seconds={args.seconds}']
      if args.block_size:
        command.append(f'--block_size={args.block_size}')
      done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
      found.append(json.loads(done.stdout))
      print('{rows:6} {contender:10} {median_s:9.4f} s {memory_gb:7.3f} GB {calls:3} calls  '
            'loss {loss:.6f}  load {load:.1f}'.format(**found[-1]), flush=True)
  return found


def difference(found: list[dict]) -> float:
  """Largest relative difference of a loss or a norm of a gradient from that of streaming."""
  numbers = lambda p: [p['loss'], *p['gradient_norms']]
  reference = {p['rows']: numbers(p) for p in found if p['contender'] == 'streaming'}
  return max(abs(x - y) / abs(y) for p in found
             for x, y in zip(numbers(p), reference[p['rows']], strict=True))


def verdicts(found: list[dict]) -> dict[str, dict]:
  """What was measured of each target, where its sizes were run."""
  at = {(p['contender'], p['rows']): p for p in found}
  values = {}
  if {('streaming', 2048), ('plain', 2048)} <= set(at):
    values['time of streaming over plain at 2,048'] = (
        at['streaming', 2048]['median_s'] / at['plain', 2048]['median_s'])
  if ('streaming', 32768) in at:
    values['GB of streaming at 32,768'] = at['streaming', 32768]['memory_gb']
  result = {k: dict(value=v, target=TARGETS[k], met=v <= TARGETS[k]) for k, v in values.items()}
  for name, row in result.items():
    print(f'{name}: {row["value"]:.3f}, target {row["target"]}: '
          f'{"met" if row["met"] else "MISSED"}')
  return result


def environment() -> dict[str, object]:
  """What the numbers were measured on; versions without importing jax or torch."""
  from importlib import metadata
  info = pathlib.Path('/proc/cpuinfo')
  lines = info.read_text().splitlines() if info.exists() else []
  model = next((x.split(': ')[1] for x in lines if x.startswith('model name')), 'unknown')
  return dict(device=f'cpu-{len(os.sched_getaffinity(0))}-cores', cpu=model,
              load=os.getloadavg()[0], python=sys.version.split()[0],
              **{name: metadata.version(name) for name in ('jax', 'torch', 'numpy')})


def draw(found: list[dict], device: str, path: pathlib.Path) -> None:
  """Two panels against the size of the batch: seconds and gigabytes."""
  from mmalign_jax.reports import style
  looks = {'streaming': ('mmalign_jax, streaming', style.BLUE, 'o-'),
           'plain': ('mmalign_jax, plain', style.ORANGE, 's--'),
           'torch': ('PyTorch, as in CLIP training', '#444444', '^:')}
  figure, ((left, right),) = style.grid(7.6, 3.3, nrows=1, ncols=2)
  for axes, key, label in ((left, 'median_s', 'seconds, forward and backward'),
                           (right, 'memory_gb', 'GB beyond the embeddings, peak')):
    for name, (text, color, line) in looks.items():
      mine = [p for p in found if p['contender'] == name and p[key] > 0]
      axes.loglog([p['rows'] for p in mine], [p[key] for p in mine], line, color=color, label=text,
                  markersize=4)
    sizes = sorted({p['rows'] for p in found})
    axes.set_xticks(sizes, [f'{n:,}' for n in sizes], rotation=45)
    axes.minorticks_off()
    axes.set_xlabel('batch size')
    axes.set_ylabel(label)
  left.set_title(f'InfoNCE, {WIDTH}-wide embeddings, {device.replace("-", " ")}', loc='left',
                 fontsize=9)
  right.legend(frameon=False, loc='upper left', fontsize=8)
  path.parent.mkdir(parents=True, exist_ok=True)
  style.save(figure, path)
  print(f'wrote {path}')


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
  parser.add_argument('--sizes', type=int, nargs='+', default=SIZES)
  parser.add_argument('--block_size', type=int, help='of streaming; its default otherwise')
  parser.add_argument('--seconds', type=float, default=3.0, help='after which no call is begun')
  parser.add_argument('--limit_gb', type=float, default=6.0)
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--figure', type=pathlib.Path)
  parser.add_argument('--point', nargs=2, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.point:
    print(json.dumps(point(args.point[0], int(args.point[1]), args.block_size, args.seconds)))
    return 0
  return run(args)


def run(args: argparse.Namespace) -> int:
  """The whole comparison, printed and written to files; returns the exit status."""
  result = dict(environment=environment(), width=WIDTH, temperature=TEMPERATURE)
  print(result['environment'])
  result['points'] = found = points(sorted(args.sizes), args)
  result['difference'] = difference(found)
  print(f'losses and gradients differ by {result["difference"]:.1e}, tolerance {TOLERANCE}')
  result['verdicts'] = verdicts(found)
  if args.json:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=2) + '\n')
    print(f'wrote {args.json}')
  if args.figure:
    draw(found, result['environment']['device'], args.figure)
  return 0 if result['difference'] <= TOLERANCE else 1


if __name__ == '__main__':
  sys.exit(main())
