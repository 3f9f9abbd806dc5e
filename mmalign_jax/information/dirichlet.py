"""The entropy behind counts under mixed Dirichlet priors: the integral of `counts.nsb`.

Nemenman, Shafee and Bialek (2002, arXiv physics/0108025).
"""

import numpy as np

_COARSE, _FINE = 160, 256  # points of the integral over the concentration


def mean_entropy(n: np.ndarray) -> float:
  """Posterior mean of the entropy in nats for counts n [K]: integrals over log beta, on two
  grids."""
  if len(n) == 1:
    return 0.0
  u = np.linspace(np.log(1e-8 / len(n)), np.log(1e7), _COARSE)
  weight, _ = _posterior(n, np.exp(u))
  near = np.flatnonzero(weight > weight.max() - 40)  # e^-40 of the peak: nothing
  low, high = u[max(near[0] - 1, 0)], u[min(near[-1] + 1, len(u) - 1)]
  weight, mean = _posterior(n, np.exp(np.linspace(low, high, _FINE)))
  weight = np.exp(weight - weight.max())
  return np.sum(weight * mean) / np.sum(weight)


def _posterior(n: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Log density in log beta (up to a constant) and mean entropy in nats, at beta [G] each.

  Gamma(n + beta) / Gamma(beta) is 1 / B(n, beta) but for what beta does not change.
  """
  from scipy import special  # here, since importing the package stays fast
  k, total = len(n), n.sum()
  sizes, repeats = np.unique(n, return_counts=True)
  seen = sizes > 0
  kappa, column = k * beta, beta[:, None]
  evidence = special.betaln(total, kappa) - (
      special.betaln(sizes[seen][None], column) @ repeats[seen])
  slope = k * special.polygamma(1, kappa + 1) - special.polygamma(1, beta + 1)  # of mean entropy
  share = (sizes[None] + column) / (total + kappa)[:, None]
  mean = special.digamma(total + kappa + 1) - (
      share * special.digamma(sizes[None] + column + 1)) @ repeats
  return evidence + np.log(beta * slope), mean
