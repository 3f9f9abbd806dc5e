"""Every objective beside a PyTorch formulation of it: microseconds, in one run.

  python benchmarks/objectives.py [--repeats 7] [--calls 30] [--rows 256] [--width 12] [--out FILE]

loss: value and gradients to both embeddings (and what a predictor or augmented copies give), of a
batch. `ours` is compiled; `6 cells` is the same under vmap, over 6; `torch` is eager autograd of
the usual formulation, all threads. Values and gradients must agree to 1e-3 of the largest. step: a
whole training step of a pair of 3 x 12 encoders in a sweep of 6 cells, ours alone, and over that of
InfoNCE. Repeats are interleaved; the median is said. Exit status: 1 where they differ, 2 without
torch.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax import Hyper, Spec, losses, rng  # noqa: E402
from mmalign_jax.training.step import init_state, train_step  # noqa: E402
from mmalign_jax.training.sweep import stack  # noqa: E402
from mmalign_jax.types import Batch, Outputs  # noqa: E402

try:
  import torch
  from torch.nn import functional as F
except ImportError:
  print('torch is missing: pip install torch (or pip install "mmalign_jax[bench]")')
  sys.exit(2)

T, CELLS = 0.1, 6


# -- the usual formulations, of a, b, what predictors say, and two copies of each ------------------


def unit(z):
  return F.normalize(z, dim=1)


def nce(z1, z2):
  logits, labels = z1 @ z2.T / T, torch.arange(len(z1))
  return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def sigmoid(a, b, *_):
  logits = unit(a) @ unit(b).T / T - 10
  return -F.logsigmoid((2 * torch.eye(len(a)) - 1) * logits).sum() / len(a)


def decoupled(a, b, *_):
  s = unit(a) @ unit(b).T / T
  masked = s.masked_fill(torch.eye(len(a), dtype=torch.bool), float('-inf'))
  return (-s.diag() + (masked.logsumexp(1) + masked.logsumexp(0)) / 2).mean()


def debiased(a, b, *_):
  e = torch.exp(unit(a) @ unit(b).T / T)
  own, n = e.diag(), len(a) - 1
  total = 0
  for axis in (0, 1):
    g = torch.clamp(((e.sum(axis) - own) / n - 0.1 * own) / 0.9, min=float(np.exp(-1 / T)))
    total = total - torch.log(own / (own + n * g)).mean() / 2
  return total


def prediction(a, b, pa, pb, *_):
  cos = F.cosine_similarity
  return 1 - (cos(pa, b.detach()).mean() + cos(pb, a.detach()).mean()) / 2


def vicreg(a, b, *_):
  total = 25 * F.mse_loss(a, b)
  for z in (a, b):
    z = z - z.mean(0)
    total = total + 25 * F.relu(1 - torch.sqrt(z.var(0) + 1e-4)).mean() / 2
    c = z.T @ z / (len(z) - 1)
    total = total + (c.pow(2).sum() - c.diag().pow(2).sum()) / z.shape[1]
  return total


def scaled(z):
  return (z - z.mean(0)) / z.std(0, unbiased=False)


def barlow(a, b, *_):
  c = scaled(a).T @ scaled(b) / len(a)
  on = (c.diag() - 1).pow(2).sum()
  return on + 0.005 * (c.pow(2).sum() - c.diag().pow(2).sum())


def soft_cca(a, b, *_):
  a, b = scaled(a), scaled(b)
  k = a.shape[1]
  off = sum((c.abs().sum() - c.diag().abs().sum()) / (k * (k - 1))
            for c in (z.T @ z / len(z) for z in (a, b)))
  return (a - b).pow(2).sum(1).mean() / (2 * k) + 0.1 * off


def shrunk(z):
  c = z.T @ z / len(z)
  return 0.9 * c + 0.1 * c.trace() / len(c) * torch.eye(len(c))


def correlation(a, b, *_):
  a, b = a - a.mean(0), b - b.mean(0)
  across = a.T @ b / len(a)
  m = torch.linalg.solve(shrunk(a), across) @ torch.linalg.solve(shrunk(b), across.T)
  return 1 - m.trace() / a.shape[1]


def hsic_u(k, m):
  n = len(k)
  k, m = (g - torch.diag(g.diag()) for g in (k, m))
  a, b = k.sum(1), m.sum(1)
  return ((k * m).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a * b).sum() / (n - 2)) / (
      n * (n - 3))


def cka(a, b, *_):
  k, m = a @ a.T, b @ b.T
  return 1 - hsic_u(k, m) / torch.sqrt(hsic_u(k, k) * hsic_u(m, m))


def hsic(a, b, *_):
  kernel = lambda z: torch.exp(-torch.cdist(z, z, compute_mode='use_mm_for_euclid_dist')**2 / 2)
  return -hsic_u(kernel(unit(a)), kernel(unit(b)))


def gap_aware(a, b, *_):
  a, b = unit(a), unit(b)
  c = (a + b) / 2
  near = (-2 * (c[:, None] - c[None]).pow(2).sum(2)).masked_fill(
      torch.eye(len(c), dtype=torch.bool), float('-inf'))
  return ((a - b).pow(2).sum(1) + near.logsumexp(1) - float(np.log(len(c) - 1))).mean()


def shared_own(a, b, *_):
  h = a.shape[1] // 2
  mixed = sum((scaled(z)[:, :h].T @ scaled(z)[:, h:] / len(z)).pow(2).mean() for z in (a, b))
  return nce(unit(a[:, :h]), unit(b[:, :h])) + mixed


def factorised(a, b, pa, pb):
  h = a.shape[1] // 2
  own = sum(nce(unit(p[:, h:]), unit((0.5 * z + p)[:, h:])) / 2 for z, p in ((a, pa), (b, pb)))
  s = unit(a[:, h:]) @ unit(b[:, h:]).T / T
  return nce(unit(a[:, :h]), unit(b[:, :h])) + own + s.diag().mean() - s.mean()


def comm(a, b, pa, pb):
  one = unit(unit(pa) + unit(pb))
  two = unit(unit(0.5 * a + pa) + unit(0.5 * b + pb))
  return nce(one, two) + sum((nce(unit(z), one) + nce(unit(z), two)) / 2 for z in (a, b))



def intra_modal(a, b, pa, pb):
  pair = lambda z, p, q: nce(p, q) + (nce(z, p) + nce(z, q)) / 2
  return sum(pair(unit(z), unit(p), unit(0.5 * z + p)) for z, p in ((a, pa), (b, pb)))


TORCH = {
    'info_nce': lambda a, b, *_: nce(unit(a), unit(b)), 'sigmoid': sigmoid,
    'decoupled_info_nce': decoupled, 'debiased_info_nce': debiased,
    'cosine': lambda a, b, *_: (1 - F.cosine_similarity(a, b)).mean(),
    'squared_distance': lambda a, b, *_: F.mse_loss(a, b), 'prediction': prediction,
    'vicreg': vicreg, 'barlow_twins': barlow, 'correlation': correlation, 'soft_cca': soft_cca,
    'cka': cka, 'hsic': hsic, 'gap_aware': gap_aware, 'shared_own': shared_own,
    'factorised': factorised, 'comm': comm, 'intra_modal': intra_modal}


# -- ours ------------------------------------------------------------------------------------------


def ours(name: str):
  """views (a, b, pa, pb) -> the mean over the batch []."""
  row = losses.loss_of(name)
  def loss(views):
    a, b, pa, pb = views
    of = lambda z, p: Outputs((z,), z / jnp.linalg.norm(z, axis=1, keepdims=True), z, z, p,
                              (p, 0.5 * z + p))
    return jnp.mean(row([of(a, pa), of(b, pb)], Batch((), jnp.zeros(len(a))), temperature=T,
                        axis_name=None, own={}))
  return loss


def contenders(name: str, views: list[np.ndarray]) -> dict:
  """Functions without arguments: (value, gradients), done when they return."""
  both = jax.value_and_grad(ours(name))
  one, six = jax.jit(both), jax.jit(jax.vmap(both))
  arrays = [jnp.asarray(z) for z in views]
  stacked = [jnp.stack([z] * CELLS) for z in arrays]
  tensors = [torch.from_numpy(z.copy()).requires_grad_() for z in views]
  def eager():
    value = TORCH[name](*tensors)
    return value.detach(), torch.autograd.grad(value, tensors, allow_unused=True)
  return {'ours': lambda: jax.block_until_ready(one(arrays)),
          '6 cells': lambda: jax.block_until_ready(six(stacked)), 'torch': eager}


def step(name: str):
  """A step of 6 cells on one batch."""
  spec = Spec(loss=name, max_train=256)
  hypers = jax.tree.map(jnp.asarray, stack(Hyper(lam=1.0, seed=np.arange(CELLS)), CELLS))
  g = np.random.default_rng(0)
  batch = Batch(tuple(jnp.asarray(g.normal(size=(256, 16)), jnp.float32) for _ in range(2)),
                jnp.asarray(g.integers(0, 2, 256), jnp.int32))
  options = {'spec': spec, 'n_outputs': 2}
  states = jax.vmap(lambda h: init_state(rng.stream(h.seed, 'init'), h, 16, 16, **options))(hypers)
  run = jax.jit(jax.vmap(functools.partial(train_step, **options), in_axes=(0, 0, None)))
  return lambda: jax.block_until_ready(run(states, hypers, batch))


def differs(found) -> float:
  """Largest difference of values and gradients, over the largest gradient."""
  (value, grads), (value_t, grads_t) = found['ours'], found['torch']
  scale = max(float(jnp.abs(g).max()) for g in grads)
  worst = abs(float(value) - float(value_t)) / max(abs(float(value_t)), 1)
  for one, other in zip(grads, grads_t):
    other = np.zeros(one.shape) if other is None else other.numpy()
    worst = max(worst, float(np.abs(np.asarray(one) - other).max()) / scale)
  return worst


def measured(run, calls: int) -> float:
  start = time.perf_counter()
  for _ in range(calls):
    run()
  return 1e6 * (time.perf_counter() - start) / calls


@dataclasses.dataclass
class Row:
  name: str
  times: dict
  step: float
  difference: float


def main(args) -> int:
  g = np.random.default_rng(0)
  a = g.normal(size=(args.rows, args.width))
  b = a + 0.5 * g.normal(size=a.shape)
  views = [np.float32(z) for z in (a, b, g.normal(size=a.shape), g.normal(size=a.shape))]
  rows = []
  for name in TORCH:
    runs = contenders(name, views) | {'step': step(name)}
    difference = differs({which: runs[which]() for which in ('ours', 'torch')})
    for run in runs.values():
      run()
    times = {which: [] for which in runs}
    for _ in range(args.repeats):
      for which, run in runs.items():
        times[which].append(measured(run, args.calls))
    middle = {which: statistics.median(values) for which, values in times.items()}
    middle['6 cells'] /= CELLS
    rows.append(Row(name, middle, middle.pop('step') / CELLS, difference))
    print(f'{name}: {rows[-1]}', file=sys.stderr)
  base = rows[0].step
  lines = ['| objective | ours | 6 cells, each | torch | torch / ours | torch / 6 cells | step, '
           'each of 6 cells | over InfoNCE |', '|---|---|---|---|---|---|---|---|']
  for row in rows:
    t = row.times
    lines.append(
        f'| {row.name} | {t["ours"]:.0f} | {t["6 cells"]:.0f} | {t["torch"]:.0f} | '
        f'{t["torch"] / t["ours"]:.1f} | {t["torch"] / t["6 cells"]:.1f} | {row.step:.0f} | '
        f'{row.step / base:.2f} |')
  print('\n'.join(lines))
  if args.out:
    args.out.write_text(json.dumps({
        'rows': args.rows, 'width': args.width, 'torch': torch.__version__, 'jax': jax.__version__,
        'device': jax.default_backend(), 'microseconds': {
            row.name: row.times | {'step': row.step, 'difference': row.difference}
            for row in rows}}, indent=1) + '\n')
  wrong = [row.name for row in rows if row.difference > 1e-3]
  if wrong:
    print(f'differ: {", ".join(wrong)}', file=sys.stderr)
  return bool(wrong)


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--repeats', type=int, default=7)
  parser.add_argument('--calls', type=int, default=30)
  parser.add_argument('--rows', type=int, default=256)
  parser.add_argument('--width', type=int, default=12)
  parser.add_argument('--out', type=pathlib.Path)
  sys.exit(main(parser.parse_args()))
