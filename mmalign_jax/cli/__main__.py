"""python -m mmalign_jax.cli: the `mmalign` command without an installation."""

import sys

from mmalign_jax.cli import main

if __name__ == '__main__':
  sys.exit(main())
