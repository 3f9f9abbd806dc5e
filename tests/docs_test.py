"""README, docs and notebooks: commands parse, examples print what is shown, links lead somewhere,
notebooks run, and the site builds without a warning."""

import ast
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
from unittest import mock

from absl import flags
from documents import (
  ROOT,
  anchors,
  cell_source,
  commands,
  examples,
  fences,
  links,
  notebooks,
  pages,
)
from emitters import OLDER, WHOLE
import numpy as np
import pytest

import mmalign_jax
from mmalign_jax import cli
from mmalign_jax.cli import launching

# Commands whose rows are the user's own; tests/registries_test.py runs these very ones.
ELSEWHERE = '--register=own_rows.py'
TOOLS = ('python3', 'pip', 'python -m pytest', 'ruff', 'basedpyright', '.ci/run',
         'mkdocs')  # CI runs or needs them
NOT_IN_NOTEBOOKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While,
                    ast.Try)


def hook(name: str):
  """docs/hooks/NAME.py as a module."""
  spec = importlib.util.spec_from_file_location(f'hook_{name}', ROOT / f'docs/hooks/{name}.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def name_of(path: pathlib.Path) -> str:
  return path.relative_to(ROOT).as_posix()


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize('page', pages(), ids=name_of)
def test_commands_parse(page):
  for words, timed in commands(page):
    words = [word for word in words if not re.match(r'[A-Z_]+=', word)]
    words[0] = words[0].removeprefix('.venv/bin/')
    if words[0] == 'python' and words[1].startswith('launch/'):
      words = ['mmalign', pathlib.Path(words[1]).stem, *words[2:]]
    if words[0] == 'mmalign':
      assert parses(words[1:]), words
    elif words[0] == 'python' and words[1].startswith('benchmarks/'):
      source = (ROOT / words[1]).read_text()
      for flag in re.findall(r'--[a-z_]+', ' '.join(words[2:])):
        assert f"'{flag}'" in source, words
    elif words[0] == 'pip':
      known = (ROOT / 'setup.py').read_text()
      assert all(f"'{extra}': [" in known for extra in re.findall(r'\[(\w+)\]', words[-1])), words
    else:
      assert timed or ' '.join(words).startswith(TOOLS), f'{words}: neither parsed nor timed'


def parses(words: list[str]) -> bool:
  """Whether the real parser of a command takes it; what it refuses is raised."""
  made = hook('commands')
  if words[0].startswith('--register'):
    return words[0] in (ELSEWHERE, '--register=FILE.py')
  name, *rest = words
  if not rest or name == 'COMMAND':  # only the name of a command
    return name in (*cli.COMMANDS, 'COMMAND')
  if name not in ('sweep', 'train', 'submit'):
    with contextlib.suppress(SystemExit):  # of --help
      made.parser_of(name).parse_args(rest)
    return True
  argv = [f'mmalign {name}', *(word.replace('...', 'configs/strength.py') for word in rest)]
  with made.launcher(name), mock.patch.object(sys, 'argv', argv):
    # ml_collections looks into sys.argv for what it overrides
    left = launching.parse(flags.FLAGS, argv)
    flags.FLAGS.unparse_flags()
  return len(left) == 1


@pytest.fixture(scope='module')
def tried(tmp_path_factory):
  """A folder with the files to try with, made as the guide says, and spoilt copies of them."""
  folder = tmp_path_factory.mktemp('tried')
  for page in ('index', 'shared'):
    for fence in fences(ROOT / f'docs/guide/{page}.md'):
      if fence.language == 'python':
        subprocess.run([sys.executable, '-c', fence.text], cwd=folder, check=True)
  text = np.load(folder / 'text.npy')
  np.save(folder / 'short.npy', text[:300])
  np.savetxt(folder / 'rows.csv', np.column_stack([1000 + np.random.default_rng(0).permutation(400),
                                                   text]), delimiter=',', fmt='%g', comments='',
             header='key,' + ','.join(f'c{k}' for k in range(text.shape[1])))
  text[3, 2] = np.nan
  np.save(folder / 'gaps.npy', text)
  return folder


EXAMPLES = [example for page in pages() for example in examples(page)]


@pytest.mark.parametrize('words, lines', EXAMPLES, ids=[' '.join(e[0])[:60] for e in EXAMPLES])
def test_examples_print_what_is_shown(words, lines, tried, monkeypatch, capsys):
  """The very lines, in their order; of numbers only that there are some, but for errors."""
  monkeypatch.chdir(tried)
  if words[1] == 'sweep':  # takes its process with it where it fails
    environment = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    said = subprocess.run([sys.executable, '-m', 'mmalign_jax.cli', *words[1:]], env=environment,
                          text=True, capture_output=True, timeout=300, check=False).stderr
  else:
    cli.main([*words[1:]])
    said = ''.join(capsys.readouterr())
  shown = str if 'error: ' in said else without_numbers
  printed = iter(map(shown, said.splitlines()))
  for line in lines:
    wanted = shown(line)
    assert wanted in printed, f'{line!r} is not in {said}'  # and moves on to what follows it


def without_numbers(line: str) -> str:
  return re.sub(r'\s+', ' ', re.sub(r'[-+]?\d+(\.\d+)?(e-?\d+)?', '0', line)).strip()


def test_names_in_code_are_public():
  found = {'mm': mmalign_jax, 'sim': mmalign_jax.similarity, 'info': mmalign_jax.information}
  text = '\n'.join(f.text for page in pages() for f in fences(page) if f.language == 'python')
  for short, rest in re.findall(r'\b(mm|sim|info)((?:\.[A-Za-z_]+)+)', text):
    thing = found[short]
    for name in rest.split('.')[1:]:
      assert hasattr(thing, name), f'{short}{rest}'
      thing = getattr(thing, name)


# -- links and sizes -------------------------------------------------------------------------------


@pytest.mark.parametrize('page', [*pages(), *notebooks()], ids=name_of)
def test_links_lead_somewhere(page):
  for path, wanted in links(page):
    target = (page.parent / path).resolve() if path else page
    assert target.exists(), f'{name_of(page)}: {path}'
    if wanted:
      assert wanted in anchors(target), f'{name_of(page)}: {path}#{wanted}'


def test_the_readme_is_short():
  assert len((ROOT / 'README.md').read_bytes()) <= 8192


# -- notebooks and the site ------------------------------------------------------------------------


@pytest.mark.parametrize('path', notebooks(), ids=name_of)
def test_notebooks_only_import_call_and_plot(path):
  notebook = json.loads(path.read_text())
  assert notebook['nbformat'] == 4
  for cell in notebook['cells']:
    if cell['cell_type'] == 'code':
      source = cell_source(cell)
      assert not cell['outputs'] and cell['execution_count'] is None, 'outputs are made by the site'
      assert not [n for n in ast.walk(ast.parse(source)) if isinstance(n, NOT_IN_NOTEBOOKS)]
      assert ('alt' in cell['metadata']) == ('plt.show()' in source or 'Image(' in source), source


@pytest.fixture(scope='module')
def site(tmp_path_factory):
  """The site, built strictly, with the notebooks in their tiny form."""
  for module in ('mkdocs', 'material', 'mkdocstrings_handlers', 'nbclient', 'ipykernel'):
    if importlib.util.find_spec(module) is None:
      pytest.skip(f"{module} is not installed: pip install -e '.[docs]'")
  folder = tmp_path_factory.mktemp('site')
  environment = os.environ | {
      'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'MMALIGN_TINY': '1',
      'JAX_DISABLE_MOST_OPTIMIZATIONS': '1', 'XLA_FLAGS': f'{OLDER} {WHOLE}',
      'NO_MKDOCS_2_WARNING': '1'}
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  built = subprocess.run(
      [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)], cwd=ROOT,
      env=environment, text=True, capture_output=True, timeout=900, check=False)
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  assert built.returncode == 0, built.stdout + built.stderr
  # Processor time: what else the machine does is not the notebooks' fault.
  yield folder, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  shutil.rmtree(folder)


def test_the_site_builds_strictly_and_soon(site):
  folder, seconds = site
  assert seconds < 180  # 80 to 120 where nothing is compiled yet; two minutes of two cores are 240
  html = '\n'.join(path.read_text() for path in folder.rglob('*.html'))
  assert not re.findall(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="https?:', html)


@pytest.mark.parametrize('path', notebooks(), ids=name_of)
def test_notebooks_are_shown_with_their_pictures(path, site):
  text = (site[0] / f'notebooks/{path.stem}.html').read_text()
  for cell in json.loads(path.read_text())['cells']:
    if 'alt' in cell['metadata']:
      assert f'alt="{cell["metadata"]["alt"]}"' in text


def test_the_reference_has_every_command_and_public_name(site):
  text = (site[0] / 'reference/commands.html').read_text()
  assert all(f'id="{name}"' in text for name in cli.COMMANDS)
  for module, names in hook('api').modules().items():
    text = (site[0] / f'reference/api/{module}.html').read_text()
    home = ROOT / module.replace('.', '/')  # a function hidden by a module of its name is not found
    missing = [name for name in names if f'id="{module}.{name}"' not in text
               and not (home / f'{name}.py').exists()]
    assert not missing, (module, missing)
