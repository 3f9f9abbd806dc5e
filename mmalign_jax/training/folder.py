"""A folder of finished work: one configuration, one run at a time, files whole or not at all."""

import contextlib
import fcntl
import io
import json
import os
import pathlib
from typing import IO, Any, Iterator
import zipfile

import numpy as np

Arrays = dict[str, np.ndarray]


def claim(workdir: str | os.PathLike, settings: dict[str, Any], lock: str = '.lock') -> IO:
  """Makes `workdir` if missing, for `settings`, and locks it; close what is returned to let it go.

  Raises:
    ValueError: the folder holds results of another configuration, or another run holds the lock.
  """
  folder = pathlib.Path(workdir)
  path, wanted = folder / 'config.json', plain(settings)
  if path.exists():
    refuse_other(path, wanted)
  (folder / lock).parent.mkdir(parents=True, exist_ok=True)
  held = open(folder / lock, 'w')
  try:
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    held.close()
    raise ValueError(f'{workdir}: another run is using this folder') from None
  if not path.exists():
    write_whole(path, json.dumps(wanted, indent=1).encode())
  return held


@contextlib.contextmanager
def finishing(workdir: str | os.PathLike) -> Iterator[None]:
  """Waits until no other shard in the same folder is making the results of all."""
  with open(pathlib.Path(workdir) / '.finishing', 'w') as held:
    fcntl.flock(held, fcntl.LOCK_EX)
    yield


def plain(settings: dict[str, Any]) -> dict[str, Any]:
  """Settings as JSON gives them back."""
  return json.loads(json.dumps(settings, default=float))


def refuse_other(path: pathlib.Path, wanted: dict[str, Any]) -> None:
  """Raises ValueError where the configuration in `path` is not `wanted`, saying how they differ."""
  there = read_json(path)
  differ = [f'{name}: {there.get(name)!r} there, {wanted.get(name)!r} now'
            for name in sorted(set(there) | set(wanted)) if there.get(name) != wanted.get(name)]
  if differ:
    more = f'; and {len(differ) - 3} more' if len(differ) > 3 else ''
    raise ValueError(f'{path.parent} holds another configuration ({"; ".join(differ[:3])}{more}); '
                     'choose another workdir')


def read_json(path: pathlib.Path, advice: str = 'remove it only if the folder is empty of results'):
  """What a JSON file holds.

  Raises:
    ValueError: the file is damaged; ends with `advice`. FileNotFoundError: it is missing.
  """
  try:
    return json.loads(path.read_text())
  except ValueError:
    raise ValueError(f'{path}: damaged; {advice}') from None


def write_whole(path: pathlib.Path, content: bytes) -> None:
  """Writes a file so that a reader sees all of it or nothing, and puts it on disk."""
  part = path.with_name(f'{path.name}.{os.getpid()}.part')
  try:
    with open(part, 'wb') as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(part, path)
  except OSError:
    part.unlink(missing_ok=True)
    raise


def save(path: pathlib.Path, arrays: Arrays) -> None:
  """Puts arrays on disk as an .npz before it returns.

  Raises:
    OSError: one line that says what is safe.
  """
  try:
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_whole(path, content.getvalue())
  except OSError as error:
    raise OSError(
        f'{path}: {error.strerror or error}; the chunks before it are safe, and the same command '
        'continues from them') from error


def load(path: pathlib.Path, names: tuple[str, ...] = ()) -> Arrays | None:
  """Arrays of a file of `save`, all or those of `names`; None, and no file, where it is damaged."""
  try:
    with np.load(path, allow_pickle=False) as data:
      return {name: data[name] for name in names or data.files}
  except FileNotFoundError:
    return None
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
    path.unlink(missing_ok=True)  # to be computed again
    return None
