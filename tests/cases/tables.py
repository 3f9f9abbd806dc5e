"""Tables, labels, ids, missing values and the order of rows: right, or refused with the option."""

import contextlib
import gzip
import io
import json
import pathlib

import numpy as np
import pandas
import pytest

from cases.table import Row
from mmalign_jax import cli
from mmalign_jax.data.files import features as arrays, labels, opened, samples
from mmalign_jax.data.files.reading import Reading
from mmalign_jax.data.files.views import load_paired

N = 40
Z = np.random.default_rng(0).normal(size=(N, 3))
W = np.random.default_rng(1).normal(size=(N, 3))


def text_of(z, sep=',', mark='.', head='', index=None, pattern=repr) -> str:
  rows = [[pattern(v).replace('.', mark) for v in row] for row in np.asarray(z).tolist()]
  rows = [[str(i), *row] for i, row in zip(index, rows)] if index is not None else rows
  return head + '\n' * bool(head) + '\n'.join(sep.join(row) for row in rows) + '\n'


def table(folder: pathlib.Path, text: str | bytes, name='x.csv', coding='utf-8') -> str:
  (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(coding))
  return str(folder / name)


def features(spec: str, **reading) -> np.ndarray:
  return arrays.read_sides({'X': spec}, opened.Opened(Reading(**reading)))['X'].layers[0]


def reads(text, expected=Z, note='', name='x.csv', coding='utf-8', **reading):
  """A check: this text is these features, and a note says how it was read."""
  def check(folder):
    spec = table(folder, text, name, coding)
    made = samples.read({'X': spec}, Reading(**reading))
    np.testing.assert_array_equal(made.sides['X'].layers[0], expected)
    assert note in ' '.join(made.notes), made.notes
  return check


def refuses(text, *words, name='x.csv', **reading):
  """A check: this text is refused in one line with these words."""
  def check(folder):
    spec = table(folder, text, name)
    with pytest.raises(ValueError) as caught:
      samples.read({'X': spec}, Reading(**reading))
    said = str(caught.value)
    assert '\n' not in said and all(word in said for word in words), said
  return check


def run(*arguments: str, status: int = 0) -> tuple[str, str]:
  out, notes = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(notes):
    assert cli.main(list(arguments)) == status, notes.getvalue()
  return out.getvalue(), notes.getvalue()


# -- index columns ---------------------------------------------------------------------------------


def written_index(folder):
  g = np.random.default_rng(0)
  specs = []
  for name in 'xy':
    z = g.normal(size=(100, 5))
    specs.append(table(folder, text_of(z, head=',f0,f1,f2,f3,f4', index=range(100)), f'{name}.csv'))
  out, notes = run('measure', *specs, '--null=0', '--measures=debiased_linear_cka', '--json')
  assert abs(json.loads(out)['debiased_linear_cka']['value']) < 0.02
  assert "column '' left out as an index" in notes and '--index=none keeps it' in notes


def index_in_decompose(folder):
  g = np.random.default_rng(0)
  y = np.sort(g.integers(0, 3, 600))
  noise = [g.normal(size=(600, 2)) for _ in 'xx']
  specs = {f'--x{i}': table(folder, text_of(z, head=',a,b', index=range(600)), f'x{i}.csv')
           for i, z in enumerate(noise, 1)}
  np.save(folder / 'y.npy', y)
  made = samples.read(specs, Reading(), y=('--y', str(folder / 'y.npy')), lone=True)
  for side, z in zip(made.sides.values(), noise):
    np.testing.assert_array_equal(side.layers[0], z)
  assert sum('left out as an index' in note for note in made.notes) == 2


def index_in_sweep(folder):
  y = ['ab'[i % 2] for i in range(N)]
  rows = [[str(i), *map(repr, z), *map(repr, w), label]
          for i, (z, w, label) in enumerate(zip(Z.tolist(), W.tolist(), y))]
  head = ['x1_id', 'x1_a', 'x1_b', 'x1_c', 'x2_a', 'x2_b', 'x2_c', 'y']
  spec = table(folder, '\n'.join(','.join(row) for row in [head, *rows]) + '\n')
  assert load_paired(spec).x1_train.shape[1] == 3
  assert load_paired(spec, index='none').x1_train.shape[1] == 4


