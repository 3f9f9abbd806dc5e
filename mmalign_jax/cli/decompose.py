"""mmalign decompose: what is shared, what is unique, what only appears together."""

import itertools
import json
import os
import sys

import numpy as np

from mmalign_jax.analysis import information_report
from mmalign_jax.analysis.information_samples import (
    Label, Plan, Question, answer, binned, joined)
from mmalign_jax.cli import decompose_request
from mmalign_jax.cli.decompose_request import Request
from mmalign_jax.data import arrays, files, paired, sequences
from mmalign_jax.information.lattice import METHODS
from mmalign_jax.training.parallel import cores

_ROLES = ('x1', 'x2')


def run(argv: list[str]) -> None:
  """Prints the atoms of a table or of samples as text or as JSON, and draws them if asked to."""
  os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # many small matrices, a thread for each core
  asked = decompose_request.parse(argv)
  notes: list[str] = []
  answers = _of_table(asked, notes) if asked.table else _of_samples(asked, notes)
  for note in dict.fromkeys(notes):  # at the end: an error is one line
    print(f'note: {note}', file=sys.stderr)
  print(json.dumps(_object(answers), allow_nan=False) if asked.as_json
        else information_report.text(answers))
  if asked.figure:
    from mmalign_jax.analysis import information_figures  # Matplotlib is slow to import
    information_figures.draw(answers, asked.figure)


def _object(answers: dict[str, dict]) -> dict:
  """One answer as it is; several as the pairs, and each side against the rest."""
  if len(answers) == 1:
    return next(iter(answers.values()))
  rest = {name: entry for name, entry in answers.items() if name.endswith(',rest')}
  return {'pairs': {name: entry for name, entry in answers.items() if name not in rest},
          'rest': {name.removesuffix(',rest'): entry for name, entry in rest.items()}}


# -- a table ---------------------------------------------------------------------------------------


def _of_table(asked: Request, notes: list[str]) -> dict[str, dict]:
  p, found_notes = arrays.single(asked.table, '--table')
  notes += found_notes
  with arrays.named('--table', asked.table), decompose_request.warnings_as(notes):
    if np.ndim(p) != 3:
      raise ValueError(f'p has shape {np.shape(p)}; a table is [x1, x2, y], three axes')
    found = METHODS[asked.method](p, **({'tol': asked.tol} if asked.method == 'broja' else {}))
  found = found.to_bits() if asked.units == 'bits' else found
  numbers = {name: float(getattr(found, name)) for name in information_report.NUMBERS}
  return {asked.table: numbers | {'units': found.units, 'method': found.method}}


# -- samples ---------------------------------------------------------------------------------------


def _of_samples(asked: Request, notes: list[str]) -> dict[str, dict]:
  sides, label = read_data(asked, notes) if asked.data else _read_files(asked, notes)
  cells = dict(zip(sides, asked.cells)) if asked.cells else None
  plan = Plan(cells, asked.quantise, asked.null, asked.bootstrap, asked.check, asked.seed, cores())
  wanted, answers = questions(sides, label), {}
  if cells:
    cells['rest'] = max(cells.values())
  for k, question in enumerate(wanted):
    if sys.stderr.isatty():
      print(f'{k + 1}/{len(wanted)}: {question.name}', file=sys.stderr)
    entry = answer(question, plan)
    notes += entry.pop('notes')
    answers[question.name] = information_report.in_bits(entry) if asked.units == 'bits' else entry
  return answers


def questions(sides: dict[str, np.ndarray], label: Label) -> list[Question]:
  """Every pair, and with three or more sides each against the rest."""
  made = [Question(a, b, sides[a], sides[b], label) for a, b in itertools.combinations(sides, 2)]
  if len(sides) > 2:
    made += [Question(name, 'rest', sides[name],
                      joined([x for other, x in sides.items() if other != name]), label)
             for name in sides]
  return made


def _read_files(asked: Request, notes: list[str]) -> tuple[dict[str, np.ndarray], Label]:
  """Every side and the label from a file of its own."""
  array, remarks = arrays.single(asked.y, '--y', kind='label')
  y = paired.vector(array, f'--y={asked.y!r}')
  found = {f'--{name}': arrays.find(spec, f'--{name}') for name, spec in asked.sides.items()}
  found = sequences.one_each(found, asked.reading.layers, asked.reading.pool, [len(y)])
  sides = {}
  for name, side in zip(asked.sides, found.values()):
    array, = side.arrays.values()
    notes += side.notes
    sides[name] = paired.matrix(array, f'--{name}={side.where!r}')
  notes += remarks
  for name, x in sides.items():
    if len(x) != len(y):
      raise ValueError(f'--{name}={asked.sides[name]!r} has {len(x)} samples and --y={asked.y!r} '
                       f'has {len(y)}; row i of all must be the same sample')
  return sides, _label(y, f'--y={asked.y!r}', asked, notes)


def read_data(asked: Request, notes: list[str]) -> tuple[dict[str, np.ndarray], Label]:
  """Views of one folder or file by name, two at a time: their labels must agree."""
  names, sides, y = list(asked.sides.values()), {}, None
  if len(set(names)) < len(names):
    raise ValueError(f'--{list(asked.sides)[-1]}={names[-1]}: a view is named twice')
  for name in names[1:]:
    raw = paired.read_raw(asked.data, x1=names[0], x2=name, y=asked.y or '',
                          layers=asked.reading.layers, pool=asked.reading.pool)
    notes += raw.notes
    parts = list(raw.parts.values())
    whole = {role: np.concatenate([np.asarray(part[role]) for part in parts])
             for role in (*_ROLES, 'y')}
    for role, view in zip(_ROLES, (names[0], name)):
      sides[view] = paired.matrix(whole[role], f'{raw.where}: {view!r}')
    labels = paired.vector(whole['y'], f'{raw.where}: y {raw.names["y"]!r}')
    for view in (names[0], name):
      if len(sides[view]) != len(labels):
        raise ValueError(f'{raw.where}: {view!r} has {len(sides[view])} samples and its label '
                         f'{len(labels)}')
    if y is not None and not np.array_equal(y, labels):
      raise ValueError(f'{raw.where}: the label of {name!r} is not that of {names[1]!r}')
    y = labels
  return sides, _label(y, f'{asked.data}: y', asked, notes)


def _label(y: np.ndarray, where: str, asked: Request, notes: list[str]) -> Label:
  values = files.to_numbers(y)
  if values.dtype.kind == 'U' or files.whole_numbers(values):
    read = paired.read_label(y, 'cross_entropy', where)
    return Label(read.values, read.classes)
  label, note = binned(values, asked.label_cells)
  notes.append(note)
  return label
