"""What does alignment erase? Linear probes of shared and unique bits in every layer, over strength.

Arguments: (none) the full study, tiny. Any value can be overridden by its name, as in
--config.generator=atoms --config.redundancy='(0.3,)' --config.unique_1='(0.3,)'.
"""

from ml_collections import ConfigDict

from mmalign_jax.studies.strength.plan import defaults


def get_config(arg: str = '') -> ConfigDict:
  """Settings of the study that `arg` names."""
  config = ConfigDict(defaults())
  config.name = 'retention'
  config.probes = True
  config.redundancy = (0, 2, 4, 6, 8)  # shared task bits of 8
  config.lam = (0.0, 0.1, 0.2, 0.4, 0.8, 1.2, 2.0)
  config.seed = tuple(range(10))
  config.n_train = (512,)
  if arg:
    if arg not in VARIANTS:
      raise ValueError(f'configs/retention.py:{arg} is unknown; known: {", ".join(VARIANTS)}')
    config.update(VARIANTS[arg])
    config.name = f'retention {arg}'
  return config


VARIANTS = {
    'tiny': dict(redundancy=(0, 8), lam=(0.0, 1.0), seed=(0, 1), steps=20, depth=1, batch_size=32,
                 n_train=(64,), n_align=64, resamples=200),
}
