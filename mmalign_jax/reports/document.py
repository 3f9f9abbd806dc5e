"""A report, written once: an answer and sections of words, tables, curves and pictures -> text,
JSON and one HTML file.

The HTML holds its pictures and asks for nothing outside itself: no script, no font, no link that is
followed unasked.
"""

import base64
from collections.abc import Mapping, Sequence
import dataclasses
import html as escaping
import json
import math
import pathlib
from typing import Any

from mmalign_jax.reports import chart, look
from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.text import aligned, write_json
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


Part = Words | Table | Picture | Chart


@dataclasses.dataclass(frozen=True)
class Section:
  """said: whether it belongs to the text that a command prints, which pictures and curves never do;
  what does not is folded in HTML."""
  title: str
  parts: Sequence[Part]
  said: bool = True


@dataclasses.dataclass(frozen=True)
class Document:
  """answer: what stands first in HTML, a sentence each; headline: its numbers by name, in which
  several documents are compared."""
  title: str
  sections: Sequence[Section]
  answer: Sequence[str] = ()
  headline: Mapping[str, str] = dataclasses.field(default_factory=dict)


def text(document: Document) -> str:
  """What a command prints: the parts that are said, without titles."""
  return '\n'.join(_text(part) for section in document.sections if section.said
                   for part in section.parts if not isinstance(part, (Picture, Chart)))


def _text(part: Words | Table) -> str:
  return part.text if isinstance(part, Words) else aligned(part.head, part.rows, left=part.left)


def content(document: Document) -> dict[str, Any]:
  """All of it, ready for JSON; a picture is the name of its file."""
  def of(part: Part) -> dict[str, Any]:
    if isinstance(part, Picture):
      return {'picture': part.path.name, 'words': part.words}
    if isinstance(part, Chart):
      return {'curve': [dataclasses.asdict(one) for one in part.series], 'words': part.words,
              'x': part.x, 'y': part.y, 'form': part.form}
    return {'words': part.text} if isinstance(part, Words) else {
        'head': list(part.head), 'rows': [list(row) for row in part.rows], 'left': list(part.left)}
  return {'title': document.title, 'answer': list(document.answer),
          'headline': dict(document.headline), 'sections': [
      {'title': section.title, 'said': section.said, 'parts': list(map(of, section.parts))}
      for section in document.sections]}


def read(path: pathlib.Path) -> Document:
  """A document from the JSON of its `content`, pictures beside it in figures/ or where it lies.

  Raises:
    ValueError: damaged, or no document.
  """
  found = folder.read_json(path, 'it is no report')
  def part(of: dict[str, Any]) -> Part:
    if 'curve' in of:
      return Chart(of['words'], of['x'], of['y'], list(map(_series, of['curve'])),
                   of['form'])
    if 'picture' in of:
      name = pathlib.PurePath(of['picture']).name
      beside = path.parent / name
      return Picture(beside if beside.exists() else path.parent / 'figures' / name, of['words'])
    return Table(of['head'], of['rows'], of['left']) if 'head' in of else Words(of['words'])
  try:
    return Document(found['title'], [
        Section(one['title'], list(map(part, one['parts'])), one['said'])
        for one in found['sections']], found['answer'], found['headline'])
  except (KeyError, TypeError) as error:
    raise ValueError(
        f'{path}: no report of this version: {type(error).__name__} {error}') from error


def _series(of: Mapping[str, Any]) -> Series:
  """A series from its JSON, where NaN is null."""
  return Series(of['name'], *([math.nan if v is None else v for v in of[name]]
                              for name in ('x', 'y', 'low', 'high')))


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


def html(*documents: Document, title: str = '', before: Sequence[Section] = ()) -> str:
  """One page with everything in it: answers first, then what they rest on.

  Args:
    documents: one, or several that are compared.
    title: of the page; '' is that of the only document.
    before: sections that stand before several documents.

  Raises:
    OSError: a picture cannot be read.
  """
  title = escaping.escape(title or documents[0].title)
  several = len(documents) > 1
  body, links = _Body(), []
  for section in before:
    links.append((body.section(section, 2), section.title))
  for one in documents:
    links += body.document(one, 3 if several else 2)
  return '\n'.join([
      '<!DOCTYPE html>', '<html lang="en">', '<head>', '<meta charset="utf-8">',
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      f'<title>{title}</title>', f'<style>{look.STYLE}</style>', '</head>', '<body>',
      '<a class="skip" href="#main">Skip to the answer</a>', '<header>', f'<h1>{title}</h1>',
      *_contents(links), '</header>', '<main id="main" tabindex="-1">', *body.lines, '</main>',
      '<footer><p>Made by mmalign_jax; this file holds everything that it shows.</p></footer>',
      '</body>', '</html>', ''])


