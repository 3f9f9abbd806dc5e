"""A folder of finished work: one configuration, one run at a time, files whole or not at all."""

from collections.abc import Collection
import contextlib
import fcntl
import io
import json
import os
import pathlib
import re
from typing import IO, Any, Iterator
import zipfile
import zlib

import numpy as np

from mmalign_jax.runs import npy
from mmalign_jax.runs.damage import Damaged, note, set_aside, unreadable

Arrays = dict[str, np.ndarray]

_SEAL = b'mmalign crc32 %08x'  # the comment that ends a file: a checksum of all before its length
_SEALED = re.compile(rb'mmalign crc32 ([0-9a-f]{8})\Z')


def claim(workdir: str | os.PathLike, settings: dict[str, Any], lock: str = '.lock',
          defaults: dict[str, Any] | None = None) -> IO:
  """Makes `workdir` if missing, for `settings`, and locks it; close what is returned to let it go.

  Args:
    defaults: of all settings, read or not: what a folder of a version without one of them is taken
      to have. One that is not among `settings` has no effect on them, whatever the folder says.

  Raises:
    ValueError: the folder holds results of another configuration, or of none, or another run holds
      the lock. OSError: it cannot be read or written now.
  """
  folder = pathlib.Path(workdir)
  path, wanted = folder / 'config.json', plain(settings)
  begun = _holds_results(folder)  # asked before the configuration: another shard writes that first
  known = path.exists()
  if known:
    refuse_other(path, wanted, defaults, unread=_unread(wanted, defaults))
  elif begun:
    raise ValueError(f'{folder} holds results but no config.json, so it is not known what of; put '
                     'it back, or choose another workdir')
  (folder / lock).parent.mkdir(parents=True, exist_ok=True)
  held = _locked(folder / lock)
  try:
    with _waiting(folder / '.claim'):  # two shards that begin at once are of one configuration
      if path.exists():
        refuse_other(path, wanted, defaults, unread=_unread(wanted, defaults), quiet=known)
      else:
        write_whole(path, json.dumps(wanted, indent=1).encode())
  except BaseException:
    held.close()
    raise
  return held


def _unread(settings: dict[str, Any], defaults: dict[str, Any] | None) -> set[str]:
  return set(defaults or ()) - set(settings)


def _holds_results(folder: pathlib.Path) -> bool:
  """Files of arrays one folder down, or checkpoints, which are folders named by a number."""
  inner = [path for path in listed(folder) if path.is_dir()]
  return any(path.name.isdigit() or listed(path, '.npz') for path in inner)


def listed(folder: pathlib.Path, end: str = '') -> list[pathlib.Path]:
  """What a folder holds, in order; nothing where it is missing. (`glob` hides what it cannot read.)

  Raises:
    OSError: it cannot be read now.
  """
  try:
    return [folder / name for name in sorted(os.listdir(folder)) if name.endswith(end)]
  except FileNotFoundError:
    return []
  except OSError as error:
    raise unreadable(folder, error) from error


def _locked(path: pathlib.Path) -> IO:
  held = open(path, 'w')
  try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    held.close()
    raise ValueError(f'{path.parent}: another run is using this folder') from None
  except BaseException:
    held.close()
    raise
  return held


@contextlib.contextmanager
def _waiting(path: pathlib.Path) -> Iterator[None]:
  with open(path, 'w') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    yield


def finishing(workdir: str | os.PathLike) -> contextlib.AbstractContextManager[None]:
  """Waits until no other shard in the same folder is making the results of all."""
  return _waiting(pathlib.Path(workdir) / '.finishing')


def choosing(workdir: str | os.PathLike) -> contextlib.AbstractContextManager[None]:
  """Waits until no other shard in the same folder is choosing the settings of all."""
  return _waiting(pathlib.Path(workdir) / '.choosing')


def plain(settings: dict[str, Any]) -> dict[str, Any]:
  """Settings as JSON gives them back."""
  return json.loads(json.dumps(settings, default=float))


