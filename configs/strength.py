"""How strongly should one align? Accuracy against strength and redundancy (arXiv 2511.12121).

Arguments: (none) the full study, quick, tiny; atoms: the same question with exact information
atoms; per_encoder: one strength for each encoder. Any value can be overridden by its name, as in
--config.lam='(0, 0.5, 1)'; several values of a traced setting are an axis of the grid.
"""

from ml_collections import ConfigDict

from mmalign_jax.studies.strength.plan import defaults


def get_config(arg: str = '') -> ConfigDict:
  """Settings of the study that `arg` names."""
  config = ConfigDict(defaults())
  config.name = 'strength'
  config.generator = 'bits'
  config.redundancy = tuple(range(9))                     # shared task bits of 8
  config.lam = tuple(round(0.2 * i, 1) for i in range(11))
  config.seed = tuple(range(10))
  config.n_train = (512,)
  if arg:
    if arg not in VARIANTS:
      raise ValueError(f'configs/strength.py:{arg} is unknown; known: {", ".join(VARIANTS)}')
    config.update(VARIANTS[arg])
    config.name = f'strength {arg}'
  return config


VARIANTS = {
    'quick': dict(redundancy=(0, 4, 8), lam=(0.0, 0.4, 0.8, 1.2, 1.6, 2.0), seed=tuple(range(5))),
    'tiny': dict(redundancy=(0, 8), lam=(0.0, 1.0), seed=(0, 1), steps=20, depth=1, batch_size=32,
                 n_train=(64,), n_align=64, resamples=200),
    'atoms': dict(generator='atoms', redundancy=(0.3,), unique_1=(0.0, 0.2, 0.4, 0.6),
                  unique_2=(0.0, 0.2, 0.4, 0.6), lam=(0.0, 0.4, 0.8, 1.2, 1.6, 2.0)),
    'per_encoder': dict(redundancy=(7,), lam=(0.0,), lam_1=(0.0, 0.4, 1.8), lam_2=(0.0, 0.4, 1.8)),
}
