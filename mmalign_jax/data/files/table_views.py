"""Views of one table: .csv, .tsv or .parquet, by the prefix of their column names."""

from collections.abc import Collection
import pathlib
import re

from mmalign_jax.data.files import stores
from mmalign_jax.data.files.columns import open_table, read_by, refuse_unknown
from mmalign_jax.data.files.reading import Reading


def from_table(path: pathlib.Path, asked: dict[str, str], reading: Reading) -> stores.Raw:
  """Views of one table.

  Args:
    path: a table whose first line is a header.
    asked: by role; prefixes for x1, x2, ..., columns for y ('' for y, label or the last one) and
      group ('' for the column group, if there is one).
    reading: how it is read.

  Raises:
    ValueError: no header, a missing column, rows of unequal length or a cell that is no number.
  """
  if reading.pool or reading.layers != 'auto':
    raise ValueError(f'{path}: a table has no layers or sequences; leave out '
                     f'{"pool" if reading.pool else "layers"}')
  table = open_table(path, reading)
  refuse_unknown([table], reading.index, '')
  if not table.named:
    raise ValueError(f'{path}: a header is needed; the first line has only numbers: '
                     f'{stores.listing(table.head[0] if table.head else ())}')
  known = [name for j, name in enumerate(table.names) if j not in table.index]
  group = asked['group'] or ('group' if 'group' in known else '')
  last = ([name for name in known if name != group] or list(table.names))[-1]
  named = asked['y'] or next((name for name in ('y', 'label') if name in known), '')
  y, notes = named or last, table.notes
  if not named:
    notes += (f'{path.name}: y is the last column {last!r}; y=NAME takes another',)
  single = {'y': y, 'group': group} if group else {'y': y}
  for role, name in single.items():
    if table.names.count(name) != 1:
      raise ValueError(f'{path}: {table.names.count(name) or "no"} columns {name!r} for {role}; '
                       f'it has {stores.listing(table.names)}')
  arrays = {role: table.text(table.names.index(name)) for role, name in single.items()}
  columns = {}
  views = [asked[role] for role in stores.sides_of(asked)]
  for role in stores.sides_of(asked):
    chosen = [j for j in table.features(tuple(single.values()))
              if view_of(table.names[j], views) == asked[role]]
    if not chosen:
      used = [f"; {name!r} is read as {one}={name}" for one, name in single.items()
              if in_view(name, asked[role])]  # the last column is y, where nothing is named so
      raise ValueError(f'{path}: no column {asked[role]!r} or {asked[role] + "_..."!r} for {role}; '
                       f'it has {stores.listing(table.names)}{"".join(used)}')
    arrays[role] = table.numbers(chosen)
    columns[role] = tuple(table.names[j] for j in chosen)
  return stores.Raw(str(path), {**asked, **single}, {'': arrays}, notes,
                   frozenset(read_by(path)), columns)


def in_view(column: str, view: str) -> bool:
  """Whether a column is of a view: audio, audio_mean, audio.3 and audio12 belong to 'audio'; x12
  does not belong to 'x1'."""
  digits = '' if view[-1:].isdigit() else r'|\d+'
  return bool(re.fullmatch(rf'{re.escape(view)}([_.\-].*{digits})?', column))


def view_of(column: str, views: Collection[str]) -> str | None:
  """The view that a column is of, the longest of the names that fit: image_caption_0 is of
  'image_caption', where 'image' is a view, too. None where none fits."""
  return max((view for view in views if in_view(column, view)), key=len, default=None)
