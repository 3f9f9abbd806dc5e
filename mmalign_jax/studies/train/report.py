"""What a long training over strengths answers: a table and a curve, with their intervals."""

import itertools
import json
import pathlib
import re

from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import document, style
from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.statistics import cross_fitted, judged_folds, over_seeds_and_folds
from mmalign_jax.reports.text import bracket, number, write_json
from mmalign_jax.studies.train.judge import similar

_FELT = {
    'lam_mode': {
        'share': "lam: length of the alignment's gradient on an encoder, over its task's",
        'auto': "lam: length of the alignment's gradient on an encoder, over its task's times the "
                'cosine of the two, where that is above 0'},
    'guard': {'project': "the alignment's gradient without what goes against the task's on an "
                         'encoder'}}
_LINES = ((style.BLUE, 'o', '-'), (style.ORANGE, 's', '--'), (style.GREEN, '^', ':'))


def summarise(dataset: xr.Dataset) -> list[dict]:
  """One entry a strength: accuracies with 95 % intervals, what they gain over the lowest strength
  with that of the paired difference, and how similar the sides are (means over seeds).

  Intervals are over seeds and over folds of the test rows, which every strength shares, joined in
  squares; of one seed over folds alone: the chance of which rows were tested, not that of another
  training. None where the rows are one fold, a single group: that of seeds alone would be too
  short.

  The entry of an encoder's highest accuracy has a `best_gain_I` too: every seed and fold at the
  strength that the others choose, since choosing the best on the rows that judge it flatters.
  """
  cells = {side: _cells(dataset, side) for side in _sides(dataset)}
  rows = []
  for i, lam in enumerate(dataset['lam'].values.tolist()):
    row: dict = {'lam': lam, 'seeds': int(dataset.sizes['seed'])}
    for side, own in cells.items():
      row[f'accuracy_{side}'], wide = _mean(own[i])
      row[f'interval_{side}'] = wide and (max(wide[0], 0.0), min(wide[1], 1.0))
      row[f'gain_{side}'], row[f'gain_interval_{side}'] = _mean(own[i] - own[0])
      row[f'folds_{side}'] = own.shape[2]
    rows.append(row | {name: float(dataset[name].isel(lam=i).mean()) for name in similar(dataset)})
  for side, own in cells.items():
    best = max(rows, key=lambda row: -np.inf if not np.isfinite(row[f'accuracy_{side}'])
               else row[f'accuracy_{side}'])
    best[f'best_gain_{side}'], best[f'best_gain_interval_{side}'] = _mean(_chosen(own))
  return rows


def _sides(of: xr.Dataset | dict) -> list[int]:
  """Numbers of the sides of a data set, or of an entry of its summary."""
  return list(itertools.takewhile(lambda i: f'accuracy_{i}' in of, itertools.count(1)))


def _cells(dataset: xr.Dataset, side: int) -> np.ndarray:
  """Accuracy [L, S, F] by strength, seed and those folds that hold a row of the side."""
  by_fold = dataset[f'accuracy_by_fold_{side}'].transpose('lam', 'seed', 'fold').values
  return by_fold[:, :, judged_folds(by_fold)]


def _mean(values: np.ndarray) -> tuple[float, tuple[float, float] | None]:
  """Mean of values [S, F] and its 95 % interval; None of one fold, or of what is not finite."""
  mean = float(values.mean())
  if values.shape[1] < 2 or not np.isfinite(mean):
    return mean, None
  half = over_seeds_and_folds(values)
  return mean, (mean - half, mean + half)


def _chosen(cells: np.ndarray) -> np.ndarray:
  """Gain [S, F] of accuracies [L, S, F] at the strength that the other seeds and folds choose; of
  one seed and one fold at their own best. A strength at which a run diverged is never chosen."""
  known = cells[np.isfinite(cells).all(axis=(1, 2))]
  if not np.isfinite(cells[0]).all():
    return np.full(cells.shape[1:], np.nan)
  return cross_fitted(known) if known[0].size > 1 else known.max(axis=0) - known[0]


