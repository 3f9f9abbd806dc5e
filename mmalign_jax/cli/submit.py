"""mmalign submit: a study on many machines, run by launch/submit.py."""

from mmalign_jax.cli import sweep


def run(argv: list[str]) -> None:
  """Runs the launch/submit.py of the package."""
  sweep.run(argv, 'submit')
