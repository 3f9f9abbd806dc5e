"""Scores of similarity as a table, with what every number means."""

from collections.abc import Callable, Iterable, Mapping
import math
import textwrap

import numpy as np

from mmalign_jax.cli.measure.question import Question, Side
from mmalign_jax.grouped import FEW
from mmalign_jax.reports.text import aligned
from mmalign_jax.similarity import Measure
from mmalign_jax.similarity.interval import OF_GROUPS, RESAMPLES
from mmalign_jax.similarity.scores import Plan, Score

WIDTH = 118
_UNMOVED = {  # invariances: a letter, and what it stands for
    'orthogonal': ('R', 'rotation of a side'), 'scaling': ('S', 'scale'),
    'translation': ('T', 'shift'), 'linear': ('A', 'any invertible linear map'),
    'rows': ('L', 'lengths of samples'), 'common': ('C', 'one rotation of both sides')}


def table(scores: Mapping[str, Score], measures: Mapping[str, Measure], question: Question) -> str:
  """The whole answer: what was compared, a row a measure, remarks, and a legend."""
  lines = [part for line in _header(measures, question)
           for part in textwrap.wrap(line, WIDTH, subsequent_indent='   ', break_long_words=False,
                                    break_on_hyphens=False)]
  lines += ['', *_rows(scores, measures, question), '']
  lines += ['what the columns say', *_columns(scores, measures, question), '',
            'what the measures say', *_legend(scores, measures)]
  remarks = _remarks(scores, measures, question)
  return '\n'.join(lines + (['', 'remarks', *remarks] if remarks else []))


# -- header ----------------------------------------------------------------------------------------


def _header(measures: Mapping[str, Measure], question: Question) -> list[str]:
  plan = question.plan
  used = {name: value for m in measures.values()
          for name, value in {**m.settings, **plan.of(m)}.items() if name in _SHOWN}
  said = ', '.join(f'{name} {"median" if value is None else _setting(value)}'
                   for name, value in sorted(used.items()))
  return [
      *(f'{name}  {_side(side)}' for name, side in (('X', question.x), ('Y', question.y))),
      f'N  {question.n} samples in {question.dtype}, '
      + (', '.join(question.steps) if question.steps else 'features as they are')
      + (f'; {said}' if said else ''),
      *_together(question),
      _chance(measures, question)]


def _together(question: Question) -> Iterable[str]:
  """A line on samples that belong together."""
  said = []
  for name, codes in (('groups', question.groups), ('items', question.items)):
    if codes is not None:
      sizes = np.unique(codes, return_counts=True)[1]
      low, high = sizes.min(), sizes.max()
      said.append(f'{len(sizes)} {name} of {low if low == high else f"{low} to {high}"} samples')
  if said:
    yield f'together  {", ".join(said)}'


_SHOWN = ('k', 'sigma', 'metric', 'at')


def _setting(value) -> str:
  return f'{value:g}' if isinstance(value, float) else str(value)


def _side(side: Side) -> str:
  low, high = min(side.widths), max(side.widths)
  width = f'{low}' if low == high else f'{low} to {high}'
  layers = f'{len(side.names)} layers of ' if len(side.names) > 1 else ''
  return f'{side.where}: {layers}{width} features'


def _chance(measures: Mapping[str, Measure], question: Question) -> str:
  plan, unit = question.plan, question.unit
  if not plan.permutations:
    return 'chance is not asked for (--null=0)'
  exchanged = ('x_i and y_i exchanged at random' if unit == 'samples' else
               f'X and Y of whole {unit} exchanged')
  swapped = [name for name, m in measures.items() if m.null == 'sides']
  if len(swapped) == len(measures):
    return f'chance: {exchanged}, {_times(question, "sides")}'
  if swapped and unit != 'samples':
    exchanged += f', {_times(question, "sides")}'
  other = f' ({", ".join(swapped)}: {exchanged})' if swapped else ''
  moved = 'the samples of Y' if unit == 'samples' else f'whole {unit} of Y'
  return f'chance: {moved} permuted, {_times(question, "pairs")}{other}'


