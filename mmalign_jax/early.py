"""What no study takes, said before JAX is loaded, which takes a second: numbers that are too low.

The rules of a study say all that a setting may be; here is what theirs have in common, and
tests/settings_test.py holds it beside them.
"""

from collections.abc import Mapping
import re
from typing import Any

from mmalign_jax.settings import Rule, count, number, whole

_STRENGTH = re.compile(r'lam(_[1-9][0-9]?){0,2}')
LOWEST: dict[str, Rule] = {
    'learning_rate': number(1e-12, single=True), 'temperature': number(1e-6, single=True),
    'weight_decay': number(0, single=True),
    **{name: whole(1, guard=True) for name in ('width', 'depth', 'projection_width', 'steps',
                                               'batch_size', 'neighbors', 'n_align')},
    'epochs': count(1), 'workers': count(0), 'chunk': count(0),
    'memory_gb': number(0, above=True)}


def refuse(chosen: Mapping[str, Any]) -> None:
  """Looks at settings of any study by name, that a user gave; axes as tuples, others as they are.

  Raises:
    ValueError: one line that names the setting, the value and what is allowed.

  Examples:
    >>> refuse({'lam': (0.0, 1.0), 'width': 12})
  """
  for name, value in chosen.items():
    rule = number(0, single=True) if _STRENGTH.fullmatch(name) else LOWEST.get(name)
    for one in value if isinstance(value, (tuple, list)) else (value,):
      if rule and isinstance(one, (int, float)) and one < rule.low:
        rule.of(name, one)
