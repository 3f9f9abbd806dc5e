"""Decompositions as text, with what every number means."""

from collections.abc import Mapping, Sequence
import textwrap
from typing import Any

import numpy as np

from mmalign_jax.information.cross_check import NAMES
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.reports.text import aligned, p_value

WIDTH = 100
NUMBERS = (*ATOMS, *NAMES, 'gap')
_PER_NAT = 1 / np.log(2)  # bits
_SAYS = {
    'redundancy': 'what either side alone tells of the label',
    'unique_1': 'what only the first tells', 'unique_2': 'what only the second tells',
    'synergy': 'what only both together tell'}


def in_bits(entry: Mapping[str, Any]) -> dict[str, Any]:
  """An entry of `information_samples.answer` with every information in bits."""
  def scaled(value, kept=()):
    if isinstance(value, Mapping):
      return {k: v if k in kept else scaled(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
      return [scaled(v) for v in value]
    return value * _PER_NAT if isinstance(value, float) else value
  made = {name: scaled(entry[name], ('p_value', 'verdict')) for name in ATOMS}
  checks = {name: scaled(check, ('flag', 'left_out'))
            for name, check in (entry['cross_check'] or {}).items()}
  return {**entry, **made, **{name: scaled(entry[name]) for name in (*NAMES, 'gap', 'entropy')},
          'cross_check': checks or None, 'units': 'bits'}


def text(answers: Mapping[str, Mapping]) -> str:
  """All answers, and once what the columns mean."""
  return '\n\n'.join([*(_one(name, entry) for name, entry in answers.items()),
                      '\n'.join(_legend(next(iter(answers.values()))))])


def _one(name: str, entry: Mapping) -> str:
  if not isinstance(entry['redundancy'], Mapping):
    return '\n'.join(_exact(name, entry))
  first, second = name.split(',', 1)
  n1, n2, classes = entry['cells']
  lines = [f'X1 {first}, X2 {second}', f'n {entry["n"]}, {n1} x {n2} cells '
           f'({", ".join(entry["quantised"])}), {classes} classes, H(Y) {entry["entropy"]:.3f} '
           f'{entry["units"]}{_grouping(entry)}', '', *_atoms(entry), '', *_checks(entry)]
  return '\n'.join(line.rstrip() for line in lines).rstrip()


def _grouping(entry: Mapping) -> str:
  return '' if entry.get('groups') is None else f', {entry["groups"]} groups'


def _exact(name: str, entry: Mapping) -> list[str]:
  rows = [[atom, _exactly(entry[atom])] for atom in ATOMS]
  rows += [[f'I({who};Y)', _exactly(entry[key])] for key, who in zip(NAMES, ('X1', 'X2', 'X1,X2'))]
  certain = f', certain to {entry["gap"]:.1g}' if entry['method'] == 'broja' else ''
  return [f'{name}: {entry["method"]}, {entry["units"]}{certain}', *_aligned(rows)]


def _atoms(entry: Mapping) -> list[str]:
  sure, chance = (entry['redundancy'][key] is not None for key in ('interval', 'p_value'))
  rows = [[entry['units'], 'value', *['95 % interval'] * sure, 'plug-in',
           *['chance', 'its 95 %', 'p', 'verdict'] * chance]]
  least = entry.get('least_p', 1 / (1 + entry['permutations']))
  for atom in ATOMS:
    found = entry[atom]
    rows.append([atom, _number(found['value']),
                 *[' to '.join(map(_number, found['interval'] or ()))] * sure,
                 _number(found['raw'])])
    if chance:
      rows[-1] += [_number(found['null_mean']), _number(found['null_q95']),
                   p_value(found['p_value'], least), found['verdict']]
  return _aligned(rows, left=(0, len(rows[0]) - 1) if chance else (0,))


def _checks(entry: Mapping) -> list[str]:
  checks = entry['cross_check']
  if not checks:
    return []
  rows = [['', 'cells', 'neighbours', 'classifier, at least']]
  for key, who in zip(NAMES, ('X1', 'X2', 'X1,X2')):
    found = checks[key]
    near, bound = ('-' if found[by] is None else _number(found[by])
                   for by in ('nearest', 'classifier'))
    if found['classifier'] is not None:
      bound += f' ± {found["classifier_error"]:.3f}'
    rows.append([f'I({who};Y)', _number(found['cells']), near, bound])
  lines = _aligned(rows)
  flags = [f'  ! I({who};Y): {_in_units(checks[key]["flag"], entry["units"])}'
           for key, who in zip(NAMES, ('X1', 'X2', 'X1,X2')) if checks[key]['flag']]
  return lines + flags


def _in_units(flag: str, units: str) -> str:
  return flag if units == 'nats' else f'{flag} (1 nat = {_PER_NAT:.3f} bits)'


def _number(value: float) -> str:
  return f'{value + 0.0:.3f}' if abs(value) >= 5e-4 else '0.000'


def _exactly(value: float) -> str:
  return f'{round(value, 6) + 0.0:.6f}'  # no -0


def _aligned(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
  return aligned(rows[0], rows[1:], left=left).splitlines()


# -- legend ----------------------------------------------------------------------------------------


def _legend(entry: Mapping) -> list[str]:
  said = dict(_SAYS)
  if isinstance(entry['redundancy'], Mapping):
    said['value'] = 'plug-in less its bias; may fall below 0 where there is nothing'
    if entry['redundancy']['interval'] is not None:
      said['95 % interval'] = 'over samples, wider where the bias itself is uncertain'
    if entry['redundancy']['p_value'] is not None:
      said['chance'] = ('mean and 95 % quantile of the plug-in where a permutation makes just this '
                        'atom vanish; p: share of permutations that reach the plug-in')
      said['verdict'] = ('present: p <= 0.05 after Holm for four atoms, and the interval above 0; '
                         'not distinguishable from chance: p > 0.05, and the interval ends below '
                         '5 % of H(Y); undecided: neither')
    if entry['cross_check']:
      said['neighbours'] = 'Ross or KSG on principal components: too low in many dimensions'
      said['classifier'] = 'H(Y) less held-out cross-entropy: a lower bound'
  wide = max(map(len, said)) + 2
  return [line for name, what in said.items() for line in textwrap.wrap(
      name.ljust(wide) + what, WIDTH, subsequent_indent=' ' * wide)]
