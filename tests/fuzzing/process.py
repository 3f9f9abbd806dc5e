"""Runs a command in a process of its own, forked from one that has everything imported.

Witnesses: an audit hook in the process (opens, programs started, sockets, pickles), inotify on the
folder that nobody asked for, and the state of all folders of the case before and after.
"""

from collections.abc import Callable
import ctypes
import hashlib
import importlib
import os
import pathlib
import pkgutil
import re
import runpy
import signal
import sys
import tempfile
import time
import traceback
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLOCK = 20.0  # s of wall time
MEMORY = 2 * 2**30  # bytes resident, interpreter and libraries included
_READABLE = ('/proc/', '/sys/', '/dev/', '/etc/', '/usr/', '/lib/', '/lib64/', '/opt/')
_HARMLESS = ('/dev/null', '/dev/tty', '/proc/')  # names of threads are written under /proc
_PROGRAMS = ('os.system', 'os.exec', 'os.posix_spawn', 'subprocess.Popen', 'pty.spawn',
             'webbrowser.open')
_SOCKETS = ('socket.connect', 'socket.bind', 'socket.getaddrinfo', 'socket.sendto',
            'urllib.Request', 'ftplib.connect')
_CHANGES = ('os.remove', 'os.rename', 'os.rmdir', 'os.mkdir', 'os.link', 'os.symlink',
            'os.truncate',
            'os.chmod', 'os.chown', 'os.utime', 'shutil.rmtree', 'shutil.move', 'shutil.copyfile')
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PROGRESS = re.compile(r'(cell/s|s/cell)\]|^[0-9]+/[0-9]+ .*; [0-9]+ s left$')
_IN_OPEN_OR_READ = 0x20 | 0x1 | 0x2


class Outcome(NamedTuple):
  """status: of the process, negative for a signal; peak: bytes; harm: what the witnesses saw."""
  status: int
  out: str
  err: str
  wall: float
  cpu: float
  peak: int
  harm: list[str]


def warm() -> None:
  """Imports all that any command may need, and starts no backend of JAX: forks must work."""
  import mmalign_jax
  for found in pkgutil.walk_packages(mmalign_jax.__path__, 'mmalign_jax.'):
    if not found.name.endswith('__main__'):
      importlib.import_module(found.name)
  for name in ('h5py', 'scipy.io', 'scipy.sparse', 'scipy.signal', 'sklearn.cluster',
               'sklearn.datasets', 'sklearn.linear_model', 'xarray', 'zarr', 'pandas',
               'pyarrow.parquet', 'anndata', 'mudata', 'ml_dtypes', 'absl.app', 'tqdm',
               'ml_collections.config_flags', 'tensorflow_datasets', 'torch', 'fsspec'):
    try:
      importlib.import_module(name)
    except ImportError:
      pass


def run(argv: list[str], folder: pathlib.Path, clock: float = CLOCK, memory: int = MEMORY,
        patience: float = 1, status: Callable[[list[str]], int] | None = None) -> Outcome:
  """Runs `mmalign argv` in `folder`/in.

  The process may write to folder/out, and to folder/tmp if it leaves nothing there. More than
  `clock` seconds of processor time, than `patience` times as many of wall time (above 1 on a busy
  machine), or than `memory` bytes resident are harm, and end it. `status` stands for the command,
  in tests of the witnesses.
  """
  before = _state(folder)
  watch = _watch(folder / 'outside')
  log = folder.with_name(folder.name + '.log')
  log.mkdir()
  start = time.monotonic()
  pid = os.fork()
  if not pid:
    _child(argv, folder, log, status or _status)
  harm, usage, ended = [], None, None
  while ended is None:
    done, code, usage = os.wait4(pid, os.WNOHANG)
    if done:
      ended = os.waitstatus_to_exitcode(code)
      break
    time.sleep(0.005)
    seconds = time.monotonic() - start
    if seconds > clock * patience or seconds > clock and _computed(pid) > clock:
      harm.append(f'still running after {seconds:.0f} s')
    elif _resident(pid) > memory:
      harm.append('above the bound of memory')
    else:
      continue
    os.killpg(pid, signal.SIGKILL)
    _, code, usage = os.wait4(pid, 0)
    ended = os.waitstatus_to_exitcode(code)
  wall = time.monotonic() - start
  try:
    os.killpg(pid, signal.SIGKILL)
    harm.append('processes are left')
  except ProcessLookupError:
    pass
  harm += [f'opened outside: {name}' for name in _events(watch)]
  harm += [line for line in (log / 'audit').read_text(errors='replace').splitlines()]
  harm += _changes(before, _state(folder))
  peak = usage.ru_maxrss * 1024
  if peak > memory and 'above the bound of memory' not in harm:
    harm.append('above the bound of memory')
  cpu = usage.ru_utime + usage.ru_stime
  texts = [(log / name).read_bytes().decode('utf-8', 'backslashreplace') for name in ('out', 'err')]
  for path in log.iterdir():
    path.unlink()
  log.rmdir()
  return Outcome(ended, *texts, wall, cpu, peak, list(dict.fromkeys(harm)))


