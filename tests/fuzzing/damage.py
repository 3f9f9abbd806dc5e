"""Bytes made wrong, whatever they are: cut, flipped, repeated, other numbers where numbers were."""

from collections.abc import Callable
import gzip
import io
import random
import re
import struct
import tarfile
import zipfile

_EXTREMES = [struct.pack(form, value) for form, value in (
    ('<q', 2**40), ('>q', 2**40), ('<q', 2**63 - 1), ('<q', -1), ('<i', 2**31 - 1), ('<i', -2**31),
    ('>i', 2**31 - 1), ('<I', 2**32 - 1), ('<Q', 2**64 - 1), ('<q', 0), ('<H', 65535), ('<q',
                                                                                        2**32),
    ('<d', float('nan')), ('<d', 1e308), ('<f', float('inf')))]
_NUMBERS = ('1099511627776', '18446744073709551616', '-1', '0', '9' * 400, '1e400', '0x10', '1_0',
            'nan', '-inf', '', '٣', '007', '1,5', '--', '1' * 5000, 'True', '1/3', '12:30', '5%')


def _cut(data: bytes, r: random.Random) -> bytes:
  return data[:r.randrange(len(data) + 1)]


def _cut_end(data: bytes, r: random.Random) -> bytes:
  return data[:max(len(data) - r.choice((1, 2, 7, 8, 16, 100)), 0)]


def _cut_start(data: bytes, r: random.Random) -> bytes:
  return data[r.randrange(1, min(len(data), 64) + 1):] if data else data


def _cut_middle(data: bytes, r: random.Random) -> bytes:
  a = r.randrange(len(data) + 1)
  return data[:a] + data[a + r.choice((1, 3, 8, 64, 512)):]


def _flip(data: bytes, r: random.Random, within: int | None = None) -> bytes:
  found = bytearray(data)
  for _ in range(r.choice((1, 1, 2, 4, 16)) if found else 0):
    found[r.randrange(min(len(found), within or len(found)))] ^= 1 << r.randrange(8)
  return bytes(found)


def _flip_head(data: bytes, r: random.Random) -> bytes:
  return _flip(data, r, 200)


def _overwrite(data: bytes, r: random.Random, within: int | None = None) -> bytes:
  new = r.choice(_EXTREMES)
  at = r.randrange(max(min(len(data), within or len(data)) - len(new), 0) + 1)
  return data[:at] + new + data[at + len(new):]


def _overwrite_head(data: bytes, r: random.Random) -> bytes:
  return _overwrite(data, r, 400)


def _noise(data: bytes, r: random.Random) -> bytes:
  at, n = r.randrange(len(data) + 1), r.choice((1, 4, 40, 400))
  return data[:at] + r.randbytes(n) + data[at + n * r.randrange(2):]


def _zeros(data: bytes, r: random.Random) -> bytes:
  at, n = r.randrange(len(data) + 1), r.choice((4, 40, 400, 4000))
  return data[:at] + bytes(min(n, len(data) - at)) + data[at + n:]


def _repeat(data: bytes, r: random.Random) -> bytes:
  a, b = sorted((r.randrange(len(data) + 1), r.randrange(len(data) + 1)))
  return data[:b] + data[a:b] * r.choice((1, 2, 10)) + data[b:]


def _swap(data: bytes, r: random.Random) -> bytes:
  a, b, c = sorted(r.randrange(len(data) + 1) for _ in range(3))
  return data[:a] + data[b:c] + data[a:b] + data[c:]


def _append(data: bytes, r: random.Random) -> bytes:
  return data + r.choice((b'\0', b'\n', r.randbytes(100), data, b'PK\5\6' + bytes(18)))


def _number(data: bytes, r: random.Random) -> bytes:
  """Another number, or what looks like one, in place of digits."""
  found = list(re.finditer(rb'[0-9]+(\.[0-9]+)?', data[:200_000]))
  if not found:
    return _overwrite(data, r)
  at = r.choice(found)
  return data[:at.start()] + r.choice(_NUMBERS).encode() + data[at.end():]


def _word(data: bytes, r: random.Random) -> bytes:
  """Another word of the same file in place of a word."""
  found = list(re.finditer(rb'[A-Za-z_]{2,}', data[:200_000]))
  if len(found) < 2:
    return _swap(data, r)
  a, b = r.choice(found), r.choice(found)
  return data[:a.start()] + b[0] + data[a.end():]


def _empty(data: bytes, r: random.Random) -> bytes:
  return b''


def _random(data: bytes, r: random.Random) -> bytes:
  return r.randbytes(r.choice((1, 10, 1000, 100_000)))


def _head_only(data: bytes, r: random.Random) -> bytes:
  return data[:r.choice((4, 6, 8, 10, 128, 512))] + r.randbytes(r.choice((0, 200)))


def _gzipped(data: bytes, r: random.Random) -> bytes:
  return gzip.compress(gzip.compress(data, 1), 1) if r.random() < 0.5 else gzip.compress(data, 1)


def _zipped(data: bytes, r: random.Random) -> bytes:
  """A zip in a zip in a zip."""
  for name in ('x1.npy', 'x1.npz', 'd.zip'):
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w') as file:
      file.writestr(name, data)
    data = out.getvalue()
    if r.random() < 0.3:
      break
  return data


def _tarred(data: bytes, r: random.Random) -> bytes:
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w') as file:
    info = tarfile.TarInfo('../../outside/x1.npy')
    info.size = len(data)
    file.addfile(info, io.BytesIO(data))
  return out.getvalue()


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    'cut': _cut, 'cut end': _cut_end, 'cut start': _cut_start, 'cut middle': _cut_middle,
    'bits flipped': _flip, 'bits flipped in head': _flip_head, 'extreme number': _overwrite,
    'extreme number in head': _overwrite_head, 'noise': _noise, 'zeros': _zeros,
    'repeated': _repeat, 'swapped': _swap, 'appended': _append, 'other digits': _number,
    'other word': _word, 'empty': _empty, 'random': _random, 'head only': _head_only,
    'gzip in gzip': _gzipped, 'archive in archive': _zipped, 'tar with ..': _tarred}
