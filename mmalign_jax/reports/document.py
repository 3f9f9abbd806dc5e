"""A report, written once: sections of words, tables and pictures -> text, JSON and one HTML file.

The HTML holds its pictures and asks for nothing outside itself: no script, no font, no link that is
followed unasked.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import html as escaping
import json
import pathlib
from typing import Any

from mmalign_jax.reports.text import aligned
from mmalign_jax.runs import folder


@dataclasses.dataclass(frozen=True)
class Words:
  """A paragraph; its line breaks are kept."""
  text: str


@dataclasses.dataclass(frozen=True)
class Table:
  """Cells as text under their heads; `left`: columns that are words, not numbers."""
  head: Sequence[str]
  rows: Sequence[Sequence[str]]
  left: Sequence[int] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
  """A PNG file, and what one sees in it, for those who do not see it too."""
  path: pathlib.Path
  words: str


Part = Words | Table | Picture


@dataclasses.dataclass(frozen=True)
class Section:
  """said: whether it belongs to the text that a command prints; pictures never do."""
  title: str
  parts: Sequence[Part]
  said: bool = True


@dataclasses.dataclass(frozen=True)
class Document:
  title: str
  sections: Sequence[Section]


def text(document: Document) -> str:
  """What a command prints: the parts that are said, without titles."""
  return '\n'.join(_text(part) for section in document.sections if section.said
                   for part in section.parts if not isinstance(part, Picture))


def _text(part: Words | Table) -> str:
  return part.text if isinstance(part, Words) else aligned(part.head, part.rows, left=part.left)


def content(document: Document) -> dict[str, Any]:
  """All of it, ready for JSON; a picture is the name of its file."""
  def of(part: Part) -> dict[str, Any]:
    if isinstance(part, Picture):
      return {'picture': part.path.name, 'words': part.words}
    return {'words': part.text} if isinstance(part, Words) else {
        'head': list(part.head), 'rows': [list(row) for row in part.rows]}
  return {'title': document.title, 'sections': [
      {'title': section.title, 'parts': list(map(of, section.parts))}
      for section in document.sections]}


def settings(given: Mapping[str, Any], title: str = 'Settings') -> Section:
  """Names and values, for the end of a report."""
  return Section(title, [Table(['setting', 'value'], [
      [name, ', '.join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)]
      for name, value in given.items()], left=(0, 1))], said=False)


def provenance(attributes: Mapping[str, Any]) -> list[Section]:
  """Settings and versions, as the attributes `configuration` and `versions` (JSON) of a data set
  have them."""
  return [settings(json.loads(attributes.get(kind, '{}')), title)
          for kind, title in (('configuration', 'Settings'), ('versions', 'Versions'))]


# -- HTML ------------------------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #ddd;
  white-space: nowrap; }
th.left, td.left { text-align: left; white-space: normal; min-width: 8rem; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption { font-size: .85rem; color: #555; }
pre { white-space: pre-wrap; font: inherit; }
"""


def html(document: Document) -> str:
  """One page with everything in it.

  Raises:
    OSError: a picture cannot be read.
  """
  title = escaping.escape(document.title)
  return '\n'.join([
      '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f'<title>{title}</title>', f'<style>{_STYLE}</style>', '</head>', '<body>',
      f'<h1>{title}</h1>', *_body(document), '</body>', '</html>', ''])


def _body(document: Document) -> Iterator[str]:
  for section in document.sections:
    yield f'<h2>{escaping.escape(section.title)}</h2>'
    for part in section.parts:
      yield _html(part)


def _html(part: Part) -> str:
  if isinstance(part, Words):
    return f'<pre>{escaping.escape(part.text)}</pre>'
  if isinstance(part, Picture):
    data = base64.b64encode(part.path.read_bytes()).decode()
    words = escaping.escape(part.words)
    return (f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f'<figcaption>{words}</figcaption></figure>')
  def row(cells: Sequence[str], tag: str) -> str:
    return '<tr>' + ''.join(
        f'<{tag}{" class=left" if i in part.left else ""}>{escaping.escape(cell)}</{tag}>'
        for i, cell in enumerate(cells)) + '</tr>'
  head, rows = row(part.head, 'th'), [row(cells, 'td') for cells in part.rows]
  return '\n'.join(['<div class="wide"><table>', f'<thead>{head}</thead>', '<tbody>', *rows,
                    '</tbody></table></div>'])


def write(path: pathlib.Path, document: Document) -> None:
  """Writes the page, whole or not at all.

  Raises:
    OSError: one line that says what is safe.
  """
  folder.write_whole(path, html(document).encode())
