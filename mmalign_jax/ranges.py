"""What a setting may be, and a name may mean: known before JAX is loaded."""

from collections.abc import Mapping
import math
from typing import Any, NamedTuple


class Range(NamedTuple):
  """What a traced setting may be: low..high, `whole` numbers only."""
  low: float = 0.0
  high: float = math.inf
  whole: bool = False


def lookup(registry: Mapping[str, Any], name: str, kind: str):
  """registry[name], or a ValueError that lists the known names."""
  if name not in registry:
    raise ValueError(f'{kind} {name!r:.80} is unknown; known: {", ".join(sorted(registry))}')
  return registry[name]
