"""A picture of atoms: corrected value with its interval, the plug-in value, and chance."""

from collections.abc import Mapping
import os
import pathlib

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.reports import style

COLUMNS = 3
GREY = '0.75'
_LABELS = ('redundancy', 'unique 1', 'unique 2', 'synergy')


def draw(answers: Mapping[str, Mapping], path: pathlib.Path) -> None:
  """A panel an answer: entries as `mmalign decompose --json` prints them, by name."""
  columns = min(COLUMNS, len(answers))
  rows = -(-len(answers) // columns)
  figure, axes = style.grid(max(4.6, 3.4 * columns), 0.6 + 2.1 * rows, nrows=rows, ncols=columns,
                            sharex=True)
  samples = False
  for axis, (name, entry) in zip(axes.flat, answers.items()):
    samples |= isinstance(entry['redundancy'], Mapping)
    panel = _samples if isinstance(entry['redundancy'], Mapping) else _exact
    panel(axis, entry)
    axis.set_yticks(range(4), _LABELS)
    axis.set_ylim(3.6, -0.6)
    axis.axvline(0, color='0.4', linewidth=0.8)
    axis.set_title(_title(name, entry), fontsize=8)
  for axis in axes.flat[len(answers):]:
    axis.set_axis_off()
  units = next(iter(answers.values()))['units']
  gap = '\n' if columns == 1 else ' '
  key = (f'; orange: corrected with its 95 % interval, filled where present;{gap}blue ring: '
         'plug-in; grey: plug-in by chance, to its 95 % quantile' if samples else '')
  figure.supxlabel(f'{units}{key}', fontsize=8)
  style.save(figure, path)


def _title(name: str, entry: Mapping) -> str:
  short = ', '.join(os.path.basename(part) for part in name.split(','))
  return f'{short}, n {entry["n"]}' if 'n' in entry else f'{short}, {entry["method"]}'


def _exact(axis, entry: Mapping) -> None:
  axis.barh(range(4), [entry[atom] for atom in ATOMS], color=style.BLUE, height=0.6)


def _samples(axis, entry: Mapping) -> None:
  for k, atom in enumerate(ATOMS):
    found = entry[atom]
    if found['null_q95'] is not None:
      axis.barh(k, found['null_q95'], color=GREY, height=0.7)
    if found['interval'] is not None:
      axis.plot(found['interval'], [k, k], color=style.ORANGE, linewidth=2.4,
                solid_capstyle='butt')
    axis.plot(found['raw'], k, 'o', markerfacecolor='none', markeredgecolor=style.BLUE,
              markersize=6)
    faint = found['verdict'] != 'present'
    axis.plot(found['value'], k, 'o', color=style.ORANGE, markersize=5,
              markerfacecolor='white' if faint else style.ORANGE)
