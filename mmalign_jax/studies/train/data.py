"""What can be trained on: where pairs come from, by the setting `generator`, and its own settings.

Adding one is a row of DATA.
"""

from collections.abc import Callable, Mapping
import dataclasses
import inspect
from typing import Any

from mmalign_jax import checks, losses
from mmalign_jax.data import loading
from mmalign_jax.data.avmnist import knobs as pairing, spectra
from mmalign_jax.data.files.reading import CHOICES
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.data.published import count_sides
from mmalign_jax.settings import MOST_VALUES, Rule, choice, count, like, number
from mmalign_jax.types import ALIGN_ON

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Data:
  """settings: its own, with their defaults; rules: what they may be; check: judges those of them
  that can be before anything is read; read(settings, data_dir, prepared_dir): the pairs.

  sides(settings): how many there are. shapes: of one sample of every side and the number of
  outputs, where they are known before anything is read.
  """
  settings: Mapping[str, Any]
  rules: Mapping[str, Rule]
  check: Callable[[Settings], None]
  read: Callable[[Settings, str | None, str | None], Prepared]
  sides: Callable[[Settings], int] = lambda settings: 2
  shapes: tuple[tuple[tuple[int, ...], ...], int] | None = None


# -- AV-MNIST --------------------------------------------------------------------------------------

_KNOBS = {'data_seed' if f.name == 'seed' else f.name: f for f in dataclasses.fields(pairing.Knobs)}


def _knobs(settings: Settings) -> pairing.Knobs:
  return pairing.Knobs(**{f.name: settings[name] for name, f in _KNOBS.items()})


def _check_avmnist(settings: Settings) -> None:
  """What the sizes asked for cannot hold."""
  knobs, batch = _knobs(settings), settings['batch_size']
  n_train = (knobs.train_size or 0) * knobs.pairs_per_image
  if n_train and n_train < batch and settings['drop_last']:
    raise ValueError(f'batch_size={batch} is more than the {n_train} training pairs of '
                     f'train_size={knobs.train_size}')
  n_test, least = knobs.test_size, checks.least_pairs(settings['neighbors'])
  if n_test and n_test * knobs.pairs_per_image < least:
    raise ValueError(f'test_size={n_test}: neighbors={settings["neighbors"]} needs at least '
                     f'{least} test pairs')


def _read_avmnist(settings: Settings, data_dir: str | None, prepared_dir: str | None) -> Prepared:
  from mmalign_jax.data.avmnist import load  # slow to import
  return load.prepared(load.load_avmnist(
      data_dir, prepared_dir=prepared_dir, **vars(_knobs(settings))))


# -- any pairs -------------------------------------------------------------------------------------

_ARGUMENTS = {
    name: p.default for name, p in inspect.signature(loading.load_pairs).parameters.items()
    if name not in ('data', 'data_dir', 'n_validation')}  # nothing is tuned, all rows train
_PAIRS = {'data': '', **_ARGUMENTS, 'n_labelled': 0, 'align_on': 'pairs'}


def _rules_of_pairs() -> dict[str, Rule]:
  rules = {name: like(value) for name, value in _PAIRS.items()}
  rules |= {name: choice(lambda known=CHOICES[name]: known, blank=name == 'pool')
            for name in CHOICES if name in rules}
  return rules | {
      'task': choice(lambda: (*losses.TASKS, 'auto')), 'classes': count(0, MOST_VALUES),
      'test_fraction': number(0, 1, above=True, below=True), 'split_seed': checks.SEED,
      'most_components': count(1, 2**16),
      'n_labelled': count(0, MOST_VALUES), 'align_on': choice(lambda: ALIGN_ON)}


def _check_pairs(settings: Settings) -> None:
  if not settings['data']:
    raise ValueError("data='' names no file: give data=PATH (or data=digits)")


def _read_pairs(settings: Settings, data_dir: str | None, prepared_dir: str | None) -> Prepared:
  if prepared_dir:
    raise ValueError(f'prepared_dir={prepared_dir!r} has no effect: only AV-MNIST is kept prepared')
  task = settings['task']
  if task != 'auto':  # a row of one's own is a regression or it is not
    task = 'l1' if losses.task_of(task).regression else 'cross_entropy'
  own: dict[str, Any] = {name: settings[name] for name in _ARGUMENTS}
  own |= {'task': task, 'n_validation': 0}
  return loading.load_pairs(settings['data'], data_dir=data_dir or '', **own)


DATA = {
    'avmnist': Data({name: f.default for name, f in _KNOBS.items()},
                    dict.fromkeys(_KNOBS, Rule('any')),  # judged by `pairing.Knobs`
                    _check_avmnist, _read_avmnist,
                    shapes=(((28, 28, 1), (spectra.FRAMES, spectra.WIDTH)), 10)),
    'pairs': Data(_PAIRS, _rules_of_pairs(), _check_pairs, _read_pairs,
                  sides=lambda settings: count_sides(settings['data'], settings['x3'])),
}


def unread(generator: str) -> dict[str, str]:
  """{setting: why it has no effect}, of the settings of other data."""
  own = DATA[generator].settings
  return {name: f'is not a setting of generator {generator!r}, but of {other!r}'
          for other, row in DATA.items() for name in row.settings if name not in own}
