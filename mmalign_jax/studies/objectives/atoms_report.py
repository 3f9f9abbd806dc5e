"""What pairs share, in words and pictures, and whether the best strength follows it."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from matplotlib import colormaps
import numpy as np

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.estimation import CHANCE, PRESENT
from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.text import bracket, plain
from mmalign_jax.studies.objectives.atoms import KINDS, Trend, source_of

PICTURES = {'atoms': 'Best strength of every encoder against the atoms of its pair in nats, a row '
                     'for each setting and objective; colours are data sets, hollow where the atom '
                     'is not certainly present.'}
_WORDS = {'redundancy': 'redundancy', 'own': "unique to the encoder's own side",
          'other': 'unique to the other side', 'synergy': 'synergy'}
_MARKS = {PRESENT: '', CHANCE: ' 0?'}
_ATOMS = (
    'Nats, corrected for bias, of cells of either side (`mmalign decompose`), with 95 % intervals; '
    '"0?" is not distinguishable from chance, "?" undecided at this n.')
_TRENDS = (
    'Spearman correlation over both encoders of all pairs of best strength, or of the cross-fitted '
    'gain, with an atom; `own` is what the encoder\'s side alone tells (unique_1 for encoder 1). '
    'First interval: 95 % by pairs drawn anew. Second: by data sets drawn anew, all pairs of one '
    'together; views of the same samples are not independent, so it is the one to believe, if '
    'wide. As a share: of the four atoms of the pair, which nats of different labels are not.')


def sections(pairs: Mapping[str, Mapping[str, Any]], trends: Sequence[Trend],
             names: Sequence[str]) -> list[Section]:
  """The atoms of every pair, and the correlations; none where there are none."""
  made = []
  if pairs:
    made.append(Section('What the pairs share', [atom_table(pairs), Words(_ATOMS)]))
  if trends:
    own = [name for name in names if name != 'set']
    made += [Section('Does the best strength follow it?', [
        trend_table([t for t in trends if t.units == 'nats' and not t.encoder], own),
        Words('as a share of the four:'),
        trend_table([t for t in trends if t.units == 'share' and not t.encoder], own),
        Words(_TRENDS)])]
  return made


def atom_table(pairs: Mapping[str, Mapping[str, Any]]) -> Table:
  """A row for each pair."""
  rows = [[label or '-', f'{own["n"]}', ' x '.join(map(str, own['cells'])),
           *(_atom(own[name]) for name in ATOMS)] for label, own in pairs.items()]
  return Table(['set', 'n', 'cells', *ATOMS], rows, (0,))


def _atom(found: Mapping[str, Any]) -> str:
  return (f'{found["value"]:.3f}{_MARKS.get(found["verdict"], " ?")} '
          f'{bracket(found["interval"], ".2f")}')


def trend_table(trends: Sequence[Trend], names: Sequence[str]) -> Table:
  """A row for each target, setting and objective, the four atoms beside each other."""
  rows: dict[tuple, list[str]] = {}
  for t in trends:
    key = (t.target.replace('_', ' '), *(plain(t.setting[name]) for name in names), t.objective,
           f'{len(t.sets)} of {t.n_sources}')
    rows.setdefault(key, []).append(
        f'{t.spearman:+.2f} {bracket(t.over_pairs)} {bracket(t.over_sources)}')
  return Table(['', *names, 'objective', 'pairs, sets', *KINDS],
               [[*key, *cells] for key, cells in sorted(rows.items())],
               (0, *range(1, len(names) + 2)))


def draw(trends: Sequence[Trend], pairs: Mapping[str, Mapping[str, Any]],
         folder: pathlib.Path) -> list[pathlib.Path]:
  """atoms.png and atoms.svg in `folder`."""
  from mmalign_jax.reports import style  # Matplotlib is slow to import
  own = [t for t in trends if (t.target, t.units, t.encoder) == ('best_lam', 'nats', 0)]
  groups: dict[tuple, dict[str, Trend]] = {}
  for t in own:
    groups.setdefault((*t.setting.items(), t.objective), {})[t.kind] = t
  figure, axes = style.grid(11, 0.9 + 1.75 * len(groups), nrows=len(groups), ncols=4,
                            sharey=True, sharex='col')
  sources = list(dict.fromkeys(source_of(name) for name in pairs))
  for row, (key, kinds) in zip(axes, groups.items()):
    for axis, kind in zip(row, KINDS):
      _panel(axis, kinds[kind], pairs, sources)
    setting = ', '.join(f'{name} {plain(v)}' for name, v in key[:-1])
    row[0].set_ylabel(f'{key[-1]}\n{setting}\nbest lam', fontsize=8)
  for axis, kind in zip(axes[-1], KINDS):
    axis.set_xlabel(f'{_WORDS[kind]} (nats)', fontsize=8)
  handles = [axes[0, 0].plot([], [], 'o', color=_color(i, len(sources)), markersize=4,
                             label=name)[0] for i, name in enumerate(sources)]
  handles += [axes[0, 0].plot([], [], mark, color='0.4', markersize=4, label=f'encoder {i}')[0]
              for i, mark in enumerate('o^', start=1)]
  figure.legend(handles=handles, loc='outside right upper', fontsize=7)
  folder.mkdir(parents=True, exist_ok=True)
  for suffix in ('png', 'svg'):
    style.save(figure, folder / f'atoms.{suffix}')
    figure.set_layout_engine('none')
  return [folder / 'atoms.png']


def _panel(axis: Any, trend: Trend, pairs: Mapping[str, Mapping[str, Any]],
           sources: Sequence[str]) -> None:
  """Points of one atom; strengths by their order, as a rank correlation sees them."""
  levels = np.unique(trend.y)
  for i, name in enumerate(trend.sets):
    color = _color(sources.index(source_of(name)), len(sources))
    for e, mark in enumerate('o^'):
      atom = {'own': f'unique_{e + 1}', 'other': f'unique_{2 - e}'}.get(trend.kind, trend.kind)
      sure = pairs[name][atom]['verdict'] == PRESENT
      axis.plot(trend.x[i, e], np.searchsorted(levels, trend.y[i, e]) + 0.12 * (2 * e - 1), mark,
                color=color, markerfacecolor=color if sure else 'none', markersize=4, alpha=0.8)
  axis.set_yticks(range(len(levels)), [f'{v:g}' for v in levels])
  ends = '; '.join(map(bracket, (trend.over_pairs, trend.over_sources)))
  axis.set_title(f'{trend.spearman:+.2f} {ends}', fontsize=7.5)


def _color(i: int, n: int):
  return colormaps['turbo'](0.05 + 0.9 * i / max(n - 1, 1))
