"""What JSON of other commands holds, as cells of a report."""

from collections.abc import Iterator, Mapping
import math
from typing import Any

from mmalign_jax.reports.document import Table
from mmalign_jax.reports.text import bracket, p_value, plain

MOST = 2000                # rows of a table
SMALL = 0.05 * (1 + 1e-6)  # of a p, to the rounding of float32


def said(value: Any) -> str:
  """A value as a cell; '-' for none."""
  if isinstance(value, bool) or value is None:
    return {True: 'yes', False: 'no', None: '-'}[value]
  if isinstance(value, (list, tuple)):
    numbers = [v for v in map(number, value) if v is not None]
    if len(value) == 2 and len(numbers) == 2:
      return bracket(numbers, '.3g')
    return ', '.join(said(v) for v in value[:12]) + (', ...' if len(value) > 12 else '')
  return plain(value)


def number(value: Any) -> float | None:
  """A finite number; None for anything else."""
  known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
  return float(value) if known else None


def small(p: Any) -> bool:
  """Whether it is a p of at most 0.05."""
  value = number(p)
  return value is not None and value <= SMALL


def p_said(own: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
  """The p of `own`; the least that there can be is told by `entry`, or not at all."""
  value, permutations = number(own.get('p_value')), number(entry.get('permutations'))
  least = number(entry.get('least_p')) or (1 / (1 + permutations) if permutations else 0.0)
  return '-' if value is None else p_value(value, least)


def flat(found: Mapping[str, Any]) -> Table:
  """Every value by its path."""
  rows = []
  for key, value in _values('', found):
    if len(rows) == MOST:
      rows.append(['...', ''])
      break
    rows.append([key, said(value)])
  return Table(['name', 'value'], rows, left=(0,))


def _values(at: str, value: Any) -> Iterator[tuple[str, Any]]:
  """Every leaf by its path; short lists of numbers are one."""
  if isinstance(value, dict) and value:
    for key, inner in value.items():
      yield from _values(f'{at}.{key}' if at else str(key), inner)
  elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
    for i, inner in enumerate(value):
      yield from _values(f'{at}.{i}', inner)
  else:
    yield at, value
