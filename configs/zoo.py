"""Many models of one modality against many of another: do better ones agree more?

Arguments: emoji, with --data_dir=FOLDER of the files as they are published: five MobileNets of
rising quality and plain pixels against six text models, at five levels of how unlike the captions
are; tiny: a very short run of scikit-learn's digits, no download; or left=PATH,right=PATH[,...] for
features of your own (`mmalign zoo --help`).

`score_left` of emoji is ImageNet top-1 (%) as it is published with the models; text models are
scored by a linear probe of the category.
"""

from ml_collections import ConfigDict

from mmalign_jax.studies.zoo.plan import defaults


def get_config(arg: str = 'emoji') -> ConfigDict:
  """Settings of the zoo that `arg` names."""
  config = ConfigDict(defaults())
  config.name = f'zoo {arg}'.strip()
  if arg in KNOWN:
    config.update(KNOWN[arg])
    return config
  given = {name: value for name, _, value in (part.partition('=') for part in arg.split(','))}
  known = ('left', 'right', 'levels', 'y', 'group', 'item')
  unknown = [name for name in given if name not in known]
  if unknown or not all(given.values()):
    raise ValueError(f'configs/zoo.py:{arg}: cannot read {unknown[0] if unknown else arg!r}; give '
                     f'{" or ".join(KNOWN)}, or left=PATH,right=PATH,...')
  config.update(given)
  return config


TOP_1 = {'mobilenet_v1_025_128': 41.5, 'mobilenet_v1_050_160': 59.1, 'mobilenet_v1_075_192': 67.2,
         'mobilenet_v1_100_224': 70.9, 'mobilenet_v2_100_224': 71.8}
KNOWN = {
    'emoji': dict(
        left='emoji/vision.npz', right='emoji/language.npz', levels='uniqueness',
        y='emoji/captions.csv:category', sizes=(128, 256, 512, 1024),
        score_left=','.join(f'{name}={score}' for name, score in TOP_1.items())),
    'tiny': dict(left='digits:[lr]*', right='digits:[tb]*', y='digits:y', measures=('mutual_knn',),
                 k=5, permutations=9, resamples=2, sizes=(64,), repeats=2, size_permutations=3,
                 draws=100)}
