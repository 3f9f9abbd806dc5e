"""What each setting may be, and one line that names it, its value and what is allowed.

Settings come as plain Python, from a configuration, a command line, a notebook or a record. A study
has a `Rule` for every name of its defaults; `checked` puts all values through theirs before any
work begins, and `refuse_unread` names a value that was chosen and that nothing would read.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
import dataclasses
import math
import numbers
import os
from typing import Any

import numpy as np

from mmalign_jax.ranges import Range, lookup

MOST_VALUES = 1_000_000  # of one axis, and cells of a grid
MOST_SEED = 2**32 - 1
_SHOWN = 60              # characters of a value in a message


@dataclasses.dataclass(frozen=True)
class Rule:
  """What a setting may be.

  kind: 'number', 'whole', 'truth', 'text', 'name', 'pairs' (lowest and highest) or 'any'.
  low..high: bounds of a number; `above`, `below`: the bound itself is none. known: names, for
  'name', looked up when asked, so that a registry may grow; called: what one of them is. axis:
  several distinct values, sorted unless they are names; `least` of them. strict: 1.0 is no whole
  number. single: kept as float32, so that two values which are one there are a repetition. blank:
  '' is allowed. guard: `high` only stops slips, and is not said where the value is too low.
  """
  kind: str
  low: float = -math.inf
  high: float = math.inf
  above: bool = False
  below: bool = False
  known: Callable[[], Iterable[str]] = tuple
  axis: bool = False
  least: int = 1
  strict: bool = False
  single: bool = False
  blank: bool = False
  guard: bool = False
  called: str = ''

  def of(self, name: str, value: Any) -> Any:
    """The value as plain Python: a tuple for an axis.

    Raises:
      ValueError: one line that names the setting, the value and what is allowed.
    """
    if not self.axis:
      return self.one(name, value)
    values = _values(name, value)
    if len(values) < self.least:
      raise ValueError(f'{name}=() has no values' if not values else
                       f'{name}={shown(values)} needs {self.least} values')
    found = [self.one(name, v) for v in values]
    if self.kind in ('number', 'whole'):
      found.sort()
    _refuse_repeated(name, found, self.single)
    return tuple(found)

  def one(self, name: str, value: Any) -> Any:
    """`of`, of one value of an axis."""
    value = value.item() if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0) else value
    return getattr(self, f'_{self.kind}')(name, value)

  def _pairs(self, name: str, value: Any) -> tuple[tuple[int, int], ...]:
    """((low, high), ...) of whole numbers."""
    try:
      pairs = tuple((low, high) for low, high in value)
    except (TypeError, ValueError):
      pairs = ()
    whole_ones = all(isinstance(v, numbers.Integral) and not isinstance(v, bool)
                     for pair in pairs for v in pair)
    if not pairs or not whole_ones or any(low > high for low, high in pairs):
      raise ValueError(f'{name}={shown(value)} must be pairs (lowest depth, highest depth)')
    return tuple((int(low), int(high)) for low, high in pairs)

  def _any(self, name: str, value: Any) -> Any:
    return value

  def _truth(self, name: str, value: Any) -> bool:
    if not isinstance(value, bool):
      raise ValueError(f'{name}={shown(value)} must be True or False')
    return value

  def _text(self, name: str, value: Any) -> str:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(value, str):
      raise ValueError(f'{name}={shown(value)} is not text')
    if not (value.replace('\t', ' ').isprintable() and (self.blank or value.strip())):
      raise ValueError(f'{name}={shown(value)} must be one line of text' + (
          '' if self.blank else ', not empty'))
    return value

  def _name(self, name: str, value: Any) -> str:
    if not isinstance(value, str):
      raise ValueError(f'{name}={shown(value)} is not a name; known: '
                       f'{", ".join(sorted(self.known()))}')
    if value or not self.blank:
      lookup(dict.fromkeys(self.known()), value, self.called or name)
    return value

  def _whole(self, name: str, value: Any) -> int:
    number = self._number(name, value, bounded=False)
    if number != number // 1 or (self.strict and not isinstance(number, int)):
      least = '' if self.axis or math.isinf(self.low) else f' of at least {self.low:g}'
      raise ValueError(f'{name}={value!r} must be a whole number{least}')
    return int(self._bounded(name, number))

  def _number(self, name: str, value: Any, bounded: bool = True) -> int | float:
    if isinstance(value, (tuple, list)):
      raise ValueError(f'{name}={shown(value)} is not a number: it takes one value')
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
      raise ValueError(f'{name}={shown(value)} is not a number{_quoted(value)}')
    value = int(value) if isinstance(value, numbers.Integral) else float(value)
    if isinstance(value, float) and not math.isfinite(value):
      raise ValueError(f'{name}={value:g} must be finite')
    if self.single and not _fits_single(value):
      raise ValueError(f'{name}={shown(value)} is out of the range of float32, in which it is kept')
    return self._bounded(name, value) if bounded else value

  def _bounded(self, name: str, value: int | float) -> int | float:
    words = f'{value:g}' if abs(value) < 1e15 else shown(value)
    if value < self.low or self.above and value == self.low:
      if not (self.above or math.isinf(self.high) or self.guard):
        raise ValueError(f'{name}={words} is outside {self.low:g}..{_bound(self.high)}')
      kind = 'a whole number of ' if self.strict and not self.axis else ''
      bound = 'above 0' if 0 < self.low < 1 else f'above {self.low:g}' if self.above else (
          f'at least {self.low:g}')
      raise ValueError(f'{name}={words} must be {kind}{bound}')
    if value > self.high or self.below and value == self.high:
      raise ValueError(f'{name}={words} must be below {self.high:g}' if self.below else
                       f'{name}={words} is outside {self.low:g}..{_bound(self.high)}')
    return value


def number(low: float = -math.inf, high: float = math.inf, **rest) -> Rule:
  """A real number in low..high."""
  return Rule('number', low, high, **rest)


def whole(low: float = -math.inf, high: float = math.inf, **rest) -> Rule:
  """A whole number in low..high; 3.0 is one."""
  return Rule('whole', low, high, **rest)


def count(low: int, high: float = math.inf) -> Rule:
  """An int that says how many."""
  return Rule('whole', low, high, strict=True, guard=True)


def truth() -> Rule:
  """True or False, and nothing that only counts as such."""
  return Rule('truth')


def text(blank: bool = True) -> Rule:
  """One line of text."""
  return Rule('text', blank=blank)


def choice(known: Callable[[], Iterable[str]], **rest) -> Rule:
  """A name that `known` lists."""
  return Rule('name', known=known, **rest)


def like(default: Any) -> Rule:
  """The rule that a default implies, for a setting that is judged where it is used."""
  for kind, rule in ((bool, truth()), (int, whole(0, MOST_SEED)), (float, number()), (str, text())):
    if isinstance(default, kind):
      return rule
  return Rule('any')


def of_range(bounds: Range, **rest) -> Rule:
  """The rule of a registry row's range."""
  return Rule('whole' if bounds.whole else 'number', bounds.low, bounds.high, **rest)


