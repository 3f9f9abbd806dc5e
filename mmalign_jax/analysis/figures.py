"""Pictures of a strength study, as PNG and SVG: readable in print and without colour vision."""

import pathlib

from matplotlib.figure import Figure
import numpy as np
from scipy import special
import xarray as xr

from mmalign_jax.analysis import style
from mmalign_jax.analysis.curves import STRENGTHS, Curve, curves

ENCODERS = {1: (style.BLUE, 'o', '-'), 2: (style.ORANGE, 's', '--')}  # colour, mark, line
MAX_PANELS = 12


def draw_all(dataset: xr.Dataset, summary: list[dict], folder: pathlib.Path) -> list[pathlib.Path]:
  """Draws every picture that the data set allows into `folder`; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  groups = grouped(dataset)
  drawn = {'accuracy': accuracy_figure(groups, dataset), 'gain': gain_figure(groups, dataset),
           'cka': cka_figure(groups)}
  if len(groups) > 1:
    drawn['best_lam'] = best_figure(summary, dataset)
  for name, figure in drawn.items():
    for suffix in ('png', 'svg'):
      style.save(figure, folder / f'{name}.{suffix}')
      figure.set_layout_engine('none')  # the layout is made: not twice
  return [folder / f'{name}.png' for name in drawn]


def grouped(dataset: xr.Dataset) -> dict[str, list[Curve]]:
  """Curves by the label of their data setting, in order."""
  groups: dict[str, list[Curve]] = {}
  for curve in curves(dataset):
    shown = [f'{name} {value}' for name, value in varying(curve.setting, dataset).items()]
    groups.setdefault(', '.join(shown) or dataset.attrs['name'], []).append(curve)
  return groups


def varying(setting: dict[str, object], dataset: xr.Dataset) -> dict[str, str]:
  """What varies of a setting, as names and values to print; {} where nothing does."""
  def name(dim):
    return "other encoder's lam" if dim in STRENGTHS else dataset[dim].attrs.get('long_name', dim)
  return {name(d): _short(v) for d, v in setting.items() if dataset.sizes[d] > 1}


def _short(value) -> str:
  return f'{value:.3g}' if isinstance(value, float) else str(value)


def mean_band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [L] over seeds [L, S] and the half width of its 95 % t interval."""
  n = np.isfinite(values).sum(axis=1)
  mean = np.nansum(values, axis=1) / np.maximum(n, 1)
  spread = np.sqrt(np.nansum((values - mean[:, None]) ** 2, axis=1) / np.maximum(n - 1, 1))
  half = special.stdtrit(np.maximum(n - 1, 1), 0.975) * spread / np.sqrt(np.maximum(n, 1))
  return np.where(n, mean, np.nan), np.where(n > 1, half, 0)


