"""Names of rows that commands check before what they name is loaded, which takes JAX a second.

A registry that is loaded is asked itself: it may have rows of the user's own. tests/start_test.py
holds these beside the registries.
"""

from collections.abc import Collection
import sys

METRICS = ('cosine', 'inner_product', 'euclidean')  # of neighbours
_KNOWN = {
    'similarity.MEASURES': (
        'linear_cka', 'debiased_linear_cka', 'rv_coefficient', 'rbf_cka',
        'debiased_rbf_cka', 'hsic', 'minibatch_cka', 'cknna', 'mutual_knn', 'jaccard_knn',
        'cycle_knn', 'lcs_knn', 'edit_distance_knn', 'cca', 'cca_squared', 'svcca', 'pwcca',
        'linear_regression', 'pls', 'bures', 'procrustes', 'angular', 'covariance_distance',
        'rsa', 'modality_gap', 'modality_gap_share', 'distribution_gap', 'alignment',
        'recall_xy', 'recall_yx', 'median_rank_xy', 'median_rank_yx'),
    'information.lattice.METHODS': ('broja', 'imin', 'mmi'),
    'studies.advise.steps.STEPS': (
        'data', 'alike', 'atoms', 'linear', 'regime', 'predicted', 'trial', 'decision',
        'encoders'),
}
EFFORTS = 10  # of `mmalign advise`: rows of LADDER


def of(registry: str) -> Collection[str]:
  """The names in a registry of the package, as 'similarity.MEASURES'.

  Examples:
    >>> 'linear_cka' in of('similarity.MEASURES')
    True
  """
  module, _, name = registry.rpartition('.')
  loaded = getattr(sys.modules.get(f'{__package__}.{module}'), name, None)
  return _KNOWN[registry] if loaded is None else loaded.keys()


def check(registry: str, name: str, kind: str) -> None:
  """Raises ValueError, with the names there are, for one that is in no row."""
  known = of(registry)
  if name not in known:
    raise ValueError(f'{kind} {name!r:.80} is unknown; known: {", ".join(sorted(known))}')
