"""Measures of similarity between two representations x [N, D1], y [N, D2] of the same samples."""

from mmalign_jax.similarity import (
    correlation,
    dissimilarity,
    gap,
    independence,
    kernel_neighbors,
    knn,
    least_squares,
    linear,
    minibatch,
    rbf,
    retrieval,
    shape,
)
from mmalign_jax.similarity.correlation import cca, cca_squared, linear_regression, pwcca, svcca
from mmalign_jax.similarity.dissimilarity import rsa
from mmalign_jax.similarity.gap import (
    alignment,
    distribution_gap,
    modality_gap,
    modality_gap_parts,
    modality_gap_share,
    uniformity,
)
from mmalign_jax.similarity.independence import hsic
from mmalign_jax.similarity.interval import Interval, bootstrap
from mmalign_jax.similarity.kernel_neighbors import cknna
from mmalign_jax.similarity.knn import (
    cycle_knn,
    edit_distance_knn,
    jaccard_knn,
    lcs_knn,
    mutual_knn,
)
from mmalign_jax.similarity.layers import Pairs, layer_pairs
from mmalign_jax.similarity.least_squares import pls
from mmalign_jax.similarity.linear import debiased_linear_cka, linear_cka, rv_coefficient
from mmalign_jax.similarity.measure import Measure, merged
from mmalign_jax.similarity.minibatch import minibatch_cka
from mmalign_jax.similarity.null import Calibration, calibrate, calibration
from mmalign_jax.similarity.own import of_function
from mmalign_jax.similarity.preprocess import center, clip, normalize, standardize
from mmalign_jax.similarity.rbf import debiased_rbf_cka, rbf_cka
from mmalign_jax.similarity.retrieval import median_rank_xy, median_rank_yx, recall_xy, recall_yx
from mmalign_jax.similarity.shape import (
    angular,
    bures,
    covariance_distance,
    effective_rank,
    procrustes,
)

MEASURES = merged(
    linear.MEASURES, rbf.MEASURES, independence.MEASURES, minibatch.MEASURES,
    kernel_neighbors.MEASURES, knn.MEASURES, correlation.MEASURES, least_squares.MEASURES,
    shape.MEASURES, dissimilarity.MEASURES, gap.MEASURES, retrieval.MEASURES)

__all__ = [
    'Calibration', 'Interval', 'MEASURES', 'Measure', 'Pairs', 'alignment', 'angular',
    'bootstrap', 'bures', 'calibrate', 'calibration', 'cca', 'cca_squared', 'center', 'cknna',
    'clip',
    'covariance_distance', 'cycle_knn', 'debiased_linear_cka', 'debiased_rbf_cka',
    'distribution_gap', 'edit_distance_knn', 'effective_rank', 'hsic', 'jaccard_knn',
    'layer_pairs', 'lcs_knn', 'linear_cka', 'linear_regression', 'median_rank_xy',
    'median_rank_yx', 'minibatch_cka', 'modality_gap', 'modality_gap_parts',
    'modality_gap_share', 'mutual_knn', 'normalize', 'of_function', 'pls', 'procrustes', 'pwcca',
    'rbf_cka',
    'recall_xy', 'recall_yx', 'rsa', 'rv_coefficient', 'standardize', 'svcca', 'uniformity']
