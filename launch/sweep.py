"""Runs a study: python launch/sweep.py --config=configs/strength.py:quick --workdir=DIR"""

from mmalign_jax import start

if __name__ == '__main__':
  start.begin()

import functools
import importlib
import pathlib
import threading

from absl import app, flags, logging
from ml_collections import config_flags

from mmalign_jax import cli
from mmalign_jax.cli import launching
from mmalign_jax.runs import shards

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file('config', None, 'Study to run, as configs/strength.py[:ARGUMENT].')
flags.DEFINE_string('workdir', None, 'Folder of the results; the same command continues there.')
flags.DEFINE_string('data_dir', '', 'Folder of the published data sets that --config names.')
flags.DEFINE_bool('figures', True, 'Draw the pictures into WORKDIR/figures.')
flags.DEFINE_string('shard', '1/1', 'Part i/n of the grid: n jobs, in one WORKDIR or one each.')


def main(_) -> None:
  """Trains what is missing, then answers: results.zarr, summary.json, figures, and a table."""
  logging.set_verbosity(logging.WARNING)
  launching.check_given(FLAGS, __doc__)
  shard = shards.parse(FLAGS.shard)
  folder = pathlib.Path(FLAGS.workdir)
  loading = threading.Timer(2, load_libraries)  # while XLA compiles, Python is idle
  loading.daemon = True
  loading.start()
  study, plan = launching.planned(FLAGS, 'sweep')
  dataset = study.run(plan, folder, shard=shard)
  if dataset is None:
    print(f'shard {FLAGS.shard} is done; the shards that are missing finish the study in {folder}, '
          'or mmalign merge DIR... joins folders')
    return
  from mmalign_jax.studies import registry
  print(registry.answer(study, plan, dataset, folder, figures=FLAGS.figures))


def load_libraries() -> None:
  """What an answer needs, and is slow to import."""
  for name in ('xarray', 'scipy.special', *(('matplotlib.figure',) if FLAGS.figures else ())):
    importlib.import_module(name)


if __name__ == '__main__':
  cli.leave(cli.guard(lambda: app.run(
      main, flags_parser=functools.partial(launching.parse, FLAGS))))
