"""mmalign advise: should these pairs be aligned, with what, how strongly?"""

from mmalign_jax.cli.advise.command import run

__all__ = ['run']
