"""Measures of similarity between two representations x [N, D1], y [N, D2] of the same samples."""

from mmalign_jax.similarity.cka import debiased_linear_cka, linear_cka
from mmalign_jax.similarity.neighbors import mutual_knn

MEASURES = {
    'linear_cka': linear_cka,
    'debiased_linear_cka': debiased_linear_cka,
    'mutual_knn': mutual_knn,
}
