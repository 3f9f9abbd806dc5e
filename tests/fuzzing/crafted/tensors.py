"""Hostile .safetensors and .pt files."""

import io
import json
import pathlib
import pickle
import random
import tarfile
import zipfile

from fuzzing import harm, valid
from fuzzing.harm import Harm
from fuzzing.valid import Arrays, Specs

_SPECS = {role: f'd.safetensors:{role}' for role in valid.ROLES} | {'whole': 'd.safetensors'}


def _put(folder: pathlib.Path, head: str, body: bytes, length: int | None = None) -> Specs:
  text = head.encode('utf-8', 'surrogatepass')
  count = len(text) if length is None else length
  (folder / 'd.safetensors').write_bytes(count.to_bytes(8, 'little') + text + body)
  return dict(_SPECS)


def _valid(folder: pathlib.Path, arrays: Arrays) -> tuple[dict, bytes]:
  valid.FORMATS['safetensors'].write(folder, arrays)
  data = (folder / 'd.safetensors').read_bytes()
  n = int.from_bytes(data[:8], 'little')
  return json.loads(data[8:8 + n]), data[8 + n:]


def _entry(folder, arrays, r: random.Random, evil: Harm) -> Specs:
  """A tensor that is not what it says."""
  head, body = _valid(folder, arrays)
  for _ in range(r.choice((1, 1, 2))):
    head[r.choice(('x1', 'x2', 'y'))][r.choice(('dtype', 'shape', 'data_offsets'))] = r.choice((
        'F64', 'F8_E4M3', 'I64', 'BOOL', 'C64', 'F4', 'O', '', None, 7, [2**40, 4], [2**63, 2**63],
        [24], [24, -4], [-24, -4], [24, 4.0], [True, 4], [], [0, 2**40], [[24, 4]], [0, 2**40],
        [0, 384], [384, 0], [-8, 376], [0, 10**30], [0, 383], [1, 385], {'a': 1}, [24,
                                                                                   4] + [1] * 60,
        [24, 4] * 20, 'x' * 100_000))
  return _put(folder, json.dumps(head), body)


def _head(folder, arrays, r, evil):
  """A header that is no header."""
  head, body = _valid(folder, arrays)
  text = json.dumps(head)
  return _put(folder, r.choice((
      '[' * 200_000, '{"a":' * 100_000, 'null', '[]', '3', '""', '{}', '', text[:-1],
      text + ' ' * 9,
      text + '{}', text.replace('}', ',}', 1), text.replace('x1', '\\ud800', 1),
      text.replace('x1', 'a\\nb', 1), text.replace('x1', '\\u001b[2J', 1),
      text.replace('x1', '../../outside/secret', 1), text.replace('x1', 'x2', 1),
      text.replace('"x1"', '"__metadata__"', 1), text.replace('384', 'NaN', 1),
      text.replace('384', '1e400', 1), text.replace('384', '9' * 5000, 1),
      '{"x1": ' + '9' * 100_000 + '}', '{"__metadata__": {"a": ' + '[' * 50_000 + '}}',
      "__import__('os').system('touch " + str(evil.mark) + "')")), body)


def _length(folder, arrays, r, evil):
  head, body = _valid(folder, arrays)
  return _put(folder, json.dumps(head), body,
              r.choice((0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1, len(body))))


def _many(folder, arrays, r, evil):
  head, body = _valid(folder, arrays)
  head |= {f'k{i}': {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]} for i in range(50_000)}
  specs = _put(folder, json.dumps(head), body)
  return specs | {'x1': r.choice(('d.safetensors', 'd.safetensors:*', 'd.safetensors:k*'))}


# -- torch -----------------------------------------------------------------------------------------


def _pt(folder: pathlib.Path, data: bytes) -> Specs:
  (folder / 'd.pt').write_bytes(data)
  return {role: f'd.pt:{role}' for role in valid.ROLES} | {'whole': 'd.pt'}


def _zipped(members: dict[str, bytes]) -> bytes:
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w') as file:
    for name, data in members.items():
      file.writestr(name, data)
  return out.getvalue()


def _pickle(folder, arrays, r, evil):
  """Every place where torch, or what came before it, keeps a pickle."""
  bad = evil.pickled(r)
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w') as file:
    for name in ('pickle', 'tensors', 'storages'):
      info = tarfile.TarInfo(name)
      info.size = len(bad)
      file.addfile(info, io.BytesIO(bad))
  legacy = b''.join(pickle.dumps(part, 2) for part in (
      0x1950A86A20F9469CFC6C, 1001, {'little_endian': True})) + bad
  return _pt(folder, r.choice((
      bad, legacy, out.getvalue(), _zipped({'d/data.pkl': bad, 'd/version': b'3\n'}),
      _zipped({'d/data.pkl': bad, 'd/version': b'3\n', 'd/constants.pkl': bad, 'd/code/x.py': b''}),
      _zipped({'data.pkl': bad, 'byteorder': b'little', '../x': bad}))))


def _pt_bomb(folder, arrays, r, evil):
  packed, crc, size = harm.bomb(8192, sum_right=False)
  return _pt(folder, harm.zip_entry(b'd/data.pkl', packed, crc, size,
                                    claimed=r.choice((None, 100))))


CRAFTED = {
    'safetensors': {'entries that lie': _entry, 'hostile header': _head,
                    'length of the header': _length, '50,000 tensors': _many},
    'pt': {'pickles': _pickle, 'bomb': _pt_bomb}}