def _times(question: Question, null: str) -> str:
  """How often, and whether that is every arrangement there is."""
  plan, count = question.plan, question.arrangements(null)
  if count is not None and count - 1 <= plan.permutations:
    return f'in all {count - 1} other ways' if count > 2 else 'in the one other way'
  return f'{plan.permutations} times, seed {plan.seed}'


# -- rows ------------------------------------------------------------------------------------------


def _rows(scores: Mapping[str, Score], measures: Mapping[str, Measure],
          question: Question) -> list[str]:
  """Aligned columns; the first and the names of layers to the left, numbers to the right."""
  head = _head(question)
  left = {0} | {i for i, cell in enumerate(head) if cell.startswith('layer')}
  rows = [_cells(name, s, measures[name], question) for name, s in scores.items()]
  return aligned(head, rows, left=left).splitlines()


def _head(question: Question) -> list[str]:
  plan = question.plan
  return ['measure', 'value', *(['95 % interval'] if plan.resamples else []),
          *(['chance', '5 to 95 % of chance', 'calibrated', 'p'] if plan.permutations else []),
          *(f'layer of {letter}' for letter, side in (('X', question.x), ('Y', question.y))
            if len(side.names) > 1)]


def _cells(name: str, score: Score, measure: Measure, question: Question) -> list[str]:
  plan, form = question.plan, digits(score)
  cells = [name, form(score.value)]
  if score.interval is not None:
    cells.append(' to '.join(map(form, score.interval)))
  chance = [v for v in (score.null_mean, score.null_q05, score.null_q95, score.calibrated,
                        score.p_value) if v is not None]
  if chance:
    mean, low, high, calibrated, p_value = chance
    bounded = measure.best_value(**plan.of(measure)) is not None
    cells += [form(mean), f'{form(low)} to {form(high)}',
              f'{round(calibrated, 3) + 0.0:.3f}' if bounded else form(calibrated),
              ('<= ' if at_floor(score) else '') + f'{p_value:.2g}']
  return cells + list(question.place(score).values())


def digits(score: Score) -> Callable[[float], str]:
  """Digits that suit the numbers of a row."""
  sizes = [abs(v) for v in (score.value, score.null_q05, score.null_q95) if v is not None]
  top = max(sizes)
  if not math.isfinite(top) or top >= 1e5 or 0 < top < 0.01:
    return '{:.3g}'.format
  return ('{:.2f}' if top >= 100 else '{:.4f}').format


def at_floor(score: Score) -> bool:
  """Whether no permutation was as good: the smallest p that so many of them can give."""
  return (score.p_value is not None and score.least_p is not None
          and score.p_value < 1.5 * score.least_p)


# -- legend ----------------------------------------------------------------------------------------


def _columns(scores: Mapping[str, Score], measures: Mapping[str, Measure],
             question: Question) -> Iterable[str]:
  plan, unit = question.plan, question.unit
  if plan.resamples:
    drawn = RESAMPLES if unit == 'samples' else f'{OF_GROUPS.format(unit)}; widened by Student t'
    yield from _wrapped('95 % interval', f'over {unit}: {plan.resamples} {drawn}')
  if not plan.permutations:
    yield from _wrapped('value', 'nothing here says whether it is more than chance: give --null')
    return
  yield from _wrapped('chance', 'mean of the measure where nothing but chance pairs the samples')
  unbounded = [name for name, m in measures.items() if m.best_value(**plan.of(m)) is None]
  other = f'; value - chance for {", ".join(unbounded)}' if unbounded else ''
  yield from _wrapped('calibrated', '(value - chance) / (value of equal sides - chance): 0 at '
                      f'chance, 1 for equal sides{other}')
  for least in sorted({s.least_p for s in scores.values() if s.least_p is not None}):
    own = [name for name, s in scores.items() if s.least_p == least]
    of = f'{", ".join(own)}: ' if len(own) < len(scores) else ''
    yield from _wrapped('p', f'{of}(1 + permutations at least as similar) / (1 + '
                        f'{round(1 / least) - 1}): never below {least:.2g}, which is written '
                        f'"<= {least:.2g}"')
  swapped = [name for name, m in measures.items() if m.null == 'sides']
  if swapped:
    yield from _wrapped('', f'{", ".join(swapped)}: p asks whether the value is larger than it '
                        'would be if x_i and y_i could change places: do X and Y lie apart?')


