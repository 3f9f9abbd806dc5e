"""Fits the table of the predictor to curves and features, and its margins to settings of their own.
"""

import numpy as np

from mmalign_jax.advice import predictor
from mmalign_jax.advice.predictor import INPUTS, Table

LEVEL = 0.95


def arrays(rows: list[dict]) -> tuple[np.ndarray, np.ndarray]:
  """Inputs [2 N, D] and accuracies [2 N, L, S] of settings, both encoders of one after another."""
  x = [predictor.inputs(row['features'] | {'encoder_depth': row['depth']}, encoder, INPUTS)
       for row in rows for encoder in (1, 2)]
  return np.array(x), np.concatenate([np.array(row['accuracy']) for row in rows])


def gains(accuracy: np.ndarray) -> np.ndarray:
  """[N, L] over the first strength, the mean over seeds of accuracy [N, L, S]."""
  return (accuracy - accuracy[:, :1]).mean(axis=2)


def kernel_ridge(x, gain, lam, width: float, ridge: float) -> Table:
  """The table without spread and margins."""
  center, scale = x.mean(axis=0), x.std(axis=0)
  scale = np.where(scale > 0, scale, 1)
  u = (x - center) / scale
  squared = np.square(u[:, None] - u).mean(axis=2)
  kernel = np.exp(-squared / (2 * width**2))
  intercept = gain[:, 1:].mean(axis=0)
  dual = np.linalg.solve(kernel + ridge * np.eye(len(u)), gain[:, 1:] - intercept)
  np.fill_diagonal(squared, np.inf)
  near = float(np.quantile(np.sqrt(squared.min(axis=1)), 0.99))
  return Table(INPUTS, center, scale, x.min(axis=0), x.max(axis=0), near, np.asarray(lam), u, dual,
               intercept, np.ones(len(u)), width, 0.0, 0.0, 0.0)
