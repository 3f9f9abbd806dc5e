"""What pairs share, in words, and whether the best strength follows it."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import Any

from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.estimation import CHANCE, PRESENT
from mmalign_jax.reports.document import Section, Table, Words
from mmalign_jax.reports.text import bracket, plain
from mmalign_jax.studies.objectives.atoms import KINDS, Trend

PICTURES = {'atoms': 'Best strength of every encoder against the atoms of its pair in nats, a row '
                     'for each setting and objective; colours are data sets, hollow where the atom '
                     'is not certainly present.',
            'curves': 'Accuracy over that at the lowest strength, in points, against strength, a '
                      'line for each objective, and beside it the atoms of the pair in nats with '
                      '95 % intervals; hollow where one is not certainly present.'}
_MARKS = {PRESENT: '', CHANCE: ' 0?'}
_ATOMS = (
    'Nats, corrected for bias, of cells of either side (`mmalign decompose`), with 95 % intervals; '
    '"0?" is not distinguishable from chance, "?" undecided at this n.')
_TRENDS = (
    'Spearman correlation over both encoders of all pairs of best strength, or of the cross-fitted '
    'gain, with an atom; `own` is what the encoder\'s side alone tells (unique_1 for encoder 1). '
    'First interval: 95 % by pairs drawn anew. Second: by data sets drawn anew, all pairs of one '
    'together; views of the same samples are not independent, so it is the one to believe, if '
    'wide. Each is for itself, and there are many. As a share: of the four atoms of the pair, '
    'which nats of different labels are not.')


def sections(pairs: Mapping[str, Mapping[str, Any]], trends: Sequence[Trend],
             names: Sequence[str]) -> list[Section]:
  """The atoms of every pair, and the correlations; none where there are none."""
  made = []
  if pairs:
    made.append(Section('What the pairs share', [atom_table(pairs), Words(_ATOMS)]))
  if trends:
    own = [name for name in names if name != 'set']
    made += [Section('Does the best strength follow it?', [
        trend_table([t for t in trends if t.units == 'nats' and not t.encoder], own),
        Words('as a share of the four:'),
        trend_table([t for t in trends if t.units == 'share' and not t.encoder], own),
        Words(_TRENDS)])]
  return made


def atom_table(pairs: Mapping[str, Mapping[str, Any]]) -> Table:
  """A row for each pair."""
  rows = [[label or '-', f'{own["n"]}', ' x '.join(map(str, own['cells'])),
           *(_atom(own[name]) for name in ATOMS)] for label, own in pairs.items()]
  return Table(['set', 'n', 'cells', *ATOMS], rows, (0,))


def _atom(found: Mapping[str, Any]) -> str:
  return (f'{found["value"]:.3f}{_MARKS.get(found["verdict"], " ?")} '
          f'{bracket(found["interval"], ".2f")}')


def trend_table(trends: Sequence[Trend], names: Sequence[str]) -> Table:
  """A row for each target, setting and objective, the four atoms beside each other."""
  rows: dict[tuple, list[str]] = {}
  for t in trends:
    key = (t.target.replace('_', ' '), *(plain(t.setting[name]) for name in names), t.objective,
           f'{len(t.sets)} of {t.n_sources}')
    rows.setdefault(key, []).append(
        f'{t.spearman:+.2f} {bracket(t.over_pairs)} {bracket(t.over_sources)}')
  return Table(['', *names, 'objective', 'pairs, sets', *KINDS],
               [[*key, *cells] for key, cells in sorted(rows.items())],
               (0, *range(1, len(names) + 2)))


def content(pairs: Mapping[str, Mapping[str, Any]],
            trends: Sequence[Trend]) -> dict[str, Any]:
  """Atoms and correlations, ready for JSON."""
  names = ('setting', 'objective', 'target', 'kind', 'units', 'encoder', 'spearman', 'over_pairs',
           'over_sources')
  return {'atoms': dict(pairs), 'trends': [
      {name: getattr(t, name) for name in names} | {
          'points': [list(point) for point in zip(t.x.ravel().tolist(), t.y.ravel().tolist())]}
      for t in trends]}


def words(picture: pathlib.Path) -> str:
  """What one sees in a picture of this room: NAME, NAME_2, ..."""
  return PICTURES[picture.stem.partition('_')[0]]
