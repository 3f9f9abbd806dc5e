"""What arXiv 2502.16282 reports for its synthetic data, read off its figures (to about 0.02)."""

READING_ERROR = 0.02

# Maximum alignment (unbiased linear CKA, untransformed encoder of depth 1) by D_phi and U = 0..7;
# the point at U = 8 in the paper is an array that was never filled.
MAX_ALIGNMENT = {
    1: (.91, .81, .67, .46, .43, .46, .45, .38),
    3: (.86, .80, .66, .48, .26, .42, .42, .45),
    5: (.83, .75, .68, .44, .33, .42, .31, .30),
    7: (.72, .67, .62, .48, .34, .37, .28, .12),
    9: (.77, .70, .60, .37, .34, .30, .29, .19),
}
# Correlation of maximum alignment with U by D_phi.
SPEARMAN_UNIQUE = {1: -0.950, 3: -0.833, 5: -0.983, 7: -0.983, 9: -1.000}
# Median correlations over D_phi and seeds by U = 0..8.
CORRELATIONS = {
    'alignment_performance': (.68, .69, .61, .34, .27, .22, .17, .01, .13),
    'performance_depth': (.73, .71, .62, .69, .62, .76, .53, .68, .62),
    'alignment_depth': (.93, .88, .86, .45, .25, .29, .05, .00, .09),
}
MEASURE = 'debiased_linear_cka'
PROTOCOL = {  # settings of its data and training; a shorter one answers another question
    'generator': 'bits', 'transform': 'one', 'level': 0, 'flipped': 0, 'mismatched': 0,
    'encoder': 'mlp', 'width': 12, 'depth': list(range(1, 11)), 'batch_size': 512, 'clip_norm': 8,
    'n_train': 45875, 'n_validation': 9830, 'epochs_1': 50, 'epochs_2': 300}


def applies(configuration: dict) -> bool:
  """Whether a study's data and training are those of the paper."""
  plain = lambda value: list(value) if isinstance(value, (list, tuple)) else value
  return all(plain(configuration.get(name, value)) == value  # unread settings are not recorded
             for name, value in PROTOCOL.items()) and (
                 list(configuration['untransformed_depth'])[0] == 1)
