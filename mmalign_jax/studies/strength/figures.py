"""Pictures of a strength study, as PNG and SVG: readable in print and without colour vision."""

from collections.abc import Sequence
import itertools
import pathlib

from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.figure import Figure
import numpy as np
import xarray as xr

from mmalign_jax.reports import style
from mmalign_jax.reports.statistics import mean_band
from mmalign_jax.studies.strength.curves import (
  Curve,
  curves,
  encoders,
  is_strength,
  setting_dims,
  strength_axis,
)
from mmalign_jax.studies.strength.retention import Kept, kept

LOOKS = ((style.BLUE, 'o', '-'), (style.ORANGE, 's', '--'), (style.GREEN, '^', '-.'),
         (style.PURPLE, 'D', ':'))  # colour, mark, line of encoders 1, 2, ..., then again
MAX_PANELS = 12


def draw_all(dataset: xr.Dataset, summary: list[dict], folder: pathlib.Path,
             fused: Sequence[dict] = ()) -> list[pathlib.Path]:
  """Draws every picture that the data set allows into `folder`; returns the PNG files. fused: of
  `together.entries`."""
  folder.mkdir(parents=True, exist_ok=True)
  groups = grouped(dataset)
  drawn = {'accuracy': accuracy_figure(groups, dataset), 'gain': gain_figure(groups, dataset),
           'cka': cka_figure(groups)}
  if len(groups) > 1:
    drawn['best_lam'] = best_figure(summary, dataset)
  if fused:
    drawn['synergy'] = synergy_figure(fused, dataset)
  drawn |= retention_figures(dataset)
  if bool(dataset['diverged'].all()):
    for figure in drawn.values():
      style.say(figure, 'every cell diverged')
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
    return "other encoder's lam" if is_strength(dim) else dataset[dim].attrs.get('long_name', dim)
  return {name(d): _short(v) for d, v in setting.items() if dataset.sizes[d] > 1}


def _short(value) -> str:
  return f'{value:.3g}' if isinstance(value, float) else str(value)


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
  _legend(figure, axes, loc='outside upper center', ncols=4 if columns > 2 else 2)
  if len(groups) > len(shown):
    figure.supxlabel(f'the first {len(shown)} of {len(groups)} settings', fontsize=8)
  return figure


def _accuracy_line(axis, curve: Curve) -> None:
  color, mark, line = _look(curve.encoder)
  mean, half = mean_band(curve.accuracy.mean(axis=2))
  axis.plot(curve.lam, mean, line, color=color, marker=mark, markersize=3.5, linewidth=1.3,
            label=f'encoder {curve.encoder}')
  axis.fill_between(curve.lam, mean - half, mean + half, color=color, alpha=0.2, linewidth=0)
  if np.isfinite(curve.ceiling):
    axis.axhline(curve.ceiling, color=color, linestyle=':', linewidth=1.2,
                 label=f'Bayes ceiling {curve.encoder}')


def _look(encoder: int) -> tuple[str, str, str]:
  return LOOKS[(encoder - 1) % len(LOOKS)]


def _legend(figure: Figure, axes: np.ndarray, **options) -> None:
  """One legend of what any of the axes shows, at most MAX_PANELS entries."""
  named: dict[str, Artist] = {}
  for axis in axes.flat:
    named |= dict(zip(*axis.get_legend_handles_labels()[::-1]))
  labels = list(named)[:MAX_PANELS]
  figure.legend([named[label] for label in labels], labels, frameon=False, **options)


def gain_figure(groups: dict[str, list[Curve]], dataset: xr.Dataset) -> Figure:
  """Heat map of accuracy minus accuracy at the lowest strength, in points: settings by strength.

  A cell without a number is one that diverged at that strength, or at the lowest.
  """
  by_encoder = {e: [c for group in groups.values() for c in group if c.encoder == e]
                for e in encoders(dataset)}
  rows = max(map(len, by_encoder.values()))
  figure, axes = style.grid(4.5 * max(2, len(by_encoder)), 1.6 + 0.34 * max(rows, 3),
                            ncols=len(by_encoder))
  gains = {e: 100 * np.stack([c.mean - c.mean[0] for c in own]) for e, own in by_encoder.items()}
  limit = max(1.0, *(np.abs(np.nan_to_num(g)).max() for g in gains.values()))  # a point or more
  before = image = None
  for axis, (encoder, gain) in zip(axes[0], gains.items()):
    image = axis.imshow(gain, cmap='RdBu', vmin=-limit, vmax=limit, aspect='auto')
    for (i, j), value in np.ndenumerate(gain):
      axis.text(j, i, f'{value:+.1f}' if np.isfinite(value) else '-', ha='center', va='center',
                fontsize=7, color='white' if abs(value) > 0.6 * limit else 'black')
    lam = by_encoder[encoder][0].lam
    axis.set_xticks(range(len(lam)), [f'{v:g}' for v in lam])
    axis.set_xlabel('strength of alignment, lam')
    axis.set_title(f'encoder {encoder}', fontsize=9)
    axis.spines[:].set_visible(False)
    shown = [varying(c.setting, dataset) for c in by_encoder[encoder]]
    labels = [', '.join(s.values()) for s in shown]
    # rows of the two differ where each encoder has strengths of its own
    axis.set_yticks(range(len(shown)), labels if labels != before else [''] * len(labels))
    axis.set_ylabel('\n'.join(shown[0]) if labels != before else '')
    before = labels
  if image is not None:
    figure.colorbar(image, ax=axes, label='gain over the lowest lam (points)')
  return figure


