"""Few labels, many pairs: does aligning all pairs help where few of them are labelled?

Arguments: digits (two halves of scikit-learn's handwritten digits; no download), tiny (a very short
run of the same); bits (the generator of configs/strength.py, exact: against shared task bits, with
settings that are not tuned); cora, wikipedia, emoji, mosi, mfeat, utd, mmmo,
avmnist, with --data_dir=FOLDER of the files as they are published; or
data=PATH,x1=NAME,x2=NAME[,y=NAME][,group=NAME][,task=l1]... for files.

n_labelled is the number of labels a class (in all, for a regression; 0: all) that the task may
learn from; every training sample is aligned (align_on='pairs'), or only the labelled ones
('labelled'). Learning rate, weight decay, steps and the number of principal components are chosen
at lam = 0 on further labels, `n_validation` a class; and again for the best strength. Who sets
`steps`, sets `tune_train_steps` beside it: no training is longer.
"""

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.data.published import DATASETS
from mmalign_jax.studies.strength.plan import defaults


def get_config(arg: str = 'digits') -> ConfigDict:
  """Settings for the data that `arg` names."""
  config = ConfigDict(defaults())
  config.generator = 'pairs'
  config.task = 'auto'
  config.n_labelled = ()                                   # 3, 10 and 30 where there are as many
  config.align_on = ('pairs', 'labelled')
  config.lam = (0.0, 0.1, 0.3, 1.0, 3.0)
  config.seed = tuple(range(10))
  config.depth, config.width, config.projection_width = 2, 64, 32
  config.batch_size, config.steps = 128, 400
  config.tune_learning_rate = (1e-3, 5e-3)
  config.tune_weight_decay = (1e-2, 1.0)
  config.tune_train_steps = (100, 400)
  config.tune_components = (10, 30, 0)
  if arg == 'bits':
    config.update(BITS)
  elif arg in (*DATASETS, 'tiny'):
    config.data = 'digits' if arg == 'tiny' else arg
  else:
    config.update(parse(arg, 'few_labels', (*DATASETS, 'tiny', 'bits')))
  if arg == 'tiny':
    config.update(dict(
        lam=(0.0, 1.0), seed=(0, 1), n_labelled=(3, 10), steps=20, depth=1, width=8, batch_size=32,
        n_align=64, resamples=200, tune_learning_rate=(5e-3, 1e-2), tune_weight_decay=(),
        tune_train_steps=(10, 20), tune_components=(10, 0), tune_seeds=2))
  config.name = f'few labels {config.data or arg} {config.x1} {config.x2}'.strip()
  return config


BITS = dict(
    generator='few_bits', task='cross_entropy', redundancy=(0, 2, 4, 6, 8), n_train=(2048,),
    n_labelled=(10, 30, 100), align_on=('pairs',), depth=3, width=12, projection_width=12,
    batch_size=256, steps=600, tune_learning_rate=(), tune_weight_decay=(), tune_train_steps=(),
    tune_components=())
