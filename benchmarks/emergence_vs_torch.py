"""Encoders trained alone, against PyTorch: microseconds per encoder and step, by depth.

  python benchmarks/emergence_vs_torch.py [--depths 1 4 7 10] [--epochs 20] [--repeats 3]
    [--json FILE]

Every contender trains the same encoders (nine values of U, one transform) on the same samples,
batches and initial parameters, in one process, in interleaved repeats; first their gradients and
the parameters after a few steps are compared. Exit status: 1 where they differ, 2 without torch.

  ours    units in worker threads, as the product runs them; it alone also draws the data,
          validates after every epoch, keeps the best parameters and evaluates them exactly
  masked  the same with one program for all depths: ten layers, those above the depth passed through
  loop    PyTorch, in-memory data, one encoder after another; the better of 1 and 2 threads
  vmap    torch.func: vmap(grad) over the nine, AdamW written for all at once; likewise

PyTorch runs one epoch, whose steps all cost alike; ours `--epochs`, so that what it does once an
encoder (drawing, evaluating) weighs little, as in the study's 300. The floor is the time of a
step's matrix products alone at the rate of one large product.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from mmalign_jax import losses, rng
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.encoders import sides
from mmalign_jax.runs import devices as parallel
from mmalign_jax.studies.emergence import plan, programs
from mmalign_jax.training import alone
from mmalign_jax.training.step import descend, optimizer
from mmalign_jax.types import TrainState

try:
  import torch
  from torch.func import functional_call, grad, stack_module_state, vmap
  from torch.nn import functional as F
except ImportError:
  print('torch is missing: pip install torch (or pip install "mmalign_jax[bench]")')
  sys.exit(2)

TARGETS = {'loop': 6.0, 'vmap': 1.5}
RATE, DECAY, CLIP = 1e-2, 1e-3, 8.0
PLAN = plan.from_settings({})
SEED, TRANSFORM = 0, 5


def unit_of(depth: int, epochs: int, transform: int = TRANSFORM) -> plan.Unit:
  return plan.Unit(2, depth, transform, SEED, epochs, RATE, DECAY)


def samples(depth: int, epochs: int):
  """x [N, 12], y [R, N], order [T, B] and initial parameters [R, ...] of the unit of a depth."""
  unit = unit_of(depth, epochs)
  spec, hyper = PLAN.protocol(unit).spec, jax.tree.map(jnp.asarray, PLAN.hyper(unit))
  source, n = SOURCES['bits'], spec.max_train

  def draw(h):
    draws = source.draw(PLAN.tables, h, rng.stream(h.seed, 'data'), n + 9830)
    return source.inputs(PLAN.tables, h, (draws.rows[1],) * 2)[1][:n], draws.y[:n]

  x, y = jax.vmap(draw, in_axes=(alone.unit_axes(),))(hyper)
  steps = n // spec.batch_size
  key = rng.stream(jnp.uint32(SEED), 'order_2')
  order = np.concatenate([np.asarray(rng.permute(
      jax.random.fold_in(key, e), jnp.arange(steps * spec.batch_size), n)).reshape(steps, -1)
      for e in range(epochs)])
  params = sides.init(
      rng.stream(jnp.uint32(SEED), 'init_2'), (sides.Side(spec, 4),), 12)['side_1']['params']
  return np.array(x[0]), np.array(y), order, params


# -- PyTorch -------------------------------------------------------------------------------------


class Encoder(torch.nn.Module):
  """mmalign_jax.encoders.sides.MLP and its head: x [B, 12] -> logits [B, 4]."""

  def __init__(self, depth: int):
    super().__init__()
    self.layers = torch.nn.ModuleList(torch.nn.Linear(12, 12) for _ in range(depth))
    self.head = torch.nn.Linear(12, 4)

  def forward(self, x):
    for layer in self.layers:
      x = F.leaky_relu(layer(x), 0.1)
    return self.head(x)


def model_of(params, depth: int) -> Encoder:
  model = Encoder(depth)
  put = lambda layer, p: (layer.weight.data.copy_(torch.from_numpy(np.array(p['kernel']))),
                          layer.bias.data.copy_(torch.from_numpy(np.array(p['bias']))))
  for i, layer in enumerate(model.layers):
    put(layer, params['encoder'][f'Dense_{i}'])
  put(model.head, params['head'])
  return model


def torch_loop(data, depth: int, cells: int, threads: int):
  """A plain loop over encoders and batches; gives the last model."""
  torch.set_num_threads(threads)
  x, y, order, params = data
  x, order = torch.from_numpy(x), torch.from_numpy(order.astype(np.int64))
  for r in range(cells):
    model, labels = model_of(params, depth), torch.from_numpy(y[r].astype(np.int64))
    adamw = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, fused=True)
    for batch in order:
      adamw.zero_grad()
      F.cross_entropy(model(x[batch]), labels[batch]).backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
      adamw.step()
  return model


def torch_vmap(data, depth: int, threads: int):
  """vmap(grad) over all encoders; gives their parameters [R, ...]."""
  torch.set_num_threads(threads)
  x, y, order, params = data
  x, y, order = (torch.from_numpy(v) for v in (x, y.astype(np.int64), order.astype(np.int64)))
  models = [model_of(params, depth) for _ in range(len(y))]
  weights, _ = stack_module_state(models)
  weights = {k: v.detach() for k, v in weights.items()}
  base = models[0].to('meta')
  loss = lambda w, x, y: F.cross_entropy(functional_call(base, w, (x,)), y)
  gradient = vmap(grad(loss), in_dims=(0, None, 0))
  first, second = ({k: torch.zeros_like(v) for k, v in weights.items()} for _ in range(2))
  for t, batch in enumerate(order, start=1):
    g = gradient(weights, x[batch], y[:, batch])
    norm = torch.sqrt(sum(v.flatten(1).square().sum(1) for v in g.values()))
    scale = torch.clamp(CLIP / norm, max=1.0)
    for k, v in g.items():
      v = v * scale.view(-1, *[1] * (v.ndim - 1))
      first[k].mul_(0.9).add_(v, alpha=0.1)
      second[k].mul_(0.999).addcmul_(v, v, value=0.001)
      step = (first[k] / (1 - 0.9**t)) / (torch.sqrt(second[k] / (1 - 0.999**t)) + 1e-8)
      weights[k] = weights[k] - RATE * (step + DECAY * weights[k])
  return weights


# -- ours ----------------------------------------------------------------------------------------


def ours(depth: int, epochs: int):
  """Units in worker threads, as the product: the first's Trained, and how many there were."""
  units = [unit_of(depth, epochs), unit_of(depth, epochs, TRANSFORM + 1)][:parallel.cores()]
  devices = parallel.plan()
  size = programs.group_size(devices, 9)
  run = lambda u: programs.train_group(PLAN, [u], size, devices)[0]
  with concurrent.futures.ThreadPoolExecutor(len(units)) as pool:
    return next(iter(pool.map(run, units))), len(units)


