"""Parts of one study that were run apart, in folders of their own, become one folder."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import pathlib
from typing import Any

from mmalign_jax.runs import folder
from mmalign_jax.runs.damage import Damaged, note, unreadable

LATEST = 'settings.json'  # all settings of the run that used a folder last
RULES = 'rules'  # by which a folder was trained, where a version before had others
PRINTS = ('data_fingerprint', 'own_measures', RULES)  # of data and code, kept beside settings
_SHOWN = 5


def parse(text: str) -> tuple[int, int]:
  """(i, n) of 'i/n': part i of n, from 1.

  Raises:
    ValueError: not of that form, or not 1 <= i <= n.
  """
  parts = text.split('/')
  if len(parts) == 2 and all(p.isdecimal() for p in parts) and 1 <= int(parts[0]) <= int(parts[1]):
    return int(parts[0]), int(parts[1])
  raise ValueError(f'--shard={text} must be i/n with 1 <= i <= n, as in --shard=1/4')


def suffix(shard: tuple[int, int]) -> str:
  """What names of files of shard i of n end in: '_i_of_n', '' of the only one."""
  i, n = shard
  return '' if n == 1 else f'_{i}_of_{n}'


def settings_of(folders: Sequence[pathlib.Path],
                defaults: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
  """Settings of the study whose shards lie in `folders`, those of the first where results agree.

  Args:
    defaults: of the study that has given settings, for folders of a version without one of them.

  Raises:
    ValueError: other configurations, or a folder given twice. FileNotFoundError: no study there.
  """
  for i, path in enumerate(folders):
    if not (path / 'config.json').exists():
      raise FileNotFoundError(f'{path}: no study there (config.json is missing)')
    if path.resolve() in [f.resolve() for f in folders[:i]]:
      raise ValueError(f'{path} is given twice')
    first = folder.read_json(folders[0] / 'config.json')
    folder.refuse_other(path / 'config.json', first, defaults(first))
  latest = folders[0] / LATEST
  settings = folder.read_json(latest, 'remove it: config.json beside it is then used') if (
      latest.exists()) else folder.read_json(folders[0] / 'config.json')
  return {name: value for name, value in settings.items() if name not in PRINTS}


def read(path: pathlib.Path) -> folder.Arrays | None:
  """Arrays of a file in a folder that is only read; None where it is missing or, as a note says,
  damaged."""
  try:
    return folder.read(path)
  except Damaged as error:
    note(f'{path} is damaged ({error}) and does not count; the run of that folder makes it again')
    return None


def check_cells(wanted: Sequence[str], held: Mapping[pathlib.Path, Sequence[str]]) -> None:
  """Every cell must be in exactly one folder.

  Raises:
    ValueError: names the first cells that are in two, or in none.
  """
  where: dict[str, list[pathlib.Path]] = {}
  for path, names in held.items():
    for name in names:
      where.setdefault(name, []).append(path)
  twice = {name: paths for name, paths in where.items() if len(paths) > 1}
  if twice:
    name, paths = next(iter(twice.items()))
    raise ValueError(f'{len(twice)} cells overlap, in {paths[0]} and {paths[1]}: {_few(twice)}')
  missing = [name for name in wanted if name not in where]
  if missing:
    raise ValueError(f'{len(missing)} of {len(wanted)} cells are missing from '
                     f'{", ".join(map(str, held))}: {_few(missing)}')


def _few(names) -> str:
  names = list(names)
  return '; '.join(names[:_SHOWN]) + ('; ...' if len(names) > _SHOWN else '')


def copy(folders: Sequence[pathlib.Path], out: pathlib.Path, subfolders: Sequence[str],
         files: Sequence[str], settings: dict[str, Any], defaults: dict[str, Any]) -> None:
  """Copies finished work into `out`, file by file, each whole or not at all.

  A file that is there already and can be read stays; `folders` are only read.

  Args:
    settings: of the study; defaults: of those.

  Raises:
    ValueError: `out` holds another configuration, or a file of `files` differs between folders, or
      is in some of them only.
    OSError: a file cannot be read, or written, now.
  """
  for name in files:
    _check_alike(name, folders, out)
  with folder.claim(out, settings, '.lock_of_merge', defaults):
    for path in folders:
      if path.resolve() != out.resolve():
        for name in files:
          if (path / name).exists():
            _copy(path / name, out / name)
        for name in subfolders:
          for source in _below(path / name):
            _copy(source, out / source.relative_to(path))


def _check_alike(name: str, folders: Sequence[pathlib.Path], out: pathlib.Path) -> None:
  """A file of which all shards have the same, or none has it.

  Raises:
    ValueError: names the one that differs, or is missing.
  """
  held = [path / name for path in folders if (path / name).exists()]
  lacking = [path / name for path in folders if not (path / name).exists()]
  if held and lacking:
    raise ValueError(f'{lacking[0]} is missing, and {held[0]} is there: run that shard again')
  for path in (*held[1:], out / name) if held else ():
    if path.exists() and _chosen(path) != _chosen(held[0]):
      raise ValueError(f'{path} differs from {held[0]}: the shards do not belong together')


def _chosen(path: pathlib.Path) -> Any:
  """What a file of choices says, but for how good they were on validation rows: of that, machines
  may differ by a row."""
  rows = folder.read_json(path)
  return [{name: value for name, value in row.items() if name != 'validation'}
          if isinstance(row, dict) else row for row in rows] if isinstance(rows, list) else rows


def _below(place: pathlib.Path) -> Iterator[pathlib.Path]:
  """Files of arrays in a folder and those in it."""
  for path in folder.listed(place) if place.is_dir() else ():
    if path.is_dir():
      yield from _below(path)
    elif path.suffix == '.npz':
      yield path


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
  if target.exists() and (target.suffix != '.npz' or folder.load(target) is not None):
    return
  try:
    content = source.read_bytes()
  except OSError as error:
    raise unreadable(source, error) from error
  target.parent.mkdir(parents=True, exist_ok=True)
  folder.write_whole(target, content)
