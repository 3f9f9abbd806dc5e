"""What the emergence study answers: summary.json, and the same beside the published values."""

from collections.abc import Sequence
import json
import pathlib

import numpy as np
import xarray as xr

from mmalign_jax import similarity
from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section
from mmalign_jax.reports.statistics import mean_interval, median, spearman, within_one
from mmalign_jax.reports.text import number
from mmalign_jax.studies.emergence import correlation, paper
from mmalign_jax.studies.emergence.correlation import PAIRS
from mmalign_jax.studies.emergence.words import NAMES, claims, said, text

_PICTURES = {
    'fig4': 'Best alignment over layers and depths against the information that is not shared.',
    'fig6': 'Performance against alignment, a point for every encoder.',
    'fig7': 'Correlations of alignment, performance and depth, by what is not shared.',
    'fig9': 'Best alignment against the depth of the random transform.'}

DECISIVE = 0.6  # width of an interval above which it does not count as agreement


def summarise(dataset: xr.Dataset, *, resamples: int = 2000) -> dict:
  """The answers, JSON-ready. Those of the first measure stand at the top, all under `measures`."""
  configuration = json.loads(dataset.attrs['configuration'])
  found = {name: _of_measure(dataset, name, configuration, resamples)
           for name in json.loads(dataset.attrs['measures'])}
  first = next(iter(found))
  return {
      'measure': first, **found[first], 'measures': found,
      'published': compare(dataset, found, configuration), 'training': training(dataset),
      'diverged': _count(dataset['diverged_1'], dataset['diverged_2']),
      'diverged_untrained': _count(*(
          dataset[f'diverged_{i}'] & (dataset[f'best_epoch_{i}'] == 0) for i in (1, 2))),
      'tuning': json.loads(dataset.attrs['tuning'])}


def _count(of_1: xr.DataArray, of_2: xr.DataArray) -> int:
  """How many encoders; those of side 1 are repeated over the transform depths of side 2."""
  return int(of_1.isel(transform_depth=0).sum() + of_2.sum())


def _of_measure(dataset: xr.Dataset, name: str, configuration: dict, resamples: int) -> dict:
  most = correlation.largest(dataset, name, configuration['neighbors'])
  return {'max_alignment': _max_alignment(dataset, most),
          'spearman_unique': _spearman_unique(dataset, name, most),
          'spearman_transform_depth': _spearman_transform(dataset, name, most),
          'correlations': _correlations(dataset, name, resamples),
          'above_chance': _above_chance(dataset, name)}


def _max_alignment(dataset: xr.Dataset, most: correlation.Largest) -> list[dict]:
  """By unique and transform depth: means over seeds of the best over layers and depths."""
  rows = []
  for i, u in enumerate(dataset['unique'].values.tolist()):
    for j, t in enumerate(dataset['transform_depth'].values.tolist()):
      value, calibrated = most.value[i, j], most.calibrated[i, j]
      rows.append({
          'unique': u, 'transform_depth': t, 'value': float(value.mean()),
          'interval': mean_interval(value), 'calibrated': float(calibrated.mean()),
          'calibrated_interval': mean_interval(calibrated),
          'null_mean': float(most.null_mean[i, j].mean()),
          'p_value': float(most.p_value[i, j].max()), 'seeds': len(value)})
  return rows


def _spearman_unique(dataset: xr.Dataset, name: str, most: correlation.Largest) -> list[dict]:
  """By transform depth: rank correlation of `unique` with the best alignment, mean over seeds."""
  sign = 1 if similarity.MEASURES[name].higher else -1
  unique = dataset['unique'].values
  rows = []
  for j, t in enumerate(dataset['transform_depth'].values.tolist()):
    raw, calibrated = (spearman(v[:, j].T, unique[None])
                       for v in (sign * most.value, _turned(name, most.calibrated)))
    rows.append({'transform_depth': t, 'value': float(raw.mean()),
                 'interval': within_one(mean_interval(raw)),
                 'calibrated': float(calibrated.mean()), 'seeds': len(raw)})
  return rows


def _turned(name: str, calibrated: np.ndarray) -> np.ndarray:
  entry = similarity.MEASURES[name]
  return calibrated if entry.higher or entry.best is not None else -calibrated


def _spearman_transform(dataset: xr.Dataset, name: str, most: correlation.Largest) -> list[dict]:
  """By unique: rank correlation of transform depth with the best alignment, mean over seeds."""
  sign = 1 if similarity.MEASURES[name].higher else -1
  depth = dataset['transform_depth'].values
  rows = []
  for i, u in enumerate(dataset['unique'].values.tolist()):
    raw = spearman(sign * most.value[i].T, depth[None])
    rows.append({'unique': u, 'value': float(raw.mean()),
                 'interval': within_one(mean_interval(raw))})
  return rows


def _correlations(dataset: xr.Dataset, name: str, resamples: int) -> list[dict]:
  """By unique: medians over series, Spearman at the top; also Pearson, and both calibrated."""
  forms = {form: correlation.by_series(dataset, name, kind=kind, calibrated=calibrated)
           for form, kind, calibrated in (
               ('spearman', 'spearman', False), ('pearson', 'pearson', False),
               ('spearman_calibrated', 'spearman', True), ('pearson_calibrated', 'pearson', True))}
  rows = []
  for i, u in enumerate(dataset['unique'].values.tolist()):
    medians = {form: {pair: median(values[pair][i], n_boot=resamples)
                      for pair in PAIRS} for form, values in forms.items()}
    rows.append({
        'unique': u, **{pair: medians['spearman'][pair].value for pair in PAIRS},
        'series': len(medians['spearman'][PAIRS[0]].values),
        **{form: {pair: {'median': m.value, 'interval': m.interval} for pair, m in by.items()}
           for form, by in medians.items()}})
  return rows