def best_figure(summary: list[dict], dataset: xr.Dataset) -> Figure:
  """Best strength of each encoder against the setting, with its 95 % interval.

  Where the encoders' settings differ, having strengths of their own, each has a panel of its own.
  """
  dims = dataset['accuracy_1'].dims
  rows = {e: [row for row in summary if row['encoder'] == e]
          for e in encoders(dataset)}
  shown = {e: [varying({str(d): row[d] for d in dims if d in row}, dataset) for row in own]
           for e, own in rows.items()}
  together = all(own == shown[1] for own in shown.values())
  figure, axes = style.grid(6 if together else 4.5 * len(shown), 3.6,
                            ncols=1 if together else len(shown), sharey=True)
  middle = (len(shown) + 1) / 2
  for encoder, axis in zip(shown, [axes[0, 0]] * len(shown) if together else axes[0]):
    _best_line(axis, encoder, rows[encoder], shift=0.12 * (encoder - middle) * together)
    labels = [', '.join(s.values()) for s in shown[encoder]]
    axis.set_xticks(range(len(labels)), labels, rotation=0 if max(map(len, labels)) < 5 else 60)
    axis.set_xlabel(', '.join(shown[encoder][0]))
  axes[0, 0].set_ylabel('best lam, 95 % interval')
  _legend(figure, axes, loc='outside upper center', ncols=2)
  return figure


def _best_line(axis, encoder: int, rows: list[dict], shift: float) -> None:
  """A row whose every cell diverged has a place, but no mark."""
  color, mark, line = _look(encoder)
  best = [np.nan if row['best_lam'] is None else row['best_lam'] for row in rows]
  at = np.arange(len(rows)) + shift
  axis.plot(at, best, line, color=color, marker=mark, markersize=5, linewidth=1,
            label=f'encoder {encoder}')
  for x, row in zip(at, rows):
    if row['best_lam_interval']:
      axis.plot([x, x], row['best_lam_interval'], color=color, linewidth=2, alpha=0.5)


