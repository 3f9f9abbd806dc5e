"""Runs a study: python launch/sweep.py --config=configs/strength.py:quick --workdir=DIR"""

import importlib
import pathlib
import sys
import threading

from absl import app, flags, logging
from ml_collections import config_flags

from mmalign_jax import cli
from mmalign_jax.training import loop, study

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file('config', None, 'Study to run, as configs/strength.py[:ARGUMENT].')
flags.DEFINE_string('workdir', None, 'Folder of the results; the same command continues there.')
flags.DEFINE_bool('figures', True, 'Draw the pictures into WORKDIR/figures.')


def load_analysis():
  """mmalign_jax.analysis.report, whose libraries are slow to import."""
  importlib.import_module('mmalign_jax.analysis.figures')
  return importlib.import_module('mmalign_jax.analysis.report')


def main(_) -> None:
  """Trains what is missing, then answers: results.zarr, summary.json, figures, and a table."""
  logging.set_verbosity(logging.WARNING)
  for flag in ('config', 'workdir'):
    if FLAGS[flag].value is None:
      raise ValueError(f'--{flag} is missing; for example {__doc__.partition(": ")[2]}')
  loading = threading.Timer(2, load_analysis)  # by then XLA compiles, and Python is idle
  loading.daemon = True
  loading.start()
  plan = study.from_settings(FLAGS.config.to_dict())
  print(*plan.notes, sep='\n', end='\n' if plan.notes else '')
  dataset = loop.run_study(plan, FLAGS.workdir)
  folder = pathlib.Path(FLAGS.workdir)
  answer = load_analysis().write(
      dataset, folder, resamples=plan.run['resamples'], figures=FLAGS.figures)
  print(f'\n{answer}')
  print(f'\n{folder / "results.zarr"}, {folder / "summary.json"}'
        + (f', {folder / "figures"}/*.png' if FLAGS.figures else ''))


def parse(argv: list[str]) -> list[str]:
  """absl's parser, its errors as one line each."""
  try:
    return FLAGS(cli.with_known_configs(argv))
  except (flags.Error, AttributeError, KeyError, TypeError) as error:
    raise ValueError(cli.flag_error(error, argv)) from error


if __name__ == '__main__':
  sys.exit(cli.guard(lambda: app.run(main, flags_parser=parse)))
