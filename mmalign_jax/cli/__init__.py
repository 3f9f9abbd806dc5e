"""The `mmalign` command: studies, shards, measures, diagnoses, decompositions; errors in one line.

  mmalign sweep --config=configs/strength.py:quick --workdir=DIR
  mmalign train --config=configs/avmnist.py:tiny --data_dir=DATA --workdir=DIR
  mmalign submit --config=configs/strength.py --workdir=DIR --executor=local|slurm|ray
  mmalign merge DIR DIR... [--workdir=DIR]
  mmalign generator --name=bits --redundancy=4 --level=0 [--json]
  mmalign measure X.npy Y.npy [--measures=linear_cka,mutual_knn|all] [--null=200] [--json]
  mmalign zoo --left=VISION.npz --right=LANGUAGE.npz --workdir=DIR [--y=Y.npy] [--json]
  mmalign diagnose --x1=X1.npy --x2=X2.npy [--y=Y.npy] [--json]
  mmalign decompose --x1=X1.npy --x2=X2.npy --y=Y.npy [--null=200] [--json]
  mmalign decompose --table=JOINT.npy [--method=broja|imin|mmi] [--json]
  mmalign advise DATA.npz --workdir=DIR [--minutes=5] [--json]
  mmalign advise --x1=X1.npy --x2=X2.npy --y=Y.npy --workdir=DIR
  mmalign embed DIR NEW.npz --view=x1 [--out=Z.npy] [--predictions=SAID.csv]
  mmalign report DIR... [--out=FILE.html] [--open]

`mmalign COMMAND --help` lists every option. `mmalign --register=FILE.py COMMAND ...` runs a file of
yours first, which adds rows to the registries: generators, encoders, losses, measures, ...

What a command compiles is kept for the next one, in ~/.cache/mmalign_jax/compiled: 256 MiB at
most, and MMALIGN_CACHE_DIR in the environment names another folder, or '' for none. With --no-cache
a command compiles everything anew. `mmalign --version` says which this is.
"""

import argparse
import contextlib
import difflib
import importlib
import importlib.metadata
import os
import pathlib
import signal
import sys
import threading
from typing import Any, Callable, Iterator
import warnings

from mmalign_jax import cache, start
from mmalign_jax.cli import register
from mmalign_jax.cli.sweep import with_known_configs
from mmalign_jax.data.files.formats.guard import place
from mmalign_jax.ranges import listed
from mmalign_jax.runs import damage

__all__ = ['COMMANDS', 'Parser', 'figure_path', 'guard', 'leave', 'main',
           'out_path', 'printable', 'with_known_configs']

SAFE = 'stopped; every finished chunk is safe, and the same command continues from there'
MERGING = 'stopped; the folders to merge are as they were, and the same command continues'
ADVISING = 'stopped; every finished step is safe, and the same command continues from there'
LONGEST = 2000     # letters of an error
FIGURES = ('.png', '.pdf', '.svg')


def leave(status: int) -> None:
  """Ends the process; after an interruption or an error without waiting for anything.

  XLA may still compile or compute in threads of its own, which a usual exit pulls the floor from or
  waits for, a minute and more where an encoder is trained.
  """
  if status:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
  sys.exit(status)


def main(argv: list[str] | None = None) -> int:
  """Runs one command; returns the exit status."""
  asked: list[str] = []
  status = guard(lambda: asked.extend(register.taken(sys.argv[1:] if argv is None else argv)))
  if status:
    return status
  argv = asked
  if not argv or argv[0] in ('-h', '--help'):
    print(__doc__)
    return 0
  if argv[0] == '--version':
    print(f'mmalign {_version()}')
    return 0
  name, *rest = argv
  if name not in COMMANDS:
    return guard(lambda: _fail(f'unknown command {name!r}; {listed(name, COMMANDS)}'))
  rest = cache.taken(rest)
  status = guard(lambda: COMMANDS[name](rest),
                 stopped={**dict.fromkeys(('sweep', 'train', 'submit', 'zoo'), SAFE),
                          'merge': MERGING, 'advise': ADVISING}.get(name, start.STOPPED))
  if not status and cache.OF_JAX not in os.environ and (why := cache.refused()):
    damage.note(printable(why))  # at the end: an error is one line
  return status


def _version() -> str:
  """Of the installation, where this is one."""
  try:
    return importlib.metadata.version('mmalign_jax')
  except importlib.metadata.PackageNotFoundError:  # python -m mmalign_jax, beside the package
    return '(not installed)'


