"""What no study of the package takes, said before JAX is loaded, which takes a second: numbers that
are too low.

The rules of a study say all that a setting may be; here is what theirs have in common, and
tests/settings_test.py holds it beside them. A name that only one of them has is left to it, which
says what it has instead.
"""

from collections.abc import Mapping
import re
from typing import Any

from mmalign_jax.settings import Rule, number, whole

_STRENGTH = re.compile(r'lam(_[1-9][0-9]?){0,2}')
LOWEST: dict[str, Rule] = {
    'learning_rate': number(1e-12, single=True), 'weight_decay': number(0, single=True),
    **{name: whole(1, guard=True) for name in ('batch_size', 'neighbors', 'n_align')}}


def rule_of(name: str) -> Rule | None:
  """The rule of a setting that is judged here; strengths by whatever name."""
  return number(0, single=True) if _STRENGTH.fullmatch(name) else LOWEST.get(name)


def refuse(chosen: Mapping[str, Any]) -> None:
  """Looks at settings of any study by name: numbers or tuples of them; what is none is passed over.

  Raises:
    ValueError: one line that names the setting, the value and what is allowed.

  Examples:
    >>> refuse({'lam': (0.0, 1.0), 'batch_size': 12})
  """
  for name, value in chosen.items():
    rule = rule_of(name)
    for one in value if isinstance(value, (tuple, list)) else (value,):
      if rule and isinstance(one, (int, float)) and one < rule.low:
        rule.of(name, one)
