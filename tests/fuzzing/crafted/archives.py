"""Hostile .npy, .npz and .gz files."""

from collections.abc import Callable
import io
import pathlib
import pickle
import random
import struct
import warnings
import zipfile

import numpy as np

from fuzzing import harm, valid
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs


def npy(head: str | bytes, body: bytes = b'', version: tuple[int, int] = (1, 0),
        length: int | None = None) -> bytes:
  """An .npy file with this text for a header."""
  text = head.encode() if isinstance(head, str) else head
  form = '<H' if version == (1, 0) else '<I'
  count = len(text) if length is None else length
  return b'\x93NUMPY' + bytes(version) + struct.pack(form, count & (
      0xFFFF if form == '<H' else 0xFFFFFFFF)) + text + body


def _head(shape='(24, 4)', descr="'<f4'", order='False', more='') -> str:
  return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{more}}}\n"


_SHAPES = ('(1099511627776,)', '(1099511627776, 1099511627776)', '(24, 1099511627776)', '(-1, 4)',
           '(24, -4)', '(-24, -4)', '(24.0, 4)', '24', '()', '(0,)', '(True, 4)', "('24', 4)",
           '[24, 4]', '(24, 4' + ', 1' * 40 + ')', '(' * 5000 + ')' * 5000, '(24, ' + '9' * 5000
           + ')', '(0, 1099511627776)', '(2**40, 4)', '(24, 4)' + '[0:]' * 3000, '{}', 'None')
_TYPES = ("'|O'", "[('a', '<f4'), ('b', '|O')]", "[('', '<f4')]", "'<f4, <f8'", "'<f999999'",
          "'<U1000000000'", "'|S0'", "'|V8'", "'<M8[s]'", "'<c16'", "'|b1'", "'<g'", "'<f2'",
          "('<f4', (1099511627776,))", "'O4'", "'object'", "'numpy.ndarray'", "{'names': ['a'], "
          "'formats': ['O']}", "[('a', '|O', (3,))]", "''", "'\\x00'", "3", "'<V2'", "'|V1'")


def _npy_file(make: Callable[[random.Random, Harm], bytes]):
  def write(folder: pathlib.Path, arrays: Arrays, r: random.Random, evil: Harm) -> Specs:
    specs = valid.FORMATS['npy'].write(folder, arrays)
    (folder / f'{r.choice(("x1", "x2", "y"))}.npy').write_bytes(make(r, evil))
    return specs
  return write


def _body(r: random.Random) -> bytes:
  return np.random.default_rng(r.randrange(9)).normal(size=96).astype(np.float32).tobytes()


def _shape(r, evil):
  return npy(_head(r.choice(_SHAPES), order=r.choice(('False', 'True'))), _body(r))


def _dtype(r, evil):
  return npy(_head(descr=r.choice(_TYPES)), r.choice((_body(r), evil.pickled(r))))


def _object(r, evil):
  """Object arrays: their body is a pickle."""
  body = r.choice((evil.pickled(r), pickle.dumps(np.zeros((24, 4)).astype(object), protocol=4)))
  return npy(_head(descr="'|O'"), body, r.choice(((1, 0), (2, 0), (3, 0))))


def _raw_pickle(r, evil):
  return evil.pickled(r)


def _program(r, evil):
  """Python in the header."""
  call = f"__import__('os').system('touch {evil.mark}')"
  return npy(r.choice((call, _head(call), _head(descr=call), _head(order=call), 'lambda: ' + call,
                       _head(more=f", 'x': {call}"), f'[{call} for _ in (1,)]')), _body(r))


def _length(r, evil):
  return npy(_head(), _body(r), r.choice(((1, 0), (2, 0), (3, 0), (4, 0), (0, 0), (255, 255))),
             length=r.choice((0, 1, 65535, 2**32 - 1, 2**31)))


def _long_head(r, evil):
  text = r.choice((_head() + ' ' * 20_000, ' ' * 60_000 + _head(), '(' * 60_000, '[' * 9000,
                   '-' * 50_000 + '1', "'" + 'a' * 60_000, '1' + '+1' * 20_000, '\0' * 100))
  return npy(text, _body(r), (2, 0))


def _npz(folder: pathlib.Path, members: list[tuple[str, bytes]], packed: bool = False) -> Specs:
  with warnings.catch_warnings(), zipfile.ZipFile(folder / 'd.npz', 'w', (
      zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)) as file:
    warnings.simplefilter('ignore')  # of names that occur twice
    for name, data in members:
      file.writestr(name, data)
  return {role: f'd.npz:{role}' for role in valid.ROLES} | {'whole': 'd.npz'}


def _members(arrays: Arrays, without: str = '') -> list[tuple[str, bytes]]:
  return [(f'{role}.npy', valid.header(a)) for role, a in arrays.items() if role != without]


