"""Programs that an earlier command has traced, kept beside those that XLA has compiled.

JAX keeps what is compiled, and traces it again in each process, in Python, which takes longer than
a small problem is worked at. Here the traced program itself is kept (`jax.export`: StableHLO, no
pickle), by all that it depends on: the source of this package, JAX and its settings, shapes, and
what the caller tells. Kept where and as long as compiled programs are (`cache`).
"""

from collections.abc import Callable
import contextlib
import functools
import hashlib
import os
import pathlib
import tempfile
from typing import Any

import jax
from jax import export

from mmalign_jax import cache

_END = '.mmalign-traced'  # of the names; `cache.trim` counts it


def lowered(function: Callable, arguments: tuple, told: str,
            worth: Callable[[], bool] = lambda: True) -> jax.stages.Lowered:
  """`jax.jit(function).lower(*arguments)`, where it can be without tracing the function.

  Args:
    function: of arrays and keys, to arrays in tuples, lists and dicts.
    told: all that the function holds and that neither its source nor the shapes of its arguments
      say; programs with equal words are taken for equal.
    worth: after tracing, whether to keep it: not where tracing itself did more than trace.
  """
  place = _place(arguments, told)
  if place is None:
    return jax.jit(function).lower(*arguments)
  made = _read(place)
  try:
    if made is None:
      made = export.export(jax.jit(function))(*arguments)
      if worth():
        _write(place, made)
    return jax.jit(made.call).lower(*arguments)
  except (ValueError, NotImplementedError):  # what cannot be exported, or the function's own
    return jax.jit(function).lower(*arguments)


def _place(arguments: tuple, told: str) -> pathlib.Path | None:
  """The file of a program; None where none are kept, or in a folder that is not this package's."""
  named, base = _setting('jax_compilation_cache_dir'), cache.folder()
  if (not named or not _setting('jax_enable_compilation_cache') or base is None
      or pathlib.Path(named) != base / cache.version()
      or _setting('jax_default_device') is not None or not source()):
    return None
  leaves, tree = jax.tree.flatten(arguments)
  words = [jax.__version__, jax.default_backend(), source(), told, str(tree),
           *(f'{leaf.shape} {leaf.dtype}' for leaf in leaves),
           *sorted(f'{name}={value}' for name, value in jax.config.values.items())]
  return pathlib.Path(named) / f'{hashlib.sha256(chr(0).join(words).encode()).hexdigest()}{_END}'


def _setting(name: str) -> Any:
  """Of JAX as it is now, in this thread; `jax.config.read` refuses those set for a while."""
  return getattr(jax.config, name)


@functools.lru_cache(maxsize=1)
def source() -> str:
  """Of all modules of this package: a program of other source is another. '' where it is not known
  that they are what this process has loaded: changed since it began, or not there as source."""
  root, made = pathlib.Path(__file__).resolve().parents[1], hashlib.sha256()
  paths = sorted(root.rglob('*.py'))
  for path in paths:
    made.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes() + b'\0')
    changed = path.stat()
    if max(changed.st_mtime, changed.st_ctime) >= cache.BEGUN:
      return ''
  return made.hexdigest() if paths else ''


def _read(place: pathlib.Path) -> Any:
  """None where there is none, or one that cannot be read."""
  try:
    return export.deserialize(bytearray(place.read_bytes()))
  except Exception:  # of a file that a kill cut off, flatbuffers raises this and that
    return None


def _write(place: pathlib.Path, made: Any) -> None:
  """As a whole or not at all; a full disk costs the next command its time."""
  with contextlib.suppress(Exception):  # no flatbuffers, no space, ...
    content = made.serialize()
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix=_END, delete=False) as file:
      try:
        file.write(content)
        file.flush()
        os.replace(file.name, place)
      finally:
        with contextlib.suppress(OSError):
          os.unlink(file.name)
