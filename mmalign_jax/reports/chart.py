"""A curve as inline SVG: values under the pointer and lines that can be hidden, without a script.

The same values stand in a table beside it, for keyboards, screen readers and paper.
"""

from collections.abc import Sequence
import dataclasses
import html
import math

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
MOST = 6  # series that are told apart
_DASHES = ('', '7 4', '2 4', '10 4 2 4', '4 2', '1 6')


@dataclasses.dataclass(frozen=True)
class Series:
  """y over x, NaN for none, with intervals where there are any; of equal lengths."""
  name: str
  x: Sequence[float]
  y: Sequence[float]
  low: Sequence[float] = ()
  high: Sequence[float] = ()


@dataclasses.dataclass(frozen=True)
class Chart:
  """words: what one sees in it; x, y: labels; form: of a value of y. The values of x stand in equal
  steps, as the strengths of a grid do."""
  words: str
  x: str
  y: str
  series: Sequence[Series]
  form: str = '.3g'

  @property
  def places(self) -> list[float]:
    """All values of x, in order."""
    return sorted({value for one in self.series for value in one.x})


def rows(chart: Chart) -> tuple[list[str], list[list[str]]]:
  """Head and rows of its values: one row an x, one column a series.

  Examples:
    >>> rows(Chart('', 'lam', 'y', [Series('a', (0, 1), (0.5, math.nan))]))
    (['lam', 'a'], [['0', '0.5'], ['1', '-']])
  """
  known = [dict(zip(one.x, range(len(one.x)))) for one in chart.series]
  return [chart.x, *(one.name for one in chart.series)], [
      [f'{x:g}', *(said(chart, one, at[x]) if x in at else '-'
                   for one, at in zip(chart.series, known))] for x in chart.places]


def said(chart: Chart, series: Series, i: int) -> str:
  """A value with its interval; '-' for none."""
  if not math.isfinite(series.y[i]):
    return '-'
  text = f'{series.y[i]:{chart.form}}'
  if not series.low or not math.isfinite(series.low[i]) or not math.isfinite(series.high[i]):
    return text
  return f'{text} [{series.low[i]:{chart.form}}, {series.high[i]:{chart.form}}]'


def svg(chart: Chart) -> str:
  """The picture; colours are those of the page (--s1, ...)."""
  values = [v for one in chart.series for v in (*one.y, *one.low, *one.high) if math.isfinite(v)]
  low, high = (min(values), max(values)) if values else (0.0, 1.0)
  ticks = steps(low, high)
  low, high = min(low, ticks[0]), max(high, ticks[-1])
  places = chart.places
  across = (WIDTH - _LEFT - _RIGHT) / max(len(places), 1)
  at_x = {x: _LEFT + across * (i + 0.5) for i, x in enumerate(places)}
  at_y = lambda v: _TOP + (HEIGHT - _TOP - _BOTTOM) * (high - v) / ((high - low) or 1)
  parts = [*(_tick_y(at_y(v), f'{v:g}') for v in ticks),
           *(f'<text class="tick" x="{at_x[x]:.1f}" y="{HEIGHT - _BOTTOM + 18}" '
             f'text-anchor="middle">{x:g}</text>' for x in places),
           f'<text class="name" x="{(_LEFT + WIDTH - _RIGHT) / 2:.0f}" y="{HEIGHT - 8}" '
           f'text-anchor="middle">{html.escape(chart.x)}</text>',
           f'<text class="name" x="4" y="16">{html.escape(chart.y)}</text>']
  for number, one in enumerate(chart.series[:MOST], start=1):
    parts.append(f'<g class="s{number}">{_line(chart, one, number, at_x, at_y)}</g>')
  return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(chart.words)}">'
          + ''.join(parts) + '</svg>')


def _line(chart: Chart, one: Series, number: int, at_x: dict[float, float], at_y) -> str:
  """A series: its line, intervals and marks, each with the value that the pointer shows."""
  known = [i for i, v in enumerate(one.y) if math.isfinite(v)]
  path = ' '.join(f'{at_x[one.x[i]]:.1f},{at_y(one.y[i]):.1f}' for i in known)
  dash = _DASHES[(number - 1) % len(_DASHES)]
  parts = [f'<polyline points="{path}" fill="none" stroke="var(--s{number})" stroke-width="2"'
           + (f' stroke-dasharray="{dash}"' if dash else '') + '/>']
  for i in known:
    x, y = at_x[one.x[i]], at_y(one.y[i])
    words = html.escape(f'{one.name}, {chart.x} {one.x[i]:g}: {said(chart, one, i)}')
    bar = ''
    if one.low and math.isfinite(one.low[i]) and math.isfinite(one.high[i]):
      bar = (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{at_y(one.low[i]):.1f}" '
             f'y2="{at_y(one.high[i]):.1f}" stroke="var(--s{number})" stroke-width="2" '
             'opacity=".5"/>')
    parts.append(f'<g class="point">{bar}<circle cx="{x:.1f}" cy="{y:.1f}" r="4" '
                 f'fill="var(--s{number})"/><circle cx="{x:.1f}" cy="{y:.1f}" r="14" '
                 f'fill="transparent"/><text class="tip" x="{WIDTH - _RIGHT}" y="16" '
                 f'text-anchor="end">{words}</text><title>{words}</title></g>')
  return ''.join(parts)


def _tick_y(y: float, text: str) -> str:
  return (f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
          f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')


def steps(low: float, high: float) -> list[float]:
  """Round values from at most `low` on to at least `high`, 3 to 7 of them.

  Examples:
    >>> steps(0.42, 0.58), steps(1, 1)
    ([0.4, 0.45, 0.5, 0.55, 0.6], [0.5, 1.0, 1.5])
  """
  if not high > low:
    low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
  raw = (high - low) / 4
  unit = 10.0 ** math.floor(math.log10(raw))
  step = next(m * unit for m in (1, 2, 2.5, 5, 10) if m * unit >= raw * 0.999)
  first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
  return [float(f'{i * step:.10g}') for i in range(first, last + 1)]


def figure(chart: Chart, table: str) -> str:
  """The picture with its words, boxes that hide single lines, and `table`: its values as HTML."""
  shown = chart.series[:MOST]
  boxes = ''.join(
      f'<label><input type="checkbox" class="t{i}" checked> <svg class="key" viewBox="0 0 28 8" '
      f'aria-hidden="true"><line x1="0" x2="28" y1="4" y2="4" stroke="var(--s{i})" '
      f'stroke-width="3" stroke-dasharray="{_DASHES[i - 1] or "none"}"/></svg> '
      f'{html.escape(one.name)}</label>' for i, one in enumerate(shown, start=1))
  more = len(chart.series) - len(shown)
  rest = f'<p class="dim">{more} more in the table.</p>' if more > 0 else ''
  return (f'<figure class="chart"><figcaption>{html.escape(chart.words)}</figcaption>'
          f'<fieldset><legend>Lines shown</legend>{boxes}</fieldset>{svg(chart)}{rest}'
          f'<details><summary>The values as a table</summary>{table}</details></figure>')
