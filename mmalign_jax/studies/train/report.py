"""What a long training over strengths answers: a table and a curve, with their intervals."""

import itertools
import json
import pathlib
import re

from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import document, style
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.statistics import half_width
from mmalign_jax.reports.text import bracket, number, write_json
from mmalign_jax.studies.train.judge import similar

_LINES = ((style.BLUE, 'o', '-'), (style.ORANGE, 's', '--'), (style.GREEN, '^', ':'))


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
    for side in _sides(dataset):
      units = _units(dataset, side)  # [L, n]
      row[f'accuracy_{side}'], wide = _mean(units[i])
      row[f'interval_{side}'] = max(wide[0], 0.0), min(wide[1], 1.0)
      row[f'gain_{side}'], row[f'gain_interval_{side}'] = _mean(units[i] - units[0])
    rows.append(row | {name: float(dataset[name].isel(lam=i).mean()) for name in similar(dataset)})
  return rows


def _sides(of: xr.Dataset | dict) -> list[int]:
  """Numbers of the sides of a data set, or of an entry of its summary."""
  return list(itertools.takewhile(lambda i: f'accuracy_{i}' in of, itertools.count(1)))


def _units(dataset: xr.Dataset, side: int) -> np.ndarray:
  by_fold = dataset[f'accuracy_by_fold_{side}'].transpose('lam', 'seed', 'fold').values
  return by_fold[:, 0] if by_fold.shape[1] == 1 else by_fold.mean(axis=2)


def _mean(values: np.ndarray) -> tuple[float, tuple[float, float]]:
  """Mean of n units and its 95 % t interval."""
  n = len(values)
  half = half_width(values.std(ddof=min(n - 1, 1)), n)
  return float(values.mean()), (float(values.mean() - half), float(values.mean() + half))


def table(summary: list[dict]) -> Table:
  """The summary: percent, and points of gain."""
  sides, both = _sides(summary[0]), _similarities(summary[0])
  rows = [[f'{r["lam"]:g}', *(text for i in sides for text in (
      number(100 * r[f'accuracy_{i}'], '.1f', ' %'), bracket(r[f'interval_{i}'], '.1f', 100),
      number(100 * r[f'gain_{i}'], '+.1f'), bracket(r[f'gain_interval_{i}'], '+.1f', 100))),
           *(number(r[name], '.3f') for name in both)] for r in summary]
  head = ['lam', *(text for i in sides for text in (f'encoder {i}', '95 %', 'gain', '95 %')),
          *map(_short, both)]
  return Table(head, rows)


def _similarities(row: dict) -> list[str]:
  return [name for name in row if name.startswith(('cka', 'mutual_knn', 'recall'))]


def _short(name: str) -> str:
  """Of a similarity, as in a table: recall_12 is 'recall 1-2', mutual_knn_1_3 'mutual kNN 1-3'."""
  stem, *of = re.split(r'_(?=[1-9])', name, maxsplit=1)
  return ' '.join([stem.replace('mutual_knn', 'mutual kNN'),
                   *('-'.join(v.replace('_', '')) for v in of)])


def remarks(summary: list[dict]) -> list[str]:
  """What a reader of the table must know of it."""
  unit = 'seeds' if summary[0]['seeds'] > 1 else (
      'folds of the test rows, each group or recording within one')
  lost = sum(not np.isfinite(sum(r[f'accuracy_{i}'] for i in _sides(r))) for r in summary)
  return [f'intervals over {unit}'] + (
      [f'at {lost} of {len(summary)} strengths a run diverged'] if lost else [])


def figure(dataset: xr.Dataset, summary: list[dict]) -> Figure:
  """Accuracy of the encoders, and similarity of the sides, against strength."""
  drawn, axes = style.grid(8, 3, ncols=2)
  lam = [r['lam'] for r in summary]
  for side, (color, mark, line) in zip(_sides(summary[0]), _LINES):
    axes[0, 0].plot(lam, [r[f'accuracy_{side}'] for r in summary], line, color=color, marker=mark,
                    markersize=4, label=f'encoder {side}')
    for x, row in zip(lam, summary):
      axes[0, 0].plot([x, x], row[f'interval_{side}'], color=color, linewidth=2, alpha=0.5)
  marks = {'cka': ('o', '-'), 'mutual_knn': ('s', '--'), 'recall': ('^', ':')}
  for name in _similarities(summary[0]):
    stem, *of = re.split(r'_(?=[1-9])', name, maxsplit=1)
    if stem == 'recall' and of[0] != ''.join(sorted(of[0])):
      continue
    color = _LINES[_of_pair(of[0])][0] if len(_sides(summary[0])) > 2 else 'black'
    axes[0, 1].plot(lam, [r[name] for r in summary], marks[stem][1], color=color,
                    marker=marks[stem][0], markersize=4, label=_short(name))
  for axis, label in zip(axes[0], ('test accuracy', 'similarity of the sides')):
    axis.set_xlabel('strength of alignment, lam')
    axis.set_ylabel(label)
    axis.legend(frameon=False, fontsize=8, ncols=3, loc='lower left', bbox_to_anchor=(0, 1))
  return drawn


def _of_pair(text: str) -> int:
  """Place of a pair of three sides, as '13' or '1_3'."""
  return ['12', '13', '23'].index(text.replace('_', ''))


def write(dataset: xr.Dataset, folder: pathlib.Path, *, figures: bool = True) -> str:
  """Writes summary.json and, with figures, figures/ and report.html into `folder`; returns the
  answer as text."""
  summary = summarise(dataset)
  write_json(folder / 'summary.json', summary)
  sections = [Section('By strength', [table(summary), *map(Words, remarks(summary))])]
  if figures:
    (folder / 'figures').mkdir(parents=True, exist_ok=True)
    for suffix in ('png', 'svg'):
      style.save(figure(dataset, summary), folder / 'figures' / f'curve.{suffix}')
    sections.append(Section('Pictures', [Picture(
        folder / 'figures' / 'curve.png', 'Test accuracy of the encoders, and similarity of the '
        'sides, against strength; bars: 95 %.')]))
  made = Document(f'How strongly to align: {dataset.attrs.get("name", "training")}', [
      *sections, *(document.settings(json.loads(dataset.attrs.get(kind, '{}')), title)
                   for kind, title in (('configuration', 'Settings'), ('versions', 'Versions')))])
  if figures:
    document.write(folder / 'report.html', made)
  return document.text(made)
