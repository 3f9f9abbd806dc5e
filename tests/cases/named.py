"""Columns, keys and files by name: whose they are, and which are no features."""

import pathlib

import numpy as np
import pandas
import pytest

from cases.table import Row
from cases.tables import SHUFFLED, N, W, Z, judged, reads, refuses, table, text_of
from mmalign_jax.data import components, loading, pairs, published
from mmalign_jax.data.files import delimited, features, lone_view, samples, separate, views
from mmalign_jax.data.files.opened import Opened
from mmalign_jax.data.files.reading import Reading

Y = np.arange(N) % 2


def raises(match: str, call, error=ValueError) -> None:
  with pytest.raises(error, match=match) as caught:
    call()
  assert '\n' not in str(caught.value)


# -- columns of --id, --group and --item -----------------------------------------------------------


def ids_by_two_names(folder: pathlib.Path) -> None:
  """They stayed features of both sides, alike in both."""
  x = table(folder, text_of(np.c_[Z, 1000 + np.arange(N)], head='a,b,c,sample'), 'x.csv')
  y = table(folder, text_of(np.c_[W[SHUFFLED], 1000 + SHUFFLED], head='a,b,c,key'), 'y.csv')
  for id in ('sample,key', f'{x}:sample,{y}:key', f'sample,{y}:key'):
    made = samples.read({'X': x, 'Y': y}, Reading(), id=id)
    np.testing.assert_array_equal([side.layers[0] for side in made.sides.values()], [Z, W])


def groups_by_file_and_column(folder: pathlib.Path) -> None:
  who = np.random.default_rng(3).integers(0, 9, N)
  x = table(folder, text_of(np.c_[Z, who], head='a,b,c,patient'), 'x.csv')
  np.save(folder / 'y.npy', W)
  for option in ('group', 'item'):
    for named in ('patient', f'{x}:patient', f'{folder}/../{folder.name}/x.csv:patient'):
      made = samples.read({'X': x, 'Y': f'{folder}/y.npy'}, Reading(), **{option: named})
      np.testing.assert_array_equal(made.sides['X'].layers[0], Z)
      np.testing.assert_array_equal(getattr(made, f'{option}s'), np.unique(
          who, return_inverse=True)[1])


def labels_that_both_lack(folder: pathlib.Path) -> None:
  """NaN beside NaN was a difference."""
  y = np.where(np.arange(N) < 6, np.nan, Y)
  path = f'{folder}/d.npz'
  np.savez(path, a=Z, b=W, y=y)
  sides = {'--x1': f'{path}:a', '--x2': f'{path}:b'}
  made = samples.read(sides, Reading(missing='drop'), y=('--y', 'y'))
  np.testing.assert_array_equal(made.label, Y[6:])
  raw = separate.read_files({'x1': f'{path}:a', 'x2': f'{path}:b'}, 'y')
  assert pairs.from_raw(raw).labelled.sum() == N - 6
  np.savez(folder / 'e.npz', b=W, y=np.where(np.arange(N) < 5, np.nan, Y))
  raises('differ in 1 rows, first at row 5', lambda: samples.read(
      sides | {'--x2': f'{folder}/e.npz:b'}, Reading(missing='drop'), y=('--y', 'y')))


# -- headers of pandas -----------------------------------------------------------------------------


def headers(folder: pathlib.Path) -> None:
  """Names that are numbers, beside an index with or without a name."""
  text = [['r1', '.5', '1'], ['r2', '1.5', '2'], ['r3', '2.5', '9']]
  for rows, expected in (
      ([['', '0'], ['0', '.5'], ['1', '1.5'], ['2', '2.5']], True),
      ([['', '7', '3'], ['0', '.5', '1'], ['1', '1.5', '1'], ['2', '.5', '1']], True),
      ([['', '0', '1', 'label'], ['0', '.5', '1', 'a'], ['1', '1.5', '1', 'b'],
        ['2', '.5', '1', 'a']], True),
      ([['', '3', '0'], *text], True),
      ([['', '', '0', '1'], *([name, name, *rest] for name, *rest in text)], True),
      ([['', '0', '1', '2'], ['17', '.5', '1', '1'], ['4', '1.5', '1', '1']], True),
      ([['', '0', '1'], ['17', '.5', '1'], ['4', '1.5', '1'], ['9', '2.5', '1']], None),
      ([['name', '0', '1'], *text], None),
      ([['name', '0', '1'], ['r1', '1', '0'], ['r2', '1', '1']], False),
      ([['', '.5', '1'], ['1.5', '2', '1'], ['', '3', '1']], False),      # gaps
      ([['', '0', '1'], ['1', '0', '1'], ['', '1', '1']], False),
      ([['', '.5'], ['r1', '.7'], ['r2', '.9'], ['r3', '.1']], False)):
    assert delimited.has_header(rows) is expected, rows


