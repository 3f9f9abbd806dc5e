"""Pictures of what pairs share: beside their curves, and against the best strength."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
import xarray as xr

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.estimation import PRESENT
from mmalign_jax.reports import style
from mmalign_jax.reports.text import bracket, plain
from mmalign_jax.studies.objectives.atoms import KINDS, Trend, source_of
from mmalign_jax.studies.strength.curves import curves

ROWS = 13  # pairs in a picture
_WORDS = {'redundancy': 'redundancy', 'own': "unique to the encoder's own side",
          'other': 'unique to the other side', 'synergy': 'synergy'}


def draw(found: Mapping[str, xr.Dataset], trends: Sequence[Trend],
         pairs: Mapping[str, Mapping[str, Any]], folder: pathlib.Path) -> list[pathlib.Path]:
  """curves, as many as pairs need, and atoms, where there are trends; returns the PNG files."""
  folder.mkdir(parents=True, exist_ok=True)
  labels, made = list(pairs), {}
  for k in range(0, len(labels), ROWS):
    name = 'curves' if not k else f'curves_{k // ROWS + 1}'
    made[name] = curves_figure({label: found[label] for label in labels[k:k + ROWS]}, pairs)
  if trends:
    made['atoms'] = trend_figure(trends, pairs)
  for name, figure in made.items():
    for suffix in ('png', 'svg'):
      style.save(figure, folder / f'{name}.{suffix}')
      figure.set_layout_engine('none')
  return [folder / f'{name}.png' for name in made]


def curves_figure(found: Mapping[str, xr.Dataset],
                  pairs: Mapping[str, Mapping[str, Any]]) -> Figure:
  """A row for each pair: a panel for each setting and encoder, then the atoms."""
  of = {label: {} for label in found}
  for label, dataset in found.items():
    for curve in curves(dataset):
      setting = ', '.join(f'{name} {plain(v)}' for name, v in curve.setting.items()
                          if name != 'objective')
      of[label].setdefault(f'{setting}, encoder {curve.encoder}', []).append(curve)
  heads = list(dict.fromkeys(head for panels in of.values() for head in panels))
  figure, axes = style.grid(2.1 * len(heads) + 3.4, 0.7 + 1.35 * len(found), nrows=len(found),
                            ncols=len(heads) + 1)
  for row, (label, panels) in zip(axes, of.items()):
    for axis, head in zip(row, heads):
      for curve, color in zip(panels.get(head, ()), (style.BLUE, style.ORANGE, style.GREEN, '0.4')):
        gain = 100 * (curve.accuracy - curve.accuracy[:1]).mean(axis=(1, 2))
        axis.plot(range(len(gain)), gain, '.-', color=color, linewidth=1, markersize=4,
                  label=str(curve.setting['objective']))
        axis.set_xticks(range(len(gain)), [f'{v:g}' for v in curve.lam], fontsize=6)
      axis.axhline(0, color='0.7', linewidth=0.7)
      axis.tick_params(labelsize=7)
    row[0].set_ylabel(f'{label}\npoints', fontsize=7.5)
    _bars(row[-1], pairs[label])
  for axis, head in zip(axes[0], (*heads, 'atoms (nats)')):
    axis.set_title(head, fontsize=8)
  lines, names = axes[0, 0].get_legend_handles_labels()
  figure.legend(lines, names, loc='outside lower center', ncols=len(names), fontsize=8)
  return figure


def _bars(axis: Any, own: Mapping[str, Any]) -> None:
  for i, name in enumerate(ATOMS):
    sure = own[name]['verdict'] == PRESENT
    axis.barh(i, own[name]['value'], color=style.PURPLE if sure else 'none',
              edgecolor=style.PURPLE)
    if own[name]['interval']:
      axis.plot(own[name]['interval'], (i, i), color='0.2', linewidth=1)
  axis.set_yticks(range(len(ATOMS)), ATOMS, fontsize=6.5)
  axis.invert_yaxis()
  axis.locator_params(axis='x', nbins=4)
  axis.tick_params(labelsize=7)


def trend_figure(trends: Sequence[Trend], pairs: Mapping[str, Mapping[str, Any]]) -> Figure:
  """Best strength of both encoders of every pair: a row a setting and objective, a column an
  atom."""
  own = [t for t in trends if (t.target, t.units, t.encoder) == ('best_lam', 'nats', 0)]
  groups: dict[tuple, dict[str, Trend]] = {}
  for t in own:
    groups.setdefault((*t.setting.items(), t.objective), {})[t.kind] = t
  figure, axes = style.grid(11, 0.9 + 1.75 * len(groups), nrows=len(groups), ncols=4,
                            sharey=True, sharex='col')
  sources = list(dict.fromkeys(map(source_of, pairs)))
  levels = sorted({float(v) for t in own for v in t.y.ravel()})
  for row, (key, kinds) in zip(axes, groups.items()):
    for axis, kind in zip(row, KINDS):
      _panel(axis, kinds[kind], pairs, sources, levels)
    setting = ', '.join(f'{name} {plain(v)}' for name, v in key[:-1])
    row[0].set_ylabel(f'{key[-1]}\n{setting}\nbest lam', fontsize=8)
  for axis, kind in zip(axes[-1], KINDS):
    axis.set_xlabel(f'{_WORDS[kind]} (nats)', fontsize=8)
  handles = [axes[0, 0].plot([], [], 'o', color=_color(i, len(sources)), markersize=4,
                             label=name)[0] for i, name in enumerate(sources)]
  handles += [axes[0, 0].plot([], [], mark, color='0.4', markersize=4, label=f'encoder {i}')[0]
              for i, mark in enumerate('o^', start=1)]
  figure.legend(handles=handles, loc='outside right upper', fontsize=7)
  return figure


def _panel(axis: Any, trend: Trend, pairs: Mapping[str, Mapping[str, Any]],
           sources: Sequence[str], levels: Sequence[float]) -> None:
  """Points of one atom; strengths by their order, as a rank correlation sees them."""
  for i, name in enumerate(trend.sets):
    color = _color(sources.index(source_of(name)), len(sources))
    for e, mark in enumerate('o^'):
      atom = {'own': f'unique_{e + 1}', 'other': f'unique_{2 - e}'}.get(trend.kind, trend.kind)
      sure = pairs[name][atom]['verdict'] == PRESENT
      axis.plot(trend.x[i, e], levels.index(trend.y[i, e]) + 0.12 * (2 * e - 1), mark,
                color=color, markerfacecolor=color if sure else 'none', markersize=4, alpha=0.8)
  axis.set_yticks(range(len(levels)), [f'{v:g}' for v in levels])
  ends = '; '.join(map(bracket, (trend.over_pairs, trend.over_sources)))
  axis.set_title(f'{trend.spearman:+.2f} {ends}', fontsize=7.5)


def _color(i: int, n: int):
  return colormaps['turbo'](0.05 + 0.9 * i / max(n - 1, 1))
