"""python bound.py PARENT PROGRAM ...: a Python program that ends with the process PARENT, on Linux.

A killed worker then leaves no process behind that holds the lock of its shard. Asked for here and
not between fork and exec, where a process of many threads may do next to nothing.
"""

import ctypes
import os
import runpy
import signal
import sys

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG

if __name__ == '__main__':
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it has ended already
      os._exit(1)
  del sys.argv[:2], sys.path[0]  # of this file's folder nothing is imported by its bare name
  runpy.run_path(sys.argv[0], run_name='__main__')