FRAME = pandas.DataFrame(Z)
HEADERS = [
    Row('read', 'a table of pandas without names', reads(
        FRAME.to_csv(), note="column '' left out as an index")),
    Row('read', 'its columns in another order', reads(
        FRAME[[2, 0, 1]].to_csv(), Z[:, [2, 0, 1]], note="column '' left out as an index")),
    Row('read', 'its rows in another order', reads(
        FRAME.loc[SHUFFLED].to_csv(), Z[SHUFFLED], note="column '' left out as an index")),
    Row('read', 'a few of its columns', refuses(
        FRAME.loc[SHUFFLED, [1, 2]].to_csv(), 'name the columns? --header=yes')),
    Row('read', 'numbers as names of columns', headers)]

# -- views of tables and folders -------------------------------------------------------------------


def one_name_within_another(folder: pathlib.Path) -> None:
  """The columns of the longer one were those of both."""
  head = ','.join(f'{name}_{i}' for name in ('image', 'image_caption') for i in range(3))
  path = table(folder, text_of(np.c_[Z, W, Y], head=f'{head},label'), 'd.csv')
  raw = views.read_raw(path, x1='image', x2='image_caption')
  np.testing.assert_array_equal([raw.parts[''][role] for role in ('x1', 'x2')], [Z, W])
  assert not any('last column' in note for note in raw.notes)
  both = views.read_raw(path, x1='image', x2='image').parts['']
  assert both['x1'].shape == both['x2'].shape == (N, 6)
  new = lone_view.read(path, 'image', others=('image', 'image_caption'))
  np.testing.assert_array_equal(new.x, Z)
  for name, z in (('d-image', Z), ('d-image_caption', W)):
    table(folder, text_of(np.c_[z, Y], head='a,b,c,label'), f'{name}.csv')
  raw = views.read_raw(str(folder), x1='image', x2='image_caption')
  np.testing.assert_array_equal([raw.parts[''][role] for role in ('x1', 'x2')], [Z, W])
  assert any('y is the last column' in note for note in raw.notes)
  (folder / 'd-image.csv').unlink()
  raises("for x1 'image'", lambda: views.read_raw(str(folder), x1='image', x2='image_caption'),
         OSError)


def the_last_column(folder: pathlib.Path) -> None:
  """It was the label without a word."""
  path = table(folder, text_of(np.c_[Z, W], head='a_0,a_1,a_2,b_0,b_1,b_5'), 'd.csv')
  raw = views.read_raw(path, x1='a', x2='b')
  assert "d.csv: y is the last column 'b_5'; y=NAME takes another" in raw.notes


def index_of_a_folder(folder: pathlib.Path) -> None:
  """A name that no table has switched the search off, and was not refused."""
  for name, z in (('x1', Z), ('x2', W)):
    table(folder, text_of(np.c_[1000 + SHUFFLED, z], head='sample,a,b,c'), f'{name}.csv')
  np.save(folder / 'y.npy', Y)
  raises("index=smaple: no table has a column 'smaple'; x1.csv has 'sample'",
         lambda: views.read_raw(str(folder), reading=Reading(index='smaple')))
  made = views.read_raw(str(folder), reading=Reading(index='sample')).parts['']
  np.testing.assert_array_equal([made['x1'], made['x2']], [Z, W])


def lists_before_all_others(folder: pathlib.Path) -> None:
  """Columns of lists or structs were asked for their text."""
  path = f'{folder}/d.parquet'
  for first in ({'image': [{'bytes': b'a', 'path': 'p'}] * N}, {'index': Z[:, :2].tolist()}, {}):
    pandas.DataFrame(first | {'img_emb': Z.tolist(), 'txt_emb': W.tolist(),
                              'caption': [f'c{i}' for i in range(N)]}).to_parquet(path)
    sides = {'X': f'{path}:img_emb', 'Y': f'{path}:txt_emb'}
    for side, z in zip(features.read_sides(sides, Opened()).values(), (Z, W)):
      np.testing.assert_array_equal(side.layers[0], z)


# -- parts -----------------------------------------------------------------------------------------


def parts(**named: int) -> dict[str, np.ndarray]:
  """Arrays of so many rows by part."""
  return {f'{name}_{part}': z[:n] for part, n in named.items()
          for name, z in (('x1', Z), ('x2', W), ('y', Y))}


