"""mmalign measure: how similar two sets of features of the same samples are, and by chance."""

import json
import sys

import numpy as np

from mmalign_jax.cli import printable
from mmalign_jax.cli.measure import request
from mmalign_jax.data.files import features, samples


def run(argv: list[str]) -> None:
  """Prints the measures of two files as a table or as JSON, and draws them if asked to."""
  asked = request.parse(argv)
  read = samples.read({'X': asked.x, 'Y': asked.y}, asked.reading, group=asked.group,
                      item=asked.item, id=asked.id)
  x, y = read.sides.values()
  if len(x.layers[0]) < 2:
    raise ValueError(f'X={x.where!r} has N={len(x.layers[0])} sample; at least 2 are needed')
  layered = len(x.layers) > 1 or len(y.layers) > 1
  if asked.figure and not (asked.numbers[0] or layered):
    raise ValueError(f'--figure={asked.figure}: without --null and layers there is nothing to draw')
  for name, spec, codes in (('group', asked.group, read.groups), ('item', asked.item, read.items)):
    if codes is not None and not codes.any():
      raise ValueError(f'--{name}={spec}: all samples have the same; two at least must differ')
  notes = [*read.notes, *_labels(x, y)]
  from mmalign_jax.cli.measure import answered, report  # JAX is slow to import
  scores, measures, question = answered.answered(asked, read, notes)
  for note in dict.fromkeys(notes):  # at the end: an error is one line
    print(f'note: {printable(note)}', file=sys.stderr)
  if asked.as_json:
    print(json.dumps({name: answered.entry(s, measures[name], question)
                      for name, s in scores.items()}, allow_nan=False))
  else:
    print(printable(report.table(scores, measures, question)))
  if asked.figure:
    from mmalign_jax.cli.measure import figures  # Matplotlib is slow to import
    figures.draw(scores, measures, question, asked.figure)


def _labels(x: features.Features, y: features.Features) -> list[str]:
  """A remark where both sides end in the same column: an easy slip with csv files."""
  last_x, last_y = (side.layers[0][:, -1] for side in (x, y))
  if x.where == y.where or min(len(side.layers[0][0]) for side in (x, y)) < 2:
    return []
  return (['X and Y end in the same column: labels? Every column counts as a feature']
          if np.array_equal(last_x, last_y) else [])