def _npz_member(folder, arrays, r, evil):
  """Any of the hostile .npy files as a member."""
  make = r.choice((_shape, _dtype, _object, _raw_pickle, _program, _length, _long_head))
  role = r.choice(('x1', 'x2', 'y'))
  return _npz(folder, [*_members(arrays, role), (f'{role}.npy', make(r, evil))], r.random() < 0.5)


def _npz_names(folder, arrays, r, evil):
  names = ['../../outside/secret.npy', '/etc/x1.npy', 'x1.npy', 'x1', 'a\nb.npy', '\x1b[2J.npy',
           '.npy', '..npy', 'x1.npy/', 'C:\\x1.npy', 'x' * 60_000 + '.npy', 'é\u202e.npy', '*.npy',
           'x1:0.npy', 'x[1].npy', '-x.npy', 'x1.npz', 'x1.pkl']
  more = [(r.choice(names), r.choice((valid.header(arrays['x1']), evil.pickled(r))))
          for _ in range(r.choice((1, 1, 2, 5)))]
  specs = _npz(folder, [*_members(arrays), *more])
  if r.random() < 0.5:
    specs['x1'] = f'd.npz:{more[0][0].removesuffix(".npy")}'.replace('\0', '')
  return specs if r.random() < 0.8 else specs | {'x1': 'd.npz'}


def _npz_nested(folder, arrays, r, evil):
  inner = io.BytesIO()
  np.savez(inner, x1=arrays['x1'])
  return _npz(folder, [*_members(arrays, 'x1'), (r.choice(('x1.npz', 'x1.npy', 'x1.npy.gz', 'x1')),
                                                 inner.getvalue())])


def _npz_many(folder, arrays, r, evil):
  return _npz(folder, [*_members(arrays), *((f'k{i}.npy', b'') for i in range(20_000))])


def _npz_bomb(folder, arrays, r, evil):
  """A member of up to 8 GiB of zeros, whose archive may claim that it is small."""
  mebibytes = r.choice((300, 600, 8192))
  head = npy(_head(f'({mebibytes * 2**18 // 4}, 4)'))
  packed, crc, size = harm.bomb(mebibytes, head, sum_right=False)
  (folder / 'd.npz').write_bytes(harm.zip_entry(
      b'x1.npy', packed, crc, size, claimed=r.choice((None, 480, 0, 2**31))))
  specs = valid.FORMATS['npy'].write(folder, {k: a for k, a in arrays.items() if k != 'x1'})
  return specs | {'x1': r.choice(('d.npz', 'd.npz:x1')), 'whole': 'd.npz'}


def _npz_flags(folder, arrays, r, evil):
  """Encrypted, of another method, or with sizes that lie."""
  data = valid.header(arrays['x1'])
  (folder / 'd.npz').write_bytes(harm.zip_entry(
      b'x1.npy', data, 0, len(data), flags=r.choice((0, 1, 8, 0x800, 0x2041)),
      method=r.choice((0, 8, 9, 12, 14, 99)), claimed=r.choice((None, 0, 2**32 - 1, 10**6))))
  specs = valid.FORMATS['npy'].write(folder, {k: a for k, a in arrays.items() if k != 'x1'})
  return specs | {'x1': r.choice(('d.npz', 'd.npz:x1')), 'whole': 'd.npz'}


def _npz_other_packing(folder, arrays, r, evil):
  with zipfile.ZipFile(folder / 'd.npz', 'w', r.choice((12, 14))) as file:
    for name, data in _members(arrays):
      file.writestr(name, data)
  return {role: f'd.npz:{role}' for role in valid.ROLES} | {'whole': 'd.npz'}


