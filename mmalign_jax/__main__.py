"""python -m mmalign_jax: the `mmalign` command without an installation."""

import os
import sys

if __name__ == '__main__':
  # Python looks for modules in the folder one stands in first: what lies there is not to be run.
  if sys.path[:1] == [os.getcwd()]:
    del sys.path[0]
  from mmalign_jax.start import entry
  entry()
