"""The picture of the emergence study on real pairs: performance against alignment."""

import json
import pathlib

from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import style
from mmalign_jax.reports.text import number
from mmalign_jax.studies.emergence.real.correlation import alikeness, depths, performance


def draw_all(dataset: xr.Dataset, summary: dict, folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws into `folder`, as PNG and SVG; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  figure = performance_figure(dataset, summary)
  for suffix in ('png', 'svg'):
    style.save(figure, folder / f'performance.{suffix}')
    figure.set_layout_engine('none')  # the layout is made: not twice
  return [folder / 'performance.png']


def performance_figure(dataset: xr.Dataset, summary: dict) -> Figure:
  """A point for every encoder: a row of panels a measure, a column a side; the calibrated value on
  the horizontal axis, where 0 is chance."""
  measures, score = json.loads(dataset.attrs['measures']), json.loads(dataset.attrs['scores'])[0]
  clip = float(np.max(dataset['clip_quantile'].values))
  figure, axes = style.grid(7.5, 2.6 * len(measures), nrows=len(measures), ncols=2)
  dots = None
  for i, measure in enumerate(measures):
    for side in (1, 2):
      axis = axes[i, side - 1]
      dots = axis.scatter(
          alikeness(dataset, measure, side, clip, calibrated=True),
          performance(dataset, score, side), c=depths(dataset), cmap='viridis', s=14, linewidths=0)
      row = next(r for r in summary['correlations'] if (
          r['side'], r['measure'], r['clip_quantile'], r['score']) == (side, measure, clip, score))
      found = row['alignment_performance_calibrated']
      axis.set_title(f'{summary["sides"][side - 1]["name"]}: Spearman '
                     f'{number(found["spearman"]["value"])}, Pearson '
                     f'{number(found["pearson"]["value"])}', fontsize=9)
      axis.set_xlabel(f'{measure.replace("_", " ")}, calibrated' + (
          f', clipped at {clip:g}' if clip < 1 else ''))
      axis.set_ylabel(f'test {score}')
  figure.colorbar(dots, ax=list(axes.ravel()), label='encoder depth')
  return figure
