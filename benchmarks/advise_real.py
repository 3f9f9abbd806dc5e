"""Advice on every published pair with few labels, beside what a full grid then found.

  python benchmarks/advise_real.py --data_dir=DATA --workdir=DIR [--minutes=2 | --effort=3] \
      [--labels=3,30] [--only='cora,mfeat fou pix'] [--table=FILE.md] [--list]

Labels are hidden but for some of each class (of a number: ten times as many in all), `mmalign
advise` is run on what is left, and its answer is put beside grids that were run before: *tuned*,
the gain `both tuned` of docs/results/labels.md; else that of the same objective in
docs/results/strength_real.md. **Not like with like**: a grid draws its labels anew for every seed,
chooses on validation rows that an advice does not have, and is judged on many more rows; it keeps
those test rows out of what is aligned, where an advice aligns all unlabelled rows. Each run is kept
in DIR, by pair and labels; the same command goes on. --minutes apiece, about 27 pairs and two
numbers of labels: 27 * 2 * 2 minutes; with --effort the answer is the same on any machine.
"""

import argparse
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import time
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax.data import pairs, published  # noqa: E402
from mmalign_jax.reports.text import bracket, points, write_json  # noqa: E402
from mmalign_jax.runs import folder  # noqa: E402

SKIP = 'alike,atoms,linear,regime,encoders'
TUNED = ROOT / 'benchmarks/results/few_labels_cpu-2-cores.md'
STRENGTH = ROOT / 'docs/results/strength_real.md'
MOST_ROWS = 20_000  # of avmnist, whose test rows are no matter here
Grid = dict[tuple[str, int, int], dict[str, str]]  # by pair, labels, side: gains by objective


# -- what is asked ---------------------------------------------------------------------------------


def every_pair() -> list[str]:
  """NAME or NAME X1 X2 of every pair of the studies."""
  at = importlib.util.spec_from_file_location('strength_real', ROOT / 'configs/strength_real.py')
  assert at and at.loader
  config = importlib.util.module_from_spec(at)
  at.loader.exec_module(config)
  return [re.sub('[:,]', ' ', one) for name in published.DATASETS for one in config.pairs_of(name)]


def read(name: str, data_dir: str) -> pairs.Pairs:
  """All rows of a pair, with all labels."""
  data, *sides = name.split()
  row = published.DATASETS[data]
  raw = published.read_published(data, data_dir, dict(zip(('x1', 'x2'), sides)))
  return pairs.from_raw(raw, task=row.reading.task)


def write(found: pairs.Pairs, labels: int, path: pathlib.Path, seed: int = 0) -> int:
  """Writes the pair with `labels` labels a class, 0 for all; returns how many there are."""
  g = np.random.default_rng([seed, labels])
  rows = np.sort(g.permutation(len(found.y))[:MOST_ROWS])
  y = np.where(found.labelled, found.y, np.nan).astype(float)[rows]
  known = g.permutation(np.flatnonzero(~np.isnan(y)))
  kept = known if not labels else known[:10 * labels] if not found.classes else np.concatenate(
      [known[y[known] == c][:labels] for c in range(len(found.classes))])
  few = np.full(len(y), np.nan)
  few[kept] = y[kept]
  more = {} if found.group is None else {'group': found.group[rows]}
  folder.save(path, {'x1': found.views[0][rows], 'x2': found.views[1][rows], 'y': few, **more})
  return len(kept)


def advise(name: str, labels: int, place: pathlib.Path, asked: argparse.Namespace) -> None:
  """Runs the advice, unless it is there, and keeps DIR/PAIR_LABELS.json."""
  out = place.with_suffix('.json')
  if out.exists():
    return
  place.mkdir(parents=True, exist_ok=True)
  found = read(name, asked.data_dir)
  known = write(found, labels, place / 'data.npz')
  much = [f'--minutes={asked.minutes}'] if asked.effort is None else [f'--effort={asked.effort}']
  begun = time.monotonic()
  made = subprocess.run(
      [sys.executable, '-m', 'mmalign_jax.cli', 'advise', str(place / 'data.npz'), '--json', *much,
       f'--workdir={place / "run"}', f'--skip={SKIP}',
       f'--task={"cross_entropy" if found.classes else "l1"}'],
      stdout=subprocess.PIPE, text=True, cwd=ROOT, check=False)
  if made.returncode == 130:
    raise KeyboardInterrupt
  if made.returncode:
    print(f'{name}, {labels} labels: refused, see above', file=sys.stderr)
    return
  steps = json.loads(made.stdout)['steps']
  write_json(out, {'pair': name, 'labels': labels, 'names': list(found.names), 'rows': len(
      found.y), 'labelled': known, 'asked': much[0], 'seconds': time.monotonic() - begun,
      'encoders': steps['decision']['encoders'],
      'predicted': steps.get('predicted', {}).get('encoders', {}),
      'folds': steps['trial']['said'][0]})
  (place / 'data.npz').unlink()