def synergy_figure(fused: Sequence[dict], dataset: xr.Dataset) -> Figure:
  """Synergy in points against the strength that encoder 1 feels: a panel per setting, 95 %
  intervals; hollow where there is none, with too few seeds."""
  groups: dict[str, list[dict]] = {}
  for row in fused:
    shown = varying({d: row[d] for d in setting_dims(dataset, 1)}, dataset)
    label = ', '.join(f'{name} {value}' for name, value in shown.items())
    groups.setdefault(label or dataset.attrs['name'], []).append(row)
  shown, axis_name = list(groups.items())[:MAX_PANELS], strength_axis(dataset, 1)
  columns = min(3, len(shown))
  figure, axes = style.grid(max(4.5, 2.9 * columns), 0.5 + 2.3 * -(-len(shown) // columns),
                            nrows=-(-len(shown) // columns), ncols=columns, sharey=True)
  for axis, (label, rows) in zip(axes.flat, shown):
    _synergy_line(axis, [row for row in rows if row['synergy'] is not None], axis_name)
    axis.set_title(label, fontsize=9)
  for axis in axes.flat[len(shown):]:
    axis.set_axis_off()
  for axis in axes[-1]:
    axis.set_xlabel('strength of alignment, lam')
  for row in axes:
    row[0].set_ylabel('synergy (points)')
  if len(groups) > len(shown):
    figure.supxlabel(f'the first {len(shown)} of {len(groups)} settings', fontsize=8)
  return figure


def _synergy_line(axis, rows: list[dict], axis_name: str) -> None:
  axis.axhline(0, color='0.6', linewidth=0.8)
  x, y = [row[axis_name] for row in rows], [100 * row['synergy'] for row in rows]
  axis.plot(x, y, '-', color=style.PURPLE, linewidth=1.3)
  for at, value, row in zip(x, y, rows):
    ends = row['synergy_interval']
    axis.plot([at], [value], 'D', color=style.PURPLE, markersize=4,
              markerfacecolor=style.PURPLE if ends else 'white')
    if ends:
      axis.plot([at, at], [100 * end for end in ends], color=style.PURPLE, linewidth=2, alpha=0.5)


def cka_figure(groups: dict[str, list[Curve]]) -> Figure:
  """Accuracy against similarity of the representations, a point per setting and strength."""
  numbers = sorted({curve.encoder for group in groups.values() for curve in group})
  figure, axes = style.grid(4.5 * max(2, len(numbers)), 3.8, ncols=len(numbers))
  marks, points = 'osD^v<>PX*hp', None
  for i, group in enumerate(groups.values()):
    for curve in group:
      cka, _ = mean_band(curve.cka)
      axis = axes[0, curve.encoder - 1]
      axis.plot(cka, curve.mean, color='0.75', linewidth=0.8, zorder=1)
      points = axis.scatter(cka, curve.mean, c=curve.lam, cmap='viridis', s=22, zorder=2,
                            marker=marks[i % len(marks)], edgecolors='white', linewidths=0.3,
                            label=list(groups)[i])
  for encoder, axis in zip(numbers, axes[0]):
    axis.set_xlabel('debiased linear CKA')
    axis.set_title(f'encoder {encoder}', fontsize=9)
  axes[0, 0].set_ylabel('test accuracy')
  if points is not None:
    figure.colorbar(points, ax=axes, label='lam')
  _legend(figure, axes, fontsize=7, ncols=5 if max(map(len, groups)) < 20 else 3,
          loc='outside lower center')
  return figure


def retention_figures(dataset: xr.Dataset) -> dict[str, Figure]:
  """Retention against strength: a picture per data setting, the first `retention`, then
  `retention_2`, ..., at most MAX_PANELS; none without probes."""
  if 'retention' not in dataset:
    return {}
  groups: dict[str, list[Kept]] = {}
  for one in kept(dataset):
    label = ', '.join(f'{name} {v}' for name, v in varying(one.setting, dataset).items())
    groups.setdefault(label, []).append(one)
  names = ['retention', *(f'retention_{i}' for i in range(2, MAX_PANELS + 1))]
  return {name: retention_figure(group, label)
          for name, (label, group) in zip(names, groups.items())}


def retention_figure(lines: Sequence[Kept], title: str) -> Figure:
  """A row per encoder, a panel per factor, a line per layer bands over seeds, chance dashed."""
  numbers = sorted({one.encoder for one in lines})
  factors = list(dict.fromkeys(one.factor for one in lines))
  layers = list(dict.fromkeys(one.layer for one in lines))
  shades = colormaps['viridis'].resampled(len(layers))  # of more layers than there are looks
  figure, axes = style.grid(max(4.5, 2.2 * len(factors)), 0.9 + 2.1 * len(numbers), sharey=True,
                            nrows=len(numbers), ncols=len(factors))
  for (i, encoder), (j, factor) in itertools.product(enumerate(numbers), enumerate(factors)):
    own = [one for one in lines if (one.encoder, one.factor) == (encoder, factor)]
    for one in own:
      color, mark, line = _look(layers.index(one.layer) + 1)
      color = color if len(layers) <= len(LOOKS) else shades(layers.index(one.layer))
      mean, half = mean_band(one.values)
      axes[i, j].plot(one.lam, mean, line, color=color, marker=mark, markersize=3, linewidth=1.2,
                      label=one.layer)
      axes[i, j].fill_between(one.lam, mean - half, mean + half, color=color, alpha=0.2,
                              linewidth=0)
      axes[i, j].axhline(one.chance, color='0.4', linestyle='--', linewidth=1)
    if not own:  # the other encoder has such bits
      axes[i, j].set_axis_off()
    axes[i, j].set_title(f'encoder {encoder}: {factor}' if own else '', fontsize=8)
  for axis in axes[-1]:
    axis.set_xlabel('lam')
  for row in axes:
    row[0].set_ylabel('balanced accuracy')
  if title:
    figure.suptitle(title, fontsize=9)
  _legend(figure, axes, loc='outside lower center', ncols=min(len(layers), 6))
  return figure