def refuse_other(path: pathlib.Path, wanted: dict[str, Any],
                 defaults: dict[str, Any] | None = None, *, unread: Collection[str] = (),
                 quiet: bool = False) -> None:
  """Raises ValueError where the configuration in `path` is not `wanted`, saying how they differ.

  A setting that one of the two does not know, being of another version, has its default there; a
  note says so unless `quiet`. One of `unread` does not count.
  """
  there, known = read_json(path), plain(defaults or {})
  there, known = ({k: v for k, v in own.items() if k not in unread} for own in (there, known))
  absent = [name for name in known if (name in there) != (name in wanted)]
  there, wanted = ({name: known[name] for name in absent} | own for own in (there, wanted))
  differ = [f'{name}: {there.get(name)!r} there, {wanted.get(name)!r} now'
            for name in sorted(set(there) | set(wanted)) if there.get(name) != wanted.get(name)]
  if differ:
    more = f'; and {len(differ) - 3} more' if len(differ) > 3 else ''
    raise ValueError(f'{path.parent} holds another configuration ({"; ".join(differ[:3])}{more}); '
                     'choose another workdir')
  if absent and not quiet:
    note(f'{path.parent} is of another version, without {", ".join(absent)}, taken as the default')


def read_json(path: pathlib.Path, advice: str = 'remove it only if the folder is empty of results'):
  """What a JSON file holds.

  Raises:
    ValueError: the file is damaged; ends with `advice`. FileNotFoundError: it is missing.
    OSError: it cannot be read now.
  """
  try:
    return json.loads(path.read_bytes())
  except FileNotFoundError:
    raise
  except OSError as error:
    raise unreadable(path, error) from error
  except ValueError:
    raise ValueError(f'{path}: damaged; {advice}') from None


def write_whole(path: pathlib.Path, content: bytes) -> None:
  """Writes a file so that a reader sees all of it or nothing, and puts it on disk."""
  # no number of a process: two in containers, on one disk, may have the same
  part = path.with_name(f'{path.name}.{os.urandom(6).hex()}.part')
  try:
    with open(part, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(part, path)
  except BaseException:
    with contextlib.suppress(OSError):
      part.unlink(missing_ok=True)
    raise


def save(path: pathlib.Path, arrays: Arrays) -> None:
  """Puts arrays on disk as a sealed .npz before it returns.

  Raises:
    OSError: one line that says what is safe.
  """
  try:
    content = io.BytesIO()
    # NumPy's type would have `allow_pickle` among the arrays.
    np.savez(content, **arrays)  # pyright: ignore[reportArgumentType]
    write_whole(path, _sealed(content.getvalue()))
  except OSError as error:
    raise OSError(
        f'{path}: {error.strerror or error}; the chunks before it are safe, and the same command '
        'continues from them') from error


def _sealed(content: bytes) -> bytes:
  """A zip without a comment, with a checksum as its comment."""
  body = content[:-2]  # all but the length of the comment
  seal = _SEAL % zlib.crc32(body)
  return body + len(seal).to_bytes(2, 'little') + seal


def load(path: pathlib.Path) -> Arrays | None:
  """Arrays of a file of `save`; None where it is missing, or damaged and now set aside.

  Raises:
    OSError: it cannot be read now, and stays as it is. ValueError: it is of another version.
  """
  try:
    return read(path)
  except Damaged as error:
    set_aside(path, str(error))
    return None


def read(path: pathlib.Path) -> Arrays | None:
  """As `load`, but changes nothing.

  Raises:
    Damaged: its checksum or its structure proves it. OSError, ValueError: as `load`.
  """
  try:
    content = path.read_bytes()
    try:
      return _arrays(path, content)
    except Damaged:
      if path.read_bytes() != content:
        raise OSError('two readings differ') from None
      raise
  except FileNotFoundError:
    return None
  except OSError as error:
    raise unreadable(path, error) from error


def _arrays(path: pathlib.Path, content: bytes) -> Arrays:
  """What is written must be what was; what then cannot be understood was written otherwise."""
  sealed = _SEALED.search(content)
  if sealed and int(sealed[1], 16) != zlib.crc32(content[:sealed.start() - 2]):
    raise Damaged('its checksum is another')
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
      members = {name.removesuffix('.npy'): file.read(name) for name in file.namelist()}
  except (zipfile.BadZipFile, EOFError, ValueError, KeyError, NotImplementedError, OSError,
          RuntimeError, UnicodeError, zlib.error) as error:  # all of bytes that are in memory
    raise Damaged(str(error) or type(error).__name__) from error
  try:
    return {name: npy.read_array(member) for name, member in members.items()}
  except ValueError as error:
    raise ValueError(f'{path} is of another version, and is kept: {error}; go on with that '
                     'version, or choose another workdir') from error
