"""mmalign train: one long training over strengths, run by launch/train.py."""

from mmalign_jax.cli import sweep


def run(argv: list[str]) -> None:
  """Runs the launch/train.py of the package."""
  sweep.run(argv, 'train')
