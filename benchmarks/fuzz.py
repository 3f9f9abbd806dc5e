"""Malformed inputs against every command that reads: an answer, or one line, and no harm.

  python benchmarks/fuzz.py [--cases 10000] [--seed 0] [--workers 2] [--json FILE] [--failures FILE]
  python benchmarks/fuzz.py --only 1234 --keep FOLDER    # one case again, its files kept

Case i of a seed is always the same: a valid sample in one of the formats of tests/fuzzing/valid.py,
made wrong in one way (values, damage, crafted, places), given to one command. The command runs in a
process of its own, forked from one that has imported everything; nothing of it is replaced. A case
fails unless it ends with status 0 and an answer, or with status 2 and one line `error: ...`, within
20 s and 2 GiB resident at its peak (of wait4: interpreter and libraries included), having written
nothing but its results, started no program, opened no socket, unpickled no class, and touched no
file outside its folder. Exit status: 1 where a case failed.
"""

import argparse
import collections
from collections.abc import Callable
import contextlib
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / 'tests')]
os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(
    pathlib.Path(tempfile.gettempdir()) / f'mmalign_jax_fuzz-{os.getuid()}'))
os.environ |= {'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0', 'JAX_PLATFORMS': 'cpu',
               'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1', 'OPENBLAS_NUM_THREADS': '1',
               'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'}

from fuzzing import commands, confession, draw, process, valid  # noqa: E402
import numpy as np  # noqa: E402

STOCKED = {'embed', *(name for name, row in commands.COMMANDS.items() if row.inputs != 'arrays')}


def prepare(stock: pathlib.Path) -> None:
  """What is to be damaged, made by the commands themselves: a small study, whole and in two shards,
  encoders, and what `measure` said."""
  for name, shard in (('one', '1/2'), ('two', '2/2'), ('whole', '1/1')):
    folder = made(stock, name, commands.sweep_digits('../out/w', shard))
    shutil.move(folder / 'out' / 'w', stock / name)
  shutil.move(made(stock, 'fit', [], fit) / 'out' / 'fit', stock / 'fit')
  said = made(stock, 'said', ['measure', 'x1.npy', 'x2.npy', '--measures=linear_cka', '--null=0',
                              '--json', '--out=../out/said.json'], measured)
  shutil.move(said / 'out' / 'said.json', stock / 'said.json')


def made(stock: pathlib.Path, name: str, argv: list[str], status: Callable | None = None
         ) -> pathlib.Path:
  """The folder of a case in which a command, or what stands for it, has been run."""
  folder = stock / f'{name}.case'
  for part in ('in', 'out', 'home', 'tmp', 'outside'):
    (folder / part).mkdir(parents=True)
  valid.FORMATS['npy'].write(folder / 'in', valid.arrays())
  outcome = process.run(argv, folder, clock=600, patience=2, status=status)
  if outcome.status:
    sys.exit(f'nothing to damage: {outcome.err}')
  return folder


def fit(_: list[str]) -> int:
  """Encoders of the arrays of a case, in out/fit."""
  from mmalign_jax import fitted
  from mmalign_jax.fitted.estimator import AlignedEncoders
  x1, x2, y = (np.load(f'{name}.npy') for name in ('x1', 'x2', 'y'))
  found = AlignedEncoders(steps=5, depth=1, folds=2).fit([x1, x2], y)
  fitted.save(found.fitted_, '../out/fit')
  return 0


def measured(argv: list[str]) -> int:
  """What a command says, in the file that the last argument names."""
  from mmalign_jax import cli
  with open(argv[-1].partition('=')[2], 'w') as file, contextlib.redirect_stdout(file):
    return cli.main(argv[:-1])


def one(number: int, given: argparse.Namespace, folder: pathlib.Path,
        stock: pathlib.Path) -> tuple[dict, process.Outcome]:
  """A case as a line of the record, and what came of it."""
  case = draw.case(given.seed, number, folder, stock, given.commands, given.quick)
  outcome = process.run(case.argv, folder, patience=given.patience)
  wrong = process.judge(outcome)
  line = case._asdict() | {
      'status': outcome.status, 'wall': round(outcome.wall, 3), 'cpu': round(outcome.cpu, 3),
      'peak': outcome.peak, 'wrong': wrong, 'err': outcome.err[-3000:] if wrong else
      outcome.err[:300]}
  return line, outcome


def work(numbers: range, given: argparse.Namespace, top: pathlib.Path, name: str) -> None:
  """Runs the cases of one worker; a line each into a file."""
  with open(top / f'{name}.jsonl', 'w', encoding='utf-8', errors='backslashreplace') as record:
    for number in numbers:
      folder = top / f'case-{number}'
      line, _ = one(number, given, folder, top)
      record.write(json.dumps(line) + '\n')
      record.flush()
      shutil.rmtree(folder)


