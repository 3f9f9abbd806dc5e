"""Pictures of similarity: a score within its null, or all pairs of layers."""

from collections.abc import Mapping, Sequence
import os
import pathlib
import re

from matplotlib.patches import Rectangle
import numpy as np

from mmalign_jax.cli.measure.question import Question, Side
from mmalign_jax.cli.measure.report import at_floor, digits
from mmalign_jax.reports import style
from mmalign_jax.similarity import Measure
from mmalign_jax.similarity.scores import Score

COLUMNS = 4
_TICKS = 8  # at most, on an axis of layers


def draw(scores: Mapping[str, Score], measures: Mapping[str, Measure], question: Question,
         path: pathlib.Path) -> None:
  """Writes the picture that fits: layers where a side has several, else nulls."""
  both = len(question.x.names) > 1 and len(question.y.names) > 1
  panel = _matrix if both else _profile if question.layered else _within_null
  rows, columns = _grid(len(scores))
  width, height = (3.1, 2.9) if both else (2.8, 2.1)
  if question.layered:  # long names of layers need room
    longest = {letter: max(len(_short(name)) for name in _stems(side.names)[1])
               for letter, side in (('X', question.x), ('Y', question.y))}
    width += 0.06 * longest['X'] * both
    height += 0.06 * (longest['Y'] if len(question.y.names) > 1 else longest['X'])
  figure, axes = style.grid(max(4.5, width * columns), 0.6 + height * rows, nrows=rows,
                            ncols=columns)
  for axis, (name, score) in zip(axes.flat, scores.items()):
    panel(axis, name, score, measures[name], question)
  for axis in axes.flat[len(scores):]:
    axis.set_axis_off()
  figure.suptitle(_title(question), fontsize=9)
  figure.supxlabel(_KEYS[panel](question), fontsize=8)
  style.save(figure, path)