def index_of_parquet(folder):
  frame = pandas.DataFrame(Z, columns=list('abc'), index=[f'cell{i}' for i in range(N)])
  frame.to_parquet(folder / 'x.parquet')
  np.testing.assert_array_equal(features(str(folder / 'x.parquet')), Z)


SHUFFLED = np.random.default_rng(2).permutation(N)
RANKS = np.stack([np.random.default_rng(i).permutation(N) for i in range(3)], 1)
INDEXED = 'left out as an index'
INDEX = [
    Row(2, 'an index that no table has', refuses(
        'n,a\n1,2.5\n2,3.5\n', '--index=m', "no table has a column 'm'", 'x.csv', index='m')),
    Row(2, 'index written by pandas', written_index),
    Row(2, 'a second index of a file written twice', reads(
        text_of(np.c_[range(N), Z], head=',Unnamed: 0,a,b,c', index=range(N), pattern=repr),
        note=INDEXED)),
    Row(2, 'counted from 1 under a name', reads(
        text_of(Z, head='n,a,b,c', index=range(1, N + 1)), note='it counts the rows')),
    Row(2, 'counted without a header', reads(
        text_of(Z, index=range(N)), note="column '0' " + INDEXED)),
    Row(2, 'in another order', reads(text_of(Z, head='n,a,b,c', index=SHUFFLED), note=INDEXED)),
    Row(2, 'ids that do not count', reads(
        text_of(Z, head='sample_id,a,b,c', index=7 * SHUFFLED + 900), note='ids by its name')),
    Row(2, 'text in front', reads(text_of(Z, index=[f'img{i}' for i in range(N)]), note=INDEXED)),
    Row(2, 'names of rows as R writes them', reads(
        text_of(Z, head='a,b,c', index=[f'"r{i}"' for i in range(N)]), note=INDEXED)),
    Row(2, 'counted last', reads(text_of(np.c_[Z, range(N)], head='a,b,c,n'), note=INDEXED)),
    Row(2, 'written as floats', reads(text_of(np.c_[range(N), Z]), note=INDEXED)),
    Row(2, 'index of parquet', index_of_parquet),
    Row(2, 'whole numbers that rise', refuses(
        text_of(Z, head='n,a,b,c', index=range(100, 100 + N)), 'ids, or a feature?', '--index=n',
        '--index=none')),
    Row(2, 'a feature that counts is kept when told', reads(
        text_of(Z, index=range(N)), np.c_[range(N), Z], index='none')),
    Row(2, 'an index by name', reads(text_of(Z, head='a,b,c'), Z[:, 1:], index='a')),
    Row(2, 'ranks are features', reads(text_of(RANKS, head='a,b,c'), RANKS)),
    Row(2, 'a lone column is a feature', reads('n\n' + '\n'.join(map(str, range(N))),
                                               np.arange(N)[:, None])),
    Row(3, 'index of both sides beside a sorted label', index_in_decompose),
    Row(3, 'index under the prefix of a view', index_in_sweep),
]

# -- labels ----------------------------------------------------------------------------------------


def label(*values: str, classes: tuple[str, ...]):
  def check(folder):
    every = [values[i % len(values)] for i in range(60)]
    spec = table(folder, 'label\n' + '\n'.join(every) + '\n')
    made = labels.read_label(arrays.single(spec, '--y', 'label')[0], 'auto', 'y')
    assert (made.task, made.classes) == ('cross_entropy', classes)
    for name in 'ab':
      np.save(folder / f'{name}.npy', np.random.default_rng(0).normal(size=(60, 2)))
    pathlib.Path(spec).rename(folder / 'y.csv')
    assert load_paired(str(folder), x1='a', x2='b').classes == classes
  return check