def counts(lines: list[dict]) -> dict:
  """Answers, refusals and failures by format and command, and by what was wrong."""
  def of(line: dict) -> str:
    return 'failed' if line['wrong'] else 'answered' if line['status'] == 0 else 'refused'
  def table(*names: str) -> dict:
    found: dict = {}
    for line in sorted(lines, key=lambda line: [line[name] for name in names]):
      place = found
      for name in names:
        place = place.setdefault(line[name], {})
      place.setdefault('answered', 0), place.setdefault('refused', 0), place.setdefault('failed', 0)
      place[of(line)] += 1
    return found
  total = collections.Counter(map(of, lines))
  return {'cases': len(lines), **{name: total[name] for name in ('answered', 'refused', 'failed')},
          'slowest_s': max(min(line['wall'], line['cpu']) for line in lines),
          'largest_peak_mb': round(max(line['peak'] for line in lines) / 2**20),
          'by_format_and_command': table('format', 'command'), 'by_kind': table('kind', 'what')}


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  add = parser.add_argument
  add('--cases', type=int, default=10_000)
  add('--first', type=int, default=0, help='number of the first case (0)')
  add('--seed', type=int, default=0)
  add('--workers', type=int, default=1)
  add('--commands', type=lambda text: tuple(text.split(',')), default=(), help='only these')
  add('--quick', action='store_true', help='without what takes long to write')
  add('--confess', action='store_true', help='only shows that the witnesses see harm')
  add('--patience', type=float, default=1,
      help='on a busy machine: wall time may be so many times 20 s (1), processor time may not')
  add('--json', type=pathlib.Path, help='where counts are written')
  add('--failures', type=pathlib.Path, help='where failed cases are written, a line each')
  add('--only', type=lambda text: [int(n) for n in text.split(',')], default=[],
      help='numbers of cases')
  add('--keep', type=pathlib.Path, help='with --only: where the files of the cases stay')
  given = parser.parse_args()
  start = time.monotonic()
  if given.confess:
    return confess()
  process.warm()
  with tempfile.TemporaryDirectory(prefix='fuzz-') as made:
    top = pathlib.Path(made).resolve()
    if not given.commands or STOCKED & set(given.commands):
      prepare(top)
    if given.only:
      return again(given, top)
    numbers = range(given.first, given.first + given.cases)
    children = []
    for i in range(given.workers):
      pid = os.fork()
      if not pid:
        try:
          work(numbers[i::given.workers], given, top, f'worker-{i}')
        except BaseException:
          import traceback
          traceback.print_exc()
          os._exit(1)
        os._exit(0)
      children.append(pid)
    broken = [pid for pid in children if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]
    lines = [json.loads(line) for path in sorted(top.glob('worker-*.jsonl'))
             for line in path.read_text(encoding='utf-8').splitlines()]
  found = {'command': 'python benchmarks/fuzz.py ' + ' '.join(sys.argv[1:]), 'seed': given.seed,
           'seconds': round(time.monotonic() - start), **counts(lines)}
  failed = sorted((line for line in lines if line['wrong']), key=lambda line: line['number'])
  for path, text in ((given.json, json.dumps(found, indent=1)),
                     (given.failures, '\n'.join(map(json.dumps, failed)))):
    if path:
      path.write_text(text + '\n')
  for line in failed:
    print(f'{line["number"]}: {line["command"]}, {line["format"]}, {line["what"]}: '
          f'{"; ".join(line["wrong"])}')
  print(', '.join(f'{name} {found[name]}' for name in (
      'cases', 'answered', 'refused', 'failed', 'slowest_s', 'largest_peak_mb', 'seconds')))
  return 1 if failed or broken else 0


def confess() -> int:
  """Deeds that no command may do; each must be noticed. Exit status: 1 where one is not."""
  missed = []
  for name, (deed, expected) in confession.DEEDS.items():
    with tempfile.TemporaryDirectory(prefix='fuzz-') as made:
      folder = pathlib.Path(made).resolve() / 'case'
      for part in ('in', 'out', 'home', 'tmp'):
        (folder / part).mkdir(parents=True)
      confession.Harm(folder / 'outside', folder / 'MARK').spread()
      (folder / 'in' / 'evil.py').write_text('x = 1')
      wrong = process.judge(process.run([name], folder, clock=2, patience=6, memory=2**29,
                                        status=deed))
      noticed = any(expected in line for line in wrong)
      print(f'{name}: {"" if noticed else "NOT NOTICED: "}{"; ".join(wrong)}')
      missed += [] if noticed else [name]
  return 1 if missed else 0


def again(given: argparse.Namespace, top: pathlib.Path) -> int:
  """Cases by number, and all they said."""
  failed = 0
  for number in given.only:
    folder = (given.keep or top) / f'case-{number}'
    line, outcome = one(number, given, folder.resolve(), top)
    failed += bool(line['wrong'])
    print(json.dumps(line | {'err': ''}), outcome.out, outcome.err, sep='\n')
  return 1 if failed else 0


if __name__ == '__main__':
  sys.exit(main())
