"""What is shared, what is unique, what only appears together: decompositions of information."""

from typing import TYPE_CHECKING

from mmalign_jax.information import counts, cross_check, discrete, nearest, quantise
from mmalign_jax.information.classifier import held_out
from mmalign_jax.information.convex import broja
from mmalign_jax.information.decomposition import ATOMS, Decomposition
from mmalign_jax.information.estimation import Estimate, estimate
from mmalign_jax.information.gaussians import gaussian
from mmalign_jax.information.lattice import METHODS, imin, mmi

if TYPE_CHECKING:  # optimisers are slow to import, and only networks are trained by them
  from mmalign_jax.information.neural.estimate import BatchEstimate, BatchSpec, batch

__all__ = [
    'ATOMS', 'BatchEstimate', 'BatchSpec', 'Decomposition', 'Estimate', 'METHODS', 'batch', 'broja',
    'counts', 'cross_check', 'discrete', 'estimate', 'gaussian', 'held_out', 'imin', 'mmi',
    'nearest', 'quantise']


def __getattr__(name: str):
  if name in ('BatchEstimate', 'BatchSpec', 'batch'):
    from mmalign_jax.information.neural import estimate
    return getattr(estimate, name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
