"""Programs that an earlier command has traced, kept beside those that XLA has compiled.

JAX keeps what is compiled, and traces it again in each process, in Python, which takes longer than
a small problem is worked at. Here the traced program itself is kept (`jax.export`: StableHLO, no
pickle), by all that it depends on: the source of this package, JAX and its settings, shapes, and
what the caller tells. Kept where and as long as compiled programs are (`cache`).
"""

from collections.abc import Callable
import functools
import hashlib
import os
import pathlib
import tempfile
from typing import Any

import jax
from jax import export

from mmalign_jax import cache

_FOR_A_WHILE = ('jax_enable_x64', 'jax_default_matmul_precision', 'jax_numpy_dtype_promotion',
                'jax_threefry_partitionable', 'jax_default_prng_impl')
_END = '-mmalign-cache'  # of the names, among those that `cache.trim` counts


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
  if made is None:
    try:
      made = export.export(jax.jit(function))(*arguments)
    except (ValueError, NotImplementedError):  # what cannot be exported, or the function's own
      return jax.jit(function).lower(*arguments)
    if worth():
      _write(place, made)
  return jax.jit(made.call).lower(*arguments)


def _place(arguments: tuple, told: str) -> pathlib.Path | None:
  """The file of a program; None where none are kept, or in a folder that is not this package's."""
  named, base = _setting('jax_compilation_cache_dir'), cache.folder()
  if (not named or not _setting('jax_enable_compilation_cache') or base is None
      or pathlib.Path(named) != base / cache.version()):
    return None
  leaves, tree = jax.tree.flatten(arguments)
  words = [jax.__version__, jax.default_backend(), source(), told, str(tree),
           *(f'{leaf.shape} {leaf.dtype}' for leaf in leaves),
           *sorted(f'{name}={value}' for name, value in jax.config.values.items()),
           # what is set for a while only is not among the values
           *(str(_setting(name)) for name in _FOR_A_WHILE)]
  return pathlib.Path(named) / f'{hashlib.sha256(chr(0).join(words).encode()).hexdigest()}{_END}'


def _setting(name: str) -> Any:
  """Of JAX as it is now, in this thread; `jax.config.read` refuses those set for a while."""
  return getattr(jax.config, name)


@functools.lru_cache(maxsize=1)
def source() -> str:
  """Of all modules of this package: a program of other source is another."""
  root, made = pathlib.Path(__file__).resolve().parents[1], hashlib.sha256()
  for path in sorted(root.rglob('*.py')):
    made.update(str(path.relative_to(root)).encode() + b'\0' + path.read_bytes() + b'\0')
  return made.hexdigest()


def _read(place: pathlib.Path) -> Any:
  """None where there is none, or one that cannot be read."""
  try:
    return export.deserialize(bytearray(place.read_bytes()))
  except Exception:  # of a file that a kill cut off, flatbuffers raises this and that
    return None


def _write(place: pathlib.Path, made: Any) -> None:
  """As a whole or not at all; a full disk costs the next command its time."""
  part = None
  try:
    content = made.serialize()
    with tempfile.NamedTemporaryFile(dir=place.parent, suffix='.part', delete=False) as file:
      part = file.name
      file.write(content)
    os.replace(part, place)
  except (OSError, ValueError):
    if part is not None:
      pathlib.Path(part).unlink(missing_ok=True)
