"""Written and spoken digits, trained data-parallel: how strongly should they be aligned?

Arguments: (none) the full run, tiny; apart: test speakers never heard; degraded: 75 % of the
images' variance removed. Any value can be overridden by its name, as in --config.lam='(0, 0.5, 1)'.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from mmalign_jax.studies.train.plan import defaults


def get_config(arg: str = '') -> ConfigDict:
  """Settings of the run that `arg` names."""
  config = ConfigDict(defaults() | {
      name: placeholder(kind) for name, kind in OPTIONAL.items()}, convert_dict=False)
  if arg:
    if arg not in VARIANTS:
      raise ValueError(f'configs/avmnist.py:{arg} is unknown; known: {", ".join(VARIANTS)}')
    config.update(VARIANTS[arg])
    config.name = f'avmnist {arg}'
  return config


OPTIONAL = {'audio_snr_db': float, 'train_size': int, 'test_size': int}  # None: no such limit
VARIANTS = {
    'tiny': dict(lam=(0.0, 1.0), epochs=1, train_size=512, test_size=256, batch_size=64, width_1=4,
                 width_2=8, n_align=128, log_every=2, checkpoint_every=4),
    'apart': dict(speakers='apart'),
    'degraded': dict(image_energy_removed=0.75),
}
