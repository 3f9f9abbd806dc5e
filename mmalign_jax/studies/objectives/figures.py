"""Pictures of a comparison of objectives, as PNG and SVG."""

from collections.abc import Callable, Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import style
from mmalign_jax.reports.statistics import mean_band
from mmalign_jax.studies.objectives.beside import Prediction
from mmalign_jax.studies.objectives.report import shown
from mmalign_jax.studies.objectives.tables import OBJECTIVE, last
from mmalign_jax.studies.strength.curves import curves

MAX_PANELS = 12
MAX_COLUMNS = 30
_MARKS = 'osD^v<>PX*hpd'


def draw_all(found: Mapping[str, xr.Dataset], entries: Sequence[Mapping[str, Any]],
             told: Sequence[Prediction], folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws every picture that there are numbers for into `folder`; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  names = shown(found)
  drawn = {'gain': gain_figure(entries, names), 'similarity': similarity_figure(found)}
  if any(last(entry) for entry in entries):
    drawn['erased'] = erased_figure(entries, names)
  if told:
    drawn['linear'] = linear_figure(told)
  for name, figure in drawn.items():
    for suffix in ('png', 'svg'):
      style.save(figure, folder / f'{name}.{suffix}')
      figure.set_layout_engine('none')
  return [folder / f'{name}.png' for name in drawn]


def gain_figure(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
  """Objectives by settings, gains in points."""
  return _heat(entries, names, lambda entry: entry['gain'], _stands, 'gain over no alignment')


def _stands(entry: Mapping[str, Any]) -> bool:
  ends = entry['gain_interval_of_all']
  return ends is not None and (ends[0] > 0 or ends[1] < 0)


def erased_figure(entries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Figure:
  """Objectives by factors, changes in points."""
  rows = [{**entry, 'factor': row['factor'], 'change': row['change'][-1],
           'half': row['change_half_width'][-1]} for entry in entries for row in last(entry)]
  return _heat(rows, [*names, 'factor'], lambda row: row['change'],
               lambda row: row['half'] is not None and abs(row['change']) > row['half'],
               'change of retention')


def _heat(entries: Sequence[Mapping[str, Any]], names: Sequence[str],
          value: Callable[[Mapping[str, Any]], float | None],
          starred: Callable[[Mapping[str, Any]], bool], label: str) -> Figure:
  """A cell per objective and column, with its number in points; grey where there is none."""
  rows = list(dict.fromkeys(entry[OBJECTIVE] for entry in entries))
  column = lambda entry: ', '.join(
      [*(f'{entry[name]:.3g}' if isinstance(entry.get(name), float) else f'{entry.get(name, "-")}'
         for name in names), f'encoder {entry["encoder"]}'])
  columns = list(dict.fromkeys(map(column, entries)))
  table = np.full((len(rows), len(columns)), np.nan)
  stars = np.zeros(table.shape, bool)
  for entry in entries:
    at = rows.index(entry[OBJECTIVE]), columns.index(column(entry))
    number = value(entry)
    table[at] = np.nan if number is None else 100 * number
    stars[at] = number is not None and starred(entry)
  if len(columns) > MAX_COLUMNS:  # then downwards
    rows, columns, table, stars = columns, rows, table.T, stars.T
  figure, axes = style.grid(2.6 + 0.42 * len(columns), 2.4 + 0.26 * len(rows))
  axis, most = axes[0, 0], max(np.nanmax(np.abs(table), initial=1), 1)
  colors = colormaps['RdBu'].with_extremes(bad='0.85')
  image = axis.imshow(table, cmap=colors, vmin=-most, vmax=most, aspect='auto')
  for i, j in np.ndindex(table.shape):
    if np.isfinite(table[i, j]):
      said = f'{round(float(table[i, j])):+d}' + '*' * bool(stars[i, j])
      axis.text(j, i, said, ha='center', va='center', fontsize=6.5,
                color='white' if abs(table[i, j]) > 0.65 * most else 'black')
  axis.set_yticks(range(len(rows)), rows)
  axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
  figure.colorbar(image, ax=axis, label=f'{label} (points)')
  if names:
    axis.set_title(', '.join([*names, 'encoder']), fontsize=8, loc='left')
  return figure


def similarity_figure(found: Mapping[str, xr.Dataset]) -> Figure:
  """A panel per set, setting and encoder."""
  panels: dict[str, list] = {}
  for label, dataset in found.items():
    for curve in curves(dataset):
      where = [label] * bool(label) + [
          f'{name} {value:g}' if isinstance(value, float) else f'{name} {value}'
          for name, value in curve.setting.items()
          if name != OBJECTIVE and dataset.sizes[name] > 1]
      panels.setdefault(', '.join([*where, f'encoder {curve.encoder}']), []).append(curve)
  shown_panels = list(panels.items())[:MAX_PANELS]
  columns = min(4, len(shown_panels))
  rows = -(-len(shown_panels) // columns)
  figure, axes = style.grid(2.6 * columns + 1.8, 0.6 + 2.2 * rows, nrows=rows, ncols=columns)
  for axis, (title, group) in zip(axes.flat, shown_panels):
    for i, curve in enumerate(group):
      cka, accuracy = (mean_band(v)[0] for v in (curve.cka, curve.accuracy.mean(axis=2)))
      axis.plot(cka, 100 * accuracy, '-', color=_color(i, len(group)), marker=_mark(i),
                markersize=3.5, linewidth=0.9, label=str(curve.setting[OBJECTIVE]))
    axis.set_title(title, fontsize=8)
    axis.set_xlabel('debiased CKA')
  for axis in axes.flat[len(shown_panels):]:
    axis.set_axis_off()
  for row in axes:
    row[0].set_ylabel('test accuracy (%)')
  _legend(figure, axes)
  if len(panels) > len(shown_panels):
    figure.supxlabel(f'the first {len(shown_panels)} of {len(panels)} settings', fontsize=8)
  return figure


def linear_figure(told: Sequence[Prediction]) -> Figure:
  """A panel per linear method: a point per set, budget, encoder and objective."""
  methods = list(dict.fromkeys(one.method for one in told))
  figure, axes = style.grid(3.6 * len(methods) + 1.8, 3.6, ncols=len(methods), sharey=True)
  for axis, method in zip(axes[0], methods):
    own = [one for one in told if one.method == method]
    for i, one in enumerate(own):
      axis.plot(one.x, one.y, linestyle='none', color=_color(i, len(own)), marker=_mark(i),
                markersize=3.5, alpha=0.8, label=one.objective)
    axis.axhline(0, color='0.6', linewidth=0.8)
    axis.axvline(0, color='0.6', linewidth=0.8)
    axis.set_xlabel(f'gain of {method.upper()} + ridge over PCA + ridge (points)')
  axes[0, 0].set_ylabel('gain of the objective (points)')
  _legend(figure, axes)
  return figure


def _legend(figure: Figure, axes: np.ndarray) -> None:
  """Beside the panels, where it hides nothing."""
  lines, labels = axes[0, 0].get_legend_handles_labels()
  figure.legend(lines, labels, loc='outside right upper', fontsize=7)


def _color(i: int, n: int):
  return colormaps['viridis'](i / max(n - 1, 1))


def _mark(i: int) -> str:
  return _MARKS[i % len(_MARKS)]
