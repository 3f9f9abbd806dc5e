"""A study on many machines: python launch/submit.py --config=configs/strength.py --workdir=DIR"""

from mmalign_jax import start

if __name__ == '__main__':
  start.begin()

import functools
import os
import pathlib
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from mmalign_jax import cli
from mmalign_jax.cli import launching, register
from mmalign_jax.cli.sweep import HOME
from mmalign_jax.cluster import drive
from mmalign_jax.cluster.executors import EXECUTORS
from mmalign_jax.cluster.shard import Shard

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file('config', None, 'Study to run, as configs/strength.py[:ARGUMENT].')
flags.DEFINE_string('workdir', None, 'Folder of the results, which every machine can write.')
flags.DEFINE_string('data_dir', '', 'Folder of the published data sets that --config names.')
flags.DEFINE_bool('figures', True, 'Draw the pictures into WORKDIR/figures.')
flags.DEFINE_string('executor', 'local', 'Who runs the shards: local, slurm or ray.')
flags.DEFINE_integer('shards', 4, 'Parts of the study, each a task.')
flags.DEFINE_integer('workers', 4, 'Tasks at once; of a running Ray cluster: what it has room for.')
flags.DEFINE_integer('retries', 3, 'How often a single shard may be lost.')
flags.DEFINE_list('options', [], 'Of the engine: partition=gpu,time=60 (slurm), address=auto.')
OWN = ('executor', 'shards', 'workers', 'retries', 'options', 'figures', 'nofigures', 'workdir')


def main(argv: list[str]) -> None:
  """Checks the study, runs its shards, then answers from what they left in WORKDIR."""
  del argv
  logging.set_verbosity(logging.WARNING)
  options = _checked()
  folder = pathlib.Path(FLAGS.workdir).absolute()
  if FLAGS.executor == 'local':  # its shards share the accelerator, of which JAX would take most
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  study, plan = launching.planned(FLAGS, 'sweep')
  folder.mkdir(parents=True, exist_ok=True)
  arguments = (str(HOME / 'launch' / 'sweep.py'), *_passed_on(sys.argv[1:]), f'--workdir={folder}')
  shards = [Shard(arguments, i + 1, FLAGS.shards, os.getcwd()) for i in range(FLAGS.shards)]
  executor = EXECUTORS[FLAGS.executor](folder, FLAGS.workers, options)
  try:
    lost, last = drive.drive(executor, shards, retries=FLAGS.retries,
                             look=_progress(study, plan, folder))
  finally:
    executor.close()
  if lost:
    print(f'{lost} times a shard was lost and run again')
  dataset = study.run(plan, folder, shard=(last.i, last.n), progress=False)  # nothing is left
  if dataset is None:
    raise ValueError(f'{folder}: shards are done and cells are missing; run it again')
  from mmalign_jax.studies import registry
  print(registry.answer(study, plan, dataset, folder, figures=FLAGS.figures))


def _checked() -> dict[str, str]:
  """The options of the engine; raises ValueError before any work."""
  launching.check_given(FLAGS, __doc__)
  if FLAGS.executor not in EXECUTORS:
    raise ValueError(f'--executor={FLAGS.executor} is unknown; known: {", ".join(EXECUTORS)}')
  for flag, least, most in (('shards', 1, 10_000), ('workers', 1, 10_000), ('retries', 0, 1000)):
    value = FLAGS[flag].value
    if value is None or not least <= value <= most:
      raise ValueError(f'--{flag}={value} is not in {least}..{most}')
  pairs = [option.partition('=') for option in FLAGS.options]
  wrong = [name + equals + value for name, equals, value in pairs if not (name and equals)]
  if wrong:
    raise ValueError(f'--options: {wrong[0]!r} is no NAME=VALUE')
  return {name.strip(): value for name, _, value in pairs}


def _passed_on(argv: list[str]) -> list[str]:
  """What the sweep of a shard is told: files to register, and all but the flags of this program
  alone."""
  found, skip = [], False
  for argument in register.taken(argv):
    name, equals, _ = argument.lstrip('-').partition('=')
    if skip:
      skip = False
    elif argument.startswith('-') and name in OWN:
      skip = not equals and name not in ('figures', 'nofigures')
    else:
      found.append(argument)
  return [*(f'{register.FLAG}={file}' for file in register.loaded), *cli.with_known_configs(found)]


def _progress(study, plan, folder: pathlib.Path):
  """A line for people on standard error whenever more cells are done."""
  told = [-1]
  def look(done: int) -> None:
    if sys.stderr.isatty():
      held = len(study.held(plan, folder)) if hasattr(study, 'held') else 0
      if held != told[0]:
        told[0] = held
        print(f'{held}/{len(study.wanted(plan))} cells, {done}/{FLAGS.shards} shards done',
              file=sys.stderr, flush=True)
  return look


if __name__ == '__main__':
  cli.leave(cli.guard(lambda: app.run(
      main, flags_parser=functools.partial(launching.parse, FLAGS))))