def validation_parts(folder: pathlib.Path) -> None:
  """Only `valid` was known, and of folders not even that."""
  path = folder / 'd.npz'
  for i, part in enumerate(('valid', 'val', 'dev', 'validation')):
    given = parts(train=20, test=10) | parts(**{part: 6})
    (folder / str(i)).mkdir()
    (folder / f'{i}t').mkdir()
    np.savez(path, **given)
    for name, z in given.items():
      np.save(folder / str(i) / f'{name}.npy', z)
      table(folder / f'{i}t', text_of(z, head='a,b,c') if z.ndim == 2 else
            text_of(z[:, None], head='label'), f'{name}.csv')
    for data in (path, folder / str(i), folder / f'{i}t'):
      raw = views.read_raw(str(data))
      assert [(name, len(one['y'])) for name, one in raw.parts.items()] == [
          ('train', 20), ('valid', 6), ('test', 10)], data
    found = pairs.from_raw(raw)
    assert found.validation is not None and found.validation.sum() == 6
    if part == 'val':  # nothing is chosen: they are for training
      assert len(loading.load_pairs(str(path), n_validation=0).y) == 26
    assert len(lone_view.read(str(path), 'x1').x) == 36


def parts_passed_over(folder: pathlib.Path) -> None:
  path = str(folder / 'd.npz')
  given = parts(train=20, test=10, val=6)
  np.savez(path, **given, **parts(dev=4))
  raises('dev and val are both a validation part', lambda: views.read_raw(path))
  np.savez(path, **given, group_train=Y[:20], group_test=Y[:10])
  raw = views.read_raw(path)  # groups count for more than a validation part without them
  assert list(raw.parts) == ['train', 'test'] and 'group' in raw.names
  assert any('the val part is not read' in note for note in raw.notes)
  del given['y_val']
  np.savez(path, **given)
  raw = views.read_raw(path)
  assert list(raw.parts) == ['train', 'test']
  assert any('the val part is not read' in note for note in raw.notes)
  for name, z in given.items():
    np.save(folder / f'{name}.npy', z)
  raw = views.read_raw(str(folder))
  assert list(raw.parts) == ['train', 'test']
  assert any('the validation part of x1, x2 is not read' in note for note in raw.notes)
  np.save(folder / 'x1_dev.npy', Z)
  raises('x1_dev.npy and x1_val.npy are both', lambda: views.read_raw(str(folder)))


def a_part_alone(folder: pathlib.Path) -> None:
  """Where nothing is for training, it is a word like any other."""
  for name, z in (('image', Z), ('text', W)):
    table(folder, text_of(np.c_[z, Y], head='a,b,c,label'), f'{name}_dev.csv')
  raw = views.read_raw(str(folder), x1='image', x2='text')
  np.testing.assert_array_equal(raw.parts['']['x1'], Z)


# -- rows of zeros, and -1 -------------------------------------------------------------------------


def zeros_of_a_view(folder: pathlib.Path) -> None:
  """mmalign embed --missing=drop embedded them."""
  x = Z.copy()
  x[[2, 5]], x[7, 1] = 0, np.nan
  np.save(folder / 'x.npy', x)
  read = lambda missing: lone_view.read(f'{folder}/x.npy', 'x1', reading=Reading(missing=missing))
  found = read('drop')
  assert np.flatnonzero(np.isnan(found.x).all(axis=1)).tolist() == [2, 5, 7]
  assert '3 of 40 rows lack this view' in found.notes
  found = read('mean')
  np.testing.assert_array_equal(found.x, x)
  assert any('2 of 40 rows are 0' in n and '--missing=drop' in n for n in found.notes)
  x[7, 1] = 1
  np.save(folder / 'x.npy', x)
  assert any('2 of 40 rows are 0' in note for note in read('refuse').notes)


