"""python -m mmalign_jax.cli: the `mmalign` command without an installation."""

from mmalign_jax.cli import entry

if __name__ == '__main__':
  entry()
