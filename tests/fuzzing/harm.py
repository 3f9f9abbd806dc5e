"""What a hostile file refers to: a canary that marks that code ran, files that nobody may open."""

import builtins
import functools
import os
import pathlib
import pickle
import random
import struct
import subprocess
from typing import NamedTuple
import zlib

import numpy as np


class Harm(NamedTuple):
  """outside: a folder that nobody asked for; mark: a file that is made if code of a file is run."""
  outside: pathlib.Path
  mark: pathlib.Path

  def pickled(self, r: random.Random) -> bytes:
    """A pickle that makes `mark` when it is loaded."""
    program = f'open({str(self.mark)!r}, "w").close()'
    call = r.choice([(os.system, (f'touch {self.mark}',)), (builtins.exec, (program,)),
                     (builtins.eval, (program,)), (subprocess.call, (['touch', str(self.mark)],)),
                     (pathlib.Path.touch, (self.mark,))])
    return pickle.dumps(_Called(*call), protocol=r.choice((0, 2, 4)))

  def spread(self) -> None:
    """Makes the files outside."""
    import h5py
    self.outside.mkdir()
    np.save(self.outside / 'secret.npy', np.arange(96, dtype=np.float32).reshape(24, 4))
    (self.outside / 'secret.bin').write_bytes(np.arange(96, dtype=np.float32).tobytes())
    with h5py.File(self.outside / 'secret.h5', 'w') as file:
      file['x1'] = np.arange(96, dtype=np.float32).reshape(24, 4)


class _Called:
  def __init__(self, function, arguments):
    self.call = function, arguments

  def __reduce__(self):
    return self.call


# -- bombs -----------------------------------------------------------------------------------------

_BLOCK = 2**20


@functools.cache
def _deflated(fill: bytes) -> tuple[bytes, bytes]:
  """A MiB of `fill` as deflate blocks that may follow each other, and what ends a stream."""
  packer = zlib.compressobj(9, zlib.DEFLATED, -15)
  packer.compress(fill * (_BLOCK // len(fill)))
  packer.flush(zlib.Z_FULL_FLUSH)
  block = packer.compress(fill * (_BLOCK // len(fill))) + packer.flush(zlib.Z_FULL_FLUSH)
  return block, packer.flush()


@functools.cache
def _crc(head: bytes, fill: bytes, mebibytes: int) -> int:
  block = fill * (_BLOCK // len(fill))
  return functools.reduce(lambda crc, _: zlib.crc32(block, crc), range(mebibytes), zlib.crc32(head))


def bomb(mebibytes: int, head: bytes = b'', fill: bytes = b'\0', *, sum_right: bool = True):
  """(raw deflate stream, crc32, size) of `head` and then so many MiB of `fill`."""
  packer = zlib.compressobj(9, zlib.DEFLATED, -15)
  start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
  block, end = _deflated(fill)
  crc = _crc(head, fill, mebibytes) if sum_right else 0
  return start + block * mebibytes + end, crc, len(head) + mebibytes * _BLOCK


def gzip_bomb(mebibytes: int, head: bytes = b'', fill: bytes = b'\0') -> bytes:
  """A .gz file that unpacks to so many MiB; its checksum is right below 512 MiB."""
  packed, crc, size = bomb(mebibytes, head, fill, sum_right=mebibytes < 512)
  return (b'\x1f\x8b\x08\0\0\0\0\0\0\3' + packed + struct.pack('<II', crc, size & 0xFFFFFFFF))


def zlib_bomb(mebibytes: int, head: bytes = b'', fill: bytes = b'\0') -> bytes:
  """A zlib stream; its checksum is wrong."""
  return b'\x78\xda' + bomb(mebibytes, head, fill, sum_right=False)[0] + bytes(4)


def zip_entry(name: bytes, packed: bytes, crc: int, size: int, *, claimed: int | None = None,
              flags: int = 0, method: int = 8) -> bytes:
  """A zip archive of one member, whose size may be claimed to be another."""
  said = size if claimed is None else claimed
  fields = struct.pack('<HHHHHIII', 20, flags, method, 0, 33, crc, len(packed) & 0xFFFFFFFF,
                       said & 0xFFFFFFFF)
  local = b'PK\3\4' + fields + struct.pack('<HH', len(name), 0) + name + packed
  central = (b'PK\1\2' + b'\x14\0' + fields + struct.pack('<HHHHHII', len(name), 0, 0, 0, 0, 0, 0)
             + name)
  return local + central + b'PK\5\6' + struct.pack('<HHHHIIH', 0, 0, 1, 1, len(central),
                                                   len(local), 0)
