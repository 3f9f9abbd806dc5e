"""The predictor of the best strength: drawn, trained, fitted, calibrated and judged.

  python benchmarks/predictor.py train --folder=DIR [--settings=900,300,240]
"""

import argparse
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

import predictor_settings as settings  # noqa: E402

if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('stage', choices=('train',))
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--settings', default='900,300,240')
  args = parser.parse_args()
  counts = dict(zip(settings.SPLITS, map(int, args.settings.split(','))))
  settings.train(args.folder, counts)
