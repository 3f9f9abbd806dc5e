"""Settings by name, flat as configurations and flags have them: `Hyper` and `Spec` and back."""

import re
from typing import Any

from mmalign_jax.types import Hyper, Numeric, OwnSide, Spec

# Settings of `Hyper` that every study of strength reads, beside those in `own`; the others are for
# generators.
OF_TRAINING = ('lam', 'schedule', 'guard', 'lam_mode', 'temperature', 'learning_rate',
               'weight_decay', 'n_train', 'seed')
_OF_SIDE = dict(vars(OwnSide()))
_OWN_NAME = re.compile(r'lam(_[1-9][0-9]?){1,2}|loss_[a-z]\w*')


def is_own(name: str) -> bool:
  """Whether a traced setting is one that a side, a pair or a loss adds."""
  return bool(_OWN_NAME.fullmatch(name))


def hyper(**settings: Numeric | None) -> Hyper:
  """Hyper(**settings), those of `Hyper.own` put there; None leaves one out.

  Raises:
    TypeError: for a name that is no traced setting.
  """
  given = {name: value for name, value in settings.items() if value is not None}
  own = {name: given.pop(name) for name in tuple(given) if is_own(name)}
  return Hyper(**given, own=own)


def traced(hyper: Hyper) -> dict[str, Numeric]:
  """The settings of a Hyper by name, those of `own` among them."""
  found = dict(vars(hyper))
  return found | found.pop('own')


def spec(**settings: Any) -> Spec:
  """Spec(**settings), where encoder_I, depth_I and width_I are those of side I alone."""
  named = {name: name.rpartition('_') for name in settings}
  of_sides = {name: settings.pop(name) for name, (stem, _, side) in named.items()
              if stem in _OF_SIDE and side.isdecimal()}
  count = max((int(named[name][2]) for name, value in of_sides.items() if value), default=0)
  own = tuple(OwnSide(**{stem: of_sides.get(f'{stem}_{i + 1}', default)
                         for stem, default in _OF_SIDE.items()}) for i in range(count))
  if count:
    settings['sides'] = own
  return Spec(**settings)


def strengths(n_sides: int) -> tuple[str, ...]:
  """Names of the strengths of S sides: in common, of encoders, and of pairs where S > 2."""
  numbers = range(1, n_sides + 1)
  pairs = [f'lam_{i}_{j}' for i in numbers for j in numbers if i < j] if n_sides > 2 else []
  return ('lam', *(f'lam_{i}' for i in numbers), *pairs)


def traced_fields(n_sides: int = 2) -> dict[str, float | int | None]:
  """Names and defaults of the traced settings of S sides, None where absent; in the order of
  `Hyper`, strengths first."""
  return dict.fromkeys(strengths(n_sides)) | {
      name: value for name, value in vars(Hyper()).items() if name != 'own'}


def static_fields(n_sides: int = 2) -> dict[str, object]:
  """Names and defaults of the static settings of S sides, in the order of `Spec`."""
  own = {f'{name}_{i}': default for name, default in _OF_SIDE.items()
         for i in range(1, n_sides + 1)}
  return {name: value for name, value in vars(Spec()).items() if name != 'sides'} | own


def static(spec: Spec, n_sides: int) -> dict[str, object]:
  """The settings of a Spec by name, of `static_fields(n_sides)`."""
  sides = (*spec.sides, *[OwnSide()] * n_sides)[:n_sides]
  return {name: value for name, value in vars(spec).items() if name != 'sides'} | {
      f'{name}_{i}': value for i, side in enumerate(sides, start=1)
      for name, value in vars(side).items()}