@functools.lru_cache(maxsize=None)
def masked_program(epochs: int):
  """One program for every depth: ten layers, those above `depth` [] pass their input through."""
  spec = dataclasses.replace(PLAN.spec, depth=10)

  def apply(params, x, depth):
    h = x.T
    for i in range(10):
      layer = params['encoder'][f'Dense_{i}']
      new = jnp.dot(layer['kernel'], h, precision='highest') + layer['bias'][:, None]
      h = jnp.where(i < depth, jax.nn.leaky_relu(new, 0.1), h)
    return (jnp.dot(params['head']['kernel'], h, precision='highest')
            + params['head']['bias'][:, None]).T

  def one(params, x, y, order, depth):
    state = TrainState(jnp.zeros((), jnp.int32), params, optimizer(spec).init(params))
    hyper = dataclasses.replace(jax.tree.map(jnp.float32, plan.Hyper()),
                                learning_rate=RATE, weight_decay=DECAY)

    def step(state, batch):
      loss = lambda p: jnp.mean(losses.cross_entropy(apply(p, x[batch], depth), y[batch]))
      return descend(state, jax.grad(loss)(state.params), hyper, spec=spec), None
    return jax.lax.scan(step, state, order)[0].params

  return jax.jit(jax.vmap(one, in_axes=(None, None, 0, None, None)))


def masked(data, depth: int, epochs: int, params):
  x, y, order, _ = data
  run = masked_program(epochs)
  work = lambda _: jax.block_until_ready(run(params, x, y, order, jnp.int32(depth)))
  with concurrent.futures.ThreadPoolExecutor(parallel.cores()) as pool:
    return list(pool.map(work, range(parallel.cores())))[0]


# -- comparison ----------------------------------------------------------------------------------


def flops(depth: int, batch: int = 512) -> float:
  """Of one step's matrix products: forward, twice that backward, less the inputs' gradient."""
  return 2 * batch * (3 * (144 * depth + 48) - 144)


def rate(n: int = 1024) -> float:
  """Flop/s of one large product, both cores."""
  a = jnp.ones((n, n))
  product = jax.jit(lambda a: jnp.dot(a, a, precision='highest'))
  jax.block_until_ready(product(a))
  times = [timed(lambda: jax.block_until_ready(product(a)))[0] for _ in range(10)]
  return 2 * n**3 / min(times)


def timed(function):
  start = time.perf_counter()
  result = function()
  return time.perf_counter() - start, result


