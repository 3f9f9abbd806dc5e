"""Where a study has its data from files: its settings, and what the data decide."""

from collections.abc import Mapping
import inspect
from typing import Any

import jax
import numpy as np

from mmalign_jax import checks, losses
from mmalign_jax.data import loading, prepared
from mmalign_jax.data.files import views
from mmalign_jax.data.files.reading import CHOICES
from mmalign_jax.data.pairs import Pairs
from mmalign_jax.data.prepared import Prepared
from mmalign_jax.data.sources import ArrayTables
from mmalign_jax.settings import MOST_VALUES, Rule, choice, count, like, number
from mmalign_jax.types import PyTree

Loaded = views.PairedData | Prepared
_LOADERS = {'paired': views.load_paired, 'pairs': loading.load_pairs}
GENERATORS = tuple(_LOADERS)  # whose data are files
_PREPARED = ('test_fraction', 'split_seed', 'n_validation', 'most_components')
BUDGETS = (3, 10, 30)  # labels a class, where nothing is said


def _defaults_of(load) -> dict[str, Any]:
  found = {name: p.default for name, p in inspect.signature(load).parameters.items()
           if name != 'task'}
  return found | {'data': ''}


DEFAULTS = {name: value for load in _LOADERS.values() for name, value in _defaults_of(load).items()}


def rules() -> dict[str, Rule]:
  """What the settings of data may be; names of files and arrays are judged where they are read."""
  found = {name: like(value) for name, value in DEFAULTS.items()}
  found |= {name: choice(lambda known=CHOICES[name]: known, blank=name == 'pool')
            for name in CHOICES if name in found} | {'classes': count(0, MOST_VALUES)}
  found |= {'test_fraction': number(0, 1, above=True, below=True), 'split_seed': checks.SEED}
  return found | {'n_validation': count(1, MOST_VALUES), 'most_components': count(1, 2**16)}


def unread(generator: str) -> dict[str, str]:
  """{setting of data: why it has no effect}."""
  if generator not in _LOADERS:
    why = f'has no effect: generator {generator!r} reads no files; generator=paired does'
    return dict.fromkeys(DEFAULTS, why)
  own = _defaults_of(_LOADERS[generator])
  return {name: f'is not a setting of generator {generator!r}, but of '
          f'{" and ".join(g for g in _LOADERS if name in _defaults_of(_LOADERS[g]))}'
          for name in DEFAULTS if name not in own}


def load(settings: Mapping[str, Any]) -> Loaded:
  """The data that the settings name."""
  if not settings['data']:
    raise ValueError("data='' names no file: give data=PATH (or data=digits)")
  loader = _LOADERS[settings['generator']]
  return loader(task=_task(settings), **{name: settings[name] for name in _defaults_of(loader)})


def read_pairs(settings: Mapping[str, Any]) -> Pairs:
  """The pairs of generator `pairs` that the settings name, as they are in the files."""
  names = inspect.signature(loading.load_pairs).parameters.keys() - {*_PREPARED, 'task'}
  return loading.read_pairs(task=_task(settings), **{name: settings[name] for name in names})


def _task(settings: Mapping[str, Any]) -> str:
  task = settings['task']
  if task == 'auto':
    return task
  # a row of one's own is a regression or it is not
  return 'l1' if losses.task_of(task).regression else 'cross_entropy'


def decided(settings: Mapping[str, Any], loaded: Loaded) -> dict[str, Any]:
  """Settings that the data decide: the task, how many samples, as many test pairs as there are."""
  found = _of_pairs(settings, loaded) if isinstance(loaded, Prepared) else _of_paired(
      settings, loaded)
  task, n_test = settings['task'], found.pop('n_test')
  n_align, least = min(settings['n_align'], n_test), checks.least_pairs(settings['neighbors'])
  if n_align < least:
    raise ValueError(f'neighbors={settings["neighbors"]} needs at least {least} test samples, and '
                     f'{settings["data"]} has {n_align}')
  return {'task': loaded.task if task == 'auto' else task, 'n_align': n_align, **found}


def _of_paired(settings: Mapping[str, Any], loaded: views.PairedData) -> dict[str, Any]:
  n_rows = len(loaded.y_train)
  if n_rows < settings['batch_size']:
    raise ValueError(f'{settings["data"]}: {n_rows} training samples are fewer than a batch: '
                     f'batch_size={settings["batch_size"]}')
  n_train = settings['n_train'] or (n_rows,)
  if max(n_train) > n_rows:
    raise ValueError(f'n_train={max(n_train)} is more than the {n_rows} training samples of '
                     f'{settings["data"]}')
  return {'n_train': n_train, 'n_test': len(loaded.y_test)}


def _of_pairs(settings: Mapping[str, Any], loaded: Prepared) -> dict[str, Any]:
  counts, names = per_class(loaded)
  asked = settings['n_labelled'] or tuple(b for b in BUDGETS if b <= counts.min()) or (0,)
  for budget in asked:
    short = np.flatnonzero(counts < budget)
    if len(short):
      raise ValueError(f'n_labelled={budget}: {settings["data"]} has {counts[short[0]]} labels'
                       f'{names[short[0]]} to learn from')
  most = max(int(counts.sum() if b == 0 else b * len(counts)) for b in asked)
  n_rows, components = len(loaded.y), max(map(len, loaded.spread))
  few = [n for n in settings['n_pairs'] if 0 < n < most]
  if few or max(settings['n_pairs']) > n_rows:
    wrong = few[0] if few else max(settings['n_pairs'])
    raise ValueError(f'n_pairs={wrong} must be from the {most} labelled to the '
                     f'{n_rows} training samples of {settings["data"]}')
  if max(settings['components']) > components:
    raise ValueError(f'components={max(settings["components"])} is more than the {components} of '
                     f'{settings["data"]}')
  n_test = len(np.asarray(jax.tree.leaves(loaded.unseen[0])[0]))
  return {'n_labelled': asked, 'n_train': (n_rows,), 'n_test': n_test,
          'labelled_batch': min(settings['batch_size'], most)}


def per_class(loaded: Prepared) -> tuple[np.ndarray, list[str]]:
  """Labels [C] to learn from of every class, or [1] in all, and what each is called."""
  known = loaded.y[loaded.labelled]
  if not loaded.classes:
    return np.array([len(known)]), ['']
  return (np.bincount(known, minlength=len(loaded.classes)),
          [f' of class {name!r}' for name in loaded.classes])


def notes(settings: Mapping[str, Any], loaded: Loaded) -> tuple[str, ...]:
  """What was assumed of the data, and what of the settings comes to nothing with them."""
  said = loaded.notes
  if isinstance(loaded, Prepared) and settings['n_labelled'] == (0,) and loaded.labelled.all() and (
      'pairs' in settings['align_on']):
    said += ('every training sample is labelled and used as such: aligning all pairs is aligning '
             'the labelled ones',)
  return said


def tables(loaded: Loaded) -> PyTree:
  """The constants of a sweep."""
  if isinstance(loaded, Prepared):
    return prepared.tables(loaded)
  return ArrayTables(
      (loaded.x1_train, loaded.x2_train), loaded.y_train, (loaded.x1_test, loaded.x2_test),
      loaded.y_test, loaded.fold_test, loaded.n_folds, len(loaded.classes) or 1)