def tables(summary: list[dict]) -> list[Table]:
  """The summary, in percent and points of gain: one row a strength; of three and more sides one a
  strength and encoder, and one a strength and pair."""
  sides, both = _sides(summary[0]), _similarities(summary[0])
  accuracies = {r['lam']: [_accuracy(r, i) for i in sides] for r in summary}
  if len(sides) < 3:
    head = [text for i in sides for text in (f'encoder {i}', '95 %', 'gain', '95 %')]
    return [Table(['lam', *head, *map(_short, both)], [
        [f'{r["lam"]:g}', *itertools.chain(*accuracies[r['lam']]),
         *(number(r[name], '.3f') for name in both)] for r in summary])]
  of_pair: dict[str, dict[str, str]] = {}  # by pair, then by what it is called
  for name in both:
    stem, pair = _split(name)
    back = pair != ''.join(sorted(pair))
    of_pair.setdefault(''.join(sorted(pair)), {})[stem + ' back' * back] = name
  stems = list(dict.fromkeys(itertools.chain(*of_pair.values())))
  return [
      Table(['lam', 'encoder', 'accuracy', '95 %', 'gain', '95 %'], [
          [f'{lam:g}', str(i), *cells] for lam, all_sides in accuracies.items()
          for i, cells in zip(sides, all_sides)]),
      Table(['lam', 'sides', *stems], [
          [f'{r["lam"]:g}', '-'.join(pair), *(
              number(r[names[stem]], '.3f') if stem in names else '' for stem in stems)]
          for r in summary for pair, names in of_pair.items()])]


def _accuracy(row: dict, i: int) -> tuple[str, ...]:
  return (number(100 * row[f'accuracy_{i}'], '.1f', ' %'),
          bracket(row[f'interval_{i}'], '.1f', 100),
          number(100 * row[f'gain_{i}'], '+.1f'), bracket(row[f'gain_interval_{i}'], '+.1f', 100))


def _similarities(row: dict) -> list[str]:
  return [name for name in row if name.startswith(('cka', 'mutual_knn', 'recall'))]


def _split(name: str) -> tuple[str, str]:
  """What a similarity is called, and of which sides: of recall_12 'recall' and '12'."""
  stem, *of = re.split(r'_(?=[1-9])', name, maxsplit=1)
  return stem.replace('mutual_knn', 'mutual kNN'), ''.join(of).replace('_', '')


def _short(name: str) -> str:
  """Of a similarity, as in a table: recall_12 is 'recall 1-2', mutual_knn_1_3 'mutual kNN 1-3'."""
  stem, of = _split(name)
  return f'{stem} {"-".join(of)}'.rstrip()


def remarks(summary: list[dict]) -> list[str]:
  """What a reader of the table must know of it."""
  first, sides = summary[0], _sides(summary[0])
  alone = [i for i in sides if first[f'folds_{i}'] < 2]
  said = [f'encoder {i}: no interval, since its test rows are one group' for i in alone]
  if len(alone) < len(sides):
    units = 'seeds and folds' if first['seeds'] > 1 else 'folds'
    said.append(f'intervals over {units} of the test rows, each group or recording within one')
    if len(summary) > 1:
      said.append('gain: of each strength by itself; in the answer every seed and fold is judged '
                  'at the strength that the others choose, so that choosing does not flatter')
  lost = sum(not np.isfinite(sum(r[f'accuracy_{i}'] for i in sides)) for r in summary)
  return said + ([f'at {lost} of {len(summary)} strengths a run diverged'] if lost else [])


def felt(dataset: xr.Dataset) -> list[str]:
  """How strength is meant, where it is not the weight of the loss, and what is left out of it."""
  settings = json.loads(dataset.attrs.get('configuration', '{}'))
  return [text for name, texts in _FELT.items() for value, text in texts.items()
          if settings.get(name) == value]


def figure(dataset: xr.Dataset, summary: list[dict]) -> Figure:
  """Accuracy of the encoders, and similarity of the sides, against strength: one panel of all
  similarities; of three and more sides one of each, a line a pair."""
  sides, lam = _sides(summary[0]), [r['lam'] for r in summary]
  shown = {name: _split(name) for name in _similarities(summary[0])}
  shown = {name: (stem, pair) for name, (stem, pair) in shown.items()
           if stem != 'recall' or pair == ''.join(sorted(pair))}
  stems = list(dict.fromkeys(stem for stem, _ in shown.values()))
  pairs = list(dict.fromkeys(pair for _, pair in shown.values()))
  apart = len(sides) > 2
  drawn, axes = style.grid(11 if apart else 8, 3, ncols=1 + len(stems) if apart else 2)
  for side in sides:
    color, mark, line = _look(side - 1)
    axes[0, 0].plot(lam, [r[f'accuracy_{side}'] for r in summary], line, color=color, marker=mark,
                    markersize=4, label=f'encoder {side}')
    for x, row in zip(lam, summary):
      if (wide := row[f'interval_{side}']) is not None:
        axes[0, 0].plot([x, x], wide, color=color, linewidth=2, alpha=0.5)
  for name, (stem, pair) in shown.items():
    axis = axes[0, 1 + stems.index(stem)] if apart else axes[0, 1]
    color, mark, line = _look(pairs.index(pair) if apart else stems.index(stem))
    axis.plot(lam, [r[name] for r in summary], line, color=color if apart else 'black',
              marker=mark, markersize=4, label='-'.join(pair) if apart else _short(name))
  labels = ['test accuracy', *(stems if apart else ['similarity of the sides'])]
  for axis, label in zip(axes[0], labels):
    axis.set_xlabel('strength of alignment, lam')
    axis.set_ylabel(label)
    axis.legend(frameon=False, fontsize=8, ncols=1 if apart and axis is axes[0, 0] else 3,
                loc='lower left', bbox_to_anchor=(0, 1))
  return drawn


