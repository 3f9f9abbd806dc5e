"""Hostile tables: text that no table is, a million columns, and .parquet files."""

import functools
import io
import json
import pathlib
import random

import numpy as np

from fuzzing import harm, valid
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs

N = valid.N


def _rows(cells: list[list[str]], sep: str = ',', end: str = '\n') -> str:
  return end.join(sep.join(row) for row in cells) + end


def _cells(r: random.Random, d: int = 3) -> list[list[str]]:
  return [[f'f{j}' for j in range(d)], *([f'{r.gauss(0, 1):.3f}' for _ in range(d)]
                                         for _ in range(N))]


def _odd_cell(r: random.Random) -> str:
  text = r.choice((
      '', ' ', '""', '"', '"""', 'a"b', "'", '\\', 'NaN', 'nan', 'NA', 'null', 'None', '?', '-',
      'inf',
      '-Infinity', '1e400', '1e-400', '1_0', '0x10', '0b1', '1,5', '1.000,5', '1 000', '5%', '$3',
      '2020-01-01', '12:30', '=1+1', "=cmd|' /C calc'!A0", '@SUM(1)', '+1', '1.', '.5', '1e', '1e5',
      '1d5', '1j', 'True', '٣', '½', '∞', '−1', '\ufeff1', '\u200b1', '1\u00a0', '\x1b[2J', '\x07',
      '9' * 400, '9' * 100_000, '0' * 5000 + '1', '1' + '0' * 5000, 'x' * 1_000_000, '007', '1.10'))
  return text


def _odd_cells(r: random.Random) -> bytes:
  cells = _cells(r)
  for _ in range(r.choice((1, 1, 3, 24))):
    cells[r.randrange(len(cells))][r.randrange(3)] = _odd_cell(r)
  return _rows(cells, r.choice((',', ';', '\t'))).encode('utf-8', 'surrogatepass')


def _odd_names(r: random.Random) -> bytes:
  cells = _cells(r)
  cells[0] = [r.choice(('', 'f0', 'f0', '\x1b[31m', '\x1b]0;x\x07', '"a\nb"', 'x' * 100_000, '0',
                        '1',
                        '1.5', 'nan', 'Unnamed: 0', 'index', 'id', 'label', 'y', '../x', '%s%n',
                        '{0}', '\u202e', '\ufeff', '=1', "'", '`', '*', ':', 'x1_0', '__class__'))
              for _ in range(3)]
  return _rows(cells).encode()


def _encoded(r: random.Random) -> bytes:
  text = _rows([['größe', 'maß', 'x'], *_cells(r)[1:]])
  return r.choice((
      lambda: text.encode('utf-16'), lambda: text.encode('utf-16-le'),
      lambda: text.encode('latin-1'),
      lambda: text.encode('utf-32'), lambda: text.encode('utf-7'),
      lambda: b'\xff\xfe' + text.encode(),
      lambda: b'\xef\xbb\xbf' * 3 + text.encode(), lambda: text.encode().replace(b'.', b'\xc0\xae'),
      lambda: text.encode().replace(b',', b'\0', 3), lambda: text.encode().replace(b'\n', b'\0\n'),
      lambda: text.encode('cp037'), lambda: text.encode() + b'\x1a', lambda: b'\0' * 1000,
      lambda: text.replace('0.', '\ud8000.').encode('utf-8', 'surrogatepass')))()


def _broken(r: random.Random) -> bytes:
  """Quotes, ends of lines, ragged and empty rows."""
  cells, text = _cells(r), ''
  text = _rows(cells)
  return r.choice((
      text.replace('\n', '\r'), text.replace('\n', '\n\r'), text.replace('\n', '\n\n'),
      text.replace(',', ',,', 3), text.replace('0.', '"0.', 1), text.replace('0.', '"0.', 1) + '"',
      text.replace('\n', '\n"', 1), text.replace(',', '', 5), text.replace('\n', ',\n'),
      text.replace(',', ', '), text.replace(',', ' '), text.replace(',', ';', 9), '\n' * 1000,
      ',' * 1000, ',\n' * 1000, '"' * 9999, '"' * 10_000, 'f0\n', 'f0', 'f0,f1\n', '\n' + text,
      text + text, '#' + text, text.replace('\n', '\n#', 2), 'sep=;\n' + text, text[:-8],
      text.replace('\n', '\u2028'), text.replace('\n', '\x1e'), text.replace('\n', '\x85'), '1',
      '1\n2\n', '0\n' * N, 'a\n' * N, 'f\n' + '"a\n' * N, '{"a": 1}', '<html></html>',
      '%PDF-1.4', '[[1,2],[3,4]]')).encode()


