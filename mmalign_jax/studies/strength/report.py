"""What a study answers: summary.json, trends.json, the same in words, and report.html."""

from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.data.sources import Source
from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.statistics import finite, half_width, spearman
from mmalign_jax.reports.text import bracket, percent, plain, points
from mmalign_jax.studies.strength import (
  headline,
  references,
  retention,
  scores,
  together,
  tuning_report,
)
from mmalign_jax.studies.strength.curves import (
  Curve,
  curves,
  encoders,
  folded,
  is_exact,
  is_strength,
  source_of,
)
from mmalign_jax.studies.strength.optimum import MIN_SEEDS, Optimum, choices, optimum

FEW_FOLDS = 8  # parts of a test set, below which intervals are said to be rough
_WORDS = {'rising': 'align, at about {}', 'falling': 'strong alignment hurts',
          'inverted_u': 'align, at about {} and not much more',
          'flat': 'no difference shows', None: f'under {MIN_SEEDS} seeds: no verdict'}


_READING = (
    'gain: test accuracy at the best strength minus that at the lowest one, in percentage points. '
    'Every seed is judged at the strength that the other seeds choose, so that choosing does not '
    'flatter; intervals are of 95 %. A shape is named where its interval excludes 0. '
    'ceiling: what no encoder of this side can pass, where it is known.')
_PICTURES = {
    'accuracy': 'Test accuracy against strength, bands over seeds; dotted: the Bayes ceiling.',
    'gain': 'Accuracy minus that at the lowest strength, in points, by setting and strength.',
    'cka': 'Accuracy against the similarity of the representations, coloured by strength.',
    'best_lam': 'Best strength of every encoder by setting, with its 95 % interval.',
    'synergy': 'Accuracy of the head on all sides minus that of the best side, in points, against '
               'strength, with its 95 % interval.',
    'retention': 'Retention of every factor against strength, a line per layer, bands over seeds; '
                 'dashed: chance.'}


def _words(picture: pathlib.Path) -> str:
  """What one sees in a picture; there may be several of a kind, NAME_2 after NAME."""
  name = picture.stem if picture.stem in _PICTURES else picture.stem.rpartition('_')[0]
  return _PICTURES[name]


def summarise(dataset: xr.Dataset, *, resamples: int = 2000) -> list[dict]:
  """One entry per data setting and encoder, JSON-ready; see `Optimum` for the statistics."""
  exact = is_exact(dataset)
  found = [(curve, _entry(curve, optimum(
      curve.lam, curve.accuracy, n_boot=resamples, exact=exact)))
           for curve in sorted(curves(dataset), key=_order)]
  for curve, entry in found:
    if more := scores.scores(dataset, curve, entry['best_lam']):
      entry['scores'] = more
    if made := references.gains(dataset, entry, curve.encoder):
      entry['linear'] = made
  if 'retention' not in dataset:
    return [entry for _, entry in found]
  return [entry | {'retention': retention.entries(dataset, curve.encoder, curve.setting)}
          for curve, entry in found]


def _order(curve: Curve):
  return [(0, v, '') if isinstance(v, (int, float)) else (1, 0, str(v))
          for v in curve.setting.values()], curve.encoder


def _entry(curve: Curve, best: Optimum) -> dict:
  mean = curve.mean
  at_best = None if best.best_lam is None else float(mean[curve.lam == best.best_lam][0])
  return {
      **curve.setting, 'encoder': curve.encoder, 'strength': curve.axis,
      'best_lam': best.best_lam, 'best_lam_interval': best.best_lam_interval, 'gain': best.gain,
      'gain_interval': best.gain_interval, 'drop': best.drop, 'drop_interval': best.drop_interval,
      'shape': best.shape, 'accuracy_at_lowest': finite(mean[0]), 'accuracy_at_best': at_best,
      'accuracy_at_highest': finite(mean[-1]), 'ceiling': finite(curve.ceiling),
      'seeds': best.n_seeds, 'folds': best.n_folds, 'diverged': curve.n_diverged}


