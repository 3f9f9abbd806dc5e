"""What `mmalign diagnose` says of real pairs, without labels and with them.

  python benchmarks/diagnosis.py --data_dir=FOLDER [--only=cora,digits] [--table=FILE]

The training rows of the study of few labels that have both sides, as principal components of
standardised columns; labels are all that these rows have. Two minutes.
"""

import argparse
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / 'benchmarks')]

from linear_references import DATA  # noqa: E402

from mmalign_jax.data.loading import load_pairs  # noqa: E402
from mmalign_jax.diagnosis import diagnose  # noqa: E402
from mmalign_jax.diagnosis.verdict import OBJECTIVES, WAYS  # noqa: E402


def main(args) -> None:
  lines = ['| data, 1 and 2 | rows | label | 1 -> 2 | 2 -> 1 | directions found: align, predict 2, '
           'predict 1 | canonical correlations | p |', '|---|---|---|---|---|---|---|---|']
  for name in args.only or DATA:
    data, more = DATA[name]
    made = load_pairs(data, **more, **({} if data == 'digits' else {'data_dir': args.data_dir}))
    both = made.present[0] & made.present[1]
    for labelled in (False, True):
      rows = both & made.labelled if labelled else both
      found = diagnose(made.x[0][rows], made.x[1][rows], y=made.y[rows] if labelled else None)
      lines.append(row(f'{name}: {", ".join(made.names)}', found))
      print(lines[-1], flush=True)
  if args.table:
    args.table.write_text('\n'.join(lines) + '\n')


def row(name: str, found) -> str:
  """A line of the table; agreement of random halves in brackets."""
  said = [f'{found.regimes[way]} ({100 * found.agreement[way]:.0f} %)' for way in WAYS]
  counts = ', '.join(str(found.objectives[o].recovered) for o in OBJECTIVES)
  r = ', '.join(f'{v:.2f}' for v in found.objectives['align'].strengths[:3])
  return (f'| {name} | {found.used} | {"yes" if found.labelled else "no"} | '
          f'{" | ".join(said)} | {counts} of {found.shared} | {r} | {np.round(found.p_value, 3)} |')


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
  parser.add_argument('--data_dir', default='')
  parser.add_argument('--only', type=lambda text: text.split(','))
  parser.add_argument('--table', type=pathlib.Path)
  main(parser.parse_args())
