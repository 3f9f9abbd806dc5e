"""A row from outside the package suffices: each kind is added by one file and used by commands."""

import dataclasses
import json
import os
import pathlib
import sys

from emitters import OLDER, WHOLE
from forked import LIBRARIES, Forked
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli

ROOT = pathlib.Path(__file__).resolve().parent.parent
OWN = ROOT / 'tests' / 'own_rows.py'


@pytest.fixture(scope='module')
def command():
  """What `mmalign --register=own_rows.py ...` prints, in a process of its own."""
  forked = Forked(f'import xarray, zarr{LIBRARIES}', os.environ | {
      'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
      'XLA_FLAGS': f'{OLDER} {WHOLE}'}, ROOT)

  def command(*arguments: object, status: int = 0, rows: pathlib.Path = OWN) -> str:
    found = forked('import runpy; runpy.run_module("mmalign_jax.cli", run_name="__main__")',
                   f'--register={rows}', *arguments, cwd=ROOT)
    assert found.returncode == status, found.stderr
    return found.stdout if not status else found.stderr
  yield command
  forked.close()


@pytest.fixture(scope='module')
def swept(tmp_path_factory, command):
  folder = tmp_path_factory.mktemp('own') / '1'
  return folder, command('sweep', f'--config={OWN}', f'--workdir={folder}', '--nofigures')


def test_a_study_of_rows_of_ones_own(swept):
  folder, said = swept
  dataset = xr.open_zarr(folder / 'results.zarr').load()
  assert dict(dataset.sizes) == {'redundancy': 2, 'lam': 2, 'seed': 2, 'encoder': 2}
  assert np.isfinite(dataset['accuracy_1']).all() and np.isfinite(dataset['cka']).all()
  assert dataset['redundancy'].attrs['long_name'] == 'bits of my own'
  assert dataset['cross_entropy_1'].attrs['long_name'] == 'test brier loss of encoder 1'
  assert (dataset['cross_entropy_1'] < 1.5).all()  # a mean of squares over classes
  settings = json.loads((folder / 'config.json').read_text())
  assert settings['study'] == 'own_study' and settings['encoder_1'] == 'looked'
  assert not {'temperature', 'depth_1', 'width_2', 'level', 'unique_1', 'data'} & set(settings)
  assert 'no verdict' in said


def test_a_kind_of_study_of_ones_own_answers_a_number(tmp_path, command):
  rows = ROOT / 'tests' / 'own_study.py'
  sweep = ('sweep', f'--config={rows}', f'--workdir={tmp_path}', '--config.value=4')
  assert 'twice is 8' in command(*sweep, rows=rows)
  (tmp_path / 'config.json').write_text('{"study": "doubled", "name": "mine"}')
  assert "'mine' is one doubled: it has no shards" in command(
      'merge', tmp_path, status=2, rows=rows)


def test_a_third_modality_of_ones_own(tmp_path, command):
  rows, tiny = ROOT / 'tests' / 'own_third.py', '--config=strength:tiny'
  sweep = ('sweep', tiny, f'--workdir={tmp_path}', '--nofigures', '--config.resamples=20')
  said = command(*sweep, '--config.generator=three', '--config.lam=(0,)', '--config.seed=(0,)',
                 '--config.lam_1_3=(0, 2)', '--config.width_3=5', '--config.fusion=frozen',
                 rows=rows)
  dataset = xr.open_zarr(tmp_path / 'results.zarr').load()
  assert dataset['accuracy'].sizes['encoder'] == 3 and dataset.sizes['lam_1_3'] == 2
  assert np.isfinite([dataset[name] for name in ('accuracy_3', 'cka_1_2', 'cka_2_3')]).all()
  moved = abs(dataset.drop_vars('diverged').diff('lam_1_3')).max()
  assert moved['accuracy_1'] > 0 and moved['accuracy_3'] > 0 and not moved['accuracy_2']
  assert dataset['joint_accuracy'].sizes['encoder'] == 3
  np.testing.assert_allclose(dataset['joint_accuracy'], dataset['accuracy'], atol=1e-6)
  assert np.isfinite(dataset['synergy']).all() and 'best side' in said
  assert ' 3 ' in said and json.loads((tmp_path / 'config.json').read_text())['width_3'] == 5
  assert "lam_3=(1,) has no effect: generator 'bits' has 2 sides" in command(
      *sweep, '--config.lam_3=(1,)', rows=rows, status=2)