def _long_cell(r: random.Random) -> bytes:
  return _rows([['a', 'b'], ['1', r.choice('1"x ') * r.choice((200_000, 30_000_000))],
                ['2', '3']]).encode()


def _many_columns(r: random.Random) -> bytes:
  d, n = 10**6, r.choice((2, 3, 5))
  head = r.choice((','.join(f'f{j}' for j in range(d)), ','.join(['f'] * d), ',' * (d - 1),
                   ','.join(map(str, range(d))), None))
  row = r.choice((','.join(['1.5'] * d), ','.join(map(str, range(d))), ',' * (d - 1)))
  return '\n'.join([*([head] if head is not None else []), *[row] * n, '']).encode()


def _many_rows(r: random.Random) -> bytes:
  n = 10**6
  return r.choice((lambda: 'f\n' + '1\n2\n' * (n // 2), lambda: 'f\n' + '\n'.join(map(str,
                                                                                      range(n))),
                   lambda: '\n' * n, lambda: 'f\n' + '\n'.join(f'k{i}' for i in range(n)),
                   lambda: ',' * 3 + '\n' + '1,2,3,4\n' * n))().encode()


def _csv(make):
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    specs = valid.FORMATS['csv'].write(folder, arrays)
    for role in r.sample(('x1', 'x2', 'y'), r.choice((1, 1, 2))):
      (folder / f'{role}.csv').write_bytes(make(r))
    (folder / 'all.csv').write_bytes(make(r))
    return specs | {'whole': r.choice(('.', 'all.csv'))}
  return write


def _gz_of(make):
  def write(folder, arrays, r, evil):
    specs = _csv(make)(folder, arrays, r, evil)
    for path in list(folder.glob('*.csv')):
      packed, crc, size = harm.bomb(0, path.read_bytes())
      (folder / f'{path.name}.gz').write_bytes(
          b'\x1f\x8b\x08\0\0\0\0\0\0\3' + packed + crc.to_bytes(4, 'little')
          + size.to_bytes(4, 'little'))
      path.unlink()
    return {role: spec.replace('.csv', '.csv.gz') for role, spec in specs.items()}
  return write


# -- parquet ---------------------------------------------------------------------------------------


def _parquet(make):
  """A table of pyarrow in place of one role, or of all."""
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    import pyarrow.parquet
    specs = valid.FORMATS['parquet'].write(folder, arrays)
    target = r.choice(('x1', 'x2', 'y', 'all', 'all'))
    table = make(valid.frame(arrays if target == 'all' else {target: arrays[target]}), r, evil)
    pyarrow.parquet.write_table(table, folder / f'{target}.parquet')
    return specs
  return write


def _arrow(frame):
  import pyarrow
  return pyarrow.Table.from_pandas(frame)


def _parquet_types(frame, r, evil):
  """Columns of lists, structs, times, decimals, bytes, nulls, dictionaries."""
  import datetime
  import decimal

  import pyarrow as pa
  column = r.choice((
      lambda: pa.array([[1.0, 2.0]] * N), lambda: pa.array([{'a': 1}] * N), lambda: pa.nulls(N),
      lambda: pa.array([datetime.datetime(2020, 1, 1)] * N), lambda: pa.array(['a', None] * 12),
      lambda: pa.array([decimal.Decimal('1.5')] * N), lambda: pa.array([b'\xff\0'] * N),
      lambda: pa.array(['\x1b[2J'] * N), lambda: pa.array([True, None] * 12),
      lambda: pa.array(['a', 'b'] * 12).dictionary_encode(), lambda: pa.array([2**64 - 1] * N,
                                                                              pa.uint64()),
      lambda: pa.array([[{'a': [1]}]] * N), lambda: pa.array([float('nan')] * N),
      lambda: pa.array([[]] * N, pa.list_(pa.float64())),
      lambda: pa.array([1.5] * N, pa.float32())))()
  table, column = _arrow(frame), column[:len(frame)]
  name = r.choice((table.column_names[0], 'x1_9', '', '\x1b', 'y', 'a\nb'))
  if name in table.column_names:
    return table.set_column(table.column_names.index(name), name, column)
  return table.append_column(name, column)


