"""What commands have compiled is kept in a folder of the user's, for the next command.

JAX reads where from the environment, so this comes before it is imported. What is kept is machine
code: a folder that another could write to is not used. JAX_COMPILATION_CACHE_DIR, where it is set,
is JAX's own setting and stays as it is.
"""

from collections.abc import Iterator
import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import platform
import stat
import sys
import tempfile
import time
import warnings

FLAG = '--no-cache'
VARIABLE = 'MMALIGN_CACHE_DIR'  # another folder; empty for none
OF_JAX = 'JAX_COMPILATION_CACHE_DIR'
MOST_BYTES = 1 << 28
MOST_FILES = 4096
_KEPT = 0.75  # of the bounds, once they are passed
_LEAST_SECONDS = 0.0  # of compiling: a command makes many small programs
_VERSION = 'jaxlib-'
# ends of the names that JAX gives, and `runs.programs`
_OF_PROGRAMS = ('-cache', '-atime', '.mmalign-traced')
BEGUN = time.time()  # the first modules are being imported


def taken(argv: list[str]) -> list[str]:
  """The arguments of a command without --no-cache; without it, what is compiled from now on is
  kept."""
  end = argv.index('--') if '--' in argv else len(argv)
  rest = [a for a in argv[:end] if a != FLAG] + argv[end:]
  asked_for_help = {'--help', '-h', '--version', '--helpfull', '--helpshort'} & set(rest)
  if len(rest) < len(argv):
    _tell('JAX_ENABLE_COMPILATION_CACHE', False)
  elif not asked_for_help and (OF_JAX not in os.environ or of_another_machine()):
    begin()
  return rest


def begin() -> pathlib.Path | None:
  """Points JAX to the folder, made and kept within bounds; None where there can be none."""
  base = folder()
  if base is None or not _private(base):
    return None
  trim(base)
  inside = base / version()
  try:
    inside.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=inside):  # it can be written
      pass
  except OSError:
    return None
  # what another process is just writing, or was killed while writing, is compiled anew
  warnings.filterwarnings('ignore', 'Error (reading|writing) persistent compilation cache entry')
  _tell(OF_JAX, str(inside))
  for name, value in (('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', _LEAST_SECONDS),
                      ('JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES', -1)):
    if name not in os.environ:
      _tell(name, value)
  return inside


def of_another_machine() -> bool:
  """Whether the environment names a folder of ours for another processor: that of the machine which
  this process was started from."""
  base, named = folder(), pathlib.Path(os.environ.get(OF_JAX, ''))
  return base is not None and named.parent == base and named.name != version()


def _tell(variable: str, value: str | float | bool) -> None:
  """Sets a variable that JAX reads when it is imported, and JAX itself where it is already, as by a
  file of --register."""
  os.environ[variable] = str(value)
  if 'jax' in sys.modules:
    sys.modules['jax'].config.update(variable.lower(), value)


def folder() -> pathlib.Path | None:
  """Where compiled programs are: MMALIGN_CACHE_DIR, XDG_CACHE_HOME/mmalign_jax/compiled, or that of
  ~/.cache; None where the variable is empty or there is no home."""
  named = os.environ.get(VARIABLE)
  if named is not None:
    return pathlib.Path(named).absolute() if named else None
  home = os.environ.get('XDG_CACHE_HOME', '')
  if not os.path.isabs(home):
    home = os.path.join(os.path.expanduser('~'), '.cache')
  return pathlib.Path(home) / 'mmalign_jax' / 'compiled' if os.path.isabs(home) else None


def version() -> str:
  """Of what makes and runs the programs: jaxlib, and this processor."""
  told = [platform.machine(), *_processor()]
  return (f'{_VERSION}{importlib.metadata.version("jaxlib")}-'
          f'{hashlib.sha256(" ".join(told).encode()).hexdigest()[:12]}')


def _processor() -> list[str]:
  """What the processor can do, as Linux says; elsewhere its name."""
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text('utf-8', 'replace').splitlines():
      name, _, value = line.partition(':')
      if name.strip() in ('flags', 'Features'):
        return sorted(value.split())
  return [platform.processor()]


def refused() -> str:
  """Why a folder that is there is not used; '' where it is, or where there can be none."""
  base = folder()
  if base is None or not os.path.lexists(base) or _private(base):
    return ''
  return (f'{base} is not a folder of this user alone and is no cache of compiled programs; '
          f'chmod 700 it, or name another in {VARIABLE}')


def _private(base: pathlib.Path) -> bool:
  """Whether the folder is this user's and no one else's; it is made where it is missing."""
  try:
    base.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
      base.mkdir(mode=0o700)
    found = base.lstat()  # of a link: itself, which is no folder
  except OSError:
    return False
  if not stat.S_ISDIR(found.st_mode):
    return False
  user = getattr(os, 'geteuid', None)  # Windows has folders of a user only
  return user is None or (found.st_uid == user() and not stat.S_IMODE(found.st_mode) & 0o077)


def trim(base: pathlib.Path, bytes_: int | None = None, files: int | None = None) -> None:
  """Removes what was used longest ago once there is too much: at most so many bytes and files.

  Only compiled programs are counted and removed; what else lies in a folder that someone named is
  theirs. What another process removes meanwhile is no error, and neither is what it has open.
  """
  most = MOST_BYTES if bytes_ is None else bytes_, MOST_FILES if files is None else files
  found = sorted((file for inside in _versions(base) for file in _programs(inside)), reverse=True)
  size, number = sum(entry[1] for entry in found), len(found)
  if size <= most[0] and number <= most[1]:
    return
  while found and (size > _KEPT * most[0] or number > _KEPT * most[1]):
    _, one, path = found.pop()
    with contextlib.suppress(OSError):
      os.unlink(path)
    size, number = size - one, number - 1


def _versions(base: pathlib.Path) -> list[str]:
  """The folders that `version` names; links are not followed."""
  with contextlib.suppress(OSError), os.scandir(base) as entries:
    return [entry.path for entry in entries
            if entry.name.startswith(_VERSION) and entry.is_dir(follow_symlinks=False)]
  return []


def _programs(folder: str) -> Iterator[tuple[float, int, str]]:
  """(last use, bytes, path) of the programs in a folder."""
  with contextlib.suppress(OSError), os.scandir(folder) as entries:
    for entry in entries:
      with contextlib.suppress(OSError):
        if entry.name.endswith(_OF_PROGRAMS) and entry.is_file(follow_symlinks=False):
          is_ = entry.stat(follow_symlinks=False)
          yield max(is_.st_atime, is_.st_mtime), is_.st_size, entry.path