def check(depth: int) -> float:
  """Largest difference between contenders: of gradients, and of parameters after 20 steps."""
  x, y, order, params = samples(depth, 1)
  few = (x, y, order[:20], params)
  module = sides.Side(dataclasses.replace(PLAN.spec, depth=depth), 4)
  batch = order[0]
  g = jax.grad(lambda p: jnp.mean(losses.cross_entropy(
      module.apply({'params': p}, x[batch]).prediction, jnp.asarray(y[0][batch]))))(params)
  model = model_of(params, depth)
  F.cross_entropy(model(torch.from_numpy(x[batch])),
                  torch.from_numpy(y[0][batch].astype(np.int64))).backward()
  off = max(float(np.abs(model.layers[i].weight.grad.numpy()
                         - np.asarray(g['encoder'][f'Dense_{i}']['kernel'])).max())
            for i in range(depth))
  looped, ensemble = torch_loop(few, depth, 1, 1), torch_vmap(few, depth, 1)
  again = masked_program(1)(samples(10, 1)[3], *few[:3], jnp.int32(depth)) if depth == 10 else None
  for i in range(depth):
    one = looped.layers[i].weight.detach().numpy()
    off = max(off, float(np.abs(one - ensemble[f'layers.{i}.weight'][0].numpy()).max()))
    if again is not None:
      off = max(off, float(np.abs(one - np.asarray(again['encoder'][f'Dense_{i}']['kernel'][0]))
                           .max()))
  return off


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--depths', type=int, nargs='+', default=[1, 4, 7, 10])
  parser.add_argument('--epochs', type=int, default=20)
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--torch_cells', type=int, default=1)
  parser.add_argument('--json')
  asked = parser.parse_args()
  off = {d: check(d) for d in asked.depths}
  print('largest difference of gradients, and of parameters after 20 steps:',
        ', '.join(f'{v:.1e}' for v in off.values()))
  if max(off.values()) > 1e-3:
    return 1
  flop_rate, rows = rate(), []
  whole = PLAN.settings['epochs_2'] * (45875 // 512)
  for depth in asked.depths:
    data, short, ten = samples(depth, asked.epochs), samples(depth, 1), samples(10, 1)[3]
    steps, few = len(data[2]), len(short[2])
    compiling = timed(lambda: ours(depth, asked.epochs))[0]
    compiling_masked = timed(lambda: masked(data, depth, asked.epochs, ten))[0]
    found = {'ours': [], 'masked': [], 'loop': [], 'vmap': []}
    for _ in range(asked.repeats):
      seconds, (_, units) = timed(lambda: ours(depth, asked.epochs))
      found['ours'].append(seconds / units / 9 / steps)
      seconds, _ = timed(lambda: masked(data, depth, asked.epochs, ten))
      found['masked'].append(seconds / parallel.cores() / 9 / steps)
      found['loop'].append(min(timed(lambda: torch_loop(short, depth, asked.torch_cells, n))[0]
                               for n in (1, 2)) / asked.torch_cells / few)
      found['vmap'].append(min(timed(lambda: torch_vmap(short, depth, n))[0]
                               for n in (1, 2)) / 9 / few)
    us = {k: 1e6 * statistics.median(v) for k, v in found.items()}
    floor = 1e6 * flops(depth) / flop_rate
    rows.append({'depth': depth, **{f'{k}_us': v for k, v in us.items()}, 'floor_us': floor,
                 'floor_share': floor / us['ours'],
                 'cells_per_second': 1e6 / us['ours'] / whole,
                 **{f'times_{k}': us[k] / us['ours'] for k in ('masked', 'loop', 'vmap')},
                 'first_call_s': compiling, 'first_call_masked_s': compiling_masked})
    print(f'depth {depth}: ours {us["ours"]:.0f} us ({100 * floor / us["ours"]:.0f} % of the '
          f'floor\'s rate, {1e6 / us["ours"] / whole:.2f} encoders/s at {whole} steps), '
          + ', '.join(f'{k} {us[k]:.0f} us ({us[k] / us["ours"]:.1f} x)'
                      for k in ('masked', 'loop', 'vmap'))
          + f'; first call {compiling:.1f} s, masked {compiling_masked:.1f} s', flush=True)
  for name, target in TARGETS.items():
    worst = min(row[f'times_{name}'] for row in rows)
    print(f'{name}: at least {worst:.1f} x ours (target {target} x)')
  if asked.json:
    with open(asked.json, 'w') as file:
      json.dump({'device': str(jax.devices()[0]), 'cores': parallel.cores(),
                 'jax': jax.__version__, 'torch': torch.__version__,
                 'product_gflops': flop_rate / 1e9, 'rows': rows}, file, indent=1)
  return 0


if __name__ == '__main__':
  sys.exit(main())
