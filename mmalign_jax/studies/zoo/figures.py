"""Pictures of a zoo, as PNG and SVG."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import style
from mmalign_jax.reports.text import number
from mmalign_jax.studies.zoo import summary as numbers
from mmalign_jax.studies.zoo.dataset import qualities

_NAMED = 40  # models, up to which each has its name
_COLORS = (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE)


def draw_all(dataset: xr.Dataset, summary: Mapping[str, Any],
             folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws every picture that there are numbers for into `folder`; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  drawn = {'matrix': matrix_figure(dataset)}
  if summary['trends']:
    drawn['quality'] = quality_figure(dataset, summary)
  if summary['levels']:
    drawn['levels'] = level_figure(dataset)
  if summary['sizes']:
    drawn['sizes'] = size_figure(summary)
  if summary['maps']:
    drawn['map'] = map_figure(dataset, summary['maps'])
  for name, figure in drawn.items():
    for suffix in ('png', 'svg'):
      style.save(figure, folder / f'{name}.{suffix}')
      figure.set_layout_engine('none')
  return [folder / f'{name}.png' for name in drawn]


def by_quality(dataset: xr.Dataset, side: str) -> np.ndarray:
  """Places of the models from the best to the worst, those without a score last."""
  quality = qualities(dataset, side, 0)
  count = dataset.sizes[side]
  return np.arange(count) if quality is None else np.argsort(-np.nan_to_num(quality, nan=-np.inf),
                                                             kind='stable')


def _kind(dataset: xr.Dataset) -> str:
  return 'calibrated' if 'calibrated' in dataset else 'value'


def matrix_figure(dataset: xr.Dataset) -> Figure:
  """A panel a measure: models of the left by those of the right, at the first level."""
  kind, names = _kind(dataset), [str(m) for m in dataset['measure'].values]
  rows, columns = by_quality(dataset, 'left'), by_quality(dataset, 'right')
  longest = max(len(str(m)) for side in ('left', 'right') for m in dataset[side].values)
  size = lambda n: min(max(0.34 * n, 1.6), 9)
  figure, axes = style.grid(len(names) * (size(len(columns)) + 1.3) + 0.07 * longest,
                            size(len(rows)) + 0.9 + 0.07 * longest, ncols=len(names), sharey=True)
  few = len(rows) * len(columns) <= 144
  for axis, name in zip(axes[0], names):
    values = dataset[kind].sel(measure=name).isel(level=0).values[np.ix_(rows, columns)]
    image = axis.imshow(values, cmap='viridis', aspect='auto')
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for i, j in np.ndindex(values.shape) if few else ():
      value = values[i, j]
      some = bool(np.isfinite(value))
      axis.text(j, i, f'{value:.2f}'.replace('0.', '.') if some else '-', ha='center', va='center',
                fontsize=6.5, color='white' if some and value < middle else 'black')
    _named(axis.xaxis, [str(dataset['right'].values[j]) for j in columns])
    axis.set_xticklabels(axis.get_xticklabels(), rotation=90)
    _named(axis.yaxis, [str(dataset['left'].values[i]) for i in rows])
    axis.set_title(name.replace('_', ' '), fontsize=9)
    bar = figure.colorbar(image, ax=axis, label=kind)
    bar.outline.set_visible(False)
    axis.spines[:].set_visible(False)
  return figure


def _named(axis, names: Sequence[str]) -> None:
  step = -(-len(names) // _NAMED)
  axis.set_ticks(range(0, len(names), step), names[::step], fontsize=7)


def quality_figure(dataset: xr.Dataset, summary: Mapping[str, Any]) -> Figure:
  """A row a measure, a column a side."""
  kind, names = _kind(dataset), [str(m) for m in dataset['measure'].values]
  sides = [side for side in ('left', 'right') if qualities(dataset, side, 0) is not None]
  sides = sides[:1] if dataset.attrs['within'] else sides
  figure, axes = style.grid(4 * len(sides), 2.9 * len(names), nrows=len(names), ncols=len(sides))
  for i, name in enumerate(names):
    for axis, side in zip(axes[i], sides):
      _against_quality(axis, dataset, name, side, kind)
      row = next(r for r in summary['trends'] if (r['measure'], r['kind'], r['side']) == (
          name, kind, side))
      axis.set_title(f'{name.replace("_", " ")}, {side}: Spearman {number(row["spearman"])}',
                     fontsize=9)
  return figure


def _against_quality(axis, dataset: xr.Dataset, name: str, side: str, kind: str) -> None:
  quality = qualities(dataset, side, 0)
  assert quality is not None
  over = 1 if side == 'left' else 0
  values = numbers.apart(dataset, dataset[kind].sel(measure=name).isel(level=0).values)
  some = np.isfinite(quality) & np.isfinite(values).any(axis=over)
  mean = np.nanmean(values[some] if side == 'left' else values[:, some], axis=over)
  away = numbers.deviation(dataset, name, kind, 0)
  bars = None
  if away is not None:
    moved = np.nanmean(away[:, some] if side == 'left' else away[:, :, some], axis=over + 1)
    low, high = np.quantile(moved, [0.025, 0.975], axis=0)
    bars = np.maximum([-low, high], 0)
  axis.errorbar(quality[some], mean, yerr=bars, fmt='o', color=style.BLUE, markersize=4,
                elinewidth=0.9)
  axis.margins(x=0.25, y=0.15)
  if some.sum() <= _NAMED // 2:
    _label(axis, np.stack([quality[some], mean], axis=1),
           [str(name) for name in dataset[side].values[some]])
  axis.set_xlabel(f'quality: {dataset[f"quality_{side}"].attrs["long_name"]}', fontsize=7)
  axis.set_ylabel(f'{kind} alignment', fontsize=8)


def _label(axis, places: np.ndarray, labels: Sequence[str]) -> None:
  """Names beside points [m, 2], moved up until none lies on another."""
  low, high = np.array([axis.get_xlim(), axis.get_ylim()]).T
  width, height = (axis.get_position().size * axis.figure.get_size_inches())
  line, letter = 0.1 / height, 0.055 / width  # in shares of the axis
  at = (places - low) / (high - low)
  taken = [(x - 0.008, y, 0.016) for x, y in at]  # left end, middle, length
  for i in np.argsort(places[:, 1], kind='stable'):
    x, y = at[i]
    wide = letter * len(labels[i])
    x += 0.012 if x + 0.012 + wide < 1 else -0.012 - wide
    def hit(y: float, x: float = x, wide: float = wide) -> bool:
      return any(abs(y - b) < line and x < a + w and a < x + wide for a, b, w in taken)
    while hit(y):
      y += line / 4
    taken.append((x, y, wide))
    axis.annotate(labels[i], places[i], xytext=(x, y), textcoords='axes fraction', fontsize=6,
                  color='0.35', arrowprops={'arrowstyle': '-', 'linewidth': 0.4, 'color': '0.7'})


def level_figure(dataset: xr.Dataset) -> Figure:
  """A panel a measure: a line a pair, grey; the mean of all, in colour."""
  kind, names = _kind(dataset), [str(m) for m in dataset['measure'].values]
  figure, axes = style.grid(3.6 * len(names), 2.9, ncols=len(names))
  levels = dataset['level'].values
  for axis, name in zip(axes[0], names):
    values = dataset[kind].sel(measure=name).values.reshape(len(levels), -1)
    axis.plot(levels, values, color='0.75', linewidth=0.8)
    axis.plot(levels, np.nanmean(values, axis=1), 'o-', color=style.ORANGE, markersize=4)
    axis.set_title(name.replace('_', ' '), fontsize=9)
    axis.set_xlabel(str(dataset.attrs['leveled']))
    axis.set_ylabel(f'{kind} alignment')
  return figure


def size_figure(summary: Mapping[str, Any]) -> Figure:
  """A panel for values and one for calibrated ones, a line a measure."""
  figure, axes = style.grid(7.5, 2.9, ncols=2)
  names = list(dict.fromkeys(row['measure'] for row in summary['sizes']))
  sizes = sorted({row['samples'] for row in summary['sizes']})
  for axis, kind in zip(axes[0], numbers.KINDS):
    for name, color in zip(names, _COLORS * len(names)):
      rows = [row for row in summary['sizes'] if row['measure'] == name]
      axis.errorbar([r['samples'] for r in rows], [r[kind] for r in rows],
                    yerr=[np.nan_to_num(r[f'{kind}_deviation']) for r in rows], fmt='o-',
                    color=color, markersize=4, linewidth=1.2, label=name.replace('_', ' '))
    axis.set_xscale('log', base=2)
    axis.set_xticks(sizes, list(map(str, sizes)), fontsize=8)
    axis.minorticks_off()
    axis.set_xlabel('samples')
    axis.set_ylabel('mean of all pairs')
    axis.set_title(kind, fontsize=9)
  axes[0, 1].legend(fontsize=7, frameon=False)
  return figure


def map_figure(dataset: xr.Dataset, maps: Sequence[Mapping[str, Any]]) -> Figure:
  """A row a measure: the plane, and the tree."""
  from scipy.cluster import hierarchy
  count = len(maps[0]['models'])
  figure, axes = style.grid(9, max(3.2, 0.2 * min(count, 60)) * len(maps), nrows=len(maps), ncols=2)
  for (plane, tree), one in zip(axes, maps):
    places = np.array(one['places'])
    right = np.array([m.startswith('right: ') for m in one['models']])
    labels = [m.removeprefix('left: ').removeprefix('right: ') for m in one['models']]
    for own, color, mark in ((~right, style.BLUE, 'o'), (right, style.ORANGE, 's')):
      plane.plot(*places[own].T, mark, color=color, markersize=4)
    plane.margins(0.25)
    if count <= _NAMED:
      _label(plane, places, labels)
    plane.set_title(f'{one["measure"].replace("_", " ")}: {100 * one["share"]:.0f} % of squared '
                    'distances', fontsize=9)
    drawn = hierarchy.dendrogram(np.array(one['tree']), ax=tree, orientation='left', labels=labels,
                         no_labels=count > 2 * _NAMED, color_threshold=0,
                         above_threshold_color='0.4', leaf_font_size=7)
    tree.set_title('average linkage', fontsize=9)
    tree.spines[['left']].set_visible(False)
    if count <= 2 * _NAMED:
      for tick, leaf in zip(tree.get_yticklabels(), drawn['leaves']):
        tick.set_color(style.ORANGE if right[leaf] else style.BLUE)
  return figure
