"""Every study in configs/ loads, builds, and runs in its tiny form."""

import importlib.util
import pathlib

import numpy as np
import pytest

from mmalign_jax import studies
from mmalign_jax.training import emergence, study

CONFIGS = sorted((pathlib.Path(__file__).resolve().parent.parent / 'configs').glob('*.py'))


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_tiny_runs_two_steps_and_answers(path, tmp_path):
  settings = load(path).get_config('tiny').to_dict()
  kind = studies.kind_of(settings)
  short, similarity, said = {
      'strength': (dict(steps=2), 'cka', 'no verdict'),
      'emergence': (dict(epochs_1=1, epochs_2=1, depth=(1,), n_train=256), 'debiased_linear_cka',
                    'maximum alignment with U')}[settings.get('study', 'strength')]
  plan = studies.module(kind.plan).from_settings(settings | short)
  dataset = studies.module(kind.run).run(plan, tmp_path, progress=False)
  assert np.isfinite(dataset['accuracy_1']).all() and np.isfinite(dataset[similarity]).all()
  text = studies.answer(kind, plan, dataset, tmp_path, figures=False)
  assert said in text and (tmp_path / 'summary.json').exists()


def test_an_unknown_kind_of_study_lists_the_known_ones():
  with pytest.raises(ValueError, match="study 'strenght' is unknown; known: emergence, strength"):
    studies.kind_of({'study': 'strenght'})


@pytest.mark.parametrize('variant, shape, epochs', [
    ('', (9, 10, 10, 1), (50, 300)), ('paper', (9, 10, 10, 3), (50, 300)),
    ('quick', (5, 3, 3, 2), (50, 100)), ('atoms', (9, 10, 10, 1), (50, 300))])
def test_variants_of_the_emergence_study(variant, shape, epochs):
  module = load(next(p for p in CONFIGS if p.stem == 'emergence'))
  config = module.get_config(variant)
  plan = emergence.from_settings(config.to_dict())
  assert tuple(map(len, plan.axes.values())) == shape
  assert (config.epochs_1, config.epochs_2) == epochs
  assert (config.batch_size, config.clip_norm, config.n_train, config.n_validation) == (
      512, 8.0, 45875, 9830)  # 70 % and 15 % of 65,536
  assert plan.measured['neighbors'] == 100 and plan.measured['n_align'] == 512


@pytest.mark.parametrize('variant, shape', [
    ('', (9, 11, 10)), ('quick', (3, 6, 5)), ('atoms', (4, 4, 1, 6, 10)),
    ('per_encoder', (1, 3, 3, 10))])
def test_variants_of_the_strength_study(variant, shape):
  module = load(next(p for p in CONFIGS if p.stem == 'strength'))
  made = study.from_settings(module.get_config(variant).to_dict())
  assert sorted(made.shape) == sorted(shape)


def test_default_is_the_stated_protocol():
  module = load(next(p for p in CONFIGS if p.stem == 'strength'))
  config = module.get_config()
  assert config.redundancy == tuple(range(9)) and config.seed == tuple(range(10))
  np.testing.assert_allclose(config.lam, np.arange(11) * 0.2)
  assert (config.n_train, config.batch_size, config.steps, config.depth, config.projection) == (
      (512,), 256, 600, 3, 'linear')


def test_paired_argument_is_parsed_and_checked():
  module = load(next(p for p in CONFIGS if p.stem == 'paired'))
  config = module.get_config('data=a/b.npz,x1=text,x2=audio,y=label')
  assert (config.data, config.x1, config.x2, config.y) == ('a/b.npz', 'text', 'audio', 'label')
  with pytest.raises(ValueError, match="cannot read 'digit'; give digits, tiny, or KEY=VALUE"):
    module.get_config('digit')