def judged(values, found: str, note: str = '', **asked):
  def check(folder):
    made = labels.read_label(np.asarray(values), asked.get('task', 'auto'), 'y',
                             asked.get('classes', 0))
    assert made.task == found and note in ' '.join(made.notes), made.notes
  return check


LABELS = [
    Row(4, '1_0', label('1_0', '10', '2', classes=('10', '1_0', '2'))),
    Row(4, '007', label('007', '7', '8', classes=('007', '7', '8'))),
    Row(4, '1.10', label('1.10', '1.1', '2', classes=('1.1', '1.10', '2'))),
    Row(4, 'hexadecimal', label('0x10', '16', '2', classes=('0x10', '16', '2'))),
    Row(4, 'infinite', label('inf', 'Infinity', '1', classes=('1', 'Infinity', 'inf'))),
    Row(4, 'exponents', label('1e1', '10', '1E1', classes=('10', '1E1', '1e1'))),
    Row(4, 'a plus', label('+1', '1', '-1', classes=('+1', '-1', '1'))),
    Row(4, 'digits of other scripts', label('١', '1', '2', classes=('1', '2', '١'))),
    Row(4, 'whole numbers stay in their order', label('10', '9', '-1', classes=('-1', '9', '10'))),
    Row(4, 'floats of a whole number', label('0.0', '1.0', classes=('0', '1'))),
    Row(4, 'two decimals of a quantity', judged(
        np.array([f'{v:.2f}' for v in np.arange(300) / 8]), 'l1')),
    Row(13, '100 classes of 16', judged(np.tile(np.arange(100), 16), 'cross_entropy', '--task=l1')),
    Row(13, 'as floats', judged(np.tile(np.arange(100.0), 16), 'cross_entropy', '--task=l1')),
    Row(13, 'as text', judged(np.tile(np.arange(100), 16).astype(str), 'cross_entropy')),
    Row(13, 'when told', judged(np.tile(np.arange(100), 2), 'cross_entropy', classes=100)),
    Row(13, 'a quantity when told', judged(np.tile(np.arange(100), 16), 'l1', task='l1')),
    Row(13, 'all different', judged(np.arange(300), 'l1', '--task=cross_entropy')),
    Row(13, 'a few halves', judged(np.arange(300) % 3 / 2, 'l1', '--task=cross_entropy')),
    Row(19, 'only a header', refuses('label\n', 'no samples')),
    Row(19, 'an empty file', refuses('', 'empty file')),
    Row(19, 'blank lines', refuses('\n \n\n', 'empty file')),
    Row(19, 'a mark of order alone', refuses(b'\xef\xbb\xbf', 'empty file')),
    Row(19, 'separators alone', refuses(',,\n,,\n', 'empty file')),
]


def header_only_label(folder):
  spec = table(folder, 'label\n', 'y.csv')
  np.save(folder / 'x.npy', Z)
  x = str(folder / 'x.npy')
  _, notes = run('decompose', f'--x1={x}', f'--x2={x}', f'--y={spec}', status=2)
  assert notes.count('\n') == 1 and 'empty' in notes


LABELS.append(Row(19, 'the label of a decomposition', header_only_label))

# -- missing values and ids ------------------------------------------------------------------------


def two(folder, one, other, reading=None, **more):
  for name, z in (('x', one), ('y', other)):
    if isinstance(z, np.ndarray):
      np.save(folder / f'{name}.npy', z)
    else:
      table(folder, z, f'{name}.csv')
  specs = [str(next(folder.glob(f'{name}.*'))) for name in 'xy']
  made = samples.read(dict(zip('XY', specs)), reading or Reading(), **more)
  return made, [side.layers[0] for side in made.sides.values()]


def zero_rows(folder):
  x, y = Z.copy(), W.copy()
  x[:8] = y[:8] = 0
  made, _ = two(folder, x, y)
  assert 'X=' in made.notes[0] and '8 of 40 rows are 0' in made.notes[0] and (
      '--missing=drop' in made.notes[0])
  _, sides = two(folder, x, y, Reading(missing='drop'))
  np.testing.assert_array_equal(sides, [Z[8:], W[8:]])
  made, (x, _) = two(folder, x, y, Reading(missing='mean'))
  np.testing.assert_allclose(x, np.r_[np.tile(Z[8:].mean(0), (8, 1)), Z[8:]])