def table(summary: list[dict], dataset: xr.Dataset) -> Table:
  """The summary: accuracies in percent, gains in percentage points, 95 % intervals."""
  settings = _settings(summary, dataset)
  head = [*settings, 'encoder', 'at lowest', 'best lam', '95 %', 'gain', '95 %', 'ceiling',
          'shape', 'so']
  return Table(head, [_cells(row, settings) for row in summary], (len(head) - 2, len(head) - 1))


def _settings(summary: list[dict], dataset: xr.Dataset) -> list[str]:
  """Names of the settings of the data that the entries have."""
  return [name for name in map(str, dataset['accuracy_1'].dims)
          if any(name in row for row in summary)]


def remarks(summary: list[dict], dataset: xr.Dataset) -> list[str]:
  """What a reader of the table must know of it."""
  diverged = int(dataset['diverged'].sum())
  folds = {row['folds'] for row in summary}
  few = sorted(n for n in folds if 1 < n < FEW_FOLDS)
  said = [f'{diverged} of {dataset["diverged"].size} cells diverged'] if diverged else []
  if 1 in folds and not is_exact(dataset):
    said.append('the test set has one independent part (group): no interval, no verdict; '
                'test on more groups')
  return said + ([f'the test set has {" or ".join(map(str, few))} independent parts (groups): '
                  'intervals are rough'] if few else [])


def _cells(row: dict, settings: Sequence[str]) -> list[str]:
  best = plain(row['best_lam'])
  return [*(plain(row.get(name)) for name in settings), str(row['encoder']),
          percent(row['accuracy_at_lowest']), best, bracket(row['best_lam_interval'], 'g'),
          points(row['gain']), bracket(row['gain_interval'], '+.1f', 100),
          percent(row['ceiling']), row['shape'] or '-',
          _so(row, best)]


def _so(row: dict, best: str) -> str:
  """The advice in words, or why there is none."""
  if not row['seeds']:
    return ('all diverged at the lowest lam' if row['diverged'] else
            f'no test row has side {row["encoder"]}')
  if row['shape'] is None and row['seeds'] >= MIN_SEEDS:
    return 'one independent part of the test set: no verdict'
  return _WORDS[row['shape']].format(best)


# -- trends --------------------------------------------------------------------------------------


def trends(dataset: xr.Dataset, *, resamples: int = 2000) -> list[dict]:
  """Spearman correlation of the best strength with what each encoder knows alone or shares.

  For `bits`: the number of shared task bits, and the share of an encoder's own task bits that is
  shared; for `atoms`: the exact unique information of the side; for other generators, what the
  `words` and `shares` of their rows say. The interval is over seeds, drawn
  alike for all settings, the best strengths chosen anew in each resample.
  """
  found, source = [], source_of(dataset)
  for encoder in encoders(dataset):
    own = [c for c in curves(dataset) if c.encoder == encoder]
    for name, predictor in _predictors(own, encoder, source).items():
      if len(set(predictor)) < 3 or not all(np.isfinite(c.accuracy).all() for c in own):
        continue
      best = np.stack([choices(c.lam, c.accuracy, n_boot=resamples) for c in own], axis=1)
      rho = spearman(np.asarray(predictor)[None], best).tolist()
      enough = own[0].accuracy.shape[1] >= MIN_SEEDS
      found.append({
          'encoder': encoder, 'best_lam_against': name, 'spearman': rho[0],
          'interval': np.quantile(rho[1:], [0.025, 0.975]).tolist() if enough else None,
          'points': list(zip(predictor, best[0].tolist()))})
  return found


def _predictors(own: list[Curve], encoder: int, source: Source | None) -> dict[str, list[float]]:
  settings = [curve.setting for curve in own]
  found = {}
  if all(name in s for s in settings for name in ('redundancy', f'unique_{encoder}')):
    found['unique information (nats)'] = [s[f'unique_{encoder}'] for s in settings]
  elif 'redundancy' in settings[0] and max(s['redundancy'] for s in settings) > 1:
    shared = [s['redundancy'] for s in settings]
    found[source.words.get('redundancy', ('redundancy',))[0] if source else 'redundancy'] = shared
    if source and source.shares:
      found['shared part of its task bits'] = [source.shares(r, encoder) for r in shared]
  return found


