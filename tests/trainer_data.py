"""Small pairs of images and frames in memory, and runs of the trainer in processes of their own.

  python tests/trainer_data.py train FOLDER [name=value ...]
      # TRAIN_TERM_AT=k: SIGTERM at step k; TRAIN_FILES_AT=k: no file can be opened from then on;
      # TRAIN_FULL_AT=k: none can grow
  python tests/trainer_data.py step FILE                       # a step of every loss, to an .npz
"""

import ast
import os
import resource
import signal
import sys

import jax
import numpy as np

from mmalign_jax import cli
from mmalign_jax.data.avmnist.load import AVMNIST, prepared
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.runs import devices
from mmalign_jax.studies.train import pipeline, plan as train_plan, run as trainer

SMALL = dict(encoder_1='mlp', encoder_2='mlp', depth_1=1, depth_2=1, width_1=6, width_2=6,
             projection_width=4, lam=(0.0, 1.0), seed=(0,), epochs=2, batch_size=16, n_align=24,
             neighbors=4, log_every=1, checkpoint_every=3, tensorboard=False)


def made(n: int = 100, m: int = 40, **changes) -> Prepared:
  """n + m pairs of three classes that both sides can tell."""
  random, fields = np.random.default_rng(0), {}
  centers = random.standard_normal((3, 16)), random.standard_normal((3, 12))
  for part, size in (('train', n), ('test', m)):
    label = random.integers(3, size=size).astype(np.int32)
    noisy = lambda c, shape: (c[label] + 0.5 * random.standard_normal((size, c.shape[1]))).reshape(
        size, *shape).astype(np.float32)
    fields |= {
        f'image_{part}': noisy(centers[0], (4, 4, 1)), f'audio_{part}': noisy(centers[1], (4, 3)),
        f'label_{part}': label, f'audio_label_{part}': label, f'speaker_{part}': 0 * label,
        f'recording_{part}': np.arange(size).astype(str), f'image_index_{part}': np.arange(size)}
  return prepared(AVMNIST(**fields | changes, speakers=('a',), fingerprint='made', notes=()))


def one_step(loss: str, learnable: bool, lam=(0.0, 0.7), n_batches: int = 1, state=None,
             **settings):
  """State (a new one where none is given), hypers, batch [16] and the ensemble's step."""
  plan = train_plan.from_settings(
      SMALL | dict(loss=loss, learnable_temperature=learnable, lam=lam) | settings)
  data = made()
  spec = plan.bound(data)
  batch, _ = next(pipeline.batches(data, batch_size=16, seed=1))
  make = lambda axis_name: trainer.ensemble_step(spec, 3, axis_name, n_batches)
  hypers = devices.replicated(jax.tree.map(jax.numpy.asarray, plan.hypers))
  if state is None:
    state = devices.replicated(trainer.initial(plan, data, spec))
  return state, hypers, batch, make


# Those that take a temperature; `objectives_test` has the others on devices.
STEPPED = ('info_nce', 'sigmoid', 'streaming_info_nce', 'streaming_sigmoid', 'debiased_info_nce')

APART = dict(guard='project', lam_mode='share')


def steps() -> dict[str, np.ndarray]:
  """After a step of each loss: moments (so gradients), parameters and metrics, by pmap and jit."""
  found, real = {}, np.arange(16) < 11  # of a last batch: two of eight devices have none
  begun = {}  # by whether the temperature is learnt: no loss has parameters of its own

  def run(step, batch, key, pairs=None):
    after = jax.device_get(step(state, hypers, (batch, pairs)))
    for name, value in zip(('state', 'metrics'), after):
      found.update({f'{key}/{name}/{i}': v for i, v in enumerate(jax.tree.leaves(value))})

  two = jax.process_count() > 1  # one form says it: eight devices of one process have them all
  for loss in STEPPED:
    for learnable in (True,) if two or loss != 'info_nce' else (False, True):
      state, hypers, batch, make = one_step(loss, learnable, state=begun.get(learnable))
      begun[learnable] = state
      half = 16 // jax.process_count()
      own = slice(jax.process_index() * half, (jax.process_index() + 1) * half)
      pmapped, twin = devices.data_parallel(make(devices.AXIS)), devices.sharded(make(None))
      valid = {'whole': np.ones(16, bool), 'ragged': real} if learnable else {'whole': None}
      valid = {'ragged': real} if two else valid
      for kind, mask in valid.items():
        given = batch.replace(valid=mask)
        if jax.device_count() > 1:
          part = jax.tree.map(lambda v: v[own], given)
          run(pmapped, devices.split(part), f'{loss}/{kind}/{learnable}/pmap')
        # One device by jit has no collective at all: the others are held against it.
        if jax.process_count() == 1 and (learnable or jax.device_count() == 1):
          run(twin, given, f'{loss}/{kind}/{learnable}/jit')
      if jax.device_count() == 1 and learnable:
        run(twin, jax.tree.map(lambda v: v[real], batch), f'{loss}/alone/{learnable}/jit')
    if not two:  # few labels, and what is aligned lacks a side here and there
      has = np.random.default_rng(0).random((2, 16)) < 0.6
      given = batch.replace(valid=real), batch.replace(x=tuple(x[::-1] for x in batch.x),
                                                       present=tuple(has))
      if jax.device_count() > 1:
        run(pmapped, *map(devices.split, given[:1]), f'{loss}/pairs/True/pmap',
            devices.split(given[1]))
      else:
        run(twin, given[0], f'{loss}/pairs/True/jit', given[1])
  # Task and alignment apart, with a mean of the task's gradient that a step before has begun.
  state, hypers, batch, make = one_step('info_nce', True, lam=(0.5, 2.0), n_batches=3, **APART)
  given = batch.replace(valid=real)
  if jax.device_count() > 1:
    step, given = devices.data_parallel(make(devices.AXIS)), devices.split(
        jax.tree.map(lambda v: v[own], given))
  else:
    step = devices.sharded(make(None))
  state = step(state, hypers, (given, None))[0]
  run(step, given, f'apart/ragged/True/{"pmap" if jax.device_count() > 1 else "jit"}')
  return found


HAPPENS = {
    'TRAIN_TERM_AT': lambda: os.kill(os.getpid(), signal.SIGTERM),
    'TRAIN_FILES_AT': lambda: limit(resource.RLIMIT_NOFILE, 3),
    'TRAIN_FULL_AT': lambda: limit(resource.RLIMIT_FSIZE, 0)}


def limit(kind: int, most: int) -> None:
  resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def train(folder: str, *overrides: str) -> None:
  settings = SMALL | {k: ast.literal_eval(v) for k, v in (o.split('=') for o in overrides)}
  real, count = devices.split, [0]
  def split(batch):
    count[0] += 1
    for name, happens in HAPPENS.items():
      if count[0] == int(os.environ.get(name, '0')):  # of this process alone
        happens()
    return real(batch)
  devices.split = split
  trainer.train(train_plan.from_settings(settings), made(), folder, progress=False)


if __name__ == '__main__':
  jax.config.update('jax_disable_most_optimizations', True)
  if 'TRAIN_PROCESS' in os.environ:
    devices.connect(os.environ['TRAIN_COORDINATOR'], 2, int(os.environ['TRAIN_PROCESS']))
  what = {'train': train, 'step': lambda path: np.savez(path, **steps())}[sys.argv[1]]
  cli.leave(cli.guard(lambda: what(*sys.argv[2:])))
