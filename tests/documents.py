"""README, docs and notebooks taken apart: code, commands, headings and links."""

import json
import pathlib
import re
import shlex
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIME = re.compile(r'\d\s*(s|min|minutes?|h|hours?)\b')


class Fence(NamedTuple):
  """A block of code: its language, its text, and the paragraphs before and after it."""
  language: str
  text: str
  near: str


class Command(NamedTuple):
  """words: as a shell splits them; timed: a run time stands on its line or beside its block."""
  words: tuple[str, ...]
  timed: bool


def pages() -> list[pathlib.Path]:
  return [*sorted(ROOT.glob('*.md')), *sorted(ROOT.glob('docs/**/*.md'))]


def notebooks() -> list[pathlib.Path]:
  return sorted(ROOT.glob('notebooks/*.ipynb'))


def prose(path: pathlib.Path) -> str:
  """The Markdown of a page, or of the cells of a notebook."""
  if path.suffix != '.ipynb':
    return path.read_text()
  return '\n\n'.join(cell_source(cell) for cell in json.loads(path.read_text())['cells']
                     if cell['cell_type'] == 'markdown')


def cell_source(cell: dict) -> str:
  return ''.join(cell['source'])


def fences(path: pathlib.Path) -> list[Fence]:
  """The blocks of code of a page."""
  parts = re.split(r'^```(.*)\n', prose(path), flags=re.M)
  found = []
  for k in range(1, len(parts) - 2, 4):  # text, language, code, '', text, ...
    before, after = parts[k - 1].strip().split('\n\n')[-1], parts[k + 3].strip().split('\n\n')[0]
    found.append(Fence(parts[k].strip(), parts[k + 1], f'{before}\n{after}'))
  return found


def commands(path: pathlib.Path) -> list[Command]:
  """The commands of a page: those in blocks, and those in a line of text that begin like one; but
  not those that are shown with the error that they end in."""
  found = []
  for fence in fences(path):
    if fence.language in ('', 'sh', 'console') and '\nerror: ' not in fence.text:
      found += [command for line in fence.text.splitlines()
                for command in in_line(line, fence.language, bool(TIME.search(fence.near)))]
  outside = re.sub(r'^```.*?^```', '', prose(path), flags=re.M | re.S)
  for code in re.findall(r'`([^`\n]+)`', outside):
    if re.match(r'(mmalign|python (launch|benchmarks)/\S+) ', code):
      found.append(Command(tuple(shlex.split(code)), False))
  return found


def in_line(line: str, language: str, timed: bool) -> list[Command]:
  """The commands of one line of a block; of a console only what follows a $."""
  if language == 'console':
    line = line[2:] if line.startswith('$ ') else ''
  words = shlex.split(line, comments=True)
  timed = timed or bool(TIME.search(line.partition(' #')[2]))
  split = [[]]
  for word in words:
    split = [*split, []] if word == '&&' else [*split[:-1], [*split[-1], word]]
  return [Command(tuple(words), timed) for words in split if words]


def examples(path: pathlib.Path) -> list[tuple[tuple[str, ...], list[str]]]:
  """Commands of consoles, each with the lines that it prints."""
  found = []
  for fence in fences(path):
    if fence.language == 'console':
      for part in re.split(r'^\$ ', fence.text, flags=re.M)[1:]:
        command, *lines = part.splitlines()
        found.append((tuple(shlex.split(command)), [line for line in lines if line.strip()]))
  return found


# -- links -----------------------------------------------------------------------------------------


def links(path: pathlib.Path) -> list[tuple[str, str]]:
  """Relative links: (path, anchor)."""
  text = re.sub(r'^```.*?^```', '', prose(path), flags=re.M | re.S)
  targets = re.findall(r'\]\(([^)\s]+)\)', text)
  return [target.partition('#')[::2] for target in targets if '://' not in target]


def anchors(path: pathlib.Path) -> set[str]:
  """Of the headings of a page or a notebook."""
  text = re.sub(r'^```.*?^```', '', prose(path), flags=re.M | re.S)
  return {anchor(heading) for heading in re.findall(r'^#+ (.*)$', text, flags=re.M)}


def anchor(heading: str) -> str:
  """As Markdown makes it: letters and digits, with hyphens; or as it is given in {#...}."""
  given = re.search(r'\{#(.*)\}', heading)
  words = re.sub(r'[^\w\s-]', '', heading).strip().lower()
  return given[1] if given else re.sub(r'[-\s]+', '-', words)
