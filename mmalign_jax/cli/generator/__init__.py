"""mmalign generator."""

from mmalign_jax.cli.generator.command import run

__all__ = ['run']