def _npz_large(folder, arrays, r, evil):
  """More zeros than are read, in a small file: time and memory."""
  n = r.choice((2**16, 2**20))
  x = np.zeros((n, 2**26 // n), np.float32)
  x[::2, 0] = 1
  np.savez_compressed(folder / 'd.npz', x1=x, x2=x[:, ::-1], y=np.arange(n) % 3)
  return {role: f'd.npz:{role}' for role in valid.ROLES} | {'whole': 'd.npz'}


# -- sparse ----------------------------------------------------------------------------------------


def sparse_parts(r: random.Random, n: int = 24, d: int = 4) -> dict[str, np.ndarray]:
  """Parts of a csr matrix, one of them wrong."""
  indptr, indices = np.arange(n + 1, dtype=np.int32), np.arange(n, dtype=np.int32) % d
  parts = {'indices': indices, 'indptr': indptr, 'data': np.ones(n, np.float32),
           'shape': np.array([n, d])}
  for _ in range(r.choice((1, 1, 2))):
    name, wrong = r.choice([
        ('indices', indices + r.choice((-5, 1, 1000, 2**30))), ('indices', indices[:-3]),
        ('indices', indices.astype(float)), ('indices', indices.astype(np.int64) * 2**40),
        ('indptr', indptr[::-1].copy()), ('indptr', indptr * 1000), ('indptr', indptr - 3),
        ('indptr', indptr[:-1]), ('indptr', indptr.astype(np.uint64) + 2**63),
        ('indptr', r.sample(indptr.tolist(), n + 1)), ('data', np.ones(3, np.float32)),
        ('data', np.array(['a'] * n)), ('data', np.full(n, np.nan)), ('data', np.ones((n, 2))),
        ('data', np.ones(n, complex)), ('shape', np.array([2**40, d])), ('shape', np.array([n])),
        ('shape', np.array([n, 2**40])), ('shape', np.array([-1, d])), ('shape', np.array([0, 0])),
        ('shape', np.array([n, d, 2])), ('shape', np.array(['a', 'b'])),
        ('shape', np.array([n + .5, d])), ('shape', np.array([2**31, 2**31])),
        ('shape', np.array([2**62, 4]))])
    parts[name] = np.asarray(wrong)
  return parts


def _npz_sparse(folder, arrays, r, evil):
  form = r.choice(('csr', 'csr', 'csc', 'bsr', 'dia', 'coo', 'lil', 'evil', '\n', 'CSR'))
  specs = valid.FORMATS['npy'].write(folder, arrays)
  parts = sparse_parts(r)
  if form == 'coo':
    parts = {'row': parts['indptr'][:-1], 'col': parts['indices'], 'data': parts['data'],
             'shape': parts['shape']}
  if form == 'dia':
    parts = {'offsets': parts['indices'], 'data': np.atleast_2d(parts['data']),
             'shape': parts['shape']}
  np.savez(folder / 'x1.npz', format=np.array(form.encode()), **parts)
  return specs | {'x1': 'x1.npz'}


# -- gz --------------------------------------------------------------------------------------------


def _gz_bomb(folder, arrays, r, evil):
  suffix = r.choice(('.npy', '.csv', '.tsv', '.h5', '.mat', '.safetensors', '.npz', '.h5ad', '.pt',
                     '.parquet'))
  head, fill = {'.npy': (npy(_head('(536870912, 4)')), b'\0'), '.csv': (b'a,b\n',
                                                                        b'1.5,2.5\n')}.get(
      suffix, (b'', b'\0'))
  (folder / f'x1{suffix}.gz').write_bytes(harm.gzip_bomb(r.choice((200, 300, 8192)), head, fill))
  specs = valid.FORMATS['npy'].write(folder, arrays)
  return specs | {'x1': f'x1{suffix}.gz', 'whole': f'x1{suffix}.gz'}


def _gz_name(folder, arrays, r, evil):
  """A gzip header that names a file, a comment, and more than one member."""
  packed, crc, size = harm.bomb(0, valid.header(arrays['x1']))
  one = (b'\x1f\x8b\x08\x18' + bytes(6) + b'../../outside/secret.npy\0' + b'\x1b[2J\0' + packed
         + struct.pack('<II', crc, size))
  (folder / 'x1.npy.gz').write_bytes(one * r.choice((1, 2)) + r.choice((b'', b'\0' * 9, b'x')))
  return valid.FORMATS['npy'].write(folder, arrays) | {'x1': 'x1.npy.gz'}


def _gz_again(folder, arrays, r, evil):
  """.npy.gz.gz, and a .gz of nothing known."""
  name = r.choice(('x1.npy.gz.gz', 'x1.gz', '.gz', 'x1.zip.gz', 'x1.tar.gz'))
  (folder / name).write_bytes(harm.gzip_bomb(0, valid.header(arrays['x1'])))
  return valid.FORMATS['npy'].write(folder, arrays) | {'x1': name, 'whole': name}


CRAFTED = {
    'npy': {name: _npy_file(make) for name, make in (
        ('shape that lies', _shape), ('hostile dtype', _dtype), ('pickled objects', _object),
        ('a pickle', _raw_pickle), ('program in the header', _program),
        ('length of the header', _length), ('endless header', _long_head))},
    'npz': {'hostile member': _npz_member, 'hostile names': _npz_names, 'nested': _npz_nested,
            'flags and sizes that lie': _npz_flags, '20,000 members': _npz_many},
    'npz packed': {'bomb': _npz_bomb, 'bz2 and lzma': _npz_other_packing, 'large': _npz_large},
    'npz sparse': {'parts that lie': _npz_sparse},
    'npy.gz': {'bomb': _gz_bomb, 'names in the header': _gz_name, 'gz of gz': _gz_again}}
