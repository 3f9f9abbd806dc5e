"""mmalign embed: what the encoders of a work folder make of new rows."""

import argparse
from collections.abc import Sequence
import csv
import io
import pathlib
import sys

import numpy as np

from mmalign_jax.cli import Parser, out_path, printable
from mmalign_jax.data.files import lone_view, reading
from mmalign_jax.data.files.formats.guard import place

TOGETHER = 'together'
_ENDS = ('.npy', '.csv')
_ROLES = ('x1', 'x2', 'x3')
_READING = ('missing', 'layers', 'pool', *reading.OF_TABLES)

DESCRIPTION = """\
Embeddings and calibrated predictions of new rows, by the encoders that a work folder keeps in
DIR/encoders. One view is enough, whatever the encoders were aligned with.

FILE holds rows of the view: an .npy array, a key of an .npz, .h5, .mat, .safetensors (FILE:KEY, or
the key of the view's name), columns of a .csv, .tsv or .parquet, as when the encoders were fitted;
another number, name or order of columns is refused. Sequences are pooled as they were then. No
label is needed. Views in files of their own: --x1=FILE --x2=FILE, whose predictions are then from
all of these.
"""
EPILOG = """\
examples:
  mmalign embed DIR new.npz --view=x1 --out=z.npy
  mmalign embed DIR new.csv --view=x1 --predictions=said.csv
  mmalign embed DIR new.npz --view=together --predictions=said.csv
  mmalign embed DIR --x1=image.npy --x2=text.npy --predictions=said.csv
"""


def run(argv: list[str]) -> None:
  """Writes embeddings and predictions, and says how many."""
  args = _arguments(argv)
  out, table = out_path(args.out, '--out', _ENDS), out_path(
      args.predictions, '--predictions', ('.csv',))
  read = reading.of(args)
  from mmalign_jax import fitted as encoders  # JAX is slow to import
  from mmalign_jax.fitted import model
  found = encoders.load(place(args.folder))
  files = _files(args, found)
  if len(files) > 1 and out:
    raise ValueError(f'--out={args.out}: every view has an embedding of its own; name one of them')
  if len(files) > 1 and not table:
    raise ValueError('--predictions=FILE must say where predictions of several views go')
  rows, notes = {}, []
  for name, (argument, spec) in files.items():
    view = found.views[model.number_of(found, name)]
    made = lone_view.read(spec, view.name, view.columns, others=found.names, reading=read,
                          argument=argument,
                          pooled=view.pooled or ('none' if len(view.shape) == 2 else ''))
    model.check_columns(view, made.columns, f'{argument}={spec!r}')
    rows[view.name] = model.as_view(view, made.x)
    notes += made.notes
  for note in dict.fromkeys(notes):
    print(f'note: {printable(note)}', file=sys.stderr)
  if out is None and table is None:
    out = out_path(f'z_{args.view or next((r for r in _ROLES if getattr(args, r)), "x1")}.npy',
                   '--out', _ENDS)
  (name, x), *_ = rows.items()
  if out is not None:
    _write_embeddings(out, encoders.embed(found, name, x))
  if table is not None:
    _write_predictions(table, found, encoders.predict_together(found, rows))
  print(printable(f'{len(x)} rows of {" and ".join(rows)}: '
                  f'{" and ".join(str(path) for path in (out, table) if path)}'))


def _files(args: argparse.Namespace, found) -> dict[str, tuple[str, str]]:
  """Views that are asked for, by name: the argument that names a file, and the file.

  Raises:
    ValueError: no file, or both kinds of them; an unknown view.
  """
  from mmalign_jax.fitted import model
  own = {role: getattr(args, role) for role in _ROLES if getattr(args, role)}
  if bool(own) == bool(args.file):
    raise ValueError('give FILE, or --x1=FILE --x2=FILE for views in files of their own')
  if not own:
    if args.view == TOGETHER and TOGETHER not in found.names:
      return {name: ('FILE', args.file) for name in found.names}
    return {found.names[model.number_of(found, args.view or 'x1')]: ('FILE', args.file)}
  if args.view:
    raise ValueError(f'--view={args.view} has no effect beside --{next(iter(own))}')
  for role in own:
    if int(role[1:]) > len(found.views):
      raise ValueError(f'--{role}={own[role]}: {args.folder} has encoders of {len(found.views)} '
                       'views')
  return {found.names[int(role[1:]) - 1]: (f'--{role}', spec) for role, spec in own.items()}


def _arguments(argv: list[str]) -> argparse.Namespace:
  parser = Parser(prog='mmalign embed', description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False,
                  formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('folder', metavar='DIR', help='work folder that holds encoders/')
  add('file', metavar='FILE', nargs='?', default='', help='rows of the view: FILE or FILE:KEY')
  for role in _ROLES:
    add(f'--{role}', default='', metavar='FILE', help=f'rows of {role}, where FILE is not given')
  add('--view', default='', metavar='NAME', help='x1, x2, ... or the name of the view when it '
      'was fitted (x1); together: predictions from all views, which FILE then holds by name')
  add('--out', metavar='FILE', help='.npy or .csv: embeddings, a row of norm 1 for each row; NaN '
      'where the view is missing (z_VIEW.npy, unless --predictions is given)')
  add('--predictions', metavar='FILE', help='.csv: the prediction of each row, and its probability '
      'of each class, or the error to expect of a regression')
  reading.add_arguments(parser, _READING)
  return parser.parse_args(argv)


def _write_embeddings(path: pathlib.Path, z: np.ndarray) -> None:
  from mmalign_jax.runs import folder
  if path.suffix.lower() == '.csv':
    head = [f'z{i + 1}' for i in range(z.shape[1])]
    folder.write_whole(path, _csv(head, [[_number(v) for v in row] for row in z.tolist()]))
    return
  content = io.BytesIO()
  np.save(content, z, allow_pickle=False)
  folder.write_whole(path, content.getvalue())


def _write_predictions(path: pathlib.Path, found, said) -> None:
  """row, prediction, and p(CLASS) of every class, or residual."""
  from mmalign_jax.runs import folder
  if said.probabilities is None:
    head = ['row', 'prediction', 'residual']
    rows = [[str(i), _number(v), _number(said.residual)] for i, v in enumerate(said.value.tolist())]
  else:
    head = ['row', 'prediction', *(f'p({name})' for name in found.classes)]
    rows = [[str(i), '' if np.isnan(v) else found.classes[int(v)], *map(_number, p)] for i, (v, p)
            in enumerate(zip(said.value.tolist(), said.probabilities.tolist()))]
  folder.write_whole(path, _csv(head, rows))


def _number(value: float) -> str:
  """As short as gives the value back; '' for none."""
  return '' if np.isnan(value) else repr(value)


def _csv(head: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
  text = io.StringIO()
  csv.writer(text, lineterminator='\n').writerows([head, *rows])
  return text.getvalue().encode()
