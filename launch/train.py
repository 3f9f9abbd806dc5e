"""Trains: python launch/train.py --config=configs/avmnist.py:tiny --data_dir=PATH --workdir=DIR"""

from mmalign_jax import start

if __name__ == '__main__':
  start.begin()

import functools
import pathlib

from absl import app, flags, logging
from ml_collections import config_flags

from mmalign_jax import cli
from mmalign_jax.cli import launching, preset

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file('config', None, 'What to train, as configs/avmnist.py[:ARGUMENT].')
flags.DEFINE_string('data_dir', None, 'Folder with mnist/ and fsdd/; without it they are fetched.')
flags.DEFINE_string('prepared_dir', None, 'Where prepared pairs are kept; default: a cache folder.')
flags.DEFINE_string('workdir', None, 'Folder of the run; the same command continues there.')
flags.DEFINE_bool('figures', True, 'Draw the pictures into WORKDIR/figures.')
flags.DEFINE_string('coordinator', '', 'HOST:PORT of process 0, where there are several.')
flags.DEFINE_integer('num_processes', 0, 'How many processes there are.')
flags.DEFINE_integer('process_id', -1, 'Which of them this is, from 0.')
flags.DEFINE_integer('timeout', 60, 'Seconds to wait for the coordinator.')


def main(_) -> None:
  """Trains what is left, then answers: results.zarr, summary.json, figures, and a table."""
  logging.set_verbosity(logging.ERROR)
  launching.check_given(FLAGS, __doc__)
  from mmalign_jax.runs import devices
  devices.connect(FLAGS.coordinator, FLAGS.num_processes, FLAGS.process_id, FLAGS.timeout)
  from mmalign_jax.studies import registry  # slow to import: what is refused comes first
  settings = FLAGS.config.to_dict()
  study = registry.study_of(settings, 'train')
  plan = study.from_settings(settings, preset=preset.names(FLAGS['config']))
  dataset = study.run(plan, FLAGS.workdir, data_dir=FLAGS.data_dir, prepared_dir=FLAGS.prepared_dir)
  if devices.leads():
    print(registry.answer(study, plan, dataset, pathlib.Path(FLAGS.workdir), figures=FLAGS.figures))


if __name__ == '__main__':
  cli.leave(cli.guard(lambda: app.run(
      main, flags_parser=functools.partial(launching.parse, FLAGS))))
