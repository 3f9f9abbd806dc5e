"""A diagnosis in words, and the numbers that led to it."""

from collections.abc import Iterable
import textwrap

from mmalign_jax.diagnosis import Diagnosis
from mmalign_jax.diagnosis.spectra import Spectrum
from mmalign_jax.diagnosis.verdict import WAYS, Objective
from mmalign_jax.reports.text import aligned, p_value, repeated

WIDTH = 100
_SHOWN = 5  # canonical correlations
_ADVICE = {
    'both': 'align or predict: either finds what the views share',
    'align': 'align: prediction would miss what the views share',
    'predict': 'predict: alignment would miss what the views share',
    'neither': 'neither: a linear model finds nothing to gain from the other view'}
_CALLED = {'align': 'align', 'predict_12': 'predict x2', 'predict_21': 'predict x1'}


def text(found: Diagnosis, names: tuple[str, str]) -> str:
  """The verdict and why; then a table, the views, and what the columns mean."""
  return '\n'.join([*_verdicts(found), '', *_table(found), '', *_views(found, names), '',
                    *_legend(found)])


# -- words -----------------------------------------------------------------------------------------


def _verdicts(found: Diagnosis) -> Iterable[str]:
  """One for both directions where they are the same."""
  ways = list(WAYS)
  if len(set(found.regimes.values())) == 1:
    yield from _verdict('Regime', found.regimes[ways[0]], ways, found)
    return
  for way in ways:
    yield from _verdict(f'Regime {way.replace("->", " -> ")}', found.regimes[way], [way], found)


def _verdict(head: str, regime: str, ways: list[str], found: Diagnosis) -> list[str]:
  said = f'{head}: {_advice(regime, found)}{_again(ways, found)}. '
  if not found.shared:
    return textwrap.wrap(said + _nothing(found), WIDTH, subsequent_indent='  ')
  one = found.shared == 1
  what = f'that tell{"s" if one else ""} of the label' if found.labelled else 'above chance'
  said += f'{_count(found.shared, "shared direction")} {what}: '
  said += '; '.join(_one(name, found) for name in ('align', *(WAYS[way] for way in ways)))
  return textwrap.wrap(f'{said}.', WIDTH, subsequent_indent='  ')


def _advice(regime: str, found: Diagnosis) -> str:
  if regime == 'neither' and found.shared:
    return 'neither: what else the views share, or chance, stands before the signal'
  return _ADVICE[regime]


def _nothing(found: Diagnosis) -> str:
  if found.p_value > 0.05:
    return f'Nothing shared is above chance (p {found.p_value:.2g}).'
  return ('The views share more than chance (p '
          f'{_p(found.p_value, found)}), but no such direction tells of the label.')


def _again(ways: list[str], found: Diagnosis) -> str:
  share = None if found.agreement is None else min(found.agreement[way] for way in ways)
  return repeated(share)


def _one(name: str, found: Diagnosis) -> str:
  o = found.objectives[name]
  done = {'align': 'alignment', 'predict_12': 'predicting x2 from x1',
          'predict_21': 'predicting x1 from x2'}[name]
  return f'{done} {"finds" if o.works else "finds only"} {o.recovered}{_reason(name, o)}'


def _reason(name: str, o: Objective) -> str:
  """Why an objective fails."""
  if o.works:
    return ''
  if int((o.above & ~o.signal).sum()):
    return ', behind shared directions that do not tell of the label'
  return (', as chance correlations are as strong' if name == 'align' else
          ', as they are lost in the variance of what is to be predicted')


def _count(n: int, noun: str) -> str:
  return f'{n} {noun}{"" if n == 1 else "s"}'


# -- numbers ---------------------------------------------------------------------------------------


def _table(found: Diagnosis) -> list[str]:
  head = ['', 'works', 'above', *(['of label'] if found.labelled else []), 'found',
          'separation', 'strongest', 'chance', 'p', 'of x1', 'of x2']
  rows = [[_CALLED[name], 'yes' if o.works else 'no', str(int(o.above.sum())),
           *([str(int(o.signal.sum()))] if found.labelled else []),
           f'{o.recovered} of {found.shared}', f'{o.separation:.2f}', f'{o.strengths[0]:.3f}',
           f'{o.floors[0]:.3f}',
           _p(float(o.p_values[0]), found), *(f'{100 * v:.0f} %' for v in o.variance)]
          for name, o in found.objectives.items()]
  return aligned(head, rows, left=(0,)).splitlines()


def _p(p: float, found: Diagnosis) -> str:
  return p_value(p, 1 / (1 + found.permutations))


def _views(found: Diagnosis, names: tuple[str, str]) -> Iterable[str]:
  for k, (name, view) in enumerate(zip(names, found.views)):
    yield f'x{k + 1}  {name}: {_view(view)}'
    yield (f'    a linear model of x{2 - k} explains {100 * found.predicted[k]:.1f} % of it beyond '
           'chance')
    yield from _strong(found, k)
  r = ', '.join(f'{v:.2f}' for v in found.objectives['align'].strengths[:_SHOWN])
  grouped = '' if found.groups is None else f', {found.groups} groups'
  yield f'N   {found.used} samples{grouped}; canonical correlations {r}'


def _view(view: Spectrum) -> str:
  cut = '' if view.kept == view.rank else f', the first {view.kept} with {100 * view.share:.0f} %'
  noise = '' if view.above_noise is None else f', {view.above_noise} above white noise'
  return (f'{_count(view.width, "column")}, rank {view.rank}{cut}; effective rank '
          f'{view.effective_rank:.1f}{noise}')


def _strong(found: Diagnosis, k: int) -> Iterable[str]:
  """Whether what is shared is what is strong in a view."""
  o = max(found.objectives.values(), key=lambda o: int(o.signal.sum()))
  if o.signal.any():
    word = 'strong' if o.strong[k] >= 0.5 else 'weak'
    yield (f'    the shared directions are {word} in it: {100 * o.strong[k]:.0f} % of the variance '
           'of as many principal components')


# -- legend ----------------------------------------------------------------------------------------


def _legend(found: Diagnosis) -> Iterable[str]:
  p = found.permutations
  rows = {
      'above': f'chance: directions with p <= 0.05, one after the other, by {p} permutations of '
               f'{"whole groups" if found.groups else "the samples"}',
      'found': 'wanted directions among the first of this objective; it works from half of them on',
      'separation': 'the weakest direction that must be found over what could take its place, '
                    'chance or a nuisance: it works above 1',
      'strongest': 'canonical correlation; of a prediction, the root of the share of variance that '
                   'its first direction predicts; beside its 95 % quantile by chance',
      'of x1, of x2': 'share of the variance of each view in the wanted directions'}
  if found.labelled:
    rows['of label'] = ('wanted: what the label explains of them is above chance, and at least a '
                        'quarter of what it explains of the best')
  for term, said in rows.items():
    yield from textwrap.wrap(said, WIDTH, initial_indent=f'  {term:<13} ',
                             subsequent_indent=' ' * 16)


def notes(found: Diagnosis) -> Iterable[str]:
  """What was assumed."""
  if not found.labelled:
    yield ('no label: every direction that both views share counts as wanted; --y tells signal '
           'from nuisance')
  if found.used < found.n:
    yield (f'groups are of unequal size: all is of the {found.used} of {found.n} samples that are '
           'left when they are cut to like sizes')
  for name, view in zip(('x1', 'x2'), found.views):
    if view.kept < view.rank:
      yield (f'{name}: {view.kept} of {view.rank} principal components, {100 * view.share:.0f} % '
             'of the variance; what is shared beyond them is not seen (--components)')
