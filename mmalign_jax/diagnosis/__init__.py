"""Before any training: would aligning two views find what they share, would predicting one?"""

from mmalign_jax.diagnosis.regimes import Diagnosis, Objective, diagnose
from mmalign_jax.diagnosis.spectra import Spectrum

__all__ = ['Diagnosis', 'Objective', 'Spectrum', 'diagnose']
