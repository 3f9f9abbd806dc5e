"""Reports of what `measure`, `decompose` and `diagnose` print as JSON, and of any other JSON."""

from collections.abc import Callable, Collection, Mapping, Sequence
import pathlib
from typing import Any

from mmalign_jax.reports import decomposed
from mmalign_jax.reports.document import Document, Section, Table, Words
from mmalign_jax.reports.text import repeated
from mmalign_jax.reports.values import flat, number, p_said, said, small
from mmalign_jax.runs import folder

_ADVICE = {'both': 'align or predict', 'align': 'align', 'predict': 'predict',
           'neither': 'neither align nor predict'}


def read(path: pathlib.Path) -> Document:
  """The report of a file of JSON.

  Raises:
    ValueError: damaged, or no object. FileNotFoundError, OSError: it cannot be read.
  """
  found = folder.read_json(path, 'it is no JSON')
  if not isinstance(found, dict) or not found:
    raise ValueError(f'{path}: a JSON object is needed, not {type(found).__name__}')
  for recognised, made in KINDS:
    if recognised(found):
      return made(path.stem, found)
  return _any(path.stem, found)


# -- measure ---------------------------------------------------------------------------------------


_MORE = {'layer_x': 'layer of X', 'layer_y': 'layer of Y', 'interval': '95 %'}  # where there are


def _is_measure(found: Mapping[str, Any]) -> bool:
  return all(isinstance(entry, dict) and {'value', 'calibrated'} <= entry.keys()
             for entry in found.values())


def _measure(name: str, found: Mapping[str, Any]) -> Document:
  """Scores beside chance; those apart whose p asks whether the sides lie apart, not how alike they
  are."""
  from mmalign_jax.similarity import MEASURES  # JAX is slow to import
  known = {key: MEASURES[key] for key in found if key in MEASURES}
  sides = [key for key, entry in found.items()  # JSON of before says nothing of its null
           if entry.get('null', known[key].null if key in known else '') == 'sides']
  unbounded = [key for key, measure in known.items() if measure.best is None]
  tested = [key for key, entry in found.items() if number(entry.get('p_value')) is not None]
  counts = {'more alike than chance': [key for key in tested if key not in sides],
            'further apart than chance': [key for key in tested if key in sides]}
  more = [key for key in _MORE if any(key in entry for entry in found.values())]
  head = ['measure', 'value', 'chance', 'chance, 95 %', 'beyond chance', 'p',
          *(_MORE[key] for key in more)]
  rows = [[key, *(said(entry.get(field)) for field in (
      'value', 'null_mean', 'null_q95', 'calibrated')), p_said(entry, entry),
      *(said(entry.get(field)) for field in more)] for key, entry in found.items()]
  first = next((key for key in found if key not in sides), next(iter(found)))
  return Document(f'How alike: {name}', [
      Section('Measures', [Table(head, rows, left=(0,)), Words(_reading(
          [key for key in sides if key in tested], unbounded))])],
      [_counted(found, keys, words) for words, keys in counts.items() if keys] or [
          'Not compared with chance.'],
      {words: _share(found, keys) for words, keys in counts.items() if keys} | {
          first: said(found[first]['value']),
          f'{first}, beyond chance': said(found[first]['calibrated'])})


def _counted(found: Mapping[str, Any], keys: Sequence[str], words: str) -> str:
  below = [key for key in keys if small(found[key]['p_value'])]
  names = f': {", ".join(below[:8])}{", ..." if len(below) > 8 else ""}' if below else ''
  return (f'By {_share(found, keys)} measures the sides are {words} (p at most 0.05, each by '
          f'itself){names}.')


def _share(found: Mapping[str, Any], keys: Sequence[str]) -> str:
  return f'{sum(small(found[key]["p_value"]) for key in keys)} of {len(keys)}'


def _reading(apart: Collection[str], unbounded: Collection[str]) -> str:
  """What the columns mean."""
  of = lambda names, words: f'; {words} for {", ".join(names)}' if names else ''
  return ('beyond chance: (value - chance) / (value of equal sides - chance), 0 at chance, 1 for '
          f'equal sides{of(unbounded, "value - chance")}. chance: the mean over the same samples, '
          f'paired at random{of(apart, "with x_i and y_i exchanged at random")}. p: how often '
          f'chance is at least as alike{of(apart, "at least as far apart")}.')


# -- diagnose --------------------------------------------------------------------------------------


def _is_diagnosis(found: Mapping[str, Any]) -> bool:
  return isinstance(found.get('regimes'), dict) and isinstance(found.get('objectives'), dict)


def _diagnosis(name: str, found: Mapping[str, Any]) -> Document:
  """The regime, how often it came again, and what led to it."""
  regimes = found['regimes']
  again = lambda *ways: repeated(_least(found.get('agreement'), ways))
  lines = [f'{way.replace("->", " -> ")}: {_ADVICE.get(regime, regime)}{again(way)}.'
           for way, regime in regimes.items()]
  if len(set(regimes.values())) == 1:
    regime = next(iter(regimes.values()))
    lines = [f'{_ADVICE.get(regime, str(regime)).capitalize()}{again(*regimes)}.']
  objectives = {key: entry for key, entry in found['objectives'].items() if isinstance(entry, dict)}
  fields = ('works', 'above_chance', 'signal', 'recovered', 'separation')
  head = ['objective', 'works', 'above chance', 'signal', 'recovered', 'separation']
  return Document(f'Align, or predict: {name}', [
      Section('What each objective finds', [Table(head, [
          [key, *(said(entry.get(field)) for field in fields)]
          for key, entry in objectives.items()], left=(0,))]),
      Section('All numbers', [flat(found)], said=False)], lines,
      {'regime': ', '.join(dict.fromkeys(map(str, regimes.values()))) + again(*regimes),
       'shared directions': said(found.get('shared')), 'p': p_said(found, found),
       'samples': said(found.get('n'))})


def _least(agreement: Any, ways: Sequence[str]) -> float | None:
  """The smallest share of halves that agree, of some directions; None where none is told."""
  shares = [number(agreement.get(way)) for way in ways] if isinstance(agreement, Mapping) else []
  return min((share for share in shares if share is not None), default=None)


# -- anything --------------------------------------------------------------------------------------


def _any(name: str, found: Mapping[str, Any]) -> Document:
  """Every value by its path."""
  plainly = {key: said(value) for key, value in found.items()
             if isinstance(value, (int, float, str)) and not isinstance(value, bool)}
  return Document(name, [Section('Values', [flat(found)])], [], dict(list(plainly.items())[:6]))


Kind = tuple[Callable[[Mapping[str, Any]], bool], Callable[[str, Mapping[str, Any]], Document]]
KINDS: Sequence[Kind] = (
    (_is_diagnosis, _diagnosis), (decomposed.recognised, decomposed.made), (_is_measure, _measure))
