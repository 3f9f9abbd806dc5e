"""mmalign decompose: what is shared, what is unique, what only appears together."""

import functools
import inspect
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax.cli import printable
from mmalign_jax.cli.decompose import request
from mmalign_jax.cli.decompose.request import Request
from mmalign_jax.data.files import checked, features, labels, rows, samples, views

if TYPE_CHECKING:  # JAX is slow to import, and what is refused comes first
  from mmalign_jax.information.samples import Label, Question


def run(argv: list[str]) -> None:
  """Prints the atoms of a table or of samples as text or as JSON, and draws them if asked to."""
  asked = request.parse(argv)
  notes: list[str] = []
  answers = _of_table(asked, notes) if asked.table else _of_samples(asked, notes)
  from mmalign_jax.cli.decompose import report
  for note in dict.fromkeys(notes):  # at the end: an error is one line
    print(f'note: {printable(note)}', file=sys.stderr)
  print(json.dumps(_object(answers), allow_nan=False) if asked.as_json
        else printable(report.text(answers)))
  if asked.figure:
    from mmalign_jax.cli.decompose import figures  # Matplotlib is slow to import
    figures.draw(answers, asked.figure)


def _object(answers: dict[str, dict]) -> dict:
  """One answer as it is; several as the pairs, and each side against the rest."""
  if len(answers) == 1:
    return next(iter(answers.values()))
  rest = {name: entry for name, entry in answers.items() if name.endswith(',rest')}
  return {'pairs': {name: entry for name, entry in answers.items() if name not in rest},
          'rest': {name.removesuffix(',rest'): entry for name, entry in rest.items()}}


# -- a table ---------------------------------------------------------------------------------------


def _of_table(asked: Request, notes: list[str]) -> dict[str, dict]:
  p, found_notes = features.single(asked.table, '--table')
  notes += found_notes
  from mmalign_jax.cli.decompose import report
  from mmalign_jax.information.lattice import METHODS
  method = METHODS[asked.method]
  if asked.tol is not None and 'tol' not in inspect.signature(method).parameters:
    raise ValueError(f'--tol={asked.tol:g} has no effect: --method={asked.method} does not read it')
  with features.named('--table', asked.table), request.warnings_as(notes):
    if np.ndim(p) != 3:
      raise ValueError(f'p has shape {np.shape(p)}; a table is [x1, x2, y], three axes')
    found = method(p, **({'tol': asked.tol} if asked.tol is not None else {}))
  found = found.to_bits() if asked.units == 'bits' else found
  numbers = {name: float(getattr(found, name)) for name in report.NUMBERS}
  return {asked.table: numbers | {'units': found.units, 'method': found.method}}


# -- samples ---------------------------------------------------------------------------------------


def _of_samples(asked: Request, notes: list[str]) -> dict[str, dict]:
  sides, label, groups = (read_data if asked.data else _read_files)(asked, notes)
  from mmalign_jax.cli.decompose import report
  from mmalign_jax.information.samples import Plan, answer
  from mmalign_jax.runs.devices import cores
  cells = dict(zip(sides, asked.cells)) if asked.cells else None
  plan = Plan(cells, asked.quantise, asked.null, asked.bootstrap, asked.check, asked.seed, cores())
  wanted, answers = questions(sides, label, groups), {}
  if cells:
    cells['rest'] = max(cells.values())
  for k, question in enumerate(wanted):
    if sys.stderr.isatty():
      print(f'{k + 1}/{len(wanted)}: {question.name}', file=sys.stderr)
    entry: dict[str, Any] = answer(question, plan)
    notes += entry.pop('notes')
    answers[question.name] = report.in_bits(entry) if asked.units == 'bits' else entry
  return answers


def questions(sides: dict[str, np.ndarray], label: 'Label',
              groups: np.ndarray | None = None) -> 'list[Question]':
  """Every pair, and with three or more sides each against the rest."""
  from mmalign_jax.information import quantise
  from mmalign_jax.information.samples import Question, joined
  sides = {name: quantise.scaled(x) for name, x in sides.items()}  # changes no information
  ask = functools.partial(Question, label=label, **({} if groups is None else {'groups': groups}))
  made = [ask(a, b, sides[a], sides[b]) for a, b in itertools.combinations(sides, 2)]
  if len(sides) > 2:
    made += [ask(name, 'rest', sides[name],
                 joined([x for other, x in sides.items() if other != name])) for name in sides]
  return made


def _read_files(asked: Request, notes: list[str]):
  """Every side and the label from files, and the groups of the rows."""
  specs = {f'--{name}': spec for name, spec in asked.sides.items()}
  read = samples.read(specs, asked.reading, y=('--y', asked.y), group=asked.group, id=asked.id,
                      lone=True)
  notes += read.notes
  assert read.label is not None  # y is given
  where = f'--y={asked.y!r}'
  y = checked.vector(read.label, where)
  return ({name: read.sides[f'--{name}'].layers[0] for name in asked.sides},
          _label(y, where, asked, notes), read.groups)


def read_data(asked: Request, notes: list[str]):
  """Views of one folder or file by name; their rows must be the same."""
  names = list(asked.sides.values())
  if len(set(names)) < len(names):
    raise ValueError(f'--{list(asked.sides)[-1]}={names[-1]}: a view is named twice')
  roles = {f'x{i + 1}': name for i, name in enumerate(names)}
  raw = views.read_raw(asked.data, **roles, y=asked.y, group=asked.group, id=asked.id,
                       reading=asked.reading)
  notes += raw.notes
  arrays_of, _ = checked.whole(raw)
  found = {name: arrays_of[role] for role, name in roles.items()}
  label, groups = arrays_of['y'], arrays_of.get('group')
  where = {view: f'{asked.data}: {view!r}' for view in found}
  made = samples.Samples(
      {view: features.Features(view, (view,), (x,)) for view, x in found.items()}, label,
      None if groups is None else rows.codes(groups), None, ())
  made, more = samples.without_gaps(made, asked.reading, where, f'{asked.data}: y')
  notes += more
  assert made.label is not None  # as read
  return ({view: side.layers[0] for view, side in made.sides.items()},
          _label(made.label, f'{asked.data}: y', asked, notes), made.groups)


def _label(y: np.ndarray, where: str, asked: Request, notes: list[str]) -> 'Label':
  read = labels.read_label(y, asked.reading.task, where, asked.reading.classes)
  notes += [note for note in read.notes if '--' in note or 'no sample' in note]
  from mmalign_jax.information.samples import Label, binned
  if read.classes:
    return Label(read.values, read.classes)
  label, note = binned(read.values, asked.label_cells)
  notes.append(note)
  return label
