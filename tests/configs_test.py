"""Every study in configs/ loads, builds, and runs in its tiny form."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

from emitters import OLDER
import numpy as np
import pytest

from mmalign_jax.studies import registry
from mmalign_jax.studies.emergence import plan as emergence
from mmalign_jax.studies.strength import plan as study
from mmalign_jax.studies.train import plan as train_plan

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'tests'))
import digit_files  # noqa: E402

ALL = sorted((ROOT / 'configs').glob('*.py'))
CONFIGS = [path for path in ALL if path.stem not in ('avmnist', 'zoo')]  # both below


# Each objective is a program of its own: one is enough, here. So is one for all stages.
OWN = {'objectives': dict(objectives=('comm',)),
       'strength_real': dict(objectives=('cosine',), atoms=20),
       'few_labels': dict(chunk=4, tune_train_steps=(1, 2))}


def load(path):
  spec = importlib.util.spec_from_file_location(path.stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_tiny_runs_two_steps_and_answers(path, tmp_path):
  settings = load(path).get_config('tiny').to_dict() | OWN.get(path.stem, {})
  study_ = registry.study_of(settings)
  kind = settings.get('study', 'strength')
  short, similarity, said = {
      'strength': (dict(steps=2), 'cka', 'no verdict'),
      'objectives': (dict(steps=2), 'cka', 'best of all'),
      'emergence': (dict(epochs_1=1, epochs_2=1, depth=(1,), n_train=256), 'debiased_linear_cka',
                    'maximum alignment with U'),
      'emergence of pairs': (dict(epochs_1=1, epochs_2=1, tune_epochs_1=1, tune_epochs_2=1,
                                  depth=(1,)), 'debiased_linear_cka', 'alignment / performance'),
      'train': (dict(epochs=1), 'cka', 'folds of the test rows')}[
          kind + ' of pairs' * (kind == 'emergence' and settings['generator'] == 'pairs')]
  plan = study_.from_settings(settings | short)
  dataset = study_.run(plan, tmp_path, progress=False)
  for one in dataset.values() if kind == 'objectives' else [dataset]:  # a data set of every set
    assert np.isfinite(one['accuracy_1']).all() and np.isfinite(one[similarity]).all()
  text = registry.answer(study_, plan, dataset, tmp_path, figures=False)
  assert said in text and (tmp_path / 'summary.json').exists()


def test_tiny_zoo_compares_and_answers(tmp_path):
  plan_ = registry.STUDIES['zoo'].from_settings(
      load(ROOT / 'configs' / 'zoo.py').get_config('tiny').to_dict(),
      preset=registry.STUDIES['zoo'].defaults())
  dataset = registry.STUDIES['zoo'].run(plan_, tmp_path, progress=False)
  text = registry.answer(registry.STUDIES['zoo'], plan_, dataset, tmp_path, figures=False)
  assert dataset['left'].values.tolist() == ['left', 'right'] and 'calibrated' in text


def test_tiny_trains_and_answers(tmp_path):
  digit_files.write_sources(tmp_path / 'data')
  command = [sys.executable, str(ROOT / 'launch' / 'train.py'), '--nofigures',
             f'--config={ROOT}/configs/avmnist.py:tiny', f'--data_dir={tmp_path / "data"}',
             f'--prepared_dir={tmp_path / "prepared"}', f'--workdir={tmp_path / "run"}',
             '--config.train_size=8', '--config.test_size=6', '--config.batch_size=4',
             '--config.n_align=6', '--config.neighbors=2', '--config.encoder_1=mlp']
  environment = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': OLDER}
  found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300,
                         check=False)
  assert found.returncode == 0, found.stderr
  assert 'intervals over folds of the test rows' in found.stdout
  assert (tmp_path / 'run' / 'results.zarr').exists()
  summary = json.loads((tmp_path / 'run' / 'summary.json').read_text())
  assert [row['lam'] for row in summary] == [0.0, 1.0]
  assert (tmp_path / 'run' / 'metrics.jsonl').read_text().count('\n') >= 2


def test_what_is_trained_is_not_swept(tmp_path):
  command = [sys.executable, str(ROOT / 'launch' / 'sweep.py'), f'--workdir={tmp_path}',
             f'--config={ROOT}/configs/avmnist.py:tiny']
  found = subprocess.run(command, env=os.environ | {'PYTHONPATH': str(ROOT)}, timeout=300,
                         capture_output=True, text=True, check=False)
  assert found.returncode == 2
  assert found.stderr == (
      'error: this configuration is run by mmalign train (launch/train.py)\n')


@pytest.mark.parametrize('variant', ['', 'tiny', 'apart', 'degraded'])
def test_variants_of_the_digits(variant):
  module = load(next(p for p in ALL if p.stem == 'avmnist'))
  plan = train_plan.from_settings(module.get_config(variant).to_dict())
  assert plan.spec.of_side(1).encoder == 'lenet' and plan.spec.of_side(2).encoder == 'audio_cnn1d'
  assert plan.given['speakers'] == ('apart' if variant == 'apart' else 'shared')
  assert plan.axes['lam'][0] == 0


def test_an_unknown_kind_of_study_lists_the_known_ones():
  known = "study 'strenght' is unknown; known: emergence, objectives, strength, train, zoo"
  with pytest.raises(ValueError, match=known):
    registry.study_of({'study': 'strenght'})


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


def test_default_of_emergence_on_pairs_is_the_published_protocol():
  config = load(next(p for p in CONFIGS if p.stem == 'emergence_real')).get_config()
  plan = registry.STUDIES['emergence'].from_settings(config.to_dict())
  assert (plan.axes['depth'], plan.axes['seed']) == (tuple(range(1, 11)), (0, 1, 2))
  assert (config.batch_size, config.clip_norm, config.epochs_1, config.epochs_2) == (64, 8, 50, 50)
  assert config.learning_rate == (1e-3, 5e-3, 1e-2, 5e-2)
  assert plan.measured['clip_quantile'] == (0.95, 1.0) and plan.measured['neighbors'] == 10


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


def test_knobs_that_are_none_by_default_are_set_by_flags(tmp_path):
  found = subprocess.run(
      [sys.executable, str(ROOT / 'launch/train.py'), '--config=configs/avmnist.py',
       f'--workdir={tmp_path}', f'--data_dir={tmp_path / "gone"}', '--config.audio_snr_db=10',
       '--config.train_size=500', '--config.test_size=200'],
      capture_output=True, text=True, cwd=ROOT, timeout=120)
  assert found.returncode == 2 and 'gone' in found.stderr  # the flags were taken
  assert 'no such' in found.stderr.lower(), found.stderr
