"""What is shared, what is unique, what only appears together: decompositions of information."""

from mmalign_jax.information import counts, cross_check, discrete, nearest, quantise
from mmalign_jax.information.classifier import held_out
from mmalign_jax.information.convex import broja
from mmalign_jax.information.decomposition import ATOMS, Decomposition
from mmalign_jax.information.estimation import Estimate, estimate
from mmalign_jax.information.gaussians import gaussian
from mmalign_jax.information.lattice import METHODS, imin, mmi
from mmalign_jax.information.neural.estimate import BatchEstimate, BatchSpec, batch

__all__ = [
    'ATOMS', 'BatchEstimate', 'BatchSpec', 'Decomposition', 'Estimate', 'METHODS', 'batch', 'broja',
    'counts', 'cross_check', 'discrete', 'estimate', 'gaussian', 'held_out', 'imin', 'mmi',
    'nearest', 'quantise']
