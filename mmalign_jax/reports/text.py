"""Answers as text, and as JSON."""

from collections.abc import Container, Sequence
import json
import math
import pathlib
from typing import Any

from mmalign_jax.runs import folder


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *,
            left: Container[int] = ()) -> str:
  """Rows under their heads, columns of equal width: to the right, those of `left` to the left."""
  widths = [max(map(len, column)) for column in zip(head, *rows)]
  put = lambda row: '  '.join(cell.ljust(w) if i in left else cell.rjust(w)
                              for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
  return '\n'.join(map(put, (head, *rows)))


def number(value: float, form: str = '+.2f', end: str = '') -> str:
  """A number as `form` says, with its unit `end`; '-' where there is none."""
  return f'{value:{form}}{end}' if math.isfinite(value) else '-'


def bracket(values: Sequence[float] | None, form: str = '+.2f', scale: float = 1) -> str:
  """An interval, times `scale`; '-' where there is none."""
  if values is None or not all(map(math.isfinite, values)):
    return '-'
  return '[' + ', '.join(f'{scale * v:{form}}' for v in values) + ']'


def plain(value: Any) -> str:
  """A setting, a name or a count; '-' for None and NaN.

  Examples:
    >>> plain(0.1), plain('info_nce'), plain(None)
    ('0.1', 'info_nce', '-')
  """
  if value is None or isinstance(value, float) and math.isnan(value):
    return '-'
  return f'{value:.4g}' if isinstance(value, float) else str(value)


def percent(value: float | None) -> str:
  """A share of 0..1 in percent; '-' for None and NaN.

  Examples:
    >>> percent(0.443)
    '44.3 %'
  """
  return '-' if value is None or math.isnan(value) else f'{100 * value:.1f} %'


def points(value: float | None) -> str:
  """A difference of shares in percentage points, signed; '-' for None and NaN.

  Examples:
    >>> points(0.021)
    '+2.1'
  """
  return '-' if value is None or math.isnan(value) else f'{100 * value:+.1f}'


def p_value(p: float, least: float) -> str:
  """A p, with a sign where no permutation reached the value: it is then the smallest, `least`, that
  so many of them can give.

  Examples:
    >>> p_value(1 / 201, 1 / 201), p_value(0.25, 1 / 201)
    ('<= 0.005', '0.25')
  """
  return ('<= ' if p < 1.5 * least else '') + f'{p:.2g}'


def repeated(share: float | None) -> str:
  """In how many random halves a verdict came again; '' where none were drawn.

  Examples:
    >>> repeated(0.4)
    ' (the same in 40 % of random halves: uncertain)'
  """
  if share is None:
    return ''
  return f' (the same in {100 * share:.0f} % of random halves{": uncertain" * (share < 0.5)})'


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a file whole or not at all; what is not finite is null there."""
  folder.write_whole(path, (json.dumps(_finite(content), indent=1) + '\n').encode())


def _finite(value: Any) -> Any:
  if isinstance(value, dict):
    return {k: _finite(v) for k, v in value.items()}
  if isinstance(value, (list, tuple)):
    return [_finite(v) for v in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value