def check_field(name: str, values: np.ndarray, low: float, high: float, whole: bool) -> None:
  """Whether all values [...] are in low..high, and whole where asked.

  Raises:
    ValueError: names the field, the first value that is not, and what is allowed.
  """
  if not whole:  # hypers are float32: 1e-6 is a little less there
    single = np.array([low, high], np.float32).astype(float)
    low, high = min(low, single[0]), max(high, single[1])
  rule = of_range(Range(low, high, whole))
  for value in np.unique(values):
    rule.of(name, float(value))


def checked(given: Mapping[str, Any], defaults: Mapping[str, Any],
            rules: Mapping[str, Rule]) -> dict[str, Any]:
  """`defaults` with what was given, every value by its rule.

  Raises:
    ValueError: an unknown name (lists the known ones), or a value that its rule refuses.
  """
  for key in given:
    lookup(dict(defaults), key, 'setting')
  return {key: rules[key].of(key, value) for key, value in {**defaults, **given}.items()}


def refuse_unread(settings: dict[str, Any], given: Mapping[str, Any], defaults: Mapping[str, Any],
                  unread: Mapping[str, str], preset: Collection[str] = ()) -> dict[str, Any]:
  """`settings` without those of `unread`, {name: why it has no effect}.

  A default passes. So does a value of `preset`, names that came from a configuration of the package
  or from a record, which nobody chose for this very study.

  Raises:
    ValueError: names the setting that was given another value, and why it has no effect.
  """
  for key, why in unread.items():
    if key in given and key not in preset and settings[key] != defaults[key]:
      raise ValueError(f'{key}={shown(settings[key])} {why}')
  return {key: value for key, value in settings.items() if key not in unread}


def check_cells(axes: Mapping[str, Sequence]) -> None:
  """Refuses a grid that no machine could hold, with its number of cells."""
  cells = math.prod(map(len, axes.values()))
  if cells > MOST_VALUES:
    longest = max(axes, key=lambda key: len(axes[key]))
    raise ValueError(f'{longest}: {len(axes[longest]):,} values make a grid of {cells:,} cells; at '
                     f'most {MOST_VALUES:,} are allowed')


def shown(value: Any) -> str:
  """A value for a message, in one short line."""
  try:
    words = repr(value)
  except ValueError:  # an int of thousands of digits
    words = f'an int of {value.bit_length()} bits'
  words = ' '.join(words.split())
  return words if len(words) <= _SHOWN else f'{words[:_SHOWN - 3]}...'


def _values(key: str, value: Any) -> tuple:
  """What was given for an axis as a tuple; a lone value is one."""
  if isinstance(value, np.ndarray) and value.ndim == 1:
    value = value.tolist() if len(value) <= MOST_VALUES else value
  if not isinstance(value, (tuple, list, range, np.ndarray)) or (
      isinstance(value, np.ndarray) and not value.ndim):
    return (value,)
  if len(value) > MOST_VALUES:
    raise ValueError(f'{key} has {len(value):,} values; at most {MOST_VALUES:,} are allowed')
  return tuple(value)


def _refuse_repeated(key: str, values: Sequence, single: bool) -> None:
  """Two equal values would be one cell twice; `single`: so would two that float32 cannot tell."""
  kept = [np.float32(v).item() for v in values] if single else values
  first = {}
  for value, stored in zip(values, kept):
    if stored in first:
      twice = f'{key}={shown(value)} is given twice' if first[stored] == value else (
          f'{key}={shown(first[stored])} and {shown(value)} are the same in float32')
      raise ValueError(twice)
    first[stored] = value


def _fits_single(value: int | float) -> bool:
  """Whether a finite number is finite in float32, and not 0 there unless it is 0."""
  try:
    with np.errstate(over='ignore', under='ignore'):
      kept = np.float32(value)
  except OverflowError:
    return False
  return bool(np.isfinite(kept)) and (kept != 0 or value == 0)


def _bound(value: float) -> str:
  return f'{value:.0f}' if value == value // 1 and value < 1e15 else f'{value:.6g}'


def _quoted(value: Any) -> str:
  """What may help where text stands for numbers."""
  if isinstance(value, str) and value.strip()[:1] in '([0123456789.+-' and value.strip():
    return ', but text: leave the inner quotes out'
  return ''
