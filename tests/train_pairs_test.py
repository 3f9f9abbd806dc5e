"""The trainer on any pairs: batches of labels and of pairs, missing sides, sequences, command."""

import dataclasses
import functools
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys

from emitters import OLDER, WHOLE
import jax
import numpy as np
import pytest
import xarray as xr

from mmalign_jax import cli
from mmalign_jax.data import loading, pairs, prepared
from mmalign_jax.runs import folder as folder_of
from mmalign_jax.studies.strength import plan as strength_plan, run as sweep
from mmalign_jax.studies.train import judge, pipeline, plan as train_plan, report, run
from mmalign_jax.types import Frames

ROOT = pathlib.Path(__file__).resolve().parent.parent
SETTINGS = dict(generator='pairs', data='made', task='auto', encoder_1='', encoder_2='', depth_1=0,
                depth_2=0, width_1=0, width_2=0, lam=(0.0, 1.0), epochs=2, batch_size=16,
                drop_last=False, n_align=16, neighbors=4, tensorboard=False, projection_width=4)
TRAINED = SETTINGS | dict(depth_1=1, depth_2=1, width_1=4, width_2=4)  # sooner compiled


def made(n: int = 90, classes: bool = True, **changes) -> pairs.Pairs:
  """Vectors and sequences of three classes; a third without a label, a tenth without a side."""
  g = np.random.default_rng(0)
  y = (np.arange(n) % 3).astype(np.int32)
  vectors = g.normal(size=(n, 5)) + 3 * y[:, None]
  steps = g.normal(size=(n, 6, 4)) + y[:, None, None]
  length = g.integers(1, 7, n)
  steps[np.arange(6) >= length[:, None]] = np.nan
  labelled = np.arange(n) % 9 < 6
  lacks = np.arange(n) % 10 == 0
  vectors[lacks] = np.nan
  value = np.where(labelled, y, pairs.NO_CLASS).astype(np.int32) if classes else np.where(
      labelled, y + 0.1 * g.normal(size=n), np.nan)
  fields = dict(where='made', names=('vectors', 'steps'), views=(vectors, steps),
                present=(~lacks, np.ones(n, bool)), y=value, labelled=labelled,
                classes=('a', 'b', 'c') if classes else ())
  return pairs.Pairs(**fields | changes)


@pytest.fixture(scope='module')
def data() -> prepared.Prepared:
  return prepared.prepare(made())


# -- batches ---------------------------------------------------------------------------------------


