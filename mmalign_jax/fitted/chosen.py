"""The settings of one fit: names and ranges of a study of strength, one value each."""

from collections.abc import Mapping
from typing import Any

from mmalign_jax import checks, losses, named
from mmalign_jax.data import pair_source
from mmalign_jax.data.prepared import MOST_COMPONENTS
from mmalign_jax.settings import Rule, checked, choice, count
from mmalign_jax.types import NAMES, Hyper, Range, Spec

_WITHOUT = ('generator', 'max_train', 'labelled_batch', 'transform', 'transform_seed', 'n_align',
            'neighbors', 'probes')  # fields of Spec that no fit reads
_TRACED = ('schedule', 'temperature', 'learning_rate', 'weight_decay', 'guard', 'lam_mode', 'seed',
           *pair_source.SETTINGS)
FOLDS = 5


def defaults(n_sides: int = 2) -> dict[str, Any]:
  """Every setting of a fit of S sides with its default; None where it is absent. The task is found
  by the labels; `folds`: parts of the labels, each calibrated on by encoders that did not see it.
  """
  traced = named.traced_fields(n_sides) | dict.fromkeys(losses.own_ranges())
  traced = {name: value for name, value in traced.items()
            if name in (*_TRACED, *named.strengths(n_sides)) or named.is_own(name)}
  static = {name: value for name, value in named.static_fields(n_sides).items()
            if name not in _WITHOUT}
  names = {name: known[0] for name, known in NAMES.items() if traced[name] is not None}
  return static | traced | names | {
      'lam': Hyper.lam, 'task': 'auto', 'most_components': MOST_COMPONENTS, 'folds': FOLDS}


def rules(n_sides: int = 2) -> dict[str, Rule]:
  """What every setting may be."""
  own: dict[str, Range] = pair_source.RANGES
  static = {name: rule for name, rule in checks.static_rules(n_sides).items()
            if name not in _WITHOUT}
  traced = {name: checks.traced_rule(name, own) for name in defaults(n_sides)
            if name not in static}
  return static | traced | {
      'task': choice(lambda: (*losses.TASKS, 'auto')), 'most_components': count(1, 2**16),
      'folds': count(0, 100)}


def judged(given: Mapping[str, Any], n_sides: int = 2) -> dict[str, Any]:
  """All settings of a fit, each by its rule; absent ones are None.

  Raises:
    ValueError: one line: an unknown setting (lists the known ones), or a value that cannot be.
  """
  known, allowed = defaults(n_sides), rules(n_sides)
  absent = {name: None for name in known if given.get(name, known[name]) is None}
  singles = {name: _Single(rule) for name, rule in allowed.items()}
  found = checked({name: value for name, value in given.items() if name not in absent},
                  {name: value for name, value in known.items() if name not in absent},
                  singles)  # pyright: ignore[reportArgumentType]
  if found['folds'] == 1:
    raise ValueError('folds=1 must be 0 (no calibration by folds) or at least 2')
  return {name: found.get(name) for name in known}


class _Single:
  """A rule of an axis, for one value of it."""

  def __init__(self, rule: Rule):
    self._rule = rule

  def of(self, name: str, value: Any) -> Any:
    if isinstance(value, (tuple, list)):
      raise ValueError(f'{name}={value!r} is several values: a fit takes one')
    return self._rule.one(name, value)


def built(settings: Mapping[str, Any], n_sides: int, *, n_train: int, n_labelled: int,
          to_train: bool = True) -> tuple[Spec, Hyper]:
  """The Spec and the Hyper of judged settings, whose task is known.

  Args:
    n_train: rows to train on. n_labelled: those of them whose labels are learnt. to_train: as of
      `checks.check`.
  """
  static = {name: settings[name] for name in named.static_fields(n_sides) if name in settings}
  spec = named.spec(**static, generator='pairs', max_train=n_train,
                    labelled_batch=min(settings['batch_size'], max(n_labelled, 1)))
  traced = {name: _number(name, value) for name, value in settings.items()
            if value is not None and (
                name in named.traced_fields(n_sides) or named.is_own(name))}
  hyper = named.hyper(**traced)
  checks.check(spec, hyper, to_train=to_train)
  return spec, hyper


def _number(name: str, value: Any) -> float | int:
  return NAMES[name].index(value) if isinstance(value, str) else value