def test_a_loss_with_two_weights_of_ones_own(tmp_path, command):
  rows = ROOT / 'tests' / 'own_loss.py'
  sweep = ('sweep', '--config=strength:tiny', f'--workdir={tmp_path}', '--nofigures')
  command(*sweep, '--config.loss=own_vicreg', '--config.loss_variance=(0, 25)',
          '--config.seed=(0,)', '--config.loss_covariance=(2,)', '--config.resamples=20', rows=rows)
  dataset = xr.open_zarr(tmp_path / 'results.zarr').load()
  assert dict(dataset.sizes) == {
      'redundancy': 2, 'lam': 2, 'seed': 1, 'loss_variance': 2, 'encoder': 2}
  moved = abs(dataset['cka'].diff('loss_variance')).max('redundancy').squeeze()
  assert moved.sel(lam=0) == 0 and moved.sel(lam=1) > 0
  settings = json.loads((tmp_path / 'config.json').read_text())
  assert settings['loss_covariance'] == [2.0] and 'temperature' not in settings
  assert "loss_bias=(1,) has no effect: loss 'own_vicreg' has no such setting, but variance" in (
      command(*sweep, '--config.loss=own_vicreg', '--config.loss_bias=(1,)', rows=rows, status=2))


def test_a_shard_of_it_is_merged(swept, tmp_path, command):
  said = command('merge', swept[0], f'--workdir={tmp_path / "m"}', '--nofigures')
  assert 'results.zarr' in said


@pytest.fixture
def own(monkeypatch):
  """own_rows in this process, taken out again."""
  from mmalign_jax import information, losses, similarity
  from mmalign_jax.data import sources
  from mmalign_jax.encoders import sides
  from mmalign_jax.generators import synthetic
  from mmalign_jax.studies import registry as studies
  kept = [(registry, dict(registry)) for registry in (
      synthetic.GENERATORS, sides.ENCODERS, sides.PROJECTIONS, losses.LOSSES, losses.TASKS,
      similarity.MEASURES, information.METHODS, studies.STUDIES, sources.SOURCES._own)]
  yield
  for registry, rows in kept:
    registry.clear()
    registry.update(rows)
  sys.modules.pop('own_rows', None)


def main(*arguments: object) -> int:
  return cli.main([f'--register={OWN}', *map(str, arguments)])


def test_rows_of_ones_own_in_the_other_commands(own, tmp_path, capsys):
  assert main('generator', '--name=own', '--flipped=0.1', '--json') == 0
  assert json.loads(capsys.readouterr().out)['shared'] == 2  # where its row starts
  assert main('generator', '--name=own', '--redundancy=4') == 2
  assert 'redundancy=4 is outside 0..3' in capsys.readouterr().err
  assert main('generator', '--name=own', '--level=1') == 2
  assert "not a setting of generator 'own', which reads redundancy, flipped" in (
      capsys.readouterr().err)
  g = np.random.default_rng(0)
  for name, array in (('x', g.normal(size=(20, 3))), ('p', np.full((2, 2, 2), 1 / 8))):
    np.save(tmp_path / f'{name}.npy', array)
  x = tmp_path / 'x.npy'
  assert main('measure', x, x, '--measures=own_cka', '--null=0', '--json') == 0
  assert abs(json.loads(capsys.readouterr().out)['own_cka']['value'] - 1) < 1e-5
  assert main('decompose', f'--table={tmp_path / "p.npy"}', '--method=own_imin', '--json') == 0
  assert json.loads(capsys.readouterr().out)['redundancy'] == 0