def judge(outcome: Outcome) -> list[str]:
  """What is wrong with an outcome: no answer and no single line, or harm; [] where all is well."""
  wrong = list(outcome.harm)
  lines = [line for line in re.split('[\r\n]+', outcome.err) if line and not _PROGRESS.search(line)]
  if outcome.status == 2:
    if len(lines) != 1 or not lines[0].startswith('error: '):
      wrong.append(f'{len(lines)} lines on standard error')
    if outcome.out.strip() and not outcome.out.startswith(('task ', 'split ')):
      wrong.append('an error after an answer')
    if len(outcome.err) > 4000:
      wrong.append(f'a line of {len(outcome.err)} letters')
  elif outcome.status == 0:
    if not outcome.out.strip():
      wrong.append('no answer')
    stray = [line for line in lines if not line.startswith('note: ')]
    if stray:
      wrong.append(f'stray: {stray[0][:200]}')
    if re.search(r'\b(nan|NaN|Infinity)\b', outcome.out):
      wrong.append('an answer that is not a number')
  else:
    wrong.append(f'status {outcome.status}')
  if 'Traceback' in outcome.err:
    wrong.append('a traceback')
  if re.search(r'[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]', outcome.out + '\n'.join(lines)):
    wrong.append('control characters')
  return wrong


# -- the process -----------------------------------------------------------------------------------


def _child(argv: list[str], folder: pathlib.Path, log: pathlib.Path,
           run_command: Callable[[list[str]], int]) -> None:
  """Never returns."""
  status = 70
  try:
    os.setpgid(0, 0)
    for number, name in enumerate((None, 'out', 'err')):
      descriptor = os.open(log / name, os.O_CREAT | os.O_WRONLY) if name else os.open(
          '/dev/null', os.O_RDONLY)
      os.dup2(descriptor, number)
      os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (open(k, mode, encoding='utf-8', errors=errors)
                                         for k, mode, errors in ((0, 'r', 'strict'),
                                                                 (1, 'w', 'strict'),
                                                                 (2, 'w', 'backslashreplace')))
    audit = os.open(log / 'audit', os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.chdir(folder / 'in')
    os.environ |= {'HOME': str(folder / 'home'), 'TMPDIR': str(folder / 'tmp')}
    tempfile.tempdir = None
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})  # one case, one core
    sys.path.insert(0, '')  # as `python -m` has it: what lies in the folder must not be imported
    sys.addaudithook(_hook(folder, audit, argv))
    status = run_command(argv)
  except BaseException:
    traceback.print_exc()
    status = 1
  finally:
    try:
      sys.stdout.flush()
      sys.stderr.flush()
    finally:
      os._exit(status)


def _status(argv: list[str]) -> int:
  """What a process of this command ends with."""
  from mmalign_jax import cli
  try:
    if argv[0] == 'train':
      sys.argv = ['launch/train.py', *argv[1:]]
      runpy.run_path(str(ROOT / 'launch/train.py'), run_name='__main__')
      return 0
    return cli.main(argv)
  except SystemExit as stop:
    return stop.code if isinstance(stop.code, int) else int(bool(stop.code))


