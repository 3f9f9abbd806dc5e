"""What a zoo answers: who is like whom, and whether quality, uniqueness and N tell."""

from collections.abc import Iterator, Mapping, Sequence
import csv
import dataclasses
import io
import math
import pathlib
from typing import Any

import numpy as np
import xarray as xr

from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.statistics import spearman
from mmalign_jax.reports.text import bracket, number, write_json
from mmalign_jax.runs import folder as on_disk
from mmalign_jax.studies.zoo import atlas, trends
from mmalign_jax.studies.zoo.dataset import mapping, qualities

KINDS = ('value', 'calibrated')
SHOWN = 12  # models a side, up to which a matrix is a table
_READING = {
    'matrix': 'value of the best pair of layers, and in brackets calibrated: 0 at chance, 1 for '
              'equal sides, the best pair taken within every permutation too',
    'trend': 'alignment of a model: its mean over the models of the other side. Spearman with '
             'quality, and p of one as strong where scores go to models by chance; slope: '
             'alignment a unit of score; without width: log2 of the features partialled out (- '
             'where it says all). Intervals of 95 % draw models of both sides anew{halves}',
    'halves': ', and move values as random halves of the samples differ',
    'level': 'highest and mean alignment of all pairs at a level, and the slope of alignment '
             'against the quality of the right side',
    'size': 'nested subsamples of the samples: means over pairs, and their standard deviation over '
            'subsamples; Spearman of alignment and quality'}
PICTURES = {
    'matrix': 'Calibrated alignment of all pairs of models, ordered by quality where it is known, '
              'bright where alike.',
    'quality': 'Alignment of every model, mean over the other side, against its quality; bars: '
               '95 % interval over samples.',
    'levels': 'Alignment against the level of the right side, a line a pair and their mean in '
              'colour.',
    'sizes': 'Alignment against the number of samples, as it is and calibrated; bars: deviation '
             'over subsamples.',
    'map': 'All models in two dimensions by how unlike they are, and as a tree.'}


def summarise(dataset: xr.Dataset, draws: int) -> dict[str, Any]:
  """All numbers of the answer, for JSON."""
  names = [str(name) for name in dataset['measure'].values]
  return {
      'name': dataset.attrs['name'], 'n': int(dataset.attrs['n']),
      'left': _models(dataset, 'left'), 'right': _models(dataset, 'right'),
      'refused': mapping(dataset, 'refused'),
      'pairs': [_of_pairs(dataset, name, level) for name in names
                for level in range(dataset.sizes['level'])],
      'trends': list(_trends(dataset, names, draws)),
      'levels': list(_levels(dataset, names, draws)),
      'sizes': list(_sizes(dataset, names)), 'nearest': list(_nearest(dataset, names)),
      'maps': list(_maps(dataset, names))}


def _models(dataset: xr.Dataset, side: str) -> list[dict[str, Any]]:
  quality = qualities(dataset, side, 0)
  return [{'model': str(name), 'width': int(dataset[f'width_{side}'][i]),
           'layers': int(dataset[f'layers_{side}'][i]),
           'quality': None if quality is None else float(quality[i])}
          for i, name in enumerate(dataset[side].values)]


def _kinds(dataset: xr.Dataset) -> list[str]:
  return [kind for kind in KINDS if kind in dataset]


def _of_pairs(dataset: xr.Dataset, name: str, level: int) -> dict[str, Any]:
  """The whole of a measure: how many pairs are above chance, and the ends of what they are."""
  one = dataset.sel(measure=name).isel(level=level)
  value = apart(dataset, one['value'].values)
  found = {'level': float(one['level']), 'measure': name, 'pairs': int(np.isfinite(value).sum()),
           'lowest': float(np.nanmin(value)), 'highest': float(np.nanmax(value))}
  if 'p_value' in dataset:
    p = apart(dataset, one['p_value'].values)
    found |= {'chance': float(np.nanmean(one['null_mean'])), 'highest_p': float(np.nanmax(p)),
              'above_chance': int((p < 0.05 + 1e-6).sum())}
  return found


def apart(dataset: xr.Dataset, values: np.ndarray) -> np.ndarray:
  """Values [..., left, right] without a model and itself."""
  if not dataset.attrs['within']:
    return values
  return np.where(np.eye(values.shape[-1], dtype=bool), np.nan, values)