def test_what_rows_of_ones_own_do_not_read_is_refused(own, capsys):
  assert main('generator', '--name=own') == 0
  from mmalign_jax.studies.strength import plan as study
  base = dict(generator='own', redundancy=(1,), encoder_1='looked', encoder_2='started',
              loss='apart')
  for extra, why in ((dict(temperature=(0.2,)), "loss 'apart' takes no temperature"),
                     (dict(width_2=3), "encoder 'started' of side 2 reads no width"),
                     (dict(depth=2), "encoder 'looked' reads no depth; mlp"),
                     (dict(level=(1,)), "not a setting of generator 'own'"),
                     (dict(learnable_temperature=True), 'takes no temperature')):
    with pytest.raises(ValueError, match=why):
      study.from_settings(base | extra)
  made = study.from_settings(dict(generator='own_source', unique_1=(0.1, 0.2)))
  assert made.axes['unique_1'] == (0.1, 0.2)


def test_the_emergence_study_of_rows_of_ones_own(own, tmp_path):
  assert main('generator', '--name=own') == 0
  from mmalign_jax.studies.emergence import plan as emergence, run
  plan = emergence.from_settings(dict(
      generator='own', encoder='looked', unique=(0, 8), transform_depth=(0,), depth=(1,), seed=(0,),
      n_train=64, n_validation=32, batch_size=32, epochs_1=1, epochs_2=1, learning_rate=(5e-3,),
      weight_decay=(0.,), n_align=24, measures=('own_cka',), permutations=5, resamples=20))
  dataset = run.run_emergence(plan, tmp_path, progress=False)
  assert np.isfinite(dataset['own_cka']).all() and np.isfinite(dataset['accuracy_2']).all()
  assert (dataset['mi_2'].isel(unique=1) < dataset['mi_2'].isel(unique=0)).all()  # flipped, too


@pytest.mark.parametrize('text, why', [
    ('x = 1 / 0', 'ZeroDivisionError: division by zero'), (None, 'is not a Python file')])
def test_a_file_that_cannot_be_registered_is_one_line(text, why, tmp_path, capsys):
  path = tmp_path / 'rows_of_nobody.py'
  if text:
    path.write_text(text)
  assert cli.main([f'--register={path}', 'generator']) == 2
  error = capsys.readouterr().err
  assert why in error and error.count('\n') == 1 and 'rows_of_nobody' in error
  assert 'rows_of_nobody' not in sys.modules


def test_a_row_that_is_defined_anew_is_another_program(own):
  """As in a notebook; nothing is compiled here, and each of its own only when it runs."""
  from mmalign_jax import losses
  from mmalign_jax.data.sources import SOURCES
  from mmalign_jax.encoders import sides
  from mmalign_jax.fitted import fitting as fits, model, together
  from mmalign_jax.generators import synthetic
  from mmalign_jax.training import alone, fitting, sweep
  from mmalign_jax.types import OwnSide, Spec
  copied = lambda row: (lambda *given, **options: row(*given, **options))
  changes = {
      'loss': (losses.LOSSES, 'vicreg', lambda row: dataclasses.replace(row)),
      'task': (losses.TASKS, 'cross_entropy', lambda row: dataclasses.replace(row)),
      'encoder': (sides.ENCODERS, 'mlp', copied), 'sides': (sides.ENCODERS, 'lenet', copied),
      'projection': (sides.PROJECTIONS, 'mlp', copied),
      'generator': (synthetic.GENERATORS, 'bits', dataclasses.replace)}
  spec = Spec(loss='vicreg', projection='mlp', sides=(OwnSide(), OwnSide('lenet')))
  protocol = alone.Protocol(spec, 1, 1, 8)
  programs = lambda: (
      sweep.compiled(spec), alone.compiled(protocol), alone.compiled_layers(protocol),
      fits._compiled(spec, (None, None), True), model._compiled(spec, 2), together._head(spec, 2))
  for registry, name, change in (*changes.values(), (SOURCES, 'bits', dataclasses.replace)):
    before = programs()
    assert all(one is other for one, other in zip(before, programs(), strict=True))
    registry[name] = change(registry[name])
    assert not any(one is other for one, other in zip(before, programs(), strict=True)), name
  losses.LOSSES['mine'] = lambda z1, z2: (z1 - z2)[:, 0]
  shapes = (Spec(loss='mine', depth=1), ((3,), (4,)), 'int32', 2)
  fitting.fits(*shapes)
  losses.LOSSES['mine'] = lambda z1, z2: z1 @ z2
  with pytest.raises(ValueError, match="loss='mine'.* do not fit"):
    fitting.fits(*shapes)