def _contents(links: Sequence[tuple[str, str]]) -> list[str]:
  """A way to every section, where there are several."""
  if len(links) < 2:
    return []
  rows = [f'<li><a href="#{at}">{escaping.escape(name)}</a></li>' for at, name in links]
  return ['<nav aria-label="Contents">', '<ul>', *rows, '</ul>', '</nav>']


class _Body:
  """Lines of HTML, and numbers for what must have a name of its own."""

  def __init__(self):
    self.lines: list[str] = []
    self._n = 0
    self._of = self._title = ''  # the heading above those of sections, of one of several documents
    self._known: set[str] = set()

  def document(self, document: Document, level: int) -> list[tuple[str, str]]:
    """Adds a document, under a heading of its own where `level`, of its sections, is above 2."""
    links = []
    if level > 2:
      self._of, self._title = f'{self._next()} ', document.title
      self.lines += ['<article>', f'<h2 id="s{self._n}">{escaping.escape(document.title)}</h2>']
      links.append((f's{self._n}', document.title))
    if document.answer or document.headline:
      links.append((self._answer(document, level), 'Answer'))
    links += [(self.section(section, level), section.title) for section in document.sections]
    self.lines += ['</article>'] if level > 2 else []
    return links[:1] if level > 2 else links

  def section(self, section: Section, level: int) -> str:
    """Adds a section, folded where it is not said; returns its name."""
    at = self._next()
    head = f'<h{level} id="{at}">{escaping.escape(section.title)}</h{level}>'
    parts = [_html(part, section.title) for part in section.parts]
    if not section.said:
      parts = [f'<details><summary>{head}</summary>', *parts, '</details>']
      head = ''
    self.lines += [self._landmark(section.title, at), *([head] if head else []), *parts,
                   '</section>']
    return at

  def _answer(self, document: Document, level: int) -> str:
    at = self._next()
    cells = [f'<div><dt>{escaping.escape(name)}</dt><dd>{escaping.escape(value)}</dd></div>'
             for name, value in document.headline.items()]
    self.lines += [
        self._landmark('Answer', at, ' class="answer"'),
        f'<h{level} id="{at}">Answer</h{level}>',
        *(f'<p>{escaping.escape(line)}</p>' for line in document.answer),
        *(['<dl class="head">', *cells, '</dl>'] if cells else []), '</section>']
    return at

  def _landmark(self, title: str, at: str, more: str = '') -> str:
    """A section with a name that no other has, by which a screen reader finds it; else without."""
    name = f'{self._title} {title}'
    own = '' if name in self._known else f' aria-labelledby="{self._of}{at}"'
    self._known.add(name)
    return f'<section{more}{own}>'

  def _next(self) -> str:
    self._n += 1
    return f's{self._n}'


def _html(part: Part, title: str) -> str:
  if isinstance(part, Words):
    return f'<p class="words">{escaping.escape(part.text)}</p>'
  if isinstance(part, Chart):
    head, rows = chart.rows(part)
    return chart.figure(part, _table(Table(head, rows), part.words))
  if isinstance(part, Picture):
    data = base64.b64encode(part.path.read_bytes()).decode()
    words = escaping.escape(part.words)
    return (f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
            f'<figcaption>{words}</figcaption></figure>')
  return _table(part, title)


def _table(table: Table, title: str) -> str:
  """A table that can be scrolled with the keyboard, rows named by their first cell."""
  name = escaping.escape(title)
  left = lambda i: ' class="left"' if i in table.left else ''
  head = ''.join(f'<th scope="col"{left(i)}>{escaping.escape(cell)}</th>' if cell else '<td></td>'
                 for i, cell in enumerate(table.head))
  rows = ['<tr>' + ''.join(
      f'<th scope="row"{left(i)}>{escaping.escape(cell)}</th>' if i == 0 else
      f'<td{left(i)}>{escaping.escape(cell)}</td>' for i, cell in enumerate(cells)) + '</tr>'
      for cells in table.rows]
  return '\n'.join([
      f'<div class="wide" tabindex="0" role="group" aria-label="{name}"><table>',
      f'<caption class="hidden">{name}</caption>', f'<thead><tr>{head}</tr></thead>',
      '<tbody>', *rows, '</tbody></table></div>'])


def keep(made: Document, folder_: pathlib.Path, files: Mapping[str, Any], *, page: bool) -> None:
  """Writes {name: what a JSON file holds} and, with `page`, report.html into a folder."""
  for name, held in files.items():
    write_json(folder_ / name, held)
  if page:
    write(folder_ / 'report.html', made)


def write(path: pathlib.Path, document: Document) -> None:
  """Writes the page, whole or not at all.

  Raises:
    OSError: one line that says what is safe.
  """
  folder.write_whole(path, html(document).encode())
