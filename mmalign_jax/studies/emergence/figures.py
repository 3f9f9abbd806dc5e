"""Pictures of the emergence study, after figures 4, 6, 7 and 9 of arXiv 2502.16282.

fig4: alignment against uniqueness, a panel a transform depth. fig6: performance against alignment,
a panel a uniqueness. fig7: the correlations by uniqueness. fig9: alignment against transform depth,
a panel a uniqueness. Published values are drawn in where there are any.
"""

import json
import pathlib

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
import numpy as np
import xarray as xr

from mmalign_jax import similarity
from mmalign_jax.reports import style
from mmalign_jax.reports.text import number
from mmalign_jax.studies.emergence import correlation, paper
from mmalign_jax.studies.emergence.correlation import PAIRS

MAX_PANELS = 5  # in one row; the others are left out evenly
_ALL = {'color': '0.6', 's': 7, 'linewidths': 0, 'alpha': 0.7}
_THEIRS = {'color': style.ORANGE, 'marker': 's', 'markersize': 4, 'linestyle': '--', 'linewidth': 1,
           'label': 'published'}
_OURS = {'color': style.BLUE, 'marker': 'o', 'markersize': 4, 'linewidth': 1.3}


def draw_all(dataset: xr.Dataset, summary: dict, folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws every picture into `folder`, as PNG and SVG; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  drawn = {'fig4': unique_figure(dataset, summary), 'fig6': performance_figure(dataset, summary),
           'fig7': correlation_figure(dataset, summary), 'fig9': transform_figure(dataset, summary)}
  for name, figure in drawn.items():
    if bool((dataset['diverged_1'] & dataset['diverged_2']).all()):
      style.say(figure, 'every encoder diverged')
    for suffix in ('png', 'svg'):
      style.save(figure, folder / f'{name}.{suffix}')
      figure.set_layout_engine('none')  # the layout is made: not twice
  return [folder / f'{name}.png' for name in drawn]


def _shown(values: np.ndarray, preferred: tuple = ()) -> list:
  """At most MAX_PANELS of `values`, evenly, the preferred ones if enough of them are there."""
  every = values.tolist()
  known = [v for v in every if v in preferred]
  chosen = known if len(known) >= min(len(every), 3) else every
  if len(chosen) <= MAX_PANELS:
    return chosen
  return [chosen[i] for i in np.linspace(0, len(chosen) - 1, MAX_PANELS).round().astype(int)]


def _published(dataset: xr.Dataset, summary: dict) -> bool:
  return summary['measure'] == paper.MEASURE and paper.applies(
      json.loads(dataset.attrs['configuration']))


def _panels(n: int, ylabel: str, xlabel: str):
  figure, axes = style.grid(max(7.5, 2.1 * n), 2.9, ncols=n, sharey=True, sharex=True)
  axes[0, 0].set_ylabel(ylabel)
  for axis in axes[0]:
    axis.set_xlabel(xlabel)
    if xlabel != 'alignment':
      axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
  return figure, axes[0]


def _label(summary: dict) -> str:
  return f'alignment ({summary["measure"].replace("_", " ")})'


def _legend(figure: Figure, axis) -> None:
  handles, labels = axis.get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper center', ncols=4, frameon=False)


def _alignment(dataset: xr.Dataset, summary: dict) -> xr.DataArray:
  return correlation.first(dataset[summary['measure']])


def _largest(summary: dict, **where) -> list[dict]:
  return [r for r in summary['max_alignment'] if all(r[k] == v for k, v in where.items())]


def _draw_series(axis, values: xr.DataArray, along: str, rows: list[dict]) -> None:
  """Every encoder as a dot, the best over depths as a line, and what chance makes of that best."""
  flat = values.transpose(along, ...).values.reshape(values.sizes[along], -1)
  at = values[along].values
  axis.scatter(np.repeat(at, flat.shape[1]), flat.ravel(), label='every encoder', **_ALL)
  axis.plot(at, [r['value'] for r in rows], label='best over depths', **_OURS)
  for x, row in zip(at, rows):
    if row['interval']:
      axis.plot([x, x], row['interval'], color=style.BLUE, linewidth=2, alpha=0.5)
  axis.plot(at, [r['null_mean'] for r in rows], color='black', linestyle=':', linewidth=1,
            label='best by chance')
  if similarity.MEASURES[str(values.name)].range.endswith('1'):
    axis.set_ylim(min(-0.05, np.nanmin(np.append(flat, 0)) - 0.05), 1.05)


def unique_figure(dataset: xr.Dataset, summary: dict) -> Figure:
  """Alignment against uniqueness (figure 4): a panel a transform depth."""
  theirs = paper.MAX_ALIGNMENT if _published(dataset, summary) else {}
  shown = _shown(dataset['transform_depth'].values, tuple(theirs))
  figure, axes = _panels(len(shown), _label(summary), 'task bits not shared, U')
  for axis, t in zip(axes, shown):
    values = _alignment(dataset, summary).sel(transform_depth=t)
    _draw_series(axis, values, 'unique', _largest(summary, transform_depth=t))
    if t in theirs:
      axis.plot(range(len(theirs[t])), theirs[t], **_THEIRS)
    rho = next(r['value'] for r in summary['spearman_unique'] if r['transform_depth'] == t)
    axis.set_title(f'$D_\\phi$ = {t}, Spearman {number(rho)}', fontsize=9)
  _legend(figure, axes[0])
  return figure


def transform_figure(dataset: xr.Dataset, summary: dict) -> Figure:
  """Alignment against transform depth (figure 9): a panel a uniqueness."""
  theirs = paper.MAX_ALIGNMENT if _published(dataset, summary) else {}
  shown = _shown(dataset['unique'].values)
  figure, axes = _panels(len(shown), _label(summary), 'transform depth, $D_\\phi$')
  for axis, u in zip(axes, shown):
    values = _alignment(dataset, summary).sel(unique=u)
    _draw_series(axis, values, 'transform_depth', _largest(summary, unique=u))
    if theirs and u < 8:
      axis.plot(list(theirs), [row[u] for row in theirs.values()], **_THEIRS)
    rho = next(r['value'] for r in summary['spearman_transform_depth'] if r['unique'] == u)
    axis.set_title(f'U = {u}, Spearman {number(rho)}', fontsize=9)
  _legend(figure, axes[0])
  return figure


def performance_figure(dataset: xr.Dataset, summary: dict) -> Figure:
  """Share of the Bayes accuracy against alignment (figure 6): a panel a uniqueness."""
  shown = _shown(dataset['unique'].values)
  figure, axes = _panels(len(shown), 'accuracy / Bayes accuracy', 'alignment')
  share, dots = dataset['accuracy_2'] / dataset['ceiling_2'], []
  for axis, u in zip(axes, shown):
    x = _alignment(dataset, summary).sel(unique=u).transpose('depth', ...).values
    y = share.sel(unique=u).transpose('depth', ...).values
    depth = np.broadcast_to(dataset['depth'].values[:, None, None], x.shape)
    dots.append(axis.scatter(x, y, c=depth, cmap='viridis', s=12, linewidths=0))
    row = next(r for r in summary['correlations'] if r['unique'] == u)
    axis.set_title(f'U = {u}, Spearman {number(row["alignment_performance"])}', fontsize=9)
  figure.supxlabel(f'{_label(summary)}; median Spearman within a transform and seed', fontsize=8)
  figure.colorbar(dots[-1], ax=list(axes), label='encoder depth')
  return figure


_TITLES = {'alignment_performance': 'alignment with performance',
           'performance_depth': 'performance with depth',
           'alignment_depth': 'alignment with depth'}


def correlation_figure(dataset: xr.Dataset, summary: dict) -> Figure:
  """Spearman correlations over depth by uniqueness (figure 7): every series, and their median."""
  figure, axes = _panels(3, 'Spearman correlation over depth', 'task bits not shared, U')
  series = correlation.by_series(dataset, summary['measure'])
  unique = dataset['unique'].values
  for axis, pair in zip(axes, PAIRS):
    values = series[pair]
    spread = np.linspace(-0.25, 0.25, values.shape[1]) if values.shape[1] > 1 else np.zeros(1)
    axis.scatter((unique[:, None] + spread[None]).ravel(), values.ravel(),
                 label='one transform and seed', **_ALL)
    rows = summary['correlations']
    axis.plot(unique, [r[pair] for r in rows], label='median, 95 % interval', **_OURS)
    for u, row in zip(unique, rows):
      certain = row['spearman'][pair]['interval']
      if certain:
        axis.plot([u, u], certain, color=style.BLUE, linewidth=2, alpha=0.5)
    if pair != 'performance_depth':
      axis.plot(unique, [r['spearman_calibrated'][pair]['median'] for r in rows], color='black',
                linestyle=':', linewidth=1, label='calibrated')
    if _published(dataset, summary):
      axis.plot(range(9), paper.CORRELATIONS[pair], **_THEIRS)
    axis.axhline(0, color='0.8', linewidth=0.8, zorder=0)
    axis.set_title(_TITLES[pair], fontsize=9)
  _legend(figure, axes[0])
  return figure