def deviation(dataset: xr.Dataset, name: str, kind: str, level: int) -> np.ndarray | None:
  """[H, left, right] of halves of the samples, in units of a kind of value."""
  if 'deviation' not in dataset:
    return None
  one = dataset.sel(measure=name).isel(level=level)
  away, best = one['deviation'].values, mapping(dataset, 'best')[name]
  if kind == 'value' or best is None:
    return away
  room = best - one['null_mean'].values
  return away / np.where(np.abs(room) > 1e-4, room, np.nan)


def turned(dataset: xr.Dataset, name: str, kind: str) -> int:
  """1 where higher is more similar, else -1."""
  scaled = kind == 'calibrated' and mapping(dataset, 'best')[name] is not None
  return 1 if scaled or mapping(dataset, 'higher')[name] else -1


def _trends(dataset: xr.Dataset, names: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
  for level in range(dataset.sizes['level']):
    for name in names:
      for kind in _kinds(dataset):
        for side in ('left', 'right')[:1 if dataset.attrs['within'] else 2]:
          quality = qualities(dataset, side, level)
          if quality is None:
            continue
          values = dataset[kind].sel(measure=name).isel(level=level).values
          away, sign = deviation(dataset, name, kind, level), turned(dataset, name, kind)
          if side == 'right':
            values, away = values.T, None if away is None else away.transpose(0, 2, 1)
          found = trends.trend(
              quality, dataset[f'width_{side}'].values, sign * values,
              None if away is None else sign * away, count=draws, own=bool(dataset.attrs['within']))
          yield {'level': float(dataset['level'][level]), 'measure': name, 'kind': kind,
                 'side': side, **dataclasses.asdict(found)}


def _levels(dataset: xr.Dataset, names: Sequence[str], draws: int) -> Iterator[dict[str, Any]]:
  if dataset.sizes['level'] < 2:
    return
  levels = dataset['level'].values
  for name in names:
    for kind in _kinds(dataset):
      values, sign = dataset[kind].sel(measure=name).values, turned(dataset, name, kind)
      away = [deviation(dataset, name, kind, i) for i in range(len(levels))]
      fall = trends.with_level(levels, sign * values, None if away[0] is None else sign * np.stack(
          [a for a in away if a is not None]), count=draws)
      pick = np.nanmax if sign > 0 else np.nanmin
      yield {'measure': name, 'kind': kind, **dataclasses.asdict(fall), 'rows': [
          {'level': float(level), 'highest': float(pick(values[i])),
           'mean': float(np.nanmean(values[i]))} for i, level in enumerate(levels)]}


def _sizes(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  for name in names if 'size' in dataset else ():
    for size in dataset['size'].values:
      one = dataset.sel(measure=name, size=size)
      row: dict[str, Any] = {'measure': name, 'samples': int(size)}
      for kind in KINDS:
        values = apart(dataset, one[f'size_{kind}'].values)
        mean = np.nanmean(values, axis=(1, 2))
        row[kind] = float(mean.mean())
        row[f'{kind}_deviation'] = float(mean.std(ddof=1)) if len(mean) > 1 else math.nan
        for side, axis in (('left', 2), ('right', 1)):
          quality = qualities(dataset, side, 0)
          if quality is not None:
            some = np.isfinite(quality)
            own = turned(dataset, name, kind) * np.nanmean(values, axis=axis)[:, some]
            row[f'{kind}_spearman_{side}'] = (
                float(spearman(quality[some], own).mean()) if some.sum() > 2 else math.nan)
      yield row


def _nearest(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  kind = _kinds(dataset)[-1]
  for name in names:
    values = turned(dataset, name, kind) * apart(
        dataset, dataset[kind].sel(measure=name).isel(level=0).values)
    for side, other, grid in (('left', 'right', values), ('right', 'left', values.T)):
      for i, row in enumerate(grid if side == 'left' or not dataset.attrs['within'] else ()):
        if np.isfinite(row).any():
          j = int(np.nanargmax(row))
          yield {'measure': name, 'side': side, 'model': str(dataset[side].values[i]),
                 'nearest': str(dataset[other].values[j]), kind: float(abs(row[j]))}


def _maps(dataset: xr.Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
  if 'together' not in dataset or dataset.sizes['model'] < 3:
    return
  for name in names:
    unlike = atlas.distances(dataset['together'].sel(measure=name).values.copy(),
                             mapping(dataset, 'best')[name], mapping(dataset, 'higher')[name])
    if not np.isfinite(unlike).all():
      continue
    places, share = atlas.plane(unlike)
    yield {'measure': name, 'share': share, 'models': [str(m) for m in dataset['model'].values],
           'places': places.tolist(), 'tree': atlas.tree(unlike).tolist()}


# -- tables ----------------------------------------------------------------------------------------


def matrix_table(dataset: xr.Dataset, name: str) -> Table:
  """Values, and calibrated ones, at the first level."""
  one = dataset.sel(measure=name).isel(level=0)
  def cell(i: int, j: int) -> str:
    value = float(one['value'][i, j])
    if not math.isfinite(value):
      return '-'
    more = f' ({float(one["calibrated"][i, j]):.3f})' if 'calibrated' in one else ''
    return f'{value:.3f}{more}'
  return Table([name, *map(str, dataset['right'].values)], [
      [str(model), *(cell(i, j) for j in range(dataset.sizes['right']))]
      for i, model in enumerate(dataset['left'].values)], (0,))


def pairs_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """How many pairs are above chance."""
  rows = [[*([f'{one["level"]:g}'] if leveled else []), one['measure'], str(one['pairs']),
           f'{one["lowest"]:.3f} to {one["highest"]:.3f}',
           *([f'{one["chance"]:.4f}', f'{one["above_chance"]}', f'{one["highest_p"]:.2g}']
             if 'chance' in one else [])] for one in summary['pairs']]
  head = [*([leveled] if leveled else []), 'measure', 'pairs', 'value', 'chance', 'p <= 0.05',
          'highest p']
  return Table(head[:len(rows[0])], rows, (0, 1) if leveled else (0,))


def trend_table(rows: Sequence[Mapping[str, Any]], leveled: str) -> Table:
  """Trends with quality."""
  head = [*([leveled] if leveled else []), 'measure', 'of', 'side', 'models', 'Spearman', '95 %',
          'p', 'slope', '95 %', 'without width', '95 %']
  return Table(head, [
      [*([f'{row["level"]:g}'] if leveled else []), row['measure'], row['kind'], row['side'],
       str(row['m']), number(row['spearman']), bracket(row['spearman_interval']),
       number(row['p'], '.3f'), number(row['slope'], '+.2g'),
       bracket(row['slope_interval'], '+.2g'), number(row['partial']),
       bracket(row['partial_interval'])]
      for row in rows], tuple(range(bool(leveled), 3 + bool(leveled))))


def level_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """By level the highest and mean alignment, and the slope on quality."""
  slopes = {(r['measure'], r['kind'], r['level']): r for r in summary['trends']
            if r['side'] == 'right'}
  rows = []
  for one in summary['levels']:
    for row in one['rows']:
      found = slopes.get((one['measure'], one['kind'], row['level']))
      rows.append([one['measure'], one['kind'], f'{row["level"]:g}', f'{row["highest"]:.3f}',
                   f'{row["mean"]:.3f}', *([number(found['slope'], '+.3g'),
                                           bracket(found['slope_interval'], '+.2g')]
                                          if found else ['-', '-'])])
  return Table(['measure', 'of', leveled, 'highest', 'mean', 'slope', '95 %'], rows, (0, 1))


def fall_table(summary: Mapping[str, Any], leveled: str) -> Table:
  """Trend of alignment with the level."""
  return Table(['measure', 'of', f'Spearman with {leveled}', '95 %', 'pairs that fall'], [
      [one['measure'], one['kind'], number(one['spearman']), bracket(one['interval']),
       f'{100 * one["share"]:.0f} %'] for one in summary['levels']], (0, 1))


def size_table(rows: Sequence[Mapping[str, Any]]) -> Table:
  """By number of samples."""
  said = [f'{kind}_spearman_{side}' for kind in KINDS for side in ('left', 'right')
          if f'{kind}_spearman_{side}' in rows[0]]
  head = ['measure', 'samples', 'value', 'calibrated',
          *(f'Spearman {name.rpartition("_")[2]}, {name.partition("_")[0]}' for name in said)]
  return Table(head, [[
      row['measure'], str(row['samples']),
      *(f'{row[kind]:.3f} ± {row[f"{kind}_deviation"]:.3f}' for kind in KINDS),
      *(number(row[name]) for name in said)] for row in rows], (0,))


def nearest_table(rows: Sequence[Mapping[str, Any]]) -> Table:
  """The nearest model of each."""
  kind = next((k for k in reversed(KINDS) if rows and k in rows[0]), 'value')
  return Table(['measure', 'side', 'model', 'nearest', kind], [
      [row['measure'], row['side'], row['model'], row['nearest'], f'{row[kind]:.3f}']
      for row in rows], (0, 1, 2, 3))


def as_csv(dataset: xr.Dataset) -> str:
  """A line a measure, level and pair of models."""
  names = [name for name in ('value', 'null_mean', 'calibrated', 'p_value', 'low', 'high',
                             'layer_left', 'layer_right') if name in dataset]
  out = io.StringIO()
  writer = csv.writer(out, lineterminator='\n')
  writer.writerow(['measure', 'level', 'left', 'right', *names])
  arrays = [dataset[name].values for name in names]
  for at in np.ndindex(arrays[0].shape):
    where = [dataset[axis].values[i] for axis, i in zip(('measure', 'level', 'left', 'right'), at)]
    writer.writerow([*where, *(f'{a[at]:.9g}' if np.isfinite(a[at]) else '' for a in arrays)])
  return out.getvalue()


# -- the whole -------------------------------------------------------------------------------------


def write(dataset: xr.Dataset, folder: pathlib.Path, *, draws: int, figures: bool) -> str:
  """Writes summary.json, pairs.csv and, with figures, figures/ and report.html; the answer."""
  summary = summarise(dataset, draws)
  write_json(folder / 'summary.json', summary)
  on_disk.write_whole(folder / 'pairs.csv', as_csv(dataset).encode())
  pictures = []
  if figures:
    from mmalign_jax.studies.zoo.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(dataset, summary, folder / 'figures')
  made = as_document(dataset, summary, pictures)
  if figures:
    document.write(folder / 'report.html', made)
  return document.text(made)


def as_document(dataset: xr.Dataset, summary: Mapping[str, Any],
                pictures: Sequence[pathlib.Path]) -> Document:
  """The report."""
  leveled = str(dataset.attrs['leveled'])
  refused = summary['refused']
  small = max(dataset.sizes['left'], dataset.sizes['right']) <= SHOWN
  sections = [Section('How alike are all pairs?', [
      pairs_table(summary, leveled),
      *([matrix_table(dataset, str(name)) for name in dataset['measure'].values] if small else []),
      Words(_READING['matrix'])])]
  if any(refused.values()):
    sections.append(Section('Models that are left out', [Table(['side', 'model', 'why'], [
        [side, name, why] for side, those in refused.items() for name, why in those.items()],
        (0, 1, 2))]))
  if summary['trends']:
    halves = _READING['halves'] if 'deviation' in dataset else ''
    first = summary['trends'][0]['level']
    sections.append(Section('Do better models agree more?', [
        trend_table([row for row in summary['trends'] if row['level'] == first], ''),
        Words(_READING['trend'].format(halves=halves))]))
  if summary['levels']:
    sections.append(Section(f'Does it fall with {leveled}?', [
        level_table(summary, leveled), fall_table(summary, leveled), Words(_READING['level'])]))
    if summary['trends']:
      sections.append(Section(f'Quality, by {leveled}', [
          trend_table(summary['trends'], leveled)], said=False))
  if summary['sizes']:
    sections.append(Section('Does it depend on the number of samples?', [
        size_table(summary['sizes']), Words(_READING['size'])]))
  sections.append(Section('The nearest of each', [nearest_table(summary['nearest'])], said=small))
  if pictures:
    sections.append(Section('Pictures', [Picture(p, PICTURES[p.stem]) for p in pictures]))
  return Document(f'Model zoo: {summary["name"]}', [
      *sections, *document.provenance(dataset.attrs)])
