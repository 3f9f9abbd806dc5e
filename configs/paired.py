"""Should these two views of the same samples be aligned, and how strongly?

Arguments: digits (two halves of scikit-learn's handwritten digits; no download), tiny (a very short
run of the same), or data=PATH,x1=NAME,x2=NAME[,y=NAME][,group=NAME][,task=l1][,missing=drop]
[,sep=semicolon][,decimal=comma][,id=NAME][,pool=mean]... for files.
"""

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.studies.strength.plan import defaults


def get_config(arg: str = 'digits') -> ConfigDict:
  """Settings for the data that `arg` names."""
  config = ConfigDict(defaults())
  config.name = 'paired'
  config.generator = 'paired'
  config.task = 'auto'
  config.lam = (0.0, 0.2, 0.4, 0.8, 1.2, 1.6, 2.0)
  config.seed = tuple(range(10))
  config.n_train = ()                                     # all training rows
  config.depth, config.width, config.projection_width = 2, 64, 32
  config.batch_size, config.steps = 128, 300
  config.learning_rate = (1e-3,)
  if arg in ('digits', 'tiny'):
    config.data = 'digits'
  else:
    config.update(parse(arg, 'paired', ('digits', 'tiny')))
  if arg == 'tiny':
    config.update(dict(lam=(0.0, 1.0), seed=(0, 1), steps=10, depth=1, width=8, batch_size=32,
                       n_align=64, resamples=200))
  config.name = f'paired {config.data} {config.x1} {config.x2}'.strip()
  return config
