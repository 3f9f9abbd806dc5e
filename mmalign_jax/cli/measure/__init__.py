"""mmalign measure."""

from mmalign_jax.cli.measure.command import run

__all__ = ['run']