def test_labels_and_pairs_come_apart_each_in_epochs_of_its_own(data):
  n, known = len(data.y), np.flatnonzero(data.labelled)
  source = pipeline.batches(data, batch_size=8, seed=1, drop_last=False)
  drawn = [next(source) for _ in range(40)]
  per_epoch = -(-len(known) // 8)
  rows = np.concatenate([b.x[0][b.valid] for b, _ in drawn[:per_epoch]])
  np.testing.assert_array_equal(np.unique(rows, axis=0), np.unique(data.x[0][known], axis=0))
  assert all((b.y >= 0).all() for b, _ in drawn)
  aligned = np.concatenate([p.x[0][p.valid] for _, p in drawn[:-(-n // 8)]])
  np.testing.assert_array_equal(np.unique(aligned, axis=0), np.unique(data.x[0], axis=0))
  state = json.loads(json.dumps(source.get_state()))
  after = next(source)
  again = pipeline.batches(data, batch_size=8, seed=1, drop_last=False)
  again.set_state(state)
  for one, other in zip(jax.tree.leaves(after), jax.tree.leaves(next(again)), strict=True):
    np.testing.assert_array_equal(one, other)
  alone = pipeline.batches(data, batch_size=8, seed=1, drop_last=False, align_on='labelled')
  assert next(alone)[1] is None
  assert source.per_epoch == alone.per_epoch == per_epoch
  assert pipeline.batches(data, batch_size=8, seed=1).per_epoch == len(known) // 8


def test_fewer_labels_than_a_batch_are_filled_up_to_the_devices(data):
  few = pipeline.budget(data, 1, seed=0)
  batch, aligned = next(pipeline.batches(
      data, batch_size=16, seed=1, labelled=few, multiple=4, drop_last=True))
  assert len(batch.y) == 4 and batch.valid.tolist() == [True] * 3 + [False]
  assert sorted(batch.y[batch.valid]) == [0, 1, 2]
  assert len(aligned.y) == 16 and aligned.valid is None
  assert pipeline.batches(data, batch_size=16, seed=1, labelled=few, multiple=4).per_epoch == 1


def test_budgets_are_stratified_and_nested(data):
  small, large = (set(pipeline.budget(data, n, seed=3)) for n in (2, 5))
  assert small < large and len(large) == 15
  assert np.bincount(data.y[sorted(large)]).tolist() == [5, 5, 5]
  assert small != set(pipeline.budget(data, 2, seed=4))
  with pytest.raises(ValueError, match="n_labelled=99: there are .* labels of class 'a'"):
    pipeline.budget(data, 99, seed=0)


# -- training --------------------------------------------------------------------------------------


@pytest.fixture(scope='module', autouse=True)
def traced_once():
  """Trainings of one Spec share their program: each would make its own."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run, 'ensemble_step', functools.cache(run.ensemble_step))
    patch.setattr(run.devices, 'data_parallel', functools.cache(run.devices.data_parallel))
    yield


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
  folder = tmp_path_factory.mktemp('trained')
  plan = train_plan.from_settings(TRAINED | dict(n_labelled=3))
  return plan, folder, run.train(plan, data, folder, progress=False)


def test_encoders_fit_vectors_and_sequences(trained, data):
  assert isinstance(data.x[1], Frames)
  for plan in (trained[0], train_plan.from_settings(SETTINGS)):  # depth and width given, or not
    assert [side.encoder for side in plan.bound(data).sides] == ['mlp', 'audio_cnn1d']
  own = train_plan.from_settings(SETTINGS | dict(encoder_2='sequence_transformer'))
  assert own.bound(data).sides[1].encoder == 'sequence_transformer'
  with pytest.raises(ValueError, match="encoder 'mlp' takes no mask of frames"):
    train_plan.from_settings(SETTINGS | dict(encoder_2='mlp')).bound(data)


def test_results_are_of_each_sides_own_rows(trained, data):
  plan, folder, dataset = trained
  assert dict(dataset.sizes) == {'lam': 2, 'seed': 1, 'fold': data.n_folds, 'encoder': 2}
  for name in ('accuracy_1', 'accuracy_2', 'accuracy_se_1', 'cka', 'mutual_knn', 'recall_12'):
    assert np.isfinite(dataset[name]).all(), name
  assert len(data.test[0].y) < len(data.test[1].y)  # a tenth lacks side 1
  hits = dataset['accuracy_1'] * len(data.test[0].y)
  np.testing.assert_allclose(hits, np.round(hits), atol=1e-6)
  xr.testing.assert_equal(dataset, xr.open_zarr(folder / 'results.zarr').load())
  assert dataset['accuracy_by_fold_1'].isnull().any()  # a fold of rows that all lack it
  summary = report.summarise(dataset)
  for row, i in itertools.product(summary, (1, 2)):
    assert np.isfinite([row[f'accuracy_{i}'], row[f'gain_{i}'], *row[f'interval_{i}']]).all()
  assert not any('diverged' in text for text in report.remarks(summary))


def test_a_folder_says_what_it_is_of(trained, data, tmp_path, capsys):
  plan, folder, _ = trained
  held = json.loads((folder / 'config.json').read_text())
  assert held['study'] == 'train' and held == json.loads(
      (folder / 'checkpoints/config.json').read_text())
  assert cli.main(['report', str(folder), f'--out={tmp_path / "page.html"}']) == 0
  assert 'Encoder 1: most accurate at strength' in (tmp_path / 'page.html').read_text()
  with pytest.raises(ValueError, match='holds another configuration'):
    sweep.run_study(strength_plan.from_settings({}), folder, progress=False)
  with folder_of.claim(folder, held), pytest.raises(ValueError, match='another run is using'):
    run.train(plan, data, folder, progress=False)


def test_a_folder_of_the_version_before_goes_on(trained, data, tmp_path):
  plan, folder, dataset = trained
  shutil.copytree(folder, tmp_path / 'W')
  config = tmp_path / 'W/config.json'
  config.unlink()
  other = dataclasses.replace(plan, settings=plan.settings | {'learning_rate': 0.5})
  for _ in range(2):  # what it is of is not forgotten by asking for another
    with pytest.raises(ValueError, match='another configuration .*learning_rate: 0.003 there'):
      run.train(other, data, tmp_path / 'W', progress=False)
  xr.testing.assert_equal(run.train(plan, data, tmp_path / 'W', progress=False), dataset)
  assert config.read_bytes() == (folder / 'config.json').read_bytes()


def test_a_new_folder_may_hold_data(tmp_path):
  (tmp_path / 'data').mkdir()
  np.savez(tmp_path / 'data' / 'features.npz', x1=np.ones((2, 2)))
  with run._claimed(tmp_path, {'name': 'a'}):
    assert json.loads((tmp_path / 'config.json').read_text()) == {'name': 'a'}
  (tmp_path / 'config.json').unlink()
  (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
  with pytest.raises(ValueError, match='holds results but no config.json'), run._claimed(
      tmp_path, {'name': 'a'}):
    pass


def test_a_run_that_was_stopped_continues_to_the_same(trained, data, tmp_path, monkeypatch):
  plan, _, whole = trained
  real, calls = run.devices.split, []
  def split(batch):
    calls.append(1)
    if len(calls) == 3:
      raise KeyboardInterrupt
    return real(batch)
  plan = dataclasses.replace(plan, run=plan.run | {'checkpoint_every': 1})
  with monkeypatch.context() as patch:
    patch.setattr(run.devices, 'split', split)
    with pytest.raises(KeyboardInterrupt):
      run.train(plan, data, tmp_path, progress=False)
  xr.testing.assert_equal(run.train(plan, data, tmp_path, progress=False)[[*whole]], whole)


def test_a_regression(tmp_path):
  plan = train_plan.from_settings(TRAINED | dict(lam=(0.5,), epochs=1))
  found = run.train(plan, prepared.prepare(made(classes=False)), tmp_path, progress=False)
  assert np.isfinite(found['absolute_error']).all() and 'cross_entropy' not in found


def test_right_is_the_side_of_zero_or_the_largest():
  hit, loss = judge.outcomes(np.array([[0.5, -2.0]]), np.array([1.0, 1.0]))
  assert hit.tolist() == [[1, 0]] and loss.tolist() == [[0.5, 3]]
  log_p = np.log([[[0.25, 0.75], [0.5, 0.5]]])
  hit, loss = judge.outcomes(log_p, np.array([1, 1]))
  assert hit.tolist() == [[1, 0]]
  np.testing.assert_allclose(loss, -np.log([[0.75, 0.5]]))


# -- the command -----------------------------------------------------------------------------------


def command(folder, *arguments):
  return subprocess.run(
      [sys.executable, str(ROOT / 'launch/train.py'), *arguments], cwd=folder, text=True,
      env=os.environ | {'XLA_FLAGS': f'{OLDER} {WHOLE}', 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'},
      capture_output=True, timeout=300, check=False)


def test_three_views_of_a_file(tmp_path):
  g, n = np.random.default_rng(0), 120
  y = np.arange(n) % 3
  views = {name: g.normal(size=(n, d)) + y[:, None] for name, d in (('a', 3), ('b', 4), ('c', 5))}
  np.savez(tmp_path / 'three.npz', y=y, **views)
  found = command(
      tmp_path, '--config=configs/pairs.py:data=three.npz,x1=a,x2=b,x3=c', '--workdir=W',
      '--config.epochs=1', '--config.lam=(0, 1)', '--config.seed=(0,)', '--config.lam_1_2=(0.5,)',
      '--config.batch_size=32', '--config.n_align=16',
      *(f'--config.{name}_{i}={size}' for name, size in (('depth', 1), ('width', 4))
        for i in (1, 2, 3)))
  assert found.returncode == 0, found.stderr
  dataset = xr.open_zarr(tmp_path / 'W/results.zarr').load()
  assert {'cka_1_2', 'cka_1_3', 'cka_2_3', 'recall_31', 'accuracy_3'} <= set(dataset)
  assert 'sides' in found.stdout and '2-3' in found.stdout and (tmp_path / 'W/report.html').exists()


@pytest.mark.parametrize('settings, message', [
    (dict(data=''), "data='' names no file"),
    (dict(speakers='apart'), "speakers='apart' is not a setting of generator 'pairs', but of"),
    (dict(lam_1_3=(1.0,)), "lam_1_3=.* has no effect: generator 'pairs' has 2 sides"),
    (dict(lam_1=(0.0, 1.0)), 'lam_1=.* takes one value in a training'),
    (dict(x3='c', lam=Ellipsis, lam_1=(1.0,), lam_2=(0.5,)),
     'lam_1 and lam_2 of 3 sides: give lam_3, or lam, which the other follows'),
    (dict(generator='mine'), "generator 'mine' is unknown; known: avmnist, pairs"),
    (dict(generator='avmnist', encoder_1='mlp', encoder_2='mlp'),
     "data='made' is not a setting"),
    (dict(n_labelled=-1), 'n_labelled=-1 must be a whole number of at least 0'),
    (dict(align_on='some'), "align_on 'some' is unknown; known: labelled, pairs")])
def test_bad_settings_name_the_field_and_the_value(settings, message):
  with pytest.raises(ValueError, match=message) as caught:
    train_plan.from_settings({k: v for k, v in {**SETTINGS, **settings}.items() if v is not ...})
  assert '\n' not in str(caught.value)


def test_a_setting_that_loading_refuses():
  with pytest.raises(ValueError, match="sep=';' has no effect: data='digits' says how it is read"):
    loading.load_pairs('digits', sep=';')
