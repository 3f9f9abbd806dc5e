"""How files are to be read: the choices that every command that reads files shares.

They are options of `mmalign measure` and `mmalign decompose` (--sep=...), settings of a study
(--config.sep=...) and parts of configs/paired.py:KEY=VALUE, under the same names.
"""

import argparse
from collections.abc import Callable, Collection
import dataclasses
from typing import Any

from mmalign_jax.data.files import pooling, steps

SEPARATORS = {'comma': ',', 'semicolon': ';', 'tab': '\t', 'space': ' ', 'pipe': '|'}
DECIMALS = {'point': '.', 'comma': ','}
CHOICES = {
    'header': ('auto', 'yes', 'no'), 'missing': ('refuse', 'drop', 'mean'),
    'layers': steps.LAYERS, 'pool': ('', *pooling.POOLS),
    'task': ('auto', 'cross_entropy', 'l1')}
OF_TABLES = ('sep', 'decimal', 'header', 'index')
OF_LABELS = ('task', 'classes')
ROWS = ('group', 'item', 'id')
KEYS = ('data', 'x1', 'x2', 'x3', 'y', 'group', 'id', 'task',
        'sep', 'decimal', 'header', 'index', 'missing', 'layers', 'pool', 'classes')

_HELP = {
    'sep': ('C', 'between the cells of a text table: one character, or comma, semicolon, tab, '
            'space, pipe; found by default'),
    'decimal': ('C', 'point or comma; found by default'),
    'header': (None, 'whether the first line of a text table names its columns (auto)'),
    'index': ('NAMES', 'columns of tables that are no features, with commas, by name or by place '
              'from 0; none keeps all; auto leaves out what names or counts the rows (auto)'),
    'missing': (None, 'missing numbers (NaN, empty cells, NA, null, ?), and rows all of whose '
                'features are 0 in one side: refuse the first and note the second; drop the rows; '
                'or put the mean of the column (refuse)'),
    'layers': (None, 'an array of three axes: first: [layers, samples, features]; none: [samples, '
               'steps, features], with --pool; auto: what the numbers of samples leave no doubt '
               'about (auto)'),
    'pool': (None, 'of the steps of sequences, or of those that KEY_length [samples] or KEY_mask '
             '[samples, steps] beside them count; HOW-centred: less the own mean of the sample'),
    'task': (None, 'whether the label is classes (cross_entropy) or a number (l1); auto: by its '
             'values (auto)'),
    'classes': ('N', 'the label is classes, N of them; -1 beside these is no label'),
    'group': ('NAME', 'what samples that belong together share (speaker, patient, video): a column '
              'or key of a file of the sides, or FILE[:KEY]; permutations and resamples keep a '
              'group whole'),
    'item': ('NAME', 'what several partners of one item share (five captions of one image), named '
             'alike'),
    'id': ('NAME', 'joins the files by the ids in their column or key NAME, not row by row; or '
           'FILE[:KEY] for each side, with commas'),
}


