"""The sweep against PyTorch and plain JAX: microseconds per step of one pair of encoders.

  python benchmarks/sweep_vs_torch.py [--steps 200] [--repeats 3] [--chunks] [--out FILE]

Every contender trains the same cells on the same data, in one process, in interleaved repeats:
  ours  run_sweep in worker threads, as the product runs it; it alone also draws the data, and it
        evaluates every cell (as does 'c, scan per cell'), so it does more work than the others
  a     PyTorch, cell after cell            b  torch.func: vmap(grad) over an ensemble
  c     JAX without the sweep: jit of one cell's run, or of one step, called from Python
First the gradients of all of them are compared. Exit status: 1 where they differ, 2 without torch.
"""

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import re
import statistics
import sys
import time

import chex
from flax.traverse_util import flatten_dict
import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import objective, rng
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.runs import devices
from mmalign_jax.training.batches import batch_rows
from mmalign_jax.training.memory import chunk_size
from mmalign_jax.training.step import init_state, train_step
from mmalign_jax.training.sweep import grid, make_tables, run_cell, run_sweep
from mmalign_jax.types import Batch, Hyper, PyTree, Spec, TrainState

try:
  import torch
  from torch import nn
  from torch.func import functional_call, grad, stack_module_state, vmap
  from torch.nn import functional as F
except ImportError:
  print('torch is missing: pip install torch (or pip install "mmalign_jax[bench]")')
  sys.exit(2)

TARGETS = {'a': 6.0, 'b': 1.5, 'c': 1.3}
TOLERANCE = 1e-4
DEVICE = 'cuda' if jax.default_backend() == 'gpu' and torch.cuda.is_available() else 'cpu'


@dataclasses.dataclass
class Problem:
  """R cells: what each trains on. data [R, N, ...], order [R, T, B] i32, state [R, ...]."""
  spec: Spec
  hypers: Hyper
  tables: PyTree
  n_outputs: int
  data: Batch
  order: chex.Array
  state: TrainState


def build(spec: Spec, hypers: Hyper) -> Problem:
  """The data, batches and initial parameters that run_sweep makes for itself."""
  tables, source = make_tables(spec), SOURCES[spec.generator]
  n_outputs = source.n_outputs(tables)

  def cell(hyper):
    draws = source.draw(tables, hyper, rng.stream(hyper.seed, 'data'), spec.max_train)
    x = source.inputs(tables, hyper, draws.rows)
    state = init_state(rng.stream(hyper.seed, 'init'), hyper, *(one.shape[1] for one in x),
                       spec=spec, n_outputs=n_outputs)
    key = rng.stream(hyper.seed, 'order')
    rows = lambda t: batch_rows(key, t, hyper.n_train, batch_size=spec.batch_size)
    return Batch(x, draws.y), jax.vmap(rows)(jnp.arange(spec.steps)), state

  return Problem(spec, hypers, tables, n_outputs, *jax.jit(jax.vmap(cell))(hypers))


def at(tree: PyTree, r) -> PyTree:
  """Cell r (or cells r) of a tree of [R, ...]."""
  return jax.tree.map(lambda v: v[r], tree)


class Side(nn.Module):
  """mmalign_jax.encoders.sides.Side in PyTorch."""

  def __init__(self, spec: Spec, x_width: int, n_outputs: int):
    super().__init__()
    self.encoder = nn.ModuleList(
        nn.Linear(spec.width if i else x_width, spec.width) for i in range(spec.depth))
    self.projection = nn.Linear(spec.width, spec.projection_width)
    self.head = nn.Linear(spec.width, n_outputs)

  def forward(self, x):
    for layer in self.encoder:
      x = F.leaky_relu(layer(x), 0.1)
    return F.normalize(self.projection(x), dim=-1), self.head(x)


class Pair(nn.Module):
  """Both encoders: x1, x2 [B, D] -> the loss []."""

  def __init__(self, p: Problem):
    super().__init__()
    self.side_1 = Side(p.spec, p.data.x[0].shape[-1], p.n_outputs)
    self.side_2 = Side(p.spec, p.data.x[1].shape[-1], p.n_outputs)
    self.temperature = float(p.hypers.temperature[0])

  def forward(self, x1, x2, y, lam):
    (z1, prediction_1), (z2, prediction_2) = self.side_1(x1), self.side_2(x2)
    logits = z1 @ z2.T / self.temperature
    positive = torch.arange(len(logits), device=logits.device)
    align = (F.cross_entropy(logits, positive) + F.cross_entropy(logits.T, positive)) / 2
    return F.cross_entropy(prediction_1, y) + F.cross_entropy(prediction_2, y) + lam * align


