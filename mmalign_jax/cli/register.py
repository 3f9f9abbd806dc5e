"""mmalign --register=FILE.py: rows of one's own in the registries, before a command runs."""

import importlib.machinery
import importlib.util
import pathlib
import sys

from mmalign_jax.data.files.formats import guard

FLAG = '--register'
loaded: list[str] = []  # files that have changed the registries, and whatever else they wished


def taken(argv: list[str]) -> list[str]:
  """The arguments without leading --register=FILE.py; each FILE is run, as a module of its name.

  Raises:
    ValueError: no such file, one whose name another module has, or one that fails; one line.
  """
  rest = list(argv)
  while rest and rest[0].partition('=')[0] == FLAG:
    _, equals, path = rest.pop(0).partition('=')
    if not equals:
      if not rest:
        raise ValueError(f'{FLAG} needs a file, as in {FLAG}=FILE.py')
      path = rest.pop(0)
    load(path)
  return rest


def load(path: str) -> None:
  """Runs a file that adds rows to the registries; once, however often it is named."""
  file = guard.place(path).resolve()
  spec = importlib.util.spec_from_file_location(file.stem, file)
  if file.suffix != '.py' or not file.is_file() or spec is None or spec.loader is None:
    raise ValueError(f'{FLAG}={path} is not a Python file')
  known = sys.modules.get(file.stem)
  if known is not None and getattr(known, '__file__', None) == str(file):
    return
  if known is not None or _is_another(file):
    raise ValueError(f'{FLAG}={path}: {file.stem!r} is the name of another module; rename the file')
  loaded.append(str(file))
  module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
  except Exception as error:
    del sys.modules[file.stem]
    raise ValueError(f'{FLAG}={path}: {type(error).__name__}: {error}') from error


def _is_another(file: pathlib.Path) -> bool:
  """Whether the name of a file is that of a module of Python, or of another that can be imported:
  whoever imports it later would get the file."""
  name = file.stem
  found = importlib.machinery.PathFinder.find_spec(name) if name.isidentifier() else None
  other = found is not None and found.has_location and found.origin is not None and (
      pathlib.Path(found.origin).resolve() != file)
  return name in sys.stdlib_module_names or other