def _above_chance(dataset: xr.Dataset, name: str) -> list[dict]:
  """By unique: share of pairs of encoders whose p-value is at most 0.05."""
  p = correlation.first(dataset[f'{name}_p_value'])
  share = (p <= 0.05).mean([d for d in p.dims if d != 'unique'])
  return [{'unique': int(u), 'share': float(s)}
          for u, s in zip(dataset['unique'].values, share.values)]


def training(dataset: xr.Dataset) -> list[dict]:
  """By side: how far training went. `last_rise` is what the last sixth of the epochs still added to
  the best validation accuracy, on average over encoders, in 0..1."""
  rows = []
  for side in (1, 2):
    history = dataset[f'validation_{side}']
    best = np.maximum.accumulate(history.values, axis=-1)
    epochs = best.shape[-1]
    last = max(1, epochs // 6)
    rise = best[..., -1] - best[..., max(0, epochs - last - 1)]
    share = dataset[f'accuracy_{side}'] / dataset[f'ceiling_{side}']
    rows.append({'side': side, 'epochs': epochs, 'last_epochs': last,
                 'last_rise': float(rise.mean()), 'share_of_ceiling': float(share.mean())})
  return rows


# -- beside the paper ----------------------------------------------------------------------------


def compare(dataset: xr.Dataset, found: dict, configuration: dict) -> list[dict]:
  """Rows {quantity, unique, published, ours, interval, agrees} for what the paper gives a number.

  Maximum alignment is the mean over the transform depths that both have, and its interval that of
  the paired difference. A value agrees where the published one lies in our interval, widened by the
  error of reading the figure; without an interval, or where one wider than DECISIVE holds it,
  nothing can be said: None.
  """
  name = paper.MEASURE
  if name not in found or not paper.applies(configuration):
    return []
  ours, rows = found[name], []
  shared = [t for t in paper.MAX_ALIGNMENT if t in dataset['transform_depth'].values]
  values = {(r['unique'], r['transform_depth']): r['value'] for r in ours['max_alignment']}
  for u in (u for u in dataset['unique'].values.tolist() if u < 8 and shared):
    theirs = np.array([paper.MAX_ALIGNMENT[t][u] for t in shared])
    own = np.array([values[u, t] for t in shared])
    spread = mean_interval(own - theirs)
    rows.append(_row('maximum alignment', u, theirs.mean(), own.mean(),
                     spread and tuple(theirs.mean() + s for s in spread)))
  theirs = [paper.SPEARMAN_UNIQUE[t] for t in shared]
  own = [r['value'] for r in ours['spearman_unique'] if r['transform_depth'] in shared]
  if shared:
    middle = median(np.array(own))
    rows.append(_row('Spearman of maximum alignment with U', None, float(np.median(theirs)),
                     middle.value, middle.interval))
  for pair in PAIRS:
    for row in ours['correlations']:
      rows.append(_row(NAMES[pair], row['unique'], paper.CORRELATIONS[pair][row['unique']],
                       row[pair], row['spearman'][pair]['interval']))
  return rows


def _row(quantity: str, unique: int | None, theirs: float, own: float, interval) -> dict:
  agrees = None
  if interval is not None and np.isfinite([own, *interval]).all():
    error = paper.READING_ERROR
    inside = bool(interval[0] - error <= theirs <= interval[1] + error)
    agrees = None if inside and interval[1] - interval[0] > DECISIVE else inside
  return {'quantity': quantity, 'unique': unique, 'published': float(theirs), 'ours': float(own),
          'interval': interval and [float(v) for v in interval], 'agrees': agrees}


# -- the whole -------------------------------------------------------------------------------------


def write(dataset: xr.Dataset, folder: pathlib.Path, *, resamples: int = 2000,
          figures: bool = True) -> str:
  """Writes summary.json and, with figures, figures/ and report.html into `folder`; returns the
  answer as text."""
  made, summary = compose(dataset, folder / 'figures' if figures else None, resamples=resamples)
  document.keep(made, folder, {'summary.json': summary}, page=figures)
  return text(summary)


def compose(dataset: xr.Dataset, figures: pathlib.Path | None, *,
            resamples: int = 2000) -> tuple[Document, dict]:
  """The report and its summary; pictures are drawn into `figures`, if there are to be any."""
  summary = summarise(dataset, resamples=resamples)
  pictures = []
  if figures:
    from mmalign_jax.studies.emergence.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(dataset, summary, figures)
  return as_document(dataset, summary, pictures), summary


def as_document(dataset: xr.Dataset, summary: dict, pictures: Sequence[pathlib.Path]) -> Document:
  """The report: what `text` says, in sections, with the pictures and what was run."""
  titles = {'published': 'Beside the published values', 'training': 'How far training went'}
  sections = [Section(titles.get(name, f'Measure {name}'), parts) for name, parts in said(summary)]
  return Document(f'When alignment emerges: {dataset.attrs.get("name", "study")}', [
      *sections,
      *([Section('Pictures', [Picture(path, _PICTURES[path.stem]) for path in pictures])]
        if pictures else []),
      *document.provenance(dataset.attrs)], claims(summary), headline(summary))


def headline(summary: dict) -> dict[str, str]:
  """The numbers in which several studies are compared: of the first measure, at the first transform
  depth."""
  depth = summary['max_alignment'][0]['transform_depth']
  rows = [row for row in summary['max_alignment'] if row['transform_depth'] == depth]
  return {'measure': summary['measure'],
          **{f'best alignment, {row["unique"]} unique, transform depth {depth}':
             number(row['value'], '.3f') for row in (rows[0], rows[-1])},
          'diverged': str(summary['diverged'])}
