"""Reports of what `measure`, `decompose` and `diagnose` print as JSON, and of any other JSON."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import math
import pathlib
from typing import Any

from mmalign_jax.reports.document import Document, Section, Table, Words
from mmalign_jax.reports.text import bracket, plain
from mmalign_jax.runs import folder

MOST = 2000  # rows of a table
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


def _is_measure(found: Mapping[str, Any]) -> bool:
  return all(isinstance(entry, dict) and {'value', 'calibrated'} <= entry.keys()
             for entry in found.values())


def _measure(name: str, found: Mapping[str, Any]) -> Document:
  """Scores beside chance."""
  above = [key for key, entry in found.items() if _small(entry.get('p_value'))]
  head = ['measure', 'value', 'chance', 'chance, 95 %', 'beyond chance', 'p', '95 %']
  rows = [[key, *(_said(entry.get(field)) for field in (
      'value', 'null_mean', 'null_q95', 'calibrated', 'p_value', 'interval'))]
      for key, entry in found.items()]
  tested = [key for key, entry in found.items() if entry.get('p_value') is not None]
  said = (f'{len(above)} of {len(tested)} measures are above chance (p at most 0.05)'
          + (f': {", ".join(above[:8])}{", ..." if len(above) > 8 else ""}.' if above else '.')
          if tested else 'Not compared with chance.')
  first, entry = next(iter(found.items()))
  return Document(f'How alike: {name}', [
      Section('Measures', [Table(head, rows, left=(0,)), Words(
          'beyond chance: (value - chance) / (value of equal sides - chance), 0 at chance; chance: '
          'the mean over the same samples, paired at random.')])], [said],
      {'above chance': f'{len(above)} of {len(tested)}', first: _said(entry['value']),
       f'{first}, beyond chance': _said(entry['calibrated'])})


# -- diagnose --------------------------------------------------------------------------------------


def _is_diagnosis(found: Mapping[str, Any]) -> bool:
  return isinstance(found.get('regimes'), dict) and isinstance(found.get('objectives'), dict)


def _diagnosis(name: str, found: Mapping[str, Any]) -> Document:
  """The regime, and what led to it."""
  regimes = found['regimes']
  said = [f'{way.replace("->", " -> ")}: {_ADVICE.get(regime, regime)}.'
          for way, regime in regimes.items()]
  if len(set(regimes.values())) == 1:
    regime = next(iter(regimes.values()))
    said = [f'{_ADVICE.get(regime, str(regime)).capitalize()}.']
  objectives = {key: entry for key, entry in found['objectives'].items() if isinstance(entry, dict)}
  fields = ('works', 'above_chance', 'signal', 'recovered', 'separation')
  head = ['objective', 'works', 'above chance', 'signal', 'recovered', 'separation']
  return Document(f'Align, or predict: {name}', [
      Section('What each objective finds', [Table(head, [
          [key, *(_said(entry.get(field)) for field in fields)]
          for key, entry in objectives.items()], left=(0,))]),
      Section('All numbers', [_flat(found)], said=False)], said,
      {'regime': ', '.join(dict.fromkeys(map(str, regimes.values()))),
       'shared directions': _said(found.get('shared')), 'p': _said(found.get('p_value')),
       'samples': _said(found.get('n'))})


# -- decompose -------------------------------------------------------------------------------------


_ATOMS = ('redundancy', 'unique_1', 'unique_2', 'synergy')


def _is_decomposition(found: Mapping[str, Any]) -> bool:
  return {'redundancy', 'synergy'} <= found.keys() or isinstance(found.get('pairs'), dict)


def _decomposition(name: str, found: Mapping[str, Any]) -> Document:
  """Atoms of one pair, or of several."""
  each = found['pairs'] if isinstance(found.get('pairs'), dict) else {name: found}
  each = {key: entry for key, entry in each.items() if isinstance(entry, dict)}
  atoms = {key: {atom: _atom(entry.get(atom)) for atom in _ATOMS} for key, entry in each.items()}
  units = ', '.join(dict.fromkeys(str(entry.get('units', 'nats')) for entry in each.values()))
  said = []
  for key, own in atoms.items():
    known = {atom: value for atom, value in own.items() if value is not None}
    if known:
      most = max(known, key=lambda atom: known[atom])
      of = f'{key}: ' if len(atoms) > 1 else ''
      said.append(f'{of}most is {most.replace("_", " ")}, {known[most]:.3g} {units}.')
  return Document(f'What is shared: {name}', [
      Section(f'Atoms of information, {units}', [Table(['views', *_ATOMS], [
          [key, *(_said(own[atom]) for atom in _ATOMS)] for key, own in atoms.items()],
          left=(0,))]),
      Section('All numbers', [_flat(found)], said=False)], said,
      {atom.replace('_', ' '): _said(next(iter(atoms.values()))[atom]) for atom in _ATOMS}
      if atoms else {})


def _atom(value: Any) -> float | None:
  """Of samples an atom stands beside its interval, of a table it is a number."""
  return _number(value.get('value') if isinstance(value, Mapping) else value)


# -- anything --------------------------------------------------------------------------------------


def _any(name: str, found: Mapping[str, Any]) -> Document:
  """Every value by its path."""
  plainly = {key: _said(value) for key, value in found.items()
             if isinstance(value, (int, float, str)) and not isinstance(value, bool)}
  return Document(name, [Section('Values', [_flat(found)])], [], dict(list(plainly.items())[:6]))


def _flat(found: Mapping[str, Any]) -> Table:
  rows = []
  for key, value in _values('', found):
    if len(rows) == MOST:
      rows.append(['...', ''])
      break
    rows.append([key, _said(value)])
  return Table(['name', 'value'], rows, left=(0,))


def _values(at: str, value: Any) -> Iterator[tuple[str, Any]]:
  """Every leaf by its path; short lists of numbers are one."""
  if isinstance(value, dict) and value:
    for key, inner in value.items():
      yield from _values(f'{at}.{key}' if at else str(key), inner)
  elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
    for i, inner in enumerate(value):
      yield from _values(f'{at}.{i}', inner)
  else:
    yield at, value


def _said(value: Any) -> str:
  if isinstance(value, bool) or value is None:
    return {True: 'yes', False: 'no', None: '-'}[value]
  if isinstance(value, (list, tuple)):
    numbers = [v for v in value if isinstance(v, (int, float))]
    if len(value) == 2 and len(numbers) == 2:
      return bracket(numbers, '.3g')
    return ', '.join(_said(v) for v in value[:12]) + (', ...' if len(value) > 12 else '')
  return plain(value)


def _number(value: Any) -> float | None:
  known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
  return float(value) if known else None


def _small(p: Any) -> bool:
  number = _number(p)
  return number is not None and number <= 0.05


Kind = tuple[Callable[[Mapping[str, Any]], bool], Callable[[str, Mapping[str, Any]], Document]]
KINDS: Sequence[Kind] = (
    (_is_diagnosis, _diagnosis), (_is_decomposition, _decomposition), (_is_measure, _measure))
