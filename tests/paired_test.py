"""Paired data from files: every format, the split, the units, and one line for every mistake."""

import pathlib

import h5py
import numpy as np
import pytest
import scipy.io

from mmalign_jax.data.files import delimited, splits
from mmalign_jax.data.files.views import load_paired

ROWS = 60
REAL = pathlib.Path(__file__).resolve().parents[1] / '../shared/data'


def real(name: str) -> str:
  """A folder of real data, or a skipped test."""
  folder = REAL / name
  if not folder.is_dir():
    pytest.skip(f'no real data at {folder}')
  return str(folder)


def arrays(rows: int = ROWS, seed: int = 0) -> dict[str, np.ndarray]:
  """x1 [rows, 3], x2 [rows, 2] and y [rows] of the classes 0, 0, 1, 0, 0, 1, ..."""
  rng = np.random.default_rng(seed)
  return {'x1': 5 + 3 * rng.normal(size=(rows, 3)), 'x2': rng.normal(size=(rows, 2)),
          'y': (np.arange(rows) % 3 == 2).astype(int)}


def given(train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
  """The same with a given split."""
  return {f'{name}_{part}': array for part, rows in (('train', train), ('test', test))
          for name, array in arrays(rows, rows).items()}


def npz(folder: pathlib.Path, **changed) -> str:
  np.savez(folder / 'data.npz', **{**arrays(), **changed})
  return str(folder / 'data.npz')


def text(path: pathlib.Path, rows, header=None) -> str:
  lines = [','.join(map(str, row)) for row in ([header] if header else []) + list(rows)]
  path.write_text('\n'.join(lines) + '\n')
  return str(path)


def fails(error, match: str, data, **settings) -> None:
  """The call raises `error`, whose message is one line and matches."""
  with pytest.raises(error, match=match) as info:
    load_paired(str(data), **settings)
  assert '\n' not in str(info.value)


# -- formats -------------------------------------------------------------------------------------


def write_npz(folder, data):
  np.savez(folder / 'd.npz', **data)
  return folder / 'd.npz'


def write_h5(folder, data, name='d.h5', transpose=False):
  with h5py.File(folder / name, 'w', userblock_size=512 if transpose else 0) as file:
    for key, array in data.items():
      file[key] = np.atleast_2d(array).T if transpose and array.ndim == 2 else array
  return folder / name


def write_mat(folder, data):
  scipy.io.savemat(folder / 'd.mat', data)
  return folder / 'd.mat'


def write_mat73(folder, data):
  path = write_h5(folder, {k: a if a.ndim == 2 else a[:, None] for k, a in data.items()},
                  'd.mat', transpose=True)
  with open(path, 'r+b') as file:  # the mark by which MATLAB files are told
    file.write(b'MATLAB 7.3 MAT-file'.ljust(124) + b'\x00\x02IM')
  with pytest.raises(NotImplementedError):
    scipy.io.loadmat(path)
  return path


def write_npy(folder, data):
  for key, array in data.items():
    np.save(folder / f'{key}.npy', array)
  return folder


def write_csv_folder(folder, data):
  for key, array in data.items():
    text(folder / f'{key}.csv', array if array.ndim == 2 else array[:, None])
  return folder


KEYED = (write_npz, write_h5, write_mat, write_mat73, write_npy, write_csv_folder)


@pytest.mark.parametrize('write', KEYED)
def test_formats_agree(write, tmp_path):
  got = load_paired(str(write(tmp_path, arrays())))
  want = load_paired(npz(tmp_path))
  assert got.fingerprint == want.fingerprint and len(got.fingerprint) == 64
  assert got.x1_train.shape == (45, 3) and got.x2_test.shape == (15, 2)
  assert (got.name_1, got.name_2, got.classes) == ('x1', 'x2', ('0', '1'))
  assert got.y_train.dtype == got.fold_test.dtype == np.int32
  assert got.x1_train.dtype == got.x2_test.dtype == np.float32
  assert got.task == 'cross_entropy' and (got.y_center, got.y_scale) == (0.0, 1.0)


@pytest.mark.parametrize('write', KEYED)
def test_given_split_is_kept_in_order(write, tmp_path):
  data = given()
  got = load_paired(str(write(tmp_path, data)))
  np.testing.assert_array_equal(got.y_train, data['y_train'])
  np.testing.assert_array_equal(got.y_test, data['y_test'])
  z = (data['x1_test'] - data['x1_train'].mean(0)) / data['x1_train'].std(0)
  np.testing.assert_allclose(got.x1_test, z, rtol=1e-5, atol=1e-6)
  assert any('split given: 40 train, 20 test' in note for note in got.notes)


def test_matlab_text_labels(tmp_path):
  y = np.array(['neg', 'pos'], object)[arrays()['y']]
  got = load_paired(str(write_mat(tmp_path, {**arrays(), 'y': y})))
  assert got.classes == ('neg', 'pos')


def test_h5_text_labels_and_more_views(tmp_path):
  y = [('neg', 'pos')[code] for code in arrays()['y']]
  path = write_h5(tmp_path, {'a': arrays()['x1'], 'b': arrays()['x2'], 'c': arrays()['x1'][:, :1]})
  with h5py.File(path, 'a') as file:
    file['in/label'] = y
  got = load_paired(str(path), x1='c', x2='a', y='in/label')
  assert got.classes == ('neg', 'pos') and got.x1_train.shape[1] == 1 and got.name_2 == 'a'


def csv_file(folder, y='y', header=None):
  data = arrays()
  rows = [[i, *one, *two, label] for i, (one, two, label) in
          enumerate(zip(data['x1'], data['x2'], data['y']))]
  header = header or ['id', 'audio', 'audio_mean', 'audio7', 'x1', 'x1.b', y]
  return text(folder / 'd.csv', rows, header)


@pytest.mark.parametrize('y', ['y', 'label', 'anything'])
def test_csv_columns_by_prefix(y, tmp_path):
  got = load_paired(csv_file(tmp_path, y), x1='audio', x2='x1')
  assert got.x1_train.shape[1] == 3 and got.x2_train.shape[1] == 2
  assert got.classes == ('0', '1')


def test_csv_prefix_ends_at_a_separator(tmp_path):
  path = csv_file(tmp_path, header=['x1', 'x2', 'x12', 'x1_a', 'x1-b', 'x2.c', 'y'])
  got = load_paired(path, index='none')
  assert (got.x1_train.shape[1], got.x2_train.shape[1]) == (3, 2)
  got = load_paired(path)  # x1 counts the rows
  assert (got.x1_train.shape[1], got.x2_train.shape[1]) == (2, 2)
  assert any("'x1' left out as an index (it counts the rows)" in note for note in got.notes)


def test_digits():
  got = load_paired('digits')
  assert got.x1_train.shape[1] == got.x2_train.shape[1] == 32
  assert len(got.y_train) + len(got.y_test) == 1797 and len(got.classes) == 10
  assert (got.name_1, got.name_2, got.n_folds) == ('left', 'right', 32)
  assert load_paired('digits', x1='top', x2='top').name_2 == 'top'


# -- folders of csv ------------------------------------------------------------------------------


def labelled(name: str, label=None) -> np.ndarray:
  return np.column_stack([arrays()[name], arrays()['y'] if label is None else label])


def test_labels_in_the_last_column_of_both_views(tmp_path):
  text(tmp_path / 'mfeat-fou.csv', labelled('x1').tolist())
  text(tmp_path / 'mfeat-kar.csv', labelled('x2').tolist(), ['a', 'b', 'digit'])
  got = load_paired(str(tmp_path), x1='fou', x2='kar')
  assert got.x1_train.shape == (45, 3) and got.x2_train.shape == (45, 2)
  assert 'mfeat-fou.csv: first line read as data: no header; 60 rows' in got.notes
  assert 'mfeat-kar.csv: first line read as a header; 60 rows' in got.notes


def test_text_labels_in_the_last_column(tmp_path):
  names = np.array(['neg', 'pos'])[arrays()['y']]
  for name in ('x1', 'x2'):
    text(tmp_path / f'{name}.csv', [[*x, n] for x, n in zip(arrays()[name], names)])
  got = load_paired(str(tmp_path))
  assert got.classes == ('neg', 'pos') and len(got.y_train) + len(got.y_test) == ROWS


def test_labels_that_differ(tmp_path):
  label = arrays()['y']
  label[7] = 5
  text(tmp_path / 'x1.csv', labelled('x1').tolist())
  text(tmp_path / 'x2.csv', labelled('x2', label).tolist())
  fails(ValueError, r"x1\.csv and x2\.csv: labels .* row 7 .*'0.0' and '5.0'", tmp_path)
  text(tmp_path / 'x2.csv', labelled('x2')[:50].tolist())
  fails(ValueError, r'x1\.csv has 60 rows, x2\.csv has 50', tmp_path)


def test_the_family_that_every_view_has(tmp_path):
  for part in ('train', 'test'):
    text(tmp_path / f'text_{part}.csv', arrays()['x1'].tolist())
    text(tmp_path / f'text_{part}0.csv', labelled('x1').tolist())
    text(tmp_path / f'audio_{part}0.csv', labelled('x2').tolist())
  got = load_paired(str(tmp_path), x1='text', x2='audio')
  assert got.x1_train.shape == (60, 3) and got.x2_test.shape == (60, 2)
  assert load_paired(str(tmp_path), x1='text', x2='text').x1_train.shape == (60, 3)


def test_ambiguous_files(tmp_path):
  for stem in ('a-x1', 'b-x1', 'a-x2', 'b-x2'):
    text(tmp_path / f'{stem}.csv', labelled(stem[2:]).tolist())
  fails(ValueError, r'more than one set .* candidates: x1 a-x1\.csv; x1 b-x1\.csv', tmp_path)
  assert load_paired(str(tmp_path), x1='a-x1', x2='a-x2').name_1 == 'a-x1'


def test_exact_names_win(tmp_path):
  for name in ('x1', 'x2'):
    text(tmp_path / f'{name}.csv', labelled(name).tolist())
    text(tmp_path / f'{name}_old.csv', labelled(name).tolist())
  assert load_paired(str(tmp_path)).x1_train.shape == (45, 3)


@pytest.mark.parametrize('rows, header', [
    ([['0', '1', '2', '0'], ['.5', '1', '2', '9']], True),   # counts its columns
    ([['0', '1', '1'], ['1', '0', '1']], False),             # binary features
    ([['0'], ['1']], False),
    ([['a', 'b'], ['1', '2']], True),
    ([['', 'b'], ['1', '2']], True),
    ([['1', ''], ['1', '2']], False),                        # a missing number
    ([['1', 'pos'], ['1', 'neg'], ['1', 'pos']], False),     # text that is a label
])
def test_header_rule(rows, header):
  assert delimited.has_header(rows) == header


# -- labels --------------------------------------------------------------------------------------


def test_text_labels_are_mapped_in_sorted_order(tmp_path):
  y = np.array(['pos', 'neg'])[arrays()['y']]
  got = load_paired(npz(tmp_path, y=y))
  assert got.classes == ('neg', 'pos')
  assert (np.concatenate([got.y_train, got.y_test]) == 1).sum() == (y == 'pos').sum()
  assert "label strings mapped: 'neg' -> 0, 'pos' -> 1" in got.notes


@pytest.mark.parametrize('values', [[-1, 10, 9], [-1.0, 10.0, 9.0], ['-1', '10', '9']])
def test_numeric_labels_are_mapped_in_numeric_order(values, tmp_path):
  got = load_paired(npz(tmp_path, y=np.array(values)[np.arange(ROWS) % 3]))
  assert got.classes == ('-1', '9', '10') and 'labels mapped: -1 -> 0, 9 -> 1, 10 -> 2' in got.notes


@pytest.mark.parametrize('shape', [(ROWS, 1), (1, ROWS)])
def test_labels_are_flattened(shape, tmp_path):
  want = load_paired(npz(tmp_path)).fingerprint
  assert load_paired(npz(tmp_path, y=arrays()['y'].reshape(shape))).fingerprint == want


def test_regression(tmp_path):
  y = np.arange(ROWS) ** 1.5
  got = load_paired(npz(tmp_path, y=y), split_seed=3)
  assert got.task == 'l1' and got.classes == () and got.y_train.dtype == np.float32
  np.testing.assert_allclose(np.median(got.y_train), 0, atol=1e-6)
  np.testing.assert_allclose(np.abs(got.y_train).mean(), 1, rtol=1e-5)
  back = np.sort(np.concatenate([got.y_train, got.y_test])) * got.y_scale + got.y_center
  np.testing.assert_allclose(back, y, rtol=1e-4, atol=1e-3)


def test_task_is_chosen_by_the_label_and_can_be_forced(tmp_path):
  assert load_paired(npz(tmp_path, y=np.arange(ROWS))).task == 'l1'  # more than 50 values
  assert load_paired(npz(tmp_path), task='l1').y_train.dtype == np.float32
  halves = np.arange(ROWS) % 2 / 2
  assert load_paired(npz(tmp_path, y=halves), task='cross_entropy').classes == ('0', '0.5')


# -- split, units, folds -------------------------------------------------------------------------


def test_split_is_stratified_and_follows_the_seed(tmp_path):
  path = npz(tmp_path)
  got = load_paired(path, test_fraction=0.3)
  assert np.bincount(got.y_test).tolist() == [12, 6] and len(got.y_train) == 42
  assert load_paired(path, test_fraction=0.3).fingerprint == got.fingerprint
  assert load_paired(path, test_fraction=0.3, split_seed=1).fingerprint != got.fingerprint


@pytest.mark.parametrize('fraction', [0.1, 0.25, 0.4, 0.7])
@pytest.mark.parametrize('y', [arrays(400)['y'], np.arange(400) + 0.5])
def test_groups_stay_together(y, fraction, tmp_path):
  groups = np.array([f'speaker {i}' for i in np.random.default_rng(0).integers(40, size=400)])
  code = np.unique(groups, return_inverse=True)[1]
  marked = np.column_stack([code, arrays(400)['x1']])
  path = npz(tmp_path, x1=marked, x2=arrays(400)['x2'], y=y, who=groups)
  got = load_paired(path, group='who', test_fraction=fraction)
  train, test = got.x1_train[:, 0], got.x1_test[:, 0]  # the group, standardised
  assert not np.intersect1d(train, test).size
  assert abs(len(test) / 400 - fraction) < 0.06
  for group in np.unique(test):
    assert len(np.unique(got.fold_test[test == group])) == 1
  assert got.n_folds == min(32, len(np.unique(test)))
  if got.classes:
    assert abs(got.y_test.mean() - got.y_train.mean()) < 0.1


def test_a_key_named_group_needs_no_asking(tmp_path):
  got = load_paired(npz(tmp_path, group=np.arange(ROWS) // 6))
  assert got.n_folds == len(got.y_test) // 6 and any("group 'group'" in n for n in got.notes)
  columns = [[*x, i // 6, y] for i, (x, y) in enumerate(zip(arrays()['x1'], arrays()['y']))]
  path = text(tmp_path / 'g.csv', columns, ['a', 'a1', 'b', 'who', 'y'])
  assert load_paired(path, x1='a', x2='b', group='who').n_folds == got.n_folds


def test_given_split_that_cuts_a_group_is_reported(tmp_path):
  data = {**given(), 'group_train': np.arange(40), 'group_test': np.arange(20) + 39}
  notes = load_paired(str(write_npz(tmp_path, data))).notes
  assert any('warning: 1 on both sides' in note for note in notes)


def test_folds_are_balanced():
  sizes = np.bincount(splits.test_folds(100, None, 0))
  assert len(sizes) == 32 and set(sizes) == {3, 4}
  assert sorted(splits.test_folds(5, None, 0)) == [0, 1, 2, 3, 4]


def test_units_are_those_of_training(tmp_path):
  x1 = arrays()['x1']
  x1[:, 1] = 0.1
  got = load_paired(npz(tmp_path, x1=x1))
  np.testing.assert_allclose(got.x1_train.mean(0), 0, atol=1e-6)
  np.testing.assert_allclose(got.x1_train.std(0), [1, 0, 1], atol=1e-6)
  assert not got.x1_test[:, 1].any() and abs(got.x1_test.mean(0)).max() > 1e-3
  assert any(note.endswith("x1 'x1': 1 of 3 columns constant in training, set to 0")
             for note in got.notes)


def test_one_column_and_a_label_among_the_features(tmp_path):
  got = load_paired(npz(tmp_path, x1=arrays()['y'] + 0.0))
  assert got.x1_train.shape == (45, 1)
  assert any(note.startswith('warning') and 'column 0 ' in note for note in got.notes)


# -- mistakes ------------------------------------------------------------------------------------


def holed(value: float) -> np.ndarray:
  x = arrays()['x1']
  x[4, 2] = x[9, 0] = value
  return x


ONE_OF_3 = np.where(np.arange(ROWS) == 3, 7, arrays()['y'])


@pytest.mark.parametrize('changed, match', [
    ({'y': np.zeros(59, int)}, "x1 'x1' has 60 rows, y 'y' has 59"),
    ({'x1': holed(np.nan)}, "x1 'x1': 2 values not finite, first nan at row 4, column 2"),
    ({'x2': holed(-np.inf)}, "x2 'x2': 2 values not finite, first -inf at row 4, column 2"),
    ({'y': np.ones(ROWS)}, "y 'y': one class only, '1'"),
    ({'x1': np.zeros((ROWS, 5, 2))}, r'shape \(60, 5, 2\); .* fits its first axis'),
    ({'x1': np.zeros((ROWS, 0))}, r"x1 'x1': empty, shape \(60, 0\)"),
    ({'x1': np.zeros(ROWS, complex)}, 'not real numbers but complex'),
    ({'x1': np.array(['a'] * ROWS)}, 'not real numbers but <U1'),
    ({'x1': np.full((ROWS, 1), 1e308) * arrays()['y'][:, None]}, 'column 0 .* too large'),
    ({'y': np.eye(ROWS)}, r"y 'y': shape \(60, 60\) is not one value"),
    ({'y': np.where(np.arange(ROWS) == 2, np.nan, 1)}, "y 'y': 1 values missing .* nan at row 2"),
    ({'y': np.array(['a', ''] * 30)}, "y 'y': 30 values missing .* '' at row 1"),
    ({'y': ONE_OF_3}, "class '7' has 1 sample"),
    ({'group': np.zeros(ROWS)}, 'group: one id only'),
    ({'group': np.zeros(3)}, "group 'group' has 3"),
    ({name: array[:0] for name, array in arrays().items()}, "x1 'x1': empty"),
    ({name: array[:1] for name, array in arrays().items()}, 'one class only'),
    ({'y': np.array([None, 1] * 30, object)}, 'cannot be read: Object arrays'),
])
def test_bad_values(changed, match, tmp_path):
  fails(ValueError, match, npz(tmp_path, **changed))


@pytest.mark.parametrize('settings, match', [
    ({'x1': 'audio'}, r"no key 'audio' for x1 .*it has 'x1', 'x2', 'y'"),
    ({'y': 'label'}, "no key 'label' for y"),
    ({'group': 'speaker'}, "no key 'speaker' for group"),
    ({'task': 'mse'}, "task: 'mse'; known: auto"),
    ({'test_fraction': 0.0}, r'test_fraction: 0.0 is not in \(0, 1\)'),
    ({'test_fraction': 1}, 'test_fraction: 1 '),
    ({'test_fraction': float('nan')}, 'test_fraction: nan'),
    ({'test_fraction': 0.01}, 'leaves 1 to test on and 59 to train on, fewer than 2 classes'),
    ({'split_seed': -1}, 'split_seed: -1'),
])
def test_bad_settings(settings, match, tmp_path):
  fails(ValueError, match, npz(tmp_path), **settings)


def test_bad_regression_labels(tmp_path):
  text_label = npz(tmp_path, y=np.array(['1', 'neg'] * 30))
  fails(ValueError, "task 'l1' needs numbers, not 'neg'", text_label, task='l1')
  fails(ValueError, 'no spread in training', npz(tmp_path, y=np.full(ROWS, 2.5)), task='l1')


def test_bad_given_splits(tmp_path):
  data = given()
  unseen = {**data, 'y_test': np.full(20, 4)}
  fails(ValueError, "class '4' is in test but never in train", write_npz(tmp_path, unseen))
  narrow = {**data, 'x1_test': data['x1_test'][:, :2]}
  fails(ValueError, 'has 3 columns in train, 2 in test', write_npz(tmp_path, narrow))
  short = {**data, 'x2_test': data['x2_test'][:9]}
  fails(ValueError, r"x1 'x1' \(test\) has 20 rows, x2 'x2' has 9", write_npz(tmp_path, short))
  del data['y_test']
  fails(ValueError, "no key 'x1' for x1 .*NAME_train", write_npz(tmp_path, data))


def test_missing_files(tmp_path):
  fails(FileNotFoundError, 'none.npz.: no such file', tmp_path / 'none.npz')
  fails(FileNotFoundError, "for x1 'x1'; it has nothing", tmp_path)
  np.save(tmp_path / 'x1.npy', arrays()['x1'])
  fails(FileNotFoundError, "for x2 'x2'; it has 'x1.npy'", tmp_path)
  np.save(tmp_path / 'x2.npy', arrays()['x2'])
  fails(FileNotFoundError, 'no file for y', tmp_path)
  fails(FileNotFoundError, "for y 'label'", tmp_path, y='label')
  (tmp_path / 'd.txt').write_text('a')
  fails(ValueError, r"unknown format '.txt'; known: 'digits'", tmp_path / 'd.txt')


def test_bad_csv(tmp_path):
  path = csv_file(tmp_path)
  fails(ValueError, "no column 'text' or 'text_...' for x1; it has 'id', 'audio'", path, x1='text')
  fails(ValueError, "no columns 'z' for y", path, x1='audio', x2='x1', y='z')
  fails(ValueError, "no columns 'who' for group", path, x1='audio', x2='x1', group='who')
  header = ['x1', 'x2', 'y']
  fails(ValueError, 'a header is needed', text(tmp_path / 'n.csv', [[1, 2, 0], [3, 4, 1]]))
  bad = text(tmp_path / 'b.csv', [[1, 2, 0], [3, 'many', 1]], header)
  fails(ValueError, "row 1, column 1 .* not a number: 'many'", bad)
  hole = text(tmp_path / 'h.csv', [[1, 2, 0], ['', 4, 1]], header)
  fails(ValueError, "x1 'x1': 1 values not finite, first nan at row 1", hole)
  ragged = text(tmp_path / 'r.csv', [[1, 2, 0], [3, 4]], header)
  fails(ValueError, 'line 3 has 2 cells, the first line 3', ragged)
  (tmp_path / 'e.csv').write_text('')
  fails(ValueError, 'empty file', tmp_path / 'e.csv')
  fails(ValueError, 'empty', text(tmp_path / 'o.csv', [], header))


@pytest.mark.parametrize('name', ['d.npz', 'd.h5', 'd.mat', 'd.csv'])
def test_damaged_files(name, tmp_path):
  (tmp_path / name).write_bytes(b'\x80\x04 not what the name says \xff\n' * 20)
  fails(ValueError, f'{name}: cannot be read: ', tmp_path / name)


class Trap:
  """Raises when it is unpickled."""

  def __reduce__(self):
    return (pytest.fail, ('a pickle was run',))


def test_pickles_are_refused(tmp_path):
  trap = np.array([Trap()] * ROWS, object)
  np.savez(tmp_path / 'd.npz', **{**arrays(), 'x1': trap}, allow_pickle=True)
  fails(ValueError, "'x1': cannot be read: Object arrays", tmp_path / 'd.npz')
  write_npy(tmp_path, {**arrays(), 'x2': trap})
  fails(ValueError, r'x2\.npy: cannot be read: Object arrays', tmp_path)
  trap.dump(tmp_path / 'x2.npy')
  fails(ValueError, r'x2\.npy: cannot be read: ', tmp_path)


# -- real data -----------------------------------------------------------------------------------


@pytest.mark.parametrize('x1, x2, widths', [('fou', 'mor', (76, 6)), ('kar', 'zer', (64, 47))])
def test_multiple_features(x1, x2, widths):
  got = load_paired(real('uci_mfeat'), x1=x1, x2=x2)
  assert got.x1_train.shape == (1500, widths[0]) and got.x2_test.shape == (500, widths[1])
  assert np.bincount(got.y_test).tolist() == [50] * 10
  assert got.classes == tuple('0123456789')


@pytest.mark.parametrize('x1, x2, widths', [('text', 'audio', (100, 73)),
                                            ('video', 'text', (100, 100))])
def test_mosi(x1, x2, widths):
  got = load_paired(real('mosi_utterance'), x1=x1, x2=x2)
  assert got.x1_train.shape == (1447, widths[0]) and got.x2_test.shape == (752, widths[1])
  assert got.classes == ('0', '1') and np.isfinite(got.x1_test).all()
  assert any('split given' in note for note in got.notes)


def test_a_view_that_is_taken_for_the_label_is_said(tmp_path):
  """The last column is the label where none is named."""
  (tmp_path / 'two.csv').write_text('a,b\n1,2\n3,4\n')
  with pytest.raises(ValueError, match="no column 'b' .*; 'b' is read as y=b$"):
    load_paired(str(tmp_path / 'two.csv'), x1='a', x2='b')
