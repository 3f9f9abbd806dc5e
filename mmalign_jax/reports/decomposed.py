"""The report of what `mmalign decompose` prints as JSON."""

from collections.abc import Mapping
from typing import Any

from mmalign_jax.reports.document import Document, Section, Table
from mmalign_jax.reports.values import flat, number, p_said, said

MOST_SAID = 12  # sentences of an answer
ATOMS = ('redundancy', 'unique_1', 'unique_2', 'synergy')
PRESENT, UNDECIDED = 'present', 'undecided at this n'  # of `information.estimation`: slow to import

Entry = Mapping[str, Any]  # one answer: of a table atoms are numbers, of samples {value, ...}


def recognised(found: Entry) -> bool:
  return {'redundancy', 'synergy'} <= found.keys() or isinstance(found.get('pairs'), dict)


def made(name: str, found: Entry) -> Document:
  """Atoms of one pair, or of several and of each side against the rest."""
  each = {name: found}
  if isinstance(found.get('pairs'), dict):
    rest = found['rest'] if isinstance(found.get('rest'), dict) else {}
    each = found['pairs'] | {f'{key}, rest': entry for key, entry in rest.items()}
  each = {key: entry for key, entry in each.items() if isinstance(entry, dict) and any(
      _value(entry.get(atom)) is not None for atom in ATOMS)}
  units = ', '.join(dict.fromkeys(map(_units, each.values())))
  sampled = any(isinstance(entry.get(atom), Mapping) for entry in each.values() for atom in ATOMS)
  return Document(f'What is shared: {name}', [
      Section(f'Atoms of information, {units}',
              [_of_samples(each) if sampled else _of_tables(each)]),
      Section('All numbers', [flat(found)], said=False)], _answer(each), _headline(each))


# -- words -----------------------------------------------------------------------------------------


def _answer(each: Mapping[str, Entry]) -> list[str]:
  """A sentence for every pair."""
  lines = [_sentence(entry) for entry in each.values()]
  if len(lines) == 1:
    return [f'{lines[0][:1].upper()}{lines[0][1:]}']
  lines = [f'{key}: {line}' for key, line in zip(each, lines)]
  more = len(lines) - MOST_SAID
  return [*lines[:MOST_SAID], f'{more} more are in the table.'] if more > 0 else lines


def _sentence(entry: Entry) -> str:
  """The atoms that are there for certain, the largest first; of a table, which is exact, the
  largest alone."""
  units, certain = _units(entry), _certain(entry)
  judged = {atom: entry[atom].get('verdict') for atom in ATOMS
            if isinstance(entry.get(atom), Mapping)}
  if not judged:
    most = max(certain.values(), default=0.0)
    names = [_called(atom) for atom in certain if most - certain[atom] <= _rounding(entry)]
    each = ' each' * (len(names) > 1)
    return (f'most is {" and ".join(names)}, {most:.3g} {units}{each}.' if names else
            'the sides tell nothing of the label.')
  if certain:
    return 'certainly present: ' + ', '.join(
        f'{_called(atom)} {certain[atom]:.3g} {units}{_ends(entry[atom])}'
        for atom in sorted(certain, key=lambda atom: -certain[atom])) + '.'
  if not any(judged.values()):
    return 'not compared with chance, so that no atom is called present.'
  undecided = [_called(atom) for atom, verdict in judged.items() if verdict == UNDECIDED]
  return 'no atom is certainly present' + (
      f'; undecided at this n: {", ".join(undecided)}' if undecided else '') + '.'


def _certain(entry: Entry) -> dict[str, float]:
  """Values of the atoms whose verdict is that they are present; of a table, of those above 0."""
  found = {}
  for atom in ATOMS:
    own, value = entry.get(atom), _value(entry.get(atom))
    if value is not None and (own.get('verdict') == PRESENT if isinstance(own, Mapping)
                              else value > _rounding(entry)):
      found[atom] = value
  return found


def _rounding(entry: Entry) -> float:
  """How far from exact the atoms of a table may be."""
  return max(number(entry.get('gap')) or 0.0, 1e-6)


# -- numbers ---------------------------------------------------------------------------------------


def _headline(each: Mapping[str, Entry]) -> dict[str, str]:
  """The atoms of one pair; of several what is certain in each. Units stand in every name, so that
  no two are compared in one row."""
  if len(each) == 1:
    entry, = each.values()
    return {f'{_called(atom)} ({_units(entry)})': _told(entry.get(atom)) for atom in ATOMS}
  return {f'{key} ({_units(entry)})': ', '.join(
      f'{_called(atom)} {value:.3g}' for atom, value in _certain(entry).items()) or 'none certain'
      for key, entry in each.items()}


def _told(own: Any) -> str:
  """An atom with its interval, and with its verdict where it is not certain."""
  if not isinstance(own, Mapping):
    return said(_value(own))
  doubt = f', {own["verdict"]}' if own.get('verdict') not in (None, PRESENT) else ''
  return f'{said(_value(own))}{_ends(own)}{doubt}'


def _of_samples(each: Mapping[str, Entry]) -> Table:
  """A row an atom, with its interval and verdict."""
  rows = []
  for key, entry in each.items():
    for atom in ATOMS:
      own = entry.get(atom)
      own = own if isinstance(own, Mapping) else {'value': own}
      rows.append([key, _called(atom), said(_value(own)), _interval(own),
                   p_said(own, entry), said(own.get('verdict'))])
  return Table(['views', 'atom', 'value', '95 %', 'p', 'verdict'], rows, left=(0, 1, 5))


def _of_tables(each: Mapping[str, Entry]) -> Table:
  return Table(['views', *ATOMS], [
      [key, *(said(_value(entry.get(atom))) for atom in ATOMS)] for key, entry in each.items()],
               left=(0,))


def _ends(own: Entry) -> str:
  return f' {_interval(own)}' if own.get('interval') else ''


def _interval(own: Entry) -> str:
  ends = own.get('interval')
  return said(list(map(_rounded, ends)) if isinstance(ends, list) else ends)


def _value(own: Any) -> float | None:
  """Of samples an atom stands beside its interval, of a table it is a number."""
  return _rounded(own.get('value') if isinstance(own, Mapping) else own)


def _rounded(value: Any) -> float | None:
  """What is 0 but for rounding is 0."""
  known = number(value)
  return known if known is None or abs(known) >= 1e-6 else 0.0


def _units(entry: Entry) -> str:
  return str(entry.get('units', 'nats'))


def _called(atom: str) -> str:
  return atom.replace('_', ' ')
