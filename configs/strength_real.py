"""How strongly to align real pairs, by what they share: curves, and the atoms of every pair.

The real-data study of arXiv 2511.12121: strengths 0 to 4, the accuracy of each encoder, InfoNCE as
published and two other objectives, all labels and 3 a class, beside the information atoms of every
pair. Arguments: all (every pair at hand, with --data_dir=FOLDER), one of cora, wikipedia, emoji,
mosi, mfeat, utd, mmmo, avmnist (all pairs of views of it, with --data_dir=FOLDER) or digits (two
halves; no download); NAME:x1,x2 for one pair of it; tiny (a very short run of digits);
data=PATH,x1=NAME,x2=NAME[,y=NAME][,group=NAME]... for files.

Learning rate, weight decay, steps and components are those that are best without alignment on
validation rows (10 labels a class), for every objective. A regression (mmmo) has 30 labels in all
where it is named alone; beside others it has all of them.
"""

import itertools

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.data.published import DATASETS
from mmalign_jax.studies.objectives.plan import defaults

VIEWS = {'mfeat': ('fou', 'fac', 'kar', 'pix', 'zer', 'mor'), 'mosi': ('text', 'audio', 'video')}


def get_config(arg: str = 'digits') -> ConfigDict:
  """Settings for the data that `arg` names."""
  config = ConfigDict(defaults())
  config.generator, config.task, config.atoms = 'pairs', 'auto', 200
  # InfoNCE as published. vicreg and gap_aware: see docs/results/strength_real.md
  config.objectives = ('info_nce', 'vicreg', 'gap_aware')
  config.lam = (0.0, 0.1, 0.3, 1.0, 2.0, 4.0)
  config.seed = tuple(range(5))
  config.n_labelled, config.most_components = (3, 0), 30
  config.depth, config.width, config.projection_width = 2, 64, 32
  config.batch_size, config.steps = 64, 200
  config.tune_learning_rate = (1e-3, 5e-3)
  config.tune_weight_decay = (1e-2, 1.0)
  config.tune_train_steps = (50, 200)
  config.tune_components = (10, 0)
  config.tune_seeds = 3
  name = arg.partition(':')[0]
  if arg in ('all', *DATASETS):
    config.sets = tuple(itertools.chain(*map(pairs_of, DATASETS if arg == 'all' else (arg,))))
  elif name in DATASETS:
    config.sets = (arg,)
  elif arg == 'tiny':
    config.sets = ('digits',)
    config.update(TINY)
  else:
    config.update(parse(arg, 'strength_real', (*DATASETS, 'all', 'tiny')))
  if name == 'mmmo':
    config.n_labelled = (30, 0)
  config.name = f'strength real {arg}'
  return config


def pairs_of(name: str) -> tuple[str, ...]:
  """Every pair of views of a data set."""
  views = VIEWS.get(name, ())
  return tuple(f'{name}:{a},{b}' for a, b in itertools.combinations(views, 2)) or (name,)


TINY = dict(
    lam=(0.0, 1.0, 4.0), seed=(0, 1, 2, 3, 4), steps=20, depth=1, width=8, batch_size=32,
    n_align=64, resamples=200, tune_learning_rate=(), tune_weight_decay=(), tune_train_steps=(),
    tune_components=(), tune_seeds=defaults()['tune_seeds'], atoms=99)
