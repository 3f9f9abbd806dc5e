"""Runs a study: python launch/sweep.py --config=configs/strength.py:quick --workdir=DIR"""

from mmalign_jax import start

if __name__ == '__main__':
  start.begin()

import importlib
import pathlib
import threading

from absl import app, flags, logging
from ml_collections import config_flags

from mmalign_jax import cache, cli
from mmalign_jax.cli import preset
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
  for flag in ('config', 'workdir'):
    if FLAGS[flag].value is None:
      raise ValueError(f'--{flag} is missing; for example {(__doc__ or "").partition(": ")[2]}')
  shard = shards.parse(FLAGS.shard)
  from mmalign_jax.studies import registry  # slow to import: what is refused comes first
  settings, folder = FLAGS.config.to_dict(), pathlib.Path(FLAGS.workdir)
  if FLAGS.data_dir:
    settings['data_dir'] = FLAGS.data_dir
  study = registry.study_of(settings, 'sweep')
  loading = threading.Timer(2, load_libraries)  # while XLA compiles, Python is idle
  loading.daemon = True
  loading.start()
  plan = study.from_settings(settings, preset=preset.names(FLAGS['config']))
  print(*plan.notes, sep='\n', end='\n' if plan.notes else '')
  dataset = study.run(plan, folder, shard=shard)
  if dataset is None:
    print(f'shard {FLAGS.shard} is done; the shards that are missing finish the study in {folder}, '
          'or mmalign merge DIR... joins folders')
    return
  print(registry.answer(study, plan, dataset, folder, figures=FLAGS.figures))


def load_libraries() -> None:
  """What an answer needs, and is slow to import."""
  for name in ('xarray', 'scipy.special', *(('matplotlib.figure',) if FLAGS.figures else ())):
    importlib.import_module(name)


def parse(argv: list[str]) -> list[str]:
  """absl's parser, its errors as one line each."""
  try:
    return FLAGS(cache.taken(cli.with_known_configs(argv)))
  except (flags.Error, AttributeError, KeyError, TypeError) as error:
    raise ValueError(cli.flag_error(error, argv)) from error


if __name__ == '__main__':
  cli.leave(cli.guard(lambda: app.run(main, flags_parser=parse)))