def accuracy_figure(groups: dict[str, list[Curve]], dataset: xr.Dataset) -> Figure:
  """Accuracy against strength: a panel per setting, bands over seeds, the Bayes ceiling dotted."""
  shown = list(groups.items())[:MAX_PANELS]
  columns = min(3, len(shown))
  rows = -(-len(shown) // columns)
  figure, axes = style.grid(max(4.5, 2.9 * columns), 0.5 + 2.3 * rows, nrows=rows, ncols=columns)
  for axis, (label, group) in zip(axes.flat, shown):
    for curve in group:
      _accuracy_line(axis, curve)
    axis.set_title(label, fontsize=9)
  for axis in axes.flat[len(shown):]:
    axis.set_axis_off()
  for axis in axes[-1]:
    axis.set_xlabel('strength of alignment, lam')
  for row in axes:
    row[0].set_ylabel('test accuracy')
  handles, labels = axes.flat[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside upper center', ncols=4, frameon=False)
  if len(groups) > len(shown):
    figure.supxlabel(f'the first {len(shown)} of {len(groups)} settings', fontsize=8)
  return figure


def _accuracy_line(axis, curve: Curve) -> None:
  color, mark, line = ENCODERS[curve.encoder]
  mean, half = mean_band(curve.accuracy.mean(axis=2))
  axis.plot(curve.lam, mean, line, color=color, marker=mark, markersize=3.5, linewidth=1.3,
            label=f'encoder {curve.encoder}')
  axis.fill_between(curve.lam, mean - half, mean + half, color=color, alpha=0.2, linewidth=0)
  if np.isfinite(curve.ceiling):
    axis.axhline(curve.ceiling, color=color, linestyle=':', linewidth=1.2,
                 label=f'Bayes ceiling {curve.encoder}')


def gain_figure(groups: dict[str, list[Curve]], dataset: xr.Dataset) -> Figure:
  """Heat map of accuracy minus accuracy at the lowest strength, in points: settings by strength."""
  figure, axes = style.grid(9, 1.6 + 0.34 * max(len(groups), 3), ncols=2, sharey=True)
  by_encoder = {e: [c for group in groups.values() for c in group if c.encoder == e]
                for e in (1, 2)}
  gains = {e: 100 * np.stack([c.mean - c.mean[0] for c in own]) for e, own in by_encoder.items()}
  limit = max(1.0, *(np.abs(np.nan_to_num(g)).max() for g in gains.values()))  # a point or more
  for axis, (encoder, gain) in zip(axes[0], gains.items()):
    image = axis.imshow(gain, cmap='RdBu', vmin=-limit, vmax=limit, aspect='auto')
    for (i, j), value in np.ndenumerate(gain):
      axis.text(j, i, f'{value:+.1f}', ha='center', va='center', fontsize=7,
                color='white' if abs(value) > 0.6 * limit else 'black')
    lam = by_encoder[encoder][0].lam
    axis.set_xticks(range(len(lam)), [f'{v:g}' for v in lam])
    axis.set_xlabel('strength of alignment, lam')
    axis.set_title(f'encoder {encoder}', fontsize=9)
    axis.spines[:].set_visible(False)
  shown = [varying(c.setting, dataset) for c in by_encoder[1]]
  axes[0, 0].set_yticks(range(len(shown)), [', '.join(s.values()) for s in shown])
  axes[0, 0].set_ylabel('\n'.join(shown[0]))
  figure.colorbar(image, ax=axes, label='gain over the lowest lam (points)')
  return figure


def best_figure(summary: list[dict], dataset: xr.Dataset) -> Figure:
  """Best strength of each encoder against the setting, with its 95 % interval."""
  figure, axes = style.grid(6, 3.6)
  axis = axes[0, 0]
  for encoder, (color, mark, line) in ENCODERS.items():
    own = [row for row in summary if row['encoder'] == encoder and row['best_lam'] is not None]
    at = np.arange(len(own)) + 0.12 * (encoder - 1.5)
    axis.plot(at, [r['best_lam'] for r in own], line, color=color, marker=mark, markersize=5,
              linewidth=1, label=f'encoder {encoder}')
    for x, row in zip(at, own):
      if row['best_lam_interval']:
        axis.plot([x, x], row['best_lam_interval'], color=color, linewidth=2, alpha=0.5)
  settings = [{d: row[d] for d in dataset['accuracy_1'].dims if d in row} for row in own]
  shown = [varying(setting, dataset) for setting in settings]
  labels = [', '.join(s.values()) for s in shown]
  axis.set_xticks(range(len(own)), labels, rotation=0 if max(map(len, labels)) < 5 else 60)
  axis.set_xlabel(', '.join(shown[0]))
  axis.set_ylabel('best lam, 95 % interval')
  figure.legend(loc='outside upper center', ncols=2, frameon=False)
  return figure


def cka_figure(groups: dict[str, list[Curve]]) -> Figure:
  """Accuracy against similarity of the two representations, a point per setting and strength."""
  figure, axes = style.grid(9, 3.8, ncols=2)
  marks = 'osD^v<>PX*hp'
  for i, group in enumerate(groups.values()):
    for curve in group:
      cka, _ = mean_band(curve.cka)
      axis = axes[0, curve.encoder - 1]
      axis.plot(cka, curve.mean, color='0.75', linewidth=0.8, zorder=1)
      points = axis.scatter(cka, curve.mean, c=curve.lam, cmap='viridis', s=22, zorder=2,
                            marker=marks[i % len(marks)], edgecolors='white', linewidths=0.3,
                            label=list(groups)[i] if curve.encoder == 1 else None)
  for encoder, axis in zip((1, 2), axes[0]):
    axis.set_xlabel('debiased linear CKA')
    axis.set_title(f'encoder {encoder}', fontsize=9)
  axes[0, 0].set_ylabel('test accuracy')
  figure.colorbar(points, ax=axes, label='lam')
  handles, labels = axes[0, 0].get_legend_handles_labels()
  figure.legend(handles[:MAX_PANELS], labels[:MAX_PANELS], fontsize=7, ncols=5, frameon=False,
                loc='outside lower center')
  return figure
