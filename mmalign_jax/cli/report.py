"""mmalign report: one page of a work folder, or of several beside each other."""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import tempfile
from typing import TYPE_CHECKING

from mmalign_jax.cli import Parser, out_path, printable
from mmalign_jax.data.files.formats.guard import place
from mmalign_jax.runs import folder as runs

if TYPE_CHECKING:
  from mmalign_jax.reports.document import Document, Section

NAME, CONTENT = 'report.html', 'report.json'
MOST = 50  # documents of a page
FEW = 4    # of them, that are compared in columns

DESCRIPTION = """\
One self-contained page of what work folders hold: the answer first, what it rests on below. It asks
for nothing from elsewhere, and is made from the results alone: nothing is trained.

DIR is a work folder of any study (strength, emergence, train, objectives, zoo) or of an advice, of
encoders that were kept, or one that holds JSON of measure, decompose or diagnose; FILE.json is such
JSON. Several are compared: their headline numbers in one table, then each.
"""
EPILOG = """\
examples:
  mmalign report DIR
  mmalign report DIR_1 DIR_2 --out=compared.html --open
  mmalign measure a.npy b.npy --json > alike.json && mmalign report alike.json
"""


def run(argv: list[str]) -> None:
  """Writes the page and says where it lies."""
  args = _arguments(argv)
  places = [place(text) for text in args.folders]
  out = _out(args.out, places)
  from mmalign_jax.reports import document  # after the arguments are known to be right
  with tempfile.TemporaryDirectory() as drawn:
    found = []
    for number, at in enumerate(places):
      found += [(at, one) for one in documents(at, pathlib.Path(drawn) / str(number))]
    made = told_apart(found)
    if len(made) > MOST:
      raise ValueError(f'{len(made)} reports, and a page holds {MOST}; give fewer folders')
    title = made[0].title if len(made) == 1 else f'{len(made)} reports compared'
    before = comparison(made) if len(made) > 1 else []
    page = document.html(*made, title=title, before=before)
  runs.write_whole(out, page.encode())
  print(printable(str(out)))
  if args.open:
    import webbrowser
    webbrowser.open(out.resolve().as_uri())


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = Parser(prog='mmalign report', description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                  formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('folders', nargs='+', metavar='DIR', help='work folder, or FILE.json')
  add('--out', metavar='FILE', help='.html (of one folder DIR/report.html, of several report.html)')
  add('--open', action='store_true', help='show it in a browser')
  return parser.parse_args(argv)


def _out(text: str | None, places: Sequence[pathlib.Path]) -> pathlib.Path:
  """Where the page goes; what is missing is found out before any work.

  Raises:
    ValueError: another ending, or a folder twice. FileNotFoundError: nothing there.
  """
  for i, at in enumerate(places):
    if not at.exists():
      raise FileNotFoundError(f'{at}: no such folder or file')
    if at.resolve() in [other.resolve() for other in places[:i]]:
      raise ValueError(f'{at} is given twice')
  if (out := out_path(text, '--out', ('.html', '.htm'))) is None:
    first = places[0]
    alone = first / NAME if first.is_dir() else first.with_suffix('.html')
    return alone if len(places) == 1 else pathlib.Path(NAME)
  return out


def documents(at: pathlib.Path, drawn: pathlib.Path) -> 'list[Document]':
  """Every report that a folder or a file gives; pictures are drawn into `drawn`.

  Raises:
    FileNotFoundError, ValueError, OSError: one line: nothing there, or it cannot be read.
  """
  from mmalign_jax.reports import document, results
  if not at.is_dir():
    return [results.read(at)]
  found, kept = [], (at / 'encoders' / 'encoders.json').exists()
  if (at / CONTENT).exists():
    found.append(document.read(at / CONTENT))
  elif _command(at) == 'advise':  # killed before it could tell
    from mmalign_jax.cli.advise import report
    found.append(report.unfinished(at))
  elif (at / 'config.json').exists():
    from mmalign_jax.studies import registry
    drawn.mkdir(parents=True, exist_ok=True)
    found.append(registry.report(at, drawn))
  elif (at / 'winners.json').exists():  # of objectives, by a version that wrote no config.json
    from mmalign_jax.studies import registry
    from mmalign_jax.studies.objectives import study
    drawn.mkdir(parents=True, exist_ok=True)
    found.append(study.report(at, drawn, resamples=registry.RESAMPLES))
  else:
    found += [results.read(path) for path in runs.listed(at, '.json')]
  if kept:
    sections = _kept(at)
    if found:
      found[0] = dataclasses.replace(found[0], sections=[*found[0].sections, *sections])
    else:
      found.append(document.Document(f'Encoders: {at.name}', [
          dataclasses.replace(section, said=True) if i == 0 else section
          for i, section in enumerate(sections)]))
  if not found:
    raise FileNotFoundError(f'{at}: no results there: neither config.json, nor encoders/, nor a '
                            '.json of measure, decompose or diagnose')
  return found


def told_apart(found: 'Sequence[tuple[pathlib.Path, Document]]') -> 'list[Document]':
  """The documents; titles that several have end in as much of their paths as tells them apart."""
  made = []
  for at, one in found:
    others = [path for path, other in found if other.title == one.title and path != at]
    title = f'{one.title} ({_end(at, others)})' if others else one.title
    made.append(dataclasses.replace(one, title=title))
  return made


def _end(at: pathlib.Path, others: Sequence[pathlib.Path]) -> pathlib.Path:
  """The shortest end of a path that none of the others has."""
  parts, known = at.resolve().parts, [path.resolve().parts for path in others]
  n = next((n for n in range(1, len(parts)) if all(own[-n:] != parts[-n:] for own in known)),
           len(parts))
  return pathlib.Path(*parts[-n:])


def _command(at: pathlib.Path) -> str:
  """The command whose folder it is, where its configuration says so; '' of a study."""
  path = at / 'config.json'
  held = runs.read_json(path, 'remove it') if path.exists() else {}
  return str(held.get('command', '')) if isinstance(held, dict) else ''


def _kept(at: pathlib.Path) -> 'list[Section]':
  from mmalign_jax.fitted import report
  return report.sections(at)


def comparison(made: 'Sequence[Document]') -> 'list[Section]':
  """Headline numbers of all, a row each; one table for those that have the same ones."""
  from mmalign_jax.reports.document import Section, Table
  groups: 'dict[tuple[str, ...], list[Document]]' = {}
  for one in made:
    names = tuple(one.headline)
    same = next((known for known in groups if len({*known} & {*names}) * 2 >= len({*known, *names})
                 and names), names)
    groups.setdefault(same, []).append(one)
  tables = []
  for members in groups.values():
    names = list(dict.fromkeys(name for one in members for name in one.headline))
    head = ['report', *names]
    rows = [[one.title, *(one.headline.get(name, '-') for name in names)] for one in members]
    if names and len(rows) <= FEW:  # few reports are columns, which are read across
      head, *rows = map(list, zip(head, *rows))
    tables += [Table(head, rows, left=(0,))] if names else []
  return [Section('Side by side', tables)] if tables else []
