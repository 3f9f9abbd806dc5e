"""Do encoders of real modalities, each trained alone, align, and does it predict performance?

The real-data study of arXiv 2502.16282: depths 1 to 10, three seeds, every encoder against the best
one of the other side. Arguments: digits (two halves of scikit-learn's handwritten digits; no
download), tiny (a very short run of the same); cora, wikipedia, emoji, mosi, mfeat, utd, mmmo,
avmnist, with --data_dir=FOLDER of the files as they are published; or
data=PATH,x1=NAME,x2=NAME[,y=NAME][,group=NAME][,task=l1]... for files. Other views of a data set by
name, as in --config.x1=text --config.x2=video.

Encoders are those of the paper where there are sequences (utd, in 50 even steps, mmmo, and avmnist,
49 patches and 20 frames: Transformers as wide as their input), of vectors MLPs of `width`. Learning
rate and weight decay are chosen on validation rows, `n_validation` labels a class (in all, for a
regression), for each side and band of depths, utd's after 15 of 50 epochs; for avmnist they are
given, and training is of 8 epochs: longer takes too long on two cores.
"""

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.data.prepared import VALIDATION
from mmalign_jax.data.published import DATASETS
from mmalign_jax.studies.emergence.plan import defaults


def get_config(arg: str = 'digits') -> ConfigDict:
  """Settings for the data that `arg` names."""
  config = ConfigDict(defaults(), convert_dict=False)
  config.generator = 'pairs'
  config.seed = (0, 1, 2)
  config.width, config.batch_size = 64, 64
  config.epochs_1 = config.epochs_2 = 50
  config.tune_epochs_1 = config.tune_epochs_2 = 50
  config.n_validation = VALIDATION  # files may come with validation rows of their own
  config.neighbors = 10
  if arg in (*DATASETS, 'tiny'):
    config.data = 'digits' if arg == 'tiny' else arg
    config.n_validation = 30
    config.update(OWN.get(arg, {}))
  else:
    config.update(parse(arg, 'emergence_real', (*DATASETS, 'tiny')))
  config.name = f'emergence {config.data} {config.x1} {config.x2}'.strip()
  return config


OWN = {
    'utd': dict(encoder='sequence_transformer', pool='even', tune_epochs_1=15, tune_epochs_2=15),
    'mmmo': dict(encoder='sequence_transformer', pool='none', n_validation=VALIDATION),
    'mosi': dict(n_validation=100),
    'avmnist': dict(encoder='sequence_transformer', x1='patches', x2='frames', n_align=1024,
                    epochs_1=8, epochs_2=8, learning_rate=(1e-3,), weight_decay=(0.0,)),
    'tiny': dict(
        depth=(1, 2, 3), seed=(0, 1), width=8, batch_size=128, epochs_1=4, epochs_2=4,
        tune_epochs_1=4, tune_epochs_2=4, learning_rate=(5e-3, 1e-2), weight_decay=(0.0,),
        bands=((1, 3),), n_align=64, neighbors=5, permutations=20, resamples=200)}