def _legend(scores: Mapping[str, Score], measures: Mapping[str, Measure]) -> Iterable[str]:
  head = ('', 'range', 'similar', 'unmoved by')
  rows = [(name, m.range, 'higher' if m.higher else 'lower',
           ' '.join(letter for i, (letter, _) in _UNMOVED.items() if i in m.invariant) or '-')
          for name, m in ((name, measures[name]) for name in scores)]
  widths = [max(map(len, column)) for column in zip(*rows, head)]
  start = lambda row: '  ' + '  '.join(cell.ljust(w) for cell, w in zip(row, widths)) + '  '
  yield start(head) + 'meaning'
  for row in rows:
    yield from textwrap.wrap(measures[row[0]].meaning, WIDTH, initial_indent=start(row),
                             subsequent_indent=' ' * len(start(row)))
  letters = {i for name in scores for i in measures[name].invariant}
  yield from textwrap.wrap('unmoved by: ' + ', '.join(
      f'{letter} {word}' for i, (letter, word) in _UNMOVED.items() if i in letters), WIDTH,
      initial_indent='  ', subsequent_indent=' ' * 14)


def _wrapped(term: str, text: str) -> list[str]:
  return textwrap.wrap(text, WIDTH, initial_indent=f'  {term:<13}  ', subsequent_indent=' ' * 17)


# -- remarks ---------------------------------------------------------------------------------------


def _remarks(scores: Mapping[str, Score], measures: Mapping[str, Measure],
             question: Question) -> list[str]:
  """What a reader of these very numbers must know."""
  plan, found, spanned = question.plan, [], []
  spans = [name for name in scores if measures[name].subspace]
  width = max(question.x.widths + question.y.widths)
  if spans and width >= question.n:
    found.append(f'{width} features for {question.n} samples: {", ".join(spans)} can fit anything '
                 'perfectly; more samples or fewer features are needed')
    spanned = spans
  full = [name for name, s in scores.items() if name not in spanned
          and _full(s, measures[name], plan)]
  if full:
    found.append(f'{", ".join(full)}: chance alone comes close to the value of equal sides; read '
                 'the calibrated score, not the value')
  if question.layered:
    found.append(f'every value is the best of {len(question.x.names)} x {len(question.y.names)} '
                 f'pairs of layers{", within every permutation too" if plan.permutations else ""}')
  found += _of_groups(scores, {name: measures[name].null for name in scores}, question)
  return [line for text in found
          for line in textwrap.wrap(text, WIDTH, initial_indent='  ', subsequent_indent='  ')]


def _of_groups(scores: Mapping[str, Score], nulls: Mapping[str, str],
               question: Question) -> Iterable[str]:
  """What groups of unequal size, and few of them, mean."""
  units, unit, plan = question.units, question.unit, question.plan
  if units is None:
    return
  cut = {name: s.tested for name, s in scores.items() if nulls[name] == 'pairs'}
  if units.kept is not None and plan.permutations and cut:
    values = ', '.join(f'{name} {digits(scores[name])(v)}' for name, v in cut.items()
                       if v is not None)
    yield (f'{unit} are of unequal size, and change places with those of like size, each cut to '
           f'its first samples: chance, calibrated and p are of {len(units.kept)} of {question.n} '
           f'samples, where the value is: {values}'
           + (' (of all where X and Y are exchanged)' if len(cut) < len(scores) else ''))
  count = int(units.codes.max()) + 1
  if count < FEW and (plan.permutations or plan.resamples):
    ways = [f'{question.arrangements(null)} {said}'
            for null, said in (('pairs', 'arrangements'), ('sides', 'exchanges of X and Y'))
            if null in nulls.values() and plan.permutations]
    yield (f'{count} {unit} are few' + (f': they have {" and ".join(ways)}, the given one included'
                                        if ways else '')
           + ('; the intervals are rough' if plan.resamples else ''))


def _full(score: Score, measure: Measure, plan: Plan) -> bool:
  best = measure.best_value(**plan.of(measure))
  return (score.null_mean is not None and best is not None
          and abs(best - score.null_mean) < 0.1 * max(abs(best), 1))
