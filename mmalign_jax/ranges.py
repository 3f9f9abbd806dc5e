"""What a setting may be, and a name may mean: known before JAX is loaded."""

from collections.abc import Collection, Mapping
import difflib
import math
from typing import Any, NamedTuple


class Range(NamedTuple):
  """What a traced setting may be: low..high, `whole` numbers only."""
  low: float = 0.0
  high: float = math.inf
  whole: bool = False


def lookup(registry: Mapping[str, Any], name: str, kind: str):
  """registry[name], or a ValueError that lists the known names, and the one that may be meant."""
  if name not in registry:
    raise ValueError(f'{kind} {name!r:.80} is unknown; {listed(name, sorted(registry))}')
  return registry[name]


def listed(name: str, known: Collection[str]) -> str:
  """The known names, in one line; last, where a long line is read, one that is like `name`."""
  near = difflib.get_close_matches(str(name)[:80], known, n=1, cutoff=0.7)
  return f'known: {", ".join(known)}' + (f'; did you mean {near[0]}?' if near else '')
