"""Encoders that are kept: fitted at chosen settings, calibrated, saved, and applied to new rows."""

from mmalign_jax.fitted.calibrate import Calibration
from mmalign_jax.fitted.fitting import fit
from mmalign_jax.fitted.model import Fitted, Prediction, View, embed, predict
from mmalign_jax.fitted.reading import load
from mmalign_jax.fitted.store import save, stored
from mmalign_jax.fitted.together import predict_together

__all__ = ['Calibration', 'Fitted', 'Prediction', 'View', 'embed', 'fit', 'load', 'predict',
           'predict_together', 'save', 'stored']
