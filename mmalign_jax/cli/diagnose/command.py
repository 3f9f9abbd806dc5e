"""mmalign diagnose: align, predict, both or neither, before any training."""

import json
import sys
from typing import Any

import numpy as np

from mmalign_jax.cli import printable
from mmalign_jax.cli.diagnose import report, request
from mmalign_jax.cli.diagnose.request import Request
from mmalign_jax.data.files import checked, labels, rows, samples
from mmalign_jax.diagnosis import Diagnosis, diagnose
from mmalign_jax.precision import doubles


def run(argv: list[str]) -> None:
  """Prints the regime of two views as text or as JSON."""
  asked = request.parse(argv)
  read = samples.read({'--x1': asked.x1, '--x2': asked.x2}, asked.reading, group=asked.group,
                      y=('--y', asked.y) if asked.y else None, id=asked.id, lone=True)
  notes = list(read.notes)
  x1, x2 = (_features(f'{name}={side.where!r}', side.layers[0], asked.standardize, notes)
            for name, side in read.sides.items())
  y = None if read.label is None else _label(read.label, asked, notes)
  if read.groups is not None and not read.groups.any():
    raise ValueError(f'--group={asked.group}: all samples have the same; five groups of like size '
                     'must differ')
  found = diagnose(x1, x2, y=y, groups=read.groups, permutations=asked.permutations,
                   halves=asked.halves, components=asked.components, seed=asked.seed)
  notes += report.notes(found)
  for note in dict.fromkeys(notes):  # at the end: an error is one line
    print(f'note: {printable(note)}', file=sys.stderr)
  names = asked.x1, asked.x2
  print(json.dumps(entry(found), allow_nan=False) if asked.as_json
        else printable(report.text(found, names)))


def _features(where: str, x: np.ndarray, standardize: bool, notes: list[str]) -> np.ndarray:
  """[N, D] f64, one column of numbers as [N, 1]."""
  if x.ndim == 1:
    x = x[:, None]
  z = doubles(x)
  with np.errstate(over='ignore', invalid='ignore'):
    center = z - z.mean(axis=0) if np.isfinite(z).all() else z
  if not np.isfinite(center).all():
    raise ValueError(f'{where}: values too large to centre')
  spread = np.abs(center).max(axis=0)
  constant = spread <= 64 * np.finfo(float).eps * np.abs(z).max(axis=0)
  if constant.all():
    raise ValueError(f'{where}: constant features: all {len(z)} samples are equal')
  notes += rows.constant_note(z, where)
  if not standardize:
    return z
  scaled = center / np.where(constant, 1, spread)  # squares stay within range
  deviation = np.sqrt(np.square(scaled).mean(axis=0))
  return np.where(constant, 0, scaled / np.where(constant, 1, deviation))


def _label(label: np.ndarray, asked: Request, notes: list[str]) -> np.ndarray:
  """[N] codes of classes, or numbers."""
  where = f'--y={asked.y!r}'
  read = labels.read_label(checked.vector(label, where), asked.reading.task, where,
                           asked.reading.classes)
  notes += read.notes
  if not read.classes and np.ptp(read.values) == 0:
    raise ValueError(f'{where}: one value only, {read.values[0]:g}')
  return read.values


def entry(found: Diagnosis) -> dict[str, Any]:
  """A diagnosis as JSON: every number of it, views as x1 and x2."""
  objectives = {name: {
      'works': o.works, 'signal': int(o.signal.sum()), 'recovered': o.recovered,
      'above_chance': int(o.above.sum()), 'separation': o.separation,
      'strengths': o.strengths.tolist(), 'chance_q95': o.floors.tolist(),
      'p_values': o.p_values.tolist(), 'carries_signal': o.signal.tolist(),
      'variance': list(o.variance), 'strong': list(o.strong)}
      for name, o in found.objectives.items()}
  views = {name: dict(vars(view)) for name, view in zip(('x1', 'x2'), found.views)}
  return {'regimes': found.regimes, 'agreement': found.agreement, 'p_value': found.p_value,
          'shared': found.shared, 'labelled': found.labelled,
          'predicted': dict(zip(('x1', 'x2'), found.predicted)), 'objectives': objectives,
          'views': views, 'n': found.n, 'used': found.used, 'groups': found.groups,
          'permutations': found.permutations}
