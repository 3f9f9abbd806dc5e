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
from mmalign_jax.reports.statistics import half_width
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
  unit = 'seeds' if summary[0]['seeds'] > 1 else (
      'folds of the test rows, each group or recording within one')
  lost = sum(not np.isfinite(sum(r[f'accuracy_{i}'] for i in _sides(r))) for r in summary)
  return [f'intervals over {unit}'] + (
      [f'at {lost} of {len(summary)} strengths a run diverged'] if lost else [])


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
      axes[0, 0].plot([x, x], row[f'interval_{side}'], color=color, linewidth=2, alpha=0.5)
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
  return document.text(made)


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
          f'{number(100 * best[f"accuracy_{side}"], ".1f", " %")} '
          f'({number(100 * best[f"gain_{side}"], "+.1f")} points over strength '
          f'{summary[0]["lam"]:g}, 95 % {bracket(best[f"gain_interval_{side}"], "+.1f", 100)}).'
          for side, best in _best(summary).items()]


def headline(summary: list[dict]) -> dict[str, str]:
  """The numbers in which several trainings are compared."""
  found = {}
  for side, best in _best(summary).items():
    found[f'encoder {side}: largest gain (points)'] = (
        f'{number(100 * best[f"gain_{side}"], "+.1f")} '
        f'{bracket(best[f"gain_interval_{side}"], "+.1f", 100)}')
    found[f'encoder {side}: at strength'] = f'{best["lam"]:g}'
    found[f'encoder {side}: accuracy there'] = number(100 * best[f'accuracy_{side}'], '.1f', ' %')
  return found


def _best(summary: list[dict]) -> dict[int, dict]:
  """By side, the entry of its highest accuracy."""
  return {side: max(summary, key=lambda row: -np.inf if not np.isfinite(row[f'accuracy_{side}'])
                    else row[f'accuracy_{side}']) for side in _sides(summary[0])}


def curve(summary: list[dict]) -> Chart:
  """Accuracy against strength."""
  lam = [row['lam'] for row in summary]
  return Chart('Test accuracy in percent against the strength of alignment', 'lam',
               'test accuracy, %', [Series(
                   f'encoder {side}', lam, [100 * row[f'accuracy_{side}'] for row in summary],
                   *([100 * row[f'interval_{side}'][end] for row in summary] for end in (0, 1)))
                   for side in _sides(summary[0])], '.1f')
