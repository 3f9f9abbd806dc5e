"""Parts of one study that were run apart, in folders of their own, become one folder."""

from collections.abc import Mapping, Sequence
import pathlib
import shutil
from typing import Any

from mmalign_jax.training import folder

LATEST = 'settings.json'  # all settings of the run that used a folder last
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


def settings_of(folders: Sequence[pathlib.Path]) -> dict[str, Any]:
  """Settings of the study whose shards lie in `folders`, those of the first where results agree.

  Raises:
    ValueError: other configurations, or a folder given twice. FileNotFoundError: no study there.
  """
  for i, path in enumerate(folders):
    if not (path / 'config.json').exists():
      raise FileNotFoundError(f'{path}: no study there (config.json is missing)')
    if path.resolve() in [f.resolve() for f in folders[:i]]:
      raise ValueError(f'{path} is given twice')
    folder.refuse_other(path / 'config.json', folder.read_json(folders[0] / 'config.json'))
  latest = folders[0] / LATEST
  return folder.read_json(latest if latest.exists() else folders[0] / 'config.json')


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
         files: Sequence[str]) -> None:
  """Copies finished work into `out`.

  Raises:
    ValueError: `out` holds another configuration, or a file of `files` differs between folders.
  """
  for path in folders:
    for name in ('config.json', *files):
      first = folders[0] / name
      if (path / name).exists() and (path / name).read_bytes() != first.read_bytes():
        raise ValueError(f'{path / name} differs from {first}: the shards do not belong together')
  folder.claim(out, folder.read_json(folders[0] / 'config.json')).close()
  for path in folders:
    if path.resolve() == out.resolve():
      continue
    for name in files:
      shutil.copyfile(path / name, out / name)
    for name in subfolders:
      if (path / name).exists():
        shutil.copytree(path / name, out / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns('*.part', '.lock*'))
