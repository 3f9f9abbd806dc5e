"""What a zoo answers: who is like whom, and whether quality, uniqueness and N tell."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

import xarray as xr

from mmalign_jax.reports import document
from mmalign_jax.reports.document import Document, Picture, Section, Table, Words
from mmalign_jax.reports.text import bracket, number
from mmalign_jax.runs import folder as on_disk
from mmalign_jax.studies.zoo import tables
from mmalign_jax.studies.zoo.summary import KINDS, summarise

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
             'against the quality of the right side. Published for captions of pictures, mutual '
             'kNN (arXiv 2502.16282, figure 8): highest .159 at 10 % uniqueness, .062 at 100 %; '
             'slopes .112, .071, .024',
    'size': 'nested subsamples of the samples: means over pairs, and their standard deviation over '
            'subsamples; Spearman of alignment and quality. Groups come whole: used, where those '
            'that fit have fewer samples'}
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


def write(dataset: xr.Dataset, folder: pathlib.Path, *, draws: int, figures: bool) -> str:
  """Writes summary.json, pairs.csv and, with figures, figures/ and report.html; the answer."""
  made, summary = compose(dataset, folder / 'figures' if figures else None, draws=draws)
  on_disk.write_whole(folder / 'pairs.csv', tables.as_csv(dataset).encode())
  document.keep(made, folder, {'summary.json': summary}, page=figures)
  return document.text(made)


def compose(dataset: xr.Dataset, figures: pathlib.Path | None, *,
            draws: int) -> tuple[Document, dict[str, Any]]:
  """The report and its summary; pictures are drawn into `figures`, if there are to be any."""
  summary = summarise(dataset, draws)
  pictures = []
  if figures:
    from mmalign_jax.studies.zoo.figures import draw_all  # Matplotlib is slow to import
    pictures = draw_all(dataset, summary, figures)
  return as_document(dataset, summary, pictures), summary


def answer(summary: Mapping[str, Any]) -> list[str]:
  """Sentences: how many pairs are above chance, what goes with quality, levels and samples."""
  said = []
  for one in summary['pairs']:
    if one['level'] == summary['pairs'][0]['level']:
      above = f', {one["above_chance"]} of them above chance (p <= 0.05)' if 'chance' in one else ''
      said.append(f'{one["measure"]}: {one["pairs"]} pairs of {one["lowest"]:.3f} to '
                  f'{one["highest"]:.3f}{above}.')
  said += [
      f'{row["measure"]}: alignment with the quality of the {row["side"]} side: Spearman '
      f'{number(row["spearman"])} {bracket(row["spearman_interval"])}, '
      f'p {tables.p_of(row)}, over {row["m"]} models.' for row in _of_best_kind(summary)]
  last = lambda rows: [row for row in rows if row['kind'] == rows[-1]['kind']] if rows else []
  said += [
      f'{row["measure"]}: alignment with the level: Spearman {number(row["spearman"])} '
      f'{bracket(row["interval"])}; {100 * row["share"]:.0f} % of pairs fall from '
      f'{min(r["level"] for r in row["rows"]):g} to {max(r["level"] for r in row["rows"]):g}.'
      for row in last(summary['levels'])]
  for name in dict.fromkeys(row['measure'] for row in summary['sizes']):
    rows = sorted((r for r in summary['sizes'] if r['measure'] == name), key=lambda r: r['samples'])
    said.append(f'{name}: from {rows[0]["samples"]:,} to {rows[-1]["samples"]:,} samples the mean '
                f'of all pairs goes from {_ends(rows, "value")}, calibrated from '
                f'{_ends(rows, "calibrated")}.')
  return said


def _ends(rows: Sequence[Mapping[str, Any]], kind: str) -> str:
  return f'{number(rows[0][kind], ".3f")} to {number(rows[-1][kind], ".3f")}'


def headline(summary: Mapping[str, Any]) -> dict[str, str]:
  """The numbers in which several zoos are compared."""
  first = summary['pairs'][0]
  made = {'measure': first['measure'], 'samples': f'{summary["n"]:,}', 'pairs': str(first['pairs']),
          'highest': f'{first["highest"]:.3f}'}
  return made | {f'Spearman with quality, {row["side"]}': number(row['spearman'])
                 for row in _of_best_kind(summary) if row['measure'] == first['measure']}


def _of_best_kind(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """Trends at the first level, of calibrated values where there are some."""
  rows = [row for row in summary['trends'] if row['level'] == summary['trends'][0]['level']]
  kind = max((row['kind'] for row in rows), key=KINDS.index, default='')
  return [row for row in rows if row['kind'] == kind]


def as_document(dataset: xr.Dataset, summary: Mapping[str, Any],
                pictures: Sequence[pathlib.Path]) -> Document:
  """The report."""
  leveled = str(dataset.attrs['leveled'])
  refused = summary['refused']
  small = max(dataset.sizes['left'], dataset.sizes['right']) <= SHOWN
  sections = [Section('How alike are all pairs?', [
      tables.pairs_table(summary, leveled),
      *([tables.matrix_table(dataset, str(name)) for name in dataset['measure'].values]
        if small else []),
      Words(_READING['matrix'])])]
  if any(refused.values()):
    sections.append(Section('Models that are left out', [Table(['side', 'model', 'why'], [
        [side, name, why] for side, those in refused.items() for name, why in those.items()],
        (0, 1, 2))]))
  if summary['trends']:
    halves = _READING['halves'] if 'deviation' in dataset else ''
    first = summary['trends'][0]['level']
    sections.append(Section('Do better models agree more?', [
        tables.trend_table([row for row in summary['trends'] if row['level'] == first], ''),
        Words(_READING['trend'].format(halves=halves))]))
  if summary['levels']:
    sections.append(Section(f'Does it fall with {leveled}?', [
        tables.level_table(summary, leveled), tables.fall_table(summary, leveled),
        Words(_READING['level'])]))
    if summary['trends']:
      sections.append(Section(f'Quality, by {leveled}', [
          tables.trend_table(summary['trends'], leveled)], said=False))
  if summary['sizes']:
    sections.append(Section('Does it depend on the number of samples?', [
        tables.size_table(summary['sizes']), Words(_READING['size'])]))
  sections.append(Section(
      'The nearest of each', [tables.nearest_table(summary['nearest'])], said=small))
  if pictures:
    sections.append(Section('Pictures', [Picture(p, PICTURES[p.stem]) for p in pictures]))
  return Document(f'Model zoo: {summary["name"]}', [
      *sections, *document.provenance(dataset.attrs)], answer(summary), headline(summary))