def nan_rows(folder):
  x, y = Z.copy(), W.copy()
  x[3, 1] = y[5, 0] = np.nan
  with pytest.raises(ValueError, match='1 values not finite.*--missing=drop.*--missing=mean'):
    two(folder, x, y)
  _, sides = two(folder, x, y, Reading(missing='drop'))
  np.testing.assert_array_equal(sides, [np.delete(z, [3, 5], 0) for z in (Z, W)])
  _, (x, y) = two(folder, x, y, Reading(missing='mean'))
  assert x[3, 1] == pytest.approx(np.delete(Z[:, 1], 3).mean()) and x[3, 0] == Z[3, 0]


def spellings(folder):
  cells = ['NA', '', 'nan', 'null', '?', 'None']
  text = 'a,b,c\n' + text_of(Z) + ''.join(f'1.5,{cell},2.5\n' for cell in cells)
  y = np.r_[W, W[:6]]
  _, (x, _) = two(folder, text, y, Reading(missing='drop'))
  np.testing.assert_array_equal(x, Z)


def labels_that_are_missing(folder):
  y = ['ab'[i % 2] for i in range(N)]
  y[4] = ''
  spec = table(folder, 'label\n' + '\n'.join(y) + '\n', 'l.csv')
  with pytest.raises(ValueError, match="first '' at row 4"):
    two(folder, Z, W, y=('--y', spec))
  made, (x, _) = two(folder, Z, W, Reading(missing='drop'), y=('--y', spec))
  np.testing.assert_array_equal(x, np.delete(Z, 4, 0))
  assert len(made.label) == N - 1


def means_of_training_rows(folder):
  x1 = Z.copy()
  x1[30:, 0] = np.nan
  given = {'x1_train': x1[:35], 'x1_test': x1[35:], 'x2_train': W[:35], 'x2_test': W[35:],
           'y_train': np.arange(35) % 2, 'y_test': np.arange(5) % 2}
  np.savez(folder / 'd.npz', **given)
  got = load_paired(str(folder / 'd.npz'), missing='mean')
  np.testing.assert_allclose(got.x1_test[:, 0], 0, atol=1e-6)  # the mean of the 30 that are there
  assert load_paired(str(folder / 'd.npz'), x1='x2', missing='drop').x1_train.shape == (35, 3)
  given['x1_test'] = Z[35:] + [1e6, 0, 0]  # what is in test moves nothing
  np.savez(folder / 'e.npz', **given)
  again = load_paired(str(folder / 'e.npz'), missing='mean')
  np.testing.assert_array_equal(again.x1_train, got.x1_train)


IDS = [f'{i:03d}' for i in range(N)]


def joined(folder):
  order = SHUFFLED[:30]
  x = text_of(Z, head='id,a,b,c', index=IDS)
  y = text_of(W[order], head='a,b,c,id'.replace('a,b,c,id', 'id,a,b,c'),
              index=[IDS[i] for i in order])
  with pytest.raises(ValueError, match='N=40.*N=30.*--id=NAME'):
    two(folder, x, y)
  made, sides = two(folder, x, y, id='id')
  rows = np.sort(order)
  np.testing.assert_array_equal(sides, [Z[rows], W[rows]])
  assert any('30 rows matched, 10 only in X' in note for note in made.notes)


def another_order(folder):
  x = text_of(Z, head=',a,b,c', index=IDS)
  y = text_of(W[SHUFFLED], head='name,a,b,c', index=[IDS[i] for i in SHUFFLED])
  with pytest.raises(ValueError, match='the same rows in another order.*--id=NAME'):
    two(folder, x, y)
  _, sides = two(folder, x, y, id='index')
  np.testing.assert_array_equal(sides, [Z, W])


