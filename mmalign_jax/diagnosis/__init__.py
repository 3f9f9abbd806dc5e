"""Before any training: would aligning two views find what they share, would predicting one?"""

from mmalign_jax.diagnosis.regimes import Diagnosis, diagnose
from mmalign_jax.diagnosis.spectra import Spectrum
from mmalign_jax.diagnosis.verdict import Objective

__all__ = ['Diagnosis', 'Objective', 'Spectrum', 'diagnose']
