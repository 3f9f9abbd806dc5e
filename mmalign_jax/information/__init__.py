"""What is shared, what is unique, what only appears together: decompositions of information."""

from mmalign_jax.information.broja import broja
from mmalign_jax.information.decomposition import ATOMS, Decomposition
from mmalign_jax.information.estimate import Estimate, estimate

__all__ = ['ATOMS', 'Decomposition', 'Estimate', 'broja', 'estimate']