def guard(function: Callable[[], object], stopped: str = SAFE) -> int:
  """Runs `function`; wrong input or an interruption ends in one line on standard error."""
  for number in (signal.SIGTERM, signal.SIGALRM):  # the alarm is of `_once_more`
    signal.signal(number, signal.default_int_handler)
  if signal.getsignal(signal.SIGINT) is start.stop:
    signal.signal(signal.SIGINT, signal.default_int_handler)
  with _one_voice() as held:
    status = _guarded(function, stopped)
  for warning in () if status else held:
    warnings.showwarning(*warning)
  return status


def _guarded(function: Callable[[], object], stopped: str) -> int:
  try:
    function()
    sys.stdout.flush()
    return 0
  except KeyboardInterrupt as interruption:
    print(str(interruption) or stopped, file=sys.stderr)
    return start.INTERRUPTED
  except BrokenPipeError:  # the reader, such as head, has seen enough
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
  except Exception as error:
    refused = damage.of_the_machine(error)
    if not refused and not isinstance(error, (ValueError, OSError, FloatingPointError)):
      raise
    text = ' '.join(str(error).split())
    if refused and ' safe' not in text and 'nothing was' not in text:  # no one knew more
      text = f'{refused}: {text[:200]}; {stopped.removeprefix("stopped; ")}'
    print(f'error: {printable(text if len(text) <= LONGEST else _shortened(text))}',
          file=sys.stderr)
    return 2


def printable(text: str) -> str:
  """Text with all but letters and ends of lines written as \\x1b: names in files can hold anything,
  such as what a terminal obeys."""
  return ''.join(c if c.isprintable() or c == '\n' else c.encode('unicode_escape').decode()
                 for c in text)


def _shortened(text: str) -> str:
  """An error that quotes a cell without end."""
  return f'{text[:LONGEST // 2]} ... {text[-LONGEST // 4:]}'


@contextlib.contextmanager
def _one_voice() -> Iterator[list[tuple]]:
  """What fails in threads and callbacks of libraries is not printed: it reaches the user in one
  line by what waits for it, where a full disk would else print a trace for every file. Warnings
  are held: an overflow on the way to an error would be a second line."""
  hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
  shown, held = warnings.showwarning, []
  warnings.showwarning = lambda *warning: held.append(warning)
  sys.excepthook = threading.excepthook = lambda *_: None
  sys.unraisablehook = _once_more
  warnings.filterwarnings('ignore', message='coroutine .* was never awaited')
  try:
    yield held
  finally:
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    warnings.showwarning = shown


def _once_more(unraisable: Any) -> None:
  """A Ctrl-C that comes within a callback, as JAX's of the garbage collector, ends that only: it
  comes again a moment later."""
  if unraisable.exc_type is KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _fail(message: str) -> None:
  raise ValueError(message)


class Parser(argparse.ArgumentParser):
  """argparse whose errors are ValueErrors, for `guard`; --no-cache is taken off the arguments
  before (`cache`), and only stands here to be read."""

  def __init__(self, *args: Any, **options: Any):
    super().__init__(*args, **options)
    self.add_argument(cache.FLAG, action='store_true', default=argparse.SUPPRESS,
                      help='compile everything anew, and keep nothing of it for the next command')

  def error(self, message: str):
    if message.startswith('unrecognized'):
      given = message.split()[2].partition('=')[0]
      near = difflib.get_close_matches(given, self._option_string_actions, n=1)
      message += f'; did you mean {near[0]}?' if near else f'; {self.prog} --help lists all'
    raise ValueError(f'{self.prog}: {message}')


def figure_path(text: str | None) -> pathlib.Path | None:
  """A file that can be drawn."""
  return out_path(text, '--figure', FIGURES)


def out_path(text: str | None, option: str, ends: tuple[str, ...]) -> pathlib.Path | None:
  """A file that can be written, None for none; better found out before than after the work.

  Raises:
    ValueError: another ending. FileNotFoundError: no such folder.
  """
  if text is None:
    return None
  path = place(text)
  if path.suffix.lower() not in ends:
    raise ValueError(f'{option}={text} must end in {", ".join(ends)}')
  if not path.parent.is_dir():
    raise FileNotFoundError(f'{option}={text}: no folder {str(path.parent)!r}')
  return path


def _command(name: str) -> Callable[[list[str]], None]:
  """The function `run` of the module `name`, which is imported when it is called."""
  return lambda argv: importlib.import_module(f'{__name__}.{name}').run(argv)


COMMANDS = {name: _command(name)
            for name in ('sweep', 'train', 'submit', 'merge', 'generator', 'measure', 'zoo',
                         'diagnose', 'decompose', 'advise', 'embed', 'report')}
