"""Settings chosen on validation rows: for no alignment, and again for the strength that is best.

A gain counts only against a baseline that was tuned as hard. At lam = 0 every combination of the
candidates is trained, for each budget of labels; the one of the highest validation accuracy (the
mean over encoders and seeds) is used at all strengths. Then the strength of the highest validation
accuracy gets a choice of its own among the same candidates, and what it gains over the tuned
baseline is measured on the test rows, which chose nothing.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from mmalign_jax import checks, named
from mmalign_jax.data.sources import SOURCES
from mmalign_jax.reports.statistics import finite
from mmalign_jax.settings import shown
from mmalign_jax.studies.strength import references
from mmalign_jax.studies.strength.optimum import MIN_SEEDS
from mmalign_jax.studies.strength.plan import Study, number_of
from mmalign_jax.studies.strength.references import BUDGET
from mmalign_jax.training.sweep import grid
from mmalign_jax.types import Spec

if TYPE_CHECKING:  # slow to import
  import xarray as xr

FOLDERS = {'baseline': 'tuning/baseline', 'aligned': 'tuning/aligned', 'final': 'tuning/final'}

Choice = Mapping[str, Any]  # setting: value; `lam` among them where it is not 0; `validation`
Choices = Mapping[float, Choice]  # by budget of labels


def check(study: Study) -> None:
  """Whether there is one gain to quote where settings are tuned.

  Raises:
    ValueError: a further axis: settings would be chosen, and the gain measured, at its first value.
  """
  for name, values in study.axes.items():
    if study.tuned and len(values) > 1 and name not in (BUDGET, 'align_on', 'lam', 'seed'):
      tuned = ', '.join(f'tune_{one}' for one in study.tuned)
      raise ValueError(f'{name}={shown(values)}: settings are tuned ({tuned}) for one value of it; '
                       'run a study for each')


def baseline(study: Study) -> Study:
  """Every combination of the candidates for each budget, without alignment."""
  return _part(study, 'baseline', _axes(study), {b: {'lam': 0.0} for b in study.axes[BUDGET]})


def aligned(study: Study, strengths: Choices) -> Study:
  """The same, at one strength for each budget."""
  return _part(study, 'aligned', _axes(study), strengths)


def final(study: Study, choices: Choices) -> Study:
  """One training for each budget and seed, at a strength and settings of the budget."""
  return _part(study, 'final', {BUDGET: study.axes[BUDGET], 'seed': study.axes['seed']}, choices)


def with_choices(study: Study, choices: Choices) -> Study:
  """The grid of a study, every cell with the settings chosen for its budget."""
  return dataclasses.replace(study, hypers=_hypers(study.axes, _fixed(study), choices))


def choose(dataset: 'xr.Dataset', study: Study) -> Choices:
  """The candidates of the highest validation accuracy for each budget; of several, the first. Where
  all diverged on some seed that is of all, and `validation` None."""
  names = list(study.tuned)
  mean = validation(dataset).mean('seed', skipna=False)
  found = {}
  for budget in study.axes[BUDGET]:
    table = mean.sel({BUDGET: budget}).transpose(*names)
    place = np.unravel_index(int(table.fillna(-1).values.argmax()), table.shape)
    found[budget] = {name: table[name].values[i].item() for name, i in zip(names, place)} | {
        'validation': finite(float(table.values[place]))}
  return found


def strongest(dataset: 'xr.Dataset', study: Study) -> dict[float, float]:
  """The strength above 0 of the highest validation accuracy for each budget, all pairs aligned."""
  mean = validation(dataset).mean('seed', skipna=False).fillna(-1)
  if 'align_on' in mean.dims:
    mean = mean.isel(align_on=0)
  others = [d for d in mean.dims if d not in (BUDGET, 'lam')]
  mean = mean.mean(others) if others else mean
  mean = mean.sel(lam=mean['lam'] > 0)
  return {b: mean['lam'].values[int(mean.sel({BUDGET: b}).values.argmax())].item()
          for b in study.axes[BUDGET]}


def validation(dataset: 'xr.Dataset') -> 'xr.DataArray':
  """Validation accuracy, the mean over the encoders whose side has validation rows."""
  from mmalign_jax.studies.strength.curves import with_rows  # needs xarray
  return with_rows(dataset['validation'], 'encoder').mean('encoder', skipna=False)


def unjudged(dataset: 'xr.Dataset') -> bool:
  """Whether the side of some encoder has no validation row."""
  from mmalign_jax.studies.strength.curves import judged  # needs xarray
  return len(judged(dataset['validation'], 'encoder')) < dataset.sizes['encoder']


def gains(main: 'xr.Dataset', best: 'xr.Dataset', study: Study) -> list[dict[str, Any]]:
  """What alignment gains on the test rows where both sides were tuned: one entry for each budget
  and encoder, with a 95 % interval: Student's t over seeds (labelled rows and initialisations) and
  over folds of the test rows, joined in squares."""
  exact = SOURCES[study.spec.generator].tables is not None
  return [{BUDGET: budget, 'encoder': encoder, **_more(there, zero, exact),
           'accuracy_at_0': finite(float(zero.mean())), 'accuracy': finite(float(there.mean()))}
          for budget, encoder, zero, there in _tuned_accuracies(main, best, study)]


def over_linear(main: 'xr.Dataset', best: 'xr.Dataset', study: Study) -> list[dict[str, Any]]:
  """The same beside linear references, where `main` has them (`references.accuracies`): for each
  budget and encoder `linear` {method: its accuracy and what it gains over principal components},
  and what the encoders have more than it, `at_0` and aligned, `at_best`; intervals as there."""
  found = []
  for budget, encoder, zero, there in _tuned_accuracies(main, best, study):
    made = references.accuracies(main, {BUDGET: budget}, encoder)
    if made and all(values.shape == zero.shape for values in made.values()):
      of = lambda values: {
          'accuracy': float(values.mean()), **_more(values, made[references.BASE]),
          'at_0': _more(zero, values), 'at_best': _more(there, values)}
      found.append({BUDGET: budget, 'encoder': encoder,
                    'linear': {method: of(values) for method, values in made.items()}})
  return found


def _tuned_accuracies(main: 'xr.Dataset', best: 'xr.Dataset', study: Study) -> Iterator[
    tuple[float, int, np.ndarray, np.ndarray]]:
  """Budget, encoder, and accuracies [S, F] without alignment and at the best strength, folds with
  rows of the side alone."""
  from mmalign_jax.studies.strength.curves import judged  # needs xarray
  for budget, encoder in itertools.product(study.axes[BUDGET], main['encoder'].values.tolist()):
    name = f'accuracy_by_fold_{encoder}'
    name = name if name in main else f'accuracy_{encoder}'
    folds = {'fold': judged(main[name])} if 'fold' in main[name].dims else {}
    zero = main[name].sel({'lam': 0.0, BUDGET: budget}).isel(folds)
    zero = zero.isel({d: 0 for d in zero.dims if d not in ('seed', 'fold')})
    before, after = (one.transpose('seed', ...).values for one in (
        zero, best[name].sel({BUDGET: budget}).isel(folds)))
    yield budget, encoder, before.reshape(len(before), -1), after.reshape(len(after), -1)


def _more(values: np.ndarray, base: np.ndarray, exact: bool = False) -> dict[str, Any]:
  """`references.more`, without an interval of few seeds, or of what diverged."""
  found = references.more(values, base, exact)
  told = np.isfinite(found['gain']) and len(values) >= MIN_SEEDS
  return {'gain': finite(found['gain']), 'gain_interval': found['gain_interval'] if told else None}


def part(study: Study, axes: dict[str, tuple], choices: Choices | None = None,
         **changes: Any) -> Study:
  """The same over other axes, with settings chosen for a budget where there are; changes: fields
  of `Study`."""
  return dataclasses.replace(study, axes=axes, tuned={}, **changes,
                             hypers=_hypers(axes, _fixed(study), choices or {}))


# -- parts of a study ------------------------------------------------------------------------------


def _axes(study: Study) -> dict[str, tuple]:
  seeds = study.axes['seed'][:study.settings['tune_seeds']]
  return {BUDGET: study.axes[BUDGET], **study.tuned, 'seed': seeds}


def _part(study: Study, stage: str, axes: dict[str, tuple], choices: Choices) -> Study:
  """The trainings of one stage, a study of their own."""
  unaligned = all(choice['lam'] == 0 for choice in choices.values())
  plain = {str(b): dict(choice) for b, choice in choices.items()}
  return part(
      study, axes, choices, name=f'{study.name}: {stage}', notes=(),
      spec=_unaligned(study.spec) if unaligned else study.spec,
      settings=study.settings | {'stage': stage, 'choices': plain})


def _unaligned(spec: Spec) -> Spec:
  """A program of its own, in which nothing is aligned; of it accuracies alone are read, so there is
  no similarity on more rows than there must be. The other stages share the program of the grid."""
  fewest = min(spec.n_align, checks.least_pairs(spec.neighbors))
  return dataclasses.replace(spec, loss='', n_align=fewest)


def _fixed(study: Study) -> dict[str, float]:
  """Settings that no stage varies, of the first cell."""
  return {name: np.asarray(value).ravel()[0].item()
          for name, value in named.traced(study.hypers).items() if value is not None}


def _hypers(axes: Mapping[str, tuple], fixed: Mapping[str, float], choices: Choices):
  """The grid over `axes`, what is chosen for a budget put in every cell of it."""
  columns = {name: [number_of(name, v) for v in values] for name, values in axes.items()}
  made = grid(columns, **{name: value for name, value in fixed.items() if name not in axes})
  budgets = np.asarray(made.n_labelled)
  for name in {name for choice in choices.values() for name in choice} - {'validation', *axes}:
    values = np.zeros(len(budgets), np.float32)
    for budget, choice in choices.items():
      values[budgets == np.float32(budget)] = choice[name]
    made = dataclasses.replace(made, **{name: values})
  return made