@dataclasses.dataclass(frozen=True)
class Reading:
  """How files are read; the defaults find out, and what they find is noted or refused.

  sep, decimal: of text tables, '' to find them. header: 'auto', 'yes' or 'no'. index: 'auto',
  'none', or columns that are no features, by name or place, with commas. missing: what becomes of
  missing numbers. layers, pool: of arrays of three axes, see `steps.settled`. task, classes: of
  a label; classes 0 where it is not said how many.
  """
  sep: str = ''
  decimal: str = ''
  header: str = 'auto'
  index: str = 'auto'
  missing: str = 'refuse'
  layers: str = 'auto'
  pool: str = ''
  task: str = 'auto'
  classes: int = 0

  def __post_init__(self):
    """Raises ValueError naming the field and its value for anything that cannot be."""
    for name, known in CHOICES.items():
      if getattr(self, name) not in known:
        raise ValueError(f'{name}={getattr(self, name)!r}; known: {", ".join(filter(None, known))}')
    _check_mark('sep', self.sep, SEPARATORS, '"\'.\n\r')
    if self.decimal and self.decimal not in (*DECIMALS, *DECIMALS.values()):
      raise ValueError(f'decimal={self.decimal!r}; known: point, comma')
    if self.separator and self.separator == self.mark:
      raise ValueError(f'sep={self.sep!r} is also the decimal mark')
    if not isinstance(self.index, str) or not self.index:
      raise ValueError(f'index={self.index!r}; auto, none, or names of columns')
    if isinstance(self.classes, bool) or not isinstance(self.classes, int) or not (
        self.classes == 0 or self.classes >= 2):
      raise ValueError(f'classes={self.classes!r} must be 0 (found out) or a whole number from 2')
    if self.classes and self.task == 'l1':
      raise ValueError(f"classes={self.classes}: a label with task 'l1' has no classes")

  @property
  def separator(self) -> str:
    """The character, or '' to find it."""
    return SEPARATORS.get(self.sep, self.sep)

  @property
  def mark(self) -> str:
    """The decimal mark, or '' to find it."""
    return DECIMALS.get(self.decimal, self.decimal)

  def given(self) -> dict[str, object]:
    """What differs from its default."""
    return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default}

  def refuse_unread(self, read: Collection[str], dashes: str = '--') -> None:
    """Raises ValueError for what was given and nothing could read, as for --sep with an .npy."""
    for name, value in self.given().items():
      if name in OF_TABLES and name not in read:
        what = 'text table' if name != 'index' else 'table'
        raise ValueError(f'{dashes}{name}={value} has no effect: no {what} is read')


def _check_mark(name: str, value: str, known: dict[str, str], never: str) -> None:
  if not isinstance(value, str) or value and value not in known and (
      len(value) > 1 or value in never or value.isalnum()):
    raise ValueError(f'{name}={value!r}; one character, or {", ".join(known)}')


# -- the command line ------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, names: Collection[str]) -> None:
  """Adds the options `names`, fields of Reading and ROWS; `of` reads them."""
  group = parser.add_argument_group('how files are read')
  for name in names:
    metavar, text = _HELP[name]
    chosen: dict[str, Any] = (
        {'choices': [c for c in CHOICES[name] if c]} if name in CHOICES else {'metavar': metavar})
    default = next((f.default for f in dataclasses.fields(Reading) if f.name == name), '')
    group.add_argument(f'--{name}', default=default, type=int if name == 'classes' else str,
                       help=text.replace('%', '%%'), **chosen)


def of(args: argparse.Namespace) -> Reading:
  """The Reading of parsed arguments; those that the command lacks keep their defaults.

  Raises:
    ValueError: one line that names the option and its value.
  """
  fields = {f.name: getattr(args, f.name) for f in dataclasses.fields(Reading)
            if hasattr(args, f.name)}
  return dashed(lambda: Reading(**fields))


def dashed(make: Callable[[], Reading]) -> Reading:
  """What `make` returns; its error names an option, not a field."""
  try:
    return make()
  except ValueError as error:
    raise ValueError(f'--{error}') from error


# -- the argument of a configuration --------------------------------------------------------------


def parse(arg: str, config: str, words: Collection[str]) -> dict[str, str | int]:
  """{'data': PATH, 'x1': NAME, ...} of 'data=PATH,x1=NAME,...', the argument of a configuration.

  Args:
    arg: what follows configs/NAME.py:
    config: NAME. words: what else may stand there, for the error.

  Raises:
    ValueError: one line that names what cannot be read, and what can.
  """
  fields = {name: value for name, _, value in (part.partition('=') for part in arg.split(','))}
  for name, value in fields.items():
    if name not in KEYS or not value:
      raise ValueError(f'configs/{config}.py:{arg}: cannot read {name!r}; give '
                       f'{", ".join(words)}, or KEY=VALUE,... with {", ".join(KEYS)}')
  found: dict[str, str | int] = dict(fields)
  if 'classes' in fields:
    if not fields['classes'].isdecimal():
      raise ValueError(f'classes={fields["classes"]} must be a whole number')
    found['classes'] = int(fields['classes'])
  return found
