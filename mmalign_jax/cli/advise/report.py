"""An advice as sections: the answer at the top, what led to it below."""

from collections.abc import Iterator, Mapping
import pathlib
from typing import Any

from mmalign_jax.reports.chart import Chart, Series
from mmalign_jax.reports.document import Document, Section, Table, Words
from mmalign_jax.reports.text import bracket, percent, points
from mmalign_jax.runs import folder
from mmalign_jax.studies.advise import trial
from mmalign_jax.studies.advise.steps import STEPS

UNFINISHED = 'Not finished: this is what is known so far; the same command continues.'
NOTHING = 'Cannot tell: nothing was trained.'
UNJUDGED = 'Cannot tell: settings were chosen, and no outer fold was judged yet.'
_ARM = ('loss', 'lam', 'components', 'weight_decay', 'learning_rate', 'train_steps')


def document(title: str, results: Mapping[str, Any], finished: bool) -> Document:
  """The report of all steps that have a result."""
  encoders = results.get('decision', {}).get('encoders') or {}
  answer = [] if finished else [UNFINISHED]
  chosen = bool(results.get('decision', {}).get('chosen'))
  answer += [one['sentence'] for one in encoders.values()] or [UNJUDGED if chosen else NOTHING]
  evidence = [Section(STEPS[name].title, [Words('\n'.join(['', *found['said']]))])
              for name, found in results.items() if name != 'decision' and found.get('said')]
  return Document(title, [*([Section('By encoder', [*_table(encoders)])] if encoders else []),
                          *_curves(encoders), *evidence, *_settings(encoders)], answer,
                  {name: f'{one["kind"]}, {points(one["gain"]["gain"])} '
                   f'{bracket(one["gain"]["interval"], "+.1f", 100)}'
                   for name, one in encoders.items()})


def unfinished(place: pathlib.Path) -> Document:
  """The report of a folder whose advice was killed: of the steps and rounds that it holds."""
  results = {}
  for name in STEPS:
    path = place / 'steps' / f'{name}.json'
    if path.exists():
      results[name] = folder.read_json(path, 'remove it')['result']
  rounds = trial.finished_rounds(place)
  if 'decision' not in results and rounds and 'names' in results.get('data', {}):
    results['decision'] = trial.decisions(results['data']['names'], {'rounds': rounds})
  return document(f'Advice in {place.name}', results, finished=False)


def _table(encoders: Mapping[str, Any]) -> Iterator[Any]:
  changes = [f'{name}: {one["change"]}' for name, one in encoders.items() if one['change']]
  if changes:
    yield Words('\n'.join(['', 'What would change it:', *changes, '']))
  if encoders:
    yield Table(
        ['encoder', 'decision', 'without', 'aligned', 'gain', '95 %', 'objective', 'lam', 'chosen'],
        [[name, one['kind'], percent(one['gain']['without']), percent(one['gain']['aligned']),
          points(one['gain']['gain']), bracket(one['gain']['interval'], '+.1f', 100),
          one['objective'], f'{one["lam"]:g}', percent(one['same_objective'])]
         for name, one in encoders.items()], left=(0, 1, 6))
    yield Words('without, aligned: accuracy on rows that chose nothing; chosen: outer folds that '
                'chose the same objective')


def _curves(encoders: Mapping[str, Any]) -> Iterator[Section]:
  """Gain by share of the labels."""
  series = [Series(name, *zip(*sorted((float(s), 100 * v) for s, v in one['curve'].items())))
            for name, one in encoders.items() if len(one['curve']) > 1]
  if series:
    yield Section('With fewer labels', [Chart(
        'What alignment gains with a part of the labels, at the settings that were chosen with all '
        'of them.', 'share of the labels', 'gain (points)', series, '+.1f')], said=False)


def _settings(encoders: Mapping[str, Any]) -> Iterator[Section]:
  rows = [[name, kind, *(str(one['settings'][kind][key]) for key in _ARM)]
          for name, one in encoders.items() for kind in ('without', 'aligned')]
  if rows:
    yield Section('What was chosen with all labels', [Table(
        ['encoder', '', 'objective', 'lam', 'components', 'weight decay', 'learning rate', 'steps'],
        rows, left=(0, 1, 2))], said=False)
