"""Encoders that are kept: as a cell of a study, calibrated, saved, loaded, applied to new files."""

import csv
import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import optimize, special
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mmalign_jax import cli, fitted
from mmalign_jax.data import components, pairs, prepared
from mmalign_jax.data.files import views
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.fitted import calibrate, chosen, fitting, model, store
from mmalign_jax.studies.strength.plan import from_settings
from mmalign_jax.studies.strength.run import run_study

TINY = {'depth': 1, 'width': 8, 'projection_width': 4, 'batch_size': 32, 'steps': 8}


def table(n: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  g = np.random.default_rng(0)
  y = np.arange(n) % 3
  return g.normal(size=(n, 4)) + y[:, None], g.normal(size=(n, 3)) - y[:, None], y


def made(**changes) -> pairs.Pairs:
  """60 rows of three classes: a fifth without a label, a tenth without the second view."""
  x1, x2, y = table()
  lacks = np.arange(len(y)) % 10 == 3
  x2[lacks] = np.nan
  labelled = np.arange(len(y)) % 5 > 0
  fields = dict(where='made', names=('one', 'two'), views=(x1, x2),
                present=(np.ones(len(y), bool), ~lacks),
                y=np.where(labelled, y, pairs.NO_CLASS).astype(np.int32), labelled=labelled,
                classes=('a', 'b', 'c'))
  return pairs.Pairs(**fields | changes)


@pytest.fixture(scope='module')
def kept(tmp_path_factory):
  """(encoders, what they were fitted on, their folder)."""
  folder, data = tmp_path_factory.mktemp('kept'), made()
  found = fitted.fit(data, TINY | {'lam': 1.0, 'folds': 3})
  fitted.save(found, folder, data)
  return found, data, folder


# -- as a study ------------------------------------------------------------------------------------


def test_a_fit_is_the_cell_of_a_study(tmp_path):
  study = from_settings(TINY | dict(
      generator='pairs', task='auto', data='digits', n_labelled=(10,), lam=(0.0, 1.0),
      seed=(0, 1), n_align=16, neighbors=4))
  cells = run_study(study, tmp_path, progress=False)
  data = pairs.from_raw(views.read_raw('digits'))
  rows = prepared.divide(data)
  for lam, seed in ((1.0, 1), (0.0, 0)):
    found = fitted.fit(data, TINY | {'lam': lam, 'n_labelled': 10, 'seed': seed}, rows=rows)
    for i, (name, view) in enumerate(zip(data.names, data.views), start=1):
      at = dict(n_labelled=10, lam=lam, seed=seed)
      for part, variable in ((rows.test, 'accuracy'), (rows.validation, 'validation')):
        right = fitted.predict(found, name, view[part]).value == data.y[part]
        assert float(cells[f'{variable}_{i}'].sel(at)) == pytest.approx(right.mean(), abs=1e-6)


def test_settings_are_those_of_a_study_one_value_each():
  for given, said in (({'depht': 1}, "setting 'depht' is unknown"), ({'lam': (0, 1)}, 'takes one'),
                      ({'loss': 'nce'}, "loss 'nce' is unknown"), ({'lam_1': -1}, 'lam_1=-1'),
                      ({'probes': True}, 'unknown'), ({'folds': 1}, 'folds=1'),
                      ({'task': 'l1'}, 'does not fit'), ({'loss_bias': 1.0}, 'bias')):
    with pytest.raises(ValueError, match=said):
      fitted.fit(made(), TINY | given)
  with pytest.raises(ValueError, match='no row to train on has a label'):
    fitted.fit(made(labelled=np.zeros(60, bool)), TINY)
  assert chosen.judged({'schedule': 'cosine'})['schedule'] == 'cosine'


# -- preparation -----------------------------------------------------------------------------------


def test_components_are_those_of_scikit_learn():
  x = np.random.default_rng(1).normal(size=(40, 6)) * np.arange(1, 7)
  has, known = np.arange(40) > 3, np.arange(8, 40)
  x[~has] = np.nan
  found = components.fit(x, has, known, 4, 'x')
  scaler = StandardScaler().fit(x[known])
  theirs = PCA(4, svd_solver='full', random_state=0).fit(scaler.transform(x[known]))
  mine = components.apply(found, x, has, 'x')
  np.testing.assert_allclose(mine[has], theirs.transform(scaler.transform(x[has])), atol=1e-5)
  assert not mine[~has].any()
  x[20, 2] = np.nan
  filled = components.apply(found, x, has, 'x')[20]
  x[20, 2] = x[known, 2][~np.isnan(x[known, 2])].mean()
  assert np.isfinite(filled).all() and not np.allclose(filled, mine[20])


# -- calibration -----------------------------------------------------------------------------------


def test_the_temperature_is_that_of_a_general_minimiser():
  g = np.random.default_rng(2)
  logits = 5 * g.normal(size=(200, 4))
  y = np.array([g.choice(4, p=p) for p in special.softmax(logits / 3, axis=1)])
  mine = calibrate.temperature(logits, y)
  theirs = optimize.minimize_scalar(calibrate.loss, args=(logits, y), bounds=(-3, 3),
                                    method='bounded', options={'xatol': 1e-10})
  assert np.log(mine) == pytest.approx(theirs.x, abs=1e-6) and 2 < mine < 4.5
  said = special.log_softmax(logits / mine, axis=1)[np.arange(200), y].mean()
  assert said > special.log_softmax(logits, axis=1)[np.arange(200), y].mean()
  assert calibrate.temperature(logits[:0], y[:0]) == 1
  certain = calibrate.temperature(np.eye(4) * 3, np.arange(4))
  assert 0.2 < certain < 1  # four rows that are right do not make it sure without end


def test_folds_keep_units_whole_and_spread_classes():
  y, units = np.repeat([0, 1], 30), np.repeat(np.arange(20), 3)
  fold = calibrate.folds(y, units, 5, seed=0)
  assert all(len(set(fold[units == u])) == 1 for u in range(20))
  assert (np.bincount(fold[y == 0], minlength=5) > 0).all()
  assert len(set(calibrate.folds(y[:4], np.arange(4), 9, seed=0))) == 4


def test_a_fold_sees_neither_labels_nor_features_of_its_rows(kept, monkeypatch):
  seen, compiled = [], fitting._compiled

  def spy(*of_program):
    def call(*given):
      seen.append((given[2], given[3], compiled(*of_program)(*given)))
      return seen[-1][-1]
    return call
  monkeypatch.setattr(fitting, '_compiled', spy)
  _, data, _ = kept
  group = np.arange(60) // 2
  data = dataclasses.replace(data, group=group)
  fitted.fit(data, TINY | {'lam': 1.0, 'folds': 3})
  labelled, unseen, before = seen[0]
  assert not unseen[0].any() and (labelled[0] == data.labelled).all()
  assert not (labelled & unseen).any()
  assert (unseen[1:].sum(axis=0)[data.labelled] == 1).all()
  assert all(len(set(unseen[k, group == u])) == 1 for k in range(1, 4) for u in range(30))
  # other features of a fold's rows: its own encoders are the same to the last bit, no others
  noise = np.random.default_rng(1)
  other = tuple(np.where(unseen[1][:, None], 30 * noise.normal(size=x.shape), x)
                for x in data.views)
  fitted.fit(dataclasses.replace(data, views=other), TINY | {'lam': 1.0, 'folds': 3})
  for k in range(4):
    pairs_of = zip(jax.tree.leaves(before), jax.tree.leaves(seen[1][2]))
    assert all((a[k] == b[k]).all() for a, b in pairs_of) == (k == 1)


def test_an_outlier_that_a_fold_cannot_scale_is_no_obstacle():
  data = made()
  x = data.views[0].copy()
  x[:, 0] = np.where(np.arange(60) % 2, 0.3, 0.1 + 0.2)  # the same but for rounding
  x[np.flatnonzero(data.labelled)[0], 0] = 1.0
  found = fitted.fit(dataclasses.replace(data, views=(x, data.views[1])),
                     TINY | {'lam': 1.0, 'folds': 3})
  assert np.isfinite(fitted.embed(found, 'one', x)).all()


def test_components_that_are_lacking_are_nothing():
  x = np.random.default_rng(0).normal(size=(4, 9))  # of four rows there are three
  few = components.fit(x, np.ones(4, bool), np.arange(4), 6, 'x')
  wide = components.widened(few, 6)
  z, narrow = (components.apply(one, x, np.ones(4, bool), 'x') for one in (wide, few))
  np.testing.assert_array_equal(z, np.pad(narrow, ((0, 0), (0, 3))))
  np.testing.assert_allclose(wide.spread, np.sqrt(
      np.cumsum(np.square(z).mean(axis=0)) / np.arange(1, 7)), rtol=1e-6)
  assert components.widened(few, 2) is few


def test_probabilities_sum_to_one_and_rows_without_a_view_have_none(kept):
  found, data, _ = kept
  said = fitted.predict(found, 'two', data.views[1])
  lacks = ~data.present[1]
  assert said.probabilities is not None
  np.testing.assert_allclose(said.probabilities[~lacks].sum(axis=1), 1)
  assert np.isnan(said.probabilities[lacks]).all() and np.isnan(said.value[lacks]).all()
  z = fitted.embed(found, 'x2', data.views[1])
  np.testing.assert_allclose(np.linalg.norm(z[~lacks], axis=1), 1, atol=1e-5)
  assert np.isnan(z[lacks]).all() and z.shape == (60, 4)
  together = fitted.predict_together(found, dict(zip(data.names, data.views)))
  assert together.probabilities is not None and np.isfinite(together.probabilities).all()
  assert found.views[0].calibration.n == data.labelled.sum()
  assert found.views[1].calibration.n == (data.labelled & data.present[1]).sum()


def test_a_regression_gives_values_and_the_error_to_expect():
  x1, x2, y = table()
  value = 100 + 10.0 * y
  data = made(y=value, labelled=np.ones(60, bool), classes=())
  found = fitted.fit(data, TINY | {'lam': 1.0, 'folds': 3, 'learning_rate': 0.05, 'steps': 20})
  said = fitted.predict(found, 'one', x1)
  assert said.probabilities is None and 90 < said.value.mean() < 130
  assert 0 < said.residual < 20 and found.together.residual > 0


def test_a_head_on_all_views_says_what_a_row_is_that_has_them(tmp_path):
  """It is that of the training, calibrated by itself; a row that lacks a view has the mean."""
  data = made()
  found = fitted.fit(data, TINY | {'lam': 1.0, 'folds': 3, 'fusion': 'frozen', 'fusion_width': 5})
  views_of = dict(zip(data.names, data.views))
  said = fitted.predict_together(found, views_of)
  mean = fitted.predict_together(dataclasses.replace(found, head=None), views_of)
  z = [fitted.embed(found, name, view) for name, view in views_of.items()]
  head, both = found.head['params'], data.present[1]
  h = np.sqrt(4) * np.concatenate(z, axis=1)[both] @ head['hidden']['kernel'].T
  h = np.maximum(h + head['hidden']['bias'], 0.1 * (h + head['hidden']['bias']))
  logits = h @ head['out']['kernel'].T + head['out']['bias']
  wanted = special.softmax(logits / found.joint.temperature, axis=1)
  np.testing.assert_allclose(said.probabilities[both], wanted, atol=1e-5)
  np.testing.assert_array_equal(said.probabilities[~both], mean.probabilities[~both])
  assert np.abs(said.probabilities[both] - mean.probabilities[both]).max() > 1e-3
  assert found.joint.n == (data.labelled & both).sum() < found.together.n
  fitted.save(found, tmp_path, data)
  again = fitted.predict_together(fitted.load(tmp_path), views_of)
  np.testing.assert_array_equal(again.probabilities, said.probabilities)
  np.testing.assert_array_equal(fitted.stored(tmp_path)['together'], said.probabilities)
  path = tmp_path / 'encoders' / 'head.safetensors'
  save_file({name: value for name, value in load_file(path).items() if 'out' in name}, path)
  with pytest.raises(ValueError, match="head.safetensors: no 'params/hidden/bias'"):
    fitted.load(tmp_path)
  path.unlink()
  with pytest.raises(FileNotFoundError, match='head.safetensors: missing'):
    fitted.load(tmp_path)


# -- files -----------------------------------------------------------------------------------------


def test_what_was_kept_is_what_is_loaded(kept):
  found, data, folder = kept
  again = fitted.load(folder)
  held = fitted.stored(folder)
  assert sorted(path.name for path in (folder / 'encoders').iterdir()) == [
      'encoders.json', 'predictions.npz', 'x1.safetensors', 'x2.safetensors']
  for i, (name, view) in enumerate(zip(data.names, data.views), start=1):
    np.testing.assert_array_equal(fitted.embed(again, name, view), fitted.embed(found, name, view))
    for at in (slice(None), slice(7, 19)):  # and whatever rows are beside it
      np.testing.assert_allclose(fitted.predict(again, name, view[at]).probabilities,
                                 held[f'x{i}'][at], atol=1e-6)
  assert again.settings == found.settings and again.views[0].calibration == (
      found.views[0].calibration)
  assert set(load_file(folder / 'encoders' / 'x1.safetensors')) > {'reduction/mean'}


def damaged(folder: pathlib.Path, kept_at: pathlib.Path) -> pathlib.Path:
  place = folder / 'encoders'
  place.mkdir()
  for path in (kept_at / 'encoders').iterdir():
    (place / path.name).write_bytes(path.read_bytes())
  return place


@pytest.mark.parametrize('change, said', [
    (lambda c: c.update(format=2), 'format=2'), (lambda c: c.pop('views'), 'views='),
    (lambda c: c.update(classes='abc'), 'classes='), (lambda c: c.update(scale=0.0), 'scale=0'),
    (lambda c: c['views'][0].update(file='../x1.safetensors'), 'x1.safetensors'),
    (lambda c: c['views'][0].update(shape=[5]), 'x1.safetensors'),
    (lambda c: c['views'][0].update(pooled='middle'), "pooled='middle'"),
    (lambda c: c['views'][0]['calibration'].update(temperature=-1.0), 'calibration'),
    (lambda c: c['settings'].update(width=9), 'params/'),
    (lambda c: c['settings'].update(encoder='none'), "encoder 'none'"),
    (lambda c: c['settings'].update(extra=1), "setting 'extra'")])
def test_a_changed_description_is_refused_by_name(kept, tmp_path, change, said):
  place = damaged(tmp_path, kept[2])
  content = json.loads((place / 'encoders.json').read_text())
  change(content)
  (place / 'encoders.json').write_text(json.dumps(content))
  with pytest.raises(ValueError, match=r'encoders') as error:
    fitted.load(tmp_path)
  assert said in str(error.value) and '\n' not in str(error.value)


def test_changed_tensors_are_refused_by_name(kept, tmp_path):
  place = damaged(tmp_path, kept[2])
  path = place / 'x2.safetensors'
  whole = load_file(path)
  name = next(key for key in whole if key.startswith('params/'))
  for changed in (whole | {name: np.full_like(whole[name], np.nan)}, whole | {'params/more': whole[
      name]}, {key: v for key, v in whole.items() if key != name}, whole | {
          'reduction/std': np.zeros_like(whole['reduction/std'])}):
    save_file(changed, path)
    with pytest.raises(ValueError, match=r'x2\.safetensors'):
      fitted.load(tmp_path)
  path.write_bytes(path.read_bytes()[:-9])
  with pytest.raises(ValueError, match=r'x2\.safetensors'):
    fitted.load(tmp_path)
  path.unlink()
  with pytest.raises(FileNotFoundError, match=r'x2\.safetensors'):
    fitted.load(tmp_path)
  with pytest.raises(FileNotFoundError, match='no encoders there'):
    fitted.load(tmp_path / 'elsewhere')


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def of_table(tmp_path_factory):
  """(folder of encoders, the CSV that they were fitted on, its header and rows)."""
  folder = tmp_path_factory.mktemp('table')
  x1, x2, y = table()
  head = [*(f'x1_{i}' for i in range(4)), *(f'x2_{c}' for c in 'abc'), 'label']
  rows = [[*map(repr, (*a.tolist(), *b.tolist())), 'uvw'[c]] for a, b, c in zip(x1, x2, y)]
  written(folder / 'all.csv', head, rows)
  data = pairs.from_raw(views.read_raw(str(folder / 'all.csv'), y='label'))
  fitted.save(fitted.fit(data, TINY | {'lam': 0.3, 'folds': 3}), folder, data)
  return folder, head, rows


def written(path: pathlib.Path, head: list[str], rows: list[list[str]]) -> None:
  with open(path, 'w', newline='') as file:
    csv.writer(file).writerows([head, *rows])


def test_embed_on_the_training_file_gives_the_stored_predictions(of_table, capsys):
  folder, *_ = of_table
  held = fitted.stored(folder)
  for view in ('x1', 'x2', 'together'):
    out = folder / f'{view}.npy'
    more = [] if view == 'together' else [f'--out={out}']
    assert cli.main(['embed', str(folder), str(folder / 'all.csv'), f'--view={view}', *more,
                     f'--predictions={folder / "said.csv"}']) == 0
    with open(folder / 'said.csv', newline='') as file:
      head, *rows = csv.reader(file)
    assert head == ['row', 'prediction', 'p(u)', 'p(v)', 'p(w)']
    found = np.array([row[2:] for row in rows], float)
    np.testing.assert_allclose(found, held[view], atol=1e-6)
    assert [row[1] for row in rows] == ['uvw'[i] for i in held[view].argmax(axis=1)]
    if more:
      assert np.load(out).shape == (60, 4)
  assert '60 rows of x1' in capsys.readouterr().out


@pytest.mark.parametrize('order, said', [
    ([1, 0, 2, 3, 4, 5, 6, 7], "column 'x1_1' stands where view 'x1' was fitted on 'x1_0'"),
    ([0, 1, 2, 4, 5, 6, 7], "no column 'x1_3'"),
    ([0, 1, 2, 3, 3, 4, 5, 6, 7], 'x1_3')])
def test_changed_columns_are_refused_by_name(of_table, tmp_path, capsys, order, said):
  folder, head, rows = of_table
  written(tmp_path / 'new.csv', [head[i] for i in order], [[row[i] for i in order] for row in rows])
  assert cli.main(['embed', str(folder), str(tmp_path / 'new.csv'), '--view=x1',
                   f'--out={tmp_path / "z.npy"}']) == 2
  error = capsys.readouterr().err
  assert said in error and error.count('\n') == 1 and not (tmp_path / 'z.npy').exists()


@pytest.mark.parametrize('factor', [1e30, 1e60, 1e300])
def test_numbers_that_no_encoder_can_take_are_refused(of_table, tmp_path, capsys, factor):
  folder, _, rows = of_table
  np.save(tmp_path / 'x.npy', factor * np.array([row[:4] for row in rows], float))
  assert cli.main(['embed', str(folder), str(tmp_path / 'x.npy'), '--view=x1',
                   f'--out={tmp_path / "z.npy"}']) == 2
  error = capsys.readouterr().err
  assert 'too large to standardise' in error and error.count('\n') == 1


def test_other_files_of_one_view_alone(of_table, tmp_path, capsys):
  folder, head, rows = of_table
  x = np.array([row[:4] for row in rows], float)
  np.save(tmp_path / 'x.npy', x)
  np.savez(tmp_path / 'x.npz', x1=x, other=x[:, :2])
  np.savez(tmp_path / 'parts.npz', x1_train=x[:40], x1_test=x[40:], y_train=x[:40, 0])
  written(tmp_path / 'x.csv', head[:4], [row[:4] for row in rows])
  z = []
  for name in ('x.npy', 'x.npz', 'x.npz:x1', 'parts.npz', 'x.csv'):
    out = tmp_path / 'z.csv'
    assert cli.main(['embed', str(folder), str(tmp_path / name), f'--out={out}']) == 0, name
    z.append(np.loadtxt(out, delimiter=',', skiprows=1))
    np.testing.assert_allclose(z[-1], z[0], atol=1e-6)
  capsys.readouterr()
  x[3, 1] = np.nan
  np.save(tmp_path / 'gap.npy', x)
  for arguments, said in (
      ([str(tmp_path / 'x.npz:other')], '2 features, but its encoder was fitted on 4: x1_0'),
      ([str(tmp_path / 'gap.npy')], 'missing=mean'),
      ([str(tmp_path / 'x.npy'), '--view=x3'], "view 'x3' is unknown; known: x1, x2"),
      ([str(tmp_path / 'x.npy'), '--out=z.txt'], '--out=z.txt must end in .npy, .csv'),
      ([str(tmp_path / 'none.npy')], 'no such file'),
      ([str(tmp_path / 'x.npy'), '--view=together', '--out=z.npy'], 'name one of them')):
    assert cli.main(['embed', str(folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count('\n') == 1, error
  assert cli.main(['embed', str(folder), str(tmp_path / 'gap.npy'), '--missing=drop',
                   f'--out={tmp_path / "z.npy"}']) == 0
  assert np.isnan(np.load(tmp_path / 'z.npy')[3]).all()


def test_views_in_files_of_their_own(of_table, tmp_path, capsys):
  folder, head, rows = of_table
  np.save(tmp_path / 'a.npy', np.array([row[:4] for row in rows], float))
  written(tmp_path / 'b.csv', [*head[4:]], [row[4:] for row in rows])  # and the label
  own = [f'--x1={tmp_path / "a.npy"}', f'--x2={tmp_path / "b.csv"}']
  said = tmp_path / 'said.csv'
  for arguments, name in ((own, 'together'), (own[1:], 'x2')):
    assert cli.main(['embed', str(folder), *arguments, f'--predictions={said}']) == 0
    found = np.loadtxt(said, delimiter=',', skiprows=1, usecols=(2, 3, 4))
    np.testing.assert_allclose(found, fitted.stored(folder)[name], atol=1e-6)
  capsys.readouterr()
  np.save(tmp_path / 'short.npy', np.ones((3, 4)))
  for arguments, word in (
      ([], 'give FILE, or --x1=FILE'), ([str(tmp_path / 'a.npy'), *own], 'give FILE, or --x1=FILE'),
      ([*own, '--view=x1'], '--view=x1 has no effect'), (own, '--predictions=FILE must say'),
      (['--x3=a.npy'], '--x3=a.npy: '), ([f'--x2={tmp_path / "a.npy"}'], '4 features'),
      ([f'--x1={tmp_path / "short.npy"}', own[1], f'--predictions={said}'], 'x1 has 3, x2 has 60')):
    assert cli.main(['embed', str(folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error.splitlines()[-1] and error.count('error: ') == 1, error


@pytest.fixture
def of_sequences(tmp_path):
  """An .npz of 60 sequences of 2 to 6 steps beside vectors."""
  x1, x2, y = table()
  g = np.random.default_rng(1)
  length = g.integers(2, 7, len(y))
  steps = x2[:, None] + g.normal(size=(len(y), 6, 3))
  steps[np.arange(6) >= length[:, None]] = 99.0  # padding
  np.savez(tmp_path / 'all.npz', x1=x1, x2=steps, x2_length=length, y=y)
  return tmp_path / 'all.npz'


@pytest.mark.parametrize('pool, own', [
    ('mean', {'folds': 3}), ('last', {'folds': 3}),  # of the program of `kept`
    ('resample-centred', {}), ('none', {'encoder_2': 'sequence_transformer'}),
    ('even', {'encoder_2': 'sequence_transformer'})])
def test_sequences_are_pooled_as_they_were_for_the_encoder(of_sequences, tmp_path, capsys, pool,
                                                           own):
  data = pairs.from_raw(views.read_raw(str(of_sequences), reading=Reading(pool=pool)))
  assert data.pooled == ('', pool)
  fitted.save(fitted.fit(data, TINY | {'lam': 0.3, 'folds': 0} | own), tmp_path, data)
  assert [view.pooled for view in fitted.load(tmp_path).views] == ['', pool]
  said = tmp_path / 'said.csv'
  for arguments in (['--view=x2'], ['--view=x2', f'--pool={pool}'], ['--view=together'],
                    ['--view=x1']):
    name = arguments[0].removeprefix('--view=')
    assert cli.main(['embed', str(tmp_path), str(of_sequences), *arguments,
                     f'--predictions={said}']) == 0, capsys.readouterr().err
    found = np.loadtxt(said, delimiter=',', skiprows=1, usecols=(2, 3, 4))
    np.testing.assert_allclose(found, fitted.stored(tmp_path)[name], atol=1e-6)
  if data.views[1].ndim == 2:  # pooled by the user, beside lengths of what it was
    with np.load(of_sequences) as held:
      np.savez(tmp_path / 'rows.npz', **{**held, 'x2': data.views[1]})
    assert cli.main(['embed', str(tmp_path), str(tmp_path / 'rows.npz'), '--view=x2',
                     f'--predictions={said}']) == 0, capsys.readouterr().err
    found = np.loadtxt(said, delimiter=',', skiprows=1, usecols=(2, 3, 4))
    np.testing.assert_allclose(found, fitted.stored(tmp_path)['x2'], atol=1e-6)
  capsys.readouterr()
  for arguments, word in (
      (['--view=x2', '--pool=max'], f'fitted on sequences with --pool={pool}'),
      (['--view=x1', '--pool=mean'], '--pool=mean has no effect')):
    assert cli.main(['embed', str(tmp_path), str(of_sequences), *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error and error.count('\n') == 1, error


def test_steps_of_a_file_that_lack_numbers(of_sequences, tmp_path, capsys):
  data = pairs.from_raw(views.read_raw(str(of_sequences), reading=Reading(pool='none')))
  own = {'encoder_2': 'sequence_transformer', 'lam': 0.3, 'folds': 0}
  fitted.save(fitted.fit(data, TINY | own), tmp_path, data)
  x = data.views[1].copy()
  x[3], x[5, 0, 1] = np.nan, np.nan
  np.save(tmp_path / 'gap.npy', x)
  asked = ['embed', str(tmp_path), str(tmp_path / 'gap.npy'), '--view=x2',
           f'--out={tmp_path / "z.npy"}']
  assert cli.main(asked) == 2
  error = capsys.readouterr().err
  assert 'first at sample 5, step 0' in error and error.count('\n') == 1
  assert cli.main([*asked, '--missing=drop']) == 0
  z = np.load(tmp_path / 'z.npy')
  assert np.isnan(z[3]).all() and np.isfinite(np.delete(z, 3, 0)).all()
  without = x.copy()
  without[5, 0] = np.nan
  np.testing.assert_array_equal(z, fitted.embed(fitted.load(tmp_path), 'x2', without))
  np.save(tmp_path / 'gap.npy', np.concatenate([x, x], axis=1))
  assert cli.main([*asked, '--missing=drop']) == 2
  assert '12 steps, but its encoder was fitted on 6' in capsys.readouterr().err


def test_nothing_of_a_saved_folder_is_left_where_saving_fails(kept, tmp_path, monkeypatch):
  found, data, _ = kept
  fitted.save(found, tmp_path)
  monkeypatch.setattr(store, 'content', lambda _: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    fitted.save(found, tmp_path, data)
  assert [path.name for path in tmp_path.iterdir()] == ['encoders']
  assert fitted.load(tmp_path).names == model.Fitted(**vars(found)).names
