"""mmalign advise: should these pairs be aligned, with what, how strongly?"""

from mmalign_jax.cli.advise import request


def run(argv: list[str]) -> None:
  """Prints the advice; what is refused is so before JAX is loaded."""
  asked = request.parse(argv)
  from mmalign_jax.cli.advise import command
  command.run(asked)


__all__ = ['run']
