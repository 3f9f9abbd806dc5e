"""When do encoders trained alone align by themselves, and does it predict performance?

The study of arXiv 2502.16282. Arguments: (none) the full grid with one seed; paper: the full
protocol, three seeds; quick; tiny; atoms: the full grid on a generator of exact information atoms.
Any value can be overridden by its name, as in --config.depth='(1, 5)'. `unique` is the number of
task bits, of 8, that are not shared.
"""

from ml_collections import ConfigDict

from mmalign_jax.studies.emergence.plan import defaults


def get_config(arg: str = '') -> ConfigDict:
  """Settings of the study that `arg` names."""
  config = ConfigDict(defaults(), convert_dict=False)
  if arg:
    if arg not in VARIANTS:
      raise ValueError(f'configs/emergence.py:{arg} is unknown; known: {", ".join(VARIANTS)}')
    config.update(VARIANTS[arg])
    config.name = f'emergence {arg}'
  return config


VARIANTS = {
    'paper': dict(seed=(0, 1, 2), tune_epochs_1=50, tune_epochs_2=300),
    'quick': dict(unique=(0, 2, 4, 6, 8), transform_depth=(1, 5, 9), depth=(1, 4, 8), seed=(0, 1),
                  epochs_1=50, epochs_2=100, learning_rate=(5e-3, 1e-2), weight_decay=(0.0, 1e-2),
                  tune_epochs_1=10, tune_epochs_2=20),
    'tiny': dict(unique=(0, 4, 8), transform_depth=(1, 5), depth=(1, 2), seed=(0,), n_train=2048,
                 n_validation=512, batch_size=128, epochs_1=2, epochs_2=2, tune_epochs_1=2,
                 tune_epochs_2=2, learning_rate=(5e-3, 1e-2), weight_decay=(0.0,), n_align=64,
                 neighbors=10, permutations=20, resamples=200),
    'atoms': dict(generator='atoms'),
}
