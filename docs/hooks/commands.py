"""The command reference, made from the parsers that the commands use: nothing is typed twice."""

import argparse
import contextlib
import pathlib
import re
import runpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE, MARK = 'reference/commands.md', '<!-- commands -->'
CONFIGS = ('strength', 'emergence', 'paired', 'few_labels', 'avmnist', 'pairs')


def on_page_markdown(markdown, page, config, files):
  """Puts the reference where PAGE has MARK."""
  if page.file.src_uri != PAGE:
    return markdown
  if MARK not in markdown:
    raise ValueError(f'{PAGE} has no line {MARK}')
  return markdown.replace(MARK, reference())


def reference() -> str:
  """Every command, its options, and the settings of every configuration, as Markdown."""
  from mmalign_jax import cli
  launched = [name for name in cli.COMMANDS if (ROOT / 'launch' / f'{name}.py').exists()]
  others = [name for name in cli.COMMANDS if name not in launched]
  return '\n\n'.join([
      fenced(cli.__doc__), *(of_flags(name) for name in launched),
      *(of_parser(name, parser_of(name)) for name in others),
      '## Settings of the studies {#settings}\n\nEvery one can be given as `--config.NAME=VALUE`; '
      'what it means stands in [Spec and Hyper](api/mmalign_jax.types.md).',
      *(of_config(name) for name in CONFIGS)])


# -- argparse --------------------------------------------------------------------------------------


class Found(Exception):
  """A command has come to its parser, which is all that is wanted."""


def parser_of(name: str) -> argparse.ArgumentParser:
  """The parser that a command makes when it is run."""
  from mmalign_jax import cli
  asked = argparse.ArgumentParser.parse_args

  def stop(parser, *_, **__):
    raise Found(parser)
  argparse.ArgumentParser.parse_args = stop
  try:
    cli.COMMANDS[name]([])
  except Found as found:
    return found.args[0]
  finally:
    argparse.ArgumentParser.parse_args = asked
  raise ValueError(f'mmalign {name} has no parser')


def of_parser(name: str, parser: argparse.ArgumentParser) -> str:
  """What a command does, its options a table for each group, and its examples."""
  parts = [f'## mmalign {name} {{#{name}}}', fenced(parser.description)]
  for group in parser._action_groups:
    rows = [(called(action), text_of(action)) for action in group._group_actions
            if action.help != argparse.SUPPRESS and action.dest != 'help']
    if rows:
      parts += [f'**{group.title}**', table(('argument', 'what it does'), rows)]
  return '\n\n'.join([*parts, *([fenced(parser.epilog)] if parser.epilog else [])])


def called(action: argparse.Action) -> str:
  """An argument as it is typed."""
  value = action.metavar or ('|'.join(action.choices) if action.choices else action.dest.upper())
  if not action.option_strings:
    return f'`{value}{" ..." if action.nargs == "+" else ""}`'
  return f'`{action.option_strings[-1]}{"" if action.nargs == 0 else f"={value}"}`'


def text_of(action: argparse.Action) -> str:
  return (action.help or '') % {'default': action.default, 'prog': ''}


# -- absl ------------------------------------------------------------------------------------------


@contextlib.contextmanager
def launcher(name: str):
  """The names in launch/NAME.py, and the flags that it defines, for as long as they are needed."""
  from absl import flags
  before = set(flags.FLAGS)
  try:
    names = runpy.run_path(str(ROOT / 'launch' / f'{name}.py'), run_name=f'launch_{name}')
    yield names, [flags.FLAGS[flag] for flag in flags.FLAGS if flag not in before]
  finally:
    for flag in set(flags.FLAGS) - before:
      delattr(flags.FLAGS, flag)


def of_flags(name: str) -> str:
  """A command that launch/NAME.py runs: its flags."""
  with launcher(name) as (names, found):
    rows = [(f'`--[no]{f.name}`' if f.boolean else f'`--{f.name}={f.name.upper()}`',
             f.help + (f' ({f.default})' if f.default not in (None, '') else '')) for f in found]
    said = names['__doc__'].strip().replace('python launch/' + name + '.py', f'mmalign {name}')
  return '\n\n'.join([f'## mmalign {name} {{#{name}}}', fenced(said),
                      table(('flag', 'what it does'), rows)])


def of_config(name: str) -> str:
  """A configuration: its arguments, and every setting with its default."""
  names = runpy.run_path(str(ROOT / 'configs' / f'{name}.py'))
  rows = [(f'`{key}`', f'`{value!r}`') for key, value in names['get_config']().items()]
  return '\n\n'.join([f'### configs/{name}.py {{#{name}}}', fenced(names['__doc__']),
                      table(('setting', 'default'), rows)])


# -- Markdown --------------------------------------------------------------------------------------


def fenced(text: str) -> str:
  return f'```text\n{text.strip()}\n```'


def table(head: tuple[str, str], rows: list[tuple[str, str]]) -> str:
  """Rows of (code, words); what Markdown would read in the words is escaped."""
  lines = [head, ('---', '---'), *((cell(a), cell(b)) for a, b in rows)]
  return '\n'.join(f'| {a} | {b} |' for a, b in lines)


def cell(text: str) -> str:
  """One cell of a table; code, which is in backticks, only loses its bars."""
  text = ' '.join(text.split())
  if text.startswith('`') and text.endswith('`'):
    return text.replace('|', '\\|')
  return re.sub(r'([|*_<>\[\]`])', r'\\\1', text)
