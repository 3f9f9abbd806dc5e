"""The scores that `mmalign measure` prints, of what was asked and read."""

import functools
import sys

import jax
import numpy as np

from mmalign_jax import similarity
from mmalign_jax.cli import register
from mmalign_jax.cli.measure.question import Question, Side
from mmalign_jax.cli.measure.request import Request
from mmalign_jax.data.files import features
from mmalign_jax.data.files.samples import Samples
from mmalign_jax.precision import beyond_float64, shifted
from mmalign_jax.runs import programs
from mmalign_jax.similarity import Measure
from mmalign_jax.similarity.rbf import DENSE
from mmalign_jax.similarity.scores import Score, obstacle, score


def answered(asked: Request, read: Samples, notes: list[str]):
  """Scores, their measures, and what was compared; adds to `notes`."""
  sides = read.sides
  layers = [z for side in sides.values() for z in side.layers]
  wide = bool(asked.steps) or any(z.dtype != np.float32 for z in layers)
  with jax.enable_x64(wide):
    x, y = (_prepared(side, name, asked.steps, wide) for name, side in sides.items())
    measures = _possible(asked, x, y, read, notes, any(map(beyond_float64, layers)))
    scores, refused = score(measures, x, y, asked.plan, _progress, read.groups, read.items,
                            None if register.loaded else programs.lowered)
  _refuse(refused, asked, scores, notes)
  a, b = (Side(s.where, s.names, tuple(z.shape[1] for z in s.layers)) for s in sides.values())
  return scores, measures, Question(a, b, len(x[0]), 'float64' if wide else 'float32',
                                    tuple(asked.steps), asked.plan, read.groups, read.items)


def _progress(line: str) -> None:
  if sys.stderr.isatty():
    print(line, file=sys.stderr)


# -- samples and measures --------------------------------------------------------------------------


def _prepared(side: features.Features, name: str, steps: dict, wide: bool) -> list[np.ndarray]:
  """Layers after preprocessing, of one type; a constant one has no similarity to anything."""
  @jax.jit
  def preprocessed(z):
    return functools.reduce(lambda z, step: step(z), steps.values(), z)
  made = []
  for label, z in zip(side.names, side.layers):
    if beyond_float64(z):
      if steps:
        raise ValueError(f'{name}={side.where!r}: {z.dtype} numbers that float64 rounds cannot be '
                         f'{" or ".join(steps)}; take something off them first')
      z = shifted(z)  # which the measures that are left do not notice
    z = z.astype(np.float64 if wide else np.float32, copy=False)
    z = np.asarray(preprocessed(z)) if steps else z
    rounding = 64 * np.finfo(z.dtype).eps * np.abs(z).max() if steps else 0
    if (np.abs(z - z[:1]) <= rounding).all():
      which = f', layer {label!r}' if len(side.layers) > 1 else ''
      raise ValueError(f'{name}={side.where!r}{which}: constant features'
                       f'{" after preprocessing" if steps else ""}: all {len(z)} samples are equal')
    made.append(z)
  return made


def _possible(asked: Request, x: list, y: list, read: Samples,
              notes: list[str], moved: bool) -> dict[str, Measure]:
  """The measures that can be taken here; one that was asked for by name and cannot is an error."""
  plan, n, widths = asked.plan, len(x[0]), sorted({z.shape[1] for z in (*x, *y)})
  found, left = {}, {}
  for name in asked.names:
    measure = similarity.MEASURES[name]
    reason = obstacle(measure, n, widths, plan, read.groups, read.items)
    if not reason and moved and 'translation' not in measure.invariant:
      reason = 'of numbers that float64 rounds only differences are kept; take something off them'
    if not (reason or asked.named) and measure.slow and n > DENSE and plan.permutations:
      reason = f'each permutation goes through all pairs of N={n} samples; name it to have it'
    if reason and 'k' in plan.settings and reason.startswith('k='):
      raise ValueError(f'--{reason}')
    left |= {name: reason} if reason else {}
    found |= {} if reason else {name: measure}
  _refuse(left, asked, found, notes)
  unread = [f'--{s}' for s in plan.settings if all(s not in m.settings for m in found.values())]
  notes += [f'{", ".join(unread)}: read by none of these measures'] if unread else []
  return found


def _refuse(reasons: dict[str, str], asked: Request, left: dict, notes: list[str]) -> None:
  """Notes on measures that are left out; an error where they were named or none is left."""
  for name, reason in reasons.items():
    if asked.named or not left:
      raise ValueError(f'measure {name!r}: {reason}')
    notes.append(f'{name} left out: {reason}')


# -- JSON ------------------------------------------------------------------------------------------

_KEYS = ('value', 'null_mean', 'null_q95', 'calibrated', 'p_value')


def entry(score: Score, measure: Measure, question: Question) -> dict[str, object]:
  """The numbers of one measure; its null where p does not ask how alike the sides are; of groups
  also their number, the least p they can give and, where chance is of fewer samples, their number
  and the value of these."""
  entry = {name: getattr(score, name) for name in _KEYS}
  if score.interval is not None:
    entry['interval'] = list(score.interval)
  if score.p_value is not None and measure.null != 'pairs':
    entry['null'] = measure.null
  if question.units is not None:
    entry |= {question.unit: int(question.units.codes.max()) + 1, 'least_p': score.least_p}
    if score.tested is not None and question.units.kept is not None:
      entry |= {'tested': score.tested, 'tested_samples': len(question.units.kept)}
  if question.layered:
    entry |= dict(zip(('layer_x', 'layer_y'), score.layers))
  return entry
