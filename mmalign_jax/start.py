"""Where a command begins: an interruption while all else is still being loaded is one line, too.

And libraries of linear algebra read how many threads they may have: those of several that wait for
each other, busily, make small decompositions many times slower on a loaded machine.
"""

import gc
import importlib
import os
import signal

STOPPED = 'stopped; nothing was written, and the same command starts again'
INTERRUPTED = 130  # exit status


def begin() -> None:
  """Makes it so, until `cli.guard` takes over; not where interruptions are ignored."""
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop)


def stop(*_: object) -> None:
  """Ends the process at once; what is half imported has nothing to put in order."""
  os.write(2, f'{STOPPED}\n'.encode())
  os._exit(INTERRUPTED)


def entry() -> None:
  """The process `mmalign`."""
  begin()
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # before NumPy is loaded
  gc.set_threshold(50_000)  # what is imported and traced stays: most passes over it free nothing
  cli = importlib.import_module('mmalign_jax.cli')
  cli.leave(cli.main())
