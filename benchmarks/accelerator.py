"""The product on one accelerator, in one call of less than nine minutes: times, and ratios.

  python benchmarks/accelerator.py [--data_dir=FOLDER of AV-MNIST] [--seconds=520] [--small]

One process after another, each ended when its share of the time is spent, and then said to be so:
  the default study of strength (990 trainings, evaluated, with its report); a step of it beside
  PyTorch on the same device (benchmarks/sweep_vs_torch.py), with the share that its matrix
  products would take at the rate of one large product; InfoNCE, plain and streaming, beside
  PyTorch; training on AV-MNIST; and, with all the time that is left, the whole published protocol
  of emergence (configs/emergence.py:paper), of which it is said how much came of it.
PyTorch is left out where torch, or its build for the device, is missing. --small: a short form of
everything, to see that it runs. Writes benchmarks/results/accelerator_DEVICE.json.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
COMMAND = [sys.executable, '-c', 'import sys; from mmalign_jax.cli import main; sys.exit(main())']
SIZES, WIDTH, TEMPERATURE = (1024, 4096, 16384), 256, 0.07


def parts(folder: pathlib.Path, data_dir: str, small: bool) -> list[tuple[str, list[str], float]]:
  """What is run: its name, command, and the share of the time left that it may take."""
  variant = ':tiny' if small else ''
  out = [f'--out={folder / "sweep.json"}']
  sweep = ['--steps=20', '--repeats=1', '--torch_cells=1'] if small else []
  rows = [
      ('strength, default study',
       [*COMMAND, 'sweep', f'--config=strength{variant}', f'--workdir={folder / "strength"}'], 0.5),
      ('a step beside PyTorch',
       [sys.executable, str(HERE / 'sweep_vs_torch.py'), *sweep, *out], 0.5),
      ('contrastive losses',
       [sys.executable, __file__, '--losses', *map(str, SIZES[:1 if small else 3])],
       0.5)]
  if data_dir:
    rows.append(('AV-MNIST', [*COMMAND, 'train', f'--config=avmnist{variant}',
                              f'--data_dir={data_dir}', f'--workdir={folder / "avmnist"}'], 0.5))
  protocol = 'emergence:tiny' if small else 'emergence:paper'
  return [*rows, ('emergence, the published protocol',
                  [*COMMAND, 'sweep', f'--config={protocol}', f'--workdir={folder / "emergence"}'],
                  1.0)]


def run(command: list[str], limit: float) -> dict:
  """Seconds, exit status (None where the time was spent), and the last lines that were printed."""
  start = time.perf_counter()
  with tempfile.TemporaryFile('w+') as printed:
    process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
    try:
      status = process.wait(limit)
    except subprocess.TimeoutExpired:
      process.terminate()
      process.wait()
      status = None
    printed.seek(0)
    text = printed.read()
  return dict(seconds=time.perf_counter() - start, status=status, text=text)


def told(name: str, one: dict) -> str:
  """One line of a part."""
  lines = [line for line in re.split(r'[\r\n]', one['text']) if line.strip()]
  how = {None: 'its time was spent; ', 0: ''}.get(one['status'], f'exit status {one["status"]}; ')
  if not how:
    return f'{name}: {one["seconds"]:.1f} s'
  return f'{name}: {one["seconds"]:.1f} s; {how}{lines[-1][:200] if lines else ""}'


# -- contrastive losses, on the device of this process ---------------------------------------------


def losses(sizes: list[int]) -> None:
  """Milliseconds of value and gradients, a line of JSON a contender and size."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from mmalign_jax import losses as ours
  for n in sizes:
    g = np.random.default_rng(0)
    z = [g.standard_normal((n, WIDTH), np.float32) for _ in range(2)]
    z = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in z]
    for name in ('info_nce', 'streaming_info_nce'):
      of = ours.LOSSES[name]
      both = jax.jit(jax.value_and_grad(
          lambda a, b, of=of: jnp.mean(of(a, b, temperature=TEMPERATURE)), (0, 1)))
      put = list(map(jnp.asarray, z))
      report(name, n, lambda: jax.block_until_ready(both(*put)), jax.devices()[0].device_kind)
    try:
      import torch
    except ImportError:
      continue
    on_gpu = jax.default_backend() == 'gpu'
    if on_gpu and not torch.cuda.is_available():
      continue
    device = 'cuda' if on_gpu else 'cpu'
    a, b = (torch.from_numpy(v).to(device).requires_grad_() for v in z)
    labels = torch.arange(n, device=device)
    def torch_both():
      logits = a @ b.T / TEMPERATURE
      entropy = torch.nn.functional.cross_entropy
      loss = (entropy(logits, labels) + entropy(logits.T, labels)) / 2
      found = torch.autograd.grad(loss, (a, b))
      return float(found[0][0, 0])  # waits for the device
    report('PyTorch', n, torch_both, device)


def report(name: str, n: int, function, device: str) -> None:
  function()
  times = []
  for _ in range(5):
    start = time.perf_counter()
    function()
    times.append(time.perf_counter() - start)
  print(json.dumps(dict(loss=name, rows=n, ms=1e3 * min(times), device=device)), flush=True)


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
  parser.add_argument('--data_dir', default='')
  parser.add_argument('--seconds', type=float, default=520, help='in all')
  parser.add_argument('--small', action='store_true')
  parser.add_argument('--json', type=pathlib.Path)
  parser.add_argument('--losses', type=int, nargs='+', help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.losses:
    losses(args.losses)
    return 0
  device = subprocess.run([sys.executable, '-c', 'import jax; print(jax.devices()[0].device_kind)'],
                          capture_output=True, text=True, check=True).stdout.split('\n')[-2]
  print(f'device: {device}', flush=True)
  end, found = time.monotonic() + args.seconds, {}
  with tempfile.TemporaryDirectory() as folder:
    for name, command, share in parts(pathlib.Path(folder), args.data_dir, args.small):
      found[name] = one = run(command, max(1.0, share * (end - time.monotonic())))
      print(told(name, one), flush=True)
      if name in ('a step beside PyTorch', 'contrastive losses'):
        print(one['text'].rstrip(), flush=True)
      one['text'] = one['text'][-4000:]
  path = args.json or HERE / f'results/accelerator_{re.sub("[^a-z0-9]+", "-", device.lower())}.json'
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(dict(device=device, small=args.small, parts=found), indent=1) + '\n')
  print(f'wrote {path}')
  return int(any(one['status'] not in (0, None, 2) for one in found.values()))


if __name__ == '__main__':
  sys.exit(main())
