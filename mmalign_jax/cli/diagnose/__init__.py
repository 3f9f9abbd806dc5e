"""mmalign diagnose."""

from mmalign_jax.cli.diagnose.command import run

__all__ = ['run']