def _grid(count: int) -> tuple[int, int]:
  """Rows and columns with few empty places."""
  columns = count if count <= COLUMNS else min((COLUMNS, COLUMNS - 1), key=lambda c: -count % c)
  return -(-count // columns), columns


def _title(question: Question) -> str:
  x, y = (os.path.basename(side.where) for side in (question.x, question.y))
  done = f', {", ".join(question.steps)}' if question.steps else ''
  return f'X {x}, Y {y}: {question.n} samples{done}'


def _named(axis, name: str, measure: Measure, said: str) -> None:
  arrow = ('' if measure.higher else ' (p: do X and Y lie apart?)' if measure.null == 'sides'
           else ' (lower is more similar)')
  axis.set_title(f'{name}{arrow}\n{said}', fontsize=8)


# -- nulls -----------------------------------------------------------------------------------------


def _within_null(axis, name: str, score: Score, measure: Measure, question: Question) -> None:
  """Histogram of the values by chance, and the value."""
  assert score.null is not None and score.null_mean is not None and score.p_value is not None
  value = score.value if score.tested is None else score.tested  # of the samples of the null
  every = np.append(score.null, value)
  rounding = 1e-5 * max(np.abs(every).max(), 1e-30)
  if np.ptp(score.null) > rounding:
    axis.hist(score.null, bins=max(5, min(15, len(score.null) // 8)), color='0.6',
              edgecolor='0.6', linewidth=0.7, histtype='stepfilled')
  else:  # all but equal: too narrow for bins
    axis.axvline(score.null_mean, color='0.6', linewidth=3.5)
  axis.axvline(value, color=style.ORANGE, linewidth=1.8)
  axis.margins(x=0.08)
  if np.ptp(every) <= rounding:
    axis.set_xlim(value - 5000 * rounding, value + 5000 * rounding)
  axis.ticklabel_format(axis='x', useOffset=False)
  form = digits(score)
  _named(axis, name, measure, f'value {form(value)}, chance {form(score.null_mean)}, '
         f'p {"<=" if at_floor(score) else "="} {score.p_value:.2g}')
  axis.locator_params(axis='x', nbins=5)
  axis.set_yticks([])
  axis.spines.left.set_visible(False)


# -- layers ----------------------------------------------------------------------------------------


def _said(score: Score, question: Question) -> str:
  names = map(_short, question.place(score).values())
  form = digits(score)
  chance = '' if score.null_mean is None else f', chance {form(score.null_mean)}'
  return f'best {form(score.value)}{chance}\nat {", ".join(names)}'


def _matrix(axis, name: str, score: Score, measure: Measure, question: Question) -> None:
  """Heat map [L1, L2], bright where similar, the best pair framed."""
  values = score.matrix
  low, high = values.min(), values.max()
  if low < 0 and -low > 0.3 * high:  # both signs matter
    span = max(-low, high)
    image = axis.imshow(values, cmap='RdBu', vmin=-span, vmax=span, origin='lower', aspect='auto')
  else:
    image = axis.imshow(values, cmap='viridis' if measure.higher else 'viridis_r', origin='lower',
                        aspect='auto')
  i, j = score.layers
  axis.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor=style.ORANGE,
                           linewidth=1.8, clip_on=False))
  _layer_axis(axis.xaxis, 'Y', question.y)
  _layer_axis(axis.yaxis, 'X', question.x)
  axis.spines[:].set_visible(False)
  bar = axis.figure.colorbar(image, ax=axis)
  bar.ax.tick_params(labelsize=7)
  bar.outline.set_visible(False)
  _named(axis, name, measure, _said(score, question))


def _profile(axis, name: str, score: Score, measure: Measure, question: Question) -> None:
  """One side's layers against the other side: a line, the best marked, chance dotted."""
  values, best = score.matrix.ravel(), max(score.layers)
  axis.plot(values, color=style.BLUE, marker='o', markersize=3, linewidth=1.2)
  axis.plot(best, values[best], 'o', color=style.ORANGE, markersize=6)
  if score.null is not None:
    axis.axhline(score.null_mean, color='0.4', linestyle=':', linewidth=1.2)
  side, letter = (question.x, 'X') if len(question.x.names) > 1 else (question.y, 'Y')
  _layer_axis(axis.xaxis, letter, side)
  _named(axis, name, measure, _said(score, question))


def _layer_axis(axis, letter: str, side: Side) -> None:
  """A few ticks with the names of layers, without what all of them begin with."""
  prefix, names = _stems(side.names)
  step = -(-len(names) // _TICKS)
  shown = range(0, len(names), step)
  axis.set_ticks(shown, [_short(names[i]) for i in shown], fontsize=7)
  if axis.axis_name == 'x' and max(len(_short(names[i])) for i in shown) > 3:
    axis.set_tick_params(rotation=90)
  axis.set_label_text(f'{letter}: {_short(prefix) or "layer"}', fontsize=8)


def _stems(names: Sequence[str]) -> tuple[str, list[str]]:
  """What names have in common at their start, without digits at its end, and the rests."""
  if len(names) == 1:
    return '', list(names)
  prefix = re.sub(r'[0-9]+$', '', os.path.commonprefix(list(names)))
  rest = [name[len(prefix):] for name in names]
  return (prefix.rstrip(':._-/ '), rest) if all(rest) else ('', list(names))


def _short(name: str, size: int = 20) -> str:
  return name if len(name) <= size else f'\u2026{name[1 - size:]}'


_KEYS = {  # what a picture of each kind shows
    _within_null: lambda q: (
        f'grey: {q.plan.permutations} values by chance; orange: the value' if q.units is None else
        f'grey: values by chance, whole {q.unit} moved; orange: the value'
        + ('' if q.units.kept is None else f' of {len(q.units.kept)} samples in {q.unit} of like '
           'size')),
    _matrix: lambda q: 'framed: the best pair of layers'
    + ('; chance: mean over permutations, the best pair taken within each' if q.plan.permutations
       else ''),
    _profile: lambda q: 'orange: the best layer'
    + ('; dotted: chance, the best layer taken within each permutation' if q.plan.permutations
       else '')}