def _look(i: int) -> tuple[str, str, str]:
  return _LINES[i % len(_LINES)]


def write(dataset: xr.Dataset, folder: pathlib.Path, *, figures: bool = True) -> str:
  """Writes summary.json and, with figures, figures/ and report.html into `folder`; returns the
  answer as text."""
  made, summary = compose(dataset, folder / 'figures' if figures else None)
  write_json(folder / 'summary.json', summary)
  if figures:
    document.write(folder / 'report.html', made)
  return '\n'.join([document.text(made), *made.answer])


def compose(dataset: xr.Dataset, figures: pathlib.Path | None) -> tuple[Document, list[dict]]:
  """The report and its summary; the picture is drawn into `figures`, if there are to be any."""
  summary = summarise(dataset)
  sections = [Section('By strength', [*tables(summary),
                                      *map(Words, [*remarks(summary), *felt(dataset)]),
                                      *([curve(summary)] if len(summary) > 1 else [])])]
  if figures:
    figures.mkdir(parents=True, exist_ok=True)
    for suffix in ('png', 'svg'):
      style.save(figure(dataset, summary), figures / f'curve.{suffix}')
    sections.append(Section('Pictures', [Picture(
        figures / 'curve.png', 'Test accuracy of the encoders, and similarity of the '
        'sides, against strength; bars: 95 %.')]))
  return Document(f'How strongly to align: {dataset.attrs.get("name", "training")}', [
      *sections, *document.provenance(dataset.attrs)], answer(summary), headline(summary)), summary


def answer(summary: list[dict]) -> list[str]:
  """A sentence for every encoder."""
  return [f'Encoder {side}: most accurate at strength {best["lam"]:g}, '
          f'{number(100 * best[f"accuracy_{side}"], ".1f", " %")}'
          f'{_gained(summary, best, side) if len(summary) > 1 else ""}.'
          for side, best in _best(summary).items()]


def _gained(summary: list[dict], best: dict, side: int) -> str:
  rows = 'other rows' if best[f'folds_{side}'] > 1 else 'the same rows'
  return (f'; a strength chosen on {rows} gains '
          f'{number(100 * best[f"best_gain_{side}"], "+.1f")} points over strength '
          f'{summary[0]["lam"]:g}, 95 % {bracket(best[f"best_gain_interval_{side}"], "+.1f", 100)}')


def headline(summary: list[dict]) -> dict[str, str]:
  """The numbers in which several trainings are compared."""
  found = {}
  for side, best in _best(summary).items():
    found[f'encoder {side}: largest gain (points)'] = (
        f'{number(100 * best[f"best_gain_{side}"], "+.1f")} '
        f'{bracket(best[f"best_gain_interval_{side}"], "+.1f", 100)}')
    found[f'encoder {side}: at strength'] = f'{best["lam"]:g}'
    found[f'encoder {side}: accuracy there'] = number(100 * best[f'accuracy_{side}'], '.1f', ' %')
  return found


def _best(summary: list[dict]) -> dict[int, dict]:
  """By side, the entry of its highest accuracy."""
  return {side: next(row for row in summary if f'best_gain_{side}' in row)
          for side in _sides(summary[0])}


def curve(summary: list[dict]) -> Chart:
  """Accuracy against strength."""
  lam, none = [row['lam'] for row in summary], (np.nan, np.nan)
  return Chart('Test accuracy in percent against the strength of alignment', 'lam',
               'test accuracy, %', [Series(
                   f'encoder {side}', lam, [100 * row[f'accuracy_{side}'] for row in summary],
                   *([100 * (row[f'interval_{side}'] or none)[end] for row in summary]
                     for end in (0, 1)))
                   for side in _sides(summary[0])], '.1f')
