"""Which objective should align, and how strongly? The same grid for every loss in LOSSES.

Arguments: (none) the generator of configs/strength.py at 0, 4 and 8 shared bits, with probes of
what each objective erases; quick, tiny: less of it; atoms: 0.1 or 0.5 nats shared, and of the first
side alone; real: nine pairs of views as they are published, 3 and 30 labels a class, with
--data_dir=FOLDER; or one of them by name (cora, digits, ...), or
data=PATH,x1=NAME,x2=NAME[,y=NAME][,group=NAME]... for files.

For the generators a strength is the length of the alignment's gradient on an encoder over that of
its task (lam_mode='share'), so that it means the same for every objective. Where labels are few the
task's gradient vanishes once they are learnt, and strengths are weights of the loss.
"""

from ml_collections import ConfigDict

from mmalign_jax.data.files.reading import parse
from mmalign_jax.data.published import DATASETS
from mmalign_jax.studies.objectives.plan import defaults


def get_config(arg: str = '') -> ConfigDict:
  """Settings of the comparison that `arg` names."""
  config = ConfigDict(defaults())
  config.name = f'objectives {arg}'.strip()
  config.seed = tuple(range(10))
  config.lam = (0.0, 0.1, 0.3, 1.0, 3.0)
  if arg in VARIANTS:
    config.update(BITS | VARIANTS[arg])
  elif arg in ('real', *DATASETS):
    config.update(PAIRS | {'sets': REAL if arg == 'real' else (arg,)})
  else:
    config.update(PAIRS | parse(arg, 'objectives', (*filter(None, VARIANTS), 'real', *DATASETS)))
  return config


BITS = dict(generator='bits', redundancy=(0, 4, 8), n_train=(512,), lam_mode=('share',),
            probes=True)
VARIANTS = {
    '': {},
    'quick': dict(lam=(0.0, 0.3, 1.0), seed=tuple(range(5)), steps=300, probes=False),
    'tiny': dict(lam=(0.0, 1.0), seed=(0, 1), redundancy=(0, 8), steps=20, depth=1, batch_size=32,
                 n_train=(64,), n_align=64, resamples=200,
                 objectives=('info_nce', 'vicreg', 'prediction')),
    'atoms': dict(generator='atoms', redundancy=(0.1, 0.5), unique_1=(0.1, 0.5), unique_2=(0.1,),
                  synergy=(0.1,), probes=False),
}
PAIRS = dict(
    generator='pairs', task='auto', n_labelled=(3, 30), depth=2, width=64, projection_width=32,
    batch_size=128, steps=200, tune_learning_rate=(1e-3, 5e-3), tune_weight_decay=(1e-2, 1.0),
    tune_train_steps=(50, 200), tune_components=(10, 30, 0), tune_seeds=3)
REAL = ('digits', 'mfeat:fou,pix', 'mfeat:zer,kar', 'mfeat:mor,fac', 'emoji', 'utd', 'wikipedia',
        'mosi', 'cora')