def ids_twice(folder):
  twice = [*IDS[:-1], '007']
  with pytest.raises(ValueError, match="Y has 1 ids more than once, first '007'"):
    two(folder, text_of(Z, head='id,a,b,c', index=IDS),
        text_of(W, head='id,a,b,c', index=twice), id='id')


def ids_are_text(folder):
  plain = [str(int(i)) for i in IDS]
  made, (x, _) = two(folder, text_of(Z, head='id,a,b,c', index=IDS),
                     text_of(W, head='id,a,b,c', index=plain), id='id')
  assert len(x) == N - 10  # 007 is not 7; 010 and 10 are not the same either, 10 to 39 have none


def ids_of_stores(folder):
  np.savez(folder / 'x.npz', z=Z, id=np.arange(N))
  np.savez(folder / 'y.npz', z=W[SHUFFLED], id=SHUFFLED)
  specs = {name: f'{folder}/{name.lower()}.npz:z' for name in 'XY'}
  with pytest.raises(ValueError, match='another order'):
    samples.read(specs, Reading())
  made = samples.read(specs, Reading(), id='id')
  np.testing.assert_array_equal([side.layers[0] for side in made.sides.values()], [Z, W])


def groups_and_items(folder):
  who = [f's{i // 5}' for i in range(N)]
  x = text_of(Z, head='who,a,b,c', index=who)
  made, (x, _) = two(folder, x, W, group='who')
  np.testing.assert_array_equal(made.groups, np.arange(N) // 5)
  np.testing.assert_array_equal(x, Z)
  np.save(folder / 'g.npy', np.arange(N) // 4)
  made, _ = two(folder, Z, W, item=f'{folder}/g.npy')
  np.testing.assert_array_equal(made.items, np.arange(N) // 4)
  with pytest.raises(ValueError, match="--group='nobody' is neither a column"):
    two(folder, Z, W, group='nobody')


def repeats_are_said(folder):
  x = np.repeat(Z[:8], 5, 0)
  made, _ = two(folder, x, W)
  assert any('80% of the rows of X repeat' in note and '--item=NAME' in note
             for note in made.notes)
  np.save(folder / 'g.npy', np.arange(N) // 5)
  made, _ = two(folder, x, W, item=f'{folder}/g.npy')
  assert not any('repeat' in note for note in made.notes)


GAPS = [
    Row(10, 'rows of zeros', zero_rows), Row(10, 'NaN in arrays', nan_rows),
    Row(10, 'spellings in tables', spellings), Row(10, 'labels', labels_that_are_missing),
    Row(10, 'means of the training rows alone', means_of_training_rows),
    Row('4', 'joined by ids', joined), Row('4', 'the same ids in another order', another_order),
    Row('4', 'an id twice', ids_twice), Row('4', 'ids of arrays', ids_of_stores),
    Row(8, 'groups and items by column and file', groups_and_items),
    Row(8, 'repeated rows without a name', repeats_are_said)]

# -- how tables are cut ----------------------------------------------------------------------------

HEAD = 'a;b;c'
TABLES = [
    Row('4', 'semicolons and decimal commas', reads(
        text_of(Z, ';', ',', HEAD), note='semicolon between cells; decimal comma')),
    Row('4', 'semicolons with points', reads(text_of(Z, ';', '.', HEAD), note='semicolon')),
    Row('4', 'tabs', reads(text_of(Z, '\t', '.', 'a\tb\tc'), note='tab')),
    Row('4', 'tabs and decimal commas', reads(text_of(Z, '\t', ','), note='decimal comma',
                                              name='x.tsv')),
    Row('4', 'bars', reads(text_of(Z, '|'), note='pipe')),
    Row('4', 'blanks when told', reads(text_of(Z, '  '), sep='space')),
    Row('4', 'quotes', reads('"a, or b",b,c\n' + text_of(Z, pattern='"{!r}"'.format))),
    Row('4', 'quoted decimal commas', reads(
        text_of(Z, mark=',', pattern='"{!r}"'.format), note='decimal comma')),
    Row('4', 'a mark of order', reads('\ufeff' + text_of(Z, head='a,b,c'))),
    Row('4', 'UTF-16 with its mark', reads(text_of(Z, head='a,b,c'), coding='utf-16')),
    Row('4', 'lines of Windows', reads(text_of(Z, head='a,b,c').replace('\n', '\r\n'))),
    Row('4', 'packed', reads(gzip.compress(text_of(Z, head='a,b,c').encode()), name='x.csv.gz')),
    Row('4', 'a second separator in the names', reads(
        text_of(Z, head='a;1,b;2,c;3'), note='a header')),
    Row('4', 'two columns of one name', reads(text_of(Z, head='a,a,b'))),
    Row('4', 'years as names', refuses(
        'name,2019,2020,2021\n' + text_of(Z, index=[f'r{i}' for i in range(N)]), '--header=yes')),
    Row('4', 'rows of unequal length', refuses('a,b\n1,2\n3\n', 'line 3 has 1 cells', '--sep')),
    Row('4', 'separators of thousands', refuses('a;b\n1,234.5;2\n', 'thousands')),
    Row('4', 'thousands or a decimal comma', refuses('a;b\n1,234;2\n5,678;3\n', '--decimal=comma')),
    Row('4', 'two decimal marks', refuses('a;b\n1,5;2.5\n', '--decimal=point')),
    Row('4', 'percentages', refuses('a,b\n1.5,5%\n2.5,7%\n', "'5%'", 'percentage', '--index=b')),
    Row('4', 'dates', refuses('a,b\n1.5,2020-01-01\n2.5,2020-01-02\n', 'a date', '--index=b')),
    Row('4', 'infinite cells', refuses('a,b\n1.5,inf\n2.5,1\n', "'inf'")),
    Row('4', 'underscores in numbers', refuses('a,b\n1.5,1_0\n2.5,1\n', "'1_0'")),
    Row('4', 'Latin-1', refuses('é,b\n1,2\n'.encode('latin-1'), 'not text in UTF-8', 'line 1')),
    Row('4', 'NUL bytes', refuses(b'a,b\n1,\x002\n', 'NUL byte in line 2')),
    Row('4', 'an open quote', refuses('a,b\n"1,2\n3,4\n', 'cannot be read')),
]


def options_without_effect(folder):
  np.save(folder / 'x.npy', Z)
  for option in ('sep=tab', 'decimal=comma', 'header=no', 'index=id'):
    name, _, value = option.partition('=')
    with pytest.raises(ValueError, match=f'--{option} has no effect'):
      samples.read({'X': str(folder / 'x.npy')}, Reading(**{name: value}))


def parquet(folder):
  frame = pandas.DataFrame({'a': Z[:, 0], 'n': np.arange(N) % 3, 'e': [row for row in Z.tolist()],
                            'label': ['ab'[i % 2] for i in range(N)]})
  frame.to_parquet(folder / 'x.parquet')
  spec = f'{folder}/x.parquet'
  np.testing.assert_array_equal(features(f'{spec}:e'), Z)
  np.testing.assert_array_equal(features(spec, index='label'), np.c_[Z[:, 0], np.arange(N) % 3, Z])
  assert arrays.single(f'{spec}:label', '--y', 'label')[0].tolist() == ['ab'[i % 2]
                                                                       for i in range(N)]


def long_whole_numbers(folder):
  spec = table(folder, 'a,b\n9007199254740993,1\n9007199254740995,7\n')
  found = arrays.find(spec, 'X').arrays['']
  assert found.tolist() == [[2**53 + 1, 1], [2**53 + 3, 7]] and found.dtype == np.int64


def a_million_columns(folder):
  row = ','.join(['0.5', '1.25'] * 500_000)
  spec = table(folder, f'{row}\n{row}\n{row}\n')
  assert features(spec).shape == (3, 10**6)


TABLES += [Row('3', 'options that no file reads', options_without_effect),
           Row('4', 'parquet', parquet),
           Row(1, 'whole numbers of a table beyond 2^53', long_whole_numbers),
           Row('4', '10^6 columns', a_million_columns)]
ROWS = [*INDEX, *LABELS, *GAPS, *TABLES]
