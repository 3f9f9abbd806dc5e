"""What cannot be read now, and what is damaged: only the latter is moved, nothing is deleted."""

from collections.abc import Iterator
import contextlib
import errno
import os
import pathlib
import re
import sys

_OF_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM,
             errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT}
_OS_ERROR = re.compile(r'\bOS error (\d+)')  # how TensorStore says it
_WORDS = tuple(os.strerror(number) for number in sorted(_SHORTAGE))


class Damaged(Exception):
  """What a file holds is not what was written there: its structure or a checksum proves it."""


def of_the_machine(error: BaseException | None) -> str:
  """What the machine refused where that is behind an error, as libraries of all sorts tell it: open
  files, room, memory, a device that fails. '' for any other error."""
  seen: set[int] = set()
  while error is not None and id(error) not in seen:
    seen.add(id(error))
    if isinstance(error, OSError) and error.errno in _SHORTAGE:
      return os.strerror(error.errno)
    if isinstance(error, MemoryError):
      return os.strerror(errno.ENOMEM)
    found = [words for words in _WORDS if words.lower() in str(error).lower()]
    if found:
      return found[0]
    error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
  return ''


def proves_nothing(error: BaseException) -> bool:
  """Whether a reading failed for reasons that are not in the file, which may be good."""
  told = _OS_ERROR.search(str(error))
  number = int(told[1]) if told else error.errno if isinstance(error, OSError) else None
  return bool(of_the_machine(error)) or number is not None and number not in _OF_THE_FILE


def unreadable(path: pathlib.Path, error: BaseException) -> OSError:
  """The error to raise where a file cannot be read now."""
  why = of_the_machine(error) or getattr(error, 'strerror', None) or str(error)
  return OSError(f'{path} cannot be read now ({why}); nothing was changed, and the same command '
                 'continues once it can be read')


def set_aside(path: pathlib.Path, why: str) -> pathlib.Path | None:
  """Renames what is damaged to NAME.damaged (or NAME.damaged.2, ...), and says so.

  None where it is gone, another process having done so.
  """
  target, again = path.with_name(f'{path.name}.damaged'), 2
  while os.path.lexists(target):
    target, again = path.with_name(f'{path.name}.damaged.{again}'), again + 1
  try:
    os.rename(path, target)
  except FileNotFoundError:
    return None
  note(f'{path} is damaged ({why}) and is now {target.name}; it is made again')
  return target


_kept: list[list[str]] = []  # notes that wait, by the calls of `at_the_end` that are open


def note(text: str) -> None:
  """A remark on standard error."""
  if _kept:
    _kept[-1].append(text)
  else:
    print(f'note: {text}', file=sys.stderr, flush=True)


@contextlib.contextmanager
def at_the_end() -> Iterator[None]:
  """Notes are said once all is done; an error, which is one line, ends with them instead."""
  _kept.append([])
  try:
    yield
  except (ValueError, OSError) as error:
    notes = _kept.pop()
    if not notes or of_the_machine(error):
      raise
    raise ValueError('; '.join([str(error), *notes])) from error
  except BaseException:
    _kept.pop()
    raise
  for text in _kept.pop():
    note(text)