def _hook(folder: pathlib.Path, audit: int, argv: list[str]):
  """An audit hook that writes what it does not like into a file, a line each."""
  case, cache = str(folder), os.environ.get('JAX_COMPILATION_CACHE_DIR', '/nowhere')
  def within(*folders: str) -> tuple[str, ...]:
    return tuple(name.rstrip('/') + '/' for name in folders)
  writable = within(f'{case}/out', f'{case}/tmp', cache)
  readable = (*writable, *_READABLE, *within(
      f'{case}/in', f'{case}/home', str(ROOT), sys.prefix, sys.base_prefix,
      *(os.path.realpath(p) for p in sys.path if p)))
  asked = {os.path.realpath(part.partition('=')[2] if part.startswith('--') else part)
           for part in argv if '\0' not in part}
  def say(text: str) -> None:
    os.write(audit, (' '.join(text.split())[:300] + '\n').encode('utf-8', 'backslashreplace'))
  def path_of(value) -> str | None:
    if isinstance(value, int) or value is None:
      return None
    try:
      return os.path.realpath(os.fsdecode(value))
    except (TypeError, ValueError):
      return None
  def beside(path, descriptor):
    """A name within a folder that is open, as `shutil.rmtree` removes them."""
    if not isinstance(descriptor, int) or descriptor < 0 or os.path.isabs(path):
      return path
    return os.path.join(os.readlink(f'/proc/self/fd/{descriptor}'), os.fsdecode(path))
  def hook(event: str, args: tuple) -> None:
    if event == 'open':
      path, mode, flags = args
      path = path_of(path)
      if path is None:
        return
      writes = flags & _WRITES if isinstance(flags, int) else 0
      if isinstance(mode, str) and set(mode) & set('wax+') or writes:
        if not f'{path}/'.startswith(writable) and not path.startswith(_HARMLESS):
          say(f'opened for writing: {path}')
      elif not f'{path}/'.startswith(readable) and path not in asked:
        say(f'opened: {path}')
      if path.startswith(within(f'{case}/in')) and path.endswith(('.py', '.pth', '.so')):
        say(f'code of the folder: {path}')
    elif event in _PROGRAMS:
      say(f'{event} {args[:2]!r}')
    elif event in _SOCKETS:
      say(f'{event} {args[1:]!r}')
    elif event == 'pickle.find_class':
      say(f'{event} {args[0]}.{args[1]}')
    elif event in _CHANGES:
      within_folder = -1 if event == 'os.truncate' else args[-1]
      paths = [path_of(beside(a, within_folder)) for a in args[:2]
               if isinstance(a, (str, bytes, os.PathLike))]
      if event in ('os.link', 'os.symlink', 'shutil.copyfile'):
        paths = paths[1:]
      for path in paths:
        if path and not f'{path}/'.startswith(writable):
          say(f'{event} {path}')
  return hook


# -- witnesses -------------------------------------------------------------------------------------


def _computed(pid: int) -> float:
  """Seconds of processor time of a process."""
  try:
    with open(f'/proc/{pid}/stat') as file:
      fields = file.read().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
  except (OSError, IndexError):
    return 0.0


def _resident(pid: int) -> int:
  try:
    with open(f'/proc/{pid}/statm') as file:
      return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
  except (OSError, IndexError):
    return 0


def _state(folder: pathlib.Path) -> dict[str, tuple]:
  """What lies in the folders that nothing may change, and in tmp."""
  found = {}
  for top in ('in', 'outside', 'home', 'tmp'):
    for base, names, files in os.walk(folder / top):
      for name in (*names, *files):
        path = os.path.join(base, name)
        stat = os.lstat(path)
        digest = b''
        if os.path.isfile(path) and not os.path.islink(path):
          with open(path, 'rb') as file:
            digest = hashlib.file_digest(file, 'blake2b').digest()
        found[os.path.relpath(path, folder)] = (
            stat.st_mode, stat.st_size, stat.st_mtime_ns, digest)
  for name in os.listdir(folder):
    found[name] = ()
  return found


def _changes(before: dict[str, tuple], after: dict[str, tuple]) -> list[str]:
  folders = {name for name in before if name in ('in', 'outside', 'home', 'tmp', 'out')}
  differ = [name for name in sorted({*before, *after} - folders)
            if before.get(name) != after.get(name)]
  def how(name: str) -> str:
    return 'made' if name not in before else 'gone' if name not in after else 'changed'
  return [f'{how(name)}: {name!r}' for name in differ]


def _watch(folder: pathlib.Path) -> int:
  """An inotify descriptor that sees files of `folder` being opened, by whatever code."""
  libc = ctypes.CDLL(None, use_errno=True)
  descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
  if descriptor < 0 or libc.inotify_add_watch(
      descriptor, os.fsencode(folder), _IN_OPEN_OR_READ) < 0:
    raise OSError(ctypes.get_errno(), 'inotify')
  return descriptor


def _events(descriptor: int) -> list[str]:
  """Names of files that were opened."""
  data = b''
  try:
    while block := os.read(descriptor, 2**16):
      data += block
  except BlockingIOError:
    pass
  finally:
    os.close(descriptor)
  names = []
  while data:
    size = int.from_bytes(data[12:16], sys.byteorder)
    names.append(data[16:16 + size].rstrip(b'\0').decode(errors='replace'))
    data = data[16 + size:]
  return sorted(set(names))
