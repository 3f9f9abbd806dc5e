"""Files of the repository that lie outside docs/ and that pages link to: they become pages, too.

Links are written as they lie in the repository, so that they work there; here they are turned into
those of the site. One that leads nowhere is left as it is, and the strict build refuses it.
"""

import pathlib
import posixpath
import re
import sys

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = ('CHANGELOG.md', 'CONTRIBUTING.md', 'benchmarks/results/*', 'configs/*.py',
         'tests/own_rows.py', 'tests/own_study.py')
_LINK = re.compile(r'(?<=\]\()([^)#\s:]+)(#[^)\s]*)?(?=\))')


def on_config(config):
  """The package of this checkout, whatever is installed: for all hooks."""
  if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
  return config


def on_files(files, config):
  """Adds what PAGES name, under the paths of the repository."""
  for pattern in PAGES:
    for path in sorted(ROOT.glob(pattern)):
      uri = path.relative_to(ROOT).as_posix()
      files.append(File.generated(config, uri, abs_src_path=str(path)))
  return files


def on_page_markdown(markdown, page, config, files):
  """Links as they lie in the repository, as those between the pages of the site."""
  here = in_repository(page.file.src_uri)

  def moved(match):
    target = posixpath.normpath(posixpath.join(posixpath.dirname(here), match[1]))
    found = in_site(target)
    if files.get_file_from_path(found) is None:
      return match[0]
    return posixpath.relpath(found, posixpath.dirname(page.file.src_uri) or '.') + (match[2] or '')
  return _LINK.sub(moved, markdown)


def in_repository(uri: str) -> str:
  """Where the source of a page of the site lies."""
  if (ROOT / 'docs' / uri).exists():
    return f'docs/{uri}'
  notebook = pathlib.PurePosixPath(uri).with_suffix('.ipynb').as_posix()
  return notebook if (ROOT / notebook).exists() else uri


def in_site(path: str) -> str:
  """The page of the site that a file of the repository becomes."""
  if path.startswith('notebooks/'):
    return pathlib.PurePosixPath(path).with_suffix('.md').as_posix()
  return 'index.md' if path == 'README.md' else path.removeprefix('docs/')