def minus_one(folder: pathlib.Path) -> None:
  """The mark of scikit-learn became a class."""
  path = f'{folder}/d.npz'
  for values in (np.where(np.arange(N) < 30, -1, Y), np.where(np.arange(N) < 30, -1.0, 1 + Y),
                 np.where(np.arange(N) < 30, '-1', Y.astype(str))):
    np.savez(path, x1=Z, x2=W, y=values)
    raises('-1 in 30 of 40 rows, beside 2 classes.*--classes=3 counts it.*--classes=2 does not',
           lambda: pairs.from_raw(views.read_raw(path)))
    raises('--classes=3', lambda: views.load_paired(path))
    found = pairs.from_raw(views.read_raw(path), classes=2)
    assert (found.labelled.sum(), len(found.classes)) == (10, 2)
    assert any('30 of 40 rows have no label (-1 in 30)' in note for note in found.notes)
    found = pairs.from_raw(views.read_raw(path), classes=3)
    assert found.classes[0] == '-1' and any('--classes=2 takes it for no label' in note
                                            for note in found.notes)
    assert pairs.from_raw(views.read_raw(path), task='cross_entropy').classes[0] == '-1'
    raises('30 values missing.*missing=drop', lambda: views.load_paired(path, classes=2))
    assert len(views.load_paired(path, classes=2, missing='drop').y_train) == 8
    made = samples.read({'X': f'{path}:x1'}, Reading(missing='drop', classes=2),
                        y=('--y', f'{path}:y'))
    assert made.label is not None and len(made.label) == 10


def minus_one_beside_a_gap(folder: pathlib.Path) -> None:
  """Of ten classes the last but one has no label: -1 was then the tenth."""
  y = np.r_[np.full(N - 18, -1), np.repeat([*range(8), 9], 2)]
  np.savez(folder / 'd.npz', x1=Z, x2=W, y=y)
  found = pairs.from_raw(views.read_raw(str(folder / 'd.npz')), classes=10)
  assert found.labelled.sum() == 18 and found.classes == (*map(str, range(8)), '9')


# -- published data --------------------------------------------------------------------------------


def groups_of_published_data(folder: pathlib.Path) -> None:
  """They were not read, and folds were of rows."""
  emoji = folder / 'emoji'
  emoji.mkdir()
  np.savez(emoji / 'vision.npz', mobilenet_v1_100_224=Z)
  np.savez(emoji / 'language.npz', minilm_l6=np.stack([W, -W]), uniqueness=np.array([0., 1]))
  table(emoji, 'category,subcategory\n' + ''.join(f'c{i % 2},s{i % 8}\n' for i in range(N)),
        'captions.csv')
  read = lambda name, **names: published.read_published(name, str(folder), names)
  assert len(np.unique(read('emoji', group='subcategory').parts['']['group'])) == 8
  assert 'group' not in read('emoji').parts['']
  raises("no column 'anything' for group", lambda: read('emoji', group='anything'))
  raises("no key 'anything' for group", lambda: read('digits', group='anything'))


# -- a feature of sequences that does not vary -----------------------------------------------------


def constant_in_all_steps(folder: pathlib.Path) -> None:
  """The mean of many 0.1 is not 0.1: in units of what is left, another value has no end."""
  x = np.random.default_rng(0).normal(size=(50, 7, 2))
  x[..., 1] = 0.1
  has = np.ones(50, bool)
  found = components.fit(x, has, np.arange(40), 10, 'x')
  assert found.std[1] == 1 and found.std[0] == pytest.approx(x[:40, :, 0].std())
  x[45, 3, 1] = 0.6
  made = components.apply(found, x, has, 'x')
  np.testing.assert_allclose(made.x[:40, :, 1], 0, atol=1e-6)
  assert made.x[45, 3, 1] == pytest.approx(0.5)


SCORES = np.array([f'{v:.2f}' for v in np.arange(1000) % 21 / 5])
ROWS = [
    Row('read', 'ids by a name for each file', ids_by_two_names),
    Row('read', 'groups by file and column', groups_by_file_and_column),
    Row('read', 'a label that both files lack', labels_that_both_lack), *HEADERS,
    Row('read', 'a name that begins another', one_name_within_another),
    Row('read', 'the last column as the label', the_last_column),
    Row('read', 'an index that no table of a folder has', index_of_a_folder),
    Row('read', 'lists before all other columns of parquet', lists_before_all_others),
    Row('read', 'spellings of the validation part', validation_parts),
    Row('read', 'validation parts that are passed over', parts_passed_over),
    Row('read', 'a validation part alone', a_part_alone),
    Row('read', 'rows of zeros of a lone view', zeros_of_a_view),
    Row('read', '-1 beside classes', minus_one),
    Row('read', '-1 beside classes with a gap', minus_one_beside_a_gap),
    Row('read', '-1 and 1 are classes', judged(np.arange(60) % 2 * 2 - 1, 'cross_entropy')),
    Row('read', '-1 of a quantity', judged(np.arange(60.0) / 4 - 1, 'l1')),
    Row('read', 'scores with two decimals', judged(
        SCORES, 'cross_entropy', 'text as they are spelt; if the label is a quantity, --task=l1')),
    Row('read', 'groups of published data', groups_of_published_data),
    Row('read', 'a feature that is 0.1 in all steps', constant_in_all_steps)]
