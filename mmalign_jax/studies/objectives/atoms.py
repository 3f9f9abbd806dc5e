"""The information atoms of every pair, and whether the best strength follows them.

Points are encoders: two of every pair, best strength or gain against an atom of the pair. `own` is
what the encoder's side alone tells of the label (unique_1 for encoder 1), `other` what the other
side alone tells. Pairs of one source (six views of the same digits make 15) are not independent, so
each correlation has two intervals: pairs drawn anew, and sources drawn anew, all pairs of a source
together.
"""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import itertools
from typing import Any

import numpy as np

from mmalign_jax.data.pairs import Pairs
from mmalign_jax.information.decomposition import ATOMS
from mmalign_jax.information.quantise import scaled
from mmalign_jax.information.samples import Label, Plan, Question, answer, binned
from mmalign_jax.reports.statistics import interval, spearman, within_one
from mmalign_jax.runs.devices import cores

ATTRIBUTE = 'atoms'  # of a data set: what `estimate` gives
LABEL_CELLS = 4      # quantiles of a label that is a number, as in `mmalign decompose`
FEWEST = 8           # pairs, below which no correlation over them is told
KINDS = ('redundancy', 'own', 'other', 'synergy')
TARGETS = ('best_lam', 'gain')
UNITS = ('nats', 'share')


def estimate(pairs: Pairs, draws: int) -> dict[str, Any]:
  """What `mmalign decompose` says of the rows that have both sides and a label, without its
  cross-checks: {atom: value, interval, verdict, ...}, n, cells.

  Args:
    draws: permutations of the null, and resamples of the intervals.

  Raises:
    ValueError: sequences, which have no cells; or too few rows.
  """
  kept = pairs.complete & pairs.labelled
  for name, view in zip(pairs.names, pairs.views):
    if view.ndim > 2:
      raise ValueError(f'{pairs.where}: {name!r} has sequences, of which no atoms are estimated; '
                       'pool=mean or pool=resample makes vectors of them, atoms=0 leaves atoms out')
  x1, x2 = (scaled(_filled(view[kept])) for view in pairs.views)
  y = pairs.y[kept]
  label = Label(y, pairs.classes) if pairs.classes else binned(y, LABEL_CELLS)[0]
  group = None if pairs.group is None else np.unique(pairs.group[kept], return_inverse=True)[1]
  name_1, name_2 = pairs.names
  found = answer(Question(name_1, name_2, x1, x2, label, group), Plan(
      null=draws, bootstrap=draws, check=False, workers=cores()))
  return {name: value for name, value in found.items() if name != 'cross_check'}


def _filled(view: np.ndarray) -> np.ndarray:
  """Rows [N, D] with the means of the columns for single numbers that are missing."""
  return np.where(np.isnan(view), np.nanmean(view, axis=0), view) if np.isnan(view).any() else view


# -- the best strength against them ----------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Trend:
  """Spearman correlation over the encoders of P pairs of G sources: of `target` at a setting and
  objective with an atom (`kind`) in nats, or as a share of the four together.

  encoder: 1, 2, or 0 for both. sets [P]; x, y [P, E]; over_pairs, over_sources: 95 % intervals, the
  second of both encoders and four sources or more, else None.
  """
  setting: Mapping[str, Any]
  objective: str
  target: str
  kind: str
  units: str
  encoder: int
  sets: tuple[str, ...]
  x: np.ndarray
  y: np.ndarray
  spearman: float
  over_pairs: tuple[float, float] | None
  over_sources: tuple[float, float] | None

  @property
  def n_sources(self) -> int:
    return len(set(map(source_of, self.sets)))


def source_of(name: str) -> str:
  """The data set of a pair: 'mfeat' of 'mfeat fou pix'."""
  return name.partition(' ')[0]


def value(found: Mapping[str, Any], kind: str, encoder: int, units: str = 'nats') -> float:
  """An atom as an encoder (1 or 2) sees it, at least 0; as a share of the sum of all four."""
  names = {'own': f'unique_{encoder}', 'other': f'unique_{3 - encoder}'}
  at = lambda name: max(found[name]['value'], 0.0)
  total = sum(map(at, ATOMS)) if units == 'share' else 1.0
  return at(names.get(kind, kind)) / total if total else 0.0


def trends(entries: Sequence[Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]],
           settings: Sequence[str], *, resamples: int) -> list[Trend]:
  """Every correlation that there are pairs enough for.

  Args:
    entries: of `report.summarise`. found: {set: atoms}. settings: names of what varies but the set.
  """
  groups: dict[tuple, dict[str, dict[int, Mapping[str, Any]]]] = {}
  for entry in entries:
    name = entry.get('set', '')
    if found.get(name):
      key = (*((one, entry[one]) for one in settings), ('objective', entry['objective']))
      groups.setdefault(key, {}).setdefault(name, {})[entry['encoder']] = entry
  made = []
  for key, of_sets in groups.items():
    setting = dict(key[:-1])
    for target in TARGETS:
      usable = {name: own for name, own in of_sets.items() if len(own) == 2 and all(
          one[target] is not None for one in own.values())}
      if len(usable) >= FEWEST:
        made += _of_group(setting, key[-1][1], target, usable, found, resamples)
  return made


def _of_group(setting: Mapping[str, Any], objective: str, target: str,
              usable: Mapping[str, Mapping[int, Mapping[str, Any]]],
              found: Mapping[str, Mapping[str, Any]], resamples: int) -> Iterator[Trend]:
  sets = tuple(usable)
  y = np.array([[usable[name][encoder][target] for encoder in (1, 2)] for name in sets])
  pairs, sources = _draws(sets, resamples)
  for units, kind, encoder in itertools.product(UNITS, KINDS, (0, 1, 2)):
    x = np.array([[value(found[name], kind, e, units) for e in (1, 2)] for name in sets])
    at = slice(None) if not encoder else slice(encoder - 1, encoder)
    a, b = x[:, at], y[:, at]
    flat = lambda v, rows: v[rows].reshape(*rows.shape[:-1], -1)
    of = lambda rows: spearman(flat(a, rows), flat(b, rows))
    over_pairs = within_one(interval(of(pairs), len(sets)))
    # sources differ in their number of pairs, so that each draw is by itself
    over_sources = within_one(interval(np.array([of(rows) for rows in sources]), len(
        set(map(source_of, sets))))) if sources and not encoder else None
    yield Trend(setting, objective, target, kind, units, encoder, sets, a, b,
                float(of(np.arange(len(sets)))), over_pairs, over_sources)


def _draws(sets: Sequence[str], resamples: int) -> tuple[np.ndarray, list[np.ndarray]]:
  """Rows of pairs drawn anew [B, P], and of sources drawn anew; none of fewer than four sources."""
  g, n = np.random.default_rng(0), len(sets)
  pairs = g.integers(n, size=(resamples, n))
  of = np.unique(list(map(source_of, sets)), return_inverse=True)[1]
  members = [np.flatnonzero(of == i) for i in range(of.max() + 1)]
  if len(members) < 4:
    return pairs, []
  return pairs, [np.concatenate([members[i] for i in row])
                 for row in g.integers(len(members), size=(resamples, len(members)))]
