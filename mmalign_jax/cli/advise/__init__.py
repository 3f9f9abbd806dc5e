"""mmalign advise: should these pairs be aligned, with what, how strongly?"""

import time

from mmalign_jax.cli.advise import request


def run(argv: list[str]) -> None:
  """Prints the advice; what is refused is so before JAX is loaded."""
  begun = time.monotonic()
  asked = request.parse(argv)
  from mmalign_jax.cli.advise import data
  read = data.read(asked)
  from mmalign_jax.cli.advise import command
  command.run(asked, read, begun)


__all__ = ['run']
