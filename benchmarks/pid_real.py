"""Atoms of every pair of views of real data, and how long a pair takes.

  python benchmarks/pid_real.py FOLDER VIEW VIEW [VIEW ...] [--units=bits]

FOLDER and VIEWs as in `mmalign decompose --data`. Prints a Markdown table: an atom that is present
in bold, one that is undecided with a question mark, one that cannot be told from chance as 0. Time
is that of a pair, once the program is loaded: cells, tables, nulls, intervals and cross-checks.
"""

import argparse
import os
import time

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # small matrices, many of them

from mmalign_jax.cli.decompose import (  # noqa: E402
  command,
  report,  # noqa: E402
  request,
)
from mmalign_jax.information import ATOMS  # noqa: E402
from mmalign_jax.information.samples import Plan, answer  # noqa: E402
from mmalign_jax.runs.devices import cores  # noqa: E402

MARKS = {'present': '**{}**', 'undecided at this n': '{} ?', 'not distinguishable from chance': '0'}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder')
  parser.add_argument('views', nargs='+')
  parser.add_argument('--units', default='nats', choices=('nats', 'bits'))
  args = parser.parse_args()
  asked = request.parse([f'--data={args.folder}', *(
      f'--x{k + 1}={view}' for k, view in enumerate(args.views))])
  sides, label, groups = command.read_data(asked, [])
  print(f'| pair, n, cells | {" | ".join(ATOMS)} | I(X1;Y), I(X2;Y), I(X1,X2;Y) | by a classifier, '
        'at least | s |')
  print('|---' * 8 + '|')
  for question in command.questions(sides, label, groups):
    start = time.perf_counter()
    entry = answer(question, Plan(workers=cores()))
    seconds = time.perf_counter() - start
    entry = report.in_bits(entry) if args.units == 'bits' else entry
    atoms = [MARKS[entry[atom]['verdict']].format(f'{entry[atom]["value"]:.3f}') for atom in ATOMS]
    checks = entry['cross_check'].values()
    print(f'| {question.name_1}, {question.name_2}, {entry["n"]}, {entry["cells"][0]} x '
          f'{entry["cells"][1]} | {" | ".join(atoms)} | '
          + ', '.join(f'{check["cells"]:.2f}' for check in checks) + ' | '
          + ', '.join(f'{check["classifier"]:.2f}' for check in checks)
          + f' | {seconds:.0f} |', flush=True)


if __name__ == '__main__':
  main()
