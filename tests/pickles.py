"""Pickles as MultiBench publishes them, as Python 2 wrote them, and as nobody should write them."""

import pickle
import struct

import numpy as np

N = {'train': 30, 'valid': 12, 'test': 18}
T, WIDTHS = 6, {'vision': 4, 'audio': 3, 'text': 5}


def published(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
  """Sequences [N, T, F] f32 padded with zeros at the front, labels [N, 1, 1], ids [N, 3] bytes."""
  g = np.random.default_rng(seed)
  found = {}
  for part, n in N.items():
    y = np.round(3 * g.uniform(-1, 1, n), 1)
    first = g.integers(0, T - 1, n)
    made = {}
    for name, f in WIDTHS.items():
      x = (y[:, None, None] + g.normal(size=(n, T, f)) + 5).astype(np.float32)
      made[name] = np.where((np.arange(T) < first[:, None])[:, :, None], np.float32(0), x)
    made['labels'] = y.reshape(n, 1, 1)
    made['id'] = np.array([[f'v{part}{i // 3}', '0.5', '1.5'] for i in range(n)]).astype('S')
    found[part] = made
  return found


# -- Python 2 --------------------------------------------------------------------------------------


def python_2(value) -> bytes:
  """Dicts, lists, str and arrays as protocol 2 of Python 2 writes them: all text is bytes."""
  return b'\x80\x02' + _python_2(value) + b'.'


def _python_2(value) -> bytes:
  if isinstance(value, dict):
    return b'}(' + b''.join(_python_2(part) for item in value.items() for part in item) + b'u'
  if isinstance(value, list):
    return b'](' + b''.join(map(_python_2, value)) + b'e'
  if isinstance(value, tuple):
    return b'(' + b''.join(map(_python_2, value)) + b't'
  if isinstance(value, (str, bytes)):
    data = value.encode('utf-8') if isinstance(value, str) else value
    return (b'U' + bytes([len(data)]) if len(data) < 256 else b'T' + struct.pack('<i', len(data))
            ) + data
  if isinstance(value, int):
    return b'J' + struct.pack('<i', value)
  if isinstance(value, float):
    return b'G' + struct.pack('>d', value)
  kind = value.dtype
  order = {'=': '<'}.get(kind.byteorder, kind.byteorder)
  size = kind.itemsize if kind.kind == 'S' else -1
  return b''.join([
      b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n', _python_2((0,)),
      _python_2('b'), b'\x87R', b'(', _python_2(1), _python_2(value.shape),
      b'cnumpy\ndtype\n', _python_2(kind.str[1:]), _python_2(0), _python_2(1), b'\x87R',
      b'(', _python_2(3), _python_2(order), b'NNN', _python_2(size),
      _python_2(size // kind.itemsize), _python_2(0), b'tb\x89', _python_2(value.tobytes()), b'tb'])


# -- hostile ---------------------------------------------------------------------------------------


HARMLESS = {'shape 2^40 of nothing', 'memory of a place'}  # an array and a list without a number


class Called:
  """Calls a function when it is loaded."""

  def __init__(self, function, *arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


_BEGUN = b'cnumpy.core.multiarray\n_reconstruct\n'


def array(shape: bytes = b'K\x02\x85', code: bytes = b'U\x02f8', data: bytes = b'U\x10' + bytes(16),
          state: bytes = b'(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb') -> bytes:
  """Opcodes of an array, whose parts may lie."""
  return (_BEGUN + b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01' + shape
          + b'cnumpy\ndtype\n' + code + b'K\x00K\x01\x87R' + state + b'\x89' + data + b'tb')


def _big(number: int) -> bytes:
  """A whole number of any size."""
  data = number.to_bytes(number.bit_length() // 8 + 1, 'little')
  return b'\x8a' + bytes([len(data)]) + data


def hostile(mark: str) -> dict[str, tuple[bytes, str]]:
  """(file, words of the refusal) by what is wrong; running one of them would make `mark`."""
  import builtins
  import os
  import subprocess
  program = f'open({mark!r}, "w").close()'
  calls = {'os.system': Called(os.system, f'touch {mark}'), 'exec': Called(builtins.exec, program),
           'eval': Called(builtins.eval, program), 'open': Called(open, mark, 'w'),
           'getattr': Called(getattr, 1, 'real'),
           'import': Called(__import__, 'antigravity'),
           'Popen': Called(subprocess.Popen, ['touch', mark])}
  wanted = {'os.system': "posix.system'", 'exec': "builtins.exec'", 'eval': "builtins.eval'",
            'open': "open'", 'getattr': "builtins.getattr'", 'import': "builtins.__import__'",
            'Popen': "Popen'"}
  found = {f'{name} in protocol {p}': (
      pickle.dumps({'train': {'vision': call}, 'test': {}}, p),
      wanted[name].replace('builtins', '__builtin__') if p < 3 and name not in ('open',) else
      wanted[name]) for name, call in calls.items() for p in (0, 2, 5)}
  objects = np.empty(2, object)
  objects[:] = [Called(os.system, f'touch {mark}'), 1]
  two = b'\x80\x02'
  deep = 50_000
  laugh = b']' + b''.join(b'q' + bytes([i]) + b'0](' + (b'h' + bytes([i])) * 10 + b'e'
                          for i in range(30))
  return found | {
      'objects with a call': (pickle.dumps({'x1': objects}), "asks for 'posix.system'"),
      'instance': (b'(S"x"\nios\nsystem\n.', "asks for 'os.system'"),
      'known instance': (b'(icollections\nOrderedDict\n.', 'an instance of a class'),
      'obj': (two + b'(cnumpy\nndarray\no.', 'an instance of a class'),
      'new': (two + b'cnumpy\nndarray\n)\x81.', 'an instance of a class'),
      'new with names': (b'\x80\x04cnumpy\nndarray\n)}\x92.', 'an instance of a class'),
      'persistent id': (b'Phttp://x\n.', 'an object elsewhere'),
      'binary persistent id': (two + b'K\x01Q.', 'an object elsewhere'),
      'extension 1': (two + b'\x82\x01.', 'a registered object'),
      'extension 2': (two + b'\x83\x01\x00.', 'a registered object'),
      'extension 4': (two + b'\x84\x01\x00\x00\x00.', 'a registered object'),
      'buffer outside': (b'\x80\x05\x97.', 'a buffer outside the file'),
      'read-only buffer': (b'\x80\x05\x97\x98.', 'a buffer outside the file'),
      'set': (pickle.dumps({'a': {1, 2}}, 4), 'a set'),
      'state of a dict': (two + b'}}U\x01aK\x01sb.', 'it sets the state'),
      'state of a name': (two + b'cnumpy\nndarray\n}b.', 'it sets the state'),
      'calls a list': (two + b'])R.', 'no function'),
      'calls a class': (two + b'cnumpy\nndarray\n)R.', 'no function'),
      'name through a stack': (b'\x80\x04\x8c\x02os\x8c\x06system\x93.', "asks for 'os.system'"),
      'dotted name': (b'\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.',
                      "asks for 'numpy.dtype.__init__'"),
      'name with lines': (b'\x80\x04\x8c\x03a\nb\x8c\x03c\x1bd\x93.', r"asks for 'a\nb.c\x1bd'"),
      'long name': (b'c' + b'a' * 10_000 + b'\nb\n.', 'asks for'),
      'numpy load': (b'cnumpy\nload\n(S"x"\ntR.', "asks for 'numpy.load'"),
      'numpy eval': (b'cnumpy.testing._private.utils\nruncode\n.', 'asks for'),
      'torch': (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n.', 'torch._utils'),
      'memory of a place': (two + b']r\xff\xff\xff\xff.', 'no arrays'),
      'memory of places': (two + b'N' + b''.join(b'r' + struct.pack('<I', 2**31 + i)
                                                   for i in range(1000)) + b'.', 'no arrays'),
      'no such place': (two + b'h\x07.', 'nothing was put aside'),
      'length of 2^60': (b'\x80\x04\x8e' + struct.pack('<Q', 2**60) + b'.', 'cut off'),
      'text of 2^60': (b'\x80\x04\x8d' + struct.pack('<Q', 2**60) + b'.', 'cut off'),
      'array of 2^60': (b'\x80\x05\x96' + struct.pack('<Q', 2**60) + b'.', 'cut off'),
      'frame of 2^60': (b'\x80\x04\x95' + struct.pack('<Q', 2**60) + b'N.', 'a frame claims'),
      'negative length': (two + b'T\xff\xff\xff\xff.', 'cut off'),
      'negative long': (two + b'\x8b\xff\xff\xff\xff.', 'a whole number of'),
      'long of 2 MB': (two + b'\x8b' + struct.pack('<i', 2**21) + b'\x01' * 2**21 + b'.',
                       'a whole number of'),
      'digits': (b'L' + b'9' * 2**20 + b'L\n.', 'more than 24 digits'),
      'a float of digits': (b'F' + b'9' * 2**20 + b'\n.', 'more than 64 digits'),
      'a line without end': (b'V' + b'a' * 2**26, 'a line that does not end'),
      'shape 2^40': (two + array(shape=_big(2**40) + b'\x85') + b'.', 'claims'),
      'shape overflows': (two + array(shape=_big(2**62) * 2 + b'\x86') + b'.', 'larger than any'),
      'negative shape': (two + array(shape=b'J\xff\xff\xff\xff\x85') + b'.', 'negative axis'),
      'shape of text': (two + array(shape=b'U\x01a\x85') + b'.', 'NumPy did not write'),
      'shape of truths': (two + array(shape=b'\x88\x85') + b'.', 'NumPy did not write'),
      'shape 2^40 of nothing': (two + array(shape=b'K\x00' + _big(2**40) + b'\x86', data=b'U\x00')
                                + b'.', ''),
      'data that are short': (two + array(data=b'U\x0f' + bytes(15)) + b'.', 'claims'),
      'data that are a list': (two + array(data=b']') + b'.', 'not bytes'),
      'objects': (two + array(code=b'U\x01O', state=b'(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff'
                              b'\xffK?tb', data=b'](K\x01K\x02e') + b'.', 'an array of objects'),
      'objects of bytes': (two + array(code=b'U\x02O8') + b'.', 'an array of objects'),
      'records': (two + array(code=b'U\x02V8') + b'.', "the type 'V8'"),
      'fields': (two + array(state=b'(K\x03U\x01<N)}K\x08K\x08K\x00tb') + b'.',
                 'a type with fields'),
      'dates': (two + array(code=b'U\x02M8') + b'.', "the type 'M8'"),
      'a type of commas': (two + array(code=b'U\x05f8,f8') + b'.', "the type 'f8,f8'"),
      'a type of 2^40': (two + array(code=b'U\x0eS1099511627776') + b'.', 'the type'),
      'filled twice': (two + array() + b'(K\x01K\x02\x85N\x89U\x00tb.',
                       'an array that is filled twice'),
      'never filled': (two + _BEGUN + b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R.', 'never filled'),
      'array of a type': (two + _BEGUN + b'cnumpy\ndtype\nK\x00\x85U\x01b\x87R.',
                          'not of numpy.ndarray'),
      'a number of 2 bytes': (two + b'cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02f8K\x00'
                              b'K\x01\x87RU\x02ab\x86R.', 'a number that NumPy'),
      'another encoding': (two + b'c_codecs\nencode\nX\x01\x00\x00\x00aU\x03zip\x86R.',
                           'in latin-1'),
      'bytes of a number': (two + b'c__builtin__\nbytes\n' + _big(2**40) + b'\x85R.', 'made from'),
      'deep lists': (two + b']' * deep + b'a' * (deep - 1) + b'.', 'within each other'),
      'deep tuples': (two + b')' + b'\x85' * deep + b'.', 'within each other'),
      'deep dicts': (two + b'}U\x01a' * deep + b'N' + b's' * deep + b'.', 'within each other'),
      'a list in itself': (two + b']q\x00h\x00a.', 'within each other'),
      'a dict in itself': (two + b'}q\x00U\x01ah\x00s.', 'within each other'),
      'ten to the thirty': (two + laugh + b'.', ''),
      'wide and deep': (two + b'](' + b'K\x01' * 5000 + b'eq\x00' + b''.join(
          b'0](' + (b'h' + bytes([i])) * 5000 + b'eq' + bytes([i + 1]) for i in range(3)) + b'.',
          ''),
      'a key of a tuple': (two + b'})N s.'.replace(b' ', b''), 'where a name is needed'),
      'a key of a list': (two + b'}]Ns.', 'where a name is needed'),
      'a key of a deep tuple': (two + b'})' + b'\x85' * deep + b'Ns.', 'where a name is needed'),
      'a key of many bytes': (two + b'}X' + struct.pack('<I', 10**5) + b'a' * 10**5 + b'Ns.',
                              'where a name is needed'),
      'steps without end': (two + b'N' * (21 * 10**5) + b'.', 'steps'),
      'marks without end': (two + b'(' * (21 * 10**5) + b'.', 'steps'),
      'text of many rows': (two + b'X' + struct.pack('<I', 4000) + b'a' * 4000 + b'q\x000](' +
                            b'h\x00' * (2 * 10**5) + b'e.', ''),
      'one array many times': (two + array(shape=b'J' + struct.pack('<i', 2**17) + b'\x85',
                                           data=b'T' + struct.pack('<i', 2**20) + bytes(2**20))
                               + b'q\x000](' + b'h\x00' * (2 * 10**5) + b'e.', ''),
      'a mark is missing': (two + b't.', 'a mark is missing'),
      'a value is missing': (two + b'a.', 'damaged'),
      'appends to a dict': (two + b'}K\x01a.', 'a list is missing'),
      'two at the end': (two + b'NN.', 'before it is whole'),
      'cut off': (pickle.dumps(np.arange(5.0))[:-20], ''),
      'more after it': (pickle.dumps([1]) * 2, 'more after the end'),
      'empty': (b'', 'cut off'), 'no pickle': (b'\xff\xd8\xff', 'no opcode'),
      'protocol 9': (b'\x80\x09N.', 'protocol 9'), 'nothing': (pickle.dumps(None), 'no arrays'),
      'numbers of 80 bits': (pickle.dumps([2**70]), 'beyond 64 bits')}
