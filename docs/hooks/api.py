"""Pages of the API: what `__all__` of the package names, and the modules that rows are added to."""

import importlib
import inspect

from mkdocs.structure.files import File

HOME, FOLDER = 'mmalign_jax', 'reference/api'
PAGE, MARK = f'{FOLDER}.md', '<!-- modules -->'
# Beside the public names: what a row of one's own is made of (docs/adding.md).
OF_ROWS = ('mmalign_jax.types', 'mmalign_jax.losses', 'mmalign_jax.losses.task',
           'mmalign_jax.encoders.sides', 'mmalign_jax.data.sources',
           'mmalign_jax.data.files.stores', 'mmalign_jax.studies.protocol',
           'mmalign_jax.similarity.measure')


def modules() -> dict[str, list[str]]:
  """The public names of every module that gets a page; [] for one without `__all__`."""
  found, left = {}, [importlib.import_module(name) for name in (HOME, *OF_ROWS)]
  while left:
    module = left.pop(0)
    if module.__name__ in found:
      continue
    names = getattr(module, '__all__', [])
    inner = [getattr(module, n) for n in names if inspect.ismodule(getattr(module, n))]
    found[module.__name__] = [n for n in names if not inspect.ismodule(getattr(module, n))]
    left += inner
  return found


def page(name: str, names: list[str]) -> str:
  """A page that mkdocstrings fills; `names` are its members, [] stands for all public ones."""
  lines = [f'# {name}', '', f'::: {name}']
  if names:
    lines += ['    options:', '      members:', *(f'        - {n}' for n in names)]
  return '\n'.join(lines) + '\n'


def on_config(config):
  """The pages in the navigation, the package itself first."""
  made = modules()
  for section in config.nav:
    for entry in section.get('Reference', []):
      if isinstance(entry, dict) and 'API' in entry:
        entry['API'] = [PAGE, *({name.removeprefix(f'{HOME}.'): f'{FOLDER}/{name}.md'}
                                for name in made)]
  return config


def on_files(files, config):
  """The pages themselves."""
  for name, names in modules().items():
    files.append(File.generated(config, f'{FOLDER}/{name}.md', content=page(name, names)))
  return files


def on_page_markdown(markdown, page, config, files):
  """On PAGE the list of modules, each with the first line of its docstring."""
  if page.file.src_uri != PAGE:
    return markdown
  return markdown.replace(MARK, '\n'.join(
      f'* [`{name}`](api/{name}.md): {first_line(name)}' for name in modules()))


def first_line(name: str) -> str:
  return importlib.import_module(name).__doc__.strip().splitlines()[0]
