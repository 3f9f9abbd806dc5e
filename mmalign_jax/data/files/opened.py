"""Files of tables and arrays, each opened once for all columns and keys that are asked for."""

import pathlib

import numpy as np

from mmalign_jax.data.files import columns, stores
from mmalign_jax.data.files.formats import annotated, guard, numpy_files
from mmalign_jax.data.files.reading import Reading

FORMATS = ('.npy', *columns.FORMATS, *stores.STORES)
_IDS = ('id', 'ids', annotated.NAMES)  # keys by which rows are known


class Opened:
  """Files, each read once; `used`: the options that had something to act on."""

  def __init__(self, reading: Reading | None = None):
    self.reading = reading or Reading()
    self.used: set[str] = set()
    self._held: dict[pathlib.Path, columns.Table | stores.Store] = {}

  def at(self, path: pathlib.Path) -> columns.Table | stores.Store:
    """The table or the arrays of a file."""
    if path not in self._held:
      suffix = guard.kind(path)
      if path.is_dir():
        made = stores.folder(path)
      elif suffix in columns.FORMATS:
        made = columns.open_table(path, self.reading)
        self.used |= set(columns.read_by(path))
      elif suffix == '.npy':
        made = numpy_files.npy(path)
      elif suffix in stores.STORES:
        made = stores.STORES[suffix](path)
      else:
        raise ValueError(f'unknown format {guard.kind(path)!r}; known: {", ".join(FORMATS)}')
      self._held[path] = made
    return self._held[path]

  def column(self, path: pathlib.Path, name: str) -> np.ndarray | None:
    """The column or key `name` of a file, as it is there; None where it has none."""
    source = self.at(path)
    if isinstance(source, columns.Table):
      j = source.place(name)
      return None if j is None else source.text(j)
    key = next((key for key in (name, f'obs:{name}') if key and key in source.keys), None)
    return None if key is None else source.read(key)

  def ids(self, path: pathlib.Path) -> np.ndarray | None:
    """What a file says its rows are called: the first index column, or an array of ids."""
    source = self.at(path)
    if isinstance(source, columns.Table):
      return source.text(source.index[0]) if source.index else None
    key = next((key for key in _IDS if key in source.keys), None)
    return None if key is None else source.read(key)

  def refuse_unread(self, dashes: str = '--') -> None:
    """Raises ValueError for options without effect on the files opened so far."""
    self.reading.refuse_unread(self.used, dashes)
    columns.refuse_unknown([source for source in self._held.values()
                            if isinstance(source, columns.Table)], self.reading.index, dashes)

  def names(self, path: pathlib.Path) -> tuple[str, ...]:
    """Columns or keys of a file."""
    source = self.at(path)
    return tuple(filter(None, source.names if isinstance(source, columns.Table) else source.keys))