def trend_lines(found: list[dict]) -> str:
  """The trends in words."""
  return '\n'.join(
      f'best lam of encoder {t["encoder"]} against {t["best_lam_against"]}: '
      f'Spearman {t["spearman"]:+.2f} {bracket(t["interval"])}' for t in found)


def pairs(dataset: xr.Dataset) -> str:
  """What all points of several strengths (lam_1, lam_2) gain over the lowest one, in words: all
  encoders' mean accuracy in points, with 95 % t intervals over seeds where curves have one, too;
  '' where there is one axis."""
  axes = [name for name in map(str, dataset.sizes) if is_strength(name)]
  if len(axes) < 2:
    return ''
  numbers = encoders(dataset)
  mean = xr.concat([dataset[f'accuracy_{i}'] for i in numbers], 'encoder').mean(
      'encoder', skipna=False)
  gain = 100 * (mean - mean.isel(dict.fromkeys(axes, 0)))
  n = gain.sizes['seed']
  told = n >= MIN_SEEDS and (
      is_exact(dataset) or all(folded(dataset, i).sizes['fold'] > 1 for i in numbers))
  spread = gain.std('seed', ddof=int(told), skipna=False)
  half = spread.copy(data=half_width(spread.values, n))
  lines = [f'gain of {"both" if len(numbers) == 2 else "all"} encoders together (points) by '
           f'{" and ".join(axes)}:']
  mean = gain.mean('seed', skipna=False)
  for point in mean.stack(cell=[d for d in gain.dims if d != 'seed']).cell.values:
    at = dict(zip([d for d in gain.dims if d != 'seed'], point))
    lines.append('  ' + ', '.join(f'{k} {plain(v)}' for k, v in at.items()) + ': ' + (
        f'{float(mean.sel(at)):+.2f}' + (f' +- {float(half.sel(at)):.2f}' if told else '')
        if np.isfinite(mean.sel(at)) else 'a seed of it, or of the lowest, diverged'))
  return '\n'.join(lines)


def write(dataset: xr.Dataset, folder: pathlib.Path, *, resamples: int = 2000,
          figures: bool = True) -> str:
  """Writes summary.json, trends.json and, with figures, figures/ and report.html into `folder`;
  returns the answer as text."""
  made, files = compose(dataset, folder / 'figures' if figures else None, resamples=resamples)
  document.keep(made, folder, files, page=figures)
  return document.text(made)


def compose(dataset: xr.Dataset, figures: pathlib.Path | None, *,
            resamples: int = 2000) -> tuple[Document, dict[str, Any]]:
  """The report, and what its JSON files hold by name; pictures are drawn into `figures`, if any."""
  summary = summarise(dataset, resamples=resamples)
  found = trends(dataset, resamples=resamples)
  tuned, fused = tuning_report.entries(dataset), together.entries(dataset)
  files = {'summary.json': summary + fused, 'trends.json': found, 'tuning.json': tuned}
  pictures = []
  if figures:
    from mmalign_jax.studies.strength.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(dataset, summary, figures, fused)
  return as_document(dataset, summary, found, pictures, fused), {
      name: content for name, content in files.items() if content is not None}


def as_document(dataset: xr.Dataset, summary: list[dict], found: list[dict],
                pictures: list[pathlib.Path], fused: Sequence[dict] = ()) -> Document:
  """The report: the table, the trends, the pictures, and what was run."""
  said = list(filter(None, (*remarks(summary, dataset), trend_lines(found), pairs(dataset))))
  notes = dataset.attrs.get('notes', '')
  return Document(f'How strongly to align: {dataset.attrs.get("name", "study")}', [
      Section('Best strength of every encoder', [table(summary, dataset), *map(Words, said)]),
      *headline.charts(dataset),
      *scores.sections(summary, _settings(summary, dataset)),
      *tuning_report.sections(dataset), *together.sections(dataset, fused),
      *retention.sections(dataset, summary, _settings(summary, dataset)),
      Section('How to read it', [Words(_READING)], said=False),
      *([Section('Pictures', [Picture(path, _words(path)) for path in pictures])]
        if pictures else []),
      *([Section('The data', [Words(notes)], said=False)] if notes else []),
      *document.provenance(dataset.attrs)],
      headline.sentences(summary, _settings(summary, dataset)), headline.numbers(summary, dataset))
