"""What the emergence study answers of real pairs: summary.json, tables, a picture."""

from collections.abc import Iterator, Sequence
import json
import pathlib

import xarray as xr

from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.statistics import KINDS
from mmalign_jax.reports.text import bracket, number
from mmalign_jax.studies.emergence.real.correlation import (
  FALLING,
  alikeness,
  correlation,
  depths,
  performance,
  within_depths,
)

UNEVEN = 0.1  # above an even share: a largest class beyond that makes accuracy alone misleading
_PICTURE = ('Performance against calibrated alignment with the best encoder of the other side, a '
            'point for every encoder, a panel for each side and measure.')


def summarise(dataset: xr.Dataset, *, resamples: int = 2000) -> dict:
  """The answers, JSON-ready: `sides`, and a row of `correlations` for every side, measure, quantile
  of clipping and score."""
  return {
      'name': dataset.attrs['name'], 'encoders_of_a_side': _encoders(dataset),
      'sides': [_of_side(dataset, side) for side in (1, 2)],
      'correlations': list(_correlations(dataset, resamples)),
      'groups': dataset.attrs['groups'], 'tuning': json.loads(dataset.attrs['tuning'])}


def _encoders(dataset: xr.Dataset) -> int:
  return dataset.sizes['depth'] * dataset.sizes['seed']


def _of_side(dataset: xr.Dataset, side: int) -> dict:
  """What the encoders of a side are, and are worth."""
  names, best, learnt, shares, scores = (
      json.loads(dataset.attrs[name]) for name in (
          'sides', 'best', 'learnt', 'class_shares', 'scores'))
  chosen = best[str(side)]
  of = lambda name: dataset[f'{name}_{side}']
  here = of(scores[0]).sel(depth=chosen['depth'], seed=chosen['seed'])
  return {
      'side': side, 'name': names[side - 1], 'labels': learnt[side - 1],
      'best': {'depth': chosen['depth'], 'seed': chosen['seed'], scores[0]: float(here)},
      'largest_class': max(shares[side - 1]) if shares else None,
      'uneven': bool(shares) and max(shares[side - 1]) > 1 / len(shares[side - 1]) + UNEVEN,
      'scores': {score: {'mean': float(of(score).mean()), 'least': float(of(score).min()),
                         'most': float(of(score).max()),
                         'by_depth': of(score).mean('seed').values.tolist()} for score in scores},
      'diverged': int(of('diverged').sum()),
      'diverged_untrained': int((of('diverged') & (of('best_epoch') == 0)).sum()),
      'alignment': [_alike(dataset, side, name, clip) for name, clip in _measured(dataset)]}


def _measured(dataset: xr.Dataset) -> Iterator[tuple[str, float]]:
  """Measures and quantiles of clipping, without clipping first."""
  for name in json.loads(dataset.attrs['measures']):
    for clip in sorted(dataset['clip_quantile'].values.tolist(), reverse=True):
      yield name, clip


def _alike(dataset: xr.Dataset, side: int, name: str, clip: float) -> dict:
  """How similar a side's encoders are to the best of the other side, and to chance."""
  of = lambda end: dataset[name + end].sel(encoder=side, clip_quantile=clip).values
  return {'measure': name, 'clip_quantile': clip, 'mean': float(of('').mean()),
          'least': float(of('').min()), 'most': float(of('').max()),
          'null_mean': float(of('_null_mean').mean()),
          'calibrated': float(of('_calibrated').mean()),
          'above_chance': float((of('_p_value') <= 0.05).mean())}


def _correlations(dataset: xr.Dataset, resamples: int) -> Iterator[dict]:
  for side in (1, 2):
    for name, clip in _measured(dataset):
      raw, after = (alikeness(dataset, name, side, clip, calibrated=on) for on in (False, True))
      deep = depths(dataset)
      of = lambda x, y, together=1: {kind: vars(correlation(
          x, y, kind, together=together, n_boot=resamples)) for kind in KINDS}
      for score in json.loads(dataset.attrs['scores']):
        good = performance(dataset, score, side)
        yield {'side': side, 'measure': name, 'clip_quantile': clip, 'score': score,
               'alignment_performance': of(raw, good),
               'alignment_performance_calibrated': of(after, good),
               'alignment_performance_within_depths': of(
                   within_depths(dataset, raw), within_depths(dataset, good),
                   dataset.sizes['seed']),
               'performance_depth': of(good, deep), 'alignment_depth': of(raw, deep),
               'alignment_depth_calibrated': of(after, deep)}


# -- in words ------------------------------------------------------------------------------------


