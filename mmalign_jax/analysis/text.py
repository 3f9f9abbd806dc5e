"""Tables as text."""

from collections.abc import Container, Sequence


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *,
            left: Container[int] = ()) -> str:
  """Rows under their heads, columns of equal width: to the right, those of `left` to the left."""
  widths = [max(map(len, column)) for column in zip(head, *rows)]
  put = lambda row: '  '.join(cell.ljust(w) if i in left else cell.rjust(w)
                              for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
  return '\n'.join(map(put, (head, *rows)))
