"""The map of gain over labels a class and strength, for every published data set of few labels.

  python benchmarks/few_labels_map.py --data_dir=FOLDER --workdir=DIR [--only=cora,digits] \
      [--figure=docs/figures/few_labels.png] [--table=benchmarks/results/few_labels.md]

Runs configs/few_labels.py for each data set (what DIR holds already is not run again), and makes
one picture and one table of all of them. 5 to 10 minutes each on two cores.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import xarray as xr

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmalign_jax.reports import style  # noqa: E402
from mmalign_jax.reports.statistics import over_seeds_and_folds  # noqa: E402

BUDGETS = '(1, 3, 10, 30, 0)'
RUNS = {  # name: (configuration, names of the sides in words, further settings)
    'cora': ('cora', ('words', 'citations'), {'n_labelled': BUDGETS}),
    'wikipedia': ('wikipedia', ('image', 'text'), {'n_labelled': BUDGETS}),
    'emoji': ('emoji', ('picture', 'name'), {'n_labelled': BUDGETS}),
    'mosi': ('mosi', ('text', 'audio'), {'n_labelled': BUDGETS}),
    'utd': ('utd', ('inertial', 'skeleton'), {'n_labelled': '(1, 3, 0)'}),
    'digits': ('digits', ('left', 'right'), {'n_labelled': BUDGETS}),
    **{f'mfeat {x1} {x2}': ('mfeat', (x1, x2), {'n_labelled': BUDGETS, 'x1': x1, 'x2': x2})
       for x1, x2 in (('fou', 'pix'), ('zer', 'kar'), ('mor', 'fac'))}}


def main(args) -> None:
  found = {}
  for name in args.only or RUNS:
    folder = args.workdir / name.replace(' ', '_')
    if not (folder / 'tuning.json').exists():
      run(name, folder, args.data_dir)
    found[name] = (xr.open_zarr(folder / 'results.zarr').load(),
                   *(json.loads((folder / f'{one}.json').read_text())
                     for one in ('tuning', 'summary')))
  if args.figure:
    style.save(figure(found), args.figure)
  text = table(found)
  print(text)
  if args.table:
    args.table.write_text(text)


def run(name: str, folder: pathlib.Path, data_dir: str) -> None:
  config, _, settings = RUNS[name]
  more = [] if config == 'digits' else [f'--data_dir={data_dir}']
  subprocess.run([sys.executable, str(ROOT / 'launch/sweep.py'), f'--workdir={folder}', *more,
                  f'--config={ROOT}/configs/few_labels.py:{config}',
                  *(f'--config.{key}={value}' for key, value in settings.items())], check=True)


def order(budgets) -> list:
  """Labels a class, all (0) last."""
  return sorted((float(b) for b in budgets), key=lambda b: (b == 0, b))


def words(budget: float) -> str:
  return f'{budget:g}' if budget else 'all'


def gains(dataset: xr.Dataset, encoder: int, align_on: str) -> tuple[np.ndarray, np.ndarray]:
  """Gain [budgets, strengths above 0] over lam = 0 in points, and half its 95 % interval: Student's
  t over seeds and over folds of the test rows."""
  name = 'accuracy_by_fold' if 'accuracy_by_fold' in dataset else 'accuracy'
  found = dataset[name].sel(encoder=encoder, align_on=align_on)
  gain = 100 * (found - found.sel(lam=0)).transpose('n_labelled', 'lam', 'seed', ...).sel(
      n_labelled=order(dataset['n_labelled'].values)).isel(lam=slice(1, None)).values
  flat = gain.reshape(*gain.shape[:3], -1)
  half = np.array([[over_seeds_and_folds(cell) for cell in row] for row in flat])
  return flat.mean(axis=(2, 3)), half


def figure(found: dict):
  """A panel for each encoder of each data set, all pairs aligned; bold where the interval is apart
  from 0."""
  drawn, axes = style.grid(11, 2.1 * -(-len(found) // 2), nrows=-(-len(found) // 2), ncols=4)
  image = None
  for panel in axes.flat[2 * len(found):]:
    panel.set_visible(False)
  for at, (name, (dataset, *_)) in enumerate(found.items()):
    budgets, lam = order(dataset['n_labelled'].values), dataset['lam'].values[1:]
    for encoder, side in enumerate(RUNS[name][1], start=1):
      panel = axes.flat[2 * at + encoder - 1]
      gain, half = gains(dataset, encoder, 'pairs')
      image = panel.imshow(gain, cmap='RdBu', vmin=-12, vmax=12, aspect='auto')
      for (i, j), value in np.ndenumerate(gain):
        sure = abs(value) > half[i, j]
        panel.text(j, i, f'{value:+.1f}', ha='center', va='center', fontsize=7,
                   weight='bold' if sure else 'normal',
                   color='white' if abs(value) > 7 else 'black')
      panel.set_xticks(range(len(lam)), [f'{v:g}' for v in lam])
      panel.set_yticks(range(len(budgets)), list(map(words, budgets)))
      panel.set_title(f'{name}: {side}' if side not in name else f'mfeat: {side} (with '
                      f'{RUNS[name][1][2 - encoder]})', fontsize=9)
  for panel in axes[-1]:
    panel.set_xlabel('strength, lam')
  for panel in axes[:, 0]:
    panel.set_ylabel('labels a class')
  drawn.colorbar(image, ax=axes, label='gain over lam = 0 (points)',
                 shrink=0.5)
  return drawn


HEAD = ('data', 'labels', 'side', 'at lam 0', 'lam', 'there', 'gain, both tuned', 'gain, pairs',
        'gain, labelled rows')


def table(found: dict) -> str:
  """Test accuracies where both sides are tuned, in percent, and gains in points: of that, and of
  the grid with the settings of lam = 0, every seed at the strength that the others choose."""
  lines = [f'| {" | ".join(HEAD)} |', '|---' * len(HEAD) + '|']
  for name, (dataset, tuning, summary) in found.items():
    chosen = {row['n_labelled']: row for row in tuning['at_best']}
    for budget in order(dataset['n_labelled'].values):
      for encoder, side in enumerate(RUNS[name][1], start=1):
        at = {'n_labelled': budget, 'encoder': encoder}
        row = entry(tuning['gains'], at)
        grid = [entry(summary, at | {'align_on': on}) for on in ('pairs', 'labelled')]
        cells = [name, words(budget), side, f'{100 * row["accuracy_at_0"]:.1f}',
                 f'{chosen[budget]["lam"]:g}', f'{100 * row["accuracy"]:.1f}',
                 *(points(one['gain'], one['gain_interval']) for one in (row, *grid))]
        lines.append(f'| {" | ".join(cells)} |')
  return '\n'.join(lines) + '\n'


def entry(rows: list[dict], at: dict) -> dict:
  return next(row for row in rows if all(row[key] == value for key, value in at.items()))


def points(gain: float, interval: list[float]) -> str:
  return f'{100 * gain:+.1f} [{", ".join(f"{100 * v:+.1f}" for v in interval)}]'


if __name__ == '__main__':
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--data_dir', default='')
  parser.add_argument('--workdir', type=pathlib.Path, required=True)
  parser.add_argument('--only', type=lambda text: text.split(','))
  parser.add_argument('--figure', type=pathlib.Path)
  parser.add_argument('--table', type=pathlib.Path)
  main(parser.parse_args())
