"""Names of rows that commands check before what they name is loaded, which takes JAX a second.

A registry that is loaded is asked itself: it may have rows of the user's own. tests/start_test.py
holds these beside the registries.
"""

from collections.abc import Collection
import math
import sys
from typing import NamedTuple

from mmalign_jax.ranges import Range, listed

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


class Setting(NamedTuple):
  """Of a generator: what it may be, what it is, in which units."""
  range: Range
  words: str
  units: str


class Described(NamedTuple):
  """A generator: all settings that it reads, what is asked of each, and where they start."""
  reads: tuple[str, ...]
  settings: dict[str, Setting]
  start: dict[str, float]


_SHARE = Range(0, 1)
_ATOM = Range(0, math.log(2) + 1e-6)
_NOISE = {'mismatched': Setting(_SHARE, 'share of pairs whose x2 is unrelated', ''),
          'flipped': Setting(_SHARE, 'probability that a shared bit of x2 is flipped', '')}
_READ = ('redundancy', 'transform_depth', 'mismatched', 'flipped', 'n_train')
GENERATORS = {
    'bits': Described(
        (*_READ, 'level'),
        {'redundancy': Setting(Range(0, 8, True), 'shared task bits', 'bits'),
         'level': Setting(Range(0, 9, True), 'difficulty', ''), **_NOISE}, {'redundancy': 4}),
    'atoms': Described(
        (*_READ, 'unique_1', 'unique_2', 'synergy'),
        {'redundancy': Setting(_ATOM, 'redundancy', 'nats'),
         'unique_1': Setting(_ATOM, 'unique information of side 1', 'nats'),
         'unique_2': Setting(_ATOM, 'unique information of side 2', 'nats'),
         'synergy': Setting(_ATOM, 'synergy', 'nats'), **_NOISE}, {'redundancy': 0.3})}
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
    raise ValueError(f'{kind} {name!r:.80} is unknown; {listed(name, sorted(known))}')
