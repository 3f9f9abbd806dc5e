"""mmalign decompose."""

from mmalign_jax.cli.decompose.command import run

__all__ = ['run']