# -- what grids found ------------------------------------------------------------------------------


def rows_of(text: str) -> list[list[str]]:
  """Cells of the tables of a page."""
  return [[cell.strip().replace('\\*', '') for cell in line.strip().strip('|').split('|')]
          for line in text.splitlines() if line.startswith('| ')]


def grids() -> Grid:
  """Gains by what chose them: 'tuned', or an objective."""
  made: Grid = {}

  def add(pair: str, labels: int, **gains: str) -> None:
    side = int((pair, labels, 0) in made and not made[pair, labels, 0].keys().isdisjoint(gains))
    made.setdefault((pair, labels, side), {}).update(gains)
  for data, labels, *cells in rows_of(TUNED.read_text()):
    if labels.isdigit() or labels == 'all':
      add(data, int(labels) if labels.isdigit() else 0, tuned=cells[4])
  page = STRENGTH.read_text()
  for labels, title in ((3, '## Three labels a class'), (0, '## All labels')):
    part = page.split(title, 1)[-1].split('\n## ', 1)[0]
    for pair, _, _, *cells in rows_of(part):
      if len(cells) == 6 and '[' in cells[1]:
        add(pair, labels, info_nce=cells[1], vicreg=cells[3], gap_aware=cells[5])
  return made


def limits(gain: str) -> tuple[float, float]:
  """Of '+1.0 [-0.5, +2.5]'."""
  low, high = gain.split('[')[1].rstrip(']').split(',')
  return float(low), float(high)


# -- the table -------------------------------------------------------------------------------------


def foretold(one: dict[str, Any] | None) -> str:
  """The strength that is told before any training; marked where the data are unlike all known."""
  if one is None:
    return '-'
  low, high = one['interval']
  return f'{one["lam"]:g} [{low:g}, {high:g}]' + ('' if one['inside'] else ' (unlike)')


def table(found: list[dict[str, Any]]) -> str:
  """Every encoder, then what the advice amounts to."""
  lines = ['| data | labels | encoder | foretold lam | advice | objective, lam | promised gain | '
           'grid | of |', '|---|---|---|---|---|---|---|---|---|']
  known, judged = grids(), []
  for one in found:
    for side, (name, e) in enumerate(one['encoders'].items()):
      grid = known.get((one['pair'], one['labels'], side), {})
      data, *sides = one['pair'].split()
      if sides and side < 2:  # a pair may stand the other way round
        grid = grid | known.get((' '.join([data, *sides[::-1]]), one['labels'], 1 - side), {})
      of = next((way for way in ('tuned', e['objective'], 'info_nce') if way in grid), '')
      said = '-' if not of else grid[of]
      judged += [(e['kind'], limits(said))] if of else []
      view = one['names'][side] if side < len(one['names']) else name
      lines.append(f'| {one["pair"]} | {one["labels"] or "all"} | {view} | '
                   f'{foretold(one["predicted"].get(name))} | {e["kind"]} | '
                   f'{e["objective"]}, {e["lam"]:g} | {points(e["gain"]["gain"])} '
                   f'{bracket(e["gain"]["interval"], "+.1f", 100)} | {said} | {of or "-"} |')
  kinds = list(dict.fromkeys(kind for kind, _ in judged))
  lines += ['', '| advice | encoders with a grid | the grid surely gains | open | surely loses |',
            '|---|---|---|---|---|']
  for kind in kinds:
    of = [limit for k, limit in judged if k == kind]
    gains, loses = sum(low > 0 for low, _ in of), sum(high < 0 for _, high in of)
    lines.append(f'| {kind} | {len(of)} | {gains} | {len(of) - gains - loses} | {loses} |')
  return '\n'.join([*lines, ''])


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('--data_dir', default='', help='the folder of the published data sets')
  add('--workdir', type=pathlib.Path, default=pathlib.Path('runs/advise_real'))
  add('--minutes', type=float, default=2.0, help='of each advice (2)')
  add('--effort', type=int, help='instead of --minutes')
  add('--labels', default='3,30', help='a class, 0 for all of them (3,30)')
  add('--only', default='', help='names of pairs, with commas')
  add('--table', type=pathlib.Path)
  add('--list', action='store_true', help='the names of pairs')
  asked = parser.parse_args()
  chosen = asked.only.split(',') if asked.only else every_pair()
  if asked.list:
    print('\n'.join(chosen))
    return
  found = []
  for name in chosen:
    for labels in map(int, asked.labels.split(',')):
      place = asked.workdir / f'{name.replace(" ", "_")}_{labels}'
      try:
        advise(name, labels, place, asked)
      except (OSError, ValueError) as error:  # not at hand, or not for this
        print(f'{name}: {error}', file=sys.stderr)
        continue
      if (path := place.with_suffix('.json')).exists():
        found.append(json.loads(path.read_text()))
  text = table(found)
  print(text)
  if asked.table:
    asked.table.write_text(text)


if __name__ == '__main__':
  main()
