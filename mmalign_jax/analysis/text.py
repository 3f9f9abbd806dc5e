"""Tables as text."""

from collections.abc import Sequence


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *,
            left: Sequence[int] = ()) -> str:
  """Rows under their heads, columns of equal width: to the right, those of `left` to the left."""
  lines = [list(head), *map(list, rows)]
  widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
  put = lambda line: '  '.join(
      c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths)))
  return '\n'.join(put(line).rstrip() for line in lines)
