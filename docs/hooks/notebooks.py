"""Notebooks as pages: each is run once while the site is built, and shown with what it printed.

In git they have no outputs. What was run is kept in build/notebooks under a name made of the
notebook and of the package, so that a second build runs only what has changed.
"""

import base64
from collections.abc import Sequence
import hashlib
import logging
import os
import pathlib
import re
import tempfile
import time

from mkdocs.structure.files import File
import nbclient
import nbformat
from traitlets.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEPT = ROOT / 'build' / 'notebooks'
ORDER = ('strength', 'alike', 'shared', 'emergence')
LONGEST = 1200  # seconds of a cell
log = logging.getLogger('mkdocs.hooks.notebooks')


def sources() -> list[pathlib.Path]:
  """All notebooks: those of ORDER, then any other."""
  found = sorted((ROOT / 'notebooks').glob('*.ipynb'))
  return sorted(found, key=lambda p: (p.stem not in ORDER, [*ORDER, p.stem].index(p.stem)))


def on_config(config):
  """The notebooks in the navigation."""
  for section in config.nav:
    if 'Notebooks' in section:
      section['Notebooks'] = [f'notebooks/{path.stem}.md' for path in sources()]
  return config


def on_files(files, config):
  """A page for each notebook, and its pictures."""
  for path in sources():
    text, pictures = page(executed(path), path.stem)
    files.append(File.generated(config, f'notebooks/{path.stem}.md', content=text))
    for name, data in pictures.items():
      files.append(File.generated(config, f'notebooks/{name}', content=data))
  return files


def executed(path: pathlib.Path) -> nbformat.NotebookNode:
  """The notebook with its outputs; run in an empty folder, on the package of this checkout."""
  kept = KEPT / f'{path.stem}-{fingerprint(path)}.ipynb'
  if kept.exists():
    notebook = nbformat.read(kept, as_version=4)
    log.info('%s: as it ran before, in %.1f s', path.name, notebook.metadata.seconds)
    return notebook
  notebook = nbformat.read(path, as_version=4)
  begun = time.monotonic()
  with tempfile.TemporaryDirectory(prefix='mmalign-notebook-') as folder:
    # By sockets in a folder: over TCP anyone on the machine could listen.
    nbclient.NotebookClient(
        notebook, timeout=LONGEST, kernel_name='python3', resources={'metadata': {'path': folder}},
        config=Config({'KernelManager': {'transport': 'ipc', 'ip': f'{folder}/kernel'}}),
    ).execute(env=os.environ | {'PYTHONPATH': str(ROOT)})
  notebook.metadata.seconds = time.monotonic() - begun
  KEPT.mkdir(parents=True, exist_ok=True)
  nbformat.write(notebook, kept)
  log.info('%s: ran in %.1f s', path.name, notebook.metadata.seconds)
  return notebook


def fingerprint(path: pathlib.Path) -> str:
  """Of all that the outputs depend on: the notebook, its form, and the package."""
  digest = hashlib.sha256(os.environ.get('MMALIGN_TINY', '').encode())
  for file in (path, *sorted(ROOT.glob('mmalign_jax/**/*.py')), *sorted(ROOT.glob('configs/*.py'))):
    digest.update(file.read_bytes())
  return digest.hexdigest()[:16]


# -- Markdown --------------------------------------------------------------------------------------


def page(notebook: nbformat.NotebookNode, stem: str) -> tuple[str, dict[str, bytes]]:
  """The page, and the pictures on it by file name."""
  parts, pictures = [], {}
  for cell in notebook.cells:
    if cell.cell_type == 'markdown':
      parts.append(cell.source)
      continue
    parts.append(f'```python\n{cell.source}\n```')
    for output in joined(cell.get('outputs', ())):
      png = output.get('data', {}).get('image/png')
      if png:
        name = f'{stem}-{len(pictures) + 1}.png'
        pictures[name] = base64.b64decode(png)
        parts.append(f'![{cell.metadata.get("alt", "")}]({name})')
      else:
        parts += [f'```text\n{said}\n```' for said in (printed(output),) if said]
  return '\n\n'.join(parts) + '\n', pictures


def joined(outputs: Sequence[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
  """The outputs of a cell; what it printed in pieces as one."""
  found = []
  for output in outputs:
    if output.output_type == 'stream' and found and found[-1].get('name') == output.name:
      found[-1] = nbformat.from_dict(output | {'text': found[-1].text + output.text})
    else:
      found.append(output)
  return found


def printed(output: nbformat.NotebookNode) -> str:
  """What a cell said, without bars of progress and colours."""
  if output.output_type == 'stream':
    text = output.text if output.name == 'stdout' else ''
  else:
    text = output.get('data', {}).get('text/plain', '')
  return re.sub(r'\x1b\[[0-9;]*m', '', text).strip('\n')
