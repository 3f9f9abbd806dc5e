"""The step that keeps encoders: trained on all rows, at the settings of the decisions."""

from collections.abc import Collection
import dataclasses
import shutil
from typing import Any

from mmalign_jax.fitted import fitting, reading, store
from mmalign_jax.studies.advise import decision, rounds, trial
from mmalign_jax.studies.advise.cells import Arm
from mmalign_jax.studies.advise.work import Work


def run(work: Work) -> dict[str, Any]:
  """Keeps DIR/encoders, at what is best for all views together, and DIR/x1, ... for views whose own
  best is another. Aligned only where that is the decision."""
  encoders = work.results['decision'].get('encoders', {})
  if trial.TOGETHER not in encoders:
    raise ValueError('no encoder was judged')
  arms = {name: _decided(one) for name, one in encoders.items()}
  common = arms.pop(trial.TOGETHER)
  places = {'': common} | {f'x{i + 1}': arms[name] for i, name in enumerate(work.pairs.names)
                           if arms.get(name, common) != common}
  _clear(work, places)
  said = []
  for place, arm in places.items():
    work.progress(f'encoders of {place or "all views"}')
    # what calibrates stays apart by units, too: copies, where the pairs know no groups
    fitted = fitting.fit(dataclasses.replace(work.pairs, group=work.groups()), settings(work, arm))
    store.save(fitted, work.folder / place, work.pairs)
    of = f'{arm.loss} at lam {arm.lam:g}' if arm.lam else 'not aligned'
    where, view = ('DIR/' + place).rstrip('/'), int(place[1:]) - 1 if place else 0
    said.append(f'{where}/encoders: {of}; mmalign embed {where} NEW --view='
                f'{work.pairs.names[view]}')
  return {'said': said, 'places': list(places)}


def settings(work: Work, arm: Arm) -> dict[str, Any]:
  """A choice as the settings of a fit."""
  spec = trial.spec_of(work)
  return {'loss': arm.loss or 'info_nce', 'lam': arm.lam, 'components': arm.components,
          'weight_decay': arm.weight_decay, 'learning_rate': arm.learning_rate,
          'steps': arm.train_steps, 'seed': work.seed, 'task': spec.task, 'most_components': max(
              trial.shape_of(work).components)} | {
      name: getattr(spec, name) for name in (
          'depth', 'width', 'projection_width', 'batch_size', 'fusion', 'fusion_width')}


def _decided(one: dict[str, Any]) -> Arm:
  chosen = rounds.choice(one['settings'])
  return chosen.aligned if one['kind'] == decision.ALIGN else chosen.without


def _clear(work: Work, places: Collection[str]) -> None:
  """Removes encoders of an earlier decision, and what a kill left of their writing."""
  for i in range(len(work.pairs.names) + 1):
    place = f'x{i}' if i else ''
    for left in (work.folder / place).glob(f'{reading.FOLDER}.*.part*'):
      shutil.rmtree(left, ignore_errors=True)
    if place not in places:
      shutil.rmtree(work.folder / place / reading.FOLDER, ignore_errors=True)
