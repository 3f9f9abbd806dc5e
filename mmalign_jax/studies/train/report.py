"""What a long training over strengths answers: a table and a curve, with their intervals."""

import pathlib

from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import style
from mmalign_jax.reports.statistics import half_width
from mmalign_jax.reports.text import aligned, bracket, number, write_json

_BOTH = ('cka', 'mutual_knn', 'recall_12', 'recall_21')


def summarise(dataset: xr.Dataset) -> list[dict]:
  """One entry a strength: accuracies with 95 % intervals, what they gain over the lowest strength
  with that of the paired difference, and how similar the sides are (means over seeds).

  With one seed the units of the intervals are folds of the test images and of the recordings,
  which every strength shares: the chance of which were tested, not that of another training. With
  more they are the seeds: both.
  """
  rows = []
  for i, lam in enumerate(dataset['lam'].values.tolist()):
    row: dict = {'lam': lam, 'seeds': int(dataset.sizes['seed'])}
    for side in (1, 2):
      units = _units(dataset, side)  # [L, n]
      row[f'accuracy_{side}'], wide = _mean(units[i])
      row[f'interval_{side}'] = max(wide[0], 0.0), min(wide[1], 1.0)
      row[f'gain_{side}'], row[f'gain_interval_{side}'] = _mean(units[i] - units[0])
    rows.append(row | {name: float(dataset[name].isel(lam=i).mean()) for name in _BOTH})
  return rows


def _units(dataset: xr.Dataset, side: int) -> np.ndarray:
  by_fold = dataset[f'accuracy_by_fold_{side}'].transpose('lam', 'seed', 'fold').values
  return by_fold[:, 0] if by_fold.shape[1] == 1 else by_fold.mean(axis=2)


def _mean(values: np.ndarray) -> tuple[float, tuple[float, float]]:
  """Mean of n units and its 95 % t interval."""
  n = len(values)
  half = half_width(values.std(ddof=min(n - 1, 1)), n)
  return float(values.mean()), (float(values.mean() - half), float(values.mean() + half))


def table(summary: list[dict]) -> str:
  """The summary as text: percent, and points of gain."""
  rows = [[f'{r["lam"]:g}', *(text for i in (1, 2) for text in (
      number(100 * r[f'accuracy_{i}'], '.1f', ' %'), bracket(r[f'interval_{i}'], '.1f', 100),
      number(100 * r[f'gain_{i}'], '+.1f'), bracket(r[f'gain_interval_{i}'], '+.1f', 100))),
           *(number(r[name], '.3f') for name in _BOTH)] for r in summary]
  head = ['lam', *(text for i in (1, 2) for text in (f'encoder {i}', '95 %', 'gain', '95 %')),
          'cka', 'mutual kNN', 'recall 1-2', 'recall 2-1']
  unit = 'folds of the test images and recordings' if summary[0]['seeds'] == 1 else 'seeds'
  lost = sum(not np.isfinite(r['accuracy_1'] + r['accuracy_2']) for r in summary)
  return aligned(head, rows) + f'\nintervals over {unit}' + (
      f'\nat {lost} of {len(summary)} strengths a run diverged' if lost else '')


def figure(dataset: xr.Dataset, summary: list[dict]) -> Figure:
  """Accuracy of both encoders, and similarity of the sides, against strength."""
  drawn, axes = style.grid(8, 3, ncols=2)
  lam = [r['lam'] for r in summary]
  for side, color, mark, line in ((1, style.BLUE, 'o', '-'), (2, style.ORANGE, 's', '--')):
    axes[0, 0].plot(lam, [r[f'accuracy_{side}'] for r in summary], line, color=color, marker=mark,
                    markersize=4, label=f'encoder {side}')
    for x, row in zip(lam, summary):
      axes[0, 0].plot([x, x], row[f'interval_{side}'], color=color, linewidth=2, alpha=0.5)
  for name, mark, line in (('cka', 'o', '-'), ('mutual_knn', 's', '--'), ('recall_12', '^', ':')):
    axes[0, 1].plot(lam, [r[name] for r in summary], line, color='black', marker=mark,
                    markersize=4, label=name.replace('_12', ' at 1, 1 to 2').replace('_', ' '))
  for axis, label in zip(axes[0], ('test accuracy', 'similarity of the sides')):
    axis.set_xlabel('strength of alignment, lam')
    axis.set_ylabel(label)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc='lower left', bbox_to_anchor=(0, 1))
  return drawn


def write(dataset: xr.Dataset, folder: pathlib.Path, *, figures: bool = True) -> str:
  """Writes summary.json and figures/ into `folder`; returns the answer as text."""
  summary = summarise(dataset)
  write_json(folder / 'summary.json', summary)
  if figures:
    (folder / 'figures').mkdir(parents=True, exist_ok=True)
    for suffix in ('png', 'svg'):
      style.save(figure(dataset, summary), folder / 'figures' / f'curve.{suffix}')
  return table(summary)