def torch_names(params: PyTree) -> dict[str, np.ndarray]:
  """A tree of parameters (or gradients) under the names of Pair."""
  rename = lambda name: re.sub(r'params\.|Dense_|(?<=projection\.)out\.', '', name).replace(
      'kernel', 'weight')
  return {rename(k): np.array(v) for k, v in flatten_dict(params, sep='.').items()}


def to_torch(x) -> torch.Tensor:
  """An array on the device; i64 where it holds integers, as PyTorch's losses and indices want."""
  x = torch.from_numpy(np.array(x))
  return x.to(DEVICE, x.dtype if x.is_floating_point() else torch.int64)


def model_of(p: Problem, r: int) -> Pair:
  """Pair with the initial parameters of cell r."""
  model = Pair(p)
  model.load_state_dict({k: torch.from_numpy(v[r]) for k, v in torch_names(p.state.params).items()})
  return model.to(DEVICE)


def adamw(params, p: Problem, fused: bool) -> torch.optim.AdamW:
  return torch.optim.AdamW(params, lr=float(p.hypers.learning_rate[0]), fused=fused or None,
                           weight_decay=float(p.hypers.weight_decay[0]))


def torch_loop(p: Problem, cells: range, threads: int, fused: bool) -> None:
  """(a) A plain loop, cell after cell."""
  torch.set_num_threads(threads)
  for r in cells:
    model, lam = model_of(p, r), float(p.hypers.lam[r])
    x1, x2, y, order = (to_torch(v[r]) for v in (*p.data.x, p.data.y, p.order))
    optimizer = adamw(model.parameters(), p, fused)
    for i in order:
      optimizer.zero_grad()
      model(x1[i], x2[i], y[i], lam).backward()
      nn.utils.clip_grad_norm_(model.parameters(), p.spec.clip_norm)
      optimizer.step()
    model.side_1.head.bias.tolist()  # waits for a GPU


def ensemble(p: Problem, cells: range):
  """Stacked parameters {name: [R, ...]} and vmap(grad) of the loss with respect to them."""
  params, _ = stack_module_state([model_of(p, r) for r in cells])
  params = {name: v.detach() for name, v in params.items()}  # else autograd records the gradients
  base = Pair(p).to('meta')
  return params, vmap(grad(lambda params, *batch: functional_call(base, params, batch)))


def torch_vmap(p: Problem, size: int, threads: int) -> None:
  """(b) Ensembles of `size` cells. AdamW is elementwise, so one of PyTorch's serves the stack."""
  torch.set_num_threads(threads)
  n_cells = len(p.hypers.lam)
  for cells in (range(s, min(s + size, n_cells)) for s in range(0, n_cells, size)):
    params, gradient = ensemble(p, cells)
    optimizer = adamw(params.values(), p, fused=True)
    piece = slice(cells.start, cells.stop)
    x1, x2, y, order, lam = (to_torch(v[piece]) for v in (
        *p.data.x, p.data.y, p.order, p.hypers.lam))
    rows = torch.arange(len(cells), device=DEVICE)[:, None]
    for i in order.unbind(1):
      grads = gradient(params, x1[rows, i], x2[rows, i], y[rows, i], lam)
      norms = torch.stack([g.flatten(1).norm(dim=1) for g in grads.values()])
      scale = (p.spec.clip_norm / (norms.norm(dim=0) + 1e-6)).clamp(max=1)
      for name, g in grads.items():
        params[name].grad = g * scale.view(-1, *[1] * (g.ndim - 1))
      optimizer.step()
    params['side_1.head.bias'].tolist()  # waits for a GPU


