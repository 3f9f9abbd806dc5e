"""Encoders of any pairs, trained data-parallel: vectors or sequences of two or three modalities.

Argument: digits (two halves of scikit-learn's handwritten digits; no download), tiny (a very short
run of the same); cora, wikipedia, emoji, mosi, mfeat, utd, with --data_dir=FOLDER of the files as
they are published; or data=PATH,x1=NAME,x2=NAME[,x3=NAME][,y=NAME][,group=NAME]... for files.

Samples without a label are aligned and not learnt from, those without a modality do neither with
it. Sequences stay sequences (--config.pool='mean' makes vectors of them). A side has an `mlp` for
vectors and an `audio_cnn1d` for sequences, unless encoder_1, encoder_2, encoder_3 name others.
"""

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.data.published import DATASETS
from mmalign_jax.studies.train.plan import defaults

SIDES = {f'{name}_{i}': value for i in (1, 2, 3)
         for name, value in (('encoder', ''), ('depth', 0), ('width', 0))}


def get_config(arg: str = 'digits') -> ConfigDict:
  """Settings for the data that `arg` names."""
  config = ConfigDict(defaults())
  config.update(SIDES)
  config.generator = 'pairs'
  config.task = 'auto'
  config.lam = (0.0, 0.1, 0.3, 1.0)
  config.seed = (0, 1, 2)
  config.epochs, config.batch_size, config.drop_last = 60, 128, False
  config.learning_rate, config.weight_decay = 2e-3, 1e-2
  config.pool = 'none'
  if arg in (*DATASETS, 'tiny'):
    config.data = 'digits' if arg == 'tiny' else arg
  else:
    config.update(parse(arg, 'pairs', (*DATASETS, 'tiny')))
  if arg == 'tiny':
    config.update(dict(lam=(0.0, 1.0), seed=(0,), epochs=1, n_align=64, log_every=2,
                       checkpoint_every=4))
  config.name = f'pairs {config.data} {config.x1} {config.x2} {config.x3}'.strip()
  return config