def said(summary: dict) -> list[Section]:
  """Each side in words, then all correlations, then how alike the encoders are."""
  names = {side['side']: side['name'] for side in summary['sides']}
  scores = list(summary['sides'][0]['scores'])
  rows = summary['correlations']
  return [
      Section('The encoders', [Words('\n'.join(_worth(s) for s in summary['sides']))]),
      Section('Alignment with performance', [
          Words(f'alignment / performance over {summary["encoders_of_a_side"]} encoders of a side, '
                'against the best of the other; 95 % bootstrap intervals over encoders'),
          Table(['encoders of', 'measure', 'clipped at', 'score', 'Spearman', 'calibrated',
                 'Pearson', 'calibrated'], [
                     [names[r['side']], r['measure'], _clip(r), _score(r['score']),
                      *(_value(r['alignment_performance' + end][kind]) for kind in KINDS
                        for end in ('', '_calibrated'))] for r in rows], left=(0, 1, 2, 3))]),
      Section('With depth', [
          Words('over the same encoders (Spearman), with depth; and alignment / performance within '
                f'depths, less the means of each depth ({_score(scores[0])}), whose intervals draw '
                'whole depths'),
          Table(['encoders of', 'measure', 'clipped at', 'alignment', 'calibrated',
                 *map(_score, scores), 'within depths'], [
                     [names[r['side']], r['measure'], _clip(r),
                      *(_value(r[key]['spearman']) for key in (
                          'alignment_depth', 'alignment_depth_calibrated')),
                      *(_value(_row(rows, r, score)['performance_depth']['spearman'])
                        for score in scores),
                      _value(r['alignment_performance_within_depths']['spearman'])]
                     for r in rows if r['score'] == scores[0]],
                left=(0, 1, 2))]),
      Section('Alignment', [
          Words('alignment with the best encoder of the other side, mean over encoders' + (
              f'; permutations move whole groups, of which there are {summary["groups"]}'
              if summary['groups'] else '')),
          Table(['encoders of', 'measure', 'clipped at', 'alignment', 'by chance', 'calibrated',
                 'p <= 0.05'], [
                     [side['name'], r['measure'], _clip(r), number(r['mean'], '.3f'),
                      number(r['null_mean'], '.3f'), number(r['calibrated'], '.3f'),
                      number(100 * r['above_chance'], '.0f', ' %')]
                     for side in summary['sides'] for r in side['alignment']], left=(0, 1, 2))])]


def _row(rows: Sequence[dict], like: dict, score: str) -> dict:
  key = lambda r: (r['side'], r['measure'], r['clip_quantile'])
  return next(r for r in rows if key(r) == key(like) and r['score'] == score)


def _worth(side: dict) -> str:
  """What a side's encoders are worth, and which of them the other side is compared with."""
  values = '; '.join(
      f'{name.replace("_", " ")} {number(v["mean"], ".3f")} ({number(v["least"], ".3f")} to '
      f'{number(v["most"], ".3f")})' for name, v in side['scores'].items())
  best, first = side['best'], next(iter(side['scores']))
  lines = (f'{side["name"]}: {values}; {side["labels"]} labels learnt; best on validation: depth '
           f'{best["depth"]}, seed {best["seed"]}, {first} {number(best[first], ".3f")}')
  if side['uneven']:
    lines += (f'; the largest class is {number(100 * side["largest_class"], ".0f", " %")} of the '
              'test rows: read the balanced accuracy')
  if side['diverged']:
    lines += (f'; {side["diverged"]} diverged, their best epoch before that is used, of '
              f'{side["diverged_untrained"]} the untrained state')
  return lines


def _clip(row: dict) -> str:
  return '-' if row['clip_quantile'] == 1 else f'{row["clip_quantile"]:g}'


def _score(name: str) -> str:
  return name.replace('_', ' ') + ' (less is better)' * (name in FALLING)


def _value(found: dict) -> str:
  return f'{number(found["value"])} {bracket(found["interval"])}'


def text(summary: dict) -> str:
  """The summary as a reader wants it."""
  return '\n\n'.join(document.text(Document('', [section])) for section in said(summary))


def write(dataset: xr.Dataset, folder: pathlib.Path, *, resamples: int = 2000,
          figures: bool = True) -> str:
  """Writes summary.json and, with figures, figures/ and report.html into `folder`; returns the
  answer as text."""
  made, summary = compose(dataset, folder / 'figures' if figures else None, resamples=resamples)
  document.keep(made, folder, {'summary.json': summary}, page=figures)
  return text(summary)


def compose(dataset: xr.Dataset, figures: pathlib.Path | None, *,
            resamples: int = 2000) -> tuple[Document, dict]:
  """The report and its summary; the picture is drawn into `figures`, if there are to be any."""
  summary = summarise(dataset, resamples=resamples)
  pictures = []
  if figures:
    from mmalign_jax.studies.emergence.real.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(dataset, summary, figures)
  return Document(f'When alignment emerges: {summary["name"]}', [
      *said(summary),
      *([Section('Picture', [Picture(path, _PICTURE) for path in pictures])] if pictures else []),
      *document.provenance(dataset.attrs)]), summary