def ours(p: Problem, chunk: int | None = None, workers: int | None = None) -> None:
  """run_sweep; without `chunk` and `workers` with the settings that a study picks."""
  plan = devices.plan()
  workers = workers or plan.workers
  size = chunk or chunk_size(p.spec, p.tables, len(p.hypers.lam), workers, best=plan.chunk)
  run_sweep(p.spec, p.hypers, tables=p.tables, chunk=-(-size // plan.multiple) * plan.multiple,
            workers=workers, place=plan.place)


def jax_steps(p: Problem, step, cells: range) -> None:
  """(c) One compiled step, called in a Python loop over steps and cells."""
  for r in cells:
    state, hyper, data = at(p.state, r), jax.device_put(at(p.hypers, r)), at(p.data, r)
    for i in list(np.asarray(p.order[r])):
      state = step(state, hyper, data, i)
    jax.block_until_ready(state)


def contenders(p: Problem, n_torch: int) -> dict[str, tuple]:
  """{name: (function, cells it trains)}; the first letter of a baseline is its group."""
  n, few = len(p.hypers.lam), range(n_torch)
  threads = sorted({1, devices.cores()}) if DEVICE == 'cpu' else [1]
  scan = jax.jit(functools.partial(run_cell, spec=p.spec))
  step = jax.jit(lambda state, hyper, data, i: train_step(
      state, hyper, at(data, i), spec=p.spec, n_outputs=p.n_outputs)[0])
  rows = {'ours': (lambda: ours(p), n)}
  for k in threads:
    for fused in (False, True):
      name = f'a torch loop, {"fused" if fused else "default"} AdamW, threads {k}'
      rows[name] = (functools.partial(torch_loop, p, few, k, fused), n_torch)
    for size in (n, 18):
      rows[f'b torch.func, {size} cells, threads {k}'] = (
          functools.partial(torch_vmap, p, size, k), n)
  rows['c jax, scan per cell'] = (
      lambda: [jax.device_get(scan(at(p.hypers, r), p.tables)) for r in range(n)], n)
  rows['c jax, jit per step'] = (lambda: jax_steps(p, step, few), n_torch)
  return rows


def gradient_differences(p: Problem) -> dict[str, float]:
  """max |difference| / max |gradient|, the worst of all parameters, of (a) and (b) from ours."""
  cells = range(3)
  batch = jax.vmap(at)(at(p.data, slice(3)), p.order[:3, 0])
  loss = functools.partial(objective.objective, spec=p.spec, n_outputs=p.n_outputs)
  gradient = jax.jit(jax.vmap(jax.grad(loss, has_aux=True), in_axes=(0, 0, 0, None)))
  hypers = at(p.hypers, slice(3)).replace(lam=np.full(3, 0.8, np.float32))
  expected = torch_names(gradient(at(p.state.params, slice(3)), hypers, batch, 0.0)[0])
  batch = [to_torch(v) for v in (*batch.x, batch.y)]
  models = [model_of(p, r) for r in cells]
  for r, model in enumerate(models):
    model(*(v[r] for v in batch), 0.8).backward()
  params, vmapped = ensemble(p, cells)
  found = {'a': {k: torch.stack([m.get_parameter(k).grad for m in models]) for k in expected},
           'b': vmapped(params, *batch, torch.full((3,), 0.8, device=DEVICE))}
  worst = lambda g: max(float(np.abs(g[k].detach().cpu().numpy() - e).max() / np.abs(e).max())
                        for k, e in expected.items())
  return {name: worst(g) for name, g in found.items()}


def timed(function) -> float:
  """Seconds of one call, after a rest in which the threads of the last contender stop spinning."""
  time.sleep(0.3)
  start = time.perf_counter()
  function()
  return time.perf_counter() - start


def measure(rows: dict[str, tuple], steps: int, repeats: int) -> dict[str, dict]:
  """Interleaved repeats: {name: us per pair and step, and what the first call cost beyond them}."""
  first = {name: timed(function) for name, (function, _) in rows.items()}
  seconds = {name: [] for name in rows}
  for _ in range(repeats):
    for name, (function, _) in rows.items():
      seconds[name].append(timed(function))
  result = {}
  for name, (_, cells) in rows.items():
    us = [1e6 * s / (cells * steps) for s in seconds[name]]
    result[name] = dict(median_us=statistics.median(us), min_us=min(us), all_us=us, cells=cells,
                        compile_s=max(0.0, first[name] - min(seconds[name])))
  return result


def matrix_flops(p: Problem) -> int:
  """Floating-point operations of the matrix products of one step of one pair."""
  spec, batch = p.spec, p.spec.batch_size
  total = 3 * batch * batch * spec.projection_width  # logits, and their gradients to z1 and z2
  for x in p.data.x:
    first = x.shape[-1] * spec.width  # needs no gradient of its input
    rest = spec.width * ((spec.depth - 1) * spec.width + spec.projection_width + p.n_outputs)
    total += batch * (2 * first + 3 * rest)
  return 2 * total


def matmul_rate(n: int = 1536) -> float:
  """Best floating-point operations a second of an f32 [n, n] product, all cores."""
  x = jax.random.normal(jax.random.key(0), (n, n))
  product = jax.jit(lambda x: jnp.dot(x, x, precision='highest'))
  run = lambda: product(x).block_until_ready()
  return 2 * n ** 3 / min(timed(run) for _ in range(6))


def environment() -> dict[str, object]:
  """What the numbers were measured on."""
  info = pathlib.Path('/proc/cpuinfo')
  model = re.search(r'model name\s*: (.*)', info.read_text()) if info.exists() else None
  return dict(
      device=f'cpu-{devices.cores()}-cores' if DEVICE == 'cpu' else
      jax.devices()[0].device_kind.lower().replace(' ', '-'), cores=devices.cores(),
      cpu=model[1] if model else 'unknown', load=os.getloadavg()[0],
      jax=jax.__version__, torch=torch.__version__, numpy=np.__version__, python=sys.version[:7])


def print_rows(rows: dict[str, dict], reference: float) -> None:
  print(f'{"us per pair and step":42}   median      min   ratio  compile s  cells')
  for name, row in rows.items():
    row['ratio'] = row['median_us'] / reference
    print(f'{name:42}{row["median_us"]:9.1f}{row["min_us"]:9.1f}{row["ratio"]:8.2f}'
          f'{row["compile_s"]:11.1f}{row["cells"]:7}')


def verdicts(rows: dict[str, dict]) -> dict[str, dict]:
  """Per group the fastest baseline over ours, against its target."""
  result = {}
  for group, target in TARGETS.items():
    name = min((n for n in rows if n.startswith(f'{group} ')), key=lambda n: rows[n]['median_us'])
    ratio = rows[name]['ratio']
    result[group] = dict(best=name, ratio=ratio, target=target, met=ratio >= target)
    print(f'({group}) {ratio:.2f}x, target {target}: {"met" if ratio >= target else "MISSED"}'
          f' ({name[2:]})')
  return result


def chunk_rows(p: Problem) -> dict[str, tuple]:
  """Ours for several sizes of chunk; run_sweep trains the first chunk before it starts threads."""
  return {f'chunk {size}, workers {workers}': (
      functools.partial(ours, p, size, workers), len(p.hypers.lam))
          for size in (1, 3, 6, 12, 18, 45, 90) for workers in (1, 2)}


def floor(p: Problem, reference: float) -> dict[str, float]:
  """What the matrix products of a step alone would take, of `reference` us."""
  flops, rate = matrix_flops(p), matmul_rate()
  us = 1e6 * flops / rate
  print(f'floor: {flops / 1e6:.2f} MFLOP of matrix products at {rate / 1e9:.0f} GFLOP/s take '
        f'{us:.1f} us, {us / reference:.0%} of ours')
  return dict(flops=flops, flops_per_s=rate, us=us, share=us / reference)


def write(result: dict, out: pathlib.Path | None) -> None:
  """Writes the JSON, to benchmarks/results/ by default."""
  out = out or pathlib.Path(__file__).parent / (
      f'results/sweep_vs_torch_{result["environment"]["device"]}.json')
  out.parent.mkdir(parents=True, exist_ok=True)
  out.write_text(json.dumps(result, indent=2) + '\n')
  print(f'wrote {out}')


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
  parser.add_argument('--steps', type=int, default=200)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--torch_cells', type=int, default=6, help='cells of (a) and of jit per step')
  parser.add_argument('--chunks', action='store_true', help='also compare sizes of chunks')
  parser.add_argument('--out', type=pathlib.Path)
  return run(parser.parse_args())


def run(args: argparse.Namespace) -> int:
  """The whole comparison, printed and written to a file; returns the exit status."""
  result = dict(environment=environment(), arguments=vars(args) | {'out': str(args.out)})
  p = build(Spec(steps=args.steps), grid(
      {'redundancy': (0, 4, 8), 'lam': np.linspace(0, 2, 6), 'seed': range(5)},
      temperature=0.1, n_train=512, learning_rate=5e-3, weight_decay=1e-2))
  print(result['environment'])
  result['gradients'] = gradient_differences(p)
  print(f'gradients relative to ours, tolerance {TOLERANCE}: {result["gradients"]}')
  if not max(result['gradients'].values()) <= TOLERANCE:
    print('the gradients differ')
    return 1
  result['rows'] = rows = measure(contenders(p, args.torch_cells), args.steps, args.repeats)
  print(f'{len(p.hypers.lam)} cells, {args.steps} steps, {args.repeats} repeats; (a) and jit per '
        f'step on {args.torch_cells} cells only, scaled; ours draws and evaluates too')
  print_rows(rows, rows['ours']['median_us'])
  result['verdicts'] = verdicts(rows)
  result['floor'] = floor(p, rows['ours']['median_us'])
  if args.chunks:
    result['chunks'] = measure(chunk_rows(p), args.steps, args.repeats)
    print_rows(result['chunks'], rows['ours']['median_us'])
  write(result, args.out)
  return 0


if __name__ == '__main__':
  sys.exit(main())