def _parquet_metadata(frame, r, evil):
  """What pandas wrote about its index, made to lie."""
  table = _arrow(frame)
  said = json.loads(table.schema.metadata[b'pandas'])
  change = r.choice((
      {'index_columns': ['nothing']}, {'index_columns': [{'kind': 'range', 'name': None, 'start': 0,
                                                          'stop': 2**40, 'step': 1}]},
      {'index_columns': [{'kind': 'range', 'name': None, 'start': 0, 'stop': 10, 'step': 0}]},
      {'index_columns': 7}, {'columns': []}, {'columns': [{'name': 'x'}]}, {'column_indexes': 3},
      {'index_columns': list(frame.columns)}, {'creator': None},
      {'columns': [dict(said['columns'][0], numpy_type='object', pandas_type='pickle')]}))
  text = r.choice((json.dumps(said | change), json.dumps(said | change), '{', '[' * 100_000, '',
                   'null'))
  return table.replace_schema_metadata({b'pandas': text.encode()})


def _parquet_extension(frame, r, evil):
  """A type whose metadata are a pickle, once loaded by pyarrow."""
  import pyarrow as pa
  table = _arrow(frame)
  field = pa.field('x1_0', table.column(0).type, metadata={
      b'ARROW:extension:name': r.choice((b'arrow.py_extension_type', b'pandas.period', b'evil')),
      b'ARROW:extension:metadata': evil.pickled(r)})
  return pa.Table.from_arrays(
      [table.column(0), *table.columns[1:]], schema=pa.schema([field, *list(table.schema)[1:]]))


def _parquet_twice(frame, r, evil):
  table = _arrow(frame)
  return table.rename_columns([table.column_names[0]] * table.num_columns)


def _parquet_wide(frame, r, evil):
  import pyarrow as pa
  return pa.table({f'x1_{j}': [1.0, 2.0] for j in range(20_000)})


@functools.cache
def _packed(names: tuple[str, ...], text: bool, groups: int) -> bytes:
  """Few bytes that say that one value comes 3 * 10^8 times, or long text 10^6 times."""
  import pyarrow as pa
  import pyarrow.parquet
  table = pa.table(dict.fromkeys(names, ['a' * 1000] * 10**5 if text else np.zeros(10**7)))
  out = io.BytesIO()
  with pyarrow.parquet.ParquetWriter(out, table.schema) as writer:
    for _ in range(groups):
      writer.write_table(table)
  return out.getvalue()


def _parquet_bomb(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
  specs = valid.FORMATS['parquet'].write(folder, arrays)
  role = r.choice(('x1', 'x2', 'y', 'all'))
  names = ('y', 'x1_0', 'x2_0') if role == 'all' else (f'{role}_0',)
  text = r.random() < 0.4
  (folder / f'{role}.parquet').write_bytes(_packed(names, text,
                                                   10 if text or role == 'all' else 30))
  return specs


CRAFTED = {
    'csv': {name: _csv(make) for name, make in (
        ('odd cells', _odd_cells), ('odd names', _odd_names), ('encodings', _encoded),
        ('broken lines', _broken), ('a cell without end', _long_cell),
        ('10^6 columns', _many_columns), ('10^6 rows', _many_rows))},
    'csv.gz': {name: _gz_of(make) for name, make in (
        ('odd cells', _odd_cells), ('encodings', _encoded), ('broken lines', _broken),
        ('10^6 columns', _many_columns))},
    'parquet': {**{name: _parquet(make) for name, make in (
        ('odd types', _parquet_types), ('metadata that lie', _parquet_metadata),
        ('pickle in an extension', _parquet_extension), ('one name', _parquet_twice),
        ('20,000 columns', _parquet_wide))}, 'bomb': _parquet_bomb}}
