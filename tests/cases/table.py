"""What stands in a row of cases_test."""

from collections.abc import Callable
import pathlib
from typing import NamedTuple


class Row(NamedTuple):
  """number: the kind of case; name: of this input; check(folder) asserts the right answer."""
  number: int | str
  name: str
  check: Callable[[pathlib.Path], None]
